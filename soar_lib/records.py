"""Records that pass between the parts of the package: problems, synthetic problems, rounds and scores, how completions
are drawn, and how many were.

All but `Meter` are frozen dataclasses of plain values, so that each is one line of JSON in a run folder
(`dataclasses.asdict`) and equal records are equal lines."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import GenericAlias, MappingProxyType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

# Sets of problems, each a file NAME.jsonl of a run folder or a `Score.set`. SOAR and LADDER learn from hard train and
# are measured on hard test; SOAR also on a transfer set, LADDER also at any step of TTRL, on its variants and by vote.
HARD_TRAIN, HARD_TEST, TRANSFER, ANY_STEP, VARIANTS = "hard_train", "hard_test", "transfer", "any_step", "variants"
VOTED = "voted"
TRAIN, TEST, HARD, OTHER = "train", "test", "hard", "other"  # SvS: learnt from, and measured

TYPES = type | UnionType | GenericAlias  # of a field; anything else holds the values that it may have


@dataclass(frozen=True)
class Draw:
    """How completions are drawn: at most `max_new_tokens` tokens each, at a temperature, and no more than `rows` of
    them in memory at a time, which changes speed, and results by rounding only."""

    max_new_tokens: int
    temperature: float = 1.0
    rows: int = 1024


@dataclass(frozen=True)
class Problem:
    """One question with its reference answer. `id` is stable across machines (derived from the source and its own
    numbering or content). `answer` is the content of the box, without `\\boxed{}` or `$`."""

    id: str
    question: str
    answer: str
    source: str = ""  # the set it comes from: "math_test", "harp", "nano", a file's stem
    topic: str = ""  # subject or family
    level: int | None = None  # difficulty as the source states it (MATH 1-5, nano depth 1-12)


@dataclass(frozen=True)
class SyntheticProblem:
    """A question-answer pair written by the teacher (SOAR sections 3.2 and B.1). `dataset` is k of X_k in its round and
    `reward` that data set's mean gain R_k; outside the outer loop (the Grounded-T arm) both and `round` are None."""

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
    kind: str = ""  # Problem.topic


def fault(kind: type, row: Mapping[str, Any], more: Mapping[str, Any] = MappingProxyType({})) -> str | None:
    """Why a row of JSON is no record of `kind`, in words: its first field that is unknown, of a wrong type or missing;
    None where it is one. `more` adds fields, each with a type or the values that it may have.

    >>> fault(Problem, {"id": "1", "question": "1 + 1", "answer": 2})
    "field 'answer' must be of type str, found 2"
    """
    hints, given = layout(kind)
    hints = hints | more
    for name, value in row.items():
        if name not in hints:
            return f"field {name!r} is unknown"
        if type(value) is not hints[name] and not fits(value, hints[name]):
            return f"field {name!r} must be {named(hints[name])}, found {value!r:.40}"
    needed = [name for name in hints if (not fits(None, more[name]) if name in more else name not in given)]
    return next((f"field {name!r} is missing" for name in needed if name not in row), None)


@cache
def layout(kind: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The types of a record's fields, and the defaults of those that may be left out, both by the field's name."""
    given = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    given |= {item.name: item.default_factory() for item in fields(kind) if item.default_factory is not MISSING}
    return get_type_hints(kind), given


def named(hint: Any) -> str:
    """What a field must be, in words: its type, or its possible values."""
    if not isinstance(hint, TYPES):
        return f"one of {', '.join(map(str, hint)):.80}"
    return f"of type {hint.__name__ if isinstance(hint, type) else hint}"


def fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of type `hint`, or among its values. Lists stand for tuples, integers also for floats."""
    if type(value) is hint:
        return True
    if not isinstance(hint, TYPES):
        return isinstance(value, str | int) and value in hint
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if isinstance(hint, UnionType):
        return any(fits(value, one) for one in inner)
    if kind is dict:
        return type(value) is dict and all(fits(one, inner[1]) for one in value.values())
    if kind in (tuple, list):
        if type(value) is not list:
            return False
        each = inner if kind is tuple and ... not in inner else inner[:1] * len(value)
        return len(value) == len(each) and all(map(fits, value, each))
    return type(value) in ((float, int) if kind is float else (kind,))


def record(kind: type, row: Mapping[str, Any]) -> Any:
    """The record of `kind` that a row of JSON, which `fault` has checked, describes; its lists become tuples."""
    return kind(**{name: _tuples(value) for name, value in row.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@dataclass
class Meter:
    """What was drawn: completions, tokens, seconds and sessions that it took, and the highest peak of memory (bytes).
    `cut` holds for each limit (max_new_tokens, as text) how many completions had it and how many of them it cut off."""

    rollouts: int = 0
    tokens: int = 0
    seconds: float = 0.0
    sessions: int = 0
    peak_bytes: int = 0
    cut: dict[str, list[int]] = field(default_factory=dict)


_running: ContextVar[tuple[Meter, Callable[[Meter], None]] | None] = ContextVar("meter", default=None)


def count(rollouts: int, tokens: int, cut: dict[str, list[int]]) -> None:
    """Add completions, their tokens and what their limits cut off (as in `Meter.cut`) to the present meter, if any."""
    if running := _running.get():
        meter, told = running
        meter.rollouts += rollouts
        meter.tokens += tokens
        meter.cut = add_cut(meter.cut, cut)
        told(meter)


def add_cut(*parts: dict[str, list[int]]) -> dict[str, list[int]]:
    """The sum of several `Meter.cut`, limit by limit.

    >>> add_cut({"64": [10, 2]}, {"64": [5, 1], "128": [3, 0]})
    {'64': [15, 3], '128': [3, 0]}
    """
    limits = dict.fromkeys(limit for part in parts for limit in part)
    return {limit: [sum(column) for column in zip(*(part.get(limit, (0, 0)) for part in parts))] for limit in limits}


@contextmanager
def counting(told: Callable[[Meter], None] = lambda meter: None) -> Iterator[Meter]:
    """A new meter for what is drawn inside the `with` block, as one session; `told(meter)` is called as it grows."""
    meter = Meter(sessions=1)
    token = _running.set((meter, told))
    try:
        yield meter
    finally:
        _running.reset(token)
