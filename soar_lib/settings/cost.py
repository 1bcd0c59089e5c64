"""What a run will cost, from its settings alone: what it draws, which each command's settings count, and hours."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from soar_lib.settings.student import BaseSettings, Cost, by_trl
from soar_lib.settings.values import ConfigError

Part = tuple[BaseSettings, int, int]  # settings, problems as for `cost`, and SOAR runs that an evaluation stands on


@dataclass(frozen=True)
class Speed:
    """How fast a model was in a timed run on one machine, its learning included."""

    tokens_per_second: float
    tokens_per_rollout: float  # how long completions really are, on average
    machine: str


# By model name, which stands for all models of its shape; one that nobody has timed has no row, and its cost names no
# hours.
SPEEDS = {
    "nano": Speed(14_000, 35, "2 CPU cores"),  # rounded, over all of `make demo` but the installation
    "Qwen/Qwen2.5-0.5B-Instruct": Speed(80, 150, "1 CPU core with bfloat16"),
}


def speed_of(model: str) -> Speed | None:
    """The measured speed of a model, or of one of the same shape where it is a folder; None: not known."""
    if model in SPEEDS or not Path(model).expanduser().is_dir():
        return SPEEDS.get(model)
    from soar_lib.settings.memory import shape  # here: it reads the model's shape, which few commands need

    with suppress(ConfigError):
        return next((speed for name, speed in SPEEDS.items() if shape(name) == shape(model)), None)
    return None


def cost(config: BaseSettings, problems: int = 0, speed: Speed | None = None) -> Cost:
    """The predicted cost; `problems` is the pool's size for filtering and hard test's for evaluation and LADDER (whose
    hard train counts as equally large, where the settings give no number).

    >>> from soar_lib.soar.settings import SoarConfig
    >>> cost(SoarConfig()).rollouts  # 200 rounds: 16 students x 10 steps x 8 x 32, and 17 x 64 greedy
    8409600
    """
    found, speed = config.counts(problems), speed or speed_of(config.model)
    if speed is None or by_trl(config):  # speeds are of populations
        return found
    seconds = (found.rollouts + found.teacher_samples) * speed.tokens_per_rollout / speed.tokens_per_second
    return replace(found, hours=seconds / 3600, machine=speed.machine)


def total(parts: Iterable[Part]) -> Cost:
    """The cost of several parts one after another; an evaluation's once for each of its SOAR runs."""
    each = (cost(config, problems) for config, problems, runs in parts for _ in range(runs))
    return sum(each, Cost(0, 0, 0, 0.0))


def describe_cost(config: BaseSettings, problems: int = 0) -> str:
    """One line for the terminal, before anything starts.

    >>> from soar_lib.soar.settings import SoarConfig
    >>> describe_cost(SoarConfig(model="any"))  # doctest: +ELLIPSIS
    'about 8,409,600 student completions (with promotions up to 16,458,240) and 51,200 accepted problems, at most ...'
    """
    text = describe(cost(config, problems), config.model)
    return f"{text}, students trained one after another by TRL" if by_trl(config) else text


def describe(predicted: Cost, model: str) -> str:
    """A predicted cost of `model` as one line: completions, tokens, hours where they are known."""
    parts = [f"{predicted.rollouts:,} student completions"]
    if predicted.most_rollouts > predicted.rollouts:
        parts[0] += f" (with promotions up to {predicted.most_rollouts:,})"
    if predicted.teacher_samples:
        parts.append(f"{predicted.teacher_samples:,} accepted problems")
    text = f"about {' and '.join(parts)}, at most {predicted.tokens:,} tokens ({model})"
    if predicted.hours is None:
        return text
    return f"{text}, about {duration(predicted.hours)} on {predicted.machine}"


def duration(hours: float) -> str:
    """A time in hours as text, in the unit that suits its length."""
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} seconds"
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:,.1f} hours"
