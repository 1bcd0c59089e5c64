r"""How good the written problems are, by the paper's taxonomy (SOAR section C.4, Table 7).

Each problem gets one label. Well posed: `correct`, `arithmetic` or `logic` (the answer is wrong). Not well posed:
`ill_posed` or `ambiguous` (something is missing). `unjudged`: no verdict; never a share of anything, but counted.

`exact` judges the embedded worlds' problems without a model (`measure.judge` judges any problem by a language model).
It decides exactly whether a problem is

- well posed: a family reads the question; correct: the verifier finds the answer equal to the family's own;
- ambiguous: nobody can know the answer, or text was lost and a family of the first world reads the question again with
  an ending added (it is a proper prefix of a well-posed one), or with one number or item inserted at one place;
  ill_posed: every other question, also one that a lenient reader could solve ("1 dogs", or two terms of one power).

Why an answer is wrong cannot be decided: one value can come from many mistakes. So the border between arithmetic and
logic is a rule, tried in this order, and `reason` says which case held:

1. arithmetic: the right method with the family's usual slip at one step gives the answer;
2. logic: the answer is right for another reading of the data, with one item left out or taken twice, in reverse order,
   or sorted in the other direction;
3. arithmetic: any other value."""

import functools
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
import torch
from reasoning_gym.arithmetic.leg_counting import ANIMALS

from soar_lib.measure.bootstrap import bootstrap
from soar_lib.nano import antiderivatives, world, world2
from soar_lib.randomness import generator
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.verifier.spelling import MAX_CHARACTERS
from soar_lib.verifier.verify import decide, equal

WELL_POSED = ("correct", "arithmetic", "logic")
LABELS = (*WELL_POSED, "ill_posed", "ambiguous")
UNJUDGED, START = "unjudged", 10  # characters that tell families apart; no item stands in them
MEASURES = ("well_posed", *LABELS)  # the rows of Table 7
COLUMNS = ["arm", "judge", "measure", "percent", "low", "high", "n", "unjudged", "runs"]


@dataclass(frozen=True)
class Verdict:
    """A judge's verdict on one problem: a label of `LABELS` or `UNJUDGED`, the judge's own answer if any, and why."""

    label: str
    answer: str | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.label not in (*LABELS, UNJUDGED):
            raise ValueError(f"label {self.label!r}: must be one of {', '.join((*LABELS, UNJUDGED))}")

    @property
    def well_posed(self) -> bool:
        """Whether the question can be read and solved, whatever the answer."""
        return self.label in WELL_POSED

    @property
    def correct(self) -> bool:
        """Whether the problem is well posed and its answer right."""
        return self.label == "correct"

    @property
    def judged(self) -> bool:
        """Whether the judge came to a verdict."""
        return self.label != UNJUDGED


Judge = Callable[[Sequence[SyntheticProblem]], list[Verdict]]  # problems -> the verdict on each


def exact(problems: Sequence[SyntheticProblem | Problem]) -> list[Verdict]:
    """Exact verdicts on problems of the embedded worlds; a problem of any other kind counts as ill-posed."""
    return [exact_verdict(problem.question, problem.answer) for problem in problems]


@functools.lru_cache(maxsize=100_000)
def exact_verdict(question: str, answer: str) -> Verdict:
    r"""The exact verdict on one question of the embedded worlds and its answer, which is the content of its box.

    >>> sums = "State the final answer to the following arithmetic problem: "
    >>> [exact_verdict(sums + q, a).label for q, a in (("42 + 9 =", "51"), ("42 + 9 =", "41"), ("42 +", "51"))]
    ['correct', 'arithmetic', 'ambiguous']
    """
    known = world.understand(question) or world2.understand(question)
    if known is None:
        lost = len(question) <= MAX_CHARACTERS and _lost(question)
        return Verdict("ambiguous", None, lost) if lost else Verdict("ill_posed", None, "no family can read it")
    family, content = known
    gold = family.solve(content)[1]
    if gold is None:
        return Verdict("ambiguous", None, "nobody can know its answer")
    verdict = equal(gold, answer)
    if verdict == "right":
        return Verdict("correct", gold)
    if verdict != "wrong":
        return Verdict(UNJUDGED, gold, f"verifier: {verdict}")
    return Verdict(*_mistake(family, content, gold, answer))


def topic(question: str) -> str:
    """The name of the family that reads a question, "" where none does."""
    known = world.understand(question) or world2.understand(question)
    return known[0].name if known else ""


def _lost(question: str) -> str | None:
    """What is missing from a question that no family reads, None where adding text at one place cannot mend it."""
    whole = antiderivatives.FORM.fullmatch(question)  # two terms of one power, or a division by 0: nothing is missing
    kin = [(read, ends) for read, starts, ends in _endings() if question[:START] in starts and not whole]
    if any(read(question + ending) for read, ends in kin for ending in ends):
        return "the end is missing"
    # A number that the question does not hold, so that no power of x occurs twice.
    number = next(n for n in range(2, len(question) + 3) if n not in map(int, re.findall(r"\d{1,9}", question)))
    items = (f"{number}", f"{number} cats", f"{number}*x**{number}")
    spaced = [f"{before}{item}{after}" for item in items for before in ("", " ") for after in ("", " ")]
    places = [i for i in range(len(question)) if not re.search(r"\d", question[max(0, i - 1) : i + 1])]
    mended = (read(question[:i] + item + question[i:]) for read, _ in kin for i in places for item in spaced)
    return "a number or item is missing" if any(mended) else None


@functools.cache
def _endings() -> list[tuple[Callable, set[str], set[str]]]:
    """For each family its parser, how its questions start, and all endings of questions that hold every word and every
    kind of item it can read, so that a proper prefix of any of its questions is well posed with one of them added."""
    first, *leads = antiderivatives.LEADS
    groups = [
        ("chain_sum", [[1, 1]]),
        ("leg_counting", [[(count, name)] for name in ANIMALS for count in (1, 2)]),
        ("base_conversion", [[1]]),
        ("number_sorting", [[order, 1, 2] for order in ("ascending", "descending")]),
        ("spell_backward", [["a", "b"]]),
        # whichever powers of x a question holds, another one is free
        ("simple_integration", [[first, (Fraction(3, 5), power)] for power in range(100)]),
        *(("simple_integration", [[lead, (Fraction(3, 5), 2)]]) for lead in leads),
    ]
    found = {name: (world.FAMILIES[name].parse, set(), set()) for name, _ in groups}
    for name, contents in groups:
        texts, (_, starts, endings) = [world.FAMILIES[name].write(content) for content in contents], found[name]
        lead = len(os.path.commonprefix(texts))
        starts |= {texts[0][:i] for i in range(START + 1)}
        endings |= {texts[0][i:] for i in range(lead)} | {text[i:] for text in texts for i in range(lead, len(text))}
    return [*found.values()]


def _mistake(family: world.Family, content: list, gold: str, answer: str) -> tuple[str, str, str]:
    for step in range(1, len(content) + 1):
        if _same(family.solve(content, [step])[1], answer):
            return "arithmetic", gold, f"a slip at step {step}"
    for reading, other in _misreadings(family, content) if family.name in world.FAMILIES else ():
        if _same(family.solve(other)[1], answer):
            return "logic", gold, reading
    return "arithmetic", gold, "another value"


def _same(gold: str, answer: str) -> bool:
    """Equality by cheap forms alone: an answer that needs computer algebra is no reading's."""
    return len(answer) <= MAX_CHARACTERS and decide(gold, answer) is True


def _misreadings(family: world.Family, content: list) -> Iterator[tuple[str, list]]:
    """Other readings of a question's data: (what was done, the content read instead)."""
    headed = family.name in ("number_sorting", "simple_integration")  # the first item says what to do
    head, data = content[:headed], content[headed:]
    other = {"ascending": ["descending"], "descending": ["ascending"]}
    readings = [(f"item {i + 1} left out", head, data[:i] + data[i + 1 :]) for i in range(len(data))]
    readings += [(f"item {i + 1} taken twice", head, data[: i + 1] + data[i:]) for i in range(len(data))]
    readings += [("the items in reverse order", head, data[::-1])]
    readings += [("sorted in the other direction", other[head[0]], data)] if head and head[0] in other else []
    for reading, start, items in readings:
        if items and (known := family.parse(family.write(start + items))) is not None:
            yield reading, known


def summary(arms: Mapping[str, Sequence[Sequence[Verdict]]], judge: str, seed: int = 0) -> pd.DataFrame:
    """Table 7: one row per arm and measure of `MEASURES`, columns `COLUMNS`. `arms`: for each arm its runs' verdicts,
    one sequence per teacher. `percent` is the mean over runs of the share among the judged (NaN where there is none),
    with its 95 % bootstrap interval over runs and problems, cut at 0 and 100; `n` counts the judged."""
    rows = []
    for arm, runs in arms.items():
        judged = [kept for run in runs if (kept := [verdict for verdict in run if verdict.judged])]
        n = sum(map(len, judged))
        for measure in MEASURES:
            said = [[v.well_posed if measure == "well_posed" else v.label == measure for v in run] for run in judged]
            shares = _percent(said, seed)
            rows.append([arm, judge, measure, *shares, n, sum(map(len, runs)) - n, len(judged)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _percent(runs: list[list[bool]], seed: int) -> tuple[float, float, float]:
    """Mean over runs and its interval, in percent. Each run has problems of its own."""
    if not runs:
        return math.nan, math.nan, math.nan
    found = bootstrap([np.array([run], dtype=float) for run in runs], range(len(runs)), seed)
    low, high = found.interval()
    return 100 * found.mean, 100 * max(0.0, low), 100 * min(1.0, high)


def equal_size_sets(
    problems: Sequence[SyntheticProblem], verdicts: Sequence[Verdict], *key: int | str
) -> dict[str, list[SyntheticProblem]]:
    """Two sets of one size for the claim that structure matters more than correctness (SOAR section C.5):
    `correct_only`, and as many `well_posed` problems, drawn without replacement from the random `key`, in the order
    written. Empty where no well-posed problem is correct, or all are. The paper compared 82 with 144 problems, which
    confounds size with correctness."""
    correct = [problem for problem, verdict in zip(problems, verdicts, strict=True) if verdict.correct]
    posed = [problem for problem, verdict in zip(problems, verdicts, strict=True) if verdict.well_posed]
    if not 0 < len(correct) < len(posed):
        return {}
    order = torch.randperm(len(posed), generator=generator(*key, "quality", "well_posed"))
    return {"correct_only": correct, "well_posed": [posed[i] for i in sorted(order[: len(correct)].tolist())]}
