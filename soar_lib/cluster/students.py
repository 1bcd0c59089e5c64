"""The inner loop on a cluster's actors, each with some of the students.

A student's random numbers come from its own key (`student.train`), so it is the same in a slice of the population as in
the whole; sampling and learning round differently in batches of another size, as with `rows`. The shares of top
rewards, which compare all students of a step, are put together from the slices.
"""

from collections.abc import Callable, Sequence

import torch

from soar_lib.cluster import actors
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.problems.checks import ANSWER, Check
from soar_lib.randomness import Key
from soar_lib.records import Draw, Problem
from soar_lib.settings.student import StudentSettings
from soar_lib.student import train as student
from soar_lib.student.train import InnerLoop, Lesson, StudentReward, Watch


def on(cluster: Sequence) -> InnerLoop:
    """The inner loop on what `actors.opened` yields, whose base must be the one that its functions are given. Rewards
    and checks must be importable or picklable by cloudpickle; a step is watched once all actors have taken it, its
    students not."""

    def train(
        base: Base, adapters: Adapters, lessons: Sequence[Lesson], settings: StudentSettings, reward: StudentReward,
        rows: int = 1024, watch: Watch | None = None,
    ) -> tuple[Adapters, list[dict]]:  # fmt: skip
        parts = _slices(adapters.size, len(cluster))
        jobs = [(adapters.select(part), ([lessons[i] for i in part], settings, reward, rows)) for part in parts]
        history: list[dict] = []

        def hear(told: list[list[dict]]) -> None:
            for row in list(zip(*told))[len(history) :]:  # steps that all slices have taken
                history.append(student.merge(row))
                if watch is not None:
                    watch(len(history) - 1, history[-1], None)

        results = actors.run(cluster, _train_slice, jobs, hear)
        hear([rows for _, rows in results])
        return stack([trained.to(base.device) for trained, _ in results]), history

    def accuracy(
        base: Base, adapters: Adapters | None, problems: Sequence[Problem], draw: Draw, samples: int = 0,
        keys: Sequence[Key] | None = None, check: Check = ANSWER,
    ) -> torch.Tensor:  # fmt: skip
        alone = adapters is None or adapters.size == 1
        parts = _slices(len(keys or [0]) if alone else adapters.size, len(cluster))
        owned = [(adapters if alone else adapters.select(part), keys and [keys[i] for i in part]) for part in parts]
        jobs = [(own, (list(problems), draw, samples, mine, check)) for own, mine in owned]
        return torch.cat(actors.run(cluster, _measure_slice, jobs))

    return InnerLoop(train, accuracy)


def _slices(count: int, parts: int) -> list[list[int]]:
    """range(count) in at most `parts` consecutive pieces of like size."""
    return [part.tolist() for part in torch.arange(count).tensor_split(min(count, parts))]


def _train_slice(base: Base, adapters: Adapters, tell: Callable, *arguments) -> tuple[Adapters, list[dict]]:
    trained, history = student.train(base, adapters, *arguments, lambda step, row, students: tell(row))
    return trained.to("cpu"), history


def _measure_slice(base: Base, adapters: Adapters | None, tell: Callable, *arguments) -> torch.Tensor:
    return student.accuracy(base, adapters, *arguments)
