"""The command line, for long runs from a terminal: `python -m soar_lib COMMAND`, where HELP lists the commands.

Arguments are checked before anything heavy is imported or written, so a mistake costs one line and exit status 2.
An interrupted run goes on with the same command and --resume.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soar_lib import loggers, methods, runs, study
from soar_lib.config import (
    PRESETS,
    Config,
    ConfigError,
    EvaluateConfig,
    FilterConfig,
    LadderConfig,
    SoarConfig,
    SvsConfig,
    describe_cost,
    preset,
    to_values,
)
from soar_lib.config.soar import BASE_SETTINGS
from soar_lib.problems.answers import LoadError

KINDS = {"filter": FilterConfig, "soar": SoarConfig, "evaluate": EvaluateConfig}
LOGGED = ("soar", "evaluate", "study", "demo")
SHARED = ("soar", "evaluate", "study")  # commands whose students a Ray cluster can train
METHODS = {"ladder": LadderConfig, "svs": SvsConfig}
GROUPED = {"study": study.preset, "methods": methods.preset}  # whose settings are those of their parts
HELP = {
    "filter": "keep the problems that the model never solves in k samples and split them in two",
    "soar": "teach: the teacher writes problems, students try them, their gain is the teacher's reward",
    "evaluate": "train fresh students on each data set and measure pass@k on the held-out hard problems",
    "study": "the paper's comparisons: all arms on all seeds, and a table of its claims",
    "ladder": "learn from easier variants that the model writes, of hard problems and of each test problem; its claims",
    "svs": "self-play with variational problem synthesis and its controls, and a table of its claims",
    "methods": "SOAR, LADDER, SvS, Hard-Only and RLVR at one budget of rollouts, from one base on one test set",
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
        prog="python -m soar_lib", description="Models that make their own training problems: SOAR on one machine."
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
    if name in GROUPED:
        command.add_argument("--seeds", type=int, metavar="N", help="runs of each arm (study: that decides a claim)")
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
    """The settings that --set knows, with the paper's values."""
    if name == "demo":
        return ""
    values = GROUPED[name]("paper") if name in GROUPED else (KINDS | METHODS)[name]()
    lines = [f"  {field} = {json.dumps(value)}" for field, value in _flat(dataclasses.asdict(values))]
    return "settings for --set, with the values of preset paper:\n" + "\n".join(lines)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for name, value in values.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def settings(arguments: argparse.Namespace, kind: type[Config]) -> Any:
    """The preset with what the command line changes. Raises `ConfigError`."""
    changes = {"seed": arguments.seed} | _set(arguments)
    for name in ("model", "problems"):
        if vars(arguments).get(name):
            changes[name] = vars(arguments)[name]
    return preset(arguments.preset, kind, **changes)


def grouped_settings(arguments: argparse.Namespace) -> study.StudyConfig | methods.MethodsConfig:
    """The same for a command in `GROUPED`: what is said of the base holds for every part. Raises `ConfigError`."""
    base, make = _base_settings(arguments), GROUPED[arguments.command]
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


def _base_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the base, by --set or --model."""
    named = {name: value for name, value in _set(arguments).items() if name in BASE_SETTINGS}
    return named | ({"model": arguments.model} if arguments.model else {})


def _value(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check_ray(arguments: argparse.Namespace) -> None:
    """Raises ConfigError where --ray or --actors cannot be followed."""
    address, count = vars(arguments).get("ray"), vars(arguments).get("actors")
    if count is not None and (address is None or count < 1):
        raise ConfigError(f"--actors {count}: must be 1 or more, and beside --ray")
    if address is not None:
        from soar_lib.policy import joining

        joining.check_address(address)


# ------------------------------------------------------------------ commands: heavy imports only after the checks


def _filter(arguments: argparse.Namespace) -> None:
    _filtered(settings(arguments, FilterConfig), arguments.out, arguments.resume)


def _filtered(config: FilterConfig, out: Path, resume: bool) -> None:
    runs.check_folder(out, resume)
    from soar_lib.problems import filtering, load

    pool = load.load(config.problems, seed=config.seed, size=config.size or None)
    with _cost("filter", config, out, len(pool)):
        print(f"{filtering.run(config, out, resume)}; everything is in {out}", flush=True)


def _soar(arguments: argparse.Namespace) -> None:
    config, out = settings(arguments, SoarConfig), arguments.out
    if arguments.ray is not None and config.reward == "intrinsic":
        raise ConfigError("--ray: reward = 'intrinsic' trains no students that could be shared out; leave --ray out")
    runs.check_folder(out, arguments.resume)
    if not config.problems:
        pool = out.with_name(f"{out.name}-filter")
        _filtered(_preset_of(arguments, FilterConfig), pool, resume=True)
        config = dataclasses.replace(config, problems=str(pool))
    _taught(config, out, arguments)


def _taught(config: SoarConfig, out: Path, arguments: argparse.Namespace) -> None:
    from soar_lib import soar

    soar.problems(config, out)  # a set that cannot be read is an error before anything is announced
    with (
        _cost("soar", config, out),
        loggers.opened(arguments.log, out, to_values(config)) as log,
        _shared(arguments, config, config.datasets * config.repeats) as where,
    ):
        print(soar.run(config, out, arguments.resume, log=log, **where), flush=True)


@contextlib.contextmanager
def _shared(arguments: argparse.Namespace, config: SoarConfig | EvaluateConfig, students: int) -> Iterator[dict]:
    """What a command's run must be told of where its students are trained: nothing without --ray."""
    if vars(arguments).get("ray") is None:
        yield {}
        return
    from soar_lib import inner_loop
    from soar_lib.policy import cluster

    say = functools.partial(print, flush=True)
    with cluster.opened(arguments.ray, config, students, arguments.actors, say) as actors:
        yield {"inner_loop": inner_loop.on(actors)}


def _evaluate(arguments: argparse.Namespace) -> None:
    config = settings(arguments, EvaluateConfig)
    runs.check_folder(arguments.out, arguments.resume)
    for folder in arguments.runs:
        if not (folder / "result.json").is_file():
            raise runs.RunError(f"{folder}: holds no finished SOAR run (no result.json); finish it with --resume first")
    _evaluated(config, arguments.runs, arguments.out, arguments)


def _evaluated(config: EvaluateConfig, folders: list[Path], out: Path, arguments: argparse.Namespace) -> Any:
    from soar_lib.analysis import evaluate

    source = Path(config.problems) if config.problems else folders[0]
    measured = len(runs.read_jsonl(source / "hard_test.jsonl"))
    with (
        _cost("evaluate", config, out, measured, len(folders)),
        loggers.opened(arguments.log, out, to_values(config)) as log,
        _shared(arguments, config, len(config.arms) * len(folders) * config.students) as where,
    ):
        table = evaluate.run(config, folders, out, arguments.resume, log=log, **where)
        print(f"{table.to_string(index=False)}\neverything is in {out}", flush=True)
    return table


@contextlib.contextmanager
def _cost(name: str, config: Config, out: Path, problems: int = 0, count: int = 1) -> Iterator[None]:
    """Say what a run will cost, measure it, and say what it has cost; `count` is of the SOAR runs of an evaluation."""
    from soar_lib import meter
    from soar_lib.config.fit import describe_memory

    each = " for each SOAR run" if count > 1 else ""
    print(f"{name}: {describe_cost(config, problems)}{each}; {describe_memory(config, problems, count)}", flush=True)
    with meter.metered(out, meter.predicted(config, problems, count)):
        yield
    _say_measured(name, out)


def _say_measured(name: str, out: Path) -> None:
    from soar_lib import meter

    if measured := meter.report(out):
        print(f"{name}: {measured}", flush=True)


def _study(arguments: argparse.Namespace) -> None:
    config = grouped_settings(arguments)
    runs.check_folder(arguments.out, arguments.resume)
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise ConfigError(f"--threads {arguments.threads}: must be 1 or more")
        import torch

        torch.set_num_threads(arguments.threads)
    from soar_lib import meter, study_cost

    out, say = arguments.out, functools.partial(print, flush=True)
    with (
        meter.metered(out, study_cost.predicted(config, out)),
        _shared(arguments, config.soar, config.soar.datasets * config.soar.repeats) as where,
    ):
        claims = study.run(config, out, arguments.resume, say=say, log=arguments.log, **where)
    print(f"{claims.to_string(index=False)}\neverything is in {out}", flush=True)
    _say_measured("study", out)


def _ladder(arguments: argparse.Namespace) -> None:
    config, out = settings(arguments, LadderConfig), arguments.out
    runs.check_folder(out, arguments.resume)
    if not config.problems:
        pool = out.with_name(f"{out.name}-filter")
        own = {"problems": config.pool, "size": config.pool_size, "check": config.check}
        own |= {name: vars(config)[name] for name in BASE_SETTINGS}
        _filtered(preset(arguments.preset, FilterConfig, seed=config.seed, **own), pool, resume=True)
        config = dataclasses.replace(config, problems=str(pool))
    from soar_lib import ladder

    train, test = ladder.problems(config, out)
    print(f"ladder: {describe_cost(dataclasses.replace(config, originals=len(train)), len(test))}", flush=True)
    table = ladder.run(config, out, arguments.resume)
    print(f"{table.to_string(index=False)}\neverything is in {out}", flush=True)


def _svs(arguments: argparse.Namespace) -> None:
    config = settings(arguments, SvsConfig)
    runs.check_folder(arguments.out, arguments.resume)
    from soar_lib import svs_run

    claims = svs_run.run(config, arguments.out, arguments.resume, say=functools.partial(print, flush=True))
    print(f"{claims.to_string(index=False)}\neverything is in {arguments.out}", flush=True)


def _methods(arguments: argparse.Namespace) -> None:
    say = functools.partial(print, flush=True)
    table = methods.run(grouped_settings(arguments), arguments.out, arguments.resume, say=say)
    print(f"{table.to_string(index=False)}\neverything is in {arguments.out}", flush=True)


def _demo(arguments: argparse.Namespace) -> None:
    """Each part is a run folder of its own, so --resume goes on wherever the demo stopped."""
    out, configs = arguments.out, {name: _preset_of(arguments, kind) for name, kind in KINDS.items()}
    for name in KINDS:
        runs.check_folder(out / name, arguments.resume)
    _filtered(configs["filter"], out / "filter", arguments.resume)
    taught = dataclasses.replace(configs["soar"], problems=str(out / "filter"))
    _taught(taught, out / "soar", arguments)
    table = _evaluated(configs["evaluate"], [out / "soar"], out / "evaluate", arguments)
    from soar_lib.analysis import figures

    tables = figures.of_runs(out / "filter", [out / "soar"], table, taught.threshold)
    for picture in figures.draw(tables, out / "figures"):
        print(f"figure: {picture}")
    print(f"run folders: {', '.join(str(out / name) for name in KINDS)}")


def _preset_of(arguments: argparse.Namespace, kind: type[Config]) -> Any:
    """The preset, seed and base that the command line names, for another command's settings."""
    return preset(arguments.preset, kind, seed=arguments.seed, **_base_settings(arguments))


COMMANDS = {
    "filter": _filter,
    "soar": _soar,
    "evaluate": _evaluate,
    "study": _study,
    "ladder": _ladder,
    "svs": _svs,
    "methods": _methods,
    "demo": _demo,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a mistake of the user's, 130 for an interrupt."""
    arguments = parser().parse_args(argv)
    try:
        loggers.check_logger(vars(arguments).get("log"))
        _check_ray(arguments)
        COMMANDS[arguments.command](arguments)
    except (ConfigError, LoadError, runs.RunError, OSError) as error:
        print(f"soar_lib: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("soar_lib: interrupted; the same command with --resume goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
