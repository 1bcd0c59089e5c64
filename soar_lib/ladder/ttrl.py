"""TTRL: for each test problem a student of its own learns from that problem's variants (LADDER 3.1.5, Algorithm 2).

A test problem is one slot of a population, so all of them train together and each as if alone. Every slot starts from
the same student and its weights are thrown away at the end: that is the paper's reset. Nothing is trained on the test
problem itself, and its answer is used for measuring only.

Two numbers come out. The paper's success is a right answer at any time during training: here any of the `probes`
samples before the first step and after each. The final student's accuracy needs no verifier to tell which step was
right. The paper spends TTRL on the problems that LADDER missed; here every test problem gets it, so that means are over
the same problems. A problem without usable variants keeps the student it began with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.ladder.settings import LadderConfig
from soar_lib.problems.checks import CHECKS
from soar_lib.records import Problem
from soar_lib.student import train as student
from soar_lib.student.rewards import verified_rewards

Key = tuple[int | str, ...]


@dataclass
class Tuned:
    """What became of each slot: right ones of the samples after the last step, right probes before the first step and
    after each (one number where there were no variants), and the rows of `student.train` for the slots in `trained`."""

    right: list[int]
    probes: list[list[int]]
    trained: list[int]
    history: list[dict] = field(default_factory=list)


def tune(
    base: Base,
    start: Adapters,
    problem_sets: Sequence[Sequence[Problem]],
    tests: Sequence[Problem],
    config: LadderConfig,
    keys: Sequence[Key],
    progress: Callable[[int, dict], None] | None = None,
) -> Tuned:
    """Train slot s of `start` on problem_sets[s], the variants of tests[s], with the random key keys[s]; `start` stays
    as it is."""
    able = [slot for slot, problems in enumerate(problem_sets) if problems]
    probes = [[right] for right in _right(base, start, tests, config, keys, config.probes, "probe", 0)]
    mine, own_tests, own_keys = start.select(able or [0]), [tests[i] for i in able], [keys[i] for i in able]

    def probe(step: int, adapters: Adapters) -> None:
        found = _right(base, adapters, own_tests, config, own_keys, config.probes, "probe", step + 1)
        for slot, right in zip(able, found, strict=True):
            probes[slot].append(right)

    check, history, population = CHECKS[config.check], [], start
    if able:
        trained, history = student.train(
            base, mine, [problem_sets[i] for i in able], settings(config), own_keys, verified_rewards(check), progress,
            config.rows, check, probe,
        )  # fmt: skip
        both = stack([start, trained])
        population = both.select([start.size + able.index(i) if i in able else i for i in range(start.size)])
    right = _right(base, population, tests, config, keys, config.samples, "final")
    return Tuned(right, probes, able, history)


def settings(config: LadderConfig):
    """Those of LADDER's students, but for steps and batch (3.2.3)."""
    return replace(config.student, steps=config.ttrl_steps, batch=config.ttrl_batch)


def _right(
    base: Base, adapters: Adapters, tests: Sequence[Problem], config: LadderConfig, keys: Sequence[Key], samples: int,
    *purpose: int | str,
) -> list[int]:  # fmt: skip
    """Right ones among so many samples of each slot on its test problem."""
    shares = student.own_accuracy(
        base, adapters, tests, config.student.max_new_tokens, samples, [(*key, *purpose) for key in keys],
        config.student.temperature, config.rows, CHECKS[config.check],
    )  # fmt: skip
    return [round(share * samples) for share in shares.tolist()]
