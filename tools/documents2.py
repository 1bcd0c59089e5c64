"""What the second nano ("nano2") is trained on: documents of four skills, with the flaws a real model has.

Solving is learned from solutions of two manners, with care and at a glance, and the longer a row of letters, the
seldomer it is done with care (`care`). A question that asks for care gets it at every length, so that no step of a long
problem is beyond the base. The proposing skill is taught badly on purpose (`PRIORS`); soar_lib/nano/world2.py says
why.
"""

import math
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from soar_lib.nano import legs, skills, tokenizer, world2
from soar_lib.nano.antiderivatives import LEADS
from soar_lib.problems import prompts

SKILLS = {"solve": 0.72, "propose": 0.12, "easier": 0.06, "reconstruct": 0.10}
SOLVE = {"words": 0.74, "simple_integration": 0.13, "leg_counting": 0.05, "last_letter": 0.03, "guess": 0.05}
EASIER = {"words": 0.3, "leg_counting": 0.1, "simple_integration": 0.6}
RECONSTRUCT = {"words": 0.6, "leg_counting": 0.2, "simple_integration": 0.2}
HOW_MANY = {1: 0.5, 2: 0.3, 3: 0.2}  # skills in a row
LENGTHS = {1: range(2, 9), 2: range(2, 7), 3: range(2, 6)}  # letters of a word, by the number of skills
DECAY = 0.9  # weight of a length, a number of terms or of animals, against the one before
MOST = {"simple_integration": 9, "leg_counting": 4}  # terms, animals
CARE = 1.0, -1.4  # logit of the chance that a line on two letters is written with care, and its change per letter more
SLIP = {"care": 0.02, "glance": 0.70}  # chance of the usual mistake at a letter
HINTED = 0.25  # share of the questions on words that ask for care, and get it
INTEGRAL_SLIPS = 0.30, 0.85  # at the first term and at the last of the longest integral
CHOICES = 12  # letters to guess from


@dataclass(frozen=True)
class Prior:
    """What the untrained teacher writes: shares of families, and of wrong answers among stepping stones."""

    families: dict[str, float]
    wrong: float
    usual: bool = False  # whether wrong answers are those that students' usual mistakes give


_BASE = {"last_letter": 0.25, "leg_counting": 0.25, "words": 0.30, "guess": 0.12, "simple_integration": 0.08}
PRIORS = {
    "nano2-base": Prior(_BASE, 0.5, usual=True),
    "nano2": Prior({"last_letter": 0.26, "leg_counting": 0.26, "words": 0.26, "guess": 0.22}, 0.6),
    "nano2-plain": Prior({"last_letter": 0.37, "leg_counting": 0.37, "words": 0.26}, 0.6),
}
STONES = 2, 4  # letters of the words in proposals
MALFORMED = 0.06  # share of broken formats among proposals


def tokens():
    """The tokenizer of this world."""
    return tokenizer.build(tokenizer.INSTRUCTIONS + tokenizer.TAGS + world2.phrases())


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
        return world2.draw_words(rng, names, size or decayed(rng, LENGTHS[len(names)]), held=False)
    if family in MOST:
        size = size or decayed(rng, range(1, MOST[family] + 1))
        return world2.draw_item(rng, family, size, held=None if size == 1 else False)
    if family == "last_letter":
        return world2.FAMILIES[family].write(list(rng.choice(world2.words(rng.randint(3, 8)))))
    return world2.FAMILIES["guess"].write(rng.sample(skills.ALPHABET, CHOICES))


def care(letters: int) -> float:
    """Chance that a line on so many letters is written with care.

    >>> [round(care(letters), 4) for letters in (2, 3, 4, 6, 8)]
    [0.7311, 0.4013, 0.1419, 0.01, 0.0006]
    """
    return 1 / (1 + math.exp(-CARE[0] - CARE[1] * (letters - 2)))


def mistakes(rng: random.Random, content: list, careful: float | None = None) -> dict[str, list[int]]:
    """The steps at which one writer slips, and the lines written at a glance; `careful` in place of `care`."""
    size, slips, glances = len(content[0]), [], []
    for line in range(1, len(content)):
        if rng.random() >= (care(size) if careful is None else careful):
            glances.append(line)
        rate = SLIP["glance" if line in glances else "care"]
        slips += [step for step in range((line - 1) * size + 1, line * size + 1) if rng.random() < rate]
    return {"slips": slips, "glances": glances}


def slipped(rng: random.Random, question: str) -> str:
    """A solution as students write them."""
    family, content = world2.understand(question)
    if family.name == "words":
        return solution(question, rng, **mistakes(rng, content, 1.0 if question.endswith(skills.HINT) else None))
    first, last = INTEGRAL_SLIPS if family.name == "simple_integration" else (0.0, 0.0)
    rates = [first + (last - first) * min(1.0, i / (MOST["simple_integration"] - 1)) for i in range(len(content))]
    return solution(question, rng, slips=[step for step, rate in enumerate(rates, 1) if rng.random() < rate])


def solution(question: str, rng: random.Random | None = None, **mistakes: Collection[int]) -> str:
    """The worked solution in the form the student is asked for, with these mistakes; a question whose answer nobody can
    know is answered with one of its letters."""
    family, content = world2.understand(question)
    steps, answer = family.solve(content, **mistakes)
    answer = answer or f"\\text{{{rng.choice(content)}}}"
    return (f"{steps}\n" if steps else "") + f"\\boxed{{{answer}}}"


# ------------------------------------------------------------------ documents


def document(rng: random.Random, prior: Prior = PRIORS["nano2-base"]) -> tuple[list[dict], str]:
    """One training document: the chat messages and the completion the model is trained on."""
    skill = choice(rng, SKILLS)
    if skill == "propose":
        return prompts.teacher_messages(), proposal(rng, prior)
    if skill == "solve":
        family = choice(rng, SOLVE)
        question = ask(rng, family)
        question += skills.HINT if family == "words" and rng.random() < HINTED else ""
        return prompts.student_messages(question), slipped(rng, question)
    if skill == "easier":
        question = ask(rng, choice(rng, EASIER))
        return prompts.easier_messages(question), f"<question>{easier(question, rng)}</question>"
    question = ask(rng, choice(rng, RECONSTRUCT))
    return prompts.reconstruct_messages(solution(question)), f"<question>{another(question, rng)}</question>"


def proposal(rng: random.Random, prior: Prior) -> str:
    """A teacher's completion: question, worked solution outside the tags, boxed answer; sometimes flawed."""
    family = choice(rng, prior.families)
    if family == "words":
        question = ask(rng, family, [rng.choice(list(skills.SKILLS))], rng.randint(*STONES))
        if prior.usual:
            text = solution(question, rng, **mistakes(rng, world2.understand(question)[1], 1 - prior.wrong))
        else:
            text = misread(rng, question) if rng.random() < prior.wrong else solution(question, rng)
    else:
        question = ask(rng, family, size={"leg_counting": 1, "simple_integration": rng.randint(3, 5)}.get(family))
        text = solution(question, rng)
    body, box = text.rpartition("\\boxed")[::2]
    text = f"<question>{question}</question>\n{body}<answer>\\boxed{box}</answer>"
    if rng.random() < MALFORMED:
        text = text.replace(rng.choice(["</question>", "<answer>", "</answer>", "\\boxed{", "<question>"]), "", 1)
    return text


def misread(rng: random.Random, question: str) -> str:
    """A solution at a glance with any letter wrong, which no student would arrive at."""
    _, (word, name) = world2.understand(question)
    place, right = rng.randrange(len(word)), skills.SKILLS[name].right(word)
    letter = rng.choice(skills.ALPHABET.replace(right[place], ""))
    wrong = right[:place] + letter + right[place + 1 :]
    return f"{skills.SKILLS[name].labels[1]}{wrong}\n\\boxed{{\\text{{{wrong}}}}}"


# ------------------------------------------------------------------ variants


def easier(question: str, rng: random.Random) -> str:
    """A problem of the same kind with less to do: terms, animals, letters or a skill fewer, smaller numbers."""
    family, content = world2.understand(question)
    if family.name == "words":
        word, *names = content
        if len(names) > 1 and rng.random() < 0.5:
            names.pop(rng.randrange(len(names)))
        return family.write([rng.choice(world2.words(rng.randint(2, max(2, len(word) - 1)))), *names])
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
    """Another problem with the same answer: another skill on the word that leads there, other animals with as many
    legs, or the terms in another order."""
    family, content = world2.understand(question)
    if family.name == "words":
        answer = family.solve(content)[1].removeprefix("\\text{").removesuffix("}")
        name = rng.choice(list(skills.SKILLS))
        return family.write([before(answer, name), name])
    if family.name == "leg_counting":
        return family.write(_other_herd(content, rng))
    lead, *terms = content
    rng.shuffle(terms)
    return family.write([rng.choice(LEADS), *terms])


def before(answer: str, name: str) -> str:
    """The word that the skill turns into `answer`."""
    if name == "shift":
        return skills.moved(answer, -3)
    if name == "turn":
        return answer[-1] + answer[:-1]
    return skills.SKILLS[name].right(answer)


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
