"""When two questions are one, and how far apart two are: a canonical form, and a distance between canonical forms.

The form of an integral is that of its integrand: a polynomial's terms in order, otherwise the formula with sums and
products sorted. So `∫ 2*x + x**2 dx` in one wording is `\\int x^2 + 2x \\, dx` in another. Any other question is its
text without spaces, dollar signs and the full stop at its end. Signs count here, unlike in `overlap`."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce

from soar_lib.records import Problem
from soar_lib.verifier.formulas import MAX_BITS, Formula, Unreadable, letters
from soar_lib.verifier.integrals import integrand_of, read

SPAN = 3  # characters of a piece of text
MAX_TERMS = 200
MAX_POWER = 64  # to which a polynomial of several terms is raised

Polynomial = dict[int, Fraction]  # exponent (negative ones too) -> coefficient, zeros left out


@lru_cache(maxsize=100_000)
def canonical(question: str) -> str:
    r"""The canonical form of a question: an integral's integrand in a fixed order, else its text without spaces.

    >>> canonical("Compute: ∫ 2*x + x**2 dx") == canonical(r"Find $\int t^2 + 2t \, dt$.")
    True
    """
    try:
        formula = read(integrand_of(question) or "")
    except Unreadable:
        return re.sub(r"(?:\s|\$|\\[,;:! ])+", "", question).rstrip(".")
    names = letters(formula)
    return f"∫ {_text(formula, next(iter(names)) if len(names) == 1 else '')}"


def _text(formula: Formula, variable: str) -> str:
    terms = polynomial(formula, variable)
    if terms is not None:
        return " + ".join(f"{Fraction(factor)} x^{power}" for power, factor in sorted(terms.items())) or "0"
    parts = [_text(part, variable) for part in formula.parts]
    if formula.head in ("+", "*"):
        parts.sort()
    inner = {"letter": "x" if formula.name == variable else formula.name, "number": str(formula.number)}
    return f"{formula.head}({inner.get(formula.head, ', '.join(parts))})"


def polynomial(formula: Formula, variable: str) -> Polynomial | None:
    """The formula as a polynomial in `variable`; None where it is none, or too large to multiply out.

    >>> polynomial(read("(x - 1)**2/3"), "x") == {0: Fraction(1, 3), 1: Fraction(-2, 3), 2: Fraction(1, 3)}
    True
    """
    if formula.head == "number":
        return _added([{0: formula.number}])
    if formula.head == "letter":
        return {1: Fraction(1)} if formula.name == variable else None
    if formula.head not in ("+", "*", "^"):
        return None
    parts = [polynomial(part, variable) for part in formula.parts]
    if None in parts:
        return None
    if formula.head == "^":
        return _raised(parts[0], parts[1])
    return _added(parts) if formula.head == "+" else reduce(_multiplied, parts)


def _added(parts: list[Polynomial]) -> Polynomial:
    total: Polynomial = {}
    for exponent, factor in (term for part in parts for term in part.items()):
        total[exponent] = total.get(exponent, 0) + factor
    return {exponent: factor for exponent, factor in total.items() if factor}


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
    return reduce(_multiplied, [base] * n, {0: Fraction(1)})


def distance(first: str, second: str) -> float:
    """Jaccard distance of two canonical forms: 1 minus the share of pieces of three characters that are in both.

    >>> distance("abcd", "abcd"), distance("abcd", "bcde"), distance("abc", "xyz")
    (0.0, 0.6666666666666667, 1.0)
    """
    one, other = _pieces(first), _pieces(second)
    return 1 - len(one & other) / len(one | other)


@lru_cache(maxsize=10_000)
def _pieces(text: str) -> frozenset[str]:
    return frozenset(text[i : i + SPAN] for i in range(max(1, len(text) - SPAN + 1)))


@dataclass(frozen=True)
class Known:
    """The problems that nothing may be trained on, by canonical form."""

    forms: dict[str, str]  # canonical form -> Problem.id

    @staticmethod
    def of(problems: Sequence[Problem]) -> "Known":
        """These problems by form; where two have one form, the later one stands."""
        return Known({canonical(problem.question): problem.id for problem in problems})

    def nearest(self, question: str) -> tuple[str, float]:
        """(id, distance) of the problem nearest to a question, the first of equals; ("", 1.0) where there is none."""
        form = canonical(question)
        found = [(distance(form, other), name) for other, name in self.forms.items()]
        gap, name = min(found, key=lambda pair: pair[0], default=(1.0, ""))
        return name, gap


def overlap(first: Sequence[Problem], second: Sequence[Problem]) -> tuple[dict[str, str], int]:
    """Problems of `first` that are in `second` too: (ids in `first` -> ids in `second`, how many agree up to white
    space). Two questions match when their letters, digits and case agree. Publishers differ by spacing, dollar signs
    and punctuation; case counts because names of points differ by it."""
    known, shared, identical = defaultdict(list), {}, 0
    for problem in second:
        known[re.sub(r"\W+", "", problem.question)].append(problem)
    for problem in first:
        if twins := known[re.sub(r"\W+", "", problem.question)]:
            shared[problem.id] = twins[0].id
            identical += any(problem.question.split() == twin.question.split() for twin in twins)
    return shared, identical
