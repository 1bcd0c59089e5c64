"""Word problems about the legs of animals, as reasoning-gym's `leg_counting` states them; a herd: [(count, animal)]."""

import re
from collections.abc import Callable, Collection

from reasoning_gym.arithmetic.leg_counting import ANIMALS

LEGS = "Now, how many legs are there in total if you have "
_LEGS = re.compile(re.escape(LEGS) + r"(\d+ [a-z ]+(?:, \d+ [a-z ]+)*)\?")


def reading(pattern: re.Pattern, content: Callable[[re.Match], list]) -> Callable[[str], list | None]:
    """A parser: the content of a question that `pattern` matches as a whole, None for any other text."""
    return lambda question: content(match) if (match := pattern.fullmatch(question)) else None


def parse(question: str) -> list | None:
    """The herd of a question, [(count, animal), ...]; None where the text is no such question."""
    match = _LEGS.fullmatch(question)
    if not match:
        return None
    pairs = [(int(count), name) for count, name in re.findall(r"(\d+) ([a-z ]+)", match.group(1))]
    known = [(count, name[:-1] if count != 1 and name.endswith("s") else name) for count, name in pairs]
    return known if all(name in ANIMALS for _, name in known) else None


def write(herd: list) -> str:
    """The question about a herd, [(count, animal), ...]."""
    return LEGS + ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in herd) + "?"


def running_sum(terms: list, slips: Collection[int] = ()) -> tuple[str, str]:
    """(`42-25=17+73=90`, `90`) for 42, -25, 73: each partial result is the left operand of the next step.

    A slip at a step (from 1) makes a sum 10 too small (a lost carry) or a difference 1 too large; a few never cancel.
    """
    total, text = terms[0], str(terms[0])
    for step, term in enumerate(terms[1:], 1):
        total += term + (-10 if term > 0 else 1) * (step in slips)
        text += f"{term:+d}={total}"
    return text, str(total)


def solve(herd: list, slips: Collection[int] = ()) -> tuple[str, str]:
    """The running sum of the legs, with slips at the given steps, and the total."""
    return running_sum([count * ANIMALS[name] for count, name in herd], slips)
