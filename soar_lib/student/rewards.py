r"""The rewards of SOAR and the promotion rule (sections 3.2, 3.3 and B.3, Algorithm 1): lists in, lists out.

Student: 120 / 20 / 10 / 0 for a verified box, a box that contains the gold answer, any other box, no box.
Teacher: the gain in accuracy of a student trained on its data set (`grounded_gains`), or, in the Intrinsic-T baseline,
how rarely the untrained student solves its questions (`intrinsic_reward`). The leave-one-out advantages of all are
`soar_lib.engine.update.advantages`. What measures the teacher's rewards is in soar/reward.py.

Where the paper is silent: "the gold answer occurs in the answer text" is read as "in the content of the last box";
the moving average covers `window` rounds (the text; Algorithm 1 writes t-m..t, one more), is not cleared by a
promotion, and there is no promotion before the window is full, because one lucky round is what it is there to stop.
"""

import re
from collections.abc import Callable, Sequence
from statistics import fmean

from soar_lib.problems.checks import Check
from soar_lib.verifier.spelling import clean
from soar_lib.verifier.verify import check_many, extract_boxed

VERIFIED, CONTAINED, BOXED, NO_BOX = 120.0, 20.0, 10.0, 0.0
CORRECT, READABLE = 1.0, 0.05  # LADDER's accuracy and format rewards, as its released code weighs them


def student_rewards(golds: Sequence[str], responses: Sequence[str]) -> list[float]:
    r"""The student's reward for each response against its gold answer (SOAR B.3).

    >>> student_rewards(["7"] * 4, [r"\boxed{7}", r"\boxed{7 or 8}", r"\boxed{9}", "seven"])
    [120.0, 20.0, 10.0, 0.0]
    """
    verdicts = check_many(list(zip(golds, responses, strict=True)))
    return [_reward(*row) for row in zip(golds, responses, verdicts, strict=True)]


def _reward(gold: str, response: str, verdict: str) -> float:
    box = extract_boxed(response)
    if box is None:
        return NO_BOX
    if verdict == "right":
        return VERIFIED
    return CONTAINED if gold and gold in box else BOXED


def accuracy_and_format(verdicts: Sequence[str]) -> list[float]:
    """LADDER's reward of each verdict: nothing for an answer that cannot be read.

    >>> accuracy_and_format(["right", "wrong", "timeout", "unparsed"])
    [1.05, 0.05, 0.05, 0.0]
    """
    return [0.0 if verdict == "unparsed" else READABLE + CORRECT * (verdict == "right") for verdict in verdicts]


def verified_rewards(check: Check) -> Callable[[list[str], list[str]], list[float]]:
    """LADDER's reward as `student.train` takes it: accuracy and format by `check`'s verdicts on its references."""
    return lambda golds, responses: accuracy_and_format(check.verdicts(list(zip(golds, responses, strict=True))))


def ladder_rewards(golds: Sequence[str], responses: Sequence[str]) -> list[float]:
    r"""LADDER's accuracy and format against gold answers: 1.05 right, 0.05 readable, 0 where there is nothing to read.

    >>> ladder_rewards(["7"] * 3, [r"\boxed{7}", r"\boxed{9}", "seven"])
    [1.05, 0.05, 0.0]
    """
    return accuracy_and_format(check_many(list(zip(golds, responses, strict=True))))


def majority(answers: Sequence[str | None]) -> tuple[str, float]:
    """The most frequent answer (the content of a box, None where there is none), in its first spelling and the first of
    equals, and its share of all: what self-consistency takes for right. ("", 0.0) where no answer was given.

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


def majority_rewards(responses: Sequence[str], group: int) -> list[float]:
    r"""The reward of the other method named TTRL (arXiv 2504.16084): 1 for the answer that most of a problem's `group`
    responses give, which follow each other, else 0. No reference and no verifier.

    >>> majority_rewards([r"\boxed{2}", r"\boxed{2}", r"\boxed{3}", "2", r"\boxed{5}", "no"], 3)
    [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    """
    golds = []
    for start in range(0, len(responses), group):
        answer, _ = majority([extract_boxed(response) for response in responses[start : start + group]])
        golds += [answer] * group
    verdicts = check_many(list(zip(golds, responses, strict=True)))
    return [float(verdict == "right" and gold != "") for gold, verdict in zip(golds, verdicts, strict=True)]


def accuracy(golds: Sequence[str], responses: Sequence[str]) -> float:
    r"""The fraction of responses that are right.

    >>> accuracy(["7", "8"], [r"\boxed{7}", r"\boxed{7}"])
    0.5
    """
    verdicts = check_many(list(zip(golds, responses, strict=True)))
    return fmean(verdict == "right" for verdict in verdicts)


def grounded_gains(accuracies: Sequence[Sequence[float]], baseline: float) -> tuple[tuple[float, ...], ...]:
    """R_kj: accuracy on Q_R of repeat j on data set k (g rows of r), less the baseline student's (Algorithm 1).

    >>> grounded_gains([[0.25, 0.5], [0.0, 0.25]], 0.25)
    ((0.0, 0.25), (-0.25, 0.0))
    """
    return tuple(tuple(value - baseline for value in row) for row in accuracies)


def intrinsic_reward(success: float) -> float:
    """r_i of a question that the student answers as the teacher does with this frequency (section 4.3, B.4): the
    rarer the better, but nothing for a question never solved.

    >>> intrinsic_reward(0.25), intrinsic_reward(1.0), intrinsic_reward(0.0)
    (0.75, 0.0, 0.0)
    """
    return 1 - success if success > 0 else 0.0


def dataset_rewards(gains: Sequence[Sequence[float]]) -> list[float]:
    """R_k, the mean of the r repeats, for each of the g data sets.

    >>> dataset_rewards([[0.0, 0.5], [-0.25, 0.25]])
    [0.25, 0.0]
    """
    return [fmean(row) for row in gains]


def moving_average(history: Sequence[float], window: int) -> float:
    """The mean of the last `window` round means, or of all there are while there are fewer.

    >>> moving_average([1.0, 0.0, 0.5, 1.0], 3)
    0.5
    """
    return fmean(history[-window:])


def promote(history: Sequence[float], window: int, threshold: float) -> bool:
    """Whether the baseline student is replaced: the window is full and its average exceeds tau.

    >>> promote([0.5, 0.5], 3, 0.01), promote([0.0, 0.02, 0.02], 3, 0.01), promote([0.0, 0.0, 0.0], 3, 0.0)
    (False, True, False)
    """
    return len(history) >= window and moving_average(history, window) > threshold


def median_repeat(repeats: Sequence[float]) -> int:
    """The index of the median of one data set's repeats: the student that is promoted.

    An even number of repeats (the paper's r is 4) has no middle; we take the lower of the two, the modest student.

    >>> median_repeat([0.25, 0.0, 0.5]), median_repeat([0.5, 0.0, 0.75, 0.25])
    (0, 3)
    """
    order = sorted(range(len(repeats)), key=lambda j: repeats[j])
    return order[(len(repeats) - 1) // 2]


def choose(gains: Sequence[Sequence[float]]) -> tuple[int, int]:
    """(k*, j*): the data set with the highest mean, the first of equals, and its median repeat (Algorithm 1).

    >>> choose([[0.0, 0.25], [0.5, 0.25, 0.75]])
    (1, 0)
    """
    means = dataset_rewards(gains)
    best = means.index(max(means))
    return best, median_repeat(gains[best])
