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

from soar_lib.verifier.duals import Singular, dual
from soar_lib.verifier.formulas import Formula, letters, read

POINTS, MINIMUM = 24, 20  # agreeing points after which an answer is accepted, and without which it is not
CANDIDATES = 480  # points tried for one integrand
SCALES = (1, 3, 10, 3, 1, 30, 0.3, 100)  # candidates lie in [-s, s], s in turn
TOLERANCE = 1e-6  # of answers with decimals, which are rounded; of others STABLE
LOW, HIGH = 25, 40  # digits of the two computations
STABLE = 1e-12  # they agree to this, relative to the value, or are both below NOTHING
NOTHING = 1e-15
SMALLEST = 1e-20  # an integrand of this size is 0
SPLIT = 0.618  # an interval of integration is cut here, so that no pole lies in the middle of a piece
MAX_PIECES, MAX_DEGREE = 60, 5  # of the tanh-sinh rule
DIGITS, CONVERGED = 20, 1e-9  # of the quadrature, and its error in proportion to the integral


class NotReal(ValueError):
    """A complex value inside the interval of integration."""


class NoConvergence(ArithmeticError):
    """The pieces of an interval of integration became too many."""


def stable(formula: Formula, at: dict[str, float], variable: str) -> tuple | None:
    """Value and derivative to HIGH digits; None where LOW digits give another. Raises Singular."""
    found = []
    for digits in (LOW, HIGH):
        with mp.workdps(digits):
            given = {name: (mp.mpf(value), int(name == variable)) for name, value in at.items()}
            try:
                found.append(dual(formula, given))
            except (ArithmeticError, ValueError) as error:
                raise Singular from error
            if not all(map(mp.isfinite, found[-1])):
                raise Singular
    return found[1] if all(map(_same, *found)) else None


def _same(low, high) -> bool:
    return abs(low - high) <= STABLE * abs(high) + NOTHING


def real(value) -> bool:
    return abs(mp.im(value)) <= STABLE * abs(value) + NOTHING


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
            value = stable(self.formula, {self.variable: x}, self.variable)
        except Singular:
            return "singular", x, None
        if value is None or not real(value[0]):
            return "unstable" if value is None else "complex", x, None
        self._found.append(x)
        return "", x, mp.re(value[0])

    @functools.cached_property
    def scale(self) -> mpmath.mpf:
        """The usual size of the integrand, at most 1: small differences are measured against it near its zeros."""
        useful = (abs(value) for reason, _, value in self.samples() if not reason)
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
    for reason, x, value in field.samples():
        allowed = 0 if reason else (TOLERANCE if rounded else STABLE) * (abs(value) + field.scale)
        counts[reason or _compared(formula, constants | {variable: x}, variable, value, allowed)] += 1
        if counts["refuted"]:
            return dict(verdict="wrong", reason=f"another derivative at {variable} = {x:.6g}", **_shown(counts))
        if counts["agreed"] == POINTS:
            break
    enough = counts["agreed"] >= MINIMUM
    return dict(verdict="right" if enough else "wrong", reason="" if enough else "too few points", **_shown(counts))


def _compared(formula: Formula, at: dict[str, float], variable: str, wanted, allowed) -> str:
    try:
        value = stable(formula, at, variable)
    except Singular:
        return "singular"
    if value is None:
        return "unstable"
    if abs(value[1] - wanted) <= allowed:
        return "agreed"
    return "refuted" if real(value[0]) else "complex"


def _shown(counts: Counter) -> dict[str, int]:
    return {name: counts[name] for name in ("agreed", "complex", "singular", "unstable")}


# ------------------------------------------------------------------ definite integrals


def definite(integrand: str, answer: str, variable: str, bounds: tuple[str, str]) -> dict:
    """The judgement on a number for the integral between two bounds (numbers, or oo and -oo), by quadrature."""
    formula = read(integrand)
    with mp.workdps(DIGITS):
        try:
            start, end = map(_bound, bounds)
            given = dual(read(answer), {})[0]
            total, size = _quadrature(formula, variable, start, end)
        except NoConvergence:
            return dict(verdict="wrong", reason="the quadrature does not converge")
        except (ArithmeticError, ValueError):
            return dict(verdict="wrong", reason="no finite real value")
        close = abs(given - total) <= TOLERANCE * abs(total) + CONVERGED * size
        return dict(verdict="right" if close else "wrong", reason="" if close else f"the value is {mp.nstr(total, 8)}")


def _bound(text: str) -> mpmath.mpf:
    return {"oo": mp.inf, "-oo": mp.ninf}.get(text) or dual(read(text), {})[0]


def _quadrature(formula: Formula, variable: str, start, end) -> tuple:
    """The integral and the sum of its pieces' sizes. Raises NoConvergence and NotReal."""

    def integrand(x):
        try:
            value = dual(formula, {variable: (x, 0)})[0]
        except (ArithmeticError, ValueError):
            return mp.zero  # at a point alone it changes nothing; a pole shows in the error
        if not real(value):
            raise NotReal
        return mp.re(value)

    total, size, pieces = mp.zero, mp.zero, _cut(start, end)
    for _ in range(MAX_PIECES):
        if not pieces:
            return total, size
        piece = pieces.pop()
        value, error = mp.quad(integrand, piece, error=True, maxdegree=MAX_DEGREE)
        if error <= CONVERGED * (size + abs(value)):
            total, size = total + value, size + abs(value)
        else:
            pieces += _cut(*piece)
    raise NoConvergence


def _cut(start, end) -> list[tuple]:
    if mp.isinf(start) and mp.isinf(end):
        middle = mp.mpf(SPLIT)
    elif mp.isinf(start) or mp.isinf(end):
        finite, sign = (end, -1) if mp.isinf(start) else (start, 1)
        middle = finite + sign * (1 + abs(finite))
    else:
        middle = start + SPLIT * (end - start)
    return [(start, middle), (middle, end)]


def answer(question: list) -> dict:
    """The judgement on [integrand, answer, variable, bounds or None]; both formulas have been read before."""
    integrand, given, variable, bounds = question
    if bounds is None:
        return antiderivative(integrand, given, variable)
    return definite(integrand, given, variable, bounds)
