r"""What a worker process answers (see `workers`): questions to Math-Verify, and about integrals.

Math-Verify 0.9.0 is asked through its LaTeX reader alone: its plain-text reader hands text to Python's eval. Its
SIGALRM timeouts stay off. Numbers and expressions are compared by value first: it accepts any two numbers below 10^-6,
it misses equal roots such as sqrt(1/n) and 1/sqrt(n), and simplifying an unequal difference takes it long.

Integrals: LADDER (3.1.3) compares F(b) - F(a) with quadrature in five windows of length 0.1, to 1 %. Here the answer's
derivative is compared with the integrand point by point: to 10^-6 where decimals occur, which are rounded, and to
10^-12 elsewhere. A value counts only where 25 digits give the same as 40, so a point where terms cancel or a pole is
near decides nothing. Real antiderivatives are often written with complex values, log(x) for x < 0 say. So agreement
needs the derivative alone, but only a real value of the answer can refute it: it is judged on its own real domain."""

import copy
import functools
import itertools
import math
import random
from collections.abc import Iterator
from statistics import median

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from mpmath import mp
from sympy import Basic, Expr, Float, MatrixBase, Rational, Symbol

from soar_lib.verifier import integrals
from soar_lib.verifier.answers import MAX_EXPONENT
from soar_lib.verifier.formulas import Formula, letters

NORMALIZATION = NormalizationConfig(basic_latex=True, units=True, malformed_operators=True, nits=True, boxed="last")
LATEX_ONLY = [LatexExtractionConfig(boxed_match_priority=0, normalization_config=NORMALIZATION)]
# sympy's ways of saying that it cannot compare two objects
REFUSALS = (ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError)
DIGITS, DECIMAL_DIGITS = 30, 9  # to which values agree, and where a decimal is involved
PLACES = (Rational(37, 29), Rational(101, 67), Rational(-53, 41), Rational(-17, 13))  # for expressions with letters
POINTS, MINIMUM = 24, 20  # agreeing points after which an integral is accepted, and without which it is not
CANDIDATES = 480  # points tried for one integrand
SCALES = (1, 3, 10, 3, 1, 30, 0.3, 100)  # candidates lie in [-s, s], s in turn
TOLERANCE = 1e-6  # of answers with decimals, which are rounded; of others STABLE
LOW, HIGH = 25, 40  # digits of the two computations
STABLE, NOTHING = 1e-12, 1e-15  # they agree to STABLE, relative to the value, or are both below NOTHING
SMALLEST = 1e-20  # an integrand of this size is 0
MAX_MAGNITUDE = 256  # bits before the point in an argument of a function
MPMATH = {"abs": "fabs", "Si": "si", "Ci": "ci", "Ei": "ei"}  # names that differ from ours


def answer(question: list[str]) -> bool | list[str]:
    """True or false to [gold, answer] (the same?) and [answer] (readable?); to `judge`'s three, a verdict and why."""
    if len(question) == 3:
        return judge(*question)
    readings = [read(text) for text in question]
    if len(question) == 1:  # into mathematics, not only into a string to compare
        return any(isinstance(reading, (Basic, MatrixBase)) for reading in readings[0])
    try:
        equal = None if "%" in "".join(question) else equal_values(*readings)
        if equal is None:
            equal = verify(*map(list, readings), timeout_seconds=None, allow_set_relation_comp=True)
        return bool(equal)
    except REFUSALS:
        return False


@functools.lru_cache(maxsize=4096)
def read(text: str) -> tuple:
    """Math-Verify's readings of an answer: sympy objects and the text itself."""
    try:
        return tuple(parse(f"\\boxed{{{text}}}", LATEX_ONLY, parsing_timeout=None))
    except REFUSALS:
        return ()


def equal_values(left: tuple, right: tuple) -> bool | None:
    """Whether two readings have equal values, as constants or at real points; None where there is no value."""
    first = [side[0] for side in (left, right) if side and isinstance(side[0], Expr) and not side[0].is_Matrix]
    if len(first) < 2 or any(isinstance(side, Symbol) for side in first):
        return None  # \text{even} is a symbol too
    a, b = first
    free = sorted(a.free_symbols | b.free_symbols, key=str)
    points = [{letter: point + Rational(i, 7) for i, letter in enumerate(free)} for point in PLACES]
    verdicts = [close(a.xreplace(point), b.xreplace(point)) for point in (points if free else points[:1])]
    return False if False in verdicts else True if verdicts.count(True) >= min(2, len(verdicts)) else None


def close(a: Expr, b: Expr) -> bool | None:
    """Equal to DIGITS relative to their size, decimals as exact fractions; None unless both are real numbers."""
    digits = DECIMAL_DIGITS if a.has(Float) or b.has(Float) else DIGITS
    exact = [side.replace(lambda part: isinstance(part, Float), lambda part: Rational(str(part))) for side in (a, b)]
    left, right = (side.doit().evalf(DIGITS + 10) for side in exact)
    if not (isinstance(left, Float | Rational) and isinstance(right, Float | Rational)):
        return None
    return bool(abs(left - right) <= max(abs(left), abs(right)) * Rational(1, 10**digits))


def value(formula: Formula, at: dict, m=mp):
    """The value in mpmath's context `m`, complex ones on principal branches; `at` gives that of each letter. Raises
    ArithmeticError or ValueError where there is no finite value, or one beyond the limits."""
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
            raise ArithmeticError
        return m.power(parts[0], int(n) if n.denominator == 1 else parts[1])
    x = parts[0]
    if head in ("^", "sign") and not x or head == "sign" and m.im(x):
        raise ArithmeticError
    head, x = ("exp", parts[1] * m.log(x)) if head == "^" else (head, x)
    if m.isnan(x) or m.isinf(x) or m.mag(x) > MAX_MAGNITUDE:
        raise ArithmeticError
    return getattr(m, MPMATH.get(head, head))(x)


def stable(formula: Formula, at: dict[str, float], variable: str) -> tuple | None:
    """Value and derivative (by two values near by) to HIGH digits; None where there is none, or LOW digits differ."""
    found = []
    for digits in (LOW, HIGH):
        with mp.workdps(digits):
            given = {name: mp.mpf(number) for name, number in at.items()}
            try:
                slope = mp.diff(lambda x: value(formula, given | {variable: x}), given[variable])
                found.append((value(formula, given), slope))
            except (ArithmeticError, ValueError):
                return None
            if not all(map(mp.isfinite, found[-1])):
                return None
    return found[1] if all(abs(a - b) <= STABLE * abs(b) + NOTHING for a, b in zip(*found)) else None


def _real(number) -> bool:
    return abs(mp.im(number)) <= STABLE * abs(number) + NOTHING


def samples(integrand: str, variable: str) -> Iterator[tuple]:
    """Points at which an integrand is real and well-conditioned, with its values, found by trying: around 0, and where
    few serve, half of the later candidates near those that did, or near `centres`."""
    formula, rng, found = integrals.read(integrand), random.Random(f"integral {integrand}"), []
    for number in range(CANDIDATES):
        if number >= CANDIDATES // 4 and number % 2 and len(found) < POINTS:
            near = rng.choice(found or centres(formula))
            x = near + rng.uniform(-1, 1) * 10 ** rng.uniform(-2, 2)
        else:
            x = rng.uniform(-1, 1) * SCALES[number // 2 % len(SCALES)]
        here = stable(formula, {variable: x}, variable)
        if here and _real(here[0]):
            found.append(x)
            yield x, mp.re(here[0])


def centres(formula: Formula) -> list[float]:
    """Where a domain far from 0 may lie: at the numbers of a formula and their quotients, asin(3*x - 120) at 40."""
    found, left = {1.0}, [formula]
    while left:
        part = left.pop()
        found |= {float(abs(part.number))} if part.head == "number" and 1e-6 < abs(part.number) < 1e6 else set()
        left += part.parts
    return sorted({sign * a / b for a in found for b in found for sign in (-1, 1)})


@functools.lru_cache(maxsize=1024)
def domain(integrand: str, variable: str) -> tuple[Iterator[tuple], mp.mpf]:
    """`samples`, the same for every answer: copies of the iterator share what is found. And the usual size of the
    integrand, at most 1, against which small differences are measured near its zeros."""
    first, points = itertools.tee(samples(integrand, variable))
    sizes = [abs(size) for _, size in itertools.islice(first, MINIMUM)]
    return points, min(1, max(median(sizes or [0]), SMALLEST))


def judge(integrand: str, answer: str, variable: str) -> tuple[str, str]:
    """Verdict and reason: right with MINIMUM agreeing points and none that refutes."""
    (points, scale), formula, agreed = domain(integrand, variable), integrals.read(answer), 0
    rng = random.Random(f"constants {integrand}")
    constants = {name: rng.uniform(1, 2) for name in sorted(letters(formula) - {variable})}
    tolerance = TOLERANCE if "." in integrand + answer else STABLE
    for x, wanted in copy.copy(points):
        found = stable(formula, constants | {variable: x}, variable)
        if found and abs(found[1] - wanted) <= tolerance * (abs(wanted) + scale):
            agreed += 1
        elif found and _real(found[0]):
            return "wrong", f"another derivative at {variable} = {x:.6g}"
        if agreed == POINTS:
            break
    return ("right", f"{agreed} points agree") if agreed >= MINIMUM else ("wrong", "too few points")
