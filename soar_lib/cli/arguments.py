"""What the command line takes, and the settings that follow from it. Nothing heavy is imported for it."""

import argparse
import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar_lib import hooks
from soar_lib.ladder.settings import LadderConfig
from soar_lib.settings.student import BASE_SETTINGS, PRESETS, BaseSettings, FilterConfig, preset
from soar_lib.settings.values import ConfigError, flat, to_values
from soar_lib.soar import study
from soar_lib.soar.settings import EvaluateConfig, SoarConfig
from soar_lib.svs.settings import SvsConfig

KINDS = {
    "filter": FilterConfig, "soar": SoarConfig, "evaluate": EvaluateConfig, "ladder": LadderConfig, "svs": SvsConfig,
}  # fmt: skip
LOGGED = ("soar", "evaluate", "study", "ladder", "svs", "demo")
SHARED = ("soar", "evaluate", "study")  # commands whose students a Ray cluster can train
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
    known = {name: known_settings(kind()) for name, kind in KINDS.items()}
    known["study"] = known_settings(study.preset("paper"))
    for name, text in HELP.items():
        command = commands.add_parser(
            name, help=text, description=f"{text.capitalize()}.", epilog=known.get(name), allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        _add_options(command.add_argument, name)
    return top


def _add_options(add: Callable[..., Any], name: str) -> None:
    known = f"{', '.join(PRESETS)}; laptop, a real model, for filter, soar and evaluate"
    add("--preset", default="nano", metavar="NAME", help=f"{known} (default: nano)")
    if name == "study":
        add("--seeds", type=int, metavar="N", help="runs of each arm that decides a claim")
        add("--arms", metavar="A,B,...", help=f"some of {', '.join(study.ARMS)} (default: the preset's)")
        add("--threads", type=int, metavar="N", help="CPU threads (default: as many as torch takes)")
    else:
        add("--seed", type=int, default=0, help="every random number of the run follows from it")
    out = Path("runs") / name
    add("--out", type=_path, default=out, metavar="FOLDER", help=f"run folder (default: {out})")
    add("--resume", action="store_true", help="go on with the run in FOLDER, or begin it")
    if name in LOGGED:
        add("--log", metavar="LOGGER", help=f"show the metrics elsewhere too: {', '.join(hooks.LOGGERS)}")
    if name in SHARED:
        add("--ray", metavar="ADDRESS", help=RAY)
        add("--actors", type=int, metavar="N", help="Ray actors (default: one per GPU)")
    add("--model", metavar="NAME", help="nano, a local folder or a Hub id, in place of the preset's")
    if name == "evaluate":
        runs = "finished SOAR run folders, one per seed"
        add("--runs", nargs="+", type=_path, required=True, metavar="RUN", help=runs)
    if name in PROBLEMS:
        add("--problems", metavar="SET", help=PROBLEMS[name])
    if name != "demo":
        add("--set", action="append", default=[], metavar="FIELD=VALUE", help="change one setting; may be repeated")


def _path(text: str) -> Path:
    """A folder as given, with `~` for the user's own."""
    return Path(text).expanduser()


def known_settings(values: Any) -> str:
    """The settings that --set knows, with the paper's values, for the end of a help text."""
    lines = [f"  {name} = {json.dumps(value)}" for name, value in flat(to_values(values)).items()]
    return "settings for --set, with the values of preset paper:\n" + "\n".join(lines)


def settings(arguments: argparse.Namespace, kind: type[BaseSettings]) -> Any:
    """The preset with what the command line changes. Raises `ConfigError`."""
    given = {name: value for name, value in vars(arguments).items() if name in ("model", "problems") and value}
    return preset(arguments.preset, kind, **({"seed": arguments.seed} | _set(arguments) | given))


def grouped_settings(arguments: argparse.Namespace, make: Callable[..., Any]) -> Any:
    """The settings in parts that a command line asks for; `make(preset, **changes)` gives them, and what is said of the
    base holds for every part. Raises `ConfigError`."""
    given = _set(arguments) | ({"model": arguments.model} if arguments.model else {})
    base = {name: given.pop(name) for name in BASE_SETTINGS if name in given}
    parts = [field.name for field in dataclasses.fields(make("paper")) if dataclasses.is_dataclass(field.type)]
    given |= {f"{part}.{name}": value for part in parts for name, value in base.items()}
    if arguments.seeds is not None:
        given["seeds"] = arguments.seeds
    if vars(arguments).get("arms"):
        given["arms"] = [name.strip() for name in arguments.arms.split(",")]
    return make(arguments.preset, **given)


def _set(arguments: argparse.Namespace) -> dict[str, Any]:
    """What --set asks for: JSON where it is JSON, else the text itself."""
    changes: dict[str, Any] = {}
    for text in vars(arguments).get("set", []):
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            raise ConfigError(f"--set {text}: write it as FIELD=VALUE")
        changes[name.strip()] = value.strip()
        with contextlib.suppress(ValueError, RecursionError):
            changes[name.strip()] = json.loads(value)
    return changes


def check_ray(arguments: argparse.Namespace) -> None:
    """Raises ConfigError where --ray or --actors cannot be followed."""
    address, count = vars(arguments).get("ray"), vars(arguments).get("actors")
    if count is not None and (address is None or count < 1):
        raise ConfigError(f"--actors {count}: must be 1 or more, and beside --ray")
    if address is not None:
        from soar_lib.cluster import joining

        joining.check_address(address)
