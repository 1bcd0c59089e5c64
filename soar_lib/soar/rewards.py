r"""The rewards of SOAR and the promotion rule (sections 3.2, 3.3, 4.3 and B.3, Algorithm 1).

Student: 120 / 20 / 10 / 0 for a verified box, a box that contains the gold answer, any other box, no box. So a box that
lists every digit earns 20: metrics.csv says what share of a step's completions it paid (`sprayed`), and
`student.longest_box` bounds it. Teacher: the gain in accuracy of a student trained on its data set (`grounded`), or, in
the Intrinsic-T baseline, how rarely the untrained student solves its questions (`intrinsic`); a reward of your own,
from an `OuterStep` to a `Measured`, goes to `run(..., teacher_reward=)`.

Where the paper is silent: "the gold answer occurs in the answer text" is read as "in the content of the last box"; the
moving average covers `window` rounds (Algorithm 1 writes t-m..t, one more), is not cleared by a promotion, and nobody
is promoted before it is full; sampled accuracy gives every student of a round the same random numbers; the intrinsic
reward compares with the teacher's own answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.settings.student import CONTAINED, StudentSettings
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import HERE, InnerLoop, Lesson, StudentReward, Watch
from soar_lib.verifier.verify import check_many, extract_boxed

# Of metrics.csv.
STUDENT_ROW = ("reward", "top_reward", "length", "cut", "sprayed", "signal", "grad_norm", "kl", "learning_rate")
VERIFIED, BOXED, NO_BOX = 120.0, 10.0, 0.0


def student_rewards(golds: Sequence[str], responses: Sequence[str], longest: int = 0) -> list[float]:
    r"""The student's reward for each response, given its gold answer (SOAR B.3). A box longer than `longest` characters
    earns only what a wrong box earns (0: no limit, as in the paper).

    >>> student_rewards(["7"] * 4, [r"\boxed{7}", r"\boxed{7 or 8}", r"\boxed{9}", "seven"])
    [120.0, 20.0, 10.0, 0.0]
    >>> student_rewards(["7"], [r"\boxed{7 or 8}"], longest=3)
    [10.0]
    """
    paid = []
    for gold, response, verdict in zip(golds, responses, check_many(list(zip(golds, responses, strict=True)))):
        box = extract_boxed(response)
        wrong = CONTAINED if gold and gold in (box or "") and len(box) <= (longest or len(box)) else BOXED
        paid.append(NO_BOX if box is None else VERIFIED if verdict == "right" else wrong)
    return paid


def bounded(settings: StudentSettings) -> StudentReward:
    """The paper's reward with the bound on a box's length that the settings name."""
    return partial(student_rewards, longest=settings.longest_box) if settings.longest_box else student_rewards


def right_rewards(golds: Sequence[str], responses: Sequence[str]) -> list[float]:
    r"""1 for each response that is right, else 0: the plain reward of RL with verifiable rewards.

    >>> right_rewards(["7", "8"], [r"\boxed{7}", r"\boxed{7}"])
    [1.0, 0.0]
    """
    return [float(verdict == "right") for verdict in check_many(list(zip(golds, responses, strict=True)))]


def grounded_gains(accuracies: Sequence[Sequence[float]], baseline: float) -> tuple[tuple[float, ...], ...]:
    """The gains R_kj (Algorithm 1): the accuracy of the student of repeat j on data set k (g rows of r), minus the
    baseline student's, both on the reward set Q_R of hard problems.

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
    """The reward R_k of each of the g data sets: the mean gain of its r students.

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
    """The index of the median of one data set's repeats: the student that is promoted. An even number of them (the
    paper's r is 4) has no middle; we take the lower of the two.

    >>> median_repeat([0.25, 0.0, 0.5]), median_repeat([0.5, 0.0, 0.75, 0.25])
    (0, 3)
    """
    order = sorted(range(len(repeats)), key=lambda j: repeats[j])
    return order[(len(repeats) - 1) // 2]


def choose(gains: Sequence[Sequence[float]]) -> tuple[int, int]:
    """(k*, j*): the data set with the highest mean gain (the first of equals) and its median student (Algorithm 1).

    >>> choose([[0.0, 0.25], [0.5, 0.25, 0.75]])
    (1, 0)
    """
    means = dataset_rewards(gains)
    best = means.index(max(means))
    return best, median_repeat(gains[best])


@dataclass(frozen=True)
class OuterStep:
    """What a round of Algorithm 1 passes to the teacher's reward: g data sets to train students on, who start from
    `baselines[-1]` (`baselines[0]` is untrained), and Q_R, the hard problems drawn for this round."""

    base: Base
    config: SoarConfig
    number: int  # of the round, from 1: part of every random key
    baselines: list[Adapters]
    datasets: list[list[SyntheticProblem]]  # X_1..X_g
    reward_set: list[Problem]  # Q_R
    student_reward: StudentReward = student_rewards
    inner_loop: InnerLoop = HERE  # where students are trained
    watch: Watch | None = None  # called after each inner step


@dataclass
class Measured:
    """What a teacher reward returns for a round's data sets: the gains R_kj (g rows of r, or of one if nothing is
    repeated), the baseline student's accuracy on the reward set, the trained students (slot k*r + j; None if none was
    trained, so that none can be promoted) and rows for metrics.csv."""

    gains: tuple[tuple[float, ...], ...]
    baseline_accuracy: float
    students: Adapters | None = None
    metrics: list[dict] = field(default_factory=list)


TeacherReward = Callable[[OuterStep], Measured]


def grounded(step: OuterStep) -> Measured:
    """The grounded reward (Algorithm 1): train r copies of the baseline on each data set, all as one population, and
    measure what each gained on the reward set (greedily, or by `config.reward_samples` samples per problem)."""
    config, baseline, repeats = step.config, step.baselines[-1], step.config.repeats
    places = [(k, j) for k in range(len(step.datasets)) for j in range(repeats)]
    settings = replace(config.student, steps=config.inner_steps(len(step.baselines) - 1))
    lessons = [Lesson(as_problems(step.datasets[k]), (config.seed, "student", step.number, k, j)) for k, j in places]
    trained, history = step.inner_loop.train(
        step.base, baseline.select([0] * len(places)), lessons, settings, step.student_reward, config.rows, step.watch
    )
    everyone, keys = stack([baseline, trained]), [(config.seed, "reward", step.number)] * (len(places) + 1)
    draw = settings.draw(config.rows)
    measured = step.inner_loop.accuracy(step.base, everyone, step.reward_set, draw, config.reward_samples, keys)
    before, *after = measured.double().mean(1).tolist()
    rows = [after[k * repeats : (k + 1) * repeats] for k in range(len(step.datasets))]
    owners = [{"round": step.number, "policy": "student", "dataset": k, "repeat": j} for k, j in places]
    metrics = student.step_rows(history, owners, STUDENT_ROW)
    return Measured(grounded_gains(rows, before), before, trained, metrics)


def intrinsic(step: OuterStep) -> Measured:
    """The intrinsic reward (section 4.3, B.4): how rarely the untrained baseline student gives the teacher's own answer
    in `config.intrinsic_samples` samples per question, and 0 if never; R_k is the mean over the data set."""
    config, baseline, draw = step.config, step.baselines[-1], step.config.student.draw(step.config.rows)
    written = [problem for problems in step.datasets for problem in as_problems(problems)]
    keys = [(config.seed, "intrinsic", step.number)]
    success = student.accuracy(step.base, baseline, written, draw, config.intrinsic_samples, keys)[0]
    known = student.accuracy(step.base, baseline, step.reward_set, draw)
    each = map(intrinsic_reward, success.double().tolist())
    gains = tuple((fmean([next(each) for _ in problems]),) for problems in step.datasets)
    return Measured(gains, known.double().mean().item())


def as_problems(written: list[SyntheticProblem]) -> list[Problem]:
    """The teacher's problems as students train on them: the teacher's answers become the reference answers."""
    return [Problem(problem.id, problem.question, problem.answer, source="teacher") for problem in written]
