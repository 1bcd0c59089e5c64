"""Values and derivatives of formulas in mpmath's numbers of any precision; complex ones on principal branches."""

import math

from mpmath import mp

from soar_lib.verifier.formulas import Formula

MAX_MAGNITUDE = 256  # bits before the point in an argument of a function
MAX_EXPONENT = 10**12
MPMATH = {"abs": "fabs", "Si": "si", "Ci": "ci", "Ei": "ei", "!": "factorial"}  # names that differ from ours


class Singular(ArithmeticError):
    """No finite value here, or one beyond the limits."""


def value(formula: Formula, letters: dict, m=mp):
    """The value of a formula in mpmath's context `m`; `letters` gives that of each letter.

    Raises ArithmeticError or ValueError where there is no finite value.
    """
    head = formula.head
    if head == "number":
        top, bottom = formula.number.as_integer_ratio()
        return m.mpf(top) / bottom
    if head in ("letter", "pi"):
        return letters[formula.name] if head == "letter" else +m.pi
    parts = [value(part, letters, m) for part in formula.parts]
    if head in ("+", "*"):
        return sum(parts) if head == "+" else math.prod(parts)
    if head == "^":
        return _power(m, *parts, formula.parts[1])
    return _function(m, head, parts[0])


def _function(m, head: str, u):
    if m.isnan(u) or m.isinf(u) or m.mag(u) > MAX_MAGNITUDE:
        raise Singular
    if head == "sign" and (not u or m.im(u)):
        raise Singular
    return getattr(m, MPMATH.get(head, head))(u)


def _power(m, u, v, exponent: Formula):
    if exponent.head != "number":
        if not u:
            raise Singular
        return _function(m, "exp", v * m.log(u))
    n = exponent.number
    if abs(n) > MAX_EXPONENT:
        raise Singular
    return m.power(u, int(n) if n.denominator == 1 else v)


def derivative(formula: Formula, letters: dict, variable: str):
    """The derivative to the working precision, from two values near by, computed with three times the digits."""
    digits = mp.dps
    with mp.workdps(3 * digits):
        step = mp.mpf(10) ** -digits
        values = [value(formula, letters | {variable: letters[variable] + sign * step}) for sign in (1, -1)]
        return (values[0] - values[1]) / (2 * step)
