"""Who runs the inner loop: our population or TRL's trainers in this process, or a cluster (`cluster.students`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.settings.student import StudentSettings
from soar_lib.student import train as student
from soar_lib.student.train import Lesson, StudentReward, Watch


def train(
    base: Base,
    adapters: Adapters,
    lessons: Sequence[Lesson],
    settings: StudentSettings,
    reward: StudentReward,
    rows: int = 1024,
    watch: Watch | None = None,
) -> tuple[Adapters, list[dict]]:
    """`student.train`, or with `settings.trainer` "trl" the same by TRL, one student after another: then `rows` has no
    effect, and `watch` is called for each student in turn and shown none."""
    if settings.trainer == "stack":
        return student.train(base, adapters, lessons, settings, reward, rows, watch)
    from soar_lib.student import trl  # transformers' trainers are slow to import

    return trl.train(base, adapters, lessons, settings, reward, watch)


@dataclass(frozen=True)
class InnerLoop:
    """Two functions with the call forms of `student.train` and `student.accuracy`."""

    train: Callable[..., tuple[Adapters, list[dict]]] = train
    accuracy: Callable[..., torch.Tensor] = student.accuracy


HERE = InnerLoop()
