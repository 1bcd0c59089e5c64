"""Two ways to tell a right response: by the problem's reference answer, or by the integral that the question states.

With "answer", the default, a response is compared with the reference answer (`verifier.verify`). With "integral" its
boxed antiderivative is differentiated and compared with the integrand (`verifier.integrals`), so nobody need know an
answer: that is how LADDER (section 3.1.3) rewards variants that a model has made up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from soar_lib.records import Problem
from soar_lib.settings.values import LoadError
from soar_lib.verifier import verify


@dataclass(frozen=True)
class Check:
    """A rule for what is right. `reference(problem)` gives what responses are compared with, or raises LoadError.
    `verdicts` judges (reference, response) pairs: "right", "wrong", "unparsed" or "timeout". `unsolvable(question)`
    says why no response could be shown to be right; "" where no reason is known."""

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
    """Why no integral can be checked, if so: else its integrand can be read, and at enough points 0 is refuted."""
    from soar_lib.verifier import integrals

    integrand = integrals.integrand_of(question)
    if integrand is None:
        return "no integral"
    verdict, reason = integrals.judge(integrand, "0")
    return reason if verdict in ("unparsed", "timeout") or reason == "too few points" else ""


def with_references(problems: Sequence[Problem], check: Check) -> list[Problem]:
    """Copies of the problems with `check.reference` in place of the answer. A student's reward takes it from there."""
    return [replace(problem, answer=check.reference(problem)) for problem in problems]


ANSWER = Check(attrgetter("answer"), verify.check_many, lambda question: "")
INTEGRAL = Check(_integrand, _antiderivatives, _no_integral)
CHECKS = {"answer": ANSWER, "integral": INTEGRAL}
