r"""The rewards of SOAR and the promotion rule (sections 3.2, 3.3 and B.3, Algorithm 1): lists in, lists out.

Student: 120 / 20 / 10 / 0 for a verified box, a box that contains the gold answer, any other box, no box.
Teacher: the gain in accuracy of a student trained on its data set (`grounded_gains`), or, in the Intrinsic-T baseline,
how rarely the untrained student solves its questions (`intrinsic_reward`). The leave-one-out advantages of all are
`soar_lib.engine.update.advantages`. What measures the teacher's rewards is in soar/reward.py.

Where the paper is silent: "the gold answer occurs in the answer text" is read as "in the content of the last box";
the moving average covers `window` rounds (the text; Algorithm 1 writes t-m..t, one more), is not cleared by a
promotion, and there is no promotion before the window is full, because one lucky round is what it is there to stop.
"""

from collections.abc import Sequence
from statistics import fmean

from soar_lib.verifier.verify import check_many, extract_boxed

VERIFIED, CONTAINED, BOXED, NO_BOX = 120.0, 20.0, 10.0, 0.0


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


def right_rewards(golds: Sequence[str], responses: Sequence[str]) -> list[float]:
    r"""1 for each response that is right, else 0: the plain reward of RL with verifiable rewards.

    >>> right_rewards(["7", "8"], [r"\boxed{7}", r"\boxed{7}"])
    [1.0, 0.0]
    """
    return [float(verdict == "right") for verdict in check_many(list(zip(golds, responses, strict=True)))]


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
