r"""One function decides equality for rewards, filtering and evaluation alike (design: verifier).

`check` takes the answer out of the last balanced \boxed{} (`extraction`), reads and compares it where that is cheap
(`answers`, `decision`), and only then asks Math-Verify in a process that can be killed (`workers`). Model text is never
evaluated. The verdicts:

- right, wrong;
- unparsed: the response has no balanced box, or an empty one;
- timeout: Math-Verify ran out of time or memory. No reward either, but counted apart.

Importing this module imports neither sympy nor Math-Verify; this process never does.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence

from soar_lib.verifier import workers
from soar_lib.verifier.answers import read, understood
from soar_lib.verifier.decision import cleaned, decide
from soar_lib.verifier.extraction import boxed_answer, extract_boxed
from soar_lib.verifier.spelling import MAX_CHARACTERS

__all__ = ["VERDICTS", "check", "check_many", "equal", "extract_boxed", "parses", "verdict_counts"]

VERDICTS = ("right", "wrong", "unparsed", "timeout")
DEADLINE = 5.0  # seconds per pair in Math-Verify; ordinary pairs take milliseconds


def check(gold: str, response: str, deadline: float = DEADLINE) -> str:
    r"""The verdict on a whole response against the reference answer (the content of its box, `$` or not).

    `deadline` is in seconds of processor time and counts the comparison alone, not the start of a worker.

    >>> check("\\frac{1}{2}", "so it is \\boxed{0.5}"), check("3", "\\boxed{4}"), check("3", "it is 3")
    ('right', 'wrong', 'unparsed')
    """
    answer = boxed_answer(response)
    return "unparsed" if answer is None else equal(gold, answer, deadline)


def equal(gold: str, answer: str, deadline: float = DEADLINE) -> str:
    """The verdict on a bare answer, the content of a box: right, wrong or timeout."""
    return _decided(gold, answer) or _asked(gold, answer, deadline)


def check_many(pairs: Sequence[tuple[str, str]], progress: bool = False, deadline: float = DEADLINE) -> list[str]:
    """Verdicts on (gold, response) pairs in their order; each distinct pair of answers is decided once.

    What needs Math-Verify runs in as many processes as there are CPU cores (at most 8).
    """
    answers = {response: boxed_answer(response) for response in {response for _, response in pairs}}
    distinct = {(gold, answers[response]) for gold, response in pairs if answers[response] is not None}
    asked = functools.partial(_asked, deadline=deadline)
    verdicts = workers.side_by_side(distinct, _decided, asked, "Math-Verify", progress)
    return [verdicts.get((gold, answers[response]), "unparsed") for gold, response in pairs]


def parses(answer: str, deadline: float = DEADLINE) -> bool:
    r"""Whether an answer (the content of a box) can be read: as a number, expression, list, text, or by Math-Verify.

    >>> parses("\\frac{1}{2}"), parses("2, 3"), parses("\\text{east}"), parses("1 +")
    (True, True, True, False)
    """
    if len(answer) > MAX_CHARACTERS:
        return False
    text = cleaned("", answer)[1]
    known = understood(read(text))
    return workers.ask([_for_algebra(text)], deadline) is True if known is None else known


def verdict_counts(verdicts: Iterable[str]) -> dict[str, int]:
    """How often each verdict occurs, zeros included."""
    counts = Counter(verdicts)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def _decided(gold: str, answer: str) -> str | None:
    return {True: "right", False: "wrong", None: None}[decide(gold, answer)]


def _asked(gold: str, answer: str, deadline: float) -> str:
    verdict = workers.ask([_for_algebra(text) for text in cleaned(gold, answer)], deadline)
    return {True: "right", False: "wrong", None: "timeout"}[verdict]


def _for_algebra(text: str) -> str:
    """A cleaned answer in LaTeX that Math-Verify reads."""
    return text.replace("°", "^{\\circ}").replace("%", "\\%").replace("*", "\\cdot ")
