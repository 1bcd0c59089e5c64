"""What a run will cost, from its settings alone: what it draws, which each command's settings count, and hours."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from soar_lib.settings.memory import check_memory, here, predict, size
from soar_lib.settings.student import BaseSettings, Cost, by_trl
from soar_lib.settings.values import ConfigError

Part = tuple[BaseSettings, int, int]  # settings, problems as for `cost`, and SOAR runs that an evaluation stands on


@dataclass(frozen=True)
class Speed:
    """Measured on one machine, learning included."""

    tokens_per_second: float
    tokens_per_rollout: float  # how long completions really are, on average
    machine: str


# By model name; a model that nobody has timed has no row, and its cost names no hours.
SPEEDS = {"nano": Speed(14_000, 35, "2 CPU cores")}  # rounded, over all of `make demo` but the installation


def cost(config: BaseSettings, problems: int = 0, speed: Speed | None = None) -> Cost:
    """The predicted cost; `problems` is the pool's size for filtering and hard test's for evaluation and LADDER (whose
    hard train counts as equally large, where the settings give no number).

    >>> from soar_lib.soar.settings import SoarConfig
    >>> cost(SoarConfig()).rollouts  # 200 rounds: 16 students x 10 steps x 8 x 32, and 17 x 64 greedy
    8409600
    """
    found, speed = config.counts(problems), speed or SPEEDS.get(config.model)
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
    """A cost as a line; see `describe_cost`."""
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
    """Hours for people."""
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} seconds"
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:,.1f} hours"


# ------------------------------------------------------------------ memory, beside it


def describe_memory(config: BaseSettings, problems: int = 0, runs: int = 1) -> str:
    """The predicted peak as part of a line, or why there is none; arguments as for `predict`."""
    machine = here()
    try:
        found = predict(config, problems, runs, machine)
    except ConfigError as error:
        return str(error)
    there = "" if machine.free is None else f", of {size(machine.free)} free"
    return f"at most {size(found.total)} of {machine.kind} for tensors{there} ({found})"


def predicted(*parts: Part) -> dict[str, Any]:
    """What cost.json says of the prediction: completions (the teacher's too), most tokens, hours and bytes, None where
    unknown."""
    whole, peaks = total(parts), [0]
    for part in parts:
        with contextlib.suppress(ConfigError):
            peaks.append(predict(*part).total)
    return {
        "rollouts": whole.rollouts + whole.teacher_samples, "tokens": whole.tokens, "hours": whole.hours,
        "peak_bytes": max(peaks) or None,
    }  # fmt: skip


def announce(name: str, parts: dict[str, Part], say: Callable[[str], None]) -> None:
    """Say what each part of a whole will cost, then all together, and what the largest part holds in memory. Raises
    ConfigError where a part cannot fit."""
    for part in parts.values():
        check_memory(*part)
    for part, settings in parts.items():
        say(f"{name}: {part}: {describe(total([settings]), settings[0].model)}")
    if parts:
        largest = max(parts.values(), key=lambda part: predicted(part)["peak_bytes"] or 0)
        say(f"{name}: in all {describe(total(parts.values()), largest[0].model)}")
        say(f"{name}: its largest part: {describe_memory(*largest)}")
