"""The paper's comparisons: every arm on every seed, from one filter run to a table of claims (SOAR sections 4 to 7).

An arm of a study is a setting of the SOAR run and what is measured on its runs (`ARMS`). All share one filter run, one
set of transfer problems and one evaluation protocol. Its folder:

    config.json  versions.json              the study's settings
    filter/  transfer/                      filter runs: hard train and hard test, and problems that no reward sees
    <arm>/seed<k>/                          a SOAR run
    <arm>/evaluate/                         all measured arms on all seeds, as one population
    <arm>/values.csv                        what the teachers' data sets are worth (soar/value.py), if asked for
    pass_at_k.csv  transfer.csv             the tables of all evaluations together
    comparisons.csv  claims.csv             every arm against Hard-Only; the paper's claims (soar/claims.py)

Everything is a run folder that resumes by itself: finished ones are never touched, so a killed study goes on where it
stopped, and arms may be added later. No test score chooses anything."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soar_lib import files, runs
from soar_lib.hooks import Hooks
from soar_lib.settings.cost import Part
from soar_lib.settings.student import BASE_SETTINGS, FilterConfig, presets_of, table
from soar_lib.settings.student import preset as preset_of
from soar_lib.settings.values import ConfigError, change, require, require_all
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig

if TYPE_CHECKING:  # the command line's checks need not wait for them
    import pandas as pd

    from soar_lib.engine.base import Base
    from soar_lib.measure.quality import Judge


@dataclass(frozen=True)
class StudyArm:
    """`changes` and `factors` turn the study's SOAR settings into the arm's (values, and multiples rounded to whole
    numbers where the setting is one); `measured` are arms of the evaluation. With `runs`, the arm has no SOAR runs of
    its own but stands on that arm's, measured with `samples` times the teacher samples."""

    name: str
    measured: tuple[str, ...] = ("grounded_t",)
    changes: dict[str, Any] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)
    runs: str = ""
    samples: float = 1.0
    seeds: int = 0  # SOAR runs, where the study has more
    sweep: bool = False  # decides no claim
    part: bool = False  # of what the arm grounded measures, for a study that leaves it out


ARMS = {  # presets.toml
    name: StudyArm(name, **{key: tuple(value) if key == "measured" else value for key, value in row.items()})
    for name, row in table()["study_arms"].items()
}


@dataclass(frozen=True)
class StudyConfig:
    """What a study runs; the four groups are the settings of its parts, in which the study sets problems and seeds."""

    seeds: int = 5  # SOAR runs of an arm that decides a claim; the paper has 3 or 4
    sweep_seeds: int = 2  # SOAR runs of a sweep; section 7 has 2
    arms: tuple[str, ...] = tuple(arm.name for arm in ARMS.values() if not arm.part)
    value_sets: int = 0  # fresh data sets behind each teacher's value; 0: not measured, as in the paper
    filter: FilterConfig = field(default_factory=FilterConfig)
    transfer: FilterConfig = field(default_factory=FilterConfig)
    soar: SoarConfig = field(default_factory=SoarConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        require_all(self, ("seeds", "sweep_seeds"), ("value_sets",))
        require(self, "arms", bool(self.arms) and {*self.arms} <= {*ARMS}, f"some of {', '.join(ARMS)}")
        for arm in self.chosen():
            rule = f"given with {arm.runs}, on whose runs {arm.name} stands; add it"
            require(self, "arms", not arm.runs or arm.runs in self.arms, rule)
        for name in BASE_SETTINGS:
            values = {str(vars(part)[name]) for part in (self.filter, self.transfer, self.soar, self.evaluate)}
            if len(values) > 1:
                raise ConfigError(f"{name} = {' and '.join(sorted(values))}: all parts of a study must have the same")

    def chosen(self) -> list[StudyArm]:
        """The study's arms in the order of `ARMS`."""
        return [arm for name, arm in ARMS.items() if name in self.arms]

    def seeds_of(self, arm: StudyArm) -> range:
        """The seeds on which an arm runs."""
        return range(min(self.seeds, self.sweep_seeds if arm.sweep else arm.seeds or self.seeds))


def preset(name: str, **changes: Any) -> StudyConfig:
    """A named preset with changes; dotted names reach the parts (`soar.rounds`), settings of the base (`model`) all of
    them. Raises ConfigError.

    >>> preset("smoke", **{"soar.rounds": 3}).soar.rounds
    3
    """
    kinds = {"filter": FilterConfig, "transfer": FilterConfig, "soar": SoarConfig, "evaluate": EvaluateConfig}
    if name not in (known := presets_of("study")):
        raise ConfigError(f"preset {name!r} has no study; presets that have: {', '.join(known)}")
    base = {key: changes.pop(key) for key in BASE_SETTINGS if key in changes}
    parts = {part: preset_of(name, kind, **base) for part, kind in kinds.items()}
    return change(change(StudyConfig(**parts), known[name]), changes)


def soar_config(config: StudyConfig, arm: StudyArm, seed: int, out: Path) -> SoarConfig:
    """The settings of one arm's SOAR run. Raises ConfigError where the arm's change does not fit the study's."""
    values = {"problems": str(out / "filter"), "seed": seed} | arm.changes
    for name, factor in arm.factors.items():
        old = getattr(config.soar, name)
        values[name] = max(1, round(old * factor)) if isinstance(old, int) else old * factor
    try:
        return change(config.soar, values)
    except ConfigError as error:
        raise ConfigError(f"arm {arm.name}: {error}; or leave the arm out") from None


def evaluate_config(config: StudyConfig, arm: StudyArm, out: Path) -> EvaluateConfig:
    """The settings of one arm's evaluation."""
    return replace(
        config.evaluate, problems=str(out / "filter"), arms=arm.measured, label=arm.name if arm.sweep else "",
        transfer=str(out / "transfer") if config.transfer.problems else "",
        teacher_samples=max(1, round(config.evaluate.teacher_samples * arm.samples)),
    )  # fmt: skip


def soar_folders(config: StudyConfig, arm: StudyArm, out: Path) -> list[Path]:
    """The SOAR runs that an arm stands on, one per seed."""
    return [out / (arm.runs or arm.name) / f"seed{seed}" for seed in config.seeds_of(arm)]


def valued(config: StudyConfig, arm: StudyArm) -> bool:
    """Whether the arm's teachers are valued: those of its own runs, but of no sweep."""
    return bool(config.value_sets) and not arm.runs and not arm.sweep


def left(config: StudyConfig, out: Path) -> dict[str, Part]:
    """What is left to be done, part by part, with the known sizes of pools and sets. Raises ConfigError, LoadError."""
    from soar_lib.problems.load import load
    from soar_lib.soar import value

    pools = {name: part for name, part in (("filter", config.filter), ("transfer", config.transfer)) if part.problems}
    sizes = {name: len(load(part.problems, seed=part.seed, size=part.size or None)) for name, part in pools.items()}
    found: dict[str, Part] = {
        name: (part, sizes[name], 1) for name, part in pools.items() if not (out / name / "hard_train.jsonl").is_file()
    }
    measured = round(sizes.get("filter", 0) * (1 - config.filter.train_fraction)) + sizes.get("transfer", 0)
    for arm in config.chosen():
        seeds = config.seeds_of(arm)
        for seed, folder in zip(seeds, soar_folders(config, arm, out)):
            if not arm.runs and not (folder / "result.json").is_file():
                found[f"{arm.name}/seed{seed}"] = (soar_config(config, arm, seed, out), 0, 1)
        if not (out / arm.name / "evaluate" / "pass_at_k.csv").is_file():
            found[f"{arm.name}/evaluate"] = (evaluate_config(config, arm, out), measured, len(seeds))
        unvalued = len(seeds) - value.seeds(out / arm.name / "values.csv") if valued(config, arm) else 0
        if unvalued > 0:  # in the first arm the untrained teacher too
            rounds = -(-config.value_sets // config.soar.datasets) * unvalued * (1 + (arm == config.chosen()[0]))
            found[f"{arm.name}/values"] = (replace(config.soar, rounds=rounds, repeats=1), 0, 1)
    return found


@files.holding
def run(
    config: StudyConfig, out: str | Path, resume: bool = False, judge: "Judge | None" = None, hooks: Hooks = Hooks()
) -> "pd.DataFrame":
    """Run a study into a folder, or go on with the one that is there; returns the table of claims (claims.csv).
    `hooks.say` is told the cost before anything starts, and each part as it ends; `judge` is `evaluate.run`'s. Raises
    ConfigError, LoadError and RunError (before anything is written) and TeacherError."""
    from soar_lib.engine.base import load_for
    from soar_lib.meter import announce
    from soar_lib.problems import filtering
    from soar_lib.soar import report

    out = Path(out)
    runs.check_folder(out, resume, config, "arms")
    parts = left(config, out)
    announce("study", parts, hooks.say)
    base = load_for(config.soar) if parts else None  # one that will not do is an error before anything is written
    runs.open_arms(out, config, ARMS)
    for name, part in (("filter", config.filter), ("transfer", config.transfer)):
        if part.problems:
            hooks.say(f"study: {name}: {filtering.run(part, out / name, True, hooks.progress, base)}")
    for arm in config.chosen():
        _run_arm(config, arm, out, base, judge, hooks)
    claims = report.write(out)
    for claim in claims.query("seeds == 0")["claim"]:
        hooks.say(f"study: not measured (an arm was left out, or no run of it gave it problems): {claim}")
    return claims


def _run_arm(
    config: StudyConfig, arm: StudyArm, out: Path, base: "Base | None", judge: "Judge | None", hooks: Hooks
) -> None:
    """An arm's SOAR runs, then their evaluation; what is finished is only read, and needs no base."""
    from soar_lib.soar import evaluate, value
    from soar_lib.soar import run as soar

    folders, evaluation = soar_folders(config, arm, out), out / arm.name / "evaluate"
    for seed, folder in zip(config.seeds_of(arm), [] if arm.runs else folders):
        hooks.say(f"study: {soar.run(soar_config(config, arm, seed, out), folder, True, base, hooks=hooks)}")
    evaluate.run(evaluate_config(config, arm, out), folders, evaluation, True, base, judge, hooks)
    if valued(config, arm):
        # The untrained teacher is the same in every arm.
        value.write(base, folders, config.value_sets, out / arm.name / "values.csv", arm == config.chosen()[0])
    hooks.say(f"study: {arm.name} is evaluated; everything is in {evaluation}")
