"""Five things that people do to a row of letters, alone or one after another: the problems of the second world.

`Take the letters house and write them backward, then move the first one to the end.` A problem's content is the letters
and the names of its skills in order. A worked solution has a line for each skill, and the last line's letters are the
answer. A line says how it was written: letter by letter, with care, or at a glance, with the usual mistake at most
letters. That mistake is local: one wrong letter, the same wrong one whoever makes it, and the next letter is written as
if nothing had happened. So a skill's mistakes hang on one choice, at the beginning of its line, which practice on short
rows can change for long ones.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

START = "Take the letters "
HINT = " Go letter by letter."
LINKS = (" and ", ", then ", ", then ")  # before the first skill and the further ones
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 12  # letters of a word


@dataclass(frozen=True)
class Skill:
    """What is done to a word; both functions take and return a word of the same length."""

    name: str
    clause: str  # how a question asks for it
    right: Callable[[str], str]
    mistaken: Callable[[str, str], str]  # (word, right word) -> what the usual mistake writes, place by place

    @property
    def labels(self) -> tuple[str, str]:
        """How a solution's line begins: one written with care, one at a glance."""
        return f"{self.name}, letter by letter: ", f"{self.name}, at a glance: "


def moved(word: str, places: int) -> str:
    """Every letter so many places on in the alphabet, from z to a.

    >>> moved("zoo", 3)
    'crr'
    """
    return "".join(ALPHABET[(ALPHABET.index(letter) + places) % 26] for letter in word)


def _mirrored(word: str) -> str:
    return "".join(ALPHABET[25 - ALPHABET.index(letter)] for letter in word)


SKILLS = {
    skill.name: skill
    for skill in (
        Skill("backward", "write them backward", lambda w: w[::-1], lambda w, right: right[1:2] + right[:-1]),
        Skill(
            "shift", "shift each three places on in the alphabet", lambda w: moved(w, 3),
            lambda w, right: moved(right, 1),
        ),
        Skill("mirror", "replace each by its mirror in the alphabet", _mirrored, lambda w, right: moved(right, -1)),
        Skill(
            "ends", "exchange the first and the last one", lambda w: w[-1] + w[1:-1] + w[0],
            lambda w, right: moved(right, 2),
        ),
        Skill("turn", "move the first one to the end", lambda w: w[1:] + w[0], lambda w, right: w),
    )
}  # fmt: skip
_BY_CLAUSE = {skill.clause: skill for skill in SKILLS.values()}
_CLAUSE = "|".join(map(re.escape, _BY_CLAUSE))
_THEN = f"(?:, then ({_CLAUSE}))?"
_QUESTION = re.compile(rf"{START}([a-z]{{2,{LONGEST}}}) and ({_CLAUSE}){_THEN}{_THEN}\.")


def parse(question: str) -> list | None:
    """[word, skill, ...], None where the text is no such question; a hint changes nothing."""
    match = _QUESTION.fullmatch(question.removesuffix(HINT))
    return [match[1], *(_BY_CLAUSE[clause].name for clause in match.groups()[1:] if clause)] if match else None


def write(content: list) -> str:
    """The question of a content."""
    clauses = (link + SKILLS[name].clause for link, name in zip(LINKS, content[1:]))
    return f"{START}{content[0]}{''.join(clauses)}."


def solve(content: list, slips: Collection[int] = (), glances: Collection[int] = ()) -> tuple[str, str]:
    r"""(worked lines, answer), with the usual mistake at the given steps; a later line works on what stands there.
    `glances` are the lines, from 1, that say to be written at a glance.

    >>> solve(["dog", "backward", "shift"], slips=(5,), glances=(2,))
    ('backward, letter by letter: god\nshift, at a glance: jsg', '\\text{jsg}')
    """
    word, lines, step = content[0], [], 0
    for number, skill in enumerate((SKILLS[name] for name in content[1:]), 1):
        right = skill.right(word)
        both = zip(right, skill.mistaken(word, right))
        word = "".join(pair[step + place in slips] for place, pair in enumerate(both, 1))
        step += len(word)
        lines.append(skill.labels[number in glances] + word)
    return "\n".join(lines), f"\\text{{{word}}}"


def steps(content: list) -> int:
    """Letters that a solution writes before its answer."""
    return len(content[0]) * (len(content) - 1)
