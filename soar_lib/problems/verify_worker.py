r"""The process that asks Math-Verify: JSON lines in, true or false out.

A question is `[gold, answer]` (do they state the same?) or `[answer]` (can it be read?).

It is started by path, apart from the package, so it imports neither torch nor the caller's main module, and may be
killed at any time. Math-Verify 0.9.0 is asked through its LaTeX reader alone; its plain-text reader hands text to
Python's eval. Its SIGALRM timeouts stay off: whoever starts this process kills it at a deadline, and the kernel does
where that one died first.

Two of its rules are mended here: it accepts any two values below 10^-6 and any two that differ by less, and it misses
equal roots such as sqrt(1/n) and 1/sqrt(n). Values without letters must agree to 30 digits (9 where a decimal is
involved); expressions with letters are also compared at real points.
"""

import functools
import json
import logging
import os
import resource
import signal
import sys

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Float, I, MatrixBase, Rational

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
    verdict = verify(list(left), list(right), timeout_seconds=None, allow_set_relation_comp=True)
    if not left or not right or not all(isinstance(side[0], Expr) for side in (left, right)):
        return verdict
    a, b = left[0], right[0]
    if isinstance(a, MatrixBase) or isinstance(b, MatrixBase):
        return verdict
    if not a.free_symbols | b.free_symbols:
        return verdict and close(a, b) if "%" not in gold + answer else verdict
    return verdict or (a.free_symbols == b.free_symbols and equal_at_points(a, b))


def close(a: Expr, b: Expr) -> bool:
    """Equal to 30 digits relative to their size; to 9 where either is written as a decimal."""
    digits = DECIMAL_DIGITS if a.has(Float) or b.has(Float) else DIGITS
    difference, size = abs((exact(a) - exact(b)).doit()).evalf(DIGITS + 10), abs(exact(a).doit()).evalf(DIGITS + 10)
    return bool(difference <= size * Rational(1, 10**digits))


def exact(expression: Expr) -> Expr:
    """Decimals as the fractions they are written as."""
    return expression.replace(lambda part: isinstance(part, Float), lambda part: Rational(str(part)))


def equal_at_points(a: Expr, b: Expr) -> bool:
    """Equal wherever both are real, at two positive and two negative points at least one of which counts."""
    letters = sorted(a.free_symbols, key=str)
    agreed = 0
    for shift in range(len(POINTS)):
        values = {letter: POINTS[shift] + Rational(index, 7) for index, letter in enumerate(letters)}
        left, right = (side.xreplace(values).doit().evalf(DIGITS + 10) for side in (a, b))
        if not (left.is_number and right.is_number) or left.has(I) or right.has(I):
            continue
        if not abs(left - right) <= Rational(1, 10**DIGITS) * (abs(left) + Rational(1, 10**DIGITS)):
            return False
        agreed += 1
    return agreed >= 2


def main(memory_bytes: int, grace_seconds: float) -> None:
    """Answer requests until the pipe closes."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library's print must not enter the channel
    logging.disable(logging.CRITICAL)
    if sys.platform == "linux":  # macOS refuses this limit
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    channel.write('"ready"\n')
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, grace_seconds)  # default action: the process ends
        try:
            verdict = equal(*question) if len(question) == 2 else readable(*question)
        except CANNOT_COMPARE:
            verdict = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        channel.write(json.dumps(bool(verdict)) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
