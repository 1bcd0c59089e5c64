"""Settings: one frozen dataclass per command, presets, and what a run will cost.

The defaults are the paper's values; `preset(name, kind, **changes)` gives a smaller set: `smoke` (seconds), `nano` (a
laptop, minutes), `t4` (a GPU of 16 GB), `single_gpu` (one of 80 to 141 GB), `paper` (the defaults). A setting out of
range or against another one raises `ConfigError` with the field's name and the fix.
"""

from soar_lib.config.cost import SPEEDS, Cost, Speed, cost, describe, describe_cost
from soar_lib.config.ladder import LADDER_ARMS, MIT, TTRL_ARMS, LadderConfig, VariantSettings
from soar_lib.config.presets import PRESETS, Config, preset
from soar_lib.config.soar import (
    INFERENCE_ARMS,
    SAMPLED_ARMS,
    TRAINED_ARMS,
    EvaluateConfig,
    FilterConfig,
    OptimiserSettings,
    SoarConfig,
    StudentSettings,
    TeacherSettings,
)
from soar_lib.config.svs import SVS_ARMS, GuardSettings, SvsConfig
from soar_lib.config.values import ConfigError, change, differences, first_line, from_values, to_values

__all__ = [
    "INFERENCE_ARMS", "PRESETS", "SAMPLED_ARMS", "SPEEDS", "SVS_ARMS", "TRAINED_ARMS", "Config", "ConfigError", "Cost",
    "EvaluateConfig", "FilterConfig", "GuardSettings", "LADDER_ARMS", "LadderConfig", "MIT", "OptimiserSettings",
    "SoarConfig", "Speed", "StudentSettings", "SvsConfig", "TTRL_ARMS", "TeacherSettings", "VariantSettings",
    "change", "cost", "describe", "describe_cost", "differences", "first_line", "from_values", "preset", "to_values",
]  # fmt: skip
