"""The settings of SvS and of its controls; the defaults are the paper's values (MATH-12k, Qwen2.5-3B-Instruct).

Each comment says where a value is stated (SvS Algorithm 1, appendix D, tables; "code" is the released trainer), and
where the paper is silent ("open") what we chose and why. Llama-3.1-8B-Instruct has the same values: name it as model.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from soar_lib.settings.student import BaseSettings, Cost, OptimiserSettings, Phase, table
from soar_lib.settings.values import change, require, require_all

# What an arm changes in the settings (presets.toml). An arm with a budget spends what `svs` spent, so it runs after it.
MAIN = ("base", "rlvr", "svs", "rlvr_equal_rollouts", "second_rollout")  # those of the paper's main claims
SVS_ARMS: dict[str, dict[str, Any]] = table()["svs_arms"]
MEASURED_TOGETHER = 4096  # completions of a measurement in memory together, as far as problems can be parted
FURTHER = ("variants", "originals", "rephrasings", "nothing")
BUDGETS = ("steps", "rollouts", "updates")


@dataclass(frozen=True)
class ArmResult:
    """What the result.json of a finished arm holds, seed by seed: completions, and entropy per token on `test`."""

    steps: int
    rollouts: list[int]
    entropy: list[float] | None


@dataclass(frozen=True)
class GuardSettings:
    """Guards and limits beyond the accuracy bands, which are all that the paper has; all off by default."""

    leaks: bool = False  # a variant that gives its answer or a hint away is not solved and earns 0
    duplicates: bool = False  # nor is a near duplicate of the original or of an earlier variant of it in this step
    similarity: float = 0.8  # share of common words from which two texts with the same numbers are near duplicates
    solutions: int = 0  # most correct solutions of one problem that become seeds, 0: all
    rows: int = 0  # most completions of a step that are learned from, cut by whole groups at random, 0: all

    def __post_init__(self) -> None:
        require_all(self, from_zero=("solutions", "rows"))
        require(self, "similarity", 0 < self.similarity <= 1, "more than 0 and at most 1")


@dataclass(frozen=True)
class SvsConfig(BaseSettings, command="svs"):
    """SvS (Algorithm 1) and its controls, each on every seed. The paper's letter for a field opens its comment."""

    model: str = "Qwen/Qwen2.5-3B-Instruct"  # section 5.1
    problems: str = "math_12k.jsonl"  # section 5.1: MATH without the 500 problems that are measured; a file to provide
    size: int = 0  # drawn from them, 0: all of a file
    test: str = "math_500.jsonl"  # those 500; a file to provide
    test_size: int = 500
    hard: str = "hub:aime25"  # pass@k at large k is measured here; Fig. 6 has AIME 2024 and 2025 together
    hard_size: int = 30
    other: str = ""  # answers of another type, which no arm trains on; Table 2 finds SvS below RLVR on such
    other_size: int = 0
    rephrasings: str = ""  # a JSONL file (id, question) for the arm of that name, which needs it
    arms: tuple[str, ...] = tuple(name for name in SVS_ARMS if name != "rephrasings")
    seed: int = 0  # the first seed; it draws the problems too
    seeds: int = 3  # runs per arm, trained together; the paper seems to have one
    steps: int = 300  # section 5.1: MATH-12k; 600 on DAPO-17k
    batch: int = 256  # problems per step, D.1
    group: int = 8  # G: solutions per problem and per variant, D.1
    variants: int = 8  # Gv: problems written from one correct solution, D.1
    seed_low: float = 0.125  # D.1: a problem is under-performing from this share of right solutions
    seed_high: float = 0.5  # D.1: up to this one; both ends count (Algorithm 1 prints them open, text and code do not)
    reward_low: float = 0.125  # D.1: writing a variant is paid from this share of solutions with the original answer
    reward_high: float = 0.625  # D.1: up to this one
    further: str = "variants"  # what the rollouts beyond the originals are spent on
    budget: str = "steps"  # "rollouts", "updates": as `svs` spent, in steps of `batch` problems or in as many steps
    train_synthesis: bool = True  # whether writing variants is learned
    max_prompt_tokens: int = 4096  # code: seeds and variants with longer prompts are dropped
    max_new_tokens: int = 8192  # code
    temperature: float = 1.0  # D.1, for solving and writing alike
    samples: int = 32  # per problem of test and other; D.2: pass@1 is the mean of 32
    hard_samples: int = 1024  # per problem of hard, in the arms of `large_k`; Fig. 6 goes to k = 1024
    large_k: tuple[str, ...] = tuple(SVS_ARMS)  # other arms draw `samples` per hard problem
    ks: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # Fig. 6
    measure_every: int = 0  # steps between measurements of pass@1 and pass@k of all `samples` on test; 0: the end only
    rows: int = 1024  # completions in memory together; changes speed, and results by rounding only
    rank: int = 64  # of the LoRA adapter; the paper trains all weights
    alpha: float = 64.0
    guards: GuardSettings = GuardSettings()
    # Appendix D and code: constant rate, no warm-up, no KL, asymmetric clip.
    optimiser: OptimiserSettings = OptimiserSettings(1e-6, "constant", kl=0.0, clip_high=0.28, weight_decay=0.01)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("seeds", "batch", "max_prompt_tokens", "max_new_tokens", "temperature", "samples"))
        require_all(self, ("hard_samples", "rows", "rank", "alpha"), further=FURTHER, budget=BUDGETS)
        require_all(self, from_zero=("size", "test_size", "hard_size", "other_size", "steps", "measure_every"))
        for name in ("group", "variants"):
            require(self, name, getattr(self, name) >= 2, "2 or more: a lone completion has no baseline")
        for part in ("seed", "reward"):
            low, high = getattr(self, f"{part}_low"), getattr(self, f"{part}_high")
            require(self, f"{part}_high", 0 <= low <= high <= 1, f"between {part}_low = {low} and 1")
        require(self, "optimiser.warmup", self.optimiser.warmup <= self.steps, f"at most steps = {self.steps}")
        ks = 1 in self.ks and 1 <= min(self.ks) and max(self.ks) <= self.hard_samples
        require(self, "ks", ks, f"between 1 and hard_samples = {self.hard_samples}, 1 among them")
        self._check_arms()

    def _check_arms(self) -> None:
        for name in ("arms", "large_k"):
            known = set(getattr(self, name)) <= SVS_ARMS.keys()
            require(self, name, known and bool(self.arms), f"some of {', '.join(SVS_ARMS)}")
        spends = [name for name in self.arms if "budget" in SVS_ARMS[name] and self.budget == "steps"]
        rule = f"with svs: {', '.join(spends)} spend what it did"
        require(self, "arms", "svs" in self.arms or not spends, rule)
        needed = "rephrasings" in self.arms or self.further == "rephrasings"
        rule = "a JSONL file of rephrasings (fields id and question), or leave the arm rephrasings out"
        require(self, "rephrasings", bool(self.rephrasings) or not needed, rule)

    @property
    def seed_counts(self) -> range:
        """The numbers of right solutions, of `group`, that make a problem under-performing: 1 to 4 of 8."""
        return _band(self.seed_low, self.seed_high, self.group)

    @property
    def reward_counts(self) -> range:
        """The numbers of solutions with the original answer for which a variant is paid: 1 to 5 of 8."""
        return _band(self.reward_low, self.reward_high, self.group)

    def of_arm(self, name: str) -> "SvsConfig":
        """The settings of one arm's run, by its name in `SVS_ARMS`."""
        return change(self, SVS_ARMS[name] | {"arms": (name,)})

    def counts(self, problems: int = 0) -> Cost:
        """The cost of all arms and seeds, if every number of right solutions is equally likely; the tokens are at most
        those of a run in which every problem has the most seeds."""
        rollouts = most = 0
        for name in self.arms:
            arm = self.of_arm(name)
            spends = arm if arm.budget == "steps" else self
            between = max(0, arm.steps - 1) // arm.measure_every if arm.measure_every else 0  # before the last step
            hard = arm.hard_samples if name in self.large_k else arm.samples
            measured = (arm.test_size * (1 + between) + arm.other_size) * arm.samples + arm.hard_size * hard
            likely, highest = (spends.steps * spends.batch * (spends.group + more) for more in spends.beyond())
            rollouts += self.seeds * (likely + measured)
            most += self.seeds * (highest + measured)
        return Cost(round(rollouts), 0, most * self.max_new_tokens, most_rollouts=round(rollouts))

    def beyond(self) -> tuple[float, int]:
        """Completions beyond a problem's first `group`: mean, if all numbers right are equally likely, and maximum."""
        counts = [min(count, self.guards.solutions or self.group) for count in self.seed_counts]
        each = {
            "variants": [count * self.variants * (1 + self.group) for count in counts],
            "rephrasings": [count * self.variants * self.group for count in counts],
            "originals": [self.group] * len(counts), "nothing": [],
        }[self.further]  # fmt: skip
        return sum(each) / (self.group + 1), max(each, default=0)

    def phases(self, problems: int = 0, runs: int = 1) -> list[Phase]:
        """The phases of a run that hold memory, one arm's seeds at a time. A step has the completions of `counts`, on
        average; every prompt counts as if it held a whole solution, as those for writing do."""
        ranks, tokens = 4 * self.seeds * self.rank, self.max_new_tokens
        rows = self.seeds * round(self.batch * (self.group + self.beyond()[0]))
        found = [
            Phase.sampling("sampling", ranks, rows, self.group, tokens, self.rows),
            Phase.learning("learning", ranks, rows, self.group, tokens, self.optimiser, ""),
        ]
        found = [replace(phase, prompt=phase.prompt + tokens) for phase in found]
        for size, name in ((self.test_size, "samples"), (self.hard_size, "hard_samples")):
            samples = getattr(self, name)
            drawn = min(max(1, size) * samples * self.seeds, max(MEASURED_TOGETHER, samples * self.seeds))
            found.append(Phase.sampling("measuring", ranks, drawn, samples, tokens, self.rows, name))
        return found


def _band(low: float, high: float, count: int) -> range:
    """The counts of `count` whose share lies between `low` and `high`, both included."""
    return range(math.ceil(low * count - 1e-9), math.floor(high * count + 1e-9) + 1)
