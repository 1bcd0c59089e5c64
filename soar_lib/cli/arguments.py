"""What the command line takes, and the settings that follow from it. Nothing heavy is imported for it."""

import argparse
import contextlib
import dataclasses
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar_lib import hooks
from soar_lib.ladder.settings import LadderConfig
from soar_lib.settings.student import BaseSettings, FilterConfig, preset, presets_of
from soar_lib.settings.values import ConfigError, flat
from soar_lib.soar import study
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.svs.settings import SvsConfig

KINDS = {kind.command: kind for kind in (FilterConfig, SoarConfig, EvaluateConfig, LadderConfig, SvsConfig)}
_TEXTS = tomllib.loads(Path(__file__).with_name("help.toml").read_text(encoding="utf-8"))
HELP, PROBLEMS, OPTIONS = (_TEXTS[part] for part in ("commands", "problems", "options"))
TYPES = {"int": int, "path": lambda text: Path(text).expanduser(), "set": os.path.expanduser}  # `~` is home
TYPES |= {"names": lambda text: [name.strip() for name in text.split(",")] if text else []}


def parser() -> argparse.ArgumentParser:
    """The parser of the command line, with all commands and options."""
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
    """The options of one command, with the words in braces filled in."""
    lists = {"presets": presets_of("soar" if name == "demo" else name), "arms": study.ARMS, "loggers": hooks.LOGGERS}
    words = {"name": name, "problems": PROBLEMS.get(name)} | {word: ", ".join(known) for word, known in lists.items()}
    for option, given in OPTIONS.items():
        how = {key: value.format(**words) if isinstance(value, str) else value for key, value in given.items()}
        if name in how.pop("of", HELP):
            add(f"--{option}", **how | ({"type": TYPES[how["type"]]} if "type" in how else {}))


def known_settings(values: Any) -> str:
    """The settings that --set knows, with the paper's values, for the end of a help text."""
    lines = [f"  {name} = {json.dumps(value)}" for name, value in flat(dataclasses.asdict(values)).items()]
    return "settings for --set, with the values of preset paper:\n" + "\n".join(lines)


def settings(arguments: argparse.Namespace, kind: type[BaseSettings]) -> Any:
    """The settings that a command line asks for: the preset with its changes. Raises ConfigError."""
    given = {name: value for name, value in vars(arguments).items() if name in ("model", "problems") and value}
    return preset(arguments.preset, kind, **({"seed": arguments.seed} | _set(arguments) | given))


def study_settings(arguments: argparse.Namespace) -> study.StudyConfig:
    """The settings that the command line of a study asks for. Raises ConfigError."""
    given = _set(arguments) | {name: value for name in ("model", "arms") if (value := vars(arguments)[name])}
    if arguments.seeds is not None:
        given["seeds"] = arguments.seeds
    return study.preset(arguments.preset, **given)


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
