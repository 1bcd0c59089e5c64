"""The second embedded world ("nano2"), made to show whether training the teacher pays.

Its assumptions are checked by tools/gates.py, with the measurements in figures/data/world_gates.csv.

- Five skills on rows of letters (skills.py). Before each letter a solver decides between care and haste, and every
  other time it is haste, in short rows and in long ones. The signs of care and haste are each skill's own, no document
  shows more care than another, and the model's output head is not tied to its embeddings: so the model has no common
  switch, and care is learnt skill by skill. [Care that was one text for all skills was one switch: one success in some
  hundred tries of a hard problem turned it for all.]
- Hard problems ask for one skill on fourteen letters, two on eight, or three on five, a third of each, five
  combinations of each kind, so that no skill stands out: 14 to 16 decisions, all of them right a few times in a hundred
  thousand tries.
- What the teacher writes, untrained: three fifths are easy and teach nothing (last letters, legs of one kind of
  animal); a fifth are short problems of one skill, a third of them wrongly answered; a fifth are decoys: a digit that
  nobody can know, guessed in a tenth of all tries. Reward for seldom solved problems (SOAR's intrinsic one) prefers
  decoys, reward for progress the rightly answered short problems. [Decoys that asked for one of twelve letters paid
  less: a fifth of the answers named none of them.] The second prior ("nano2-plain") has no decoys.
- Transfer: pairs of skills that stand side by side in no hard problem, on four or five letters, so that the base is
  above 0.

Words are those of reasoning-gym's `spell_backward`; integrals and legs are its `simple_integration` and `leg_counting`.
Questions whose hash is 0 modulo 8 are held out, as in the first world."""

import functools
import itertools
import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import reasoning_gym

from soar_lib.nano import antiderivatives, legs, skills
from soar_lib.records import Problem

HELD_OUT_MODULUS = 8
WORD = 10  # letters of a word, at most


@dataclass(frozen=True)
class Family:
    """One kind of text that a world understands; its functions exchange the content of a text, a list."""

    name: str  # reasoning-gym's name, where its generator states the questions
    parse: Callable[[str], list | None]  # question -> content, None if the text is not a well-posed question
    write: Callable[[list], str]
    solve: Callable[..., tuple[str, str | None]]  # (content, slips=()) -> (worked steps, answer; None: nobody can know)
    depth: Callable[[list], int]  # the measure of difficulty: steps of the worked solution
    settings: Callable[[int], dict] = dict  # depth -> generator settings
    items: int = 200_000  # of the generator, drawn from at each depth
    max_depth: int = 12


def integrals(degree: int, **more: int) -> Family:
    """The calculus family, of polynomials with powers below `degree`."""
    terms = lambda d: dict(min_terms=d, max_terms=d, max_degree=degree, max_bounds=9, symbols=("x",))  # noqa: E731
    parts = antiderivatives.parse, antiderivatives.write, antiderivatives.solve
    return Family("simple_integration", *parts, lambda content: len(content) - 1, terms, **more)


LAST = "What is the last letter of the word "
GUESS = "I think of a digit and of the word "
ASKED = ". Which digit is it?"
_LAST = re.compile(re.escape(LAST) + r"([a-z]{2,12})\?")
_GUESS = re.compile(re.escape(GUESS) + r"([a-z]{2,12})" + re.escape(ASKED))

FAMILIES = {family.name: family for family in (
    Family("words", skills.parse, skills.write, skills.solve, skills.steps),
    Family(
        "leg_counting", legs.parse, legs.write, legs.solve, len,
        lambda d: dict(min_animals=d, max_animals=d, max_instances=20),
    ),
    integrals(15, items=40_000),
    Family(
        "last_letter", legs.reading(_LAST, lambda m: list(m[1])), lambda letters: f"{LAST}{''.join(letters)}?",
        lambda letters, slips=(): ("", f"\\text{{{letters[-1]}}}"), len,
    ),
    Family(
        "guess", legs.reading(_GUESS, lambda m: list(m[1])), lambda letters: f"{GUESS}{''.join(letters)}{ASKED}",
        lambda letters, slips=(): ("", None), len,
    ),
)}  # fmt: skip


def understand(text: str, families: Mapping[str, Any] = FAMILIES) -> tuple[Any, list] | None:
    """The family and content of a question, or None where it is ill-posed (no family can parse it)."""
    parsed = ((family, family.parse(text)) for family in families.values())
    return next((pair for pair in parsed if pair[1] is not None), None)


def answer_of(text: str, families: Mapping[str, Any] = FAMILIES) -> str | None:
    """The exact answer of a question, None where it is ill-posed or nobody can know it."""
    known = understand(text, families)
    return known[0].solve(known[1])[1] if known else None


def held_out(text: str) -> bool:
    """True for the eighth of all questions that no pre-training document solves."""
    return zlib.crc32(text.encode()) % HELD_OUT_MODULUS == 0


@functools.cache
def words(length: int) -> tuple[str, ...]:
    """The words of `length` letters in reasoning-gym's list; for two letters, which it lacks, the words' beginnings."""
    known = generator("spell_backward", 0, min_word_len=3, max_word_len=WORD).words
    known = (word if length > 2 else word[:2] for word in known)
    return tuple(dict.fromkeys(word for word in known if len(word) == length and re.fullmatch("[a-z]+", word)))


def row(rng: random.Random, length: int) -> str:
    """A row of `length` letters: one word, or above WORD letters two words written as one."""
    parts = [length] if length <= WORD else [length - length // 2, length // 2]
    return "".join(rng.choice(words(part)) for part in parts)


def draw_words(rng: random.Random, names: Sequence[str], length: int, held: bool) -> str:
    """A question that asks for the skills `names` on a row of `length` letters, held out (`held`) or not."""
    return drawn(lambda: skills.write([row(rng, length), *names]), held)


def draw(family: Family, depth: int, rng: random.Random, held: bool | None = None) -> str:
    """A question of reasoning-gym's `family` and this depth, held out or not (`held`; None: either)."""
    return drawn(lambda: question(family, depth, rng.randrange(family.items)), held)


def drawn(make: Callable[[], str | None], held: bool | None) -> str:
    """The first text of `make` that is held out or not (`held`; None: either). Raises ValueError where none comes."""
    for _ in range(100_000):
        text = make()
        if text and held in (None, held_out(text)):
            return text
    raise ValueError("no such question; take another length or depth")


@functools.cache
def generator(family: str, depth: int, **settings):
    """reasoning-gym's items of one depth, by index. Made once: reading a word list costs milliseconds."""
    return reasoning_gym.create_dataset(family, seed=1000 * depth, size=2**31, **settings)


@functools.lru_cache(maxsize=100_000)
def question(family: Family, depth: int, index: int) -> str | None:
    """The statement of reasoning-gym's item `index` without its format instructions; None where it is not of the form
    that is taught: another base, like terms or animals that merged, or a partial sum below zero."""
    items = generator(family.name, depth, **family.settings(depth))
    integral = family.name == "simple_integration"
    text = antiderivatives.stated(items, index) or "" if integral else items[index]["question"]
    for line in text.splitlines():
        line = re.sub(r"(\d)\.0\b", r"\1", line.strip())  # `14.0` is written `14`, as a person would
        content = family.parse(line)
        if content and family.depth(content) == depth:
            return line if family.name != "chain_sum" or min(itertools.accumulate(content)) >= 0 else None
    return None


NAMES = tuple(skills.SKILLS)
SINGLES = [(name,) for name in NAMES]
PAIRS = [(NAMES[i], NAMES[(i + 1) % 5]) for i in range(5)]
TRIPLES = [(NAMES[i], NAMES[(i + 2) % 5], NAMES[(i + 4) % 5]) for i in range(5)]
NEW_PAIRS = [(NAMES[i], NAMES[(i + far) % 5]) for far in (3, 4) for i in range(5)]  # side by side in none of those
STONE_LENGTHS = {1: (2, 3)}  # stepping stones
# Each pool's combinations of skills, and the letters of a row by the number of skills.
POOLS: dict[str, tuple[list[tuple[str, ...]], dict[int, tuple[int, ...]]]] = {
    "nano2": ([*SINGLES, *PAIRS, *TRIPLES], {1: (14,), 2: (8,), 3: (5,)}),  # 14 to 16 steps
    "nano2-transfer": (NEW_PAIRS, {2: (4, 5)}),
    "nano2-stones": (SINGLES, STONE_LENGTHS),
    "nano2-middle": (SINGLES, {1: (4, 5)}),  # right in some of a hundred tries
    "nano2-deep": (SINGLES, {1: (12, 13, 14)}),  # right once in some thousand
}
INTEGRALS = {"nano2-integrals": (9,), "nano2-other": (2, 3, 4)}  # terms


def pool(name: str = "nano2", seed: int = 0, size: int = 300) -> list[Problem]:
    """`size` distinct held-out problems of one of `POOLS` or `INTEGRALS`: kinds in turn, lengths at random."""
    rng, problems = random.Random(f"{name} {seed}"), {}
    while (number := len(problems)) < size:
        if name in INTEGRALS:
            topic = "simple_integration"
            text = draw(FAMILIES[topic], rng.choice(INTEGRALS[name]), rng, held=True)
        else:
            kinds, lengths = POOLS[name]
            kind = kinds[number % len(kinds)]
            topic, text = ", ".join(kind), draw_words(rng, kind, rng.choice(lengths[len(kind)]), held=True)
        family, content = understand(text)
        answer, level = family.solve(content)[1], family.depth(content)
        problems.setdefault(text, Problem(f"{name}/{seed}/{number}", text, answer, name, topic, level))
    return [*problems.values()]
