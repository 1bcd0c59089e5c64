"""Checks for the notebooks' exercises: `check(name, function)` compares an answer with the definition.

A notebook asks for a small function; the check says which case differs, or that nothing is written yet. Solutions are
notebooks of their own, in notebooks/solutions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
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


EXERCISES = {
    "hard": Exercise(_hard, (([0, 0, 0, 1], 3), ([0, 0, 0, 1], 4), ([1, 0, 0, 0], 1), ([0] * 128, 128))),
    "survival": Exercise(_survival, ((0.0, 128), (0.01, 128), (0.5, 1), (1.0, 8))),
    "samples": Exercise(_samples, ((0.0, 128), (1.0, 128), (0.5, 2), (0.01, 128))),
    "leave_one_out": Exercise(_leave_one_out, (([120.0, 10.0, 0.0, 10.0],), ([10.0, 10.0],), ([0.0, 0.0, 120.0],))),
    "promoted": Exercise(
        _promoted, (([0.02], 3, 0.01), ([0.0, 0.02, 0.04], 3, 0.01), ([0.5, 0.0, 0.0, 0.0], 3, 0.01), ([0.01], 1, 0.01))
    ),
    "intrinsic": Exercise(_intrinsic, (([0.0, 0.0],), ([0.5, 0.25],), ([1.0, 0.0, 0.125],))),
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
    if not isinstance(found, bool | int | float):
        return False
    return abs(expected - found) <= 1e-9 * max(1.0, abs(expected))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
