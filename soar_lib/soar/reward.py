"""What a round's data sets are worth, measured on students: the grounded and the intrinsic reward of the teacher.

Both have the call form of `Reward`, as has one of your own for `soar.run(..., reward=...)`. The numbers behind them are
pure functions in rewards.py. What the paper leaves open and we chose: sampled accuracy gives every student of a round
the same random numbers; the intrinsic reward compares with the teacher's own answer.
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
from soar_lib.student.inner_loop import HERE, InnerLoop
from soar_lib.student.train import Lesson, Watch


@dataclass
class Rewarded:
    """What a reward function says of a round's data sets: R_kj (g rows of r, or of one where nothing is repeated), the
    baseline student's accuracy on the reward set, the trained students (slot k*r + j; None where none was trained) and
    rows for metrics.csv."""

    gains: tuple[tuple[float, ...], ...]
    baseline_accuracy: float
    students: Adapters | None = None
    metrics: list[dict] = field(default_factory=list)


# (base, baselines, data sets, reward set, config, round, watch) -> Rewarded. Students start from the last baseline.
Reward = Callable[[Base, list[Adapters], list[list[SyntheticProblem]], list[Problem], SoarConfig, int, Watch], Rewarded]


def grounded(
    base: Base,
    baselines: list[Adapters],
    sets: list[list[SyntheticProblem]],
    questions: list[Problem],
    config: SoarConfig,
    number: int,
    watch: Watch | None = None,
    inner_loop: InnerLoop = HERE,
) -> Rewarded:
    """The grounded reward (Algorithm 1): train r copies of the baseline on each data set, all as one population, and
    measure what each gained on the reward set (greedily, or by `config.reward_samples` samples per problem).
    `inner_loop` says where."""
    baseline, repeats = baselines[-1], config.repeats
    places = [(k, j) for k in range(len(sets)) for j in range(repeats)]
    settings = replace(config.student, steps=config.inner_steps(len(baselines) - 1))
    lessons = [Lesson(list(map(_problem, sets[k])), (config.seed, "student", number, k, j)) for k, j in places]
    trained, history = inner_loop.train(
        base, baseline.select([0] * len(places)), lessons, settings, rewards.student_rewards, config.rows, watch
    )
    everyone, keys = stack([baseline, trained]), [(config.seed, "reward", number)] * (len(places) + 1)
    measured = inner_loop.accuracy(base, everyone, questions, settings.draw(config.rows), config.reward_samples, keys)
    before, *after = measured.double().mean(1).tolist()
    rows = [after[k * repeats : (k + 1) * repeats] for k in range(len(sets))]
    metrics = [row for line in history for row in _student_rows(line, number, places)]
    return Rewarded(rewards.grounded_gains(rows, before), before, trained, metrics)


def intrinsic(
    base: Base,
    baselines: list[Adapters],
    sets: list[list[SyntheticProblem]],
    questions: list[Problem],
    config: SoarConfig,
    number: int,
    watch: Watch | None = None,
) -> Rewarded:
    """The intrinsic reward (section 4.3, B.4): how rarely the baseline student, which nothing trains, gives the
    teacher's own answer in `config.intrinsic_samples` samples per question; R_k is the mean over the data set. The
    reward set is not used but for the record."""
    draw = config.student.draw(config.rows)
    written = [_problem(problem) for problems in sets for problem in problems]
    keys = [(config.seed, "intrinsic", number)]
    success = student.accuracy(base, baselines[-1], written, draw, config.intrinsic_samples, keys)[0]
    known = student.accuracy(base, baselines[-1], questions, draw)
    each = [rewards.intrinsic_reward(share) for share in success.double().tolist()]
    size = config.dataset_size
    gains = tuple((fmean(each[k * size : (k + 1) * size]),) for k in range(len(sets)))
    return Rewarded(gains, known.double().mean().item())


def _problem(problem: SyntheticProblem) -> Problem:
    return Problem(problem.id, problem.question, problem.answer, source="teacher")


def _student_rows(line: dict, number: int, places: list[tuple[int, int]]) -> list[dict]:
    """One row of metrics.csv per student for a step that all of them took together."""
    names = ("reward", "top_reward", "length", "signal", "grad_norm", "kl")
    return [
        {"round": number, "policy": "student", "dataset": k, "repeat": j, "step": line["step"]}
        | {name: line[name][slot] for name in names}
        | {"learning_rate": line["learning_rate"]}
        for slot, (k, j) in enumerate(places)
    ]
