"""Teacher value: what a teacher's data sets are worth to a student that nothing has trained.

The mean grounded reward of fresh data sets, `config.dataset_size` problems each, on students that start from the
untrained one. Teachers that are compared draw with the same random numbers, their students learn with the same ones,
and all are measured on the same hard problems: they differ in what they write alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, begin
from soar_lib.randomness import generator
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.soar import teacher
from soar_lib.soar.rewards import OuterStep, dataset_rewards, grounded
from soar_lib.soar.run import reward_set
from soar_lib.soar.settings import SoarConfig


def values(
    base: Base, policy: Adapters | None, config: SoarConfig, train: Sequence[Problem], count: int = 32
) -> Iterator[tuple[float, list[SyntheticProblem]]]:
    """R_k and X_k of at least `count` fresh data sets of a teacher (slot 0 of `policy`; None: the untrained one), g at
    a time. Keys are those of the rounds after the last, so no data set repeats one that the teacher learned from."""
    untrained = begin(base, config.student, generator(config.seed, "student", "adapter"))
    settings, g = replace(config, repeats=1), config.datasets
    for number in range(config.rounds + 1, config.rounds + 1 - (-count // g)):
        key = (config.seed, "teacher", number)
        proposal = teacher.propose(base, policy, g * config.dataset_size, config.teacher, key)
        sets = teacher.datasets(proposal.problems, config.dataset_size, number)
        found = grounded(OuterStep(base, settings, number, [untrained], sets, reward_set(train, config, number)))
        yield from zip(dataset_rewards(found.gains), sets, strict=True)
