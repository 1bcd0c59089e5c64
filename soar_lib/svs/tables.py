"""An SvS folder as tables for figures and widgets: its arms step by step, and what they wrote. Only files are read.

Numbers per arm and claims are in `svs_report`.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from soar_lib import runs
from soar_lib.measure import passk
from soar_lib.svs import report as svs_report
from soar_lib.svs.report import SHARES

STEPS = ["arm", "seed", "step", "rollouts", "accuracy", "entropy", "test_entropy"]
WRITTEN = [
    "arm", "seed", "step", "problem", "original", "answer", "number", "index", "question", "right", "reward", "leak",
    "duplicate", "dropped",
]  # fmt: skip

KINDS = ("valid, new", "valid, near duplicate", "another answer or none", "unreadable", "not judged")


def steps(folder: str | Path) -> pd.DataFrame:
    """The policy of each trained arm and seed after `step` updates and `rollouts` completions, columns `STEPS`.

    accuracy (a fraction) and entropy (nats per token) are those of the solutions from which it learns next, so there
    are none after the last update; test_entropy is on the test problems, where it was measured.
    """
    start = svs_report.entropies(folder, "base")
    parts = [
        _of_seed(arm, seed, own, start[place] if start else math.nan, svs_report.entropies(folder, arm)[place:])
        for arm, frame in svs_report.curves(folder).groupby("arm", sort=False)
        for place, (seed, own) in enumerate(frame.groupby("seed", sort=True))
    ]
    return pd.concat(parts, ignore_index=True).round(5)[STEPS] if parts else pd.DataFrame(columns=STEPS)


def _of_seed(arm: str, seed: int, own: pd.DataFrame, start: float, end: list[float]) -> pd.DataFrame:
    """`own` are the rows of metrics.csv, in which test_entropy is that after the row's update."""
    measured = own["test_entropy"].tolist() if "test_entropy" in own else [math.nan] * len(own)
    return pd.DataFrame(
        {
            "arm": arm, "seed": seed, "step": range(len(own) + 1),
            "rollouts": [0, *own["rollouts"].cumsum()],
            "accuracy": [*own["accuracy"], math.nan],
            "entropy": [*own["entropy"], math.nan],
            "test_entropy": [start, *measured[:-1], *(end[:1] or [math.nan])],
        }
    )  # fmt: skip


def passes(table: pd.DataFrame, set: str = "hard") -> pd.DataFrame:
    """The pass@k of `svs_report.table` on one set of problems, columns `passk.COLUMNS`."""
    found = table["metric"].str.extract(rf"^{set} pass@(\d+)$")[0]
    return table.assign(k=found)[found.notna()].astype({"k": int})[passk.COLUMNS].reset_index(drop=True)


def binned(variants: pd.DataFrame, width: int = 5) -> pd.DataFrame:
    """The table of `svs_report.variants` over `width` steps each, `step` being the first: as many columns, shares of
    all that was written in these steps (valid: of what was readable)."""
    keys = ["arm", "seed", "step"]
    counts = variants[list(SHARES)].mul(variants["written"], axis=0)
    counts["valid"] *= variants["readable"]
    first = variants["step"] // width * width
    sums = variants[["arm", "seed", "written"]].assign(step=first, **counts).groupby(keys, sort=False).sum(min_count=1)
    shares = sums[list(SHARES)].div(sums["written"], axis=0)
    shares["valid"] = sums["valid"] / sums["readable"].replace(0, np.nan)
    return sums[["written"]].join(shares.astype(float).round(5)).reset_index()


def written(folder: str | Path) -> pd.DataFrame:
    """Every problem that the finished arms wrote, columns `WRITTEN` (fields of `VariationalProblem`); the question of
    an unreadable one is ""."""
    rows = [
        row | {"arm": arm, "question": row["question"] or ""}
        for arm in svs_report.finished(folder)
        for row in runs.read_jsonl(Path(folder) / arm / "problems.jsonl")
    ]
    return pd.DataFrame(rows, columns=WRITTEN)


def kinds(folder: str | Path) -> pd.DataFrame:
    """What each arm wrote, by `KINDS`: arm, kind, variants, share (of the arm's), rewarded (share of the kind's).

    Near duplicates are those of the original or of an earlier variant of it in that step. Where nobody knows a
    question's answer, all that is readable is "not judged".
    """
    judge, frame = svs_report.exact_judge(folder), written(folder)
    frame["kind"] = [_kind(row, judge) for row in frame.itertuples(index=False)]
    groups = frame.assign(rewarded=frame["reward"] > 0).groupby(["arm", "kind"], sort=False)["rewarded"]
    found = groups.agg(variants="size", rewarded="mean").astype({"rewarded": float}).reset_index()
    found["share"] = found["variants"] / found.groupby("arm")["variants"].transform("sum")
    order = found["arm"].map(list(dict.fromkeys(found["arm"])).index) * len(KINDS) + found["kind"].map(KINDS.index)
    columns = ["arm", "kind", "variants", "share", "rewarded"]
    return found.iloc[order.argsort(kind="stable")][columns].round(5).reset_index(drop=True)


def _kind(row: tuple, judge: Callable | None) -> str:
    new, near, invalid, unreadable, unjudged = KINDS
    if not row.question:
        return unreadable
    if judge is None:
        return unjudged
    if not judge(row.question, row.answer).correct:
        return invalid
    return near if row.duplicate else new
