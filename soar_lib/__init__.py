"""Language models that make their own training problems: SOAR, LADDER and SvS on the same parts.

The parts, in the order in which a run uses them (`soar_lib.PRIMITIVES` lists where each is defined):

    load_model, load_problems, filter_problems     a frozen model; problems, filtered to the hard ones
    preset, SoarConfig, FilterConfig               settings by name: smoke, nano, t4, single_gpu, paper
    begin, propose, datasets                       the teacher writes data sets
    Lesson, train_students, accuracy               students train on them and are evaluated
    student_rewards, check, advantages             what a student is paid
    grounded, intrinsic, OuterStep, Measured       what the teacher is paid
    grounded_gains, dataset_rewards, promote, choose, learn
    run                                            all of it, round after round, in a run folder

The folders: `problems` and `verifier` (questions, and what counts as right), `engine` (one frozen base, many adapters),
`student`, then one folder per method (`soar`, `ladder`, `svs`, each with settings, run, report, figures, explorer),
and `measure`, which reads run folders and trains nothing."""

import importlib
import os
from typing import Any

# No library reports to its makers that it is used, unless the user has said so.
for _quiet in ("HF_HUB_DISABLE_TELEMETRY=1", "RAY_USAGE_STATS_ENABLED=0", "UNSLOTH_DISABLE_STATISTICS=1",
               "VLLM_NO_USAGE_STATS=1"):  # fmt: skip
    os.environ.setdefault(*_quiet.split("="))

# Where each part stands, as `name=its name there` where they differ. Imported when it is first asked for, so that
# `import soar_lib` takes no time.
_PARTS = {
    "engine.base": "load_model=load_for",
    "engine.update": "advantages",
    "problems.filtering": "filter_problems=run",
    "problems.load": "load_problems=load",
    "settings.student": "FilterConfig preset",
    "soar.rewards": "Measured OuterStep as_problems choose dataset_rewards grounded grounded_gains intrinsic promote "
    "student_rewards",
    "soar.run": "begin reward_set run",
    "soar.settings": "SoarConfig",
    "soar.teacher": "datasets learn propose",
    "student.train": "Lesson accuracy train_students=train",
    "verifier.verify": "check",
}
PRIMITIVES = {
    part.partition("=")[0]: f"{module}:{part.rpartition('=')[2]}"
    for module, parts in _PARTS.items()
    for part in parts.split()
}
__all__ = list(PRIMITIVES)


def __getattr__(name: str) -> Any:
    if name not in PRIMITIVES:
        raise AttributeError(f"module 'soar_lib' has no attribute {name!r}")
    module, attribute = PRIMITIVES[name].split(":")
    return getattr(importlib.import_module(f"soar_lib.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *PRIMITIVES})
