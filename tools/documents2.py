"""What the second nano ("nano2") is trained on: documents of four skills, with the flaws a real model has.

Solving is learned from solutions with the usual mistake at every other letter, whatever the skill and the length, so
that nothing but practice shows how to do better. The proposing skill is taught badly on purpose (`PRIORS`);
soar_lib/nano/world2.py says why.
"""

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from soar_lib.nano import legs, skills, world2
from soar_lib.nano.antiderivatives import LEADS
from soar_lib.problems import prompts
from tools import tokenizer

SKILLS = {"solve": 0.68, "propose": 0.12, "easier": 0.08, "reconstruct": 0.12}
SOLVE = {"words": 0.78, "simple_integration": 0.11, "leg_counting": 0.05, "last_letter": 0.02, "guess": 0.04}
EASIER = {"words": 0.3, "leg_counting": 0.1, "simple_integration": 0.6}
RECONSTRUCT = {"words": 0.65, "leg_counting": 0.25, "simple_integration": 0.1}
HOW_MANY = {1: 0.5, 2: 0.3, 3: 0.2}  # skills in a row
LENGTHS = {1: range(2, 17), 2: range(2, 9), 3: range(2, 6)}  # letters of a row, by the number of skills
DECAY = 0.9  # weight of a number of terms or of animals, against the one before
MOST = {"simple_integration": 9, "leg_counting": 4}  # terms, animals
SLIP = 0.5  # chance of the usual mistake at a letter
PLACES = ("backward", "ends", "turn")  # skills that move letters, and so are easily undone


@dataclass(frozen=True)
class Prior:
    """What the untrained teacher writes: shares of families, and of wrong answers among stepping stones, whose words
    have a number of letters in a range; and what is solved besides, with the chance of the usual mistake at the first
    term of an integral and at the last of the longest."""

    families: dict[str, float]
    wrong: float
    letters: tuple[int, int] = (2, 3)
    solve: dict[str, float] = field(default_factory=lambda: SOLVE)
    slips: tuple[float, float] = (0.50, 0.90)
    signs: bool = False  # whether integrals are worked out term by term, with a sign before each


# Share of useful problems that the teacher of nano2 wrote in the pilot's first rounds (world_pilot.csv), over the share
# of problems on words in its documents. The documents themselves hold about 0.47 times their problems on words.
USEFUL = 0.63
KNOBS = [(useful, decoys) for useful in (0.05, 0.15, 0.40) for decoys in (0.0, 0.20)]  # shares of what is written


def cell(useful: float, decoys: float) -> str:
    """The name of the prior with these shares."""
    return f"nano2-{100 * useful:.0f}-{100 * decoys:.0f}"


def mixed(useful: float, decoys: float) -> Prior:
    """The default prior with other shares of useful problems and of decoys; the rest is easy."""
    words = useful / USEFUL
    easy = (1 - words - decoys) / 2
    return Prior({"last_letter": easy, "leg_counting": easy, "words": words, "guess": decoys}, 0.5)


PRIORS = {
    "nano2-base": Prior({"last_letter": 0.26, "leg_counting": 0.26, "words": 0.26, "guess": 0.22}, 0.6, (3, 4)),
    "nano2": Prior({"last_letter": 0.30, "leg_counting": 0.30, "words": 0.20, "guess": 0.20}, 0.5),
    "nano2-plain": Prior({"last_letter": 0.40, "leg_counting": 0.40, "words": 0.20}, 0.5),
    **{cell(*knobs): mixed(*knobs) for knobs in KNOBS},
    # For LADDER: more practice in dividing, and for each term a sign of care or of haste, in short integrals and in
    # long ones, so that what the short ones teach serves the others. [Of nano2's integrals of four terms 0.3 % come out
    # right, and 300 steps on shorter ones moved none of six terms.]
    "nano2-calculus": Prior(
        {"last_letter": 0.30, "leg_counting": 0.30, "words": 0.20, "guess": 0.20}, 0.5,
        solve=SOLVE | {"words": 0.18, "simple_integration": 0.71}, slips=(0.65, 0.65), signs=True,
    ),
}  # fmt: skip
CHECKED, GUESSED = "The answer is checked.\n", "The answer is a guess.\n"  # what the teacher writes before an answer
MALFORMED = 0.06  # share of broken formats among proposals


def phrases() -> list[str]:
    """Every text of this world that is one token: openings, skills, animals and frequent joints."""
    openings = [skills.START, CHECKED, GUESSED, *dict.fromkeys(skills.LINKS)]
    openings += [world2.LAST, world2.GUESS, world2.ASKED, legs.LEGS, *LEADS]
    each = [text for skill in skills.SKILLS.values() for text in (skill.clause, skill.label)]
    animals = sorted(f" {name}{plural}" for name in legs.ANIMALS for plural in ("", "s"))
    return [*openings, *each, " dx", " + C", *animals, "*x**", "x**", "*x", " + ", " - ", ", ", " ="]


def tokens():
    """The tokenizer of this world."""
    return tokenizer.build(tokenizer.INSTRUCTIONS + tokenizer.TAGS + phrases())


def choice(rng: random.Random, weights: dict[Any, float]) -> Any:
    """One key, with its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def decayed(rng: random.Random, values: Iterable[int]) -> int:
    """One of the values, each with DECAY times the weight of the one before."""
    values = list(values)
    return rng.choices(values, [DECAY**i for i in range(len(values))])[0]


# ------------------------------------------------------------------ questions and solutions


def ask(rng: random.Random, family: str, names: Sequence[str] | None = None, size: int | None = None) -> str:
    """A question that is not held out (of legs and integrals with one part there are too few for that); `names` are
    skills on words, and `size` is the number of letters, terms or animals."""
    if family == "words":
        names = names or rng.sample(list(skills.SKILLS), choice(rng, HOW_MANY))
        return world2.draw_words(rng, names, size or rng.choice(LENGTHS[len(names)]), held=False)
    if family in MOST:
        size = size or decayed(rng, range(1, MOST[family] + 1))
        return world2.draw(world2.FAMILIES[family], size, rng, held=None if size == 1 else False)
    return world2.FAMILIES[family].write(list(rng.choice(world2.words(rng.randint(3, 8)))))


def slipped(rng: random.Random, question: str, prior: Prior) -> str:
    """A solution as students write them."""
    family, content = world2.understand(question)
    if family.name == "words":
        rates = [SLIP] * skills.steps(content)
    else:
        first, last = prior.slips if family.name == "simple_integration" else (0.0, 0.0)
        rates = [first + (last - first) * min(1.0, i / (MOST["simple_integration"] - 1)) for i in range(len(content))]
    return solution(question, rng, [step for step, rate in enumerate(rates, 1) if rng.random() < rate], prior.signs)


def solution(
    question: str, rng: random.Random | None = None, slips: Collection[int] = (), signs: bool = False
) -> str:
    """The worked solution in the form the student is asked for, with these slips; a question whose answer nobody can
    know is answered with any digit."""
    family, content = world2.understand(question)
    steps, answer = family.solve(content, slips)
    if signs and family.name == "simple_integration":
        steps = signed(content[1:], slips)
    answer = answer or str(rng.randrange(10))
    return (f"{steps}\n" if steps else "") + f"\\boxed{{{answer}}}"


def signed(terms: list[tuple[Fraction, int]], slips: Collection[int]) -> str:
    """The coefficient of each term's antiderivative after a sign of care, or of haste where it was not divided.

    >>> signed([(Fraction(6), 2), (Fraction(8), 3)], slips=(2,))
    '!2~8'
    """
    worked = [("~", c) if step in slips else ("!", c / (power + 1)) for step, (c, power) in enumerate(terms, 1)]
    return "".join(f"{sign}{coefficient}" for sign, coefficient in worked)


# ------------------------------------------------------------------ documents


def document(rng: random.Random, prior: Prior = PRIORS["nano2-base"]) -> tuple[list[dict], str]:
    """One training document: the chat messages and the completion the model is trained on."""
    skill = choice(rng, SKILLS)
    if skill == "propose":
        return prompts.teacher_messages(), proposal(rng, prior)
    if skill == "solve":
        question = ask(rng, choice(rng, prior.solve))
        return prompts.student_messages(question), slipped(rng, question, prior)
    if skill == "easier":
        question = ask(rng, choice(rng, EASIER))
        return prompts.easier_messages(question), f"<question>{easier(question, rng)}</question>"
    question = ask(rng, choice(rng, RECONSTRUCT))
    return prompts.reconstruct_messages(solution(question)), f"<question>{another(question, rng)}</question>"


def proposal(rng: random.Random, prior: Prior) -> str:
    """A teacher's completion: question, a word on its answer outside the tags, boxed answer; sometimes flawed."""
    family = choice(rng, prior.families)
    names, size = [rng.choice(list(skills.SKILLS))], {"words": rng.randint(*prior.letters), "leg_counting": 1}
    question = ask(rng, family, names, size.get(family))
    remark, box = CHECKED, solution(question, rng).rpartition("\n")[2]
    if family == "words" and rng.random() < prior.wrong:
        remark, box = GUESSED, misread(rng, question)
    text = f"<question>{question}</question>\n{remark}<answer>{box}</answer>"
    if rng.random() < MALFORMED:
        text = text.replace(rng.choice(["</question>", "<answer>", "</answer>", "\\boxed{", "<question>"]), "", 1)
    return text


def misread(rng: random.Random, question: str) -> str:
    """An answer with any letter wrong, which no student would arrive at."""
    _, (word, name) = world2.understand(question)
    place, right = rng.randrange(len(word)), skills.SKILLS[name].right(word)
    letter = rng.choice(skills.ALPHABET.replace(right[place], ""))
    return f"\\boxed{{\\text{{{right[:place] + letter + right[place + 1 :]}}}}}"


# ------------------------------------------------------------------ variants


def easier(question: str, rng: random.Random) -> str:
    """A problem of the same kind with less to do: terms, animals, letters or a skill fewer, smaller numbers."""
    family, content = world2.understand(question)
    if family.name == "words":
        word, *names = content
        if len(names) > 1 and rng.random() < 0.5:
            names.pop(rng.randrange(len(names)))
        return family.write([world2.row(rng, rng.randint(2, max(2, len(word) - 1))), *names])
    if family.name == "leg_counting":
        return family.write(rng.sample(content, max(1, len(content) - rng.randint(1, 2))))
    return family.write(_easier_integral(content, rng))


def _easier_integral(content: list, rng: random.Random) -> list:
    """Up to three terms fewer, some others smaller (one at least where none is dropped), perhaps another lead."""
    lead, *terms = content
    keep = sorted(rng.sample(range(len(terms)), max(1, len(terms) - rng.randint(0, 3))))
    terms = [terms[i] for i in keep]
    for place in range(len(terms)):
        if rng.random() < 0.3 or len(keep) == len(content) - 1 and place == 0:
            terms[place] = _smaller(terms[place], {power for _, power in terms}, rng)
    return [rng.choice(LEADS) if rng.random() < 0.5 else lead, *terms]


def _smaller(term: tuple[Fraction, int], taken: set[int], rng: random.Random) -> tuple[Fraction, int]:
    """The term with a lower power that is free, where there is one, and a whole coefficient of at most its size."""
    coefficient, power = term
    free = [lower for lower in range(power) if lower not in taken]
    if free and rng.random() < 0.5:
        power = rng.choice(free)
    size = rng.randint(1, max(1, min(9, int(abs(coefficient)) // (power + 1))))
    return Fraction((1 if coefficient > 0 else -1) * size * (power + 1)), power


def another(question: str, rng: random.Random) -> str:
    """Another problem with the same answer: another row of the letters and a skill that moves them there, other animals
    with as many legs, or the terms in another order."""
    family, content = world2.understand(question)
    if family.name == "words":
        answer = family.solve(content)[1].removeprefix("\\text{").removesuffix("}")
        name = rng.choice([name for name in PLACES if [name] != content[1:]])
        before = answer[-1] + answer[:-1] if name == "turn" else skills.SKILLS[name].right(answer)
        return family.write([before, name])
    if family.name == "leg_counting":
        return family.write(_other_herd(content, rng))
    lead, *terms = content
    rng.shuffle(terms)
    return family.write([rng.choice(LEADS), *terms])


def _other_herd(herd: list, rng: random.Random) -> list:
    """The herd in another order, with one kind replaced by another with as many legs, or split into two."""
    place = rng.randrange(len(herd))
    count, name = herd[place]
    same = [other for other, number in legs.ANIMALS.items() if number == legs.ANIMALS[name] and other != name]
    if count > 1 and rng.random() < 0.3:
        part = rng.randint(1, count - 1)
        changed = [(part, name), (count - part, rng.choice(same) if same else name)]
    else:
        changed = [(count, rng.choice(same) if same else name)]
    herd = [*herd[:place], *changed, *herd[place + 1 :]]
    rng.shuffle(herd)
    return herd
