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
import itertools
import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from soar_lib.nano import antiderivatives, legs, world2
from soar_lib.records import Problem

MAX_DEPTH = 12


@dataclass(frozen=True)
class Family:
    """One kind of problem; `parse`, `write` and `solve` exchange the content of a question, a list."""

    name: str  # reasoning-gym's name
    topic: str
    settings: Callable[[int], dict]  # depth -> generator settings
    parse: Callable[[str], list | None]  # question -> content, None if the text is not a well-posed question
    write: Callable[[list], str]  # content -> question
    solve: Callable[..., tuple[str, str]]  # (content, slips=()) -> (worked steps, possibly empty; answer)
    content_size: Callable[[int], int]  # depth -> length of the content
    max_depth: int = MAX_DEPTH
    items: int = 200_000  # of the generator, drawn from at each depth


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
        "chain_sum", "Arithmetic", lambda d: dict(min_terms=d + 1, max_terms=d + 1, min_digits=2, max_digits=2),
        legs.reading(_CHAIN, lambda m: list(map(int, re.findall(r"[+-]?\d+", m[1].replace(" ", ""))))),
        lambda terms: CHAIN + f"{terms[0]}" + "".join(f" {'-+'[t >= 0]} {abs(t)}" for t in terms[1:]) + " =",
        legs.running_sum, lambda d: d + 1,
    ),
    Family(
        "leg_counting", "Word problems", lambda d: dict(min_animals=d, max_animals=d, max_instances=20),
        legs.parse, legs.write, legs.solve, lambda d: d,
    ),
    Family(
        "base_conversion", "Number theory",
        lambda d: dict(min_base=2, max_base=10, min_value=2 ** (d + 1), max_value=2 ** (d + 2) - 1),
        legs.reading(_BASES, lambda m: list(map(int, f"{int(m[1]):b}"))),
        lambda bits: f"{BASES}{int(''.join(map(str, bits)), 2)} to binary", _solve_base, lambda d: d + 2,
    ),
    Family(
        "number_sorting", "Data",
        lambda d: dict(
            min_numbers=d + 1, max_numbers=d + 1, min_decimals=0, max_decimals=0, min_value=-99, max_value=99
        ),
        legs.reading(_SORT, lambda m: [m[1], *map(int, m[2].split(", "))]),
        lambda content: SORT.format(content[0]) + ", ".join(map(str, content[1:])), _solve_sort, lambda d: d + 2,
    ),
    Family(
        "spell_backward", "Language", lambda d: dict(min_word_len=d + 2, max_word_len=d + 2),
        legs.reading(_SPELL, lambda m: list(m[1])), lambda letters: SPELL + "".join(letters),
        lambda letters, slips=(): ("", f"\\text{{{''.join(_swapped(letters[::-1], slips))}}}"), lambda d: d + 2, 8,
    ),
    Family(
        "simple_integration", "Calculus",
        lambda d: dict(min_terms=d, max_terms=d, max_degree=12, max_bounds=9, symbols=("x",)),
        antiderivatives.parse, antiderivatives.write, antiderivatives.solve, lambda d: d + 1, 7, 3_000,
    ),
)}  # fmt: skip


@functools.lru_cache(maxsize=100_000)
def question(family: str, depth: int, index: int) -> str | None:
    """The statement of reasoning-gym's item `index`, without its format instructions.

    None where the item is not of the form this world teaches: another base, like terms that merged, or a partial sum
    below zero."""
    shape = FAMILIES[family]
    generator = world2.generator(family, depth, **shape.settings(depth))
    integral = family == "simple_integration"
    text = antiderivatives.stated(generator, index) or "" if integral else generator[index]["question"]
    for line in text.splitlines():
        line = re.sub(r"(\d)\.0\b", r"\1", line.strip())  # `14.0` is written `14`, as a person would
        content = shape.parse(line)
        if content and len(content) == shape.content_size(depth):
            return line if family != "chain_sum" or min(itertools.accumulate(content)) >= 0 else None
    return None


def draw(family: str, depth: int, rng: random.Random, held: bool) -> str:
    """A random question of this family and depth, held out (`held`) or not. Raises ValueError where none is found."""
    return world2.drawn(lambda: question(family, depth, rng.randrange(FAMILIES[family].items)), held)


understand, answer_of = (functools.partial(part, families=FAMILIES) for part in (world2.understand, world2.answer_of))

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
