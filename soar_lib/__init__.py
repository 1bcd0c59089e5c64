"""Language models that make their own training problems: SOAR, LADDER and SvS on the same parts.

The parts, in the order in which a run uses them (`soar_lib.PRIMITIVES` says where each stands):

    load_model, load_problems, filter_problems     a frozen model; problems, of which the hard ones are kept
    preset, SoarConfig, FilterConfig               settings by name: smoke, nano, t4, single_gpu, paper
    begin, propose, datasets                       the teacher writes data sets
    Lesson, train_students, accuracy               students train on them, and are measured
    student_rewards, check, advantages             what a student is paid
    grounded, intrinsic, OuterStep, Measured       what the teacher is paid
    grounded_gains, dataset_rewards, promote, choose, learn
    run                                            all of it, round after round, into a run folder

The folders: `problems` and `verifier` (what is asked, what counts as right), `engine` (one frozen base, many adapters),
`student`, then one folder per method (`soar`, `ladder`, `svs`, each with settings, run, report, figures, explorer),
and `measure`, which reads run folders and trains nothing.
"""

import importlib
from typing import Any

# Name -> where it stands. Imported when it is first asked for, so that `import soar_lib` takes no time.
PRIMITIVES = {
    "FilterConfig": "settings.student:FilterConfig",
    "Lesson": "student.train:Lesson",
    "Measured": "soar.rewards:Measured",
    "OuterStep": "soar.rewards:OuterStep",
    "SoarConfig": "soar.settings:SoarConfig",
    "accuracy": "student.train:accuracy",
    "advantages": "engine.update:advantages",
    "as_problems": "soar.rewards:as_problems",
    "begin": "soar.run:begin",
    "check": "verifier.verify:check",
    "choose": "soar.rewards:choose",
    "dataset_rewards": "soar.rewards:dataset_rewards",
    "datasets": "soar.teacher:datasets",
    "filter_problems": "problems.filtering:run",
    "grounded": "soar.rewards:grounded",
    "grounded_gains": "soar.rewards:grounded_gains",
    "intrinsic": "soar.rewards:intrinsic",
    "learn": "soar.teacher:learn",
    "load_model": "engine.base:load_for",
    "load_problems": "problems.load:load",
    "preset": "settings.student:preset",
    "promote": "soar.rewards:promote",
    "propose": "soar.teacher:propose",
    "reward_set": "soar.run:reward_set",
    "run": "soar.run:run",
    "student_rewards": "soar.rewards:student_rewards",
    "train_students": "student.train:train",
}
__all__ = list(PRIMITIVES)


def __getattr__(name: str) -> Any:
    if name not in PRIMITIVES:
        raise AttributeError(f"module 'soar_lib' has no attribute {name!r}")
    module, attribute = PRIMITIVES[name].split(":")
    return getattr(importlib.import_module(f"soar_lib.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *PRIMITIVES})
