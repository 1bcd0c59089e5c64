"""Settings: one frozen dataclass per command, presets, and what a run will cost.

The defaults are the paper's values (SOAR Table 3, sections B.2 to B.8); each comment says where they are stated, and
where the paper is silent ("open") what we chose and why. `preset(name, kind, **changes)` gives a smaller set:
`smoke` (seconds), `nano` (a laptop, minutes), `paper` (the defaults). A setting out of range or against another one
raises `ConfigError` with the field's name and the fix.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any


class ConfigError(ValueError):
    """A setting is unknown, out of range or contradicts another one; the message names it and the fix."""


def _require(good: bool, name: str, value: object, rule: str) -> None:
    if not good:
        raise ConfigError(f"{name} = {value!r}: must be {rule}")


def _require_positive(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        _require(value > 0, name, value, "more than 0")


def _require_at_least_zero(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        _require(value >= 0, name, value, "0 or more")


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

    def __post_init__(self) -> None:
        _require_positive(self, "learning_rate", "max_grad_norm")
        _require_at_least_zero(self, "warmup", "kl", "clip_low", "clip_high", "weight_decay")
        _require(self.schedule in ("cosine", "constant"), "schedule", self.schedule, "'cosine' or 'constant'")
        _require(
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
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)

    def __post_init__(self) -> None:
        _require_positive(self, "steps", "batch", "max_new_tokens", "temperature", "rank", "alpha")
        _require(self.group >= 2, "group", self.group, "2 or more: leave-one-out needs another rollout")
        _require(
            self.optimiser.warmup < self.steps, "optimiser.warmup", self.optimiser.warmup, f"below steps = {self.steps}"
        )


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
        _require_positive(self, "max_new_tokens", "temperature", "draw", "max_attempts", "rank", "alpha")
        _require(self.turns in (1, 2), "turns", self.turns, "1 or 2")


@dataclass(frozen=True)
class FilterConfig:
    """fail@k filtering of a problem pool and the split of what stays (SOAR B.5)."""

    model: str = "meta-llama/Llama-3.2-3B-Instruct"  # section 4.1; the model that is trained later
    problems: str = "math_test"  # B.5: the official test split of MATH: give its JSONL file; or a generated set's name
    size: int = 0  # problems drawn from the pool, B.5: all; 0: all of a file, 500 of a generated set
    seed: int = 0
    k: int = 128  # B.5: samples per problem; problems with 0 of k right are hard
    max_new_tokens: int = 1024  # B.5
    temperature: float = 1.0  # B.5
    train_fraction: float = 0.5  # B.5: random 50/50 split into hard train and hard test
    rows: int = 256  # completions sampled together; changes speed only, never the result

    def __post_init__(self) -> None:
        _require_positive(self, "k", "max_new_tokens", "temperature", "rows")
        _require_at_least_zero(self, "size")
        _require(0 < self.train_fraction < 1, "train_fraction", self.train_fraction, "between 0 and 1")


@dataclass(frozen=True)
class SoarConfig:
    """One SOAR run (Algorithm 1). The paper's letter for a field opens its comment."""

    model: str = "meta-llama/Llama-3.2-3B-Instruct"  # section 4.1
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
        _require_positive(
            self, "rounds", "repeats", "dataset_size", "intrinsic_samples", "reward_set", "window", "rows"
        )
        _require(self.reward in ("grounded", "intrinsic"), "reward", self.reward, "'grounded' or 'intrinsic'")
        _require(
            not (self.reward == "intrinsic" and self.promotion),
            "promotion",
            self.promotion,
            "False where reward = 'intrinsic': it trains no student that could be promoted; set promotion to false",
        )
        _require_at_least_zero(self, "reward_samples", "extra_steps", "threshold")
        _require(self.datasets >= 2, "datasets", self.datasets, "2 or more: leave-one-out needs another data set")
        _require(
            self.student.batch <= self.dataset_size,
            "student.batch",
            self.student.batch,
            f"at most dataset_size = {self.dataset_size}: a step takes its questions from one data set",
        )
        _require(
            self.max_steps >= self.student.steps,
            "max_steps",
            self.max_steps,
            f"at least student.steps = {self.student.steps}",
        )
        warmup = self.teacher.optimiser.warmup
        _require(warmup < self.rounds, "teacher.optimiser.warmup", warmup, f"below rounds = {self.rounds}")

    def inner_steps(self, promotions: int) -> int:
        """Steps of an inner run after so many promotions (B.7: "+5")."""
        return min(self.student.steps + self.extra_steps * promotions, self.max_steps)


# What an evaluation can measure; analysis/arms.py says what each one is.
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
        _require_positive(self, "students", "teacher_samples", "samples", "rows")
        _require_at_least_zero(self, "together")
        _require(self.checkpoint == "last", "checkpoint", self.checkpoint, "'last': test scores choose no checkpoint")
        known = INFERENCE_ARMS + TRAINED_ARMS
        _require(bool(self.arms) and set(self.arms) <= set(known), "arms", self.arms, f"some of {', '.join(known)}")
        _require(
            bool(self.ks) and 1 <= min(self.ks) and max(self.ks) <= self.samples,
            "ks",
            self.ks,
            f"between 1 and samples = {self.samples}",
        )
        _require(
            0 <= self.synthetic_steps <= self.student.steps,
            "synthetic_steps",
            self.synthetic_steps,
            f"between 0 and student.steps = {self.student.steps}",
        )


Config = FilterConfig | SoarConfig | EvaluateConfig

_NANO_STUDENT = {
    "student.group": 8,
    "student.max_new_tokens": 128,
    "student.rank": 16,
    "student.alpha": 16.0,
    "student.optimiser.learning_rate": 1e-3,  # in twenty steps a cosine from 2e-3 learnt less
    "student.optimiser.schedule": "constant",  # so few steps leave a cosine no time
    "student.optimiser.kl": 0.0,  # no reference pass: a third of the time
}

# What each preset changes in each command's defaults; dotted names reach into nested settings.
# fmt: off
PRESETS: dict[str, dict[type, dict[str, Any]]] = {
    "smoke": {
        FilterConfig: {"model": "nano", "problems": "nano", "size": 60, "k": 8, "max_new_tokens": 64},
        SoarConfig: {
            **_NANO_STUDENT, "model": "nano", "rounds": 2, "datasets": 2, "repeats": 1, "dataset_size": 4,
            "reward_set": 8, "window": 1, "extra_steps": 1, "max_steps": 3,
            "student.steps": 2, "student.batch": 2, "student.group": 4, "student.max_new_tokens": 64,
            "teacher.max_new_tokens": 128, "teacher.rank": 16, "teacher.alpha": 16.0, "teacher.draw": 16,
            "teacher.optimiser.learning_rate": 1e-3, "teacher.optimiser.warmup": 0,
        },
        EvaluateConfig: {
            **_NANO_STUDENT, "model": "nano", "students": 1, "synthetic_steps": 2, "teacher_samples": 4,
            "samples": 4, "ks": (1, 4), "student.steps": 4, "student.batch": 2, "student.group": 4,
            "student.max_new_tokens": 64, "student.optimiser.warmup": 0,
        },
    },
    "nano": {
        FilterConfig: {"model": "nano", "problems": "nano", "size": 280, "max_new_tokens": 128},
        SoarConfig: {
            **_NANO_STUDENT, "model": "nano", "rounds": 10, "repeats": 2, "dataset_size": 16, "reward_set": 32,
            "student.steps": 20, "max_steps": 30,  # a step has a quarter of the paper's rollouts
            "teacher.max_new_tokens": 256, "teacher.rank": 16, "teacher.alpha": 16.0,
            "teacher.optimiser.learning_rate": 2e-3, "teacher.optimiser.schedule": "constant",
            "teacher.optimiser.warmup": 0,
        },
        EvaluateConfig: {
            **_NANO_STUDENT, "model": "nano", "synthetic_steps": 40, "teacher_samples": 32,
            "student.steps": 100, "student.optimiser.warmup": 0,
        },
    },
    "paper": {FilterConfig: {}, SoarConfig: {}, EvaluateConfig: {}},
}
# fmt: on


def preset(name: str, kind: type[Config] = SoarConfig, **changes: Any) -> Any:
    """A named preset of one command's settings, with changes; dotted names reach nested settings.

    >>> preset("nano", seed=3).seed, preset("nano", **{"student.steps": 4}).student.steps
    (3, 4)
    """
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown; known presets: {', '.join(PRESETS)}")
    return from_values(kind, PRESETS[name][kind] | changes)


def from_values(kind: type, values: dict[str, Any]) -> Any:
    """Settings of one kind from plain values, for example a run's config.json; see `change`."""
    return change(kind(), values)


def change(settings: Any, values: dict[str, Any], prefix: str = "") -> Any:
    """A copy of `settings` with other values; keys may be dotted, nested groups may be dictionaries, lists become
    tuples. Unknown names and values of the wrong type raise `ConfigError`."""
    plain: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    known = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if head not in known:
            message = f"{type(settings).__name__} has no such setting; it has {', '.join(known)}"
            raise ConfigError(f"{prefix}{name}: {message}")
        if rest:
            groups.setdefault(head, {})[rest] = value
        elif isinstance(value, dict):
            groups.setdefault(head, {}).update(value)
        else:
            groups.pop(head, None)
            plain[head] = _typed(known[head], value, prefix + head)
    for head, inner in groups.items():
        _require(dataclasses.is_dataclass(known[head]), prefix + head, inner, "one value, not a group of settings")
        plain[head] = change(plain.get(head, known[head]), inner, f"{prefix}{head}.")
    try:
        return dataclasses.replace(settings, **plain)
    except ConfigError as error:
        raise ConfigError(prefix + str(error)) from None


def _typed(current: Any, value: Any, name: str) -> Any:
    """`value` if it is of the type of the setting's present value; integers serve as floats, lists as tuples."""
    if isinstance(current, tuple) and isinstance(value, list | tuple):
        return tuple(_typed(current[0], item, name) for item in value)
    if isinstance(current, float) and type(value) is int:
        return float(value)
    _require(type(value) is type(current), name, value, f"of type {type(current).__name__}")
    return value


def to_values(config: Config) -> dict[str, Any]:
    """A configuration as it is written to config.json; `from_values` brings it back."""
    return dataclasses.asdict(config)


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The settings in which two configurations differ, as "name: old -> new".

    >>> differences({"seed": 0, "student": {"steps": 3}}, {"seed": 0, "student": {"steps": 4}})
    ['student.steps: 3 -> 4']
    """
    found = []
    for name in sorted(old.keys() | new.keys()):
        left, right = old.get(name), new.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            found += differences(left, right, f"{prefix}{name}.")
        elif left != right:
            found.append(f"{prefix}{name}: {left!r} -> {right!r}")
    return found


# ------------------------------------------------------------------ cost


@dataclass(frozen=True)
class Speed:
    """Measured on one machine, learning included."""

    tokens_per_second: float
    tokens_per_rollout: float  # how long completions really are, on average
    machine: str


# By model name; a model that nobody has timed has no row, and its cost names no hours.
SPEEDS = {"nano": Speed(14_000, 35, "2 CPU cores")}  # rounded, over all of `make demo` but the installation


@dataclass(frozen=True)
class Cost:
    """What a configuration will draw at most; `hours` is None where the model has not been timed."""

    rollouts: int  # student completions, training and evaluation; without the steps that promotions add
    teacher_samples: int  # accepted ones; drawn are these divided by the acceptance rate
    tokens: int  # the upper bound: every completion at its full length
    hours: float | None = None
    machine: str = ""
    most_rollouts: int = 0  # `rollouts` if every round promoted a student that could

    def __add__(self, other: "Cost") -> "Cost":
        """Both one after the other; hours only where both are known."""
        hours = None if self.hours is None or other.hours is None else self.hours + other.hours
        return Cost(
            self.rollouts + other.rollouts, self.teacher_samples + other.teacher_samples, self.tokens + other.tokens,
            hours, other.machine, self.most_rollouts + other.most_rollouts,
        )  # fmt: skip


def cost(config: Config, problems: int = 0, speed: Speed | None = None) -> Cost:
    """The predicted cost; `problems` is the pool's size for filtering and hard test's for evaluation.

    >>> cost(preset("paper")).rollouts  # 200 rounds: 16 students x 10 steps x 8 x 32, and 17 x 64 greedy
    8409600
    """
    rollouts, samples, tokens = _counts(config, problems)
    more = _promoted_rollouts(config) if isinstance(config, SoarConfig) else 0
    tokens += more * config.student.max_new_tokens if more else 0
    speed = speed or SPEEDS.get(config.model)
    if speed is None:
        return Cost(rollouts, samples, tokens, most_rollouts=rollouts + more)
    seconds = (rollouts + samples) * speed.tokens_per_rollout / speed.tokens_per_second
    return Cost(rollouts, samples, tokens, seconds / 3600, speed.machine, rollouts + more)


def _promoted_rollouts(config: SoarConfig) -> int:
    """Student completions that promotions add at most: one in each round from `window` on, felt from the next."""
    if not config.promotion:
        return 0
    longer = [config.inner_steps(max(0, done - config.window + 1)) for done in range(config.rounds)]
    steps = sum(longer) - config.rounds * config.student.steps
    return steps * config.datasets * config.repeats * config.student.batch * config.student.group


def _counts(config: Config, problems: int) -> tuple[int, int, int]:
    """(student completions, accepted teacher completions, most tokens)."""
    if isinstance(config, FilterConfig):
        rollouts = problems * config.k
        return rollouts, 0, rollouts * config.max_new_tokens
    student = config.student
    if isinstance(config, SoarConfig):
        students = config.datasets * config.repeats
        training = students * student.steps * student.batch * student.group
        measuring = (students + 1) * config.reward_set * max(1, config.reward_samples)
        written = config.datasets * config.dataset_size
        if config.reward == "intrinsic":
            training, measuring = 0, written * config.intrinsic_samples + config.reward_set
        rollouts, samples = config.rounds * (training + measuring), config.rounds * written
        longest = config.teacher.turns * config.teacher.max_new_tokens
        return rollouts, samples, rollouts * student.max_new_tokens + samples * longest
    arms = set(config.arms)
    shares = len(arms & set(TRAINED_ARMS)) + (3 if "hard_only_x4" in arms else 0)
    training = shares * student.steps * student.batch * student.group
    rollouts = config.students * (training + len(arms) * problems * config.samples)
    samples = len(arms & set(SAMPLED_ARMS)) * config.teacher_samples
    return rollouts, samples, rollouts * student.max_new_tokens


def describe_cost(config: Config, problems: int = 0) -> str:
    """One line for the terminal, before anything starts.

    >>> describe_cost(preset("paper", model="any"))  # doctest: +ELLIPSIS
    'about 8,409,600 student completions (with promotions up to 16,458,240) and 51,200 accepted problems, at most ...'
    """
    return describe(cost(config, problems), config.model)


def describe(predicted: Cost, model: str) -> str:
    """A cost as a line; see `describe_cost`."""
    parts = [f"{predicted.rollouts:,} student completions"]
    if predicted.most_rollouts > predicted.rollouts:
        parts[0] += f" (with promotions up to {predicted.most_rollouts:,})"
    if predicted.teacher_samples:
        parts.append(f"{predicted.teacher_samples:,} accepted problems")
    text = f"about {' and '.join(parts)}, at most {predicted.tokens:,} tokens ({model})"
    if predicted.hours is None:
        return text
    return f"{text}, about {_duration(predicted.hours)} on {predicted.machine}"


def _duration(hours: float) -> str:
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} seconds"
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:,.1f} hours"
