"""Teacher value: what a teacher's data sets are worth to a student that nothing has trained.

The mean grounded reward of fresh data sets, `config.dataset_size` problems each, on students that start from the
untrained one. Teachers that are compared draw with the same random numbers, their students learn with the same ones,
and all are measured on the same hard train problems: they differ in what they write alone. Pay for progress is pay for
progress on these problems. The measure is ours; the paper compares teachers by fresh students' pass@k alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pandas as pd

from soar_lib import files
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, begin, load_peft
from soar_lib.randomness import generator
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.soar import teacher
from soar_lib.soar.rewards import OuterStep, bounded, dataset_rewards, grounded
from soar_lib.soar.run import problems, reward_set
from soar_lib.soar.settings import VALUED, SoarConfig


def values(
    base: Base, policy: Adapters | None, config: SoarConfig, train: Sequence[Problem], count: int = 32
) -> Iterator[tuple[float, list[SyntheticProblem]]]:
    """R_k and X_k of at least `count` fresh data sets of a teacher (slot 0 of `policy`; None: the untrained one), g at
    a time. Keys are those of the rounds after the last, so no data set repeats one that the teacher learned from."""
    untrained = begin(base, config.student, generator(config.seed, "student", "adapter"))
    settings, g, paid = replace(config, repeats=1), config.datasets, bounded(config.student)
    for number in range(config.rounds + 1, config.rounds + 1 - (-count // g)):
        key = (config.seed, "teacher", number)
        proposal = teacher.propose(base, policy, g * config.dataset_size, config.teacher, key)
        sets = teacher.datasets(proposal.problems, config.dataset_size, number)
        step = OuterStep(base, settings, number, [untrained], sets, reward_set(train, config, number), paid)
        yield from zip(dataset_rewards(grounded(step).gains), sets, strict=True)


def seeds(out: Path) -> int:
    """How many runs' teachers a CSV of `write` holds; 0 where there is none."""
    return files.read_table(out, **VALUED)["seed"].nunique() if out.is_file() else 0


def write(base: Base, folders: Sequence[Path], count: int, out: Path, untrained: bool) -> None:
    """The values of the teachers of finished SOAR runs, and with `untrained` of each run's teacher before training, as
    a CSV: seed, teacher ("trained" or "untrained"), value, sets. It is written run by run, and goes on where it ended.
    """
    rows = files.read_table(out, **VALUED).to_dict("records") if out.is_file() else []
    for folder in folders[seeds(out) :]:
        config = files.read_config(folder, SoarConfig)
        train, _ = problems(config, folder)
        teachers = {"trained": load_peft(folder / "adapters" / "teacher", base.model)}
        for name, policy in (teachers | ({"untrained": None} if untrained else {})).items():
            found = [reward for reward, _ in values(base, policy, config, train, count)]
            rows.append({"seed": config.seed, "teacher": name, "value": fmean(found), "sets": len(found)})
        files.write_tables(out.parent, {out.stem: pd.DataFrame(rows)})
