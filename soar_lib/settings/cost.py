"""What a run will cost, from its settings alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from soar_lib.ladder.settings import TTRL_ARMS, LadderConfig
from soar_lib.settings.presets import Config
from soar_lib.settings.student import FilterConfig
from soar_lib.soar.settings import SAMPLED_ARMS, TRAINED_ARMS, EvaluateConfig, SoarConfig
from soar_lib.svs.settings import SvsConfig

Part = tuple[Config, int, int]  # settings, problems as for `cost`, and the SOAR runs that an evaluation stands on


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
    """The predicted cost; `problems` is the pool's size for filtering and hard test's for evaluation and LADDER (whose
    hard train counts as equally large, where the settings give no number).

    >>> from soar_lib.settings.presets import preset
    >>> cost(preset("paper")).rollouts  # 200 rounds: 16 students x 10 steps x 8 x 32, and 17 x 64 greedy
    8409600
    """
    rollouts, samples, tokens = _counts(config, problems)
    more = _promoted_rollouts(config) if isinstance(config, SoarConfig) else 0
    tokens += more * config.student.max_new_tokens if more else 0
    speed = speed or SPEEDS.get(config.model)
    if speed is None or by_trl(config):  # speeds are of populations
        return Cost(rollouts, samples, tokens, most_rollouts=rollouts + more)
    seconds = (rollouts + samples) * speed.tokens_per_rollout / speed.tokens_per_second
    return Cost(rollouts, samples, tokens, seconds / 3600, speed.machine, rollouts + more)


def total(parts: Iterable[Part]) -> Cost:
    """The cost of several parts one after another; an evaluation's once for each of its SOAR runs."""
    each = (cost(config, problems) for config, problems, runs in parts for _ in range(runs))
    return sum(each, Cost(0, 0, 0, 0.0))


def by_trl(config: Config) -> bool:
    """Whether TRL's trainers train the students, one after another."""
    return isinstance(config, EvaluateConfig | LadderConfig) and config.student.trainer == "trl"


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
    if isinstance(config, SvsConfig):
        return _svs_counts(config)
    if isinstance(config, LadderConfig):
        return _ladder_counts(config, problems)
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


def _ladder_counts(config: LadderConfig, tested: int) -> tuple[int, int, int]:
    """All arms and seeds at most: every tree as large as it can be and every variant usable."""
    originals, arms, student = config.originals or tested, set(config.arms), config.student
    tuned = len(arms & set(TTRL_ARMS)) * tested
    written = config.written * (originals * len(arms & {"one_level", "ladder"}) + tested * bool(tuned))
    training = len(arms - {"base", *TTRL_ARMS}) * student.steps * student.batch * student.group
    tuning = tuned * (config.ttrl_samples - config.written + config.samples)
    scoring = sum(config.draws(arm, originals, tested) for arm in arms - set(TTRL_ARMS)) * tested
    leaves = originals * config.variants.most_prompts * config.variants.per_prompt if "ladder" in arms else 0
    rollouts = config.seeds * (training + tuning + scoring + 2 * config.variant_samples * leaves)
    writing = config.seeds * written
    tokens = rollouts * student.max_new_tokens + writing * max(config.variants.max_new_tokens, student.max_new_tokens)
    return rollouts + writing, 0, tokens


def _svs_counts(config: SvsConfig) -> tuple[int, int, int]:
    """All arms and seeds, as if every number of right solutions were equally likely; the tokens are those of a run in
    which every problem has the most seeds."""
    rollouts = most = 0
    for name in config.arms:
        arm = config.of_arm(name)
        spends = arm if arm.budget == "steps" else config
        likely, highest = further(spends)
        hard = arm.hard_samples if name in config.large_k else arm.samples
        measured = (arm.test_size * (1 + _between(arm)) + arm.other_size) * arm.samples + arm.hard_size * hard
        rollouts += config.seeds * (spends.steps * spends.batch * (spends.group + likely) + measured)
        most += config.seeds * (spends.steps * spends.batch * (spends.group + highest) + measured)
    return round(rollouts), 0, most * config.max_new_tokens


def _between(config: SvsConfig) -> int:
    """Measurements before the last step."""
    return max(0, config.steps - 1) // config.measure_every if config.measure_every else 0


def further(config: SvsConfig) -> tuple[float, int]:
    """Completions of a problem beyond its first `group`: (on average where all counts are equally likely, at most)."""
    cap = config.guards.solutions or config.group
    counts = [min(count, cap) for count in config.seed_counts]
    each = {
        "variants": [count * config.variants * (1 + config.group) for count in counts],
        "rephrasings": [count * config.variants * config.group for count in counts],
        "originals": [config.group] * len(counts),
        "nothing": [],
    }[config.further]
    return sum(each) / (config.group + 1), max(each, default=0)


def describe_cost(config: Config, problems: int = 0) -> str:
    """One line for the terminal, before anything starts.

    >>> from soar_lib.settings.presets import preset
    >>> describe_cost(preset("paper", model="any"))  # doctest: +ELLIPSIS
    'about 8,409,600 student completions (with promotions up to 16,458,240) and 51,200 accepted problems, at most ...'
    """
    text = describe(cost(config, problems), config.model)
    return f"{text}, students trained one after another by TRL" if by_trl(config) else text


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
    return f"{text}, about {duration(predicted.hours)} on {predicted.machine}"


def duration(hours: float) -> str:
    """Hours for people."""
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} seconds"
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:,.1f} hours"


def size(count: float) -> str:
    """Bytes for people.

    >>> size(61_540_000_000), size(3_200_000)
    ('61.5 GB', '3 MB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
