r"""Integrals judged by numbers, in a worker process (LADDER section 3.1.3, but see below).

LADDER compares F(b) - F(a) with quadrature in five windows of length 0.1, to 1 %. Here the answer's derivative, from
two values near by, is compared with the integrand point by point: to 10^-6 where decimals occur, which are rounded, and
to 10^-12 elsewhere. A value counts only where 25 digits give the same as 40, so a point where terms cancel or a pole is
near decides nothing.

Real antiderivatives are often written with complex values, log(x) for x < 0 say. So the derivative alone is compared
where it agrees, but only a real value of the answer can refute it: an answer is judged on its own real domain.
"""

import functools
import itertools
import math
import random
from collections.abc import Iterator
from fractions import Fraction
from statistics import median

import mpmath
from mpmath import mp

from soar_lib.verifier.answers import MAX_EXPONENT
from soar_lib.verifier.formulas import Formula, letters
from soar_lib.verifier.integrals import read

POINTS, MINIMUM = 24, 20  # agreeing points after which an answer is accepted, and without which it is not
CANDIDATES = 480  # points tried for one integrand
SCALES = (1, 3, 10, 3, 1, 30, 0.3, 100)  # candidates lie in [-s, s], s in turn
TOLERANCE = 1e-6  # of answers with decimals, which are rounded; of others STABLE
LOW, HIGH = 25, 40  # digits of the two computations
STABLE = 1e-12  # they agree to this, relative to the value, or are both below NOTHING
NOTHING = 1e-15
SMALLEST = 1e-20  # an integrand of this size is 0
MAX_MAGNITUDE = 256  # bits before the point in an argument of a function
MPMATH = {"abs": "fabs", "Si": "si", "Ci": "ci", "Ei": "ei"}  # names that differ from ours


class Singular(ArithmeticError):
    """No finite value here, or one beyond the limits."""


# ------------------------------------------------------------------ values and derivatives


def value(formula: Formula, at: dict, m=mp):
    """The value in mpmath's context `m`, complex ones on principal branches; `at` gives that of each letter.

    Raises ArithmeticError or ValueError where there is no finite value.
    """
    head = formula.head
    if head == "number":
        return m.fdiv(*formula.number.as_integer_ratio())
    if head in ("letter", "pi"):
        return at[formula.name] if head == "letter" else +m.pi
    parts = [value(part, at, m) for part in formula.parts]
    if head in ("+", "*"):
        return sum(parts) if head == "+" else math.prod(parts)
    if head == "^" and formula.parts[1].head == "number":
        n = formula.parts[1].number
        if abs(n) > MAX_EXPONENT:
            raise Singular
        return m.power(parts[0], int(n) if n.denominator == 1 else parts[1])
    if head == "^":
        if not parts[0]:
            raise Singular
        head, parts = "exp", [parts[1] * m.log(parts[0])]
    if m.isnan(parts[0]) or m.isinf(parts[0]) or m.mag(parts[0]) > MAX_MAGNITUDE:
        raise Singular
    if head == "sign" and (not parts[0] or m.im(parts[0])):
        raise Singular
    return getattr(m, MPMATH.get(head, head))(parts[0])


def derivative(formula: Formula, at: dict, variable: str):
    """The derivative to the working precision, from two values near by with more than twice the digits."""
    return mp.diff(lambda x: value(formula, at | {variable: x}), at[variable])


def stable(formula: Formula, at: dict[str, float], variable: str) -> tuple | None:
    """Value and derivative to HIGH digits; None where there are none, or LOW digits differ."""
    found = []
    for digits in (LOW, HIGH):
        with mp.workdps(digits):
            given = {name: mp.mpf(number) for name, number in at.items()}
            try:
                found.append((value(formula, given), derivative(formula, given, variable)))
            except (ArithmeticError, ValueError):
                return None
            if not all(map(mp.isfinite, found[-1])):
                return None
    return found[1] if all(abs(a - b) <= STABLE * abs(b) + NOTHING for a, b in zip(*found)) else None


def real(number) -> bool:
    return abs(mp.im(number)) <= STABLE * abs(number) + NOTHING


# ------------------------------------------------------------------ where an integrand can be compared


class Domain:
    """Points at which an integrand is real and well-conditioned, found by trying; the same for every answer."""

    def __init__(self, integrand: str, variable: str):
        self.formula, self.variable = read(integrand), variable
        self._found: list[tuple] = []  # (point, value)
        self._more = self._search(random.Random(f"integral {integrand}"))

    def samples(self) -> Iterator[tuple]:
        """Every point with the integrand's value there."""
        for number in itertools.count():
            if number == len(self._found) and not next(self._more, False):
                return
            yield self._found[number]

    def _search(self, rng: random.Random) -> Iterator[bool]:
        """Adds points around 0, one by one; where few serve, half of the later candidates lie near those that did, or
        near `centres`."""
        for number in range(CANDIDATES):
            if number >= CANDIDATES // 4 and number % 2 and len(self._found) < POINTS:
                near = rng.choice([x for x, _ in self._found] or centres(self.formula))
                x = near + rng.uniform(-1, 1) * 10 ** rng.uniform(-2, 2)
            else:
                x = rng.uniform(-1, 1) * SCALES[number // 2 % len(SCALES)]
            found = stable(self.formula, {self.variable: x}, self.variable)
            if found and real(found[0]):
                self._found.append((x, mp.re(found[0])))
                yield True

    @functools.cached_property
    def scale(self) -> mpmath.mpf:
        """The usual size of the integrand, at most 1: small differences are measured against it near its zeros."""
        sizes = [abs(size) for _, size in itertools.islice(self.samples(), MINIMUM)]
        return min(1, max(median(sizes or [0]), SMALLEST))


def centres(formula: Formula) -> list[float]:
    """Where a domain far from 0 may lie: at the numbers of a formula and their quotients, asin(3*x - 120) at 40."""
    sizes = sorted({1.0, *(float(n) for n in map(abs, _numbers(formula)) if 1e-6 < n < 1e6)})
    return sorted({sign * a / b for a in sizes for b in sizes for sign in (-1, 1)})


def _numbers(formula: Formula) -> Iterator[Fraction]:
    if formula.head == "number":
        yield formula.number
    for part in formula.parts:
        yield from _numbers(part)


domain = functools.lru_cache(maxsize=1024)(Domain)


# ------------------------------------------------------------------ the judgement


def judge(integrand: str, answer: str, variable: str) -> tuple[str, str]:
    """Verdict and reason: right with MINIMUM agreeing points and none that refutes."""
    field, formula, agreed = domain(integrand, variable), read(answer), 0
    rng = random.Random(f"constants {integrand}")
    constants = {name: rng.uniform(1, 2) for name in sorted(letters(formula) - {variable})}
    tolerance = TOLERANCE if "." in integrand + answer else STABLE
    for x, wanted in field.samples():
        found = stable(formula, constants | {variable: x}, variable)
        if found and abs(found[1] - wanted) <= tolerance * (abs(wanted) + field.scale):
            agreed += 1
        elif found and real(found[0]):
            return "wrong", f"another derivative at {variable} = {x:.6g}"
        if agreed == POINTS:
            break
    return ("right", f"{agreed} points agree") if agreed >= MINIMUM else ("wrong", "too few points")
