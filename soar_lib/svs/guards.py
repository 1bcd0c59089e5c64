r"""Guards on written problems: does a text give its answer away, is it another one over again.

SvS checks neither (the accuracy bands are its only guard). The rules look at the texts alone, so they hold for any
model, and err both ways: a small answer may stand in a question by chance, which is why numbers of the original
question count as known.
"""

import re
from collections import Counter

HINT = 8  # consecutive words, numbers or signs of a worked solution that are no coincidence


def leak(question: str, answer: str, solution: str, original: str) -> str:
    r"""What a variant `question` gives away: "answer" (the answer stands in it, or a box does), "hint" (HINT tokens in
    a row are the solution's), or "" for nothing. What stands in the `original` question gives nothing away.

    >>> leak("Double 21, which is 42.", "42", "21+21=42", "What is 21 + 21?")
    'answer'
    >>> leak("Go on: 1+2=3+4=7+5. What follows?", "12", "1+2=3+4=7+5=12", "What is 1 + 2 + 4 + 5?")
    'hint'
    >>> leak("Add 40 and 2.", "42", "40+2=42", "What is 40 + 2?")
    ''
    """
    if "\\boxed" in question or _states(question, answer) and not _states(original, answer):
        return "answer"
    return "hint" if (_runs(question) & _runs(solution)) - _runs(original) else ""


def _states(text: str, answer: str) -> bool:
    """Whether the answer stands in the text as a whole word, number or list, wherever spaces are."""
    bare = re.sub(r"\\text\{(.*?)\}", r"\1", answer).strip("()[]{} ")
    wanted = re.escape(_tight(bare))
    return bool(wanted) and bool(re.search(rf"(?<![\w.-]){wanted}(?!\w|\.\d)", _tight(text)))


def _tight(text: str) -> str:
    """The text without spaces beside signs."""
    return re.sub(r"\s+(?=\W)|(?<=\W)\s+", "", text)


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+|[^\w\s]", text.lower())


def _runs(text: str) -> set[tuple[str, ...]]:
    tokens = _tokens(text)
    return {tuple(tokens[i : i + HINT]) for i in range(len(tokens) - HINT + 1)}


def near_duplicate(first: str, second: str, similarity: float = 0.8) -> bool:
    """The same numbers, as often, in any order, and at least `similarity` of all words in common (Jaccard).

    >>> near_duplicate("Add 3 and 4.", "add 4 and 3"), near_duplicate("Add 3 and 4.", "Add 3 and 5.")
    (True, False)
    """
    numbers, words = zip(*map(_parts, (first, second)), strict=True)
    if numbers[0] != numbers[1]:
        return False
    either = words[0] | words[1]
    return len(words[0] & words[1]) >= similarity * len(either)


def _parts(text: str) -> tuple[Counter, set[str]]:
    tokens = _tokens(text)
    return Counter(t for t in tokens if t.isdigit()), {t for t in tokens if t[0].isalpha()}
