"""What a whole study will cost: said and checked before its first part begins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar_lib.problems.load import load
from soar_lib.settings.cost import Cost, describe
from soar_lib.settings.fit import check_memory, describe_memory, predicted_bytes
from soar_lib.soar.study import StudyConfig, costs, evaluate_config, soar_config


def announce(config: StudyConfig, out: Path, say: Callable[[str], None]) -> None:
    """Say what is still to be done, having read the pools and made every arm's settings, so that mistakes show now.

    Raises ConfigError (also where a part cannot fit into memory) and LoadError.
    """
    left = costs(config, out, *pools(config))
    for name, part in left.items():
        say(f"study: {name}: {describe(part, config.soar.model)}")
    say(f"study: in all {describe(total(left), config.soar.model)}")
    kinds = parts(config, out)
    for part, runs in kinds:
        check_memory(part, runs=runs)
    largest, runs = max(kinds, key=lambda kind: predicted_bytes(kind[0], runs=kind[1]) or 0)
    say(f"study: its largest part: {describe_memory(largest, runs=runs)}")


def pools(config: StudyConfig) -> list[int]:
    """The sizes of both pools to be filtered. Raises LoadError."""
    return [
        len(load(part.problems, seed=part.seed, size=part.size or None)) if part.problems else 0
        for part in (config.filter, config.transfer)
    ]


def total(left: dict[str, Cost]) -> Cost:
    return sum(left.values(), Cost(0, 0, 0, 0.0))


def parts(config: StudyConfig, out: Path) -> list[tuple[Any, int]]:
    """The settings of every kind of part, with the number of SOAR runs that it stands on."""
    found: list[tuple[Any, int]] = [(config.filter, 1)]
    for arm in config.chosen():
        found += [] if arm.runs else [(soar_config(config, arm, 0, out), 1)]
        found.append((evaluate_config(config, arm, out), len(config.seeds_of(arm))))
    return found


def predicted(config: StudyConfig, out: Path) -> dict[str, Any]:
    """As `meter.predicted`, of what is still to be done."""
    left = total(costs(config, out, *pools(config)))
    peak = max(predicted_bytes(part, runs=runs) or 0 for part, runs in parts(config, out))
    rollouts = left.rollouts + left.teacher_samples
    return {"rollouts": rollouts, "tokens": left.tokens, "hours": left.hours, "peak_bytes": peak or None}
