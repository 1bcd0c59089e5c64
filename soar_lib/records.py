"""What travels between the rooms: problems, synthetic problems, rounds and scores, and how completions are drawn.

Every record is a frozen dataclass of plain values, so that it is one line of JSON in a run folder
(`dataclasses.asdict`) and equal records are equal lines.
"""

from dataclasses import dataclass, field

# Sets of problems, each a file NAME.jsonl of a run folder or a `Score.set`. SOAR and LADDER learn from hard train and
# are measured on hard test; SOAR also on a transfer set, LADDER also at any step of TTRL and on its variants.
HARD_TRAIN, HARD_TEST, TRANSFER, ANY_STEP, VARIANTS = "hard_train", "hard_test", "transfer", "any_step", "variants"
TRAIN, TEST, HARD, OTHER = "train", "test", "hard", "other"  # SvS: learnt from, and measured


@dataclass(frozen=True)
class Draw:
    """How completions are drawn: at most `max_new_tokens` tokens each, at a temperature, and no more than `rows` of
    them in memory at a time, which changes speed only."""

    max_new_tokens: int
    temperature: float = 1.0
    rows: int = 1024


@dataclass(frozen=True)
class Problem:
    """One question with its reference answer.

    `id` is stable across machines (derived from the source and its own numbering or content).
    `answer` is the content of the box, without `\\boxed{}` or `$`.
    """

    id: str
    question: str
    answer: str
    source: str = ""  # the set it comes from: "math_test", "harp", "nano", a file's stem
    topic: str = ""  # subject or family
    level: int | None = None  # difficulty as the source states it (MATH 1-5, nano depth 1-12)


@dataclass(frozen=True)
class SyntheticProblem:
    """A question-answer pair written by the teacher (SOAR sections 3.2 and B.1).

    `dataset` is k of X_k in its round and `reward` that data set's mean gain R_k; both are None for problems
    sampled outside the outer loop (the Grounded-T arm).
    """

    id: str
    question: str
    answer: str
    text: str  # the teacher's whole completion, explanation included
    round: int | None = None
    dataset: int | None = None
    reward: float | None = None


@dataclass(frozen=True)
class Round:
    """One outer step of SOAR (Algorithm 1): rewards, promotion decision and the state they left."""

    round: int
    rewards: tuple[tuple[float, ...], ...]  # R_kj, g rows of r gains in accuracy (fractions of 1)
    baseline_accuracy: float  # of the baseline student on this round's reward set Q_R
    mean_reward: float  # mean over k of R_k
    moving_average: float  # of mean_reward over the window
    promoted: bool
    chosen: tuple[int, int] | None = None  # (k*, j*) of the promoted student
    attempts: int = 0  # teacher completions drawn until g*n parsed
    rejected: dict[str, int] = field(default_factory=dict)  # why the others were dropped: reason -> count


@dataclass(frozen=True)
class Score:
    """`c` of `n` samples of one student on one problem were right: a line of scores.jsonl."""

    arm: str
    run: str  # the run (teacher seed) that the arm stands on; arms without one are measured beside each run
    student: int  # number of the fresh student, or of the inference seed where nothing is trained
    problem: str  # Problem.id
    n: int
    c: int
    rollouts: int  # completions that trained this very student
    set: str = HARD_TEST
