r"""What counts as right, as an argument: a problem's reference answer, or the integral that its question states.

With "answer", the default, a response is held against the reference answer (`verify`). With "integral" its boxed
antiderivative is differentiated and compared with the integrand (`integrals`, loaded with the first of them), so nobody
need know an answer: that is how LADDER rewards variants that a model has made up (3.1.3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from soar_lib.records import Problem
from soar_lib.settings.values import LoadError
from soar_lib.verifier import verify


@dataclass(frozen=True)
class Check:
    """`reference(problem)` is what responses are held against, and `verdicts` judges (reference, response) pairs:
    right, wrong, unparsed or timeout. `unsolvable(question)` says why no response to a question could be shown right,
    "" where one could, as far as that can be told."""

    reference: Callable[[Problem], str]
    verdicts: Callable[[Sequence[tuple[str, str]]], list[str]]
    unsolvable: Callable[[str], str]


def _integrand(problem: Problem) -> str:
    from soar_lib.verifier import integrals

    found = integrals.integrand_of(problem.question)
    if found is None:
        raise LoadError(
            f"{problem.id}: states no indefinite integral (∫ f(x) dx); leave it out, or take check = 'answer'"
        )
    return found


def _antiderivatives(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Verdicts on the last box of each response."""
    from soar_lib.verifier import integrals

    return integrals.check_many([(integrand, verify.extract_boxed(text) or "") for integrand, text in pairs])


def _no_integral(question: str) -> str:
    """An integral can be checked where its integrand can be read and has enough points to compare at: then 0, which is
    no antiderivative of anything else, is refuted."""
    from soar_lib.verifier import integrals

    integrand = integrals.integrand_of(question)
    if integrand is None:
        return "no integral"
    verdict, reason = integrals.judge(integrand, "0")
    return reason if verdict in ("unparsed", "timeout") or reason == "too few points" else ""


def with_references(problems: Sequence[Problem], check: Check) -> list[Problem]:
    """The problems with `check`'s references in the answers' place, where a student's reward is given them."""
    return [replace(problem, answer=check.reference(problem)) for problem in problems]


ANSWER = Check(attrgetter("answer"), verify.check_many, lambda question: "")
INTEGRAL = Check(_integrand, _antiderivatives, _no_integral)
CHECKS = {"answer": ANSWER, "integral": INTEGRAL}
