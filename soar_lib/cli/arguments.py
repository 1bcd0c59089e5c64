"""What the command line takes, and the settings that follow from it. Nothing heavy is imported for it."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar_lib import loggers
from soar_lib.ladder.settings import LadderConfig
from soar_lib.settings.presets import PRESETS, preset
from soar_lib.settings.student import BASE_SETTINGS, BaseSettings, FilterConfig
from soar_lib.settings.values import ConfigError
from soar_lib.soar import study
from soar_lib.soar.settings import EvaluateConfig, SoarConfig
from soar_lib.svs.settings import SvsConfig

KINDS = {"filter": FilterConfig, "soar": SoarConfig, "evaluate": EvaluateConfig}
LOGGED = ("soar", "evaluate", "study", "ladder", "svs", "demo")
SHARED = ("soar", "evaluate", "study")  # commands whose students a Ray cluster can train
METHODS = {"ladder": LadderConfig, "svs": SvsConfig}
HELP = {
    "filter": "keep the problems that the model never solves in k samples and split them in two",
    "soar": "teach: the teacher writes problems, students try them, their gain is the teacher's reward",
    "evaluate": "train fresh students on each data set and measure pass@k on the held-out hard problems",
    "study": "the paper's comparisons: all arms on all seeds, and a table of its claims",
    "ladder": "learn from easier variants that the model writes, of hard problems and of each test problem; its claims",
    "svs": "self-play with variational problem synthesis and its controls, and a table of its claims",
    "demo": "the first three in a row, with figures, on a laptop",
}
RAY = (
    "train students on several GPUs: HOST:PORT of a Ray cluster's head, or auto for the cluster that this machine is "
    "part of, else one of its own GPUs"
)
PROBLEMS = {
    "filter": "the pool: a JSONL file, a benchmark (hub:math_test), a reasoning-gym family (rg:chain_sum), or the "
    "preset's own",
    "soar": "the hard problems to learn for: the folder of a filter run, or a JSONL file; "
    "without it the preset's pool is filtered first, into FOLDER-filter",
    "evaluate": "the folder of the filter run whose hard problems are used; without it, those of each SOAR run",
    "ladder": "the hard problems to learn from and to test on: the folder of a filter run; "
    "without it the preset's pool is filtered first, into FOLDER-filter",
    "svs": "the training problems: a JSONL file, a reasoning-gym family, or the preset's own",
}


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    top = argparse.ArgumentParser(
        prog="python -m soar_lib", description="Models that make their own training problems: SOAR, LADDER and SvS."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar=f"{{{','.join(HELP)}}}")
    for name in HELP:
        command = commands.add_parser(
            name,
            help=HELP[name],
            description=f"{HELP[name].capitalize()}.",
            epilog=_epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_options(command, name)
    return top


def _add_options(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument("--preset", default="nano", metavar="NAME", help=f"{', '.join(PRESETS)} (default: nano)")
    if name == "study":
        command.add_argument("--seeds", type=int, metavar="N", help="runs of each arm that decides a claim")
    else:
        command.add_argument("--seed", type=int, default=0, help="every random number of the run follows from it")
    if name == "study":
        arms = f"some of {', '.join(study.ARMS)} (default: the preset's)"
        command.add_argument("--arms", metavar="A,B,...", help=arms)
        command.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: as many as torch takes)")
    command.add_argument(
        "--out", type=Path, default=Path("runs") / name, metavar="FOLDER", help=f"run folder (default: runs/{name})"
    )
    command.add_argument("--resume", action="store_true", help="go on with the run in FOLDER, or begin it")
    if name in LOGGED:
        names = ", ".join(loggers.LOGGERS)
        command.add_argument("--log", metavar="LOGGER", help=f"show the metrics elsewhere too: {names}")
    if name in SHARED:
        command.add_argument("--ray", metavar="ADDRESS", help=RAY)
        command.add_argument("--actors", type=int, metavar="N", help="Ray actors (default: one per GPU)")
    command.add_argument("--model", metavar="NAME", help="nano, a local folder or a Hub id, in place of the preset's")
    if name == "evaluate":
        command.add_argument(
            "--runs", nargs="+", type=Path, required=True, metavar="RUN", help="finished SOAR run folders, one per seed"
        )
    if name in PROBLEMS:
        command.add_argument("--problems", metavar="SET", help=PROBLEMS[name])
    if name != "demo":
        command.add_argument(
            "--set", action="append", default=[], metavar="FIELD=VALUE", help="change one setting; may be repeated"
        )


def _epilog(name: str) -> str:
    if name == "demo":
        return ""
    return known_settings(study.preset("paper") if name == "study" else (KINDS | METHODS)[name]())


def known_settings(values: Any) -> str:
    """The settings that --set knows, with the paper's values, for the end of a help text."""
    lines = [f"  {field} = {json.dumps(value)}" for field, value in _flat(dataclasses.asdict(values))]
    return "settings for --set, with the values of preset paper:\n" + "\n".join(lines)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for name, value in values.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def settings(arguments: argparse.Namespace, kind: type[BaseSettings]) -> Any:
    """The preset with what the command line changes. Raises `ConfigError`."""
    changes = {"seed": arguments.seed} | _set(arguments)
    for name in ("model", "problems"):
        if vars(arguments).get(name):
            changes[name] = vars(arguments)[name]
    return preset(arguments.preset, kind, **changes)


def grouped_settings(arguments: argparse.Namespace, make: Callable[..., Any]) -> Any:
    """The same for settings in parts, which `make(preset, **changes)` gives: what is said of the base holds for every
    part. Raises `ConfigError`."""
    base = base_settings(arguments)
    parts = [field.name for field in dataclasses.fields(make("paper")) if dataclasses.is_dataclass(field.type)]
    changes = {name: value for name, value in _set(arguments).items() if name not in base}
    changes |= {f"{part}.{name}": value for part in parts for name, value in base.items()}
    if arguments.seeds is not None:
        changes["seeds"] = arguments.seeds
    if vars(arguments).get("arms"):
        changes["arms"] = [name.strip() for name in arguments.arms.split(",")]
    return make(arguments.preset, **changes)


def _set(arguments: argparse.Namespace) -> dict[str, Any]:
    """What --set asks for."""
    changes = {}
    for text in vars(arguments).get("set", []):
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: write it as FIELD=VALUE")
        changes[name.strip()] = _value(value.strip())
    return changes


def base_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the base, by --set or --model."""
    named = {name: value for name, value in _set(arguments).items() if name in BASE_SETTINGS}
    return named | ({"model": arguments.model} if arguments.model else {})


def _value(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def check_ray(arguments: argparse.Namespace) -> None:
    """Raises ConfigError where --ray or --actors cannot be followed."""
    address, count = vars(arguments).get("ray"), vars(arguments).get("actors")
    if count is not None and (address is None or count < 1):
        raise ConfigError(f"--actors {count}: must be 1 or more, and beside --ray")
    if address is not None:
        from soar_lib.cluster import joining

        joining.check_address(address)


def preset_of(arguments: argparse.Namespace, kind: type[BaseSettings]) -> Any:
    """The preset, seed and base that the command line names, for another command's settings."""
    return preset(arguments.preset, kind, seed=arguments.seed, **base_settings(arguments))
