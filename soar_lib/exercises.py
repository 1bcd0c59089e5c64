"""Checks for the notebooks' exercises: `check(name, function)` compares an answer with what is right.

A notebook asks for a small function; the check says which case differs, or that nothing is written yet. Solutions are
notebooks of their own, in notebooks/solutions; tests hold them and this table against the library.
"""

from collections.abc import Callable
from typing import Any

_ALIKE = [[1.0, 0.96, 0.0], [0.96, 1.0, 0.28], [0.0, 0.28, 1.0]]

# Of each exercise: arguments and the right result.
# fmt: off
EXERCISES: dict[str, list[tuple[tuple, Any]]] = {
    "hard": [
        (([0, 0, 0, 1], 3), True), (([0, 0, 0, 1], 4), False), (([1, 0, 0, 0], 1), False), (([0] * 128, 128), True),
    ],
    "survival": [((0.0, 128), 1.0), ((0.01, 128), 0.2762516676992083), ((0.5, 1), 0.5), ((1.0, 8), 0.0)],
    "samples": [((0.0, 128), 128.0), ((1.0, 128), 1.0), ((0.5, 2), 1.5), ((0.01, 128), 72.3748332300791)],
    "leave_one_out": [
        (([120.0, 10.0, 0.0, 10.0],), [340 / 3, -100 / 3, -140 / 3, -100 / 3]),
        (([10.0, 10.0],), [0.0, 0.0]), (([0.0, 0.0, 120.0],), [-60.0, -60.0, 120.0]),
    ],
    "promoted": [
        (([0.02], 3, 0.01), False), (([0.0, 0.02, 0.04], 3, 0.01), True), (([0.5, 0.0, 0.0, 0.0], 3, 0.01), False),
        (([0.01], 1, 0.01), False),
    ],
    "intrinsic": [(([0.0, 0.0],), 0.0), (([0.5, 0.25],), 0.625), (([1.0, 0.0, 0.125],), 0.2916666666666667)],
    "pass_at_k": [
        ((4, 1, 1), 0.25), ((4, 1, 2), 0.5), ((4, 0, 4), 0.0), ((32, 3, 8), 0.5919354838709677), ((4, 3, 2), 1.0),
    ],
    "paired": [
        (([0.5, 0.25], [0.25, 0.0]), [0.25, 0.0]), (([1.0, 0.0, 0.5], [0.0, 0.0, 0.0]), [0.5, 0.2886751345948129]),
    ],
    "verdict": [
        ((1.0, 5.0, 0.0), "holds"), ((-1.0, 7.0, 0.0), "undecided"), ((-5.0, -1.0, 0.0), "does not hold"),
        ((1.5, 3.0, 2.0), "undecided"),
    ],
    "vendi": [
        (([0.5, 0.5],), 2.0), (([1.0, 0.0],), 1.0), (([0.25] * 4,), 4.0), (([0.7, 0.2, 0.1],), 2.229591873920416),
    ],
    "mean_distance": [
        (([[1.0, 1.0], [1.0, 1.0]],), 0.0), (([[1.0, 0.0], [0.0, 1.0]],), 1.0), ((_ALIKE,), 0.5866666666666667),
    ],
    "paid_chance": [
        ((0.0, 8, 0.125, 0.625), 0.0), ((0.1, 8, 0.125, 0.625), 0.5695093800000001), ((1.0, 8, 0.125, 1.0), 1.0),
        ((0.75, 8, 0.125, 0.625), 0.321441650390625),
    ],
    "further_rollouts": [
        (([0, 8, 5], 8, 8), 0), (([4, 1, 0], 8, 8), 360), (([2, 3], 4, 2), 20), (([1, 2, 3, 4, 5, 6], 8, 4), 360),
    ],
    "token_entropy": [
        (([[0.0, 0.0]],), -0.0), (([[-1.0], [-2.0, -3.0, -4.0]],), 2.5),
        (([[-0.5, -0.5], [0.0] * 6],), 0.125),
    ],
    "near_duplicates": [
        ((_ALIKE, 0.99), 0.0), ((_ALIKE, 0.2), 0.6666666666666666), ((_ALIKE, 0.9), 0.3333333333333333),
    ],
    "grpo": [
        (([1.05, 0.05, 0.05, 0.0],), [1.498390126, -0.4667116785, -0.4667116785, -0.5649667687]),
        (([0.05] * 4,), [0.0, 0.0, 0.0, 0.0]), (([1.05, 0.05],), [0.7071067811865475, -0.7071067811865475]),
    ],
    "prompts": [((1, 6, 4), 6), ((2, 6, 4), 30), ((3, 6, 4), 54), ((3, 2, 40), 14)],
    "ttrl": [
        (([[0, 0, 1], [0, 1, 0]],), [0.5, 1.0]), (([[0, 0], [0, 0]],), [0.0, 0.0]),
        (([[1, 0, 0], [0, 0, 1], [0, 0, 0]],), [0.3333333333333333, 0.6666666666666666]),
    ],
}
# fmt: on


def check(name: str, function: Callable[..., Any]) -> str:
    """Compare `function` with what is right, on every case of an exercise.

    >>> check("survival", lambda rate, k: (1 - rate) ** k)
    'survival: right'
    >>> check("survival", lambda rate, k: None)
    'survival: not written yet'
    >>> check("survival", lambda rate, k: 1 - rate)
    'survival: for (0.01, 128) expected 0.2762516676992083, found 0.99'
    """
    found = [(arguments, right, function(*arguments)) for arguments, right in EXERCISES[name]]
    if all(value is None for _, _, value in found):
        return f"{name}: not written yet"
    for arguments, right, value in found:
        if not _same(right, value):
            return f"{name}: for {_shown(arguments)} expected {_shown(right)}, found {_shown(value)}"
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
