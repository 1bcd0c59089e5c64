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
filtered pool that the untrained model solved at least once, real and within reach; sources.csv says how many there are.
The paper compared correct with well-posed problems of PQ, in sets of unequal size; we take grounded_t's, of which every
run has some, and equal sizes. A SOAR run that has no problems of a kind (nobody promoted, no wrong answer) has no such
arm.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from soar_lib.engine.base import Base
from soar_lib.randomness import generator
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.settings.functions import label as label_of
from soar_lib.soar import teacher
from soar_lib.soar.settings import EvaluateConfig, SoarConfig
from soar_lib.soar.sources import Source

STANDING_ON_NO_RUN = ("base", "hard_only", "hard_only_x4", "oracle_small", "oracle_full")
WRITTEN = ("grounded_t", "base_t", "correct_only", "well_posed")  # on problems that a teacher wrote for the evaluation
Judge = Callable[[Sequence[SyntheticProblem]], list]  # problems -> quality.Verdict of each


@dataclass(frozen=True)
class Entry:
    """One student to be measured: arm, number of the SOAR run, number of the student."""

    arm: str
    source: int
    student: int

    def key(self, seed: int, purpose: str) -> tuple[int | str, ...]:
        return seed, "evaluate", purpose, self.arm, self.source, self.student


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


def plan(config: EvaluateConfig, sources: Sequence[Source], written: Sequence[dict] | None = None) -> list[Entry]:
    """All students of an evaluation, arm by arm, without arms for which a SOAR run has no problems; `written` are the
    problems that the teachers wrote (None: not yet, and all may come)."""
    return [
        Entry(arm, number, index)
        for arm in config.arms
        for number, source in enumerate(sources)
        if _possible(arm, number, source, written)
        for index in range(config.students)
    ]


def _possible(arm: str, number: int, source: Source, written: Sequence[dict] | None) -> bool:
    if arm == "pq":
        return bool(source.promotion_questions)
    if arm in WRITTEN and written is not None:
        return any(row["arm"] == arm and row["source"] == number for row in written)
    return True


def write(base: Base, config: EvaluateConfig, sources: Sequence[Source], judge: Judge | None = None) -> list[dict]:
    """The problems of the arms in `WRITTEN`, the same for all students of a teacher, as rows of problems.jsonl."""
    rows, wanted = [], set(config.arms)
    for number, source in enumerate(sources):
        found = {}
        for arm, policy, name in (("grounded_t", source.teacher, "teacher"), ("base_t", None, "untrained teacher")):
            if arm in wanted or (arm == "grounded_t" and wanted & {"correct_only", "well_posed"}):
                key = (config.seed, "evaluate", name, number)
                proposal = teacher.propose(base, policy, config.teacher_samples, source.config.teacher, key)
                found[arm] = proposal.problems
        if wanted & {"correct_only", "well_posed"}:
            found |= _by_correctness(found["grounded_t"], judge, config.seed, number)
        rows += [
            {"source": number, "arm": arm, **asdict(problem)}
            for arm, problems in found.items()
            for problem in problems
            if arm in wanted
        ]
    return rows


def _by_correctness(
    problems: list[SyntheticProblem], judge: Judge | None, seed: int, number: int
) -> dict[str, list[SyntheticProblem]]:
    """Both sets of one size, or none where the problems do not give them."""
    from soar_lib.measure import quality  # it brings the embedded world with it, needed by these arms alone

    verdicts = (judge or quality.exact)(problems)
    correct = sum(verdict.correct for verdict in verdicts)
    if correct == 0 or correct == sum(verdict.well_posed for verdict in verdicts):
        return {}
    return quality.equal_size_sets(problems, verdicts, seed, "evaluate", number)


def own_problems(
    entries: Sequence[Entry], config: EvaluateConfig, sources: Sequence[Source], written: Sequence[dict]
) -> list[list[Problem]]:
    """What each trained student learns from in the first phase."""
    return [_own(entry.arm, entry.source, config, sources[entry.source], written) for entry in entries]


def _own(arm: str, number: int, config: EvaluateConfig, source: Source, written: Sequence[dict]) -> Sequence[Problem]:
    if arm in WRITTEN:
        mine = [row for row in written if (row["arm"], row["source"]) == (arm, number)]
        return [Problem(row["id"], row["question"], row["answer"], "teacher") for row in mine]
    if arm == "oracle_small":
        order = torch.randperm(len(source.oracle), generator=generator(config.seed, "evaluate", "oracle", number))
        return [source.oracle[i] for i in order[: config.teacher_samples].tolist()]
    return {"pq": source.promotion_questions, "oracle_full": source.oracle}.get(arm, source.train)
