"""The arms of an evaluation: what a measured student is and what it learned from (SOAR sections 4.3, B.4, C.2, C.5).

    base           no training
    hard_only      hard train in both phases
    hard_only_x4   the same with four times the rollouts per problem (the paper's group of 128)
    pq             D_best, the data sets whose students were promoted, then hard train
    ps             the promoted student itself, no further training
    grounded_t     problems sampled from the trained teacher, then hard train (intrinsic_t, where that was its reward)
    base_t         problems sampled from the untrained teacher, then hard train
    correct_only   those of grounded_t's problems with a right answer, then hard train
    well_posed     as many of its well-posed problems, right answer or not, then hard train
    oracle_small   as many real problems as grounded_t has sampled ones (all, where there are fewer), then hard train
    oracle_full    all real problems, then hard train
    self_answer    the trained teacher itself answers the test problems, no further training

The paper's oracle takes real problems of another split. Ours, unless the settings name a set: the problems of the
filtered pool that the untrained model solved at least once; sources.csv says how many there are. The paper compared
correct with well-posed problems of PQ, in sets of unequal size; we take grounded_t's, of which every run has some, and
equal sizes. A SOAR run that has no problems of a kind (nobody promoted, no wrong answer) has no such arm."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, product, starmap
from pathlib import Path

import pandas as pd
import torch

from soar_lib import files
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, load_peft
from soar_lib.measure.quality import Judge, equal_size_sets, exact
from soar_lib.problems.filtering import solved_problems
from soar_lib.problems.likeness import overlap
from soar_lib.problems.load import load as load_problems
from soar_lib.problems.rows import LoadError, hard_sets
from soar_lib.randomness import Key, generator
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.settings.values import folder_of, revision
from soar_lib.settings.values import label as label_of
from soar_lib.soar import teacher
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.rewards import as_problems
from soar_lib.soar.run import promotion_questions, read_result
from soar_lib.soar.settings import SoarConfig

WRITTEN = ("grounded_t", "base_t", "correct_only", "well_posed")  # on problems that a teacher wrote for the evaluation
STANDING_ON_NO_RUN = ("base", "hard_only", "hard_only_x4", "oracle_small", "oracle_full")


def row_name(arm: str, config: SoarConfig, label: str = "") -> str:
    """The arm's name in tables, which says what kind of SOAR run it stands on; `label` tells further settings apart.

    >>> row_name("grounded_t", SoarConfig()), row_name("grounded_t", SoarConfig(reward="intrinsic", promotion=False))
    ('grounded_t', 'intrinsic_t')
    >>> row_name("pq", SoarConfig(promotion=False), "n_half"), row_name("hard_only", SoarConfig(), "n_half")
    ('pq_no_promotion_n_half', 'hard_only')
    """
    if arm in STANDING_ON_NO_RUN:
        return arm
    turns = ["multi_turn"] if config.teacher.turns == 2 else []
    if arm == "base_t":
        return "_".join([arm, *turns])
    paid = label_of(config.reward)
    name = f"{paid}_t" if arm == "grounded_t" else arm
    marks = [paid] if paid != "grounded" and arm != "grounded_t" else []
    marks += ["no_promotion"] if config.trains_students and not config.promotion else []
    return "_".join([name, *marks, *turns, *([label] if label else [])])


@dataclass(frozen=True)
class Entry:
    """One student to be measured: arm, number of the SOAR run, number of the student."""

    arm: str
    source: int
    student: int

    def key(self, seed: int, purpose: str) -> tuple[int | str, ...]:
        """The student's random key for one purpose."""
        return seed, "evaluate", purpose, self.arm, self.source, self.student


@dataclass(frozen=True)
class Source:
    """A finished SOAR run as an evaluation needs it; teacher and promoted student are one slot each."""

    name: str  # the last two parts of its folder's path
    config: SoarConfig
    train: list[Problem]
    test: list[Problem]
    promotion_questions: list[Problem]  # D_best; empty where nobody was promoted
    oracle: list[Problem]  # real problems, where an arm asks for them
    teacher: Adapters
    promoted: Adapters  # PS: the untrained student where nobody was promoted
    promotions: int
    promoted_rollouts: int  # that trained the promoted student, along its line of promotions
    rollouts: int  # of all students of the run, training and reward

    @property
    def teacher_rollouts(self) -> int:
        """Accepted completions that trained the teacher."""
        return self.config.counts().teacher_samples * self.config.teacher.turns


def plan(config: EvaluateConfig, sources: Sequence[Source], written: Sequence[dict]) -> list[Entry]:
    """An evaluation's students by arm, without arms that lack problems of a SOAR run; teachers wrote `written`."""
    entries = starmap(Entry, product(config.arms, range(len(sources)), range(config.students)))
    sure = {*config.arms} - {*WRITTEN, "pq"}
    return [one for one in entries if one.arm in sure or own_problems(one, config, sources[one.source], written)]


def write(base: Base, config: EvaluateConfig, sources: Sequence[Source], judge: Judge = exact) -> list[dict]:
    """The problems of the arms in `WRITTEN` as rows of problems.jsonl: a draw for all students of a teacher, or with
    `config.own_draws` one for each. The untrained teacher draws with the trained one's random numbers."""
    rows = []
    for number, source in enumerate(sources):
        for draw in [(student,) for student in range(config.students)] if config.own_draws else [()]:
            found = _draw(base, config, source, judge, (config.seed, "evaluate", "teacher", number, *draw))
            place = {"source": number, **dict(zip(["student"], draw))}
            rows += [
                {**place, "arm": arm, **asdict(problem)}
                for arm, problems in found.items()
                if arm in config.arms
                for problem in problems
            ]
    return rows


def _draw(
    base: Base, config: EvaluateConfig, source: Source, judge: Judge, key: Key
) -> dict[str, list[SyntheticProblem]]:
    """The problems of each arm in `WRITTEN` from one random key."""
    found, pair = {}, {"correct_only", "well_posed"} & {*config.arms}
    for arm, policy in (("grounded_t", source.teacher), ("base_t", None)):
        if arm in config.arms or (arm == "grounded_t" and pair):
            found[arm] = teacher.propose(base, policy, config.teacher_samples, source.config.teacher, key).problems
    if pair:
        found |= equal_size_sets(found["grounded_t"], judge(found["grounded_t"]), *key)
    return found


def own_problems(entry: Entry, config: EvaluateConfig, source: Source, written: Sequence[dict]) -> Sequence[Problem]:
    """What a trained student learns from in the first phase."""
    if entry.arm in WRITTEN:
        rows = [row for row in written if (row["arm"], row["source"]) == (entry.arm, entry.source)]
        mine = [row for row in rows if row.get("student") in (None, entry.student)]  # None: for all students
        return [Problem(row["id"], row["question"], row["answer"], "teacher") for row in mine]
    if entry.arm == "oracle_small":
        draw = generator(config.seed, "evaluate", "oracle", entry.source)
        order = torch.randperm(len(source.oracle), generator=draw)
        return [source.oracle[i] for i in order[: config.teacher_samples].tolist()]
    return {"pq": source.promotion_questions, "oracle_full": source.oracle}.get(entry.arm, source.train)


def read_source(base: Base, folder: str | Path, config: EvaluateConfig, transfer: Sequence[Problem] = ()) -> Source:
    """Read a finished SOAR run; hard train and hard test are `config.problems`' where it names a filter run. Real
    problems that are measured too, in hard test or `transfer`, are left out. Raises RunError."""
    folder = Path(folder)
    result, settings = read_result(folder), files.read_config(folder, SoarConfig)
    config = replace(config, revision=revision(config.model, config.revision))
    for name in ("model", "start", "four_bit", "revision"):
        began, asked = (folder_of(str(vars(part)[name])) for part in (settings, config))
        if began != asked and (began or name != "revision"):
            told = began.lower() if name == "four_bit" else began
            raise files.RunError(
                f"{folder}: began with {name} = {began or 'none'}, not {asked or 'none'}; "
                f"evaluate with --set {name}={told}"
            )
    if not (folder / "adapters").is_dir():
        raise files.RunError(f"{folder}: its adapters are missing, as in published runs; run it anew to evaluate it")
    try:
        train, test = hard_sets(config.problems or folder)
    except LoadError as error:
        raise files.RunError(f"{error}; an evaluation needs hard train and hard test, name a filter run") from None
    if seen := overlap(transfer, train)[0]:
        one = next(iter(seen))
        raise files.RunError(f"transfer: {one} is a hard train problem of {folder}; name another filter run")
    asked = {"oracle_small", "oracle_full"} & {*config.arms}
    return Source(
        name=source_name(folder), config=settings, train=train, test=test,
        promotion_questions=as_problems(promotion_questions(folder)),
        oracle=_oracle(config, settings, [*test, *transfer]) if asked else [],
        teacher=load_peft(folder / "adapters" / "teacher", base.model),
        promoted=load_peft(folder / "adapters" / "promoted_student", base.model),
        promotions=len(result.accuracies) - 1,
        promoted_rollouts=line_rollouts(settings, result.promoted_student),
        rollouts=spent(settings, list(map(asdict, result.rounds))),
    )


def source_name(folder: str | Path) -> str:
    """The last two parts of a SOAR run's path, its name in scores and tables."""
    return "/".join(Path(folder).resolve().parts[-2:])


def _oracle(config: EvaluateConfig, settings: SoarConfig, measured: Sequence[Problem]) -> list[Problem]:
    """The problems of the set or filter run that `config.oracle` names, else those of the pool that are not hard."""
    name = config.oracle or config.problems or settings.problems
    try:
        filtered = not config.oracle or Path(name).is_dir()
        real = solved_problems(name) if filtered else load_problems(name, seed=config.seed)
    except LoadError as error:
        raise files.RunError(f"{error}; real problems (oracle arms) need a set: --set oracle=SET") from None
    known, _ = overlap(real, measured)
    left = [problem for problem in real if problem.id not in known]
    if not left:
        raise files.RunError(f"{name}: holds no real problem within reach; name another set: --set oracle=SET")
    return left


def read_transfer(config: EvaluateConfig) -> list[Problem]:
    """All hard problems of `config.transfer`'s filter run, none where it names none. Raises RunError."""
    if not config.transfer:
        return []
    try:
        return [problem for part in hard_sets(config.transfer) for problem in part]
    except LoadError as error:
        raise files.RunError(f"{error}; transfer must name the folder of a filter run") from None


def line_rollouts(config: SoarConfig, promotions: int) -> int:
    """Completions that trained the baseline after so many promotions: one inner run each, and they grow longer.

    >>> line_rollouts(SoarConfig(), 2)  # 10 and 15 steps of 8 x 32
    6400
    """
    return sum(map(config.inner_steps, range(promotions))) * config.student.batch * config.student.group


def spent(config: SoarConfig, rounds: Sequence[dict]) -> int:
    """All student completions of a run: what its settings say of each round, and the longer training after promotions.

    >>> spent(SoarConfig(), [{"promoted": True}]), spent(SoarConfig(), [{"promoted": True}] * 2)
    (42048, 104576)
    """
    promotions = accumulate((record["promoted"] for record in rounds[:-1]), initial=0)
    longer = sum(config.inner_steps(done) - config.student.steps for done in promotions)
    students = config.datasets * config.repeats
    each = config.counts().rollouts // config.rounds
    return len(rounds) * each + longer * students * config.student.batch * config.student.group


def describe(sources: Sequence[Source]) -> pd.DataFrame:
    """One row per SOAR run: promotions, size of D_best, problems, and the completions of students and teacher."""
    return pd.DataFrame(
        {
            "run": source.name, "seed": source.config.seed, "promotions": source.promotions,
            "promotion_questions": len(source.promotion_questions), "hard_train": len(source.train),
            "hard_test": len(source.test), "oracle_problems": len(source.oracle),
            "soar_rollouts": source.rollouts, "teacher_rollouts": source.teacher_rollouts,
        }
        for source in sources
    )  # fmt: skip
