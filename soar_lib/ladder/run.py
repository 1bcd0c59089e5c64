"""LADDER: learn hard problems by practising on easier variants of them that the model wrote (Simonds & Yoshiyama 2025).

Trees of variants grow from a few hard problems (Algorithm 1, `variants`), students learn from all variants together by
GRPO with a verifier's reward (`student`), and then each test problem may get a tree and a student of its own (`ttrl`).
The model comes from one filter run: what it never solves in k samples, cut into problems to learn from and to test on.

    base           no training
    originals      RL on the hard problems themselves
    one_level      RL on variants written from the hard problems alone, by as many prompts as a tree has at most
    ladder         RL on the variants of the trees, without the hard problems (3.2.1)
    ladder_ttrl    TTRL on each test problem, from LADDER's student
    base_ttrl      TTRL from the untrained model
    majority       RL on the test problems, for the answer that most samples give: the other method named TTRL (Zuo et
                   al. 2025, arXiv 2504.16084), which needs no verifier

All that are trained but TTRL take the same number of rollouts. Students of all arms and seeds train as one population;
seed s starts alike in every arm and has trees of its own, so seeds are whole repetitions on one set of problems.

The folder of a run (`runs`) holds hard_train.jsonl, hard_test.jsonl, problems.jsonl (every variant), metrics.csv,
scores.jsonl, and at the end the tables of `analysis.ladder_report`: variants.csv, levels.csv, claims.csv, ladder.csv.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm

from soar_lib import runs
from soar_lib.engine.base import Base
from soar_lib.engine.base import load_for as load_base
from soar_lib.ladder import stages
from soar_lib.ladder.settings import TTRL_ARMS, LadderConfig
from soar_lib.ladder.stages import RL_ARMS, Stage, Work
from soar_lib.loggers import Log
from soar_lib.problems.checks import CHECKS
from soar_lib.problems.filtering import hard_sets
from soar_lib.problems.likeness import canonical
from soar_lib.randomness import generator
from soar_lib.records import Problem
from soar_lib.settings.memory import check_memory
from soar_lib.settings.values import ConfigError
from soar_lib.student.inner_loop import check_trainer

if TYPE_CHECKING:
    import pandas as pd


def run(
    config: LadderConfig,
    folder: str | Path,
    resume: bool = False,
    base: Base | None = None,
    progress: bool = True,
    log: Log | None = None,
) -> "pd.DataFrame":
    """Run LADDER with its controls into a folder, or go on with the run that is there; returns its table (ladder.csv).
    A finished run is only read. `base` saves loading `config.model` again, and `log` is told the metrics (`loggers`).

    Raises ConfigError, LoadError and RunError, for the caller's mistakes before anything is written.
    """
    from soar_lib.ladder import report as ladder_report

    folder = Path(folder)
    runs.check_folder(folder, resume)
    train, test = problems(config, folder)
    if (folder / "ladder.csv").is_file():  # written last
        runs.check_same(folder, config)
        return ladder_report.read(folder)
    check_trainer(config.student)
    check_memory(config, len(test), loaded=base is not None)
    base = base or load_base(config)
    opened = runs.open_run(folder, config, resume)
    opened.log = log
    for name, records in (("hard_test", test), ("hard_train", train)):
        runs.write_text_atomic(folder / f"{name}.jsonl", runs.jsonl(map(asdict, records)))
    work = Work(config, base, train, test, opened, progress)
    steps, students = plan(work), stages.restored(work)
    with tqdm(total=len(steps), initial=opened.round, desc="LADDER", unit="stage", disable=not progress) as bar:
        for step in steps[opened.round :]:
            students, records = step(students)
            opened.commit({"students": students.state_dict()} if students else {}, {}, **records)
            bar.update()
    return ladder_report.write(folder)


def problems(config: LadderConfig, folder: Path) -> tuple[list[Problem], list[Problem]]:
    """The hard problems to learn from and to test on: those that the run in `folder` began with, else of the filter run
    that the settings name, as many as they ask for, drawn at random.

    A problem to learn from that is also a test problem, in other words or another notation, is left out (of the
    published lists two in ten are). Raises ConfigError and LoadError.
    """
    if (folder / "hard_train.jsonl").is_file():
        kept = (runs.read_jsonl(folder / f"hard_{part}.jsonl") for part in ("train", "test"))
        train, test = ([Problem(**row) for row in rows] for rows in kept)
        return train, test
    if not config.problems:
        raise ConfigError("problems = '': name the folder of a filter run")
    train, test = hard_sets(config.problems)
    test = _some(test, config.tested, "tested", config)
    forms = {canonical(problem.question) for problem in test}
    train = [problem for problem in train if canonical(problem.question) not in forms]
    train = _some(train, config.originals, "originals", config)
    for problem in [*train, *test]:
        CHECKS[config.check].reference(problem)
    return train, test


def _some(found: list[Problem], size: int, name: str, config: LadderConfig) -> list[Problem]:
    """`size` problems without replacement, in their order; 0: all."""
    if size > len(found) or not found:
        raise ConfigError(
            f"{name} = {size}: {config.problems} has {len(found)} such problems; take at most so many, 0 for all, or "
            "filter a larger pool"
        )
    order = torch.randperm(len(found), generator=generator(config.seed, "ladder", name)).tolist()
    return [found[i] for i in sorted(order[: size or len(found)])]


def plan(work: Work) -> list[Stage]:
    """The stages of a run in order; each ends in a commit."""
    config = work.config
    tuned = [
        (arm, seed, index)
        for arm in TTRL_ARMS
        if arm in config.arms
        for seed in range(config.seeds)
        for index in range(len(work.test))
    ]
    size = config.together or len(tuned) or 1
    parts = [tuned[i : i + size] for i in range(0, len(tuned), size)]
    found: list[Stage] = [lambda students: (students, stages.grown(work))]
    if set(config.arms) & set(RL_ARMS[:-1]):
        found.append(lambda students: stages.train(work))
    if "majority" in config.arms:
        found.append(lambda students: stages.vote(work, students))
    found += [lambda students, part=part: (students, stages.tune(work, students, part)) for part in parts]
    scored = [arm for arm in ("base", *RL_ARMS) if arm in config.arms]
    found += [lambda students, arm=arm: (students, stages.score(work, students, arm)) for arm in scored]
    if config.variant_samples and "ladder" in config.arms:
        found.append(lambda students: (students, stages.levels(work, students)))
    return found
