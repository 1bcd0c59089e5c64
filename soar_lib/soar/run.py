"""SOAR: a teacher learns to write problems that make a student better at problems it cannot solve (Algorithm 1).

Each round the teacher writes g data sets, g*r copies of the baseline student train on them (all in one population),
their gains on a fresh draw of hard problems are the rewards, a student is promoted when the average gain of the last
rounds exceeds tau, and then the teacher takes one RLOO step on the rewards from before the promotion. One loop serves
every arm: both rewards are functions, by name (soar/settings.py has the tables) or the caller's own; promotion and the
teacher's turns are settings. What the paper leaves open and we chose: Q_R is drawn without replacement; the teacher's
cosine runs over `rounds`; a run without promotion has no promoted student (PS) but the untrained one.

Beside what every run has (`runs`), the folder of a finished one holds hard_train.jsonl and hard_test.jsonl, which it
began with, promotion_questions.jsonl (PQ), adapters/teacher and adapters/promoted_student (PS) in PEFT format, and
result.json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from tqdm.auto import tqdm

from soar_lib import files, runs
from soar_lib.engine import lora
from soar_lib.engine.base import Base, load_for
from soar_lib.engine.lora import Adapters, save_peft, stack
from soar_lib.engine.update import Learner, make_learner, optimizer_tensors
from soar_lib.hooks import Commit, Hooks, run_stages
from soar_lib.randomness import generator
from soar_lib.records import HARD_TEST, HARD_TRAIN, Problem, Round, SyntheticProblem
from soar_lib.settings.values import ConfigError, chosen
from soar_lib.soar import rewards, teacher
from soar_lib.soar.rewards import Measured, OuterStep, TeacherReward
from soar_lib.soar.settings import STUDENT_REWARDS, TEACHER_REWARDS, SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import HERE, InnerLoop, StudentReward, Watch


@dataclass(frozen=True)
class OuterLoop:
    """What all rounds share; `train` holds the hard problems to learn from."""

    base: Base
    config: SoarConfig
    train: list[Problem]
    teacher_reward: TeacherReward
    student_reward: StudentReward
    inner_loop: InnerLoop = HERE
    progress: bool = False


@dataclass
class State:
    """A round's start: students start from the last of `baselines` (first: untrained); `history` is mean rewards."""

    teacher: Learner
    baselines: list[Adapters]
    history: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """A finished run. `accuracies` are greedy, on all of hard train, of the baselines in order of promotion, the
    untrained student first; `promoted_student` is an index into them, 0 where nobody was promoted."""

    folder: Path
    rounds: list[Round]
    accuracies: list[float]
    promoted_student: int
    sprayed: float = 0.0  # share of the students' completions paid for a box that only contains the answer

    def __str__(self) -> str:
        best = self.accuracies[self.promoted_student]
        sprayed = f"{self.sprayed:.1%} of completions boxed the answer among others (student.longest_box bounds it); "
        return (
            f"{len(self.rounds)} rounds, {len(self.accuracies) - 1} promotions; greedy accuracy on hard train "
            f"{self.accuracies[0]:.1%} untrained, {best:.1%} promoted student; {sprayed if self.sprayed else ''}"
            f"everything is in {self.folder}"
        )


@files.holding
def run(
    config: SoarConfig, folder: str | Path, resume: bool = False, base: Base | None = None,
    teacher_reward: str | TeacherReward | None = None, student_reward: str | StudentReward | None = None,
    hooks: Hooks = Hooks(),
) -> Result:  # fmt: skip
    """Run SOAR in a folder, or resume the run that is there; a finished run is only read. A given `base` is used, not
    loaded from `config.model`. `teacher_reward` and `student_reward` replace those of `config`: each is a name from
    `TEACHER_REWARDS` or `STUDENT_REWARDS`, or a function. config.json records a function's qualified name and a hash of
    its source, so a run cannot be resumed with another one. If students are trained elsewhere (`hooks.inner_loop`),
    memory is not checked. Raises ConfigError, LoadError, RunError (before anything is written) and TeacherError."""
    folder = Path(folder)
    config, pay_teacher = chosen(config, "reward", teacher_reward, TEACHER_REWARDS)
    config, pay_student = chosen(config, "student_reward", student_reward, STUDENT_REWARDS)
    if config.student_reward == "soar":
        pay_student = rewards.bounded(config.student)
    runs.check_folder(folder, resume, config)
    train, test = problems(config, folder)
    if (folder / "result.json").exists():
        runs.check_same(folder, config)
        return read_result(folder)
    if hooks.inner_loop is None:
        from soar_lib.settings.memory import check_memory  # here: where others train, no model's shape is asked for

        check_memory(config, loaded=base is not None)
    base, inner_loop = base or load_for(config), hooks.inner_loop or HERE
    loop = OuterLoop(base, config, train, pay_teacher, pay_student, inner_loop, hooks.progress)
    this = runs.open_run(folder, config, resume)
    files.write_problems(folder, {HARD_TEST: test, HARD_TRAIN: train} if test else {HARD_TRAIN: train})
    state = restore(loop.base, config, this)

    def stage(number: int) -> Commit:
        steps = config.inner_steps(len(state.baselines) - 1)
        with tqdm(total=steps, desc="students", unit="step", leave=False, disable=not hooks.progress) as bar:
            played = play(loop, state, number, lambda *_: bar.update())
        return _commit(state, *played)

    stages = [partial(stage, number) for number in range(1, config.rounds + 1)]
    run_stages(
        this, stages, hooks, "SOAR", "round",
        lambda: {"gain": f"{state.history[-1]:+.3f}", "promotions": len(state.baselines) - 1},
    )  # fmt: skip
    _finish(loop, state, folder)
    return read_result(folder)


def problems(config: SoarConfig, folder: Path) -> tuple[list[Problem], list[Problem]]:
    """Hard train and hard test (none, where `problems` is a file), of the run in `folder`, else as set. Raises
    ConfigError and LoadError."""
    if (folder / f"{HARD_TRAIN}.jsonl").exists():
        tested = (folder / f"{HARD_TEST}.jsonl").exists()
        return files.read_problems(folder, HARD_TRAIN), files.read_problems(folder, HARD_TEST) if tested else []
    if not config.problems:
        raise ConfigError("problems = '': name the folder of a filter run, or a JSONL file of hard problems")
    from soar_lib.problems import load, rows  # here: reasoning-gym's families take a second to import

    named = Path(config.problems)
    train, test = rows.hard_sets(named) if named.is_dir() else (load.load(config.problems), [])
    if len(train) < config.reward_set:
        raise ConfigError(
            f"reward_set = {config.reward_set}: must be at most {len(train)}, the hard problems in {config.problems}"
        )
    return train, test


def play(
    loop: OuterLoop, state: State, number: int, watch: Watch | None = None
) -> tuple[Round, list[SyntheticProblem], list[dict]]:
    """One round of Algorithm 1; changes `state`. Returns the record, the problems with their rewards, and metrics."""
    base, config = loop.base, loop.config
    count = config.datasets * config.dataset_size
    key = (config.seed, "teacher", number)
    proposal = teacher.propose(base, state.teacher.adapters, count, config.teacher, key, loop.progress)
    sets = teacher.datasets(proposal.problems, config.dataset_size, number)
    questions = reward_set(loop.train, config, number)
    outer = OuterStep(
        base, config, number, state.baselines, sets, questions, loop.student_reward, loop.inner_loop, watch
    )
    found = loop.teacher_reward(outer)
    means = rewards.dataset_rewards(found.gains)
    state.history.append(fmean(means))
    promoted = config.promotion and rewards.promote(state.history, config.window, config.threshold)
    chosen = rewards.choose(found.gains) if promoted else None
    if chosen:
        state.baselines.append(_promoted(loop, outer, found, chosen))
    how = config.teacher.temperature, config.teacher.advantage
    learned = teacher.learn(base, state.teacher, proposal.samples, means, number - 1, *how)
    average = rewards.moving_average(state.history, config.window)
    record = Round(
        number, found.gains, found.baseline_accuracy, fmean(means), average, promoted, chosen,
        proposal.attempts, dict(proposal.rejected),
    )  # fmt: skip
    written = [replace(problem, reward=means[problem.dataset]) for problems in sets for problem in problems]
    length = proposal.samples.mask.sum(1).float().mean().item()
    row = {"round": number, "policy": "teacher", "step": number - 1, "reward": fmean(means), "length": length}
    row["cut"] = proposal.cut / proposal.attempts
    return record, written, [*found.metrics, row | learned]


def _promoted(loop: OuterLoop, outer: OuterStep, found: Measured, chosen: tuple[int, int]) -> Adapters:
    """The student (k*, j*), the next baseline; with `promotion_repeats` the median of so many others of X_k*."""
    config = outer.config
    if found.students is None:
        raise ConfigError(f"promotion = True: the reward {config.reward} trains no students; set promotion to false")
    if config.promotion_repeats:
        again = replace(config, repeats=config.promotion_repeats)
        found = loop.teacher_reward(replace(outer, config=again, datasets=[outer.datasets[chosen[0]]]))
        chosen = rewards.choose(found.gains)
    return found.students.select([chosen[0] * len(found.gains[0]) + chosen[1]])


def reward_set(train: Sequence[Problem], config: SoarConfig, number: int) -> list[Problem]:
    """Q_R of a round: `config.reward_set` hard problems, drawn without replacement, anew in each round."""
    order = torch.randperm(len(train), generator=generator(config.seed, "reward set", number)).tolist()
    return [train[i] for i in order[: config.reward_set]]


def begin(base: Base, config: SoarConfig) -> State:
    """The state before round 1: teacher and baseline student, both equal to the untrained model."""
    parts = {"teacher": config.teacher, "student": config.student}
    made = [lora.begin(base, part, generator(config.seed, name, "adapter")) for name, part in parts.items()]
    return State(make_learner(made[0], config.teacher.optimiser, config.rounds), [made[1]])


def restore(base: Base, config: SoarConfig, this: runs.Run) -> State:
    """The state after the last round that counts."""
    fresh = begin(base, config)
    if not this.round:
        return fresh
    tensors, values = this.load("baselines", "teacher", "optimiser", history=list[float])
    everyone = fresh.baselines[0].load(tensors["baselines"])
    adapters = fresh.teacher.adapters.load(tensors["teacher"])
    learner = make_learner(adapters, config.teacher.optimiser, config.rounds, state=tensors["optimiser"])
    return State(learner, [everyone.select([i]) for i in range(everyone.size)], values["history"])


def _commit(state: State, record: Round, written: list[SyntheticProblem], metrics: list[dict]) -> Commit:
    tensors = {
        "teacher": state.teacher.adapters.state_dict(),
        "optimiser": optimizer_tensors(state.teacher),
        "baselines": stack(state.baselines).state_dict(),
    }
    records = {"metrics": metrics, "problems": list(map(asdict, written)), "rounds": [asdict(record)]}
    return tensors, {"history": state.history}, records


def read_rounds(folder: str | Path) -> list[Round]:
    """The rounds of a run folder, finished or not."""
    return files.read_records(Path(folder) / "rounds.jsonl", Round)


def promotion_questions(folder: str | Path) -> list[SyntheticProblem]:
    """D_best (PQ): the data sets whose students were promoted, in order of promotion."""
    best = {(record.round, record.chosen[0]) for record in read_rounds(folder) if record.chosen}
    written = files.read_records(Path(folder) / "problems.jsonl", SyntheticProblem)
    return [problem for problem in written if (problem.round, problem.dataset) in best]


def read_result(folder: str | Path) -> Result:
    """The result of a finished run. Raises RunError where it has not ended, or has lost some of its records since."""
    folder = Path(folder)
    if not (folder / "result.json").exists():
        raise files.RunError(f"{folder}: no finished SOAR run (no result.json); finish it with --resume")
    runs.counted(folder)
    found = files.read_json(folder / "result.json", accuracies=list[float], promoted_student=int)
    best, accuracies = found["promoted_student"], found["accuracies"]
    if not 0 <= best < len(accuracies):
        raise files.RunError(f"{folder / 'result.json'}: has no student {best}; {files.LOST}")
    log = folder / "metrics.csv"
    table = files.read_table(log, sprayed=float | None) if files.text_of(log) else {}
    sprayed = float(table["sprayed"].mean()) if "sprayed" in table else 0.0  # older runs have no such column
    return Result(folder, read_rounds(folder), accuracies, best, sprayed)


def _finish(loop: OuterLoop, state: State, folder: Path) -> None:
    """Choose the promoted student (PS): of the promoted baselines the best on hard train, greedily (section 4.3)."""
    base, config, everyone = loop.base, loop.config, stack(state.baselines)
    measured = student.accuracy(base, everyone, loop.train, config.student.draw(config.rows))
    accuracies = measured.double().mean(1).tolist()
    best = accuracies.index(max(accuracies[1:]), 1) if len(accuracies) > 1 else 0
    for name, adapters, slot in (("teacher", state.teacher.adapters, 0), ("promoted_student", everyone, best)):
        save_peft(adapters, slot, folder / "adapters" / name, base.name)
    questions = files.jsonl(map(asdict, promotion_questions(folder)))
    files.write_text_atomic(folder / "promotion_questions.jsonl", questions)
    files.write_json(folder / "result.json", {"accuracies": accuracies, "promoted_student": best})
