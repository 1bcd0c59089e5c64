"""The inner loop on a cluster's actors, each with some of the students.

A student's random numbers come from its own key (`student.train`), so it is the same in a slice of the population as in
the whole; sampling and learning round differently in batches of another size, as with `rows`. The shares of top
rewards, which compare all students of a step, are put together from the slices.
"""

from collections.abc import Callable, Sequence

import torch

from soar_lib.cluster import actors
from soar_lib.cluster.actors import Cluster
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.problems.checks import ANSWER, Check
from soar_lib.randomness import Key
from soar_lib.records import Draw, Problem
from soar_lib.settings.student import StudentSettings
from soar_lib.student import train as student
from soar_lib.student.inner_loop import InnerLoop
from soar_lib.student.train import Lesson, StudentReward, Watch

ALIKE = ("step", "learning_rate")  # of a history's row: the same for all students


def on(cluster: Cluster) -> InnerLoop:
    """The inner loop on a cluster's actors, whose base must be the one that its functions are given. Rewards and checks
    must be importable or picklable by cloudpickle; a step is watched once all actors have taken it, its students not.
    """

    def train(
        base: Base, adapters: Adapters, lessons: Sequence[Lesson], settings: StudentSettings, reward: StudentReward,
        rows: int = 1024, watch: Watch | None = None,
    ) -> tuple[Adapters, list[dict]]:  # fmt: skip
        parts = actors.slices(adapters.size, cluster.size)
        jobs = [(adapters.select(part), ([lessons[i] for i in part], settings, reward, rows)) for part in parts]
        told: list[list[dict]] = [[] for _ in parts]
        hear = _hearing(told, watch)
        results = actors.run(cluster, _train_slice, jobs, hear)
        for number, (_, history) in enumerate(results):
            hear(number, history)
        trained = stack([actors.unpack(packed, base) for packed, _ in results])
        return trained, [merge(rows) for rows in zip(*told, strict=True)]

    def accuracy(
        base: Base, adapters: Adapters | None, problems: Sequence[Problem], draw: Draw, samples: int = 0,
        keys: Sequence[Key] | None = None, check: Check = ANSWER,
    ) -> torch.Tensor:  # fmt: skip
        alone = adapters is None or adapters.size == 1
        jobs = []
        for part in actors.slices(len(keys or [0]) if alone else adapters.size, cluster.size):
            own, mine = adapters if alone else adapters.select(part), keys and [keys[i] for i in part]
            jobs.append((own, (list(problems), draw, samples, mine, check)))
        return torch.cat([torch.tensor(shares) for shares in actors.run(cluster, _measure_slice, jobs)])

    return InnerLoop(train, accuracy)


def _hearing(told: list[list[dict]], watch: Watch | None) -> Callable[[int, list[dict]], None]:
    """Keeps in `told` what each slice has told of its steps, and watches a step once all have taken it."""
    watched = 0

    def hear(number: int, rows: list[dict]) -> None:
        nonlocal watched
        told[number] = rows
        while watch is not None and watched < min(map(len, told)):
            watch(watched, merge([rows[watched] for rows in told]), None)
            watched += 1

    return hear


def _train_slice(base: Base, adapters: Adapters, tell: Callable, *arguments):
    trained, history = student.train(base, adapters, *arguments, lambda step, row, students: tell(row))
    return actors.pack(trained), history


def _measure_slice(base: Base, adapters: Adapters | None, tell: Callable, *arguments):
    return student.accuracy(base, adapters, *arguments).numpy()


def merge(rows: Sequence[dict]) -> dict:
    """One step's row of all students from those of the slices (`student.metrics`).

    >>> low = {"step": 0, "learning_rate": 0.1, "top": 20.0, "top_reward": [0.5], "reward": [15.0]}
    >>> merge([low, low | {"top": 120.0, "top_reward": [0.25], "reward": [40.0]}])
    {'step': 0, 'learning_rate': 0.1, 'top': 120.0, 'top_reward': [0.0, 0.25], 'reward': [15.0, 40.0]}
    """
    top = max(row["top"] for row in rows)
    found = {name: rows[0][name] for name in ALIKE} | {"top": top}
    for name in rows[0].keys() - found.keys():
        found[name] = [value for row in rows for value in row[name]]
    found["top_reward"] = [share if row["top"] == top else 0.0 for row in rows for share in row["top_reward"]]
    return {name: found[name] for name in rows[0]}
