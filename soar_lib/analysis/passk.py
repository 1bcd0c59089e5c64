"""pass@k, its interval, and the table of arms: numbers in, numbers out.

SOAR sections 4.3 and B.8 report pass@k of 32 samples per problem as mean and standard deviation over seeds, with
neither the estimator nor the nesting of the seeds stated. Here the estimator is the unbiased one of Chen et al. 2021
("Evaluating Large Language Models Trained on Code"), and the interval is a bootstrap over all three sources of
chance: SOAR runs, students within a run, problems.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from soar_lib.runs import read_jsonl

COLUMNS = ["arm", "k", "mean", "low", "high", "seeds", "rollouts"]


@dataclass(frozen=True)
class Score:
    """`c` of `n` samples of one student on one problem were right."""

    arm: str
    run: str  # name of the SOAR run the arm stands on; arms without one are measured beside each run
    student: int  # number of the fresh student, or of the inference seed where nothing is trained
    problem: str  # Problem.id
    n: int
    c: int
    rollouts: int  # completions that trained this very student


def read_scores(folders: Iterable[str | Path]) -> list[Score]:
    """The scores that evaluations' run folders hold; runs are named by both folders, since two may bear one name."""
    return [
        Score(**row | {"run": f"{Path(folder).name}: {row['run']}"})
        for folder in folders
        for row in read_jsonl(Path(folder) / "scores.jsonl")
    ]


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


def bootstrap_interval(
    runs: Sequence[np.ndarray],
    problem_sets: Sequence[Hashable] | None = None,
    seed: int = 0,
    level: float = 0.95,
    draws: int = 4000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over runs, students and problems.

    `runs`: for each SOAR run values [students, problems]. Each draw takes runs with replacement, students within each
    run taken, and problems; runs with the same entry in `problem_sets` (all of them by default) share the problems
    drawn, since the same problems measure them. With a handful of seeds such an interval is somewhat too narrow.

    >>> bootstrap_interval([np.full((4, 8), 0.25)])
    (0.25, 0.25)
    """
    rng = np.random.default_rng(seed)
    sets = list(problem_sets) if problem_sets is not None else [0] * len(runs)
    weights = {name: _shares(rng, runs[sets.index(name)].shape[1], draws) for name in dict.fromkeys(sets)}
    means = np.zeros(draws)
    for position in range(len(runs)):
        # Position i of a draw holds one run, taken at random; its students are taken anew for this position.
        taken = rng.integers(len(runs), size=draws)
        for index, values in enumerate(runs):
            rows = taken == index
            students = _shares(rng, values.shape[0], draws)[rows]
            means[rows] += np.einsum("ds,sp,dp->d", students, values, weights[sets[index]][rows]) / len(runs)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _shares(rng: np.random.Generator, size: int, draws: int) -> np.ndarray:
    """[draws, size]: how often each of `size` items is in a sample of that size with replacement, as a share."""
    return rng.multinomial(size, np.full(size, 1 / size), size=draws) / size


def table(scores: Iterable[Score], ks: Sequence[int], arms: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """pass@k of each arm (in the order of `arms`) with its 95 % interval; columns `COLUMNS`, pass@k as fractions.

    `seeds` counts the students measured, `rollouts` is the mean number of completions that trained one of them.
    Arms without scores have no row.
    """
    frame = pd.DataFrame(list(scores))
    rows = []
    for arm in arms:
        part = frame[frame["arm"] == arm]
        for k in ks if len(part) else ():
            values, sets = _matrices(part, k)
            low, high = bootstrap_interval(values, sets, seed)
            mean = fmean(float(run.mean()) for run in values)
            seeds = sum(len(run) for run in values)
            rows.append([arm, k, mean, low, high, seeds, round(part["rollouts"].mean())])
    return pd.DataFrame(rows, columns=COLUMNS)


def difference(scores: Iterable[Score], arm: str, other: str, k: int, seed: int = 0) -> tuple[float, float, float]:
    """pass@k of `arm` less that of `other`, with its 95 % interval: (mean, low, high).

    Paired: the same runs, student numbers and problems, so what they share cancels. Raises ValueError without a pair.
    """
    frame = pd.DataFrame(list(scores))
    left, right = (frame[frame["arm"] == name] for name in (arm, other))
    common = sorted(set(left["run"]) & set(right["run"]))
    if not common:
        raise ValueError(f"{arm} and {other} share no run; evaluate both")
    values, sets = _matrices(left[left["run"].isin(common)], k)
    others, _ = _matrices(right[right["run"].isin(common)], k)
    gaps = [value - other for value, other in zip(values, others, strict=True)]
    return fmean(float(gap.mean()) for gap in gaps), *bootstrap_interval(gaps, sets, seed)


def _matrices(part: pd.DataFrame, k: int) -> tuple[list[np.ndarray], list[tuple[str, ...]]]:
    """For each run pass@k [students, problems] and the tuple of its problems."""
    values, sets = [], []
    for run, rows in part.groupby("run", sort=True):
        estimates = rows.assign(value=[pass_at_k(n, c, k) for n, c in zip(rows["n"], rows["c"], strict=True)])
        matrix = estimates.pivot(index="student", columns="problem", values="value")
        if matrix.isna().any(axis=None):
            raise ValueError(f"{run}: not every student was measured on every problem; resume the evaluation")
        values.append(matrix.to_numpy())
        sets.append(tuple(matrix.columns))
    return values, sets
