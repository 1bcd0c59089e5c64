"""The command line, for long runs from a terminal: `python -m soar_lib COMMAND`, where arguments.HELP lists them.

Arguments are checked before anything heavy is imported or written, so a mistake costs one line and exit status 2.
An interrupted run goes on with the same command and --resume."""

import argparse
import contextlib
import dataclasses
import errno
import functools
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soar_lib import files, hooks, runs
from soar_lib.cli.arguments import KINDS, check_ray, parser, settings, study_settings
from soar_lib.files import RunError
from soar_lib.hooks import Hooks
from soar_lib.ladder.settings import LadderConfig
from soar_lib.problems.rows import LoadError
from soar_lib.records import Problem
from soar_lib.settings.cost import Part, describe_cost
from soar_lib.settings.student import BASE_SETTINGS, FilterConfig, preset
from soar_lib.settings.values import ConfigError, first_line
from soar_lib.soar import study
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.svs.settings import SvsConfig

DEMO = ("filter", "soar", "evaluate")  # its parts
say = functools.partial(print, flush=True)


def _filtered(config: FilterConfig, out: Path, resume: bool) -> None:
    runs.check_folder(out, resume, config)
    from soar_lib.problems import filtering, load

    pool = load.load(config.problems, seed=config.seed, size=config.size or None)
    with _announced("filter", out, (config, len(pool), 1)):
        say(f"{filtering.run(config, out, resume)}; everything is in {out}")


def _filtered_first(config: Any, arguments: argparse.Namespace, **own: Any) -> Any:
    """A command's settings; without problems, the preset's pool is filtered first, once `out` is known to do."""
    pool = arguments.out.with_name(f"{arguments.out.name}-filter")
    named = config if config.problems else dataclasses.replace(config, problems=str(pool))
    runs.check_folder(arguments.out, arguments.resume, named)
    if named is not config:
        own |= {name: vars(config)[name] for name in (*BASE_SETTINGS, "seed")}
        _filtered(preset(arguments.preset, FilterConfig, **own), pool, resume=True)
    return named


def _soar(arguments: argparse.Namespace) -> None:
    config = settings(arguments, SoarConfig)
    if arguments.ray is not None and not config.trains_students:
        raise ConfigError(f"--ray: reward = {config.reward!r} trains no students to be shared out; leave --ray out")
    _taught(_filtered_first(config, arguments), arguments.out, arguments)


def _taught(config: SoarConfig, out: Path, arguments: argparse.Namespace) -> None:
    from soar_lib.soar import run as soar

    soar.problems(config, out)  # a set that cannot be read is an error before anything is announced
    with _announced("soar", out, (config, 0, 1)), _hooks(arguments, config) as hooks:
        say(soar.run(config, out, arguments.resume, hooks=hooks))


@contextlib.contextmanager
def _hooks(arguments: argparse.Namespace, config: Any, students: int | None = None) -> Iterator[Hooks]:
    """What a command hooks into its run; with --ray its students (a SOAR run's) are trained on the actors."""
    hooks = Hooks(log=arguments.log, say=say)
    if vars(arguments).get("ray") is None:
        yield hooks
        return
    if config.student.trainer == "trl":
        alone = "student.trainer = 'trl' trains one student at a time, nothing to share; leave one out"
        raise ConfigError(f"--ray: {alone}")
    from soar_lib.cluster import actors as cluster

    count = students or config.datasets * config.repeats
    with cluster.opened(arguments.ray, config, count, arguments.actors, say) as actors:
        yield dataclasses.replace(hooks, inner_loop=cluster.on(actors))


def _evaluate(arguments: argparse.Namespace) -> None:
    config = settings(arguments, EvaluateConfig)
    runs.check_folder(arguments.out, arguments.resume, config)
    for folder in arguments.runs:
        if not (folder / "result.json").is_file():
            raise RunError(f"{folder}: holds no finished SOAR run (no result.json); finish it with --resume first")
    _evaluated(config, arguments.runs, arguments.out, arguments)


def _evaluated(config: EvaluateConfig, folders: list[Path], out: Path, arguments: argparse.Namespace) -> Any:
    from soar_lib.soar import evaluate

    measured = len(files.read_jsonl(Path(config.problems or folders[0]) / "hard_test.jsonl", Problem))
    part, students = (config, measured, len(folders)), len(config.arms) * len(folders) * config.students
    with _announced("evaluate", out, part), _hooks(arguments, config, students) as hooks:
        return _shown(evaluate.run(config, folders, out, arguments.resume, hooks=hooks), out)


def _announced(name: str, out: Path, part: Part) -> contextlib.AbstractContextManager[None]:
    """Say what a run will cost; inside the `with` block, measure it and say what it has cost."""
    from soar_lib.meter import describe_memory

    config, problems, count = part
    each = " for each SOAR run" if count > 1 else ""
    say(f"{name}: {describe_cost(config, problems)}{each}; {describe_memory(*part)}")
    return _metered(name, out, part)


@contextlib.contextmanager
def _metered(name: str, out: Path, *parts: Part) -> Iterator[None]:
    """Measure what a run costs and say it."""
    from soar_lib import meter

    with meter.metered(out, meter.predicted(*parts)):
        yield
    for line in meter.report(out).splitlines():
        say(f"{name}: {line}")


def _shown(table: Any, out: Path) -> Any:
    say(f"{table.to_string(index=False)}\neverything is in {out}")
    return table


def _study(arguments: argparse.Namespace) -> None:
    config, out = study_settings(arguments), arguments.out
    runs.check_folder(out, arguments.resume, config, "arms")
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise ConfigError(f"--threads {arguments.threads}: must be 1 or more")
        import torch

        torch.set_num_threads(arguments.threads)
    with _metered("study", out, *study.left(config, out).values()), _hooks(arguments, config.soar) as hooks:
        _shown(study.run(config, out, arguments.resume, hooks=hooks), out)


def _ladder(arguments: argparse.Namespace) -> None:
    config, out = settings(arguments, LadderConfig), arguments.out
    own = {"problems": config.pool, "size": config.pool_size, "k": config.pool_samples, "check": config.check}
    config = _filtered_first(config, arguments, **own, max_new_tokens=config.student.max_new_tokens)
    from soar_lib.ladder import report, run

    train, test = run.problems(config, out)
    sized = dataclasses.replace(config, originals=len(train), tested=len(test))
    with _announced("ladder", out, (sized, len(test), 1)), _hooks(arguments, config) as hooks:
        run.run(config, out, arguments.resume, hooks=hooks)
        _shown(report.write(out), out)


def _svs(arguments: argparse.Namespace) -> None:
    config, out = settings(arguments, SvsConfig), arguments.out
    runs.check_folder(out, arguments.resume, config, "arms")
    from soar_lib.svs import report, run

    sized = run.sized(config, run.problem_sets(config, out))
    with _announced("svs", out, (sized, 0, 1)), _hooks(arguments, config) as hooks:
        run.run(config, out, arguments.resume, hooks=hooks)
        _shown(report.write(out), out)


def _demo(arguments: argparse.Namespace) -> None:
    """Each part is a run folder of its own, so --resume goes on wherever the demo stopped."""
    out, configs = arguments.out, {name: settings(arguments, KINDS[name]) for name in DEMO}
    taught = configs["soar"] = dataclasses.replace(configs["soar"], problems=str(out / "filter"))
    for name in DEMO:
        runs.check_folder(out / name, arguments.resume, configs[name])
    if strange := sorted(path.name for path in out.glob("[!.]*") if path.name not in (*DEMO, "figures")):
        raise RunError(f"{out}: holds {strange[0]}, which no demo makes; choose another folder")
    _filtered(configs["filter"], out / "filter", arguments.resume)
    _taught(taught, out / "soar", arguments)
    table = _evaluated(configs["evaluate"], [out / "soar"], out / "evaluate", arguments)
    from soar_lib.measure.charts import save_all
    from soar_lib.soar.figures import of_runs

    tables = of_runs(out / "filter", [out / "soar"], table, taught.threshold)
    for picture in save_all(tables, out / "figures"):
        say(f"figure: {picture}")
    say(f"run folders: {', '.join(str(out / name) for name in DEMO)}")


COMMANDS = {
    "filter": lambda arguments: _filtered(settings(arguments, FilterConfig), arguments.out, arguments.resume),
    "soar": _soar, "evaluate": _evaluate, "study": _study, "ladder": _ladder, "svs": _svs, "demo": _demo,
}  # fmt: skip


def _said(error: Exception, out: Path) -> str:
    """What is said of an error that ends a command. Raises one that no user can mend."""
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", str(error)):  # torch's too
        advice = "free some, and the same command with --resume goes on; or lower rows, in another folder"
        return f"out of memory ({first_line(error):.150}); {advice}"
    if isinstance(error, RuntimeError) and not isinstance(error, RunError):
        raise error
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return first_line(runs.unwritable(out, error) if full else error)


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a mistake of the user's, 130 for an interrupt, 143 for SIGTERM."""
    arguments, ended = parser().parse_args(argv), []

    def end(number: int, _: Any) -> None:
        """A termination is an interrupt from the outside, as of a batch system."""
        ended.append(number)
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()
    before = here and signal.signal(signal.SIGTERM, end)
    try:
        hooks.check_logger(vars(arguments).get("log"))
        check_ray(arguments)
        COMMANDS[arguments.command](arguments)
    except (ConfigError, LoadError, MemoryError, OSError, RuntimeError) as error:
        print(f"soar_lib: {_said(error, arguments.out)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        how = "terminated" if ended else "interrupted"
        print(f"soar_lib: {how}; the same command with --resume goes on", file=sys.stderr)
        return 143 if ended else 130
    finally:
        if here:
            signal.signal(signal.SIGTERM, before)
    return 0
