"""SvS and its controls: every arm on every seed, in one folder, to a table of numbers and one of claims.

An arm is what `SVS_ARMS` changes in the settings; its seeds are the slots of one population of adapters. All arms share
problems, and the arms of one seed share the order of problems and the numbers that originals are solved with. Arms with
a budget spend what `svs` spent, seed by seed or in the mean, so they come after it. The folder:

    config.json  versions.json                       the settings of all arms
    train.jsonl  test.jsonl  hard.jsonl  other.jsonl the problems; training problems that are measured are left out
    <arm>/                                           a run folder: metrics.csv (a row per step and seed), problems.jsonl
                                                     (every variant), scores.jsonl, adapters/seed0, ..., result.json
    svs.csv  curves.csv  variants.csv  claims.csv    the tables (svs/report.py)

A killed run goes on where it stopped, and arms may be added later. The last step is measured; no test score chooses
anything. The paper samples its evaluation with top-p 0.7, our sampler draws from the whole distribution. Beside the
entropy on each step's own problems, as the paper plots it, that on `test` is kept: there all arms and steps compare.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from soar_lib import loggers, runs
from soar_lib.engine.base import Base
from soar_lib.engine.base import load_for as load_base
from soar_lib.engine.lora import Adapters, save_peft
from soar_lib.engine.update import Learner, make_learner, optimizer_tensors
from soar_lib.problems.likeness import overlap
from soar_lib.problems.load import load
from soar_lib.randomness import generator
from soar_lib.records import HARD, OTHER, TEST, TRAIN, Problem, Score
from soar_lib.settings.memory import check_memory
from soar_lib.settings.values import ConfigError, to_values
from soar_lib.student import train as student
from soar_lib.svs import step as svs
from soar_lib.svs.rephrasings import Rephrase, rephraser
from soar_lib.svs.settings import MEASURED_TOGETHER, SVS_ARMS, SvsConfig
from soar_lib.svs.synthesis import Task, solve

SETS = (TEST, HARD, OTHER)  # what is measured


@dataclass
class Arm:
    """One arm in training: its settings, its slots, and the sizes of its batches, step by step and slot by slot."""

    name: str
    config: SvsConfig
    learner: Learner
    sizes: list[list[int]]
    sets: dict[str, list[Problem]]
    rephrase: Rephrase | None
    entropy: list[float] | None = None  # per token on `test`, slot by slot, once it has been measured at the end

    @property
    def keys(self) -> list[int]:
        return seeds(self.config)


def seeds(config: SvsConfig) -> list[int]:
    return list(range(config.seed, config.seed + config.seeds))


def run(
    config: SvsConfig,
    out: str | Path,
    resume: bool = False,
    progress: bool = True,
    base: Base | None = None,
    say: Callable[[str], None] = print,
    log: str | None = None,
) -> pd.DataFrame:
    """Run all arms into a folder, or go on with what is there; returns the table of claims (claims.csv).

    `say` is told each arm when it is finished; `base` saves loading `config.model` again, and `log` names one of
    `loggers.LOGGERS`. Raises ConfigError, LoadError and RunError before anything is written.
    """
    from soar_lib.svs import report as svs_report

    out = Path(out)
    runs.check_folder(out, resume)
    sets = problem_sets(config, out)
    rephrase = rephraser(config.rephrasings, sets["train"]) if "rephrasings" in config.arms else None
    _check_begun(config, out)
    loggers.check_logger(log)
    check_memory(sized(config, sets), loaded=base is not None)
    base = base or load_base(config)
    _open(config, out, resume)
    for name, problems in sets.items():
        runs.write_text_atomic(out / f"{name}.jsonl", runs.jsonl(map(asdict, problems)))
    for name in (name for name in SVS_ARMS if name in config.arms):
        train_arm(config, name, sets, out, base, progress, rephrase, log)
        say(f"svs: {name} is finished; everything is in {out / name}")
    return svs_report.write(out)


def sized(config: SvsConfig, sets: dict[str, list[Problem]]) -> SvsConfig:
    """The settings with the numbers of problems that there are, for predictions."""
    return replace(config, **{f"{name}_size": len(sets[name]) for name in SETS})


def problem_sets(config: SvsConfig, out: Path) -> dict[str, list[Problem]]:
    """Training problems (`train`) and those of each measured set: what the run in `out` began with, else what the
    settings name. Raises ConfigError and LoadError."""
    if (out / f"{SETS[-1]}.jsonl").exists():  # written last
        return {name: [Problem(**row) for row in runs.read_jsonl(out / f"{name}.jsonl")] for name in (TRAIN, *SETS)}
    named = {"test": (config.test, config.test_size), "hard": (config.hard, config.hard_size)}
    named["other"] = (config.other, config.other_size)
    sets = {
        name: load(where, seed=config.seed + 1, size=size or None) if where else []
        for name, (where, size) in named.items()
    }
    pool = load(config.problems, seed=config.seed, size=config.size or None)
    measured = [problem for name in SETS for problem in sets[name]]
    seen = {first for first, _ in overlap(pool, measured).shared}
    train = [problem for problem in pool if problem.id not in seen]
    if len(train) < config.batch:
        raise ConfigError(f"batch = {config.batch}: must be at most {len(train)}, the training problems")
    return {"train": train, **sets}


def _check_begun(config: SvsConfig, out: Path) -> None:
    """Raise RunError where `out` began with other settings; arms may differ."""
    if (out / "config.json").is_file():
        runs.check_same(out, replace(config, arms=_begun(out)))


def _begun(out: Path) -> tuple[str, ...]:
    return tuple(runs.read_json(out / "config.json")["arms"])


def _open(config: SvsConfig, out: Path, resume: bool) -> None:
    """Begin the folder, or note the arms that are added to it."""
    if not (out / "config.json").is_file():
        runs.open_run(out, config, resume)
        return
    arms = tuple(name for name in SVS_ARMS if name in {*_begun(out), *config.arms})
    if arms != _begun(out):
        runs.write_json(out / "config.json", to_values(replace(config, arms=arms)))


# ------------------------------------------------------------------ one arm


def train_arm(
    config: SvsConfig,
    name: str,
    sets: dict[str, list[Problem]],
    out: Path,
    base: Base,
    progress: bool = True,
    rephrase: Rephrase | None = None,
    log: str | None = None,
) -> None:
    """Train and measure one arm in out/name, or go on with it; a finished one is left alone."""
    settings, folder = config.of_arm(name), out / name
    if (folder / "result.json").is_file():
        runs.check_same(folder, settings)
        return
    this = runs.open_run(folder, settings, resume=True)
    sizes = batch_sizes(settings, out)
    learner = make_learner(_fresh(base, settings), settings.optimiser, len(sizes))
    arm = _restore(Arm(name, settings, learner, sizes, sets, rephrase), this)
    stages = [lambda step=step: _step(base, arm, step, this) for step in range(len(arm.sizes))]
    stages += [lambda part=part: _scores(base, arm, part, this) for part in SETS if sets[part]]
    bar = tqdm(total=len(stages), initial=this.round, desc=name, unit="step", disable=not progress)
    with bar, loggers.opened(log, folder, to_values(settings)) as told:
        this.log = told
        for stage in stages[this.round :]:
            records = stage()
            tensors = {"adapters": arm.learner.adapters.state_dict(), "optimizer": optimizer_tensors(arm.learner)}
            this.commit(tensors, {"entropy": arm.entropy}, **records)
            bar.update()
    for slot, seed in enumerate(arm.keys if arm.sizes else ()):
        save_peft(arm.learner.adapters, slot, folder / "adapters" / f"seed{seed}", base.name)
    result = {"steps": len(arm.sizes), "rollouts": _spent(this, arm), "entropy": arm.entropy}
    runs.write_json(folder / "result.json", result)


def _fresh(base: Base, config: SvsConfig) -> Adapters:
    """Untrained slots, all alike, so that arms and seeds differ in what follows alone."""
    draw = generator(config.seed, "svs", "adapter")
    return Adapters.create(base.model, config.seeds, config.rank, config.alpha, draw)


def _restore(arm: Arm, this: runs.Run) -> Arm:
    """The arm as the last step that counts left it."""
    if not this.round:
        return arm
    tensors, state = this.load()
    adapters = arm.learner.adapters.load(tensors["adapters"])
    learner = make_learner(adapters, arm.config.optimiser, len(arm.sizes), state=tensors["optimizer"])
    return replace(arm, learner=learner, **state)


def batch_sizes(config: SvsConfig, out: Path) -> list[list[int]]:
    """How many problems each slot solves in each step; with a budget, from what `svs` spent (out/svs/metrics.csv)."""
    plain = [config.batch] * config.seeds
    if config.budget == "steps":
        return [plain] * config.steps
    spent = [[round(rollouts / config.group) for rollouts in row] for row in rollouts_by_step(out / "svs")]
    if config.budget == "updates":
        return spent
    return [plain] * round(sum(map(sum, spent)) / sum(plain))


def rollouts_by_step(folder: Path) -> list[list[int]]:
    """Completions that an arm drew for learning, a row per step with a number per slot."""
    found: dict[int, list[int]] = {}
    for row in pd.read_csv(folder / "metrics.csv").itertuples(index=False):
        found.setdefault(row.step, []).append(row.rollouts)
    return list(found.values())


def _spent(this: runs.Run, arm: Arm) -> list[int]:
    """Completions that trained each slot."""
    if not arm.sizes:
        return [0] * arm.config.seeds
    return [sum(column) for column in zip(*rollouts_by_step(this.folder), strict=True)]


def _step(base: Base, arm: Arm, step: int, this: runs.Run) -> dict[str, list[dict]]:
    """One step of every slot, and on some steps a measurement on `test`; rows for the logs."""
    rows, written = svs.play(base, arm.learner, batches(arm, step), arm.config, arm.keys, step, arm.rephrase)
    every = arm.config.measure_every
    due = every and (step + 1) % every == 0 and step + 1 < len(arm.sizes) and arm.sets["test"]
    shares, entropy = measure(base, arm, "test", arm.config.samples) if due else (None, None)
    for slot, row in enumerate(rows):
        row["test_pass_1"] = shares[slot].mean().item() if due else None
        row["test_pass_n"] = (shares[slot] > 0).double().mean().item() if due else None
        row["test_entropy"] = entropy[slot] if due else None
    return {"metrics": rows, "problems": list(map(asdict, written))}


def batches(arm: Arm, step: int) -> list[list[Problem]]:
    """Each slot's problems in a step: the next of its endless sequence of permutations of the training problems."""
    train, found = arm.sets["train"], []
    for slot, seed in enumerate(arm.keys):
        start = sum(row[slot] for row in arm.sizes[:step])
        order = student.problem_order(len(train), start + arm.sizes[step][slot], (seed, "svs"))
        found.append([train[i] for i in order[start:]])
    return found


# ------------------------------------------------------------------ measuring


def measure(base: Base, arm: Arm, part: str, samples: int) -> tuple[torch.Tensor, list[float]]:
    """Share of right samples [slots, problems], float64, on one of `SETS`, and each slot's entropy per token there.

    All arms and times have the same random numbers, so that only the policies differ.
    """
    config, together = replace(arm.config, group=samples), max(1, MEASURED_TOGETHER // (samples * arm.config.seeds))
    shares, logprobs, tokens = [], torch.zeros(config.seeds), torch.zeros(config.seeds)
    for start in range(0, len(arm.sets[part]), together):
        some = arm.sets[part][start : start + together]
        tasks = [
            Task(slot, problem, (seed, "measure", part, start + place))
            for slot, seed in enumerate(arm.keys)
            for place, problem in enumerate(some)
        ]
        solved = solve(base, arm.learner.adapters, tasks, config)
        shares.append(torch.tensor(solved.right).double().mean(1).view(config.seeds, len(some)))
        logprobs.index_add_(0, solved.samples.slots.cpu(), solved.samples.logprobs.sum(1).cpu())
        tokens.index_add_(0, solved.samples.slots.cpu(), solved.samples.mask.sum(1).float().cpu())
    return torch.cat(shares, 1), (-logprobs / tokens).tolist()


def _scores(base: Base, arm: Arm, part: str, this: runs.Run) -> dict[str, list[dict]]:
    """Rows of scores.jsonl (`Score`) for one measured set; the student is a seed's only one. Notes the
    entropy on `test`."""
    many = part == "hard" and arm.name in arm.config.large_k
    n = arm.config.hard_samples if many else arm.config.samples
    (shares, entropy), spent = measure(base, arm, part, n), _spent(this, arm)
    if part == "test":
        arm.entropy = entropy
    scores = [
        Score(arm.name, f"seed{seed}", 0, problem.id, n, round(shares[slot, place].item() * n), spent[slot], part)
        for slot, seed in enumerate(arm.keys)
        for place, problem in enumerate(arm.sets[part])
    ]
    return {"scores": list(map(asdict, scores))}
