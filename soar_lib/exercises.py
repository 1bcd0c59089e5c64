"""Checks for the notebooks' exercises: `check(name, function)` compares an answer with the definition.

A notebook asks for a small function; the check says which case differs, or that nothing is written yet. Solutions are
notebooks of their own, in notebooks/solutions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, exp, log
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class Exercise:
    """What is right (`answer`) and the arguments on which it is compared."""

    answer: Callable[..., Any]
    cases: tuple[tuple, ...]


def _hard(outcomes: Sequence[int], k: int) -> bool:
    return not any(outcomes[:k])


def _survival(rate: float, k: int) -> float:
    return (1 - rate) ** k


def _samples(rate: float, k: int) -> float:
    return sum((1 - rate) ** drawn for drawn in range(k))


def _leave_one_out(rewards: Sequence[float]) -> list[float]:
    return [reward - (sum(rewards) - reward) / (len(rewards) - 1) for reward in rewards]


def _promoted(history: Sequence[float], window: int, threshold: float) -> bool:
    return len(history) >= window and fmean(history[-window:]) > threshold


def _intrinsic(rates: Sequence[float]) -> float:
    return fmean(1 - rate if rate > 0 else 0.0 for rate in rates)


def _pass_at_k(n: int, c: int, k: int) -> float:
    return 1 - comb(n - c, k) / comb(n, k)


def _verdict(low: float, high: float, null: float) -> str:
    return "holds" if low > null else "does not hold" if high < null else "undecided"


def _paired(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    gaps = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    return [fmean(gaps), stdev(gaps) / len(gaps) ** 0.5]


def _vendi(eigenvalues: Sequence[float]) -> float:
    return exp(-sum(value * log(value) for value in eigenvalues if value > 0))


def _mean_distance(similarities: Sequence[Sequence[float]]) -> float:
    n = len(similarities)
    return fmean(1 - similarities[i][j] for i in range(n) for j in range(n) if i != j)


def _near_duplicates(similarities: Sequence[Sequence[float]], near: float) -> float:
    return fmean(any(value >= near for value in row[:i]) for i, row in enumerate(similarities))


def _grpo(rewards: Sequence[float]) -> list[float]:
    if len(set(rewards)) == 1:
        return [0.0] * len(rewards)
    return [(reward - fmean(rewards)) / stdev(rewards) for reward in rewards]


def _prompts(depth: int, prompts: int, parents: int) -> int:
    asked, total = 1, 0
    for _ in range(depth):
        total += asked * prompts
        asked = min(parents, asked * prompts)
    return total


def _ttrl(probes: Sequence[Sequence[int]]) -> list[float]:
    return [fmean(own[-1] for own in probes), fmean(any(own) for own in probes)]


def _paid_chance(rate: float, group: int, low: float, high: float) -> float:
    counts = [count for count in range(group + 1) if low * group <= count <= high * group]
    return sum(comb(group, count) * rate**count * (1 - rate) ** (group - count) for count in counts)


def _further_rollouts(counts: Sequence[int], group: int, variants: int) -> int:
    seeds = sum(count for count in counts if 1 <= count <= group / 2)
    return seeds * variants * (1 + group)


def _token_entropy(logprobs: Sequence[Sequence[float]]) -> float:
    return -sum(map(sum, logprobs)) / sum(map(len, logprobs))


_ALIKE = [[1.0, 0.96, 0.0], [0.96, 1.0, 0.28], [0.0, 0.28, 1.0]]

EXERCISES = {
    "hard": Exercise(_hard, (([0, 0, 0, 1], 3), ([0, 0, 0, 1], 4), ([1, 0, 0, 0], 1), ([0] * 128, 128))),
    "survival": Exercise(_survival, ((0.0, 128), (0.01, 128), (0.5, 1), (1.0, 8))),
    "samples": Exercise(_samples, ((0.0, 128), (1.0, 128), (0.5, 2), (0.01, 128))),
    "leave_one_out": Exercise(_leave_one_out, (([120.0, 10.0, 0.0, 10.0],), ([10.0, 10.0],), ([0.0, 0.0, 120.0],))),
    "promoted": Exercise(
        _promoted, (([0.02], 3, 0.01), ([0.0, 0.02, 0.04], 3, 0.01), ([0.5, 0.0, 0.0, 0.0], 3, 0.01), ([0.01], 1, 0.01))
    ),
    "intrinsic": Exercise(_intrinsic, (([0.0, 0.0],), ([0.5, 0.25],), ([1.0, 0.0, 0.125],))),
    "pass_at_k": Exercise(_pass_at_k, ((4, 1, 1), (4, 1, 2), (4, 0, 4), (32, 3, 8), (4, 3, 2))),
    "paired": Exercise(_paired, (([0.5, 0.25], [0.25, 0.0]), ([1.0, 0.0, 0.5], [0.0, 0.0, 0.0]))),
    "verdict": Exercise(_verdict, ((1.0, 5.0, 0.0), (-1.0, 7.0, 0.0), (-5.0, -1.0, 0.0), (1.5, 3.0, 2.0))),
    "vendi": Exercise(_vendi, (([0.5, 0.5],), ([1.0, 0.0],), ([0.25] * 4,), ([0.7, 0.2, 0.1],))),
    "mean_distance": Exercise(_mean_distance, (([[1.0, 1.0], [1.0, 1.0]],), ([[1.0, 0.0], [0.0, 1.0]],), (_ALIKE,))),
    "paid_chance": Exercise(
        _paid_chance, ((0.0, 8, 0.125, 0.625), (0.1, 8, 0.125, 0.625), (1.0, 8, 0.125, 1.0), (0.75, 8, 0.125, 0.625))
    ),
    "further_rollouts": Exercise(
        _further_rollouts, (([0, 8, 5], 8, 8), ([4, 1, 0], 8, 8), ([2, 3], 4, 2), ([1, 2, 3, 4, 5, 6], 8, 4))
    ),
    "token_entropy": Exercise(
        _token_entropy, (([[0.0, 0.0]],), ([[-1.0], [-2.0, -3.0, -4.0]],), ([[-0.5, -0.5], [0.0] * 6],))
    ),
    "near_duplicates": Exercise(_near_duplicates, ((_ALIKE, 0.99), (_ALIKE, 0.2), (_ALIKE, 0.9))),
    "grpo": Exercise(_grpo, (([1.05, 0.05, 0.05, 0.0],), ([0.05] * 4,), ([1.05, 0.05],))),
    "prompts": Exercise(_prompts, ((1, 6, 4), (2, 6, 4), (3, 6, 4), (3, 2, 40))),
    "ttrl": Exercise(_ttrl, (([[0, 0, 1], [0, 1, 0]],), ([[0, 0], [0, 0]],), ([[1, 0, 0], [0, 0, 1], [0, 0, 0]],))),
}


def check(name: str, function: Callable[..., Any]) -> str:
    """Compare `function` with the definition on every case.

    >>> check("survival", lambda rate, k: (1 - rate) ** k)
    'survival: right'
    >>> check("survival", lambda rate, k: None)
    'survival: not written yet'
    >>> check("survival", lambda rate, k: 1 - rate)
    'survival: for (0.01, 128) expected 0.2762516676992083, found 0.99'
    """
    exercise = EXERCISES[name]
    found = [function(*case) for case in exercise.cases]
    if all(value is None for value in found):
        return f"{name}: not written yet"
    for case, value in zip(exercise.cases, found, strict=True):
        expected = exercise.answer(*case)
        if not _same(expected, value):
            return f"{name}: for {_shown(case)} expected {_shown(expected)}, found {_shown(value)}"
    return f"{name}: right"


def _same(expected: Any, found: Any) -> bool:
    """Equal to nine digits; lists element by element."""
    if isinstance(expected, list):
        same_length = isinstance(found, list | tuple) and len(found) == len(expected)
        return same_length and all(map(_same, expected, found))
    if isinstance(expected, str):
        return expected == found
    if not isinstance(found, bool | int | float):
        return False
    return abs(expected - found) <= 1e-9 * max(1.0, abs(expected))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
