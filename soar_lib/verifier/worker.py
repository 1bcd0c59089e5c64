r"""What a worker process answers (see `workers`): questions to Math-Verify, and about integrals.

A question is `[gold, answer]` (do they state the same?), `[answer]` (can it be read?), both answered by true or false,
or `[integrand, answer, variable]` (`integral_worker`). Math-Verify 0.9.0 is asked through its LaTeX reader alone: its
plain-text reader hands text to Python's eval. Its SIGALRM timeouts stay off.

Numbers and expressions are compared by value first: it accepts any two numbers below 10^-6, it misses equal roots such
as sqrt(1/n) and 1/sqrt(n), and simplifying an unequal difference takes it long.
"""

import functools

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, MatrixBase, Rational, Symbol

from soar_lib.verifier import integral_worker

NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=True, malformed_operators=True, nits=True, boxed="last", equations=False
)
LATEX_ONLY = [LatexExtractionConfig(boxed_match_priority=0, normalization_config=NORMALIZATION)]
# sympy's ways of saying that it cannot compare two objects
CANNOT_COMPARE = (
    ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError
)  # fmt: skip
DIGITS, DECIMAL_DIGITS = 30, 9  # to which values agree, and where a decimal is involved
POINTS = (Rational(37, 29), Rational(101, 67), Rational(-53, 41), Rational(-17, 13))  # for expressions with letters


def answer(question: list[str]) -> bool | list[str]:
    if len(question) == 3:
        return integral_worker.judge(*question)
    readings = [read(text) for text in question]
    if len(question) == 1:  # into mathematics, not only into a string to compare
        return any(isinstance(reading, (Basic, MatrixBase)) for reading in readings[0])
    try:
        equal = None if "%" in "".join(question) else equal_values(*readings)
        if equal is None:
            equal = verify(*map(list, readings), timeout_seconds=None, allow_set_relation_comp=True)
        return bool(equal)
    except CANNOT_COMPARE:
        return False


@functools.lru_cache(maxsize=4096)
def read(text: str) -> tuple:
    """Math-Verify's readings of an answer: sympy objects and the text itself."""
    try:
        return tuple(parse(f"\\boxed{{{text}}}", LATEX_ONLY, parsing_timeout=None))
    except CANNOT_COMPARE:
        return ()


def equal_values(left: tuple, right: tuple) -> bool | None:
    """Equality by value: of constants, or of expressions at real points; None where there is no value."""
    if not (left and right and all(isinstance(side[0], Expr) and not side[0].is_Matrix for side in (left, right))):
        return None
    a, b = left[0], right[0]
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        return None  # \text{even} is a symbol too
    letters = sorted(a.free_symbols | b.free_symbols, key=str)
    points = [{letter: point + Rational(i, 7) for i, letter in enumerate(letters)} for point in POINTS]
    verdicts = [close(a.xreplace(point), b.xreplace(point)) for point in (points if letters else points[:1])]
    return False if False in verdicts else True if verdicts.count(True) >= min(2, len(verdicts)) else None


def close(a: Expr, b: Expr) -> bool | None:
    """Equal to DIGITS relative to their size, decimals as the fractions they are written as; None unless both are real
    numbers."""
    digits = DECIMAL_DIGITS if a.has(Float) or b.has(Float) else DIGITS
    exact = [side.replace(lambda part: isinstance(part, Float), lambda part: Rational(str(part))) for side in (a, b)]
    left, right = (side.doit().evalf(DIGITS + 10) for side in exact)
    if not (isinstance(left, Float | Rational) and isinstance(right, Float | Rational)):
        return None
    return bool(abs(left - right) <= max(abs(left), abs(right)) * Rational(1, 10**digits))
