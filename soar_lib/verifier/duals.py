"""The value and derivative of a formula at a point, in mpmath's numbers of any precision.

Both are computed together, node by node (dual numbers): no derivative is ever written out, so nothing grows. Values
may be complex, on principal branches as in sympy; the derivative is the formula's own, so log(x) has 1/x for x < 0 too.
"""

import functools

from mpmath import mp

from soar_lib.verifier.formulas import Formula

MAX_MAGNITUDE = 256  # bits before the point in an argument of a function
MAX_EXPONENT = 10**12


class Singular(ArithmeticError):
    """No finite value here, or one beyond the limits."""


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
    "coth": (lambda m, u: m.coth(u), lambda m, u, v: -(m.csch(u) ** 2)),
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
    if head == "abs" and not u and not slope:
        return u, 0
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
