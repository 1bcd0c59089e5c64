"""The settings of SvS and of its controls; the defaults are the paper's values (MATH-12k, Qwen2.5-3B-Instruct).

Each comment says where a value is stated (SvS Algorithm 1, appendix D, tables; "code" is the released trainer), and
where the paper is silent ("open") what we chose and why. Llama-3.1-8B-Instruct has the same values: name it as model.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from soar_lib.settings.student import BACKENDS, OptimiserSettings
from soar_lib.settings.values import change, require, require_at_least_zero, require_positive

# What an arm changes in the settings. An arm with a budget spends what `svs` spent, so it runs after it.
SVS_ARMS: dict[str, dict[str, Any]] = {
    "base": {"steps": 0},
    "rlvr": {"further": "nothing"},
    "svs": {},
    "rlvr_equal_rollouts": {"further": "nothing", "budget": "rollouts"},  # Table 3: longer, to equal pairs
    "rlvr_equal_updates": {"further": "nothing", "budget": "updates"},  # the same rollouts in as many updates as svs
    "second_rollout": {"further": "originals"},  # Table 3: the paper's key control
    "rephrasings": {"further": "rephrasings"},  # in the place of variants; the paper adds some to the data (section 3)
    "svs_easier_seeds": {"seed_low": 0.375, "seed_high": 0.75},  # Table 3: the band shifted
    "svs_no_reward": {"train_synthesis": False},  # variants are solved, writing them is not trained
    "svs_any_correct": {"reward_high": 1.0},  # Fig. 18: any right solver is enough
    "svs_guarded": {
        "guards.leaks": True, "guards.duplicates": True, "guards.solutions": 2, "guards.rows": 1024,
    },
}  # fmt: skip
MEASURED_TOGETHER = 4096  # completions of a measurement in memory together, as far as problems can be parted
FURTHER = ("variants", "originals", "rephrasings", "nothing")
BUDGETS = ("steps", "rollouts", "updates")


@dataclass(frozen=True)
class GuardSettings:
    """What the paper leaves to the accuracy bands alone; all off by default."""

    leaks: bool = False  # a variant that gives its answer or a hint away is not solved and earns 0
    duplicates: bool = False  # nor is a near duplicate of the original or of an earlier variant of it in this step
    similarity: float = 0.8  # share of common words from which two texts with the same numbers are near duplicates
    solutions: int = 0  # most correct solutions of one problem that become seeds, 0: all
    rows: int = 0  # most completions of a step that are learned from, cut by whole groups at random, 0: all

    def __post_init__(self) -> None:
        require_at_least_zero(self, "solutions", "rows")
        require(0 < self.similarity <= 1, "similarity", self.similarity, "more than 0 and at most 1")


def _optimiser() -> OptimiserSettings:
    """Appendix D and code: constant rate, no warm-up, no KL, asymmetric clip."""
    return OptimiserSettings(
        learning_rate=1e-6, schedule="constant", kl=0.0, clip_low=0.2, clip_high=0.28, weight_decay=0.01
    )


@dataclass(frozen=True)
class SvsConfig:
    """SvS (Algorithm 1) and its controls, each on every seed. The paper's letter for a field opens its comment."""

    model: str = "Qwen/Qwen2.5-3B-Instruct"  # section 5.1
    backend: str = "transformers"  # open; the library that loads the base (engine/backends.py)
    four_bit: bool = False  # open; the base's linear layers in 4 bits, for small GPUs
    remote_code: bool = False  # open; True runs code from the model's repository, which few models need
    graphs: bool = False  # open; decoding steps as CUDA graphs (engine/graphs.py): changes speed
    problems: str = "math_12k.jsonl"  # section 5.1: MATH without the 500 problems that are measured; a file to provide
    size: int = 0  # drawn from them, 0: all of a file
    test: str = "math_500.jsonl"  # those 500; a file to provide
    test_size: int = 500
    hard: str = "hub:aime25"  # pass@k at large k is measured here; Fig. 6 has AIME 2024 and 2025 together
    hard_size: int = 30
    other: str = ""  # answers of another type, which no arm trains on; Table 2 finds SvS below RLVR on such
    other_size: int = 0
    rephrasings: str = ""  # a JSONL file (id, question) for the arm of that name, which needs it; "nano": written there
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
    guards: GuardSettings = field(default_factory=GuardSettings)
    optimiser: OptimiserSettings = field(default_factory=_optimiser)

    def __post_init__(self) -> None:
        require(self.backend in BACKENDS, "backend", self.backend, f"one of {', '.join(BACKENDS)}")
        require_positive(
            self, "seeds", "batch", "max_prompt_tokens", "max_new_tokens", "temperature", "samples", "hard_samples",
            "rows", "rank", "alpha",
        )  # fmt: skip
        require_at_least_zero(self, "size", "test_size", "hard_size", "other_size", "steps", "measure_every")
        for name in ("group", "variants"):
            require(getattr(self, name) >= 2, name, getattr(self, name), "2 or more: a lone completion has no baseline")
        for low, high in (("seed_low", "seed_high"), ("reward_low", "reward_high")):
            edges = getattr(self, low), getattr(self, high)
            require(0 <= edges[0] <= edges[1] <= 1, high, edges[1], f"between {low} = {edges[0]} and 1")
        require(self.further in FURTHER, "further", self.further, f"one of {', '.join(FURTHER)}")
        require(self.budget in BUDGETS, "budget", self.budget, f"one of {', '.join(BUDGETS)}")
        require(
            self.optimiser.warmup <= self.steps, "optimiser.warmup", self.optimiser.warmup,
            f"at most steps = {self.steps}",
        )  # fmt: skip
        self._check_arms()
        self._check_ks()

    def _check_arms(self) -> None:
        for name in ("arms", "large_k"):
            chosen = getattr(self, name)
            require(set(chosen) <= SVS_ARMS.keys(), name, chosen, f"some of {', '.join(SVS_ARMS)}")
        require(bool(self.arms), "arms", self.arms, f"some of {', '.join(SVS_ARMS)}")
        spends = [name for name in self.arms if "budget" in SVS_ARMS[name] and self.budget == "steps"]
        rule = f"with svs: {', '.join(spends)} spend what it did"
        require("svs" in self.arms or not spends, "arms", self.arms, rule)
        rephrased = "rephrasings" in self.arms or self.further == "rephrasings"
        require(
            bool(self.rephrasings) or not rephrased, "rephrasings", self.rephrasings,
            "a JSONL file of rephrasings (fields id and question), or leave the arm rephrasings out",
        )  # fmt: skip

    def _check_ks(self) -> None:
        rule = f"between 1 and hard_samples = {self.hard_samples}, 1 among them"
        require(1 in self.ks and 1 <= min(self.ks) and max(self.ks) <= self.hard_samples, "ks", self.ks, rule)

    @property
    def seed_counts(self) -> range:
        """The numbers of right solutions, of `group`, that make a problem under-performing: 1 to 4 of 8."""
        return _band(self.seed_low, self.seed_high, self.group)

    @property
    def reward_counts(self) -> range:
        """The numbers of solutions with the original answer for which a variant is paid: 1 to 5 of 8."""
        return _band(self.reward_low, self.reward_high, self.group)

    def of_arm(self, name: str) -> "SvsConfig":
        """The settings of one arm's run."""
        return change(self, SVS_ARMS[name] | {"arms": (name,)})


def _band(low: float, high: float, count: int) -> range:
    """The counts of `count` whose share lies between `low` and `high`, both included."""
    return range(math.ceil(low * count - 1e-9), math.floor(high * count + 1e-9) + 1)
