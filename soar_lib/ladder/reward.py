"""LADDER's rewards (3.1.4), by a check that needs no answers, and the reward of the majority's vote beside them."""

import re
from collections.abc import Sequence

from soar_lib.problems.checks import Check
from soar_lib.records import Problem
from soar_lib.student.train import StudentReward
from soar_lib.verifier.spelling import clean
from soar_lib.verifier.verify import decide, extract_boxed

CORRECT, READABLE = 1.0, 0.05  # accuracy and format, as LADDER's released code weighs them


def accuracy_and_format(verdicts: Sequence[str]) -> list[float]:
    """LADDER's reward of each verdict (3.1.4): accuracy and format; 0 for an answer that cannot be read.

    >>> accuracy_and_format(["right", "wrong", "timeout", "unparsed"])
    [1.05, 0.05, 0.05, 0.0]
    """
    return [0.0 if verdict == "unparsed" else READABLE + CORRECT * (verdict == "right") for verdict in verdicts]


def verified_rewards(check: Check) -> StudentReward:
    """LADDER's reward as `student.train` takes it: accuracy and format by `check`'s verdicts on its references."""
    return lambda golds, responses: accuracy_and_format(check.verdicts(list(zip(golds, responses, strict=True))))


def majority(answers: Sequence[str | None]) -> tuple[str, float]:
    """The most frequent answer and its share of all: what self-consistency takes for right; ("", 0.0) where there is no
    answer. An answer is the content of a box, or None; its first spelling is returned, and ties go to the first answer.

    >>> majority(["2x", "x", "2 x", None]), majority([None, None])
    (('2x', 0.5), ('', 0.0))
    """
    spellings: dict[str, list[str]] = {}
    for answer in answers:
        if answer is not None:
            spellings.setdefault(re.sub(r"\s+", "", clean(answer)), []).append(answer)
    if not spellings:
        return "", 0.0
    most = max(spellings.values(), key=len)
    return most[0], len(most) / len(answers)


def majority_right(check: Check, problems: Sequence[Problem], responses: Sequence[str]) -> list[bool]:
    r"""maj@n: whether the majority's answer to each problem, the label that `majority_rewards` pays for, is right.
    Every problem has equally many responses, one after the other.

    >>> from soar_lib.problems.checks import ANSWER
    >>> asked = [Problem("a", "1 + 1", "2"), Problem("b", "2 + 1", "3")]
    >>> majority_right(ANSWER, asked, [rf"\boxed{{{answer}}}" for answer in (2, 2, 3, 1, 3, 1)])
    [True, False]
    """
    group = len(responses) // len(problems)
    answers = [extract_boxed(response) for response in responses]
    labels = [majority(answers[start : start + group])[0] for start in range(0, len(answers), group)]
    pairs = [(check.reference(problem), f"\\boxed{{{label}}}") for problem, label in zip(problems, labels, strict=True)]
    return [verdict == "right" for verdict in check.verdicts(pairs)]


def majority_rewards(responses: Sequence[str], group: int) -> list[float]:
    r"""The reward of the other method named TTRL (arXiv 2504.16084): 1 for the answer that most of a problem's `group`
    responses give, which follow each other, else 0. It needs no reference and no verifier. Answers that only computer
    algebra could find equal count as different, since a group of long answers holds many pairs to compare.

    >>> majority_rewards([r"\boxed{2}", r"\boxed{2}", r"\boxed{3}", "2", r"\boxed{5}", "no"], 3)
    [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    """
    answers, rewards = [extract_boxed(response) for response in responses], []
    for start in range(0, len(answers), group):
        given = answers[start : start + group]
        label, _ = majority(given)
        rewards += [float(bool(label and answer and decide(label, answer))) for answer in given]
    return rewards
