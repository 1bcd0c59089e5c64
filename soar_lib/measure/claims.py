"""Claims against what was measured: our number, its interval, the paper's number and a verdict.

The rule (`verdict`) was fixed before any run, but for the floor and Vendi Scores' null value. A claim says of a number
that it lies above a null value or, where something is to have *no* effect, that it is small. A certain gain below the
margin is not worth its cost: then a claim of no effect holds, at the floor as well. The margin is 5 points of pass@k:
SOAR calls 2.8 points no help, 9.3 a clear one (Table 4).

At most five claims of a method are primary: they were named before the runs, and are decided where p, corrected by
Holm's rule for testing all of them, lies below 0.05 as well. The others are exploratory, and not corrected. A claim
whose measure has a test of its own (the spread) is decided where that test agrees with the interval."""

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from soar_lib.measure.bootstrap import bootstrap, holm, sign_flip
from soar_lib.measure.passk import compare
from soar_lib.records import HARD_TEST, Score

COLUMNS = ["claim", "ours", "low", "high", "paper", "seeds", "p", "sign_flip", "holm", "verdict"]
HOLDS, FAILS, UNDECIDED, FLOOR = "holds", "does not hold", "undecided", "at the floor"
LEVEL = 0.05  # of tests
LEAST_SEEDS = 3  # fewer give no interval that holds its level
_PAPERS, _CLAIMS = (
    tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8")) for name in ("paper.toml", "claims.toml")
)
MARGIN = 5.0  # points of pass@k below which a gain counts as none


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and the number of runs (teacher seeds) of each arm behind it. `p` is the
    two-sided p of no difference, by the interval's rule or the measure's own test; `sign_flip` is that of the sign-flip
    test. `floor`: there is hardly any success to measure (`passk.Comparison`)."""

    ours: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    p: float = math.nan
    sign_flip: float = math.nan
    floor: bool = False


@dataclass(frozen=True)
class Evidence:
    """What a method measured: its run folder, its scores (runs named by seed), the k of pass@k, and in `named` the
    values for this run of the words in braces in claims.toml."""

    folder: Path
    scores: list[Score]
    k: int
    named: Mapping[str, int | str] = field(default_factory=dict)

    def arms(self, set: str = HARD_TEST) -> list[str]:
        """The arms that have scores on the problems of `set`."""
        return list(dict.fromkeys(score.arm for score in self.scores if score.set == set))


@dataclass(frozen=True)
class Claim:
    """A paper's statement and the measure that tests it. `text` may hold {k} and `Evidence.named`; `paper` is in
    the measure's unit, NaN where only plotted. A `primary` claim was named before the runs, and Holm corrects its p."""

    text: str
    measure: Callable[[Evidence], Estimate]
    paper: float = math.nan
    null: float = 0.0
    no_effect: bool = False
    primary: bool = False


def verdict(estimate: Estimate, null: float = 0.0, no_effect: bool = False, p: float = math.nan) -> str:
    """The verdict: "holds" where the 95 % interval lies above `null`, "does not hold" where it lies below; "undecided"
    where it contains `null`, where p >= 0.05 or for fewer than three seeds; "at the floor" where hardly anything
    succeeds. A claim of `no_effect`, which has no floor, holds where the interval stays below `null` + 5 points; else
    it does not where it lies above `null`. `p` (NaN: none) is of a test that must agree, corrected for a primary claim.

    >>> verdict(Estimate(3, 1, 5, 5)), verdict(Estimate(3, -1, 7, 5)), verdict(Estimate(-3, -5, -1, 5))
    ('holds', 'undecided', 'does not hold')
    >>> [verdict(Estimate(2, *limits, 5), no_effect=True) for limits in ((-1, 4), (1, 4), (-1, 6), (1, 6))]
    ['holds', 'holds', 'undecided', 'does not hold']
    >>> verdict(Estimate(3, 1, 5, 5), p=0.06), verdict(Estimate(3, 1, 5, 5, floor=True))
    ('undecided', 'at the floor')
    """
    if estimate.floor and not no_effect:
        return FLOOR
    if estimate.seeds < LEAST_SEEDS or (p >= LEVEL and not no_effect):
        return UNDECIDED
    if no_effect:
        return HOLDS if estimate.high < null + MARGIN else FAILS if estimate.low > null else UNDECIDED
    return HOLDS if estimate.low > null else FAILS if estimate.high < null else UNDECIDED


def judged(measured: Evidence, claims: Sequence[Claim]) -> pd.DataFrame:
    """One row per claim with the columns `COLUMNS`; `holm` is NaN except for primary claims. A claim about arms that
    were not measured stays in the table: undecided, without numbers, with 0 seeds."""
    rows, estimates = [], [claim.measure(measured) for claim in claims]
    tested = [i for i, claim in enumerate(claims) if claim.primary and not math.isnan(estimates[i].p)]
    corrected = dict(zip(tested, holm([estimates[i].p for i in tested])))
    for i, (claim, found) in enumerate(zip(claims, estimates)):
        row = asdict(found) | {"holm": corrected.get(i, math.nan), "paper": claim.paper}
        said = verdict(found, claim.null, claim.no_effect, corrected.get(i, found.p))
        rows.append({"claim": claim.text.format(k=measured.k, **measured.named), **row, "verdict": said})
    return pd.DataFrame(rows, columns=COLUMNS)


def gain(
    arm: str, other: str, measured: Evidence, set: str = HARD_TEST, other_set: str = "", k: int | str = 0
) -> Estimate:
    """pass@k of `arm` minus that of `other`, in points, paired by run, student and problem. `k` is a number, a word in
    `measured.named`, or 0 for `measured.k`. `other` is measured on `other_set`, by default on `set`. The estimate has
    no numbers where an arm was not measured or has fewer than k samples."""
    sets, k = {arm: set, other: other_set or set}, measured.named.get(k, k) or measured.k
    scores = [score for score in measured.scores if sets.get(score.arm) == score.set]
    drawn = {score.arm: score.n for score in scores}
    if len(drawn) < 2 or min(drawn.values()) < k:
        return Estimate()
    found = compare([score if score.set == set else replace(score, set=set) for score in scores], *sets, k, set=set)
    points = (100 * value for value in (found.difference, found.low, found.high))
    return Estimate(*points, found.runs, found.p, found.sign_flip, found.floor)


def listed(method: str, *measures: Callable[..., Estimate]) -> tuple[Claim, ...]:
    """A method's claims in claims.toml. Each names `gain` or one of `measures`, called with its `of` and `Evidence`."""
    known, found = {function.__name__: function for function in (gain, *measures)}, []
    for row in map(dict, _CLAIMS[method]):
        more = {key: row.pop(key) for key in ("set", "other_set", "k") if key in row}
        measure = partial(known[row.pop("measure", "gain")], *row.pop("of"), **more)
        found.append(Claim(measure=measure, **row))
    return tuple(found)


def published(method: str, arm: str, metric: str) -> float:
    """The paper's number for an arm and a metric, a fraction of 1 (paper.toml); NaN where the paper gives none."""
    return _PAPERS[method].get(arm, {}).get(metric, math.nan)


def over_seeds(values: Sequence[float], difference: bool = True) -> Estimate:
    """The mean of one number per seed with its 95 % interval (NaN for a lone seed) and, for differences, both p."""
    if len(values) < 2:
        return Estimate(*values, seeds=len(values))
    found = bootstrap([np.array([[value]]) for value in values])
    tests = (found.p_value(), sign_flip(values)) if difference else ()
    return Estimate(found.mean, *found.interval(), len(values), *tests)
