"""A study's folder as tables: what its teachers earned and wrote, and how its students learned and scored.

`arm` is the study's own name of a group of SOAR runs (`study.ARMS`) in `rounds` and `problems`, and the evaluation's
name of a kind of student (`measure.names.STUDENTS`) elsewhere; `seed` is the SOAR run's; rewards and accuracies are
fractions of 1."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from soar_lib.files import read_config, read_jsonl, read_table, setting, write_tables
from soar_lib.measure import diversity, passk, quality
from soar_lib.measure.diversity import DiversitySettings, Embedding
from soar_lib.measure.quality import Judge, Verdict, exact, topic
from soar_lib.records import TRANSFER, Round, SyntheticProblem
from soar_lib.soar import claims
from soar_lib.soar.arms import row_name
from soar_lib.soar.settings import SoarConfig

ROUNDS = ["arm", "seed", "round", "mean_reward", "lowest", "highest", "moving_average", "baseline_accuracy", "promoted"]
CURVE = ["reward", "top_reward", "length", "signal", "grad_norm"]
PROBLEMS = ["arm", "seed", "round", "dataset", "question", "answer", "reward", "topic", "label"]
SAMPLED = ["arm", "seed", "question", "answer", "topic", "label"]
# Arms whose teachers write sets of one size, and the names in tables of what they write for the evaluation.
TEACHERS = ("grounded", "no_promotion", "promotion", "multi_turn", "intrinsic", "rounds_x6")
SAMPLING = (
    "base_t", "grounded_t", "grounded_t_no_promotion", "grounded_t_multi_turn", "intrinsic_t", "intrinsic_t_rounds_x6",
)  # fmt: skip


def write(folder: str | Path) -> pd.DataFrame:
    """Write a study's tables anew from its run folders, claims.csv last; returns the claims."""
    scores, ks = claims.read_study(folder).scores, setting(folder, "evaluate.ks", list[int])
    tables = {
        "pass_at_k": passk.table(scores, ks), "transfer": passk.table(scores, ks, set=TRANSFER),
        "comparisons": claims.comparisons(folder), "claims": claims.claims(folder),
    }  # fmt: skip
    write_tables(Path(folder), tables)
    return tables["claims"]


def runs_of(folder: str | Path) -> Iterator[tuple[str, int, Path]]:
    """(arm, seed, folder) of every SOAR run of a study that has begun, arm by arm as its settings list them."""
    for arm in setting(folder, "arms", list[str]):
        found = [path.parent for path in (Path(folder) / arm).glob("seed*/rounds.jsonl")]
        yield from sorted((arm, setting(path, "seed", int), path) for path in found)


def rounds_of(folder: Path) -> list[dict]:
    """The rows of a run's rounds.jsonl with its name, and the least and most rewarded data set of each round."""
    rows = []
    for record in read_jsonl(folder / "rounds.jsonl", Round):
        reached = [fmean(row) for row in record["rewards"]]
        rows.append(record | {"run": "/".join(folder.parts[-2:]), "lowest": min(reached), "highest": max(reached)})
    return rows


def rounds(folder: str | Path) -> pd.DataFrame:
    """One row per SOAR run and round, columns `ROUNDS`; lowest and highest are those of the round's data sets."""
    rows = [row | {"arm": arm, "seed": seed} for arm, seed, path in runs_of(folder) for row in rounds_of(path)]
    return pd.DataFrame(rows, columns=ROUNDS)


def curves(folder: str | Path) -> pd.DataFrame:
    """Training curves of the evaluations' students: arm, seed, student, phase, step (over both phases), `CURVE`."""
    columns = ["arm", "seed", "student", "phase", "step", *CURVE]
    parts = [pd.DataFrame(columns=columns)]
    for path in claims.evaluations(folder):
        names, seeds = row_names(path), claims.seeds_of(path)
        measured = dict.fromkeys(CURVE, float) | {"student": int, "step": int}
        frame = read_table(path / "metrics.csv", "phase", source=range(len(seeds)), arm=names, **measured)
        frame["seed"] = frame["source"].map(dict(enumerate(seeds)))
        frame["step"] += setting(path, "synthetic_steps", int) * (frame["phase"] == "hard")
        parts.append(frame.assign(arm=frame["arm"].map(names))[columns])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def border(curves: pd.DataFrame) -> float | None:
    """The step of `curves` at which those who have learned before begin on hard problems; None where nobody has."""
    begun = curves[curves["phase"] == "hard"].groupby("arm")["step"].min().max()
    return float(begun) if begun > 0 else None


def row_names(evaluation: Path) -> dict[str, str]:
    """What tables call the arms that an evaluation lists, by the settings of the runs that it stands on."""
    label, sources = setting(evaluation, "label", str), read_table(evaluation / "sources.csv", run=str)["run"]
    found = [evaluation.parents[1] / run for run in sources if (evaluation.parents[1] / run / "config.json").is_file()]
    soar = read_config(found[0], SoarConfig) if found else SoarConfig()
    return {arm: row_name(arm, soar, label) for arm in setting(evaluation, "arms", list[str])}


def swept(folder: str | Path) -> list[str]:
    """The names in tables of the arms that sweep a setting; they decide no claim."""
    labelled = [path for path in claims.evaluations(folder) if setting(path, "label", str)]
    return [name for path in labelled for name in row_names(path).values()]


def problems(folder: str | Path, judge: Judge = exact) -> pd.DataFrame:
    """Every problem that a teacher wrote in the outer loop, columns `PROBLEMS`; reward is its data set's, label the
    judge's, topic the family that reads the question ("" where none does)."""
    rows = []
    for arm, seed, path in runs_of(folder):
        rows += [row | {"arm": arm, "seed": seed} for row in read_jsonl(path / "problems.jsonl", SyntheticProblem)]
    return _judged(rows, judge, PROBLEMS)


def sampled(folder: str | Path, judge: Judge = exact) -> pd.DataFrame:
    """The problems that trained and untrained teachers wrote for the evaluations, columns `SAMPLED`."""
    rows = []
    for path in claims.evaluations(folder):
        names = row_names(path)
        rows += [row | {"arm": names[row["arm"]]} for row in claims.written(path, names)]
    return _judged(rows, judge, SAMPLED)


def _judged(rows: list[dict], judge: Judge, columns: list[str]) -> pd.DataFrame:
    written = list(map(claims.problem_of, rows))
    topics, labels = [topic(problem.question) for problem in written], [verdict.label for verdict in judge(written)]
    return pd.DataFrame(rows, columns=columns).assign(topic=topics, label=labels)


def diversity_table(
    problems: pd.DataFrame, embed: Embedding | None = None, arms: Sequence[str] = (*TEACHERS, *SAMPLING),
    settings: DiversitySettings = DiversitySettings(),
) -> pd.DataFrame:  # fmt: skip
    """The diversity of a table of `problems` (a row per arm, seed and round) or `sampled` (one per arm and seed): these
    columns, then `diversity.COLUMNS`. Rows are of one size and share their embedding's weights (None: n-grams)."""
    by = ["arm", "seed", "round"] if "round" in problems else ["arm", "seed"]
    parts = problems[problems["arm"].isin(arms)].groupby(by, sort=False)
    groups = {key: list(map(claims.problem_of, part.to_dict("records"))) for key, part in parts}
    named = {"/".join(map(str, key)): written for key, written in groups.items()}
    found = diversity.per_arm(named, embed or diversity.tfidf(), settings).drop(columns="arm")
    return pd.concat([pd.DataFrame(list(groups), columns=by), found], axis=1)


def quality_by_arm(sampled: pd.DataFrame, judge: str = "exact", arms: Sequence[str] = SAMPLING) -> pd.DataFrame:
    """Shares of the quality labels among the problems sampled for the evaluation; columns `quality.COLUMNS`."""
    sampled = sampled[sampled["arm"].isin(arms)]
    verdicts = {
        arm: [[Verdict(label) for label in run["label"]] for _, run in part.groupby("seed")]
        for arm, part in sampled.groupby("arm", sort=False)
    }
    return quality.summary(verdicts, judge)


def quality_by_round(problems: pd.DataFrame) -> pd.DataFrame:
    """Shares of well-posed and of correct problems by arm, seed and round: arm, seed, round, well_posed, correct."""
    known = problems[problems["label"] != quality.UNJUDGED]
    marks = known.assign(well_posed=known["label"].isin(quality.WELL_POSED), correct=known["label"] == "correct")
    return marks.groupby(["arm", "seed", "round"], sort=False)[["well_posed", "correct"]].mean().reset_index()
