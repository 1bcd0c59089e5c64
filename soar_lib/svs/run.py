"""SvS and its controls: every arm on every seed, in one folder. `svs.report` makes tables and claims of it.

An arm is what `SVS_ARMS` changes in the settings; its seeds are the slots of one population of adapters. All arms share
problems, and the arms of one seed share the order of problems and the numbers that originals are solved with. Arms with
a budget spend what `svs` spent, seed by seed or in the mean, so they come after it. The folder:

    config.json  versions.json                       the settings of all arms
    train.jsonl  test.jsonl  hard.jsonl  other.jsonl the problems; training problems that are measured are left out
    <arm>/                                           a run folder: metrics.csv (a row per step and seed), problems.jsonl
                                                     (every variant), scores.jsonl, adapters/seed0, ..., result.json

A killed run goes on where it stopped, and arms may be added later. The last step is measured; no test score chooses
anything. The paper samples its evaluation with top-p 0.7, our sampler draws from the whole distribution."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from soar_lib import files, runs
from soar_lib.engine.base import Base, load_for
from soar_lib.engine.lora import begin, save_peft
from soar_lib.engine.update import Learner, make_learner, optimizer_tensors
from soar_lib.hooks import Commit, Hooks, run_stages
from soar_lib.problems.likeness import overlap
from soar_lib.problems.load import load
from soar_lib.randomness import generator
from soar_lib.records import HARD, OTHER, TEST, TRAIN, Problem, Score
from soar_lib.settings.memory import check_memory
from soar_lib.settings.values import ConfigError
from soar_lib.student.train import problem_order
from soar_lib.svs.settings import MEASURED_TOGETHER, SVS_ARMS, ArmResult, SvsConfig
from soar_lib.svs.step import play
from soar_lib.svs.synthesis import Rephrase, Task, rephraser, solve

SETS = (TEST, HARD, OTHER)  # what is measured
Sets = dict[str, list[Problem]]  # what is learned from and measured, by name


@files.holding
def run(
    config: SvsConfig, folder: str | Path, resume: bool = False, base: Base | None = None, hooks: Hooks = Hooks()
) -> None:
    """Run all arms into a folder, or go on there; `svs.report.write` then writes the tables. `hooks.say` is told each
    finished arm; `base` saves loading one. Raises ConfigError, LoadError and RunError before anything is written."""
    folder = Path(folder)
    runs.check_folder(folder, resume, config, "arms")
    sets = problem_sets(config, folder)
    rephrase = rephraser(config.rephrasings, sets[TRAIN]) if "rephrasings" in config.arms else None
    check_memory(sized(config, sets), loaded=base is not None)
    base = base or load_for(config)
    runs.open_arms(folder, config, SVS_ARMS)
    files.write_problems(folder, sets)
    for name in (name for name in SVS_ARMS if name in config.arms):
        train_arm(config.of_arm(name), folder / name, sets, base, hooks, rephrase)
        hooks.say(f"svs: {name} is finished; everything is in {folder / name}")


def sized(config: SvsConfig, sets: Sets) -> SvsConfig:
    """The settings with the actual sizes of the measured sets, for predictions of cost."""
    return replace(config, **{f"{name}_size": len(sets[name]) for name in SETS})


def problem_sets(config: SvsConfig, folder: Path) -> Sets:
    """Training (`TRAIN`) and measured problems, of the run in `folder`, else as set. Raises ConfigError, LoadError."""
    if (folder / f"{OTHER}.jsonl").exists():  # written last
        return {name: files.read_problems(folder, name) for name in (TRAIN, *SETS)}
    sets = {}
    for name in SETS:
        where, size = getattr(config, name), getattr(config, f"{name}_size") or None
        sets[name] = load(where, seed=config.seed + 1, size=size) if where else []
    pool = load(config.problems, seed=config.seed, size=config.size or None)
    seen, _ = overlap(pool, sum(sets.values(), []))
    train = [problem for problem in pool if problem.id not in seen]
    if len(train) < config.batch:
        raise ConfigError(f"batch = {config.batch}: must be at most {len(train)}, the training problems")
    return {TRAIN: train, **sets}


@dataclass
class ArmRun:
    """The run of one arm: its settings, its slots, and the sizes of its batches, step by step and slot by slot."""

    folder: Path
    config: SvsConfig
    sets: Sets
    sizes: list[list[int]]
    learner: Learner
    rephrase: Rephrase | None = None
    shared: str = ""  # the digest of `sets`, with which the arm began
    entropy: list[float] | None = None  # per token on `test`, slot by slot, once it has been measured at the end

    @property
    def seeds(self) -> range:
        """The seeds of the arm, one per slot."""
        return range(self.config.seed, self.config.seed + self.config.seeds)

    @property
    def spent(self) -> list[int]:
        """Completions that trained each slot."""
        spent = rollouts_by_step(self.folder) if self.sizes else [[0] * len(self.seeds)]
        return [sum(column) for column in zip(*spent, strict=True)]


def train_arm(
    config: SvsConfig, folder: Path, sets: Sets, base: Base, hooks: Hooks, rephrase: Rephrase | None = None
) -> None:
    """Train and measure one arm in its folder, or go on with it; a finished one is left alone."""
    runs.check_folder(folder, resume=True)  # clears away what a killed process has left
    if (folder / "result.json").is_file():
        runs.check_same(folder, config)
        files.read_record(folder / "result.json", ArmResult)
        return
    this = runs.open_run(folder, config, resume=True)
    arm = restored(base, config, this, sets, rephrase)
    stages = [partial(_step, base, arm, step) for step in range(len(arm.sizes))]
    stages += [partial(_scores, base, arm, part) for part in SETS if sets[part]]
    run_stages(this, stages, hooks, folder.name, "step")
    for slot, seed in enumerate(arm.seeds if arm.sizes else ()):
        save_peft(arm.learner.adapters, slot, folder / "adapters" / f"seed{seed}", base.name)
    files.write_json(folder / "result.json", asdict(ArmResult(len(arm.sizes), arm.spent, arm.entropy)))


def restored(base: Base, config: SvsConfig, this: runs.Run, sets: Sets, rephrase: Rephrase | None = None) -> ArmRun:
    """The arm as its last committed step left it; untrained slots are alike. Raises RunError for changed problems."""
    draw = generator(config.seed, "svs", "adapter")
    adapters = begin(base, config, draw).select([0] * config.seeds)
    tensors, state = {"adapters": adapters.state_dict(), "optimizer": {}}, {}
    if this.round:
        tensors, state = this.load("adapters", "optimizer", shared=str | None, entropy=list[float] | None)
    sizes = batch_sizes(config, this.folder.with_name("svs"))
    adapters = adapters.load(tensors["adapters"])
    learner = make_learner(adapters, config.optimiser, len(sizes), state=tensors["optimizer"])
    shared = files.digest("".join(files.jsonl(map(asdict, part)) for part in sets.values()))
    if state.get("shared", shared) != shared:
        names = ", ".join(f"{name}.jsonl" for name in sets)
        raise files.RunError(f"{this.folder.parent}: {names} were changed since {this.folder.name} began; {files.LOST}")
    return ArmRun(this.folder, config, sets, sizes, learner, rephrase, shared, state.get("entropy"))


def batch_sizes(config: SvsConfig, svs: Path) -> list[list[int]]:
    """How many problems each slot solves in each step; with a budget, by what the arm in the folder `svs` spent."""
    plain = [config.batch] * config.seeds
    if config.budget == "steps":
        return [plain] * config.steps
    spent = [[round(rollouts / config.group) for rollouts in row] for row in rollouts_by_step(svs)]
    if config.budget == "updates":
        return spent
    return [plain] * round(sum(map(sum, spent)) / sum(plain))


def rollouts_by_step(folder: Path) -> list[list[int]]:
    """Completions that an arm drew for learning, a row per step with a number per slot."""
    table = files.read_table(folder / "metrics.csv", step=int, rollouts=int)
    return table.groupby("step")["rollouts"].agg(list).tolist()


def _commit(arm: ArmRun, **records: list[dict]) -> Commit:
    tensors = {"adapters": arm.learner.adapters.state_dict(), "optimizer": optimizer_tensors(arm.learner)}
    return tensors, {"shared": arm.shared, "entropy": arm.entropy}, records


def _step(base: Base, arm: ArmRun, step: int) -> Commit:
    rows, written = play(base, arm.learner, batches(arm, step), arm.config, step, arm.rephrase)
    every = arm.config.measure_every
    due = every and (step + 1) % every == 0 and step + 1 < len(arm.sizes) and arm.sets[TEST]
    shares, entropy = measure(base, arm, TEST, arm.config.samples) if due else (None, None)
    for slot, row in enumerate(rows):
        row["test_pass_1"] = shares[slot].mean().item() if due else None
        row["test_pass_n"] = (shares[slot] > 0).double().mean().item() if due else None
        row["test_entropy"] = entropy[slot] if due else None
    return _commit(arm, metrics=rows, problems=list(map(asdict, written)))


def batches(arm: ArmRun, step: int) -> dict[int, list[Problem]]:
    """Each seed's problems in a step: the next of its endless sequence of permutations of the training problems."""
    train, found = arm.sets[TRAIN], {}
    for slot, seed in enumerate(arm.seeds):
        start = sum(row[slot] for row in arm.sizes[:step])
        order = problem_order(len(train), start + arm.sizes[step][slot], (seed, "svs"))
        found[seed] = [train[i] for i in order[start:]]
    return found


def measure(base: Base, arm: ArmRun, part: str, samples: int) -> tuple[torch.Tensor, list[float]]:
    """Share of right samples [slots, problems], float64, on one of `SETS`, and each slot's entropy per token there. All
    arms and times have the same random numbers, so that only the policies differ."""
    config, together = replace(arm.config, group=samples), max(1, MEASURED_TOGETHER // (samples * arm.config.seeds))
    shares, logprobs, tokens = [], torch.zeros(config.seeds), torch.zeros(config.seeds)
    for start in range(0, len(arm.sets[part]), together):
        some = arm.sets[part][start : start + together]
        tasks = [
            Task(slot, problem, (seed, "measure", part, start + place))
            for slot, seed in enumerate(arm.seeds)
            for place, problem in enumerate(some)
        ]
        solved = solve(base, arm.learner.adapters, tasks, config)
        shares.append(torch.tensor(solved.right).double().mean(1).view(config.seeds, len(some)))
        logprobs.index_add_(0, solved.samples.slots.cpu(), solved.samples.logprobs.sum(1).cpu())
        tokens.index_add_(0, solved.samples.slots.cpu(), solved.samples.mask.sum(1).float().cpu())
    return torch.cat(shares, 1), (-logprobs / tokens).tolist()


def _scores(base: Base, arm: ArmRun, part: str) -> Commit:
    """One measured set; the student is a seed's only one. Notes the entropy on `test`."""
    many = part == HARD and arm.folder.name in arm.config.large_k
    n = arm.config.hard_samples if many else arm.config.samples
    shares, entropy = measure(base, arm, part, n)
    if part == TEST:
        arm.entropy = entropy
    scores = [
        asdict(Score(arm.folder.name, f"seed{seed}", 0, problem.id, n, round(share * n), spent, part))
        for seed, spent, own in zip(arm.seeds, arm.spent, shares.tolist(), strict=True)
        for problem, share in zip(arm.sets[part], own, strict=True)
    ]
    return _commit(arm, scores=scores)
