"""Why two measures of the second world's study disagree: a teacher's value, and pass@32 of fresh students.

All of this was looked for after the claims had been judged, so it is exploratory.

    world_students.csv   a row per fresh student of a teacher: arm, seed, student; of the 64 problems it learned from,
                         how many were useful, stones with a wrong answer (wrong) and decoys, and the effective number
                         of skills among the useful ones; pass@1 and pass@32 on hard test
    world_gaps.csv       points of pass@32, the teacher paid by disagreement minus the one paid by progress: as
                         measured, at equal numbers of useful problems, and of useful problems and skills; by least
                         squares on the means of SOAR runs, with Student's 95 % interval
    world_coverage.csv   what data sets of the teacher paid by progress earned, by the number of their useful problems,
                         and with 4 to 7 of these by the number of their skills: the mean over runs, a fraction of 1
    world_signal.csv     what a reward says of a data set once a student was promoted: of the data sets of a run's
                         later rounds, and of the run without promotion in the same rounds, their number, the mean and
                         SD of their rewards, and the correlation of these with the number of useful problems
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from soar_lib.measure import passk
from soar_lib.measure.charts import Chart, Mark, Panel, arm_mark
from soar_lib.measure.claims import over_seeds
from soar_lib.records import Score
from soar_lib.soar import claims, report
from tools import mix

ARMS = PROGRESS, DISAGREEMENT, _ = ("grounded_t_no_promotion", "intrinsic_t", "base_t")
LEARNED = {"useful": "useful problems of the 64 it learned from", "skills": "effective number of skills in these"}
GIVEN = {"as measured": (), "at equal useful problems": ("useful",), "and at equal skills": ("useful", "skills")}
BETWEEN = (4, 7)  # useful problems of 16: there sets of one skill and sets of several are common
MOST = 6  # of eight runs must have data sets of a kind for it to be drawn
EARNED = {
    "useful": "useful problems of a data set's 16",
    "skills": f"skills among {BETWEEN[0]} to {BETWEEN[1]} useful problems (data sets)",
}  # fmt: skip


def counts(problems: pd.DataFrame) -> dict:
    """How many of some problems, as `mix.described` has them, are useful, wrong and decoys, and how many skills the
    useful ones ask for."""
    roles = problems["role"].value_counts()
    useful = problems.loc[problems["role"] == mix.USEFUL, "skill"]
    return {
        "useful": len(useful), "wrong": roles.get("stone, wrong", 0), "decoys": roles.get("decoy", 0),
        "skills": mix.effective(useful) if len(useful) else 0.0,
    }  # fmt: skip


def students(folder: Path, scores: Sequence[Score]) -> pd.DataFrame:
    """The rows of world_students.csv."""
    reached, rows = reached_by(scores), []
    for path in claims.evaluations(folder):
        names = report.row_names(path)
        found = pd.DataFrame(claims.written(path, names)).replace({"arm": names})
        for key, own in found[found["arm"].isin(ARMS)].groupby(["arm", "seed", "student"]):
            what = pd.DataFrame([mix.described(*pair) for pair in zip(own["question"], own["answer"])])
            rows.append(dict(zip(("arm", "seed", "student"), key)) | counts(what) | reached[key])
    return pd.DataFrame(rows).round(4)


def reached_by(scores: Sequence[Score]) -> dict[tuple[str, int, int], dict[str, float]]:
    """pass@1 and pass@32 on hard test (means over kinds of problems) by arm, seed and student."""
    found = {}
    for arm in ARMS:
        once, most = (passk.by_student(scores, arm, k) for k in (1, 32))
        for run in once:
            for student, pair in enumerate(zip(once[run], most[run], strict=True)):
                found[arm, int(run.removeprefix("seed")), student] = dict(zip(("pass@1", "pass@32"), pair))
    return found


def by_student(data: pd.DataFrame) -> Chart:
    """pass@32 of fresh students over the useful problems that they learned from, and over the skills in these."""
    panels = []
    for column, label in LEARNED.items():
        marks = [
            arm_mark(arm, own[column], 100 * own["pass@32"], line="", opacity=0.7)
            for arm, own in data.groupby("arm", sort=False)
        ]
        panels.append(Panel(marks, label, "pass@32 on hard test (%)", "A point is a student", ylim=(-3, 103)))
    return Chart(panels, 2, (10.0, 4.6), shared="y", legend="top")


def gaps(data: pd.DataFrame) -> pd.DataFrame:
    """The rows of world_gaps.csv: compared, ours, low, high (points), runs."""
    runs = data[data["arm"].isin((PROGRESS, DISAGREEMENT))].groupby(["arm", "seed"]).mean().reset_index()
    rows = [[what, *difference(runs, given), len(runs)] for what, given in GIVEN.items()]
    return pd.DataFrame(rows, columns=["compared", "ours", "low", "high", "runs"]).round(4)


def difference(runs: pd.DataFrame, given: Sequence[str]) -> tuple[float, float, float]:
    """Disagreement minus progress in points of pass@32 at equal `given`, with the ends of its 95 % interval."""
    design = np.column_stack([runs["arm"] == DISAGREEMENT, np.ones(len(runs)), runs[list(given)]]).astype(float)
    outcome, freedom = 100 * runs["pass@32"].to_numpy(), len(runs) - design.shape[1]
    weights = np.linalg.pinv(design)
    slope = weights @ outcome
    error = np.sqrt(((outcome - design @ slope) ** 2).sum() / freedom * (weights[0] ** 2).sum())
    half = stats.t.ppf(0.975, freedom) * error
    return slope[0], slope[0] - half, slope[0] + half


def coverage(written: dict[tuple[str, int], pd.DataFrame]) -> pd.DataFrame:
    """The rows of world_coverage.csv: by, count, sets, mean, low, high, seeds."""
    rows = []
    for (arm, seed), own in written.items():
        for _, problems in own.groupby(["round", "dataset"]) if arm == "no_promotion" else ():
            useful = problems.loc[problems["role"] == mix.USEFUL, "skill"]
            rows.append((seed, len(useful), useful.nunique(), problems["reward"].iloc[0]))
    sets = pd.DataFrame(rows, columns=["seed", "useful", "skills", "reward"])
    parts = {"useful": sets, "skills": sets[sets["useful"].between(*BETWEEN)]}
    found = [(by, count, own) for by, part in parts.items() for count, own in part.groupby(by)]
    means = [over_seeds(own.groupby("seed")["reward"].mean().tolist(), difference=False) for *_, own in found]
    rows = [[by, n, len(own), m.ours, m.low, m.high, m.seeds] for (by, n, own), m in zip(found, means)]
    return pd.DataFrame(rows, columns=["by", "count", "sets", "mean", "low", "high", "seeds"]).round(4)


def signal(rounds: pd.DataFrame, written: dict[tuple[str, int], pd.DataFrame]) -> pd.DataFrame:
    """The rows of world_signal.csv (arm, seed, sets, mean, sd, r), from `report.rounds` and what teachers wrote."""
    rows = []
    for seed, first in rounds[rounds["promoted"]].groupby("seed")["round"].min().items():
        for arm in ("promotion", "no_promotion"):
            own = written[arm, seed].query("round > @first")
            sets = own.assign(useful=own["role"] == mix.USEFUL).groupby(["round", "dataset"])
            useful, reward = sets["useful"].sum(), sets["reward"].first()
            rows.append([arm, seed, len(reward), reward.mean(), reward.std(), useful.corr(reward)])
    return pd.DataFrame(rows, columns=["arm", "seed", "sets", "mean", "sd", "r"]).round(4)


def by_content(data: pd.DataFrame) -> Chart:
    """What a data set earned by the number of its useful problems, and of their skills; where few runs have such sets
    there is nothing to see."""
    panels = []
    for by, own in data[data["seeds"] >= MOST].groupby("by", sort=False):
        low, high = 100 * own["low"], 100 * own["high"]
        mark = Mark(own["count"], 100 * own["mean"], line="-", marker="o", low=low, high=high)
        ticks = {} if len(own) > 6 else {row.count: f"{row.count}\n({row.sets})" for row in own.itertuples(index=False)}
        panels.append(Panel([mark], EARNED[by], "reward (points)", "Mean over runs, 95 % intervals", ticks=ticks))
    return Chart(panels, 2, (10.0, 4.4), shared="y", legend="")
