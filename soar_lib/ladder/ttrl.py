"""TTRL: for each test problem a student of its own learns from that problem's variants (LADDER 3.1.5, Algorithm 2).

A test problem is one slot of a population, so all train together and each as if alone, from the same student; weights
are thrown away at the end: that is the paper's reset. A test problem's answer is used for measuring only.

The paper's success is a right answer at any time during training, the final student's accuracy needs no verifier to
tell which step was right: both are measured. The paper spends TTRL on the problems that LADDER missed; here every test
problem gets it, so that means are over the same ones. One without usable variants keeps the student it began with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.ladder.reward import verified_rewards
from soar_lib.ladder.settings import LadderConfig
from soar_lib.problems.checks import CHECKS, with_references
from soar_lib.randomness import Key
from soar_lib.records import Problem
from soar_lib.student import train as student
from soar_lib.student.train import Lesson, Watch


@dataclass
class Tuned:
    """What became of each slot: `right`, of the samples after the last step, and `probes`, the right ones before the
    first step and after each. `history` has the rows of `student.train` for the slots in `trained`."""

    right: list[int]
    probes: list[list[int]]
    trained: list[int]
    history: list[dict]


def tune(
    base: Base, start: Adapters, lessons: Sequence[Lesson], tests: Sequence[Problem], config: LadderConfig, watch: Watch
) -> Tuned:
    """Train slot s of `start` on lessons[s], the variants of tests[s] (Algorithm 2); `start` stays as it is."""
    able, check, history = [slot for slot, lesson in enumerate(lessons) if lesson.problems], CHECKS[config.check], []
    asked = [(test, lesson.key) for test, lesson in zip(tests, lessons, strict=True)]
    probes = [[right] for right in _right(base, start, asked, config, config.probes, "probe", 0)]

    def probe(step: int, metrics: dict, students: Adapters) -> None:
        found = _right(base, students, [asked[i] for i in able], config, config.probes, "probe", step + 1)
        for slot, right in zip(able, found, strict=True):
            probes[slot].append(right)
        watch(step, metrics, students)

    population = start
    if able:
        mine = [replace(lessons[i], problems=with_references(lessons[i].problems, check)) for i in able]
        settings = replace(config.student, steps=config.ttrl_steps, batch=config.ttrl_batch)  # 3.2.3
        trained, history = student.train(
            base, start.select(able), mine, settings, verified_rewards(check), config.rows, probe
        )
        places = [start.size + able.index(i) if i in able else i for i in range(start.size)]
        population = stack([start, trained]).select(places)
    return Tuned(_right(base, population, asked, config, config.samples, "final"), probes, able, history)


def _right(
    base: Base, adapters: Adapters, asked: Sequence[tuple[Problem, Key]], config: LadderConfig, samples: int,
    *purpose: int | str,
) -> list[int]:  # fmt: skip
    tests, keys = [test for test, _ in asked], [(*key, *purpose) for _, key in asked]
    draw = config.student.draw(config.rows)
    shares = student.own_accuracy(base, adapters, tests, draw, samples, keys, CHECKS[config.check])
    return [round(share * samples) for share in shares.tolist()]
