r"""The process that asks Math-Verify (see `workers`): JSON lines in, true or false out.

A question is `[gold, answer]` (do they state the same?) or `[answer]` (can it be read?).

It imports neither torch nor the caller's main module, and may be killed at any time. Math-Verify 0.9.0 is asked
through its LaTeX reader alone; its plain-text reader hands text to Python's eval. Its SIGALRM timeouts stay off:
whoever starts this process kills it at a deadline, and the kernel does where that one died first.

Numbers and expressions are compared by value before it is asked: it accepts any two numbers below 10^-6, it misses
equal roots such as sqrt(1/n) and 1/sqrt(n), and simplifying an unequal difference takes it long. Values must agree to
30 digits (9 where a decimal is involved), expressions with letters at four real points.
"""

import functools

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, MatrixBase, Rational, Symbol

LATEX_ONLY = [
    LatexExtractionConfig(
        boxed_match_priority=0,
        normalization_config=NormalizationConfig(
            basic_latex=True, units=True, malformed_operators=True, nits=True, boxed="last", equations=False
        ),
    )
]
# sympy's ways of saying that it cannot compare two objects
CANNOT_COMPARE = (
    ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError
)  # fmt: skip
DIGITS = 30
DECIMAL_DIGITS = 9
POINTS = (Rational(37, 29), Rational(101, 67), Rational(-53, 41), Rational(-17, 13))


@functools.lru_cache(maxsize=4096)
def read(answer: str) -> tuple:
    """Math-Verify's readings of an answer: sympy objects and the text itself."""
    return tuple(parse(f"\\boxed{{{answer}}}", LATEX_ONLY, parsing_timeout=None))


def readable(answer: str) -> bool:
    """Whether Math-Verify turns the answer into mathematics, not only into a string to compare."""
    return any(isinstance(reading, (Basic, MatrixBase)) for reading in read(answer))


def equal(gold: str, answer: str) -> bool:
    """Math-Verify's verdict, corrected by numbers where both sides are numbers or expressions."""
    left, right = read(gold), read(answer)
    numeric = None
    if left and right and all(isinstance(side[0], Expr) and not side[0].is_Matrix for side in (left, right)):
        numeric = compare_numbers(left[0], right[0]) if "%" not in gold + answer else None
    if numeric is not None:
        return numeric
    return verify(list(left), list(right), timeout_seconds=None, allow_set_relation_comp=True)


def compare_numbers(a: Expr, b: Expr) -> bool | None:
    """Equality by value: of constants, or of expressions at real points; None where there is no value."""
    if isinstance(a, Symbol) or isinstance(b, Symbol):
        return None  # \text{even} is a symbol too
    letters = sorted(a.free_symbols | b.free_symbols, key=str)
    points = [dict(zip(letters, (point + Rational(i, 7) for i in range(len(letters))))) for point in POINTS]
    verdicts = [close(a.xreplace(point), b.xreplace(point)) for point in (points if letters else points[:1])]
    if False in verdicts:
        return False
    return True if verdicts.count(True) >= min(2, len(verdicts)) else None


def close(a: Expr, b: Expr) -> bool | None:
    """Equal to 30 digits relative to their size, to 9 where either is a decimal; None unless both are real numbers."""
    digits = DECIMAL_DIGITS if a.has(Float) or b.has(Float) else DIGITS
    left, right = (exact(side).doit().evalf(DIGITS + 10) for side in (a, b))
    if not (isinstance(left, Float | Rational) and isinstance(right, Float | Rational)):
        return None
    return bool(abs(left - right) <= max(abs(left), abs(right)) * Rational(1, 10**digits))


def exact(expression: Expr) -> Expr:
    """Decimals as the fractions they are written as."""
    return expression.replace(lambda part: isinstance(part, Float), lambda part: Rational(str(part)))


def answer(question: list) -> bool:
    try:
        return bool(equal(*question) if len(question) == 2 else readable(*question))
    except CANNOT_COMPARE:
        return False
