"""The settings of an evaluation of SOAR runs; defaults and comments as in soar/settings.py."""

from dataclasses import dataclass, replace

from soar_lib.settings.student import BaseSettings, Cost, OptimiserSettings, Phase, StudentSettings
from soar_lib.settings.values import require, require_all

# What an evaluation can measure; soar/arms.py says what each one is.
INFERENCE_ARMS = ("base", "ps", "self_answer")
TRAINED_ARMS = (
    "hard_only", "hard_only_x4", "pq", "grounded_t", "base_t", "correct_only", "well_posed", "oracle_small",
    "oracle_full",
)  # fmt: skip
SAMPLED_ARMS = ("grounded_t", "base_t")  # whose problems a teacher writes for the evaluation


@dataclass(frozen=True)
class EvaluateConfig(BaseSettings, command="evaluate"):
    """Fresh students on each data set, then pass@k on hard test (SOAR sections 4.3, B.6, B.8)."""

    problems: str = ""  # filter run's folder with hard train and hard test; empty: the one the SOAR run used
    transfer: str = ""  # another filter run's folder: all its hard problems are tested too and never trained on
    oracle: str = ""  # real problems: a set's name or a filter run's folder; empty: the pool's that are not hard
    seed: int = 0
    arms: tuple[str, ...] = ("base", "hard_only", "pq", "ps", "grounded_t")  # section 4.3
    label: str = ""  # ends the names of arms that stand on these SOAR runs, to tell them from other settings' runs
    checkpoint: str = "last"  # B.8 averages 200 later steps, chosen by the training reward; we measure the last step
    students: int = 3  # fresh students per arm and SOAR run; B.8: 3 or more per PQ set
    synthetic_steps: int = 64  # B.6: MATH, synthetic problems only for 64 steps, then hard real ones
    own_draws: bool = False  # True: each student has its own draw of the teacher's problems; section 4.3: one for all
    teacher_samples: int = 128  # problems sampled from a teacher, and real ones in oracle_small; section 4.3
    samples: int = 32  # per problem for pass@k, section 4.3
    ks: tuple[int, ...] = (1, 4, 8, 16, 32)  # section 4.3
    rows: int = 1024  # completions in memory together; changes speed, and results by rounding only
    together: int = 0  # students trained as one population, between two commits; 0: all. Results as with `rows`
    student: StudentSettings = StudentSettings(steps=1500, optimiser=OptimiserSettings(warmup=20))  # B.8: up to 1500

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("students", "teacher_samples", "samples", "rows"), ("together",))
        require(self, "checkpoint", self.checkpoint == "last", "'last': test scores choose no checkpoint")
        known = INFERENCE_ARMS + TRAINED_ARMS
        require(self, "arms", bool(self.arms) and set(self.arms) <= set(known), f"some of {', '.join(known)}")
        ks = bool(self.ks) and 1 <= min(self.ks) and max(self.ks) <= self.samples
        require(self, "ks", ks, f"between 1 and samples = {self.samples}")
        steps = self.student.steps
        require(self, "synthetic_steps", 0 <= self.synthetic_steps <= steps, f"between 0 and student.steps = {steps}")

    def counts(self, problems: int = 0) -> Cost:
        """The cost of evaluating one SOAR run on so many test problems."""
        arms = set(self.arms)
        trained = len(arms & set(TRAINED_ARMS)) + (3 if "hard_only_x4" in arms else 0)
        rollouts = self.students * (trained * self.student.rollouts + len(arms) * problems * self.samples)
        draws = self.students if self.own_draws else 1
        samples = len(arms & set(SAMPLED_ARMS)) * self.teacher_samples * draws
        return Cost(rollouts, samples, rollouts * self.student.max_new_tokens, most_rollouts=rollouts)

    def phases(self, problems: int = 0, runs: int = 1) -> list[Phase]:
        """The phases of an evaluation of `runs` SOAR runs that hold memory: training the students, and their scores."""
        student, found = self.student, []
        everyone = runs * self.students * len(set(self.arms) & set(TRAINED_ARMS))
        kept = (everyone + 2 * runs) * student.rank  # of each run teacher and promoted student, as of that rank
        if everyone:
            together = min(everyone, self.together or everyone)
            wide = replace(student, group=4 * student.group) if "hard_only_x4" in self.arms else student
            placing = Phase("placing", kept + 2 * (everyone + together) * student.rank)
            found = [*wide.phases(together, kept, self.rows), placing]
        rows, tokens = self.students * max(1, problems) * self.samples, student.max_new_tokens
        return [*found, Phase.sampling("scores", kept, rows, self.samples, tokens, self.rows, "samples")]
