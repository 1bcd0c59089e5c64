r"""The process that judges integrals by numbers: JSON lines in, judgements out (LADDER section 3.1.3, but see below).

LADDER compares F(b) - F(a) with quadrature in five windows of length 0.1, to 1 %. Here the answer is differentiated,
with dual numbers of 40 digits, and its derivative compared with the integrand point by point: to 10^-6 where decimals
occur, which are rounded, and to 10^-12 elsewhere. A value counts only where 25 digits give the same, so a point where
terms cancel or a pole is near decides nothing.

Real antiderivatives are often written with complex values, log(x) for x < 0 say. So the derivative alone is compared
where it agrees, but only a real value of the answer can refute it: an answer is judged on its own real domain.
"""

import functools
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from statistics import median

import mpmath
from mpmath import mp

from soar_lib.verifier.formulas import Formula, letters
from soar_lib.verifier.integrals import read
from soar_lib.verifier.numeric import Singular, derivative, value

POINTS, MINIMUM = 24, 20  # agreeing points after which an answer is accepted, and without which it is not
CANDIDATES = 480  # points tried for one integrand
SCALES = (1, 3, 10, 3, 1, 30, 0.3, 100)  # candidates lie in [-s, s], s in turn
TOLERANCE = 1e-6  # of answers with decimals, which are rounded; of others STABLE
LOW, HIGH = 25, 40  # digits of the two computations
STABLE = 1e-12  # they agree to this, relative to the value, or are both below NOTHING
NOTHING = 1e-15
SMALLEST = 1e-20  # an integrand of this size is 0


def stable(formula: Formula, at: dict[str, float], variable: str) -> tuple | None:
    """Value and derivative to HIGH digits; None where LOW digits give another. Raises Singular."""
    found = []
    for digits in (LOW, HIGH):
        with mp.workdps(digits):
            given = {name: mp.mpf(number) for name, number in at.items()}
            try:
                found.append((value(formula, given), derivative(formula, given, variable)))
            except (ArithmeticError, ValueError) as error:
                raise Singular from error
            if not all(map(mp.isfinite, found[-1])):
                raise Singular
    return found[1] if all(map(_same, *found)) else None


def _same(low, high) -> bool:
    return abs(low - high) <= STABLE * abs(high) + NOTHING


def real(number) -> bool:
    return abs(mp.im(number)) <= STABLE * abs(number) + NOTHING


# ------------------------------------------------------------------ antiderivatives


class Domain:
    """Points at which an integrand is real and well-conditioned, found by trying; the same for every answer."""

    def __init__(self, integrand: str, variable: str):
        self.formula, self.variable = read(integrand), variable
        self.tried: list[tuple] = []  # (why it is of no use, or ""; point; value)
        self._found: list[float] = []
        self._candidates = self._draw(random.Random(f"integral {integrand}"))

    def _draw(self, rng: random.Random) -> Iterator[float]:
        """Candidates around 0; where few serve, half of the later ones near those that did, or near `centres`."""
        for number in range(CANDIDATES):
            if number >= CANDIDATES // 4 and number % 2 and len(self._found) < POINTS:
                near = rng.choice(self._found or centres(self.formula))
                yield near + rng.uniform(-1, 1) * 10 ** rng.uniform(-2, 2)
            else:
                yield rng.uniform(-1, 1) * SCALES[number // 2 % len(SCALES)]

    def samples(self) -> Iterator[tuple]:
        """Every point tried, with the reason why it is of no use or "" and the integrand's value."""
        for number in range(CANDIDATES):
            if number == len(self.tried):
                self.tried.append(self._try(next(self._candidates)))
            yield self.tried[number]

    def _try(self, x: float) -> tuple:
        try:
            found = stable(self.formula, {self.variable: x}, self.variable)
        except Singular:
            return "singular", x, None
        if found is None or not real(found[0]):
            return "unstable" if found is None else "complex", x, None
        self._found.append(x)
        return "", x, mp.re(found[0])

    @functools.cached_property
    def scale(self) -> mpmath.mpf:
        """The usual size of the integrand, at most 1: small differences are measured against it near its zeros."""
        useful = (abs(size) for reason, _, size in self.samples() if not reason)
        return min(1, max(median([*itertools.islice(useful, MINIMUM)] or [0]), SMALLEST))


def centres(formula: Formula) -> list[float]:
    """Where a domain far from 0 may lie: at the numbers of a formula and their quotients, asin(3*x - 120) at 40."""
    sizes = sorted({1.0, *(float(n) for n in map(abs, _numbers(formula)) if 1e-6 < n < 1e6)})
    return sorted({sign * a / b for a in sizes for b in sizes for sign in (-1, 1)})


def _numbers(formula: Formula) -> Iterator[Fraction]:
    if formula.head == "number":
        yield formula.number
    for part in formula.parts:
        yield from _numbers(part)


@functools.lru_cache(maxsize=1024)
def domain(integrand: str, variable: str) -> Domain:
    return Domain(integrand, variable)


def antiderivative(integrand: str, answer: str, variable: str) -> dict:
    """The judgement on F(x) + C for f(x): right with MINIMUM agreeing points and none that refutes."""
    field, formula = domain(integrand, variable), read(answer)
    rng = random.Random(f"constants {integrand}")
    constants = {name: rng.uniform(1, 2) for name in sorted(letters(formula) - {variable})}
    counts: Counter = Counter()
    rounded = "." in integrand + answer
    for reason, x, wanted in field.samples():
        allowed = 0 if reason else (TOLERANCE if rounded else STABLE) * (abs(wanted) + field.scale)
        counts[reason or _compared(formula, constants | {variable: x}, variable, wanted, allowed)] += 1
        if counts["refuted"]:
            return dict(verdict="wrong", reason=f"another derivative at {variable} = {x:.6g}", **_shown(counts))
        if counts["agreed"] == POINTS:
            break
    enough = counts["agreed"] >= MINIMUM
    return dict(verdict="right" if enough else "wrong", reason="" if enough else "too few points", **_shown(counts))


def _compared(formula: Formula, at: dict[str, float], variable: str, wanted, allowed) -> str:
    try:
        found = stable(formula, at, variable)
    except Singular:
        return "singular"
    if found is None:
        return "unstable"
    if abs(found[1] - wanted) <= allowed:
        return "agreed"
    return "refuted" if real(found[0]) else "complex"


def _shown(counts: Counter) -> dict[str, int]:
    return {name: counts[name] for name in ("agreed", "complex", "singular", "unstable")}


def answer(question: list[str]) -> dict:
    """The judgement on [integrand, answer, variable]; both formulas have been read before."""
    return antiderivative(*question)
