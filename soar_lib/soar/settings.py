"""The settings of a SOAR run and of its evaluation; the defaults are the paper's values.

Each comment says where a value is stated (SOAR Table 3, sections B.2 to B.8), and where the paper is silent ("open")
what we chose and why.
"""

from dataclasses import dataclass, field

from soar_lib.settings.student import BACKENDS, OptimiserSettings, StudentSettings
from soar_lib.settings.values import require, require_at_least_zero, require_positive


@dataclass(frozen=True)
class TeacherSettings:
    """How the teacher writes and learns (SOAR section 3.2, B.2, Table 3). Table 3 also gives a batch size of 2,
    whose meaning is open; we follow Algorithm 1, one group of g data sets per step."""

    max_new_tokens: int = 512  # Table 3
    temperature: float = 1.0  # Table 3
    draw: int = 64  # completions drawn at a time; changes speed only, never the result
    max_attempts: int = 20  # completions per problem wanted before giving up; open in the paper
    turns: int = 1  # 1: question and answer in one completion; 2: the answer in a second turn (D.3's ablation)
    rank: int = 64  # as the student's; the paper trains all weights as far as one can tell
    alpha: float = 64.0
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(warmup=20))

    def __post_init__(self) -> None:
        require_positive(self, "max_new_tokens", "temperature", "draw", "max_attempts", "rank", "alpha")
        require(self.turns in (1, 2), "turns", self.turns, "1 or 2")


@dataclass(frozen=True)
class SoarConfig:
    """One SOAR run (Algorithm 1). The paper's letter for a field opens its comment."""

    model: str = "meta-llama/Llama-3.2-3B-Instruct"  # section 4.1
    backend: str = "transformers"  # open; the library that loads the base (engine/backends.py)
    four_bit: bool = False  # open; the base's linear layers in 4 bits, for small GPUs
    remote_code: bool = False  # open; True runs code from the model's repository, which few models need
    graphs: bool = False  # open; decoding steps as CUDA graphs (engine/graphs.py): changes speed
    problems: str = ""  # hard train set: a JSONL file, or a filter run's folder; empty: commands filter the pool first
    seed: int = 0
    rounds: int = 200  # T: outer steps, section 4.3
    datasets: int = 4  # g: data sets per round, the teacher's RLOO group, Table 3
    repeats: int = 4  # r: students per data set, B.7
    dataset_size: int = 64  # n: problems per data set, B.7
    reward: str = "grounded"  # "intrinsic": section 4.3's baseline, paid by the baseline student's success rate
    intrinsic_samples: int = 32  # completions per question for the intrinsic reward, B.4
    reward_set: int = 64  # |Q_R|: drawn without replacement (open) from hard train in each round, B.7
    reward_samples: int = 0  # 0: greedy accuracy, as the paper; s > 0: mean accuracy of s samples per problem
    promotion: bool = True  # section 7's ablation turns it off
    window: int = 3  # m: rounds in the moving average, B.7
    threshold: float = 0.01  # tau, B.7
    extra_steps: int = 5  # inner steps added by each promotion, B.7
    max_steps: int = 20  # most inner steps; section 6 speaks of 10 to 20
    rows: int = 1024  # completions in memory together; changes speed, and results by rounding only
    student: StudentSettings = field(default_factory=StudentSettings)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)

    def __post_init__(self) -> None:
        require(self.backend in BACKENDS, "backend", self.backend, f"one of {', '.join(BACKENDS)}")
        require_positive(self, "rounds", "repeats", "dataset_size", "intrinsic_samples", "reward_set", "window", "rows")
        require(self.reward in ("grounded", "intrinsic"), "reward", self.reward, "'grounded' or 'intrinsic'")
        require(
            not (self.reward == "intrinsic" and self.promotion),
            "promotion",
            self.promotion,
            "False where reward = 'intrinsic': it trains no student that could be promoted; set promotion to false",
        )
        require(
            self.student.trainer == "stack", "student.trainer", self.student.trainer,
            "'stack' in a SOAR run, where datasets x repeats students learn at once in each round",
        )  # fmt: skip
        require_at_least_zero(self, "reward_samples", "extra_steps", "threshold")
        require(self.datasets >= 2, "datasets", self.datasets, "2 or more: leave-one-out needs another data set")
        require(
            self.student.batch <= self.dataset_size,
            "student.batch",
            self.student.batch,
            f"at most dataset_size = {self.dataset_size}: a step takes its questions from one data set",
        )
        require(
            self.max_steps >= self.student.steps,
            "max_steps",
            self.max_steps,
            f"at least student.steps = {self.student.steps}",
        )
        warmup = self.teacher.optimiser.warmup
        require(warmup < self.rounds, "teacher.optimiser.warmup", warmup, f"below rounds = {self.rounds}")

    def inner_steps(self, promotions: int) -> int:
        """Steps of an inner run after so many promotions (B.7: "+5")."""
        return min(self.student.steps + self.extra_steps * promotions, self.max_steps)


# What an evaluation can measure; soar/arms.py says what each one is.
INFERENCE_ARMS = ("base", "ps", "self_answer")
TRAINED_ARMS = (
    "hard_only", "hard_only_x4", "pq", "grounded_t", "base_t", "correct_only", "well_posed", "oracle_small",
    "oracle_full",
)  # fmt: skip
SAMPLED_ARMS = ("grounded_t", "base_t")  # whose problems a teacher writes for the evaluation


@dataclass(frozen=True)
class EvaluateConfig:
    """Fresh students on each data set, then pass@k on hard test (SOAR sections 4.3, B.6, B.8)."""

    model: str = "meta-llama/Llama-3.2-3B-Instruct"
    backend: str = "transformers"  # open; the library that loads the base (engine/backends.py)
    four_bit: bool = False  # open; the base's linear layers in 4 bits, for small GPUs
    remote_code: bool = False  # open; True runs code from the model's repository, which few models need
    graphs: bool = False  # open; decoding steps as CUDA graphs (engine/graphs.py): changes speed
    problems: str = ""  # filter run's folder with hard train and hard test; empty: the one the SOAR run used
    transfer: str = ""  # another filter run's folder: all its hard problems are tested too and never trained on
    oracle: str = ""  # real problems: a set's name or a filter run's folder; empty: the pool's that are not hard
    seed: int = 0
    arms: tuple[str, ...] = ("base", "hard_only", "pq", "ps", "grounded_t")  # section 4.3
    label: str = ""  # ends the names of arms that stand on these SOAR runs, to tell them from other settings' runs
    checkpoint: str = "last"  # B.8 averages 200 later steps, chosen by the training reward; we measure the last step
    students: int = 3  # fresh students per arm and SOAR run; B.8: 3 or more per PQ set
    synthetic_steps: int = 64  # B.6: MATH, synthetic problems only for 64 steps, then hard real ones
    teacher_samples: int = 128  # problems sampled from a teacher, and real ones in oracle_small; section 4.3
    samples: int = 32  # per problem for pass@k, section 4.3
    ks: tuple[int, ...] = (1, 4, 8, 16, 32)  # section 4.3
    rows: int = 1024  # completions in memory together; changes speed, and results by rounding only
    together: int = 0  # students trained as one population, between two commits; 0: all. Results as with `rows`
    # B.8: up to 1500 steps, warm-up 20
    student: StudentSettings = field(
        default_factory=lambda: StudentSettings(steps=1500, optimiser=OptimiserSettings(warmup=20))
    )

    def __post_init__(self) -> None:
        require(self.backend in BACKENDS, "backend", self.backend, f"one of {', '.join(BACKENDS)}")
        require_positive(self, "students", "teacher_samples", "samples", "rows")
        require_at_least_zero(self, "together")
        require(self.checkpoint == "last", "checkpoint", self.checkpoint, "'last': test scores choose no checkpoint")
        known = INFERENCE_ARMS + TRAINED_ARMS
        require(bool(self.arms) and set(self.arms) <= set(known), "arms", self.arms, f"some of {', '.join(known)}")
        require(
            bool(self.ks) and 1 <= min(self.ks) and max(self.ks) <= self.samples,
            "ks",
            self.ks,
            f"between 1 and samples = {self.samples}",
        )
        require(
            0 <= self.synthetic_steps <= self.student.steps,
            "synthetic_steps",
            self.synthetic_steps,
            f"between 0 and student.steps = {self.student.steps}",
        )
