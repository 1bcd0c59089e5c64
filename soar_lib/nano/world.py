r"""The embedded world: six families of problems that people write, with worked solutions and exact answers.

Items come from the public `reasoning-gym` generators; this file adds what the world needs beside them: a depth
(the number of steps of the worked solution), a parser from the question's text back to its content, and a solver.
So every text a model writes can be judged exactly: it is well posed if `parse` understands it, and right if its
answer is `solve`'s.

A family is data: the generator's settings for each depth, and three functions on its content (a list of numbers or
letters). `solve` can also make the family's usual mistake at chosen steps, as people do: a forgotten carry, a flipped
remainder, two neighbours swapped, a coefficient not divided. Questions whose hash is 0 modulo 8 are held out: no
pre-training document solves them (an easier variant may state one), and problem pools are drawn from them alone."""

import functools
import random
import re
from collections.abc import Collection, Sequence

from soar_lib.nano import legs, world2
from soar_lib.nano.world2 import Family
from soar_lib.records import Problem

# How the questions of each family begin, and the patterns of whole questions.
CHAIN = "State the final answer to the following arithmetic problem: "
BASES = "Now, convert the base-10 number "
SORT = "Sort these numbers in {} order: "
SPELL = "Spell this word backward (example: sun -> nus): "
_CHAIN = re.compile(re.escape(CHAIN) + r"(\d{1,4}(?: [+-] \d{1,4})+) =")
_BASES = re.compile(re.escape(BASES) + r"(\d{1,5}) to binary")
_SORT = re.compile(r"Sort these numbers in (ascending|descending) order: (-?\d{1,4}(?:, -?\d{1,4})+)")
_SPELL = re.compile(re.escape(SPELL) + r"([a-z]{2,30})")


def _solve_base(bits: list, slips: Collection[int] = ()) -> tuple[str, str]:
    """Halve until 0; each value is written with its remainder: `6r0,3r1,1r1`. A slip takes odd for even."""
    value = int("".join(map(str, bits)), 2)
    halves = [value >> i for i in range(max(1, value.bit_length()))]
    found = [half % 2 ^ (step in slips) for step, half in enumerate(halves, 1)]
    return ",".join(f"{half}r{bit}" for half, bit in zip(halves, found)), "".join(map(str, reversed(found)))


def _solve_sort(content: list, slips: Collection[int] = ()) -> tuple[str, str]:
    """The numbers in order, as a tuple: a bare list would be right in any order. A slip takes the next but one."""
    ordered = _swapped(sorted(content[1:], reverse=content[0] == "descending"), slips)
    return "", f"({', '.join(map(str, ordered))})"


def _swapped(items: list, slips: Collection[int]) -> list:
    """The items with the pair at each slip exchanged."""
    items = list(items)
    for step in sorted(slips):
        if step < len(items):
            items[step - 1], items[step] = items[step], items[step - 1]
    return items


FAMILIES = {family.name: family for family in (
    Family(
        "chain_sum", legs.reading(_CHAIN, lambda m: list(map(int, re.findall(r"[+-]?\d+", m[1].replace(" ", ""))))),
        lambda terms: CHAIN + f"{terms[0]}" + "".join(f" {'-+'[t >= 0]} {abs(t)}" for t in terms[1:]) + " =",
        legs.running_sum, lambda terms: len(terms) - 1,
        lambda d: dict(min_terms=d + 1, max_terms=d + 1, min_digits=2, max_digits=2),
    ),
    world2.FAMILIES["leg_counting"],
    Family(
        "base_conversion", legs.reading(_BASES, lambda m: list(map(int, f"{int(m[1]):b}"))),
        lambda bits: f"{BASES}{int(''.join(map(str, bits)), 2)} to binary", _solve_base, lambda bits: len(bits) - 2,
        lambda d: dict(min_base=2, max_base=10, min_value=2 ** (d + 1), max_value=2 ** (d + 2) - 1),
    ),
    Family(
        "number_sorting", legs.reading(_SORT, lambda m: [m[1], *map(int, m[2].split(", "))]),
        lambda content: SORT.format(content[0]) + ", ".join(map(str, content[1:])), _solve_sort, lambda c: len(c) - 2,
        lambda d: dict(
            min_numbers=d + 1, max_numbers=d + 1, min_decimals=0, max_decimals=0, min_value=-99, max_value=99
        ),
    ),
    Family(
        "spell_backward", legs.reading(_SPELL, lambda m: list(m[1])), lambda letters: SPELL + "".join(letters),
        lambda letters, slips=(): ("", f"\\text{{{''.join(_swapped(letters[::-1], slips))}}}"), lambda c: len(c) - 2,
        lambda d: dict(min_word_len=d + 2, max_word_len=d + 2), max_depth=8,
    ),
    world2.integrals(12, items=3_000, max_depth=7),
)}  # fmt: skip
understand, answer_of = (functools.partial(part, families=FAMILIES) for part in (world2.understand, world2.answer_of))


def draw(family: str, depth: int, rng: random.Random, held: bool) -> str:
    """A random question of this family and depth, held out (`held`) or not. Raises ValueError where none is found."""
    return world2.draw(FAMILIES[family], depth, rng, held)


EASY_DEPTHS, HARD_DEPTHS = (3, 4, 5), 2  # a pool takes these depths of each family, and so many of its largest
TRANSFER_FAMILY = "number_sorting"  # no teacher's reward is measured on it, as on OlympiadBench (SOAR section 5)
POOL_FAMILIES = tuple(name for name in FAMILIES if name != TRANSFER_FAMILY)


def pool_depths(family: str) -> list[int]:
    """The depths of a family's problems in a pool: as in a benchmark, some within the base's reach, some beyond."""
    deepest = FAMILIES[family].max_depth
    return sorted({*EASY_DEPTHS, *range(deepest - HARD_DEPTHS + 1, deepest + 1)})


# Pools by name: families and their depths. Some need no filter, by what the untrained model can do
# (figures/data/nano_base_accuracy.csv): problems that it solves in a fifth to two thirds of all tries, much longer ones
# of the same families, and families of other answers.
POOLS: dict[str, dict[str, Sequence[int]]] = {
    "nano": {name: pool_depths(name) for name in POOL_FAMILIES},
    "nano-transfer": {TRANSFER_FAMILY: pool_depths(TRANSFER_FAMILY)},
    "nano-integrals": {"simple_integration": pool_depths("simple_integration")},
    "nano-middle": {"chain_sum": (2, 3, 4), "leg_counting": (3, 4, 5), "number_sorting": (2, 3)},
    "nano-deep": {"chain_sum": (12,), "leg_counting": (12,), "number_sorting": (8, 9, 10)},
    "nano-other": {"spell_backward": (2, 3), "simple_integration": (2, 3, 4)},
}


def pool(name: str = "nano", seed: int = 0, size: int = 300) -> list[Problem]:
    """`size` distinct held-out problems of one of `POOLS`: families in turn, depths at random.

    A family with few short questions fills up with long ones."""
    rng, problems, families = random.Random(f"pool {seed}"), {}, POOLS[name]
    while (number := len(problems)) < size:
        family = [*families][number % len(families)]
        depth = rng.choice(families[family])
        text = draw(family, depth, rng, held=True)
        problems.setdefault(text, Problem(f"{name}/{seed}/{number}", text, answer_of(text), name, family, depth))
    return [*problems.values()]
