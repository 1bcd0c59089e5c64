r"""The process that judges integrals by numbers: JSON lines in, judgements out (LADDER section 3.1.3, but see below).

LADDER compares F(b) - F(a) with quadrature in five windows of length 0.1, to 1 %. Here the answer is differentiated,
with dual numbers of 40 digits, and its derivative compared with the integrand point by point, to 10^-6. A value counts
only where 20 digits give the same, so a point where terms cancel or a pole is near decides nothing.

Real antiderivatives are often written with complex values, log(x) for x < 0 say. So the derivative alone is compared
where it agrees, but only a real value of the answer can refute it: an answer is judged on its own real domain.
"""

import functools
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from statistics import median

import mpmath
from mpmath import mp

from soar_lib.problems.formulas import Formula, letters, read

POINTS, MINIMUM = 24, 20  # agreeing points after which an answer is accepted, and without which it is not
CANDIDATES = 480  # points tried for one integrand
SCALES = (1, 3, 10, 3, 1, 30, 0.3, 100)  # candidates lie in [-s, s], s in turn
WIDE_SCALES = (300, 1e3, 1e4, 1e5)  # if most of these are in vain
TOLERANCE = 1e-6
LOW, HIGH = 20, 40  # digits of the two computations
STABLE = 1e-9  # they agree to this, relative to the value, or are both below NOTHING
NOTHING = 1e-15
SMALLEST = 1e-20  # an integrand of this size is 0
MAX_MAGNITUDE = 256  # bits before the point in an argument of a function
MAX_EXPONENT = 10**12
INFINITY = ("oo", "inf", "infinity", "\\infty", "∞")
SPLIT = 0.618  # an interval of integration is cut here, so that no pole lies in the middle of a piece
MAX_PIECES, MAX_DEGREE = 60, 5  # of the tanh-sinh rule


class Singular(ArithmeticError):
    """No finite value here, or one beyond the limits."""


class NotReal(ValueError):
    """A complex value inside the interval of integration."""


class NoConvergence(ArithmeticError):
    """The pieces of an interval of integration became too many."""


# ------------------------------------------------------------------ values and derivatives

# name -> (value at u, derivative at u given the value v); m is mpmath's context
FUNCTIONS = {
    "exp": (lambda m, u: m.exp(u), lambda m, u, v: v),
    "log": (lambda m, u: m.log(u), lambda m, u, v: 1 / u),
    "sqrt": (lambda m, u: m.sqrt(u), lambda m, u, v: 1 / (2 * v)),
    "sin": (lambda m, u: m.sin(u), lambda m, u, v: m.cos(u)),
    "cos": (lambda m, u: m.cos(u), lambda m, u, v: -m.sin(u)),
    "tan": (lambda m, u: m.tan(u), lambda m, u, v: 1 + v * v),
    "cot": (lambda m, u: m.cot(u), lambda m, u, v: -1 - v * v),
    "sec": (lambda m, u: m.sec(u), lambda m, u, v: v * m.tan(u)),
    "csc": (lambda m, u: m.csc(u), lambda m, u, v: -v * m.cot(u)),
    "sinh": (lambda m, u: m.sinh(u), lambda m, u, v: m.cosh(u)),
    "cosh": (lambda m, u: m.cosh(u), lambda m, u, v: m.sinh(u)),
    "tanh": (lambda m, u: m.tanh(u), lambda m, u, v: m.sech(u) ** 2),
    "coth": (lambda m, u: m.coth(u), lambda m, u, v: -m.csch(u) ** 2),
    "sech": (lambda m, u: m.sech(u), lambda m, u, v: -v * m.tanh(u)),
    "csch": (lambda m, u: m.csch(u), lambda m, u, v: -v * m.coth(u)),
    "asin": (lambda m, u: m.asin(u), lambda m, u, v: 1 / m.sqrt(1 - u * u)),
    "acos": (lambda m, u: m.acos(u), lambda m, u, v: -1 / m.sqrt(1 - u * u)),
    "atan": (lambda m, u: m.atan(u), lambda m, u, v: 1 / (1 + u * u)),
    "acot": (lambda m, u: m.acot(u), lambda m, u, v: -1 / (1 + u * u)),
    "asec": (lambda m, u: m.asec(u), lambda m, u, v: 1 / (u * u * m.sqrt(1 - 1 / (u * u)))),
    "acsc": (lambda m, u: m.acsc(u), lambda m, u, v: -1 / (u * u * m.sqrt(1 - 1 / (u * u)))),
    "asinh": (lambda m, u: m.asinh(u), lambda m, u, v: 1 / m.sqrt(1 + u * u)),
    "acosh": (lambda m, u: m.acosh(u), lambda m, u, v: 1 / (m.sqrt(u - 1) * m.sqrt(u + 1))),
    "atanh": (lambda m, u: m.atanh(u), lambda m, u, v: 1 / (1 - u * u)),
    "acoth": (lambda m, u: m.acoth(u), lambda m, u, v: 1 / (1 - u * u)),
    "erf": (lambda m, u: m.erf(u), lambda m, u, v: 2 * m.exp(-u * u) / m.sqrt(m.pi)),
    "Si": (lambda m, u: m.si(u), lambda m, u, v: m.sin(u) / u),
    "Ci": (lambda m, u: m.ci(u), lambda m, u, v: m.cos(u) / u),
    "Ei": (lambda m, u: m.ei(u), lambda m, u, v: m.exp(u) / u),
}


def dual(formula: Formula, letters: dict[str, tuple], m=mp) -> tuple:
    """Value and derivative of a formula in mpmath's context `m`; `letters` gives those of each letter.

    Raises ArithmeticError or ValueError where there is no finite value.
    """
    head = formula.head
    if head == "number":
        top, bottom = formula.number.as_integer_ratio()
        return m.mpf(top) / bottom, 0
    if head == "letter":
        return letters[formula.name]
    if head == "pi":
        return +m.pi, 0
    parts = [dual(part, letters, m) for part in formula.parts]
    if head == "+":
        return sum(value for value, _ in parts), sum(slope for _, slope in parts)
    if head == "*":
        return functools.reduce(lambda a, b: (a[0] * b[0], a[1] * b[0] + a[0] * b[1]), parts)
    if head == "^":
        return _power(m, *parts[0], *parts[1], formula.parts[1])
    return _function(m, head, *parts[0])


def _function(m, head: str, u, slope) -> tuple:
    if m.isnan(u) or m.isinf(u) or m.mag(u) > MAX_MAGNITUDE:
        raise Singular
    if head in ("abs", "sign"):
        return _absolute(m, head, u, slope)
    value, rate = FUNCTIONS[head]
    v = value(m, u)
    return v, slope * rate(m, u, v) if slope else 0


def _absolute(m, head: str, u, slope) -> tuple:
    if not u or (head == "sign" and m.im(u)):
        raise Singular
    size = abs(u)
    return (size, m.re(m.conj(u) * slope) / size) if head == "abs" else (u / size, 0)


def _power(m, u, du, v, dv, exponent: Formula) -> tuple:
    if exponent.head != "number":  # exp(v log u)
        if not u:
            raise Singular
        log = m.log(u)
        return _function(m, "exp", v * log, (dv * log if dv else 0) + (v * du / u if du else 0))
    n = exponent.number
    if abs(n) > MAX_EXPONENT:
        raise Singular
    n, before = (int(n), int(n) - 1) if n.denominator == 1 else (v, v - 1)
    return m.power(u, n), n * m.power(u, before) * du if du else 0


def stable(formula: Formula, letters: dict[str, float], variable: str) -> tuple | None:
    """Value and derivative to HIGH digits; None where LOW digits give another. Raises Singular."""
    found = []
    for digits in (LOW, HIGH):
        with mp.workdps(digits):
            given = {name: (mp.mpf(at), int(name == variable)) for name, at in letters.items()}
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
        """Candidates around 0; where few of them serve, half of the later ones far off, half near those that did."""
        for number in range(CANDIDATES):
            few = number >= CANDIDATES // 4 and len(self._found) < POINTS
            scales = WIDE_SCALES if few and number % 2 else SCALES
            x = rng.uniform(-1, 1) * scales[number // 2 % len(scales)]
            near = few and self._found and number % 2 == 0
            yield rng.choice(self._found) + x / 10 ** rng.uniform(0, 3) if near else x

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


@functools.lru_cache(maxsize=1024)
def domain(integrand: str, variable: str) -> Domain:
    return Domain(integrand, variable)


def antiderivative(integrand: str, answer: str, variable: str) -> dict:
    """The judgement on F(x) + C for f(x): right with MINIMUM agreeing points and none that refutes."""
    field, formula = domain(integrand, variable), read(answer)
    rng = random.Random(f"constants {integrand}")
    constants = {name: rng.uniform(1, 2) for name in sorted(letters(formula) - {variable})}
    counts: Counter = Counter()
    for reason, x, value in field.samples():
        counts[reason or _compared(formula, constants | {variable: x}, variable, value, field.scale)] += 1
        if counts["refuted"]:
            return dict(verdict="wrong", reason=f"another derivative at {variable} = {x:.6g}", **_shown(counts))
        if counts["agreed"] == POINTS:
            break
    enough = counts["agreed"] >= MINIMUM
    return dict(verdict="right" if enough else "wrong", reason="" if enough else "too few points", **_shown(counts))


def _compared(formula: Formula, at: dict[str, float], variable: str, wanted, scale) -> str:
    try:
        value = stable(formula, at, variable)
    except Singular:
        return "singular"
    if value is None:
        return "unstable"
    if abs(value[1] - wanted) <= TOLERANCE * (abs(wanted) + scale):
        return "agreed"
    return "refuted" if real(value[0]) else "complex"


def _shown(counts: Counter) -> dict[str, int]:
    return {name: counts[name] for name in ("agreed", "complex", "singular", "unstable")}


# ------------------------------------------------------------------ definite integrals


def definite(integrand: str, answer: str, variable: str, bounds: tuple[str, str]) -> dict:
    """The judgement on a number for the integral between two bounds (numbers, or oo and -oo), by quadrature."""
    formula = read(integrand)
    with mp.workdps(LOW):
        start, end = map(_bound, bounds)
        try:
            given = dual(read(answer), {})[0]
            total, size = _quadrature(formula, variable, start, end)
        except NoConvergence:
            return dict(verdict="wrong", reason="the quadrature does not converge")
        except (ArithmeticError, ValueError):
            return dict(verdict="wrong", reason="no finite real value")
        close = abs(given - total) <= TOLERANCE * abs(total) + STABLE * size
        return dict(verdict="right" if close else "wrong", reason="" if close else f"the value is {mp.nstr(total, 8)}")


def _bound(text: str) -> mpmath.mpf:
    bare = text.strip().removeprefix("+").removeprefix("-").strip()
    return (mp.ninf if "-" in text else mp.inf) if bare in INFINITY else dual(read(text), {})[0]


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
        if error <= STABLE * (size + abs(value)):
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
