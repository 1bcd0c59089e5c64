"""Who runs the inner loop: this process, or the actors of a cluster, each with some of the students.

A student's random numbers come from its own key (`student`), so it is the same in a slice of the population as in the
whole; sampling and learning round differently in batches of another size, as with `rows`. The shares of top rewards,
which compare all students of a step, are put together from the slices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from soar_lib.cluster import actors as clusters
from soar_lib.cluster.actors import Cluster
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.problems.checks import ANSWER, Check
from soar_lib.records import Problem
from soar_lib.settings.student import StudentSettings
from soar_lib.student import train as student
from soar_lib.student.train import Key, Reward

ALIKE = ("step", "learning_rate")  # of a history's row: the same for all students


@dataclass(frozen=True)
class InnerLoop:
    """Two functions with the call forms of `student.train` (but for `watch`) and `student.accuracy`."""

    train: Callable[..., tuple[Adapters, list[dict]]] = student.train
    accuracy: Callable[..., torch.Tensor] = student.accuracy


HERE = InnerLoop()


def on(cluster: Cluster) -> InnerLoop:
    """The inner loop on a cluster's actors, whose base must be the one that the functions are given."""
    return InnerLoop(partial(train, cluster), partial(accuracy, cluster))


def train(
    cluster: Cluster,
    base: Base,
    adapters: Adapters,
    problem_sets: Sequence[Sequence[Problem]],
    settings: StudentSettings,
    keys: Sequence[Key],
    reward: Reward,
    progress: Callable[[int, dict], None] | None = None,
    max_rows: int = 1024,
    check: Check = ANSWER,
) -> tuple[Adapters, list[dict]]:
    """`student.train` with the students shared out. `reward` and `check` must be importable or picklable by
    cloudpickle; `progress` is called for a step once all actors have taken it."""
    parts = clusters.slices(adapters.size, cluster.size)
    jobs = [
        (
            adapters.select(part),
            ([problem_sets[i] for i in part], settings, [keys[i] for i in part], reward, max_rows, check),
        )
        for part in parts
    ]
    histories, told = [[] for _ in parts], 0

    def hear(number: int, rows: list[dict]) -> None:
        nonlocal told
        histories[number] = rows
        while progress is not None and told < min(map(len, histories)):
            progress(told, merge([history[told] for history in histories]))
            told += 1

    results = clusters.run(cluster, _train_slice, jobs, hear)
    for number, (_, history) in enumerate(results):
        hear(number, history)
    trained = stack([clusters.unpack(packed, base) for packed, _ in results])
    return trained, [merge(rows) for rows in zip(*(history for _, history in results), strict=True)]


def _train_slice(base: Base, adapters: Adapters, tell: Callable, problem_sets, settings, keys, reward, *rest):
    trained, history = student.train(
        base, adapters, problem_sets, settings, keys, reward, lambda step, row: tell(row), *rest
    )
    return clusters.pack(trained), history


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


def accuracy(
    cluster: Cluster,
    base: Base,
    adapters: Adapters | None,
    problems: Sequence[Problem],
    slots: Sequence[int],
    max_new_tokens: int,
    samples: int = 0,
    keys: Sequence[Key] | None = None,
    *rest,
) -> torch.Tensor:
    """`student.accuracy` with the slots shared out."""
    jobs = []
    for part in clusters.slices(len(slots), cluster.size):
        mine = [slots[i] for i in part]
        sent = sorted(set(mine))
        places = [sent.index(slot) for slot in mine]
        own = keys and [keys[i] for i in part]
        jobs.append((adapters and adapters.select(sent), (list(problems), places, max_new_tokens, samples, own, *rest)))
    return torch.cat([torch.tensor(shares) for shares in clusters.run(cluster, _measure_slice, jobs)])


def _measure_slice(base: Base, adapters: Adapters | None, tell: Callable, *arguments):
    return student.accuracy(base, adapters, *arguments).numpy()
