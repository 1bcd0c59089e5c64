"""What the study of the second world shows: what its teachers wrote and earned, round by round, and what that is worth.

    world_rounds.csv   arm, seed, round, mean_reward, shares of useful problems and of decoys (tools/mix.py), and the
                       effective number of skills among the useful ones (exp of Shannon's entropy)
    world_diversity.csv   the diversity of what each teacher writes in the first round and in every fifth
    world_values.csv   the value of each teacher's data sets (soar/value.py): arm ("untrained" or the study's), seed
    world_arms.csv     pass@k on hard test
    world_claims.csv   the five claims named before the runs, those explored after them, and the paper's as far
                       as the study has them
                       (runs/reference/study2: python -m soar_lib study --preset nano2
                       --arms intrinsic,no_promotion,controls,promotion)

    plain_rounds.csv, plain_diversity.csv, plain_values.csv, plain_arms.csv, plain_claims.csv
                       the same on the prior without decoys: runs/reference/study2_plain, four seeds
                       (python -m soar_lib study --preset nano2 --model nano2-plain --seeds 4
                       --arms intrinsic,no_promotion,controls,more_controls --set transfer.problems=)

Of the prior without decoys it was expected that training on progress pays there too, and that disagreement, which finds
no decoys to fall for, pays no worse. Named before it was run: the grounded reward without promotion (arm no_promotion),
seeds 0 to 3, forty rounds; its value minus the untrained teacher's and minus the intrinsic one's, paired by seed. Named
before fresh students were trained: the study's own claims on these four seeds. The intrinsic reward has two runs more,
seeds 4 and 5, with a value and no students.

Named before it was run: promotions, with decoys (arm promotion, seeds 0 to 3), and on them the paper's claims of PQ, of
PS and of promotion, on hard test and on transfer problems. PQ and PS are expected to beat Hard-Only; of promotion
nothing is expected. The first data sets earn more than the threshold of 1 point, so that somebody is soon promoted.
The runs of seeds 0 to 2 were lost before they were published, when their students had been evaluated. They were run
anew, with seed 3, and agree with all that was noted of them. Whether promotions make a better teacher, by its value,
was asked when the rewards of two of the lost runs had been seen.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from soar_lib.files import read_table, setting
from soar_lib.measure import passk, plots
from soar_lib.measure.charts import Chart, Panel, Tables, estimates, row_size
from soar_lib.measure.claims import over_seeds
from soar_lib.measure.quality import UNJUDGED, Verdict
from soar_lib.soar import claims, report
from soar_lib.soar.figures import vendi_by_round
from tools import coverage, mix

TEACHERS = {
    "untrained": "untrained", "intrinsic": "paid by disagreement", "no_promotion": "paid by progress",
    "promotion": "paid by progress, with promotions",
}  # fmt: skip
Written = dict[tuple[str, int], pd.DataFrame]  # by arm and seed, as `mix.written` has it
SHARES = {"useful": mix.USEFUL, "decoy": "decoy"}


def of_world(folder: str | Path) -> Tables:
    """Every figure and table of the study. Raises RunError where the folder holds none."""
    folder = Path(folder)
    written, students = written_by(folder), coverage.students(folder, claims.read_study(folder).scores)
    return {
        **shared(folder, "world", written),
        "world_students": (students, coverage.by_student),
        "world_gaps": (coverage.gaps(students), None),
        "world_coverage": (coverage.coverage(written), coverage.by_content),
        "world_signal": (coverage.signal(report.rounds(folder), written), None),
    }


def of_plain(folder: str | Path) -> Tables:
    """Figures and tables of the study without decoys. Raises RunError where the folder holds none."""
    return shared(Path(folder), "plain", written_by(Path(folder)))


def shared(folder: Path, name: str, written: Written) -> Tables:
    """What is shown of either study, under names that begin with `name`."""
    ks, found = setting(folder, "evaluate.ks", list[int]), claims.claims(folder)
    return {
        f"{name}_rounds": (rounds(folder, written), by_round),
        f"{name}_diversity": (diversity(folder), vendi_by_round),
        f"{name}_values": (values(folder), by_value),
        f"{name}_arms": (passk.table(claims.read_study(folder).scores, ks), partial(plots.arms, k=max(ks))),
        f"{name}_claims": (found[found["seeds"] > 0], partial(plots.forest, of=(*claims.CLAIMS, *claims.VALUES))),
    }


def written_by(folder: Path) -> Written:
    """What every teacher wrote."""
    return {(arm, seed): mix.written(run) for arm, seed, run in report.runs_of(folder)}


def rounds(folder: Path, written: Written) -> pd.DataFrame:
    """One row per arm, seed and round; rewards as the arm pays them."""
    paid, parts = report.rounds(folder)[["arm", "seed", "round", "mean_reward"]], []
    for (arm, seed), own in written.items():
        shares = mix.mix(own).reindex(columns=SHARES.values(), fill_value=0.0).set_axis([*SHARES], axis=1)
        skills = own[own["role"] == mix.USEFUL].groupby("round")["skill"].agg(mix.effective).astype(float)
        parts.append(shares.assign(skills=skills).reset_index().assign(arm=arm, seed=seed))
    return paid.merge(pd.concat(parts), on=["arm", "seed", "round"]).round(4)


def diversity(folder: Path) -> pd.DataFrame:
    """`report.diversity_table` of what teachers wrote in the first round and in every fifth."""
    problems = report.problems(folder, lambda written: [Verdict(UNJUDGED)] * len(written))
    return report.diversity_table(problems[(problems["round"] == 1) | (problems["round"] % 5 == 0)])


def by_round(data: pd.DataFrame) -> Chart:
    """What teachers write over the rounds, and above it what those that are paid by progress earn."""
    paid, title = data[data["arm"] != "intrinsic"], plots.averaged()
    shown = [(paid, "mean_reward")] * (len(paid) > 0) + [(data, column) for column in (*SHARES, "skills")]
    panels = [plots.mean_curve(part, "round", y, "" if place else title) for place, (part, y) in enumerate(shown)]
    return Chart(panels, size=(9.0, 1.4 + 2.0 * len(panels)), shared="x")


def values(folder: Path) -> pd.DataFrame:
    """One row per teacher: arm, seed, value (a fraction of 1)."""
    found = {path.parent.name: read_table(path, "seed", "teacher", "value") for path in folder.glob("*/values.csv")}
    rows = pd.concat([table.assign(arm=table["teacher"].replace("trained", arm)) for arm, table in found.items()])
    return rows.sort_values(["arm", "seed"])[["arm", "seed", "value"]].round(5)


def by_value(data: pd.DataFrame) -> Chart:
    """The mean value of each arm's teachers with its interval over runs."""
    arms = [arm for arm in TEACHERS if arm in {*data["arm"]}]
    found = {arm: over_seeds(data.loc[data["arm"] == arm, "value"].tolist(), difference=False) for arm in arms}
    shown = pd.DataFrame([dict(arm=a, mean=f.ours, low=f.low, high=f.high, seeds=f.seeds) for a, f in found.items()])
    label = "teacher value: gain in accuracy by one of its data sets (points)"
    rows = [f"{TEACHERS[row.arm]} ({row.seeds})" for row in shown.itertuples()]
    panel = Panel(estimates(shown), label, "teacher (runs)", "Mean and 95 % intervals", xlim=(0, None), rows=rows)
    return Chart([panel], **row_size([len(rows)]), legend="")
