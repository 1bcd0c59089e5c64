"""Who runs the inner loop: our population or TRL's trainers in this process, or a cluster (`cluster.students`)."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.settings.student import StudentSettings
from soar_lib.settings.values import ConfigError, first_line
from soar_lib.student import train as student
from soar_lib.student.train import Lesson, StudentReward, Watch


def check_trainer(settings: StudentSettings) -> None:
    """Raise ConfigError where the settings ask for TRL and it cannot be used here; imports it only then."""
    if settings.trainer != "trl":
        return
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ConfigError(
            f"student.trainer = 'trl': {processes} processes would write one run folder; start one "
            "(accelerate launch --num_processes 1 -m soar_lib ...)"
        )
    try:
        from peft import get_peft_model  # noqa: F401
        from trl import GRPOTrainer, RLOOTrainer  # noqa: F401
    except Exception as error:  # absent, or whatever a version for another transformers or torch raises
        reason = first_line(error)
        raise ConfigError(
            f"student.trainer = 'trl': trl cannot be imported ({type(error).__name__}: {reason}); "
            'install the versions that pyproject.toml pins (pip install "soar-lib"), or set student.trainer = "stack"'
        ) from error


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
    effect, and `watch` is called for each student in turn and shown none. Raises ConfigError as `check_trainer`."""
    if settings.trainer == "stack":
        return student.train(base, adapters, lessons, settings, reward, rows, watch)
    check_trainer(settings)
    from soar_lib.student import trl  # transformers' trainers are slow to import

    return trl.train(base, adapters, lessons, settings, reward, watch)


@dataclass(frozen=True)
class InnerLoop:
    """Two functions with the call forms of `student.train` and `student.accuracy`."""

    train: Callable[..., tuple[Adapters, list[dict]]] = train
    accuracy: Callable[..., torch.Tensor] = student.accuracy


HERE = InnerLoop()
