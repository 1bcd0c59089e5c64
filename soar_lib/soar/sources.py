"""A finished SOAR run as an evaluation needs it: its problems, its promotions, its policies and what it spent."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from soar_lib import runs
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, load_peft
from soar_lib.problems.filtering import hard_sets, solved_problems
from soar_lib.problems.likeness import overlap
from soar_lib.problems.load import load as load_problems
from soar_lib.problems.rows import LoadError
from soar_lib.records import Problem
from soar_lib.settings.values import from_values
from soar_lib.soar.settings import EvaluateConfig, SoarConfig

ORACLE_ARMS = ("oracle_small", "oracle_full")


@dataclass(frozen=True)
class Source:
    """One SOAR run; teacher and promoted student are one slot each."""

    name: str  # the last two parts of its folder's path
    config: SoarConfig
    train: list[Problem]
    test: list[Problem]
    promotion_questions: list[Problem]  # D_best; empty where nobody was promoted
    teacher: Adapters
    promoted: Adapters  # PS: the untrained student where nobody was promoted
    promotions: int
    promoted_rollouts: int  # that trained the promoted student, along its line of promotions
    teacher_rollouts: int  # accepted completions that trained the teacher
    rollouts: int  # of all students of the run, training and reward
    oracle: list[Problem]  # real problems, where an arm asks for them


def read_source(base: Base, folder: str | Path, config: EvaluateConfig, transfer: Sequence[Problem] = ()) -> Source:
    """Read a finished SOAR run; hard train and hard test are `config.problems`' where it names a filter run. Real
    problems that are also measured, in hard test or `transfer`, are left out.

    Raises RunError with the folder and what to do.
    """
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise runs.RunError(f"{folder}: holds no finished SOAR run (no result.json); finish it with --resume first")
    settings = from_values(SoarConfig, runs.read_json(folder / "config.json"))
    if settings.model != config.model:
        raise runs.RunError(f"{folder}: its model is {settings.model}, not {config.model}; evaluate with --model")
    if settings.four_bit != config.four_bit:
        form = {True: "a base in 4 bits", False: "the full base"}
        raise runs.RunError(
            f"{folder}: its adapters were trained on {form[settings.four_bit]}, and the evaluation takes "
            f"{form[config.four_bit]}; evaluate with --set four_bit={str(settings.four_bit).lower()}"
        )
    if not (folder / "adapters").is_dir():
        raise runs.RunError(f"{folder}: its adapters are missing, as in published runs; run it anew to evaluate it")
    try:
        train, test = hard_sets(config.problems or folder)
    except LoadError as error:
        raise runs.RunError(f"{error}; an evaluation needs hard train and hard test, name a filter run") from None
    result, rounds = runs.read_json(folder / "result.json"), runs.read_jsonl(folder / "rounds.jsonl")
    best = runs.read_jsonl(folder / "promotion_questions.jsonl")
    return Source(
        name=source_name(folder),
        config=settings,
        train=train,
        test=test,
        promotion_questions=[Problem(row["id"], row["question"], row["answer"], "teacher") for row in best],
        teacher=load_peft(folder / "adapters" / "teacher", base.model),
        promoted=load_peft(folder / "adapters" / "promoted_student", base.model),
        promotions=len(result["accuracies"]) - 1,
        promoted_rollouts=line_rollouts(settings, result["promoted_student"]),
        teacher_rollouts=settings.rounds * settings.datasets * settings.dataset_size * settings.teacher.turns,
        rollouts=spent(settings, rounds),
        oracle=_oracle(config, settings, [*test, *transfer]) if set(config.arms) & set(ORACLE_ARMS) else [],
    )


def source_name(folder: str | Path) -> str:
    """The last two parts of a SOAR run's path, its name in scores and tables."""
    return "/".join(Path(folder).resolve().parts[-2:])


def _oracle(config: EvaluateConfig, settings: SoarConfig, measured: Sequence[Problem]) -> list[Problem]:
    """The problems of the set or the filter run that `config.oracle` names, else of the pool behind hard train that
    are not hard."""
    name = config.oracle or config.problems or settings.problems
    try:
        filtered = not config.oracle or Path(name).is_dir()
        real = solved_problems(name) if filtered else load_problems(name, seed=config.seed)
    except LoadError as error:
        raise runs.RunError(f"{error}; real problems (oracle arms) need a set: --set oracle=SET") from None
    known = {first for first, _ in overlap(real, list(measured)).shared}
    left = [problem for problem in real if problem.id not in known]
    if not left:
        raise runs.RunError(f"{name}: holds no real problem within reach; name another set: --set oracle=SET")
    return left


def read_transfer(config: EvaluateConfig) -> list[Problem]:
    """All hard problems of `config.transfer`'s filter run, none where it names none. Raises RunError."""
    if not config.transfer:
        return []
    try:
        return [problem for part in hard_sets(config.transfer) for problem in part]
    except LoadError as error:
        raise runs.RunError(f"{error}; transfer must name the folder of a filter run") from None


def line_rollouts(config: SoarConfig, promotions: int) -> int:
    """Completions that trained the baseline after so many promotions: one inner run each, and they grow longer.

    >>> line_rollouts(SoarConfig(), 2)  # 10 and 15 steps of 8 x 32
    6400
    """
    return sum(map(config.inner_steps, range(promotions))) * config.student.batch * config.student.group


def spent(config: SoarConfig, rounds: Sequence[dict]) -> int:
    """All student completions of a run: training of g*r students and their and the baseline's reward, each round; with
    the intrinsic reward the samples per question and the baseline's accuracy.

    >>> spent(SoarConfig(), [{"promoted": False}]), spent(SoarConfig(reward="intrinsic", promotion=False), [{}])
    (42048, 8256)
    """
    if not config.trains_students:
        written = config.datasets * config.dataset_size
        return len(rounds) * (written * config.intrinsic_samples + config.reward_set)
    students, total, promotions = config.datasets * config.repeats, 0, 0
    for record in rounds:
        training = students * config.inner_steps(promotions) * config.student.batch * config.student.group
        total += training + (students + 1) * config.reward_set * max(1, config.reward_samples)
        promotions += record["promoted"]
    return total


def describe(sources: Sequence[Source]) -> pd.DataFrame:
    """One row per SOAR run: promotions, size of D_best, problems, and what the run spent (completions of students, and
    accepted ones that trained the teacher)."""
    return pd.DataFrame(
        {
            "run": source.name, "seed": source.config.seed, "promotions": source.promotions,
            "promotion_questions": len(source.promotion_questions), "hard_train": len(source.train),
            "hard_test": len(source.test), "oracle_problems": len(source.oracle),
            "soar_rollouts": source.rollouts, "teacher_rollouts": source.teacher_rollouts,
        }
        for source in sources
    )  # fmt: skip
