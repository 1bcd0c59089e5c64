"""Named presets: what each changes in a command's defaults, the paper's values, stands beside its settings."""

from typing import Any

from soar_lib.settings.values import ConfigError, from_values

# CI; a laptop; 16 GB, such as a T4; 80 to 141 GB; the authors' values.
PRESETS = ("smoke", "nano", "t4", "single_gpu", "paper")

# Parts of presets that several commands share. Dotted names reach into nested settings.
NANO_STUDENT = {
    "student.group": 8,
    "student.max_new_tokens": 128,
    "student.rank": 16,
    "student.alpha": 16.0,
    "student.optimiser.learning_rate": 1e-3,  # in twenty steps a cosine from 2e-3 learnt less
    "student.optimiser.schedule": "constant",  # so few steps leave a cosine no time
    "student.optimiser.kl": 0.0,  # no reference pass: a third of the time
}
# 16 GB: the paper's model in 4 bits, completions half as long. Every part of a method runs and can be looked at; so few
# seeds and students decide nothing. Sizes are those in float32, as a T4 has no bfloat16.
T4 = {
    "four_bit": True,  # 3 GB of weights instead of 12.9
    "rows": 48,  # 9 GB of keys and values if all are of full length
}


def preset(name: str, kind: type, **changes: Any) -> Any:
    """A named preset of one command's settings (SoarConfig, ...), with changes; dotted names reach nested settings.

    >>> from soar_lib.soar.settings import SoarConfig
    >>> preset("nano", SoarConfig, seed=3).seed, preset("nano", SoarConfig, **{"student.steps": 4}).student.steps
    (3, 4)
    """
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown; known presets: {', '.join(PRESETS)}")
    return from_values(kind, kind.presets[name] | changes)
