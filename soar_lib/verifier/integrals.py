r"""Whether an answer is an antiderivative of an integrand (LADDER section 3.1.3).

Both are read by a whitelist (`formulas`). Two rational expressions with exact coefficients are compared in this
process, by the derivative's residue (`answers`); everything else goes to a process that can be killed (`worker`). The
verdicts are those of `verify`. An answer that cannot be compared at 20 points of its domain is not shown right, hence
wrong; unparsed is what is outside the whitelist, an unevaluated Integral for instance. The constant of integration may
be left out or be a letter C, c, K or k, as in `C_1`, anywhere in the answer: log(C*x) is right for 1/x, C*x is not."""

import functools
import re
from collections.abc import Sequence

from soar_lib.verifier import formulas, workers
from soar_lib.verifier.answers import residue, slope
from soar_lib.verifier.formulas import Formula, Unreadable, letters
from soar_lib.verifier.spelling import clean, split_top

DEADLINE = 5.0  # seconds per pair in the worker; ordinary pairs take a hundredth
INTEGRAL = re.compile(r"(?:∫|\\int\b)\s*+(.{1,2000}?)(?:\\[,;:! ]|~|\s){0,9}+\\?(?:mathrm\{d\}|d)\s?[a-zA-Z]\b")
CONSTANT = re.compile(r"[CcKk](?:_?\d)?")  # how people write the constant of integration
READINGS = ((r"\\?\bconst(?:ant)?\b", "C"), (r"\b([CcKk])(?=\d)", r"\1_"), (r"(?<![a-zA-Z])E(?![a-zA-Z])", "e"))
LEFT_SIDE = re.compile(r"(?:\\int|∫).*|[a-zA-Z](?:\([a-zA-Z]\))?")  # what may stand before `=` in an answer

Judgement = tuple[str, str]  # a verdict (right, wrong, unparsed or timeout) with its reason


def check_many(pairs: Sequence[tuple[str, str]], progress: bool = False) -> list[str]:
    """Verdicts (right, wrong, unparsed, timeout) on (integrand, answer) pairs in order; each is decided once."""
    judged = workers.side_by_side(dict.fromkeys(pairs), exactly, by_points, "integrals", progress)
    return [judged[pair][0] for pair in pairs]


def judge(integrand: str, answer: str, deadline: float = DEADLINE) -> Judgement:
    """The verdict on an answer, the content of a box, and how it came about.

    >>> [judge("3*x**2", answer)[0] for answer in ("x**3 + C", "x**2", "Integral(3*x**2, x)")]
    ['right', 'wrong', 'unparsed']
    """
    return exactly(integrand, answer) or by_points(integrand, answer, deadline)


def by_points(integrand: str, answer: str, deadline: float = DEADLINE) -> Judgement:
    """The judgement of a worker process, which compares derivative and integrand at points, in `deadline` seconds."""
    found = workers.ask([integrand, *_stated(integrand, answer)], deadline)
    return tuple(found or ("timeout", f"no judgement within {deadline:g} s"))


def exactly(integrand: str, answer: str) -> Judgement | None:
    """The judgement by exact arithmetic modulo a prime; None where only numbers at points can tell."""
    try:
        answer, variable = _stated(integrand, answer)
    except Unreadable as error:
        return "unparsed", str(error)
    try:
        equal = slope(read(answer), variable) == residue(read(integrand))
    except Unreadable:
        return None
    if "." in integrand + answer and not equal:
        return None  # rounded
    return "right" if equal else "wrong", "compared exactly"


@functools.lru_cache(maxsize=50_000)
def read(text: str) -> Formula:
    r"""The formula of an integrand or antiderivative in sympy's notation or LaTeX. Raises Unreadable.

    >>> read("-9*x**6/8 + sin(2*x)") == read("-\\frac{9}{8} x^6 + \\sin{2x}")
    True
    """
    text = re.sub(r"\\text\s*\{\s*([a-zA-Z]+)\s*\}", r"\\\1 ", clean(text))
    for pattern, letter in READINGS:
        text = re.sub(pattern, letter, text)
    formula = formulas.read(text)
    if letters(formula) & {"i", "I"}:
        raise Unreadable("the imaginary unit is outside the whitelist")
    return formula


def integrand_of(question: str) -> str | None:
    r"""The integrand of the indefinite integral a question states, None where it states none.

    >>> integrand_of("Find the indefinite integral: ∫ 3*x**2 - 1/2 dx"), integrand_of("Compute $\\int x^2\\,dx$.")
    ('3*x**2 - 1/2', 'x^2')
    """
    return found.group(1).strip() if (found := INTEGRAL.search(question)) else None


def _stated(integrand: str, answer: str) -> tuple[str, str]:
    r"""What an answer states, the right side of `F(x) = ...` and `\int f dx = ...`, and the letter of integration.
    Raises Unreadable where integrand or answer holds another that is no constant."""
    sides = split_top(clean(answer), "=")
    answer = sides[1] if len(sides) == 2 and LEFT_SIDE.fullmatch(sides[0]) else answer
    asked, given = letters(read(integrand)), letters(read(answer))
    if len(asked) > 1:
        raise Unreadable(f"the integrand holds the letters {', '.join(sorted(asked))}")
    others = sorted(name for name in given - asked if not CONSTANT.fullmatch(name))
    variable = next(iter(asked), others[0] if others else "x")
    if set(others) - {variable}:
        raise Unreadable(f"the answer holds the letter {others[0]}")
    return answer, variable
