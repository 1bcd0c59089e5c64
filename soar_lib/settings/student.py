"""The settings that all three methods share: an optimiser, a student, the base, and fail@k filtering.

Each comment says where SOAR states a value (Table 3, sections B.2 to B.8), and where the paper is silent ("open") what
we chose and why.
"""

from dataclasses import dataclass, field

from soar_lib.records import Draw
from soar_lib.settings.values import require, require_at_least_zero, require_positive

CHECKS = ("answer", "integral")  # problems/checks.py says what each compares
BACKENDS = ("transformers", "unsloth", "vllm")  # engine/backends.py says what each is
TRAINERS = ("stack", "trl")  # student/train.py's population, or student/trl.py's students one after another
BASE_SETTINGS = ("model", "backend", "four_bit", "remote_code", "graphs")  # the same in all that belongs together


@dataclass(frozen=True)
class OptimiserSettings:
    """One AdamW and one policy-gradient loss; teacher and students differ in these values only."""

    learning_rate: float = 1e-5  # Table 3. Stated for what looks like full fine-tuning; LoRA usually wants 10x
    schedule: str = "cosine"  # Table 3 "cosine"; horizon open: the run's own number of steps
    warmup: int = 0  # Table 3: 0 in the inner loop, 20 for the teacher and in evaluation
    kl: float = 0.001  # Table 3. Open: estimator (k3, in the loss) and reference (where the run began)
    clip_low: float = 0.2  # open; idle while there is one update per batch, as here
    clip_high: float = 0.2  # open; see clip_low
    max_grad_norm: float = 1.0  # open; per adapter, never over the stack
    weight_decay: float = 0.0  # open; LoRA matrices start small and stay small
    betas: tuple[float, float] = (0.9, 0.999)  # open; AdamW's usual values
    max_tokens: int = 4096  # completion tokens in one backward pass: memory, speed, and results by rounding only
    gradient_checkpointing: bool = False  # layers are computed again in the backward pass: slower, less memory

    def __post_init__(self) -> None:
        require_positive(self, "learning_rate", "max_grad_norm", "max_tokens")
        require_at_least_zero(self, "warmup", "kl", "clip_low", "clip_high", "weight_decay")
        require(self.schedule in ("cosine", "constant"), "schedule", self.schedule, "'cosine' or 'constant'")
        require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "betas",
            self.betas,
            "two numbers in [0, 1)",
        )


@dataclass(frozen=True)
class StudentSettings:
    """One RLOO run of a student (SOAR section 3.3, Table 3); S of them run as one population."""

    steps: int = 10  # B.7, inner loop; evaluation has 1500
    batch: int = 8  # questions per step, Table 3
    group: int = 32  # rollouts per question, Table 3
    max_new_tokens: int = 1024  # Table 3
    temperature: float = 1.0  # Table 3
    rank: int = 64  # of the LoRA adapter; the paper trains all weights as far as one can tell
    alpha: float = 64.0  # open; alpha = rank, so the adapter's output is added unscaled
    advantage: str = "rloo"  # Table 3; "grpo", standardised within the group, is LADDER's
    trainer: str = "stack"  # ours, all students at once; "trl": TRL's trainers, for few students that learn long
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)

    def __post_init__(self) -> None:
        require_positive(self, "steps", "batch", "max_new_tokens", "temperature", "rank", "alpha")
        require(self.group >= 2, "group", self.group, "2 or more: leave-one-out needs another rollout")
        require(self.advantage in ("rloo", "grpo"), "advantage", self.advantage, "'rloo' or 'grpo'")
        require(self.trainer in TRAINERS, "trainer", self.trainer, f"one of {', '.join(TRAINERS)}")
        require(
            self.optimiser.warmup < self.steps, "optimiser.warmup", self.optimiser.warmup, f"below steps = {self.steps}"
        )

    def draw(self, rows: int) -> Draw:
        """How a student's completions are drawn, `rows` of them at a time."""
        return Draw(self.max_new_tokens, self.temperature, rows)


@dataclass(frozen=True)
class FilterConfig:
    """fail@k filtering of a problem pool and the split of what stays (SOAR B.5)."""

    model: str = "meta-llama/Llama-3.2-3B-Instruct"  # section 4.1; the model that is trained later
    backend: str = "transformers"  # open; the library that loads the base (engine/backends.py)
    four_bit: bool = False  # open; the base's linear layers in 4 bits, for small GPUs
    remote_code: bool = False  # open; True runs code from the model's repository, which few models need
    graphs: bool = False  # open; decoding steps as CUDA graphs (engine/graphs.py): changes speed
    problems: str = "hub:math_test"  # B.5: the official test split of MATH; or a JSONL file, or a generated set's name
    size: int = 0  # problems drawn from the pool, B.5: all; 0: all of a file, 500 of a generated set
    seed: int = 0
    k: int = 128  # B.5: samples per problem; problems with 0 of k right are hard
    max_new_tokens: int = 1024  # B.5
    temperature: float = 1.0  # B.5
    train_fraction: float = 0.5  # B.5: random 50/50 split into hard train and hard test
    check: str = "answer"  # what counts as right: the reference answer; "integral": what differentiates to the question
    rows: int = 256  # completions sampled together; changes speed only, never the result

    def __post_init__(self) -> None:
        require(self.backend in BACKENDS, "backend", self.backend, f"one of {', '.join(BACKENDS)}")
        require_positive(self, "k", "max_new_tokens", "temperature", "rows")
        require_at_least_zero(self, "size")
        require(0 < self.train_fraction < 1, "train_fraction", self.train_fraction, "between 0 and 1")
        require(self.check in CHECKS, "check", self.check, f"one of {', '.join(CHECKS)}")
