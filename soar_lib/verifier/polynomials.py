"""Formulas that are polynomials in x and 1/x with rational coefficients, computed exactly (see `formulas`)."""

import functools
from fractions import Fraction

from soar_lib.verifier.formulas import MAX_BITS, Formula

MAX_TERMS = 200
MAX_POWER = 64  # to which a polynomial of several terms is raised

Polynomial = dict[int, Fraction]  # exponent (negative ones too) -> coefficient, zeros left out


def polynomial(formula: Formula, variable: str) -> Polynomial | None:
    """The formula as a polynomial; None where it is none, or one with too many terms.

    >>> from soar_lib.verifier.formulas import read
    >>> polynomial(read("(x - 1)**2/3"), "x") == {0: Fraction(1, 3), 1: Fraction(-2, 3), 2: Fraction(1, 3)}
    True
    """
    if formula.head == "number":
        return _without_zeros({0: formula.number})
    if formula.head == "letter":
        return {1: Fraction(1)} if formula.name == variable else None
    if formula.head not in ("+", "*", "^"):
        return None
    parts = [polynomial(part, variable) for part in formula.parts]
    if None in parts:
        return None
    if formula.head == "^":
        return _raised(parts[0], parts[1])
    return _added(parts) if formula.head == "+" else functools.reduce(_multiplied, parts)


def derivative(terms: Polynomial) -> Polynomial:
    """The derivative, term by term.

    >>> derivative({-1: 1, 0: 5, 3: 2}) == {-2: -1, 2: 6}
    True
    """
    return {exponent - 1: exponent * factor for exponent, factor in terms.items() if exponent}


def _without_zeros(terms: Polynomial) -> Polynomial:
    return {exponent: factor for exponent, factor in terms.items() if factor}


def _added(parts: list[Polynomial]) -> Polynomial:
    total: Polynomial = {}
    for exponent, factor in (term for part in parts for term in part.items()):
        total[exponent] = total.get(exponent, 0) + factor
    return _without_zeros(total)


def _multiplied(a: Polynomial | None, b: Polynomial) -> Polynomial | None:
    if a is None or len(a) * len(b) > MAX_TERMS:
        return None
    return _added([{i + j: x * y for j, y in b.items()} for i, x in a.items()])


def _raised(base: Polynomial, exponent: Polynomial) -> Polynomial | None:
    if exponent.keys() - {0} or (n := exponent.get(0, Fraction(0))).denominator != 1:
        return None
    n = int(n)
    if len(base) == 1:
        ((degree, factor),) = base.items()
        size = max(map(int.bit_length, factor.as_integer_ratio()))
        return {degree * n: factor**n} if factor == 1 or size * abs(n) <= MAX_BITS else None
    if not 0 <= n <= MAX_POWER:
        return None
    return functools.reduce(_multiplied, [base] * n, {0: Fraction(1)})
