"""Checks for the notebooks' exercises: `check(name, function)` compares an answer with what is right.

A notebook asks for a small function; the check says which case differs and what to look at, or that nothing is written
yet. Solutions are in solutions/; tests hold them and exercises.json against the library.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STORED = json.loads(Path(__file__).with_suffix(".json").read_text())
# Of each exercise: arguments and the right result, and what explains a wrong one.
EXERCISES = {name: [(tuple(given), right) for given, right in stored["cases"]] for name, stored in _STORED.items()}
HINTS = {name: stored["hint"] for name, stored in _STORED.items()}


def check(name: str, function: Callable[..., Any]) -> str:
    """Compare `function` with what is right, on every case of an exercise.

    >>> check("rate", lambda chance, k: 1 - chance ** (1 / k))
    'rate: right'
    >>> check("rate", lambda chance, k: None)
    'rate: not written yet'
    """
    found = [(arguments, right, function(*arguments)) for arguments, right in EXERCISES[name]]
    if all(value is None for _, _, value in found):
        return f"{name}: not written yet"
    for arguments, right, value in found:
        if not _same(right, value):
            return f"{name}: for {_shown(arguments)} expected {_shown(right)}, found {_shown(value)}. {HINTS[name]}"
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
