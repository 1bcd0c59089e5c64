"""Fresh students on each data set, then pass@k on the held-out hard problems (SOAR sections 4.3, B.6, B.8).

    base         no training
    hard_only    hard train in both phases
    pq           D_best, the data sets whose students were promoted, then hard train
    ps           the promoted student itself, no further training
    grounded_t   problems sampled from the trained teacher, then hard train

Trained arms start from the base and get equal rollouts: `synthetic_steps` on their own problems, then hard train for
the rest (the paper's curriculum for MATH), with a fresh AdamW and cosine in each phase for all arms alike. All arms,
SOAR runs and students train as one population. Test problems never choose anything: the last step is measured (the
paper averages a window of later steps).

base and ps are inference only: `students` inference seeds of one model. A table's `rollouts` are those that trained
the measured student itself (for ps along its line of promotions); what the SOAR run spent to make the data of pq, ps
and grounded_t is in sources.csv.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from soar_lib import runs, student, teacher
from soar_lib.analysis.passk import Score, compare, pass_at_k, read_scores, table
from soar_lib.analysis.sources import Source, describe, read_source
from soar_lib.config import EvaluateConfig, StudentSettings
from soar_lib.policy.base import Base
from soar_lib.policy.base import load as load_base
from soar_lib.policy.lora import Adapters, stack
from soar_lib.randomness import generator
from soar_lib.records import Problem
from soar_lib.rewards import student_rewards

__all__ = ["compare", "pass_at_k", "read_scores", "run", "table"]
TRAINED = ("hard_only", "pq", "grounded_t")


@dataclass(frozen=True)
class Entry:
    """One student to be measured: arm, number of the SOAR run, number of the student."""

    arm: str
    source: int
    student: int

    def key(self, seed: int, purpose: str) -> tuple[int | str, ...]:
        return seed, "evaluate", purpose, self.arm, self.source, self.student


@dataclass(frozen=True)
class Evaluation:
    """What every stage of an evaluation needs."""

    config: EvaluateConfig
    base: Base
    sources: list[Source]
    entries: list[Entry]
    run: runs.Run
    progress: bool

    @property
    def trained(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.arm in TRAINED]


def run(
    config: EvaluateConfig,
    soar_folders: Sequence[str | Path],
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Evaluate finished SOAR runs into the run folder `out`; returns its table (in pass_at_k.csv too).

    Raises RunError: a folder that holds no finished SOAR run, another model than `config.model`, `out` in use.
    """
    out = Path(out)
    runs.check_folder(out, resume)
    base = load_base(config.model)
    sources = [read_source(base, folder, config) for folder in soar_folders]
    opened = runs.open_run(out, config, resume)
    entries = plan(config, sources)
    evaluation = Evaluation(config, base, sources, entries, opened, progress)
    _check_sources(opened, sources)
    stages = _stages(evaluation)
    with tqdm(total=len(stages), initial=opened.round, desc="evaluation", unit="stage", disable=not progress) as bar:
        for stage in stages[opened.round :]:
            stage()
            bar.update()
    frame = table(read_scores([out]), config.ks, config.arms, config.seed)
    for name, content in (("sources", describe(sources)), ("pass_at_k", frame)):
        runs.write_text_atomic(out / f"{name}.csv", content.to_csv(index=False, lineterminator="\n"))
    return frame


def plan(config: EvaluateConfig, sources: Sequence[Source]) -> list[Entry]:
    """All students of an evaluation. A SOAR run without promotion has no promotion questions and so no pq."""
    return [
        Entry(arm, number, index)
        for arm in config.arms
        for number, source in enumerate(sources)
        for index in range(config.students)
        if arm != "pq" or source.promotion_questions
    ]


def _check_sources(run: runs.Run, sources: Sequence[Source]) -> None:
    """A resumed evaluation must stand on the SOAR runs that it began with."""
    now = [source.name for source in sources]
    before = run.load()[1]["sources"] if run.round else now
    if before != now:
        raise runs.RunError(f"{run.folder}: began with the runs {', '.join(before)}; give those or another folder")


# ------------------------------------------------------------------ stages: each ends in a commit


def _stages(evaluation: Evaluation) -> list[Callable[[], None]]:
    scoring = [lambda entry=entry: _score(evaluation, entry) for entry in evaluation.entries]
    return [lambda: _begin(evaluation), lambda: _first(evaluation), lambda: _second(evaluation), *scoring]


def _commit(evaluation: Evaluation, students: Adapters | None, **records: Sequence[dict]) -> None:
    tensors = {"students": students.state_dict()} if students else {}
    evaluation.run.commit(tensors, {"sources": [source.name for source in evaluation.sources]}, **records)


def _students(evaluation: Evaluation) -> Adapters | None:
    """The population as the last stage left it."""
    if not evaluation.trained:
        return None
    return _fresh(evaluation).load(evaluation.run.load()[0]["students"])


def _fresh(evaluation: Evaluation) -> Adapters:
    """Untrained students. The same student number starts alike in every arm, so that arms differ in data alone."""
    settings, seed = evaluation.config.student, evaluation.config.seed
    create = [
        Adapters.create(
            evaluation.base.model, 1, settings.rank, settings.alpha,
            generator(seed, "evaluate", "start", entry.source, entry.student),
        )
        for entry in evaluation.trained
    ]  # fmt: skip
    return stack(create)


def _begin(evaluation: Evaluation) -> None:
    """Sample the problems of grounded_t, the same for all students of a teacher (section 4.3)."""
    records = []
    for number in sorted({entry.source for entry in evaluation.entries if entry.arm == "grounded_t"}):
        source, key = evaluation.sources[number], (evaluation.config.seed, "evaluate", "teacher", number)
        count, settings = evaluation.config.teacher_samples, source.config.teacher
        proposal = teacher.propose(evaluation.base, source.teacher, count, settings, key)
        records += [{"source": number, **asdict(problem)} for problem in proposal.problems]
    _commit(evaluation, _fresh(evaluation) if evaluation.trained else None, problems=records)


def _own_problems(evaluation: Evaluation) -> dict[Entry, list[Problem]]:
    """What each trained student learns from in the first phase."""
    written = runs.read_jsonl(evaluation.run.folder / "problems.jsonl")
    sampled = {
        number: [Problem(r["id"], r["question"], r["answer"], "grounded_t") for r in written if r["source"] == number]
        for number in range(len(evaluation.sources))
    }
    choose = {
        "hard_only": lambda number: evaluation.sources[number].train,
        "pq": lambda number: evaluation.sources[number].promotion_questions,
        "grounded_t": lambda number: sampled[number],
    }
    return {entry: choose[entry.arm](entry.source) for entry in evaluation.trained}


def _first(evaluation: Evaluation) -> None:
    _train(evaluation, "synthetic", _own_problems(evaluation), phases(evaluation.config)[0])


def _second(evaluation: Evaluation) -> None:
    hard = {entry: evaluation.sources[entry.source].train for entry in evaluation.trained}
    _train(evaluation, "hard", hard, phases(evaluation.config)[1])


def phases(config: EvaluateConfig) -> tuple[StudentSettings | None, StudentSettings | None]:
    """Settings of both phases, None for a phase without steps; the warm-up belongs to the first that has some."""
    first, second = config.synthetic_steps, config.student.steps - config.synthetic_steps
    later = replace(config.student.optimiser, warmup=0) if first else config.student.optimiser
    return (
        replace(config.student, steps=first) if first else None,
        replace(config.student, steps=second, optimiser=later) if second else None,
    )


def _train(
    evaluation: Evaluation, phase: str, problems: dict[Entry, list[Problem]], settings: StudentSettings | None
) -> None:
    """One phase of all trained students as one population."""
    students, rows = _students(evaluation), []
    if students and settings:
        keys = [entry.key(evaluation.config.seed, phase) for entry in problems]
        with tqdm(total=settings.steps, desc=f"{phase} phase", unit="step", disable=not evaluation.progress) as bar:
            students, history = student.train(
                evaluation.base, students, list(problems.values()), settings, keys, student_rewards,
                lambda step, metrics: bar.update(), evaluation.config.rows,
            )  # fmt: skip
        rows = [row for step in history for row in _metrics(evaluation, phase, step)]
    _commit(evaluation, students, metrics=rows)


def _metrics(evaluation: Evaluation, phase: str, step: dict) -> list[dict]:
    """One row per student of a step's metrics."""
    named = ("reward", "top_reward", "length", "signal", "grad_norm")
    return [
        {"phase": phase, "step": step["step"], **asdict(entry), **{name: step[name][slot] for name in named}}
        for slot, entry in enumerate(evaluation.trained)
    ]


def _score(evaluation: Evaluation, entry: Entry) -> None:
    """Count one student's right samples on each problem of hard test."""
    config, source = evaluation.config, evaluation.sources[entry.source]
    students = _students(evaluation)
    policy = {"base": None, "ps": source.promoted}.get(entry.arm, students)
    slot = evaluation.trained.index(entry) if entry.arm in TRAINED else 0
    share = student.accuracy(
        evaluation.base, policy, source.test, [slot], config.student.max_new_tokens, config.samples,
        [entry.key(config.seed, "score")], config.student.temperature, config.rows,
    )[0]  # fmt: skip
    trained = config.student.steps * config.student.batch * config.student.group
    rollouts = {"base": 0, "ps": source.promoted_rollouts}.get(entry.arm, trained)
    counts = [round(value * config.samples) for value in share.tolist()]
    scores = [
        Score(entry.arm, source.name, entry.student, problem.id, config.samples, right, rollouts)
        for problem, right in zip(source.test, counts, strict=True)
    ]
    _commit(evaluation, students, scores=list(map(asdict, scores)))
