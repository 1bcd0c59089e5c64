"""Five things that people do to a row of letters, alone or one after another: the problems of the second world.

`Take the letters house and write them backward, then move the first one to the end.` A problem's content is the letters
and the names of its skills in order. A worked solution has a line for each skill, and the last line's letters are the
answer. A sign of care or of haste stands before each letter; after haste the letter is wrong, always by the skill's
usual mistake. The next letter is written as if nothing had happened. Each skill has two signs of its own, which no
other uses: so care is learnt skill by skill, and of one skill for short and for long rows alike."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

START = "Take the letters "
LINKS = (" and ", ", then ", ", then ")  # before the first skill and the further ones
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 16  # letters of a row


@dataclass(frozen=True)
class Skill:
    """One of the five operations on a word or row of letters."""

    name: str
    signs: str  # two characters: of a letter written with care, of one written in haste
    slip: int  # how many places on in the alphabet the usual mistake is; mistakes of different skills never cancel
    clause: str  # how a question asks for it
    right: Callable[[str], str]

    @property
    def label(self) -> str:
        """How a solution's line begins."""
        return f"{self.name}: "


def moved(word: str, places: int) -> str:
    """Move every letter `places` on in the alphabet, from z to a.

    >>> moved("zoo", 3)
    'crr'
    """
    return "".join(ALPHABET[(ALPHABET.index(letter) + places) % 26] for letter in word)


MIRROR = str.maketrans(ALPHABET, ALPHABET[::-1])
SKILLS = {skill.name: skill for skill in (
    Skill("backward", "<(", 8, "write them backward", lambda w: w[::-1]),
    Skill("shift", ">)", 1, "shift each three places on in the alphabet", lambda w: moved(w, 3)),
    Skill("mirror", "|/", 2, "replace each by its mirror in the alphabet", lambda w: w.translate(MIRROR)),
    Skill("ends", "@&", 4, "exchange the first and the last one", lambda w: w[-1] + w[1:-1] + w[0]),
    Skill("turn", "^_", 11, "move the first one to the end", lambda w: w[1:] + w[0]),
)}  # fmt: skip
_BY_CLAUSE = {skill.clause: skill for skill in SKILLS.values()}
_CLAUSE = "|".join(map(re.escape, _BY_CLAUSE))
_THEN = f"(?:, then ({_CLAUSE}))?"
_QUESTION = re.compile(rf"{START}([a-z]{{2,{LONGEST}}}) and ({_CLAUSE}){_THEN}{_THEN}\.")


def parse(question: str) -> list | None:
    """The content [letters, skill, ...] of a question, None where the text is no such question."""
    match = _QUESTION.fullmatch(question)
    return [match[1], *(_BY_CLAUSE[clause].name for clause in match.groups()[1:] if clause)] if match else None


def write(content: list) -> str:
    """The question with the content [letters, skill, ...]."""
    clauses = (link + SKILLS[name].clause for link, name in zip(LINKS, content[1:]))
    return f"{START}{content[0]}{''.join(clauses)}."


def solve(content: list, slips: Collection[int] = ()) -> tuple[str, str]:
    r"""(worked lines, answer), with the skills' usual mistakes at the steps in `slips` (from 1); later lines keep them.

    >>> solve(["dog", "backward", "shift"], slips=(5,))
    ('backward: <g<o<d\nshift: >j)s>g', '\\text{jsg}')
    """
    word, lines, step = content[0], [], 0
    for skill in (SKILLS[name] for name in content[1:]):
        right = skill.right(word)
        hasty = [step + place in slips for place in range(1, len(word) + 1)]
        word = "".join(moved(letter, skill.slip * slip) for letter, slip in zip(right, hasty))
        lines.append(skill.label + "".join(skill.signs[slip] + letter for slip, letter in zip(hasty, word)))
        step += len(word)
    return "\n".join(lines), f"\\text{{{word}}}"


def steps(content: list) -> int:
    """The number of steps of a solution: the letters that it writes before its answer."""
    return len(content[0]) * (len(content) - 1)
