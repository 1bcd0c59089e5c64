"""What a round's data sets are worth, measured on students: the grounded and the intrinsic reward of the teacher.

A teacher reward is a function from an `OuterStep` to a `Measured`; one of your own goes to `run(..., teacher_reward=)`.
The numbers behind both are pure functions in student/rewards.py. What the paper leaves open and we chose: sampled
accuracy gives every student of a round the same random numbers; the intrinsic reward compares with the teacher's own
answer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import fmean

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import rewards
from soar_lib.student import train as student
from soar_lib.student.train import HERE, InnerLoop, Lesson, StudentReward, Watch


@dataclass(frozen=True)
class OuterStep:
    """What a round of Algorithm 1 hands to the teacher's reward: g data sets to be measured on students, which start
    from `baselines[-1]` (`baselines[0]` is untrained), and Q_R, the hard problems drawn for this round."""

    base: Base
    config: SoarConfig
    number: int  # of the round, from 1: part of every random key
    baselines: list[Adapters]
    datasets: list[list[SyntheticProblem]]  # X_1..X_g
    reward_set: list[Problem]  # Q_R
    student_reward: StudentReward = rewards.student_rewards
    inner_loop: InnerLoop = HERE  # where students are trained
    watch: Watch | None = None  # called after each inner step


@dataclass
class Measured:
    """What a teacher reward says of a round's data sets: R_kj (g rows of r, or of one where nothing is repeated), the
    baseline student's accuracy on the reward set, the trained students (slot k*r + j; None where none was trained, and
    then none can be promoted) and rows for metrics.csv."""

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
    metrics = [row for line in history for row in _student_rows(line, step.number, places)]
    return Measured(rewards.grounded_gains(rows, before), before, trained, metrics)


def intrinsic(step: OuterStep) -> Measured:
    """The intrinsic reward (section 4.3, B.4): how rarely the baseline student, which nothing trains, gives the
    teacher's own answer in `config.intrinsic_samples` samples per question; R_k is the mean over the data set. The
    reward set is not used but for the record."""
    config, baseline, draw = step.config, step.baselines[-1], step.config.student.draw(step.config.rows)
    written = [problem for problems in step.datasets for problem in as_problems(problems)]
    keys = [(config.seed, "intrinsic", step.number)]
    success = student.accuracy(step.base, baseline, written, draw, config.intrinsic_samples, keys)[0]
    known = student.accuracy(step.base, baseline, step.reward_set, draw)
    each = map(rewards.intrinsic_reward, success.double().tolist())
    gains = tuple((fmean([next(each) for _ in problems]),) for problems in step.datasets)
    return Measured(gains, known.double().mean().item())


def as_problems(written: list[SyntheticProblem]) -> list[Problem]:
    """The teacher's problems as students take them."""
    return [Problem(problem.id, problem.question, problem.answer, source="teacher") for problem in written]


def _student_rows(line: dict, number: int, places: list[tuple[int, int]]) -> list[dict]:
    """One row of metrics.csv per student for a step that all of them took together."""
    names = ("reward", "top_reward", "length", "cut", "signal", "grad_norm", "kl")
    return [
        {"round": number, "policy": "student", "dataset": k, "repeat": j, "step": line["step"]}
        | {name: line[name][slot] for name in names}
        | {"learning_rate": line["learning_rate"]}
        for slot, (k, j) in enumerate(places)
    ]
