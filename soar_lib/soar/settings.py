"""The settings of a SOAR run; the defaults are the paper's values. Each comment says where a value is stated (Table 3,
sections 4.3 and B.2 to B.8), and where the paper is silent ("open") what we chose."""

from dataclasses import dataclass

from soar_lib.settings.student import ADVANTAGES, BaseSettings, Cost, OptimiserSettings, Phase, StudentSettings
from soar_lib.settings.values import RECORDED, require, require_all

# Fields of a line of an evaluation's problems.jsonl beside the problem's own, and columns of a study arm's values.csv.
OWNER = {"source": int, "student": int | None, "arm": str}
VALUED = {"seed": int, "teacher": ("trained", "untrained"), "value": float, "sets": int, "advice": "delete it"}
PROMOTIONS = 4  # baselines kept beside the first, for the memory; SOAR section 4.3: the most that were seen


@dataclass(frozen=True)
class TeacherSettings:
    """How the teacher writes and learns (SOAR section 3.2, B.2, Table 3). Table 3 also gives a batch size of 2, whose
    meaning is open; we follow Algorithm 1, one group of g data sets per step."""

    max_new_tokens: int = 512  # Table 3
    temperature: float = 1.0  # Table 3
    draw: int = 64  # completions drawn at a time; changes speed only, never the result
    max_attempts: int = 20  # completions per problem wanted before giving up; open in the paper
    forgive_tags: bool = False  # True: a second opening tag closes the first, a slip of small models
    advantage: str = "rloo"  # Table 3; "grpo": standardised, so that steps do not shrink with the rewards' spread
    turns: int = 1  # 1: question and answer in one completion; 2: the answer in a second turn (D.3's ablation)
    rank: int = 64  # as the student's; the paper trains all weights as far as one can tell
    alpha: float = 64.0
    optimiser: OptimiserSettings = OptimiserSettings(warmup=20)

    def __post_init__(self) -> None:
        require_all(self, ("max_new_tokens", "temperature", "draw", "max_attempts", "rank", "alpha"))
        require_all(self, advantage=ADVANTAGES)
        require(self, "turns", self.turns in (1, 2), "1 or 2")


# Named rewards, a line each: what a name stands for ("module:function"). Functions have the call form of
# soar/rewards.py's `TeacherReward` and of student/train.py's `StudentReward`.
TEACHER_REWARDS = {name: f"soar_lib.soar.rewards:{name}" for name in ("grounded", "intrinsic")}
STUDENT_REWARDS = {"soar": "soar_lib.soar.rewards:student_rewards", "right": "soar_lib.soar.rewards:right_rewards"}
UNTRAINED = ("intrinsic",)  # of the teacher's: train no student, so that nobody can be promoted, and cost less


@dataclass(frozen=True)
class SoarConfig(BaseSettings, command="soar"):
    """Settings of a SOAR run (Algorithm 1). In the source, a field's comment begins with the paper's symbol."""

    problems: str = ""  # hard train set: a JSONL file, or a filter run's folder; empty: commands filter the pool first
    seed: int = 0
    rounds: int = 200  # T: outer steps, section 4.3
    datasets: int = 4  # g: data sets per round, the teacher's RLOO group, Table 3
    repeats: int = 4  # r: students per data set, B.7
    promotion_repeats: int = 0  # students trained anew on X_k* at a promotion, the median promoted; 0: those r
    dataset_size: int = 64  # n: problems per data set, B.7
    reward: str = "grounded"  # the teacher's; "intrinsic": section 4.3's baseline, paid by the baseline's success rate
    student_reward: str = "soar"  # B.3's 120, 20, 10 or 0; "right": 1 or 0
    intrinsic_samples: int = 32  # completions per question for the intrinsic reward, B.4
    reward_set: int = 64  # |Q_R|: drawn without replacement (open) from hard train in each round, B.7
    reward_samples: int = 0  # 0: greedy accuracy, as the paper; s > 0: mean accuracy of s samples per problem
    promotion: bool = True  # section 7's ablation turns it off
    window: int = 3  # m: rounds in the moving average, B.7
    threshold: float = 0.01  # tau, B.7
    extra_steps: int = 5  # inner steps added by each promotion, B.7
    max_steps: int = 20  # most inner steps; section 6 speaks of 10 to 20
    rows: int = 1024  # completions in memory together; changes speed, and results by rounding only
    student: StudentSettings = StudentSettings()
    teacher: TeacherSettings = TeacherSettings()

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("rounds", "repeats", "dataset_size", "intrinsic_samples", "reward_set", "window", "rows"))
        require_all(self, from_zero=("reward_samples", "extra_steps", "threshold", "promotion_repeats"))
        for name, table in (("reward", TEACHER_REWARDS), ("student_reward", STUDENT_REWARDS)):
            known = getattr(self, name) in table or RECORDED.fullmatch(getattr(self, name))
            require(self, name, bool(known), f"one of {', '.join(table)}, or a function given to run()")
        rule = f"False where reward = {self.reward!r}: it trains no student to be promoted; set promotion to false"
        require(self, "promotion", self.trains_students or not self.promotion, rule)
        rule = "'stack' in a SOAR run, where datasets x repeats students learn at once in each round"
        require(self, "student.trainer", self.student.trainer == "stack", rule)
        require(self, "datasets", self.datasets >= 2, "2 or more: leave-one-out needs another data set")
        rule = f"at most dataset_size = {self.dataset_size}: a step takes its questions from one data set"
        require(self, "student.batch", self.student.batch <= self.dataset_size, rule)
        rule = f"at least student.steps = {self.student.steps}"
        require(self, "max_steps", self.max_steps >= self.student.steps, rule)
        warmup = self.teacher.optimiser.warmup
        require(self, "teacher.optimiser.warmup", warmup < self.rounds, f"below rounds = {self.rounds}")

    @property
    def trains_students(self) -> bool:
        """Whether the teacher's reward trains students, as every function of the caller's own is taken to do."""
        return self.reward not in UNTRAINED

    def inner_steps(self, promotions: int) -> int:
        """Steps of an inner run after so many promotions (B.7: "+5")."""
        return min(self.student.steps + self.extra_steps * promotions, self.max_steps)

    def counts(self, problems: int = 0) -> Cost:
        """The cost of a run, with as many promotions as there can be where it says at most."""
        student, students = self.student, self.datasets * self.repeats
        training, written = students * student.rollouts, self.datasets * self.dataset_size
        measuring = (students + 1) * self.reward_set * max(1, self.reward_samples)
        if not self.trains_students:
            training, measuring = 0, written * self.intrinsic_samples + self.reward_set
        rollouts, samples = self.rounds * (training + measuring), self.rounds * written
        # At most a promotion in each round from `window` on, felt from the next.
        longer = [self.inner_steps(max(0, done - self.window + 1)) for done in range(self.rounds * self.promotion)]
        most = rollouts + sum(steps - student.steps for steps in longer) * students * student.batch * student.group
        longest = self.teacher.turns * self.teacher.max_new_tokens
        return Cost(rollouts, samples, most * student.max_new_tokens + samples * longest, most_rollouts=most)

    def phases(self, problems: int = 0, runs: int = 1) -> list[Phase]:
        """The phases of a run that hold memory: training students, measuring them, the teacher writing and learning."""
        student, teacher, tokens = self.student, self.teacher, self.student.max_new_tokens
        count, written = self.datasets * self.repeats, self.datasets * self.dataset_size
        kept = 4 * teacher.rank + student.rank * (1 + PROMOTIONS * self.promotion)  # the teacher's optimiser too
        if not self.trains_students:
            count, each = 0, self.intrinsic_samples
            found = [Phase.sampling("reward", kept, written * each, each, tokens, self.rows, "intrinsic_samples")]
        else:
            each, rank = max(1, self.reward_samples), kept + (4 * count + 2) * student.rank  # with gradients, stacked
            found = student.phases(count, kept, self.rows)
            rows, drawn = (count + 1) * self.reward_set * each, "reward_samples" * bool(self.reward_samples)
            found.append(Phase.sampling("reward", rank, rows, each, tokens, self.rows, drawn))
        longest, learned = teacher.max_new_tokens, kept + 2 * count * student.rank
        return [
            *found,
            Phase("teacher's samples", kept, teacher.draw, 1, longest, lower="teacher.draw"),
            Phase.learning("teacher's step", learned, written, written, longest, teacher.optimiser, "teacher."),
        ]
