"""Five methods at one budget: SOAR, LADDER, SvS, Hard-Only and RLVR, from one base, on one pool, on one hard test set.

No paper compares them. All share one filter run; nobody learns from hard test, and the last step is measured.

    base         no training
    hard_only    RL on hard train
    rlvr         RL on the pool without hard test
    svs          RLVR on the same, with variants written from the policy's own solutions (`svs`)
    ladder       RL on trees of variants of hard train (`ladder`); no verifier, so the untrained model's most frequent
                 answer to a variant stands for its answer
    ps           SOAR's promoted student (`soar`)
    pq           a fresh student on the problems whose students SOAR promoted, then on hard train; a seed that promoted
                 nobody has none, which flatters the mean
    grounded_t   a fresh student on problems sampled from SOAR's trained teacher, then on hard train

The budget is what SvS spends, seed by seed in the mean, since what it will spend nobody can tell beforehand. Every
completion counts that was drawn on the way to the measured student, of whatever policy: those of teachers and of
students that were thrown away, variants and votes. So SOAR's outer loop comes out of the budget of its fresh students,
which the paper counts alone. Of a teacher's completions those count that were read until there were enough problems
(for grounded_t, the accepted ones), not what the last batch drew beyond. Greedy or sampled answers by which a method
chooses (SOAR's rewards) count; those by which we measure do not. A method spends at most the budget (RLVR up to one
step more or less).

Each method keeps its own loss and settings. The folder holds a run folder per method (filter, svs, soar/seed0, ...,
fresh, hard_only, trees, ladder), pool.jsonl, scores.jsonl and methods.csv.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from soar_lib import files, meter, runs
from soar_lib.cli.arguments import grouped_settings, known_settings
from soar_lib.engine.base import Base, load_for
from soar_lib.hooks import Hooks
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder import run as ladder
from soar_lib.ladder.settings import LadderConfig
from soar_lib.meter import describe_memory, predicted
from soar_lib.problems import filtering
from soar_lib.problems.load import load
from soar_lib.problems.rows import LoadError, hard_sets
from soar_lib.settings.cost import cost, describe
from soar_lib.settings.memory import check_memory
from soar_lib.settings.student import BASE_SETTINGS, FilterConfig
from soar_lib.settings.values import ConfigError, change, first_line, require_one_base
from soar_lib.soar import evaluate
from soar_lib.soar import run as soar
from soar_lib.soar.settings import EvaluateConfig, SoarConfig
from soar_lib.svs import report as svs_report
from soar_lib.svs import run as svs_run
from soar_lib.svs.settings import SvsConfig
from tools import methods_report

PARTS = {
    "filter": FilterConfig, "soar": SoarConfig, "evaluate": EvaluateConfig, "ladder": LadderConfig, "svs": SvsConfig,
}  # fmt: skip


@dataclass(frozen=True)
class MethodsConfig:
    """The settings of each part; problems, seeds, arms and the steps that fill the budget are set by the comparison.

    `evaluate` has the students of hard_only, pq and grounded_t, of whose steps the share `synthetic` is on synthetic
    problems (SOAR B.6, for MATH: 64 of the first some hundred).
    """

    seeds: int = 5
    synthetic: float = 0.4
    filter: FilterConfig = field(default_factory=FilterConfig)
    soar: SoarConfig = field(default_factory=SoarConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    ladder: LadderConfig = field(default_factory=LadderConfig)
    svs: SvsConfig = field(default_factory=lambda: SvsConfig(model=SoarConfig.model))

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"seeds = {self.seeds}: must be 1 or more")
        if not 0 < self.synthetic < 1:
            raise ConfigError(f"synthetic = {self.synthetic}: must be between 0 and 1")
        parts = [getattr(self, part) for part in PARTS]
        require_one_base(parts, BASE_SETTINGS, "all methods must start from one base")


# What the comparison changes in the presets of its parts. A SOAR run of the nano preset spends nine times the budget:
# here it has half the data sets, one student on each, and 4 rounds. Trees are smaller, since votes count too.
METHOD_PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "seeds": 2, "soar.rounds": 1, "svs.steps": 8, "svs.batch": 4, "svs.measure_every": 0,
        "ladder.variants.depth": 1, "ladder.variants.prompts": 1, "ladder.variants.votes": 2,
    },
    "nano": {
        "soar.datasets": 2, "soar.repeats": 1, "soar.rounds": 4, "svs.steps": 48, "svs.measure_every": 0,
        "ladder.variants.prompts": 3, "ladder.variants.parents": 3,
    },
    "paper": {},
}  # fmt: skip


def preset(name: str, **changes: Any) -> MethodsConfig:
    """A named preset with changes; dotted names reach the parts (`soar.rounds`). Raises ConfigError.

    >>> preset("smoke", **{"svs.steps": 3}).svs.steps
    3
    """
    if name not in METHOD_PRESETS:
        raise ConfigError(
            f"preset {name!r} has no comparison of methods; presets that have: {', '.join(METHOD_PRESETS)}"
        )
    values = {f"{part}.{key}": value for part, kind in PARTS.items() for key, value in kind.presets[name].items()}
    return change(change(MethodsConfig(), values | METHOD_PRESETS[name]), changes)


def run(
    config: MethodsConfig,
    out: str | Path,
    resume: bool = False,
    base: Base | None = None,
    hooks: Hooks = Hooks(),
) -> pd.DataFrame:
    """Run all methods into a folder, or go on with what is there; returns the table (methods.csv).

    Of the hooks, progress bars and lines of text serve here; `base` saves loading the model again. Raises ConfigError,
    LoadError and RunError; whether the budget is enough for SOAR and LADDER shows when SvS has run and LADDER's trees
    are grown.
    """
    out = Path(out)
    runs.check_folder(out, resume)
    if (out / "config.json").is_file():
        runs.check_same(out, config)
    else:
        runs.open_run(out, config, resume)
    base, say = base or load_for(config.soar), hooks.say
    hooks = replace(hooks, say=lambda text: say(f"methods: {text}"))
    _filter(config, out, hooks)
    svs_run.run(svs_config(config, out), out / "svs", True, base, hooks)
    svs_report.write(out / "svs")
    budget = methods_report.spent_by_svs(out)
    hooks.say(f"the budget is {budget:,} rollouts of each seed")
    evaluate_config(config, out, ("pq",), budget - config.evaluate.teacher_samples - _most_of_soar(config))
    grown = ladder_config(config, out, budget, _trees(config, out, budget, base, hooks))
    for seed, folder in enumerate(soar_folders(config, out)):
        own = replace(config.soar, problems=str(out / "filter"), seed=seed)
        hooks.say(str(soar.run(own, folder, True, base, hooks=hooks)))
    _fresh(config, out, budget, base, hooks)
    ladder.run(grown, out / "ladder", True, base, hooks)
    ladder_report.write(out / "ladder")
    hooks.say(f"ladder is measured; everything is in {out / 'ladder'}")
    return methods_report.write(out)


def announce(config: MethodsConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """Say what the comparison will cost at most, about, having checked that each part fits into memory; returns what
    `meter.metered` notes of it. Every method spends what SvS does. Raises ConfigError and LoadError."""
    pool = len(load(config.filter.problems, seed=config.filter.seed, size=config.filter.size or None))
    tested = round(pool * (1 - config.filter.train_fraction))
    one = replace(config.svs, arms=("svs",), seeds=config.seeds, test_size=tested, hard_size=0, other_size=0)
    total = cost(config.filter, pool)
    for _ in ("hard_only", "rlvr", "svs", "ladder", "soar and its fresh students"):
        total += cost(one)
    parts = [(config.filter, 0, 1), (config.soar, 0, 1), (config.evaluate, tested, config.seeds)]
    parts += [(config.ladder, tested, 1), (one, 0, 1)]
    for part in parts:
        check_memory(*part)
    largest = max(parts, key=lambda part: predicted(part)["peak_bytes"] or 0)
    say(f"methods: {describe(total, config.soar.model)}; its largest part: {describe_memory(*largest)}")
    return {
        "rollouts": total.rollouts, "tokens": total.tokens, "hours": total.hours,
        "peak_bytes": predicted(largest)["peak_bytes"],
    }  # fmt: skip


# ------------------------------------------------------------------ the parts


def _filter(config: MethodsConfig, out: Path, hooks: Hooks) -> None:
    """Hard train and hard test, and the pool that RLVR and SvS learn from: all but hard test."""
    hooks.say(f"filter: {filtering.run(config.filter, out / 'filter', resume=True, progress=hooks.progress)}")
    train, _ = hard_sets(out / "filter")
    pool = [*filtering.solved_problems(out / "filter"), *train]
    files.write_text_atomic(out / "pool.jsonl", files.jsonl(map(asdict, pool)))


def svs_config(config: MethodsConfig, out: Path) -> SvsConfig:
    """SvS and RLVR on the pool, measured on hard test."""
    test = str(out / "filter" / "hard_test.jsonl")
    return replace(
        config.svs, problems=str(out / "pool.jsonl"), seed=0, size=0, test=test, test_size=0, hard="", hard_size=0,
        other="", other_size=0, rephrasings="", arms=("svs", "rlvr_equal_rollouts"), large_k=("svs",),
        seeds=config.seeds, samples=config.evaluate.samples, ks=(1,),
    )  # fmt: skip


def _most_of_soar(config: MethodsConfig) -> int:
    """Completions that a SOAR run takes at most, if every attempt of its teacher succeeds."""
    whole = cost(config.soar)
    return max(whole.rollouts, whole.most_rollouts) + whole.teacher_samples


def soar_folders(config: MethodsConfig, out: Path) -> list[Path]:
    return [out / "soar" / f"seed{seed}" for seed in range(config.seeds)]


def _fresh(config: MethodsConfig, out: Path, budget: int, base: Base, hooks: Hooks) -> None:
    """Hard-Only on the whole budget, and SOAR's fresh students on what its runs have left of it."""
    folders = soar_folders(config, out)
    left = budget - config.evaluate.teacher_samples - max(map(methods_report.spent_by_soar, folders))
    for name, arms, rest in (
        ("hard_only", ("base", "hard_only"), budget),
        ("fresh", ("ps", "pq", "grounded_t"), left),
    ):
        settings = evaluate_config(config, out, arms, rest)
        evaluate.run(settings, folders, out / name, True, base, hooks=hooks)
        hooks.say(f"{', '.join(arms)} are measured; everything is in {out / name}")


def evaluate_config(config: MethodsConfig, out: Path, arms: tuple[str, ...], rollouts: int) -> EvaluateConfig:
    """One fresh student per arm and SOAR run, on so many rollouts. Raises ConfigError where they are too few."""
    steps = _steps(rollouts, config.evaluate.student, 2, "SOAR's runs", "soar.rounds")
    return replace(
        config.evaluate, problems=str(out / "filter"), transfer="", arms=arms, students=1,
        synthetic_steps=min(steps - 1, max(1, round(config.synthetic * steps))),
        student=replace(config.evaluate.student, steps=steps),
    )  # fmt: skip


def _steps(rollouts: int, student: Any, least: int, what: str, setting: str) -> int:
    """Steps of a student that take at most so many rollouts."""
    steps = rollouts // (student.batch * student.group)
    least = max(least, student.optimiser.warmup + 1)
    if steps < least:
        raise ConfigError(
            f"svs.steps: SvS spends too little, {what} leave its peers {max(0, rollouts):,} rollouts, which is less "
            f"than {least} steps of {student.batch} x {student.group}; raise svs.steps or lower {setting}, in another "
            "folder"
        )
    return steps


def _trees(config: MethodsConfig, out: Path, budget: int, base: Base, hooks: Hooks) -> int:
    """Grow LADDER's trees once, to see what they cost; its run grows the same ones."""
    trees = ladder_config(config, out, budget, spent=0)
    shortest = replace(trees.student, steps=trees.student.optimiser.warmup + 1)
    grown = replace(trees, samples=1, most_samples=1, student=shortest)
    ladder.run(grown, out / "trees", True, base, hooks)
    return methods_report.spent_on_trees(out / "trees")


def ladder_config(config: MethodsConfig, out: Path, budget: int, spent: int) -> LadderConfig:
    """LADDER with what its trees have left of the budget. Raises ConfigError."""
    own = replace(
        config.ladder, problems=str(out / "filter"), check="answer", seed=0, seeds=config.seeds, originals=0, tested=0,
        arms=("base", "ladder"), samples=config.evaluate.samples, most_samples=config.evaluate.samples,
        variant_samples=0,
    )  # fmt: skip
    steps = _steps(budget - spent, own.student, 1, "LADDER's variants and votes", "ladder.variants.prompts")
    return replace(own, student=replace(own.student, steps=steps))


# ------------------------------------------------------------------ the command line


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tools.methods",
        description="SOAR, LADDER, SvS, Hard-Only and RLVR at one budget of rollouts, from one base on one test set.",
        epilog=known_settings(preset("paper")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--preset", default="nano", metavar="NAME", help=f"{', '.join(METHOD_PRESETS)} (default: nano)")
    top.add_argument("--seeds", type=int, metavar="N", help="runs of each method")
    top.add_argument("--out", type=Path, default=Path("runs") / "methods", metavar="FOLDER", help="run folder")
    top.add_argument("--resume", action="store_true", help="go on with the run in FOLDER, or begin it")
    top.add_argument("--model", metavar="NAME", help="nano, a local folder or a Hub id, in place of the preset's")
    top.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change one setting; may be repeated"
    )
    return top


def main(argv: list[str] | None = None) -> int:
    """The exit status is 0, 2 for a mistake of the user's, 130 for an interrupt."""
    arguments, say = parser().parse_args(argv), functools.partial(print, flush=True)
    out = arguments.out
    try:
        config = grouped_settings(arguments, preset)
        runs.check_folder(out, arguments.resume)
        with meter.metered(out, announce(config, say)):
            table = run(config, out, arguments.resume, hooks=Hooks(say=say))
    except (ConfigError, LoadError, files.RunError, OSError) as error:
        print(f"methods: {first_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("methods: interrupted; the same command with --resume goes on", file=sys.stderr)
        return 130
    say(f"{table.to_string(index=False)}\neverything is in {out}")
    if measured := meter.report(out):
        say(f"methods: {measured}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
