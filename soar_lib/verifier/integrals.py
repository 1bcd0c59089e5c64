r"""Whether an answer is an antiderivative, or the value of a definite integral (LADDER sections 3.1.3 and 3.1.4).

Integrand and answer are read by a whitelist (`formulas`). Two polynomials with exact coefficients are compared exactly
in this process; everything else goes to a process that can be killed (`integral_worker`). The verdicts are those of
`verify`:

- right, wrong; an answer that cannot be compared at 20 points of its domain is not shown right, hence wrong;
- unparsed: integrand or answer is outside the whitelist, an unevaluated Integral for instance;
- timeout: out of time or memory.

The constant of integration may be left out or be a letter C, c, K or k, as in `C_1`, anywhere in the answer: log(C*x)
is right for 1/x, C*x is not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from soar_lib.verifier import workers
from soar_lib.verifier.formulas import Formula, Unreadable, letters, read
from soar_lib.verifier.latex import clean, split_top
from soar_lib.verifier.polynomials import derivative, polynomial

DEADLINE = 5.0  # seconds per pair in the worker; ordinary pairs take a hundredth
INTEGRAL = re.compile(r"(?:∫|\\int\b)\s*(.+?)(?:\\[,;:! ]|~|\s)*\\?(?:mathrm\{d\}|d)\s?[a-zA-Z]\b")
CONSTANT = re.compile(r"[CcKk](?:_?\d)?")  # how people write the constant of integration
LEFT_SIDE = re.compile(r"(?:\\int|∫).*|[a-zA-Z](?:\([a-zA-Z]\))?")  # what may stand before `=` in an answer
INFINITE = re.compile(r"([-+]?)\s*(?:oo|inf|infinity|\\infty|∞)")
Bounds = tuple[str | int, str | int] | None


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reason, and how many points agreed or were skipped (all 0 for exact and definite ones)."""

    verdict: str  # right, wrong, unparsed, timeout
    reason: str = ""
    agreed: int = 0
    complex: int = 0  # the integrand is not real there, or the answer is not and its derivative differs
    singular: int = 0  # no finite value
    unstable: int = 0  # 20 and 40 digits give different values: ill-conditioned


def check(integrand: str, answer: str, bounds: Bounds = None, deadline: float = DEADLINE) -> str:
    """The verdict on an answer (the content of a box): an antiderivative, or with `bounds` the definite integral.

    `bounds` are integers or numbers as text, `oo` and `-oo` included.

    >>> check("3*x**2", "x**3 + C"), check("3*x**2", "x**2"), check("3*x**2", "Integral(3*x**2, x)")
    ('right', 'wrong', 'unparsed')
    """
    return judge(integrand, answer, bounds, deadline).verdict


def check_many(pairs: Sequence[tuple[str, str]], progress: bool = False, deadline: float = DEADLINE) -> list[str]:
    """Verdicts on (integrand, answer) pairs in their order; each distinct pair is decided once."""
    distinct = {pair: _prepared(*pair) for pair in dict.fromkeys(pairs)}
    hard = [pair for pair, found in distinct.items() if isinstance(found, list)]
    asked = workers.side_by_side(lambda pair: _asked(distinct[pair], deadline), hard)
    asked = tqdm(asked, total=len(hard), desc="integrals", disable=not progress or not hard)
    judged = distinct | dict(zip(hard, asked))
    return [judged[pair].verdict for pair in pairs]


def judge(
    integrand: str, answer: str, bounds: Bounds = None, deadline: float = DEADLINE, exact: bool = True
) -> Judgement:
    """The verdict and how it came about. Without `exact` polynomials go to the worker as well."""
    prepared = _prepared(integrand, answer, bounds, exact)
    return _asked(prepared, deadline) if isinstance(prepared, list) else prepared


def _prepared(integrand: str, answer: str, bounds: Bounds = None, exact: bool = True) -> Judgement | list:
    """The judgement where this process can give it, else the question for the worker."""
    answer = _right_side(answer)
    try:
        formulas = read(integrand), read(answer)
        variable = _variable(*map(letters, formulas))
        limits = None if bounds is None else [_bound(str(bound)) for bound in bounds]
    except Unreadable as error:
        return Judgement("unparsed", str(error))
    if limits:
        if letters(formulas[1]):
            return Judgement("wrong", "the value of a definite integral holds no letter")
        return [integrand, answer, variable, limits]
    verdict = _exactly(*formulas, variable) if exact else None
    rounded = "." in integrand + answer
    if verdict and not (rounded and verdict == "wrong"):
        return Judgement(verdict, "compared as polynomials")
    return [integrand, answer, variable, None]


def _asked(question: list, deadline: float) -> Judgement:
    found = workers.ask(question, deadline, workers.INTEGRALS)
    return Judgement("timeout", f"no judgement within {deadline:g} s") if found is None else Judgement(**found)


def integrand_of(question: str) -> str | None:
    r"""The integrand of the indefinite integral a question states, None where it states none.

    >>> integrand_of("Find the indefinite integral: ∫ 3*x**2 - 1/2 dx"), integrand_of("Compute $\\int x^2\\,dx$.")
    ('3*x**2 - 1/2', 'x^2')
    """
    found = INTEGRAL.search(question)
    return found.group(1) if found else None


def _right_side(answer: str) -> str:
    r"""`F(x) = ...` and `\int f dx = ...` state what is behind the sign."""
    sides = split_top(clean(answer), "=")
    return sides[1] if len(sides) == 2 and LEFT_SIDE.fullmatch(sides[0]) else answer


def _bound(text: str) -> str:
    """`oo`, `-oo`, or a number's text as it is. Raises Unreadable."""
    infinite = INFINITE.fullmatch(text.strip())
    if not infinite and letters(read(text)):
        raise Unreadable(f"the bound {text!r} holds a letter")
    return text if not infinite else "-oo" if infinite.group(1) == "-" else "oo"


def _variable(asked: frozenset[str], given: frozenset[str]) -> str:
    """The letter of integration. Raises Unreadable where integrand or answer holds another that is no constant."""
    if len(asked) > 1:
        raise Unreadable(f"the integrand holds the letters {', '.join(sorted(asked))}")
    others = sorted(name for name in given - asked if not CONSTANT.fullmatch(name))
    variable = next(iter(asked), others[0] if others else "x")
    if set(others) - {variable}:
        raise Unreadable(f"the answer holds the letter {others[0]}")
    return variable


def _exactly(integrand: Formula, answer: Formula, variable: str) -> str | None:
    """The verdict where both are polynomials in x and 1/x, the answer up to a constant of integration; else None."""
    terms = answer.parts if answer.head == "+" else (answer,)
    given = polynomial(Formula("+", tuple(term for term in terms if not _is_constant(term, variable))), variable)
    asked = polynomial(integrand, variable)
    if asked is None or given is None:
        return None
    return "right" if derivative(given) == asked else "wrong"


def _is_constant(term: Formula, variable: str) -> bool:
    """C or a multiple of it."""
    if term.head == "*" and len(term.parts) == 2:
        term = term.parts[1]
    return term.head == "letter" and term.name != variable
