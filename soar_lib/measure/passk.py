"""pass@k, its interval, and the table of arms: numbers in, numbers out.

SOAR sections 4.3 and B.8 report mean and standard deviation over seeds and state neither the estimator nor how seeds
nest. Here the estimator is the unbiased one of Chen et al. 2021 ("Evaluating Large Language Models Trained on Code"),
and the interval a bootstrap over SOAR runs (teacher seeds), students within a run and problems (`measure.bootstrap`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from soar_lib.files import read_records
from soar_lib.measure.bootstrap import bootstrap, sign_flip
from soar_lib.records import HARD_TEST, Score

TYPES = {"arm": str, "k": int, "mean": float, "low": float, "high": float, "seeds": int, "rollouts": int}
COLUMNS = [*TYPES]
KINDS = 5  # from so many kinds of problems on, kinds are averaged and not problems
LEAST_CELLS, LEAST_RATE = 10, 0.02  # a comparison with fewer successes, or with both arms below, is at the floor


@dataclass(frozen=True)
class Comparison:
    """pass@k of `arm` minus that of `other` on the same problems, with its 95 % interval, its two-sided p, and the p of
    the sign-flip test over runs. `runs` counts the SOAR runs that have both arms; the rollouts are the mean numbers of
    completions that trained a student. `floor`: too few successes to compare, that is fewer than `LEAST_CELLS` pairs of
    a student and a problem it has solved, or both arms below `LEAST_RATE`."""

    arm: str
    other: str
    k: int
    difference: float
    low: float
    high: float
    p: float
    runs: int
    rollouts: int
    other_rollouts: int
    sign_flip: float
    floor: bool


def read_scores(folders: Iterable[str | Path]) -> list[Score]:
    """The scores in evaluations' run folders; runs are renamed "folder: run", since two may bear one name."""
    read = ((folder.name, read_records(folder / "scores.jsonl", Score)) for folder in map(Path, folders))
    return [replace(score, run=f"{name}: {score.run}") for name, scores in read for score in scores]


@cache
def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that at least one of k samples is right, estimated without bias from c right ones of n.

    1 - C(n-c, k) / C(n, k), as a product that never leaves [0, 1] (Chen et al. 2021, section 2.1).
    Raises ValueError outside 1 <= k <= n and 0 <= c <= n.

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 2), pass_at_k(4, 0, 4), pass_at_k(4, 2, 3)
    (0.25, 0.5, 0.0, 1.0)
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"pass@k of n = {n}, c = {c}, k = {k}: needs 1 <= k <= n and 0 <= c <= n")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def table(
    scores: Iterable[Score], ks: Sequence[int], arms: Sequence[str] | None = None, seed: int = 0, set: str = HARD_TEST
) -> pd.DataFrame:
    """pass@k of each arm (in the order of `arms`; None: all, as they come) with its 95 % interval; columns `COLUMNS`,
    fractions. `seeds` counts the students measured, `rollouts` is the mean number of completions that trained one. Arms
    without scores on `set` have no row. Raises ValueError where a student lacks a problem or k is above the samples."""
    frame = _frame(scores, set)
    rows = []
    for arm in frame["arm"].unique() if arms is None else arms:
        part = frame[frame["arm"] == arm]
        for k in ks if len(part) else ():
            values, sets = _matrices(part, k)
            low, high = bootstrap(values, sets, seed).interval()
            mean = fmean(float(run.mean()) for run in values)
            seeds = sum(len(run) for run in values)
            rows.append([arm, k, mean, max(low, 0.0), min(high, 1.0), seeds, round(part["rollouts"].mean())])
    return pd.DataFrame(rows, columns=COLUMNS)


def compare(scores: Iterable[Score], arm: str, other: str, k: int, seed: int = 0, set: str = HARD_TEST) -> Comparison:
    """The paired test of two arms: same runs, student numbers and problems, so what they share cancels. Raises
    ValueError where they share no run, or were measured on other problems or with other students."""
    frame = _frame((score for score in scores if score.arm in (arm, other)), set)
    both = [frame[frame["arm"] == name] for name in (arm, other)]
    common = {*both[0]["run"]} & {*both[1]["run"]}
    if not common:
        raise ValueError(f"{arm} and {other} share no run on {set}; evaluate both")
    both = [part[part["run"].isin(common)] for part in both]
    (values, sets), (others, other_sets) = (_matrices(part, k) for part in both)
    if sets != other_sets or [v.shape for v in values] != [v.shape for v in others]:
        raise ValueError(f"{arm} and {other} were measured on other problems or students; evaluate both anew")
    differences = [value - its for value, its in zip(values, others, strict=True)]
    found = bootstrap(differences, sets, seed)
    low, high = found.interval()
    flipped = sign_flip([float(run.mean()) for run in differences])
    solved = sum(int((part["c"] > 0).sum()) for part in both)
    best = max(fmean(float(run.mean()) for run in each) for each in (values, others))
    floor = solved < LEAST_CELLS or best < LEAST_RATE
    budgets = (round(part["rollouts"].mean()) for part in both)
    ends, p = (max(low, -1.0), min(high, 1.0)), found.p_value()
    return Comparison(arm, other, k, found.mean, *ends, p, len(sets), *budgets, flipped, floor)


def by_student(scores: Iterable[Score], arm: str, k: int, set: str = HARD_TEST) -> dict[str, list[float]]:
    """pass@k of each student of an arm in the order of their numbers, by run; of many kinds of problems their mean."""
    part = _frame((score for score in scores if score.arm == arm), set)
    return dict(zip(sorted({*part["run"]}), (run.mean(1).tolist() for run in _matrices(part, k)[0])))


def gaps(scores: Iterable[Score], arms: Sequence[str], other: str, k: int, set: str = HARD_TEST) -> pd.DataFrame:
    """Each arm minus `other`, by `compare`: columns arm, other, k, mean, low, high (fractions), p (text), seeds."""
    rows, scores = [], list(scores)
    for arm in arms:
        c = compare(scores, arm, other, k, set=set)
        rows.append([arm, other, k, c.difference, c.low, c.high, p_text(c.p), c.runs])
    return pd.DataFrame(rows, columns=["arm", "other", "k", "mean", "low", "high", "p", "seeds"])


def p_text(p: float) -> str:
    """A p-value as text with two decimals; NaN stands for one run without spread, which has none.

    >>> p_text(0.0312), p_text(0.00003), p_text(float("nan"))
    ('p = 0.03', 'p < 0.01', 'one run')
    """
    return "one run" if math.isnan(p) else f"p = {p:.2f}" if p >= 0.01 else "p < 0.01"


def _frame(scores: Iterable[Score], set: str) -> pd.DataFrame:
    own = [score for score in scores if score.set == set]  # column by column: pandas takes seconds for the records
    return pd.DataFrame({field.name: [getattr(score, field.name) for score in own] for field in fields(Score)})


def _matrices(part: pd.DataFrame, k: int) -> tuple[list[np.ndarray], list[tuple[str, ...]]]:
    """For each run pass@k [students, problems] and the tuple of its problems; of problems of `KINDS` kinds or more the
    means [students, kinds] and the kinds, since problems of a kind are learned together."""
    values, sets = [], []
    kinds = part.drop_duplicates("problem").set_index("problem")["kind"]
    estimates = part.assign(value=[pass_at_k(n, c, k) for n, c in zip(part["n"], part["c"], strict=True)])
    for run, rows in estimates.groupby("run", sort=True):
        matrix = rows.pivot(index="student", columns="problem", values="value")
        if matrix.isna().any(axis=None):
            raise ValueError(f"{run}: not every student was measured on every problem; resume the evaluation")
        if kinds.all() and kinds.nunique() >= KINDS:
            matrix = matrix.T.groupby(kinds).mean().T
        values.append(matrix.to_numpy())
        sets.append(tuple(matrix.columns))
    return values, sets
