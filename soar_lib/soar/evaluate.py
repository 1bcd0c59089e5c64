"""Fresh students on each data set, then pass@k on the held-out hard problems (SOAR sections 4.3, B.6, B.8).

soar/arms.py says what the arms are. Trained arms start from the base and get equal rollouts: `synthetic_steps` on their
own problems, then hard train for the rest (the paper's curriculum for MATH), each phase with a fresh AdamW and cosine.
All students train as one population, or in parts of `together`, or with student.trainer = "trl" one after another. The
last step is measured; test problems never choose anything.

base, ps and self_answer are inference only: `students` inference seeds of one model. A table's `rollouts` trained the
measured policy itself (for ps along its line of promotions); what the SOAR run spent on the data is in sources.csv."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from soar_lib import files, runs
from soar_lib.engine.base import Base, load_for
from soar_lib.engine.lora import Adapters, begin, stack
from soar_lib.hooks import Commit, Hooks, Stage, run_stages
from soar_lib.measure.passk import TYPES, read_scores, table
from soar_lib.measure.quality import Judge, exact
from soar_lib.randomness import generator
from soar_lib.records import HARD_TEST, TRANSFER, Problem, Score, SyntheticProblem
from soar_lib.settings.memory import check_memory
from soar_lib.settings.student import StudentSettings, by_trl, check_trainer
from soar_lib.soar import arms
from soar_lib.soar.arms import Entry, Source, row_name
from soar_lib.soar.evaluate_settings import TRAINED_ARMS, EvaluateConfig
from soar_lib.soar.rewards import bounded
from soar_lib.soar.settings import OWNER
from soar_lib.student.train import HERE, Lesson, step_rows

TABLES = {"sources": {"run": str, "seed": int}, "transfer": TYPES, "pass_at_k": TYPES}  # in the order of writing
AGAIN = "delete it, and the same command with --resume makes it anew"
FACTORS = {"hard_only_x4": 4}  # how many times the others' rollouts per problem an arm has


@dataclass(frozen=True)
class Evaluation:
    """What the stages of an evaluation share."""

    config: EvaluateConfig
    base: Base
    sources: list[Source]
    transfer: list[Problem]
    run: runs.Run
    hooks: Hooks

    @cached_property
    def entries(self) -> list[Entry]:
        """All students, known once the teachers have written their problems."""
        return arms.plan(self.config, self.sources, self.written)

    @property
    def trained(self) -> list[Entry]:
        """The students that are trained, in order."""
        return [entry for entry in self.entries if entry.arm in TRAINED_ARMS]

    @property
    def written(self) -> list[dict]:
        """The problems that the teachers wrote for the evaluation, row by row."""
        return files.read_jsonl(self.run.folder / "problems.jsonl", SyntheticProblem, **OWNER)


@files.holding
def run(
    config: EvaluateConfig, soar_folders: Sequence[str | Path], out: str | Path, resume: bool = False,
    base: Base | None = None, judge: Judge | None = None, hooks: Hooks = Hooks(),
) -> pd.DataFrame:  # fmt: skip
    """Evaluate finished SOAR runs into the run folder `out`; returns its table (in pass_at_k.csv too). A finished
    evaluation is only read. `base` saves loading `config.model` again, and `judge` gives the verdicts behind
    correct_only and well_posed (default `quality.exact`, which knows the embedded world's problems alone). Raises
    RunError: a folder that holds no finished SOAR run, another model than `config.model`, `out` in use."""
    out, names = Path(out), list(map(arms.source_name, soar_folders))
    runs.check_folder(out, resume, config)
    tables = {name: out / f"{name}.csv" for name in TABLES if name != "transfer" or config.transfer}
    if all(path.is_file() for path in tables.values()):
        runs.check_same(out, config)
        sources, *_, found = (files.read_table(path, **TABLES[name], advice=AGAIN) for name, path in tables.items())
        _check_sources(out, sources["run"].tolist(), names)
        return found
    check_trainer(config.student)
    transfer = arms.read_transfer(config)
    if hooks.inner_loop is None:
        tests = [Path(config.problems or folder) / f"{HARD_TEST}.jsonl" for folder in soar_folders]
        most = max(len(part) for part in (transfer, *map(files.read_jsonl, tests)))
        check_memory(config, most, len(soar_folders), loaded=base is not None)
    base = base or load_for(config)
    sources = [arms.read_source(base, folder, config, transfer) for folder in soar_folders]
    this = runs.open_run(out, config, resume)
    evaluation = Evaluation(config, base, sources, transfer, this, hooks)
    _check_sources(out, this.load(sources=list[str])[1]["sources"] if this.round else names, names)
    writing = partial(_write, evaluation, judge or exact)
    run_stages(this, [writing], hooks, "teachers' problems")
    run_stages(this, [writing, *_stages(evaluation)], hooks, "evaluation")
    return _finish(evaluation)


def _finish(evaluation: Evaluation) -> pd.DataFrame:
    """Write the tables anew; pass_at_k.csv ends the evaluation."""
    config, out = evaluation.config, evaluation.run.folder
    scores = read_scores([out])
    tables = {"sources": arms.describe(evaluation.sources)}
    if evaluation.transfer:
        tables["transfer"] = table(scores, config.ks, None, config.seed, TRANSFER)
    tables["pass_at_k"] = table(scores, config.ks, None, config.seed)
    files.write_tables(out, tables)
    return tables["pass_at_k"]


def _check_sources(folder: Path, before: list[str], now: list[str]) -> None:
    """An evaluation goes on with the SOAR runs that it began with, or is read with them."""
    if before != now:
        raise files.RunError(f"{folder}: began with the runs {', '.join(before)}; give those or another folder")


def _write(evaluation: Evaluation, judge: Judge) -> Commit:
    return _commit(evaluation, None, problems=arms.write(evaluation.base, evaluation.config, evaluation.sources, judge))


def _stages(evaluation: Evaluation) -> list[Stage]:
    training = [
        partial(_train, evaluation, part, phase, settings)
        for part in parts(evaluation.trained, 1 if by_trl(evaluation.config) else evaluation.config.together)
        for phase, settings in phases(evaluation.config).items()
        if settings
    ]
    measured = dict.fromkeys(entry.arm for entry in evaluation.entries)
    return [*training, *(partial(_score, evaluation, arm) for arm in measured)]


def parts(trained: Sequence[Entry], together: int = 0) -> list[list[Entry]]:
    """The students that train together: of one budget, and at most `together` of them (0: all)."""
    found, budgets = [], sorted({FACTORS.get(entry.arm, 1) for entry in trained})
    for alike in ([entry for entry in trained if FACTORS.get(entry.arm, 1) == budget] for budget in budgets):
        size = together or len(alike)
        found += [alike[i : i + size] for i in range(0, len(alike), size)]
    return found


def phases(config: EvaluateConfig) -> dict[str, StudentSettings | None]:
    """Settings of both phases, None for a phase without steps; the warm-up belongs to the first that has some."""
    first, second = config.synthetic_steps, config.student.steps - config.synthetic_steps
    later = replace(config.student.optimiser, warmup=0) if first else config.student.optimiser
    return {
        "synthetic": replace(config.student, steps=first) if first else None,
        "hard": replace(config.student, steps=second, optimiser=later) if second else None,
    }


def _commit(evaluation: Evaluation, students: Adapters | None, **records: list[dict]) -> Commit:
    tensors = {"students": students.state_dict()} if students else {}
    return tensors, {"sources": [source.name for source in evaluation.sources]}, records


def _students(evaluation: Evaluation) -> Adapters | None:
    """The population as the last stage left it. A student number starts alike in all arms: they differ in data."""
    if not evaluation.trained:
        return None
    base, settings, seed = evaluation.base, evaluation.config.student, evaluation.config.seed
    draws = [generator(seed, "evaluate", "start", entry.source, entry.student) for entry in evaluation.trained]
    fresh = stack([begin(base, settings, draw) for draw in draws])
    # Round 1 is the teachers' writing.
    return fresh.load(evaluation.run.load("students")[0]["students"]) if evaluation.run.round > 1 else fresh


def _train(evaluation: Evaluation, part: list[Entry], phase: str, settings: StudentSettings) -> Commit:
    config, everyone = evaluation.config, _students(evaluation)
    slots = [evaluation.trained.index(entry) for entry in part]
    settings = replace(settings, group=settings.group * FACTORS.get(part[0].arm, 1))
    written, lessons = evaluation.written, []
    for entry in part:
        source = evaluation.sources[entry.source]
        own = arms.own_problems(entry, config, source, written) if phase == "synthetic" else source.train
        lessons.append(Lesson(own, entry.key(config.seed, phase)))
    with tqdm(total=settings.steps, desc=f"{phase} phase", unit="step", disable=not evaluation.hooks.progress) as bar:
        trained, history = (evaluation.hooks.inner_loop or HERE).train(
            evaluation.base, everyone.select(slots), lessons, settings, bounded(settings), config.rows,
            lambda *_: bar.update(),
        )  # fmt: skip
    owners = [{"phase": phase, "step": 0, **asdict(entry)} for entry in part]
    rows = step_rows(history, owners, ("reward", "top_reward", "length", "cut", "sprayed", "signal", "grad_norm"))
    places = [everyone.size + slots.index(slot) if slot in slots else slot for slot in range(everyone.size)]
    return _commit(evaluation, stack([everyone, trained]).select(places), metrics=rows)


def _score(evaluation: Evaluation, arm: str) -> Commit:
    """Count the right samples of all students of an arm on each problem of hard test and of the transfer set."""
    students, scores = _students(evaluation), []
    for number, source in enumerate(evaluation.sources):
        mine = [entry for entry in evaluation.entries if (entry.arm, entry.source) == (arm, number)]
        for set, problems in ((HARD_TEST, source.test), (TRANSFER, evaluation.transfer)):
            if mine and problems:
                scores += _counts(evaluation, mine, source, students, problems, set)
    return _commit(evaluation, students, scores=list(map(asdict, scores)))


def _counts(
    evaluation: Evaluation, mine: list[Entry], source: Source, students: Adapters, problems: list[Problem], set: str
) -> list[Score]:
    config, arm = evaluation.config, mine[0].arm
    policy = {"base": None, "ps": source.promoted, "self_answer": source.teacher}.get(arm)
    if arm in TRAINED_ARMS:
        policy = students.select([evaluation.trained.index(entry) for entry in mine])
    purpose = "score" if set == HARD_TEST else f"score {set}"
    shares = (evaluation.hooks.inner_loop or HERE).accuracy(
        evaluation.base, policy, problems, config.student.draw(config.rows), config.samples,
        [entry.key(config.seed, purpose) for entry in mine],
    )  # fmt: skip
    inference = {"base": 0, "ps": source.promoted_rollouts, "self_answer": source.teacher_rollouts}
    rollouts = inference.get(arm, config.student.rollouts * FACTORS.get(arm, 1))
    name, n = row_name(arm, source.config, config.label), config.samples
    return [
        Score(name, source.name, entry.student, problem.id, n, round(share * n), rollouts, set, problem.topic)
        for entry, row in zip(mine, shares.tolist(), strict=True)
        for problem, share in zip(problems, row, strict=True)
    ]
