r"""False verdicts of the integral verifier on generated pairs, beside those of LADDER's rule.

    python benchmarks/integrals.py       about a minute; writes figures/data/integrals_verifier.csv

A pair is an integrand and an answer: a right one, or the right one spoiled by one edit (a number changed by one, a term
dropped or negated, a function exchanged for its neighbour). Half of them are in sympy's notation, half in LaTeX. sympy
alone says whether a spoiled answer is wrong: its derivative at one of four points, to 30 digits.

LADDER's rule (section 3.1.3): F(b) - F(a) against quadrature of the integrand in five windows of length 0.1 at random
points of [-10, 10], to 1 % in each; a window where a value is complex, singular or changes fast is drawn again. Both
rules read the text with the same reader. LADDER's time limit is left out: in double precision nothing here takes long.

The integrands: reasoning-gym's simple_integration (polynomials) and intermediate_integration, and derivatives of random
compositions of sin, cos, exp, log, sqrt, tan, atan and sinh. Items whose reference answer is an unevaluated Integral
(reasoning-gym has some) or whose terms cancel to 0 are left out. The last line compares the rates of false accepts.
"""

import argparse
import math
import random
import warnings
from pathlib import Path

import mpmath
import pandas as pd
import sympy
from reasoning_gym import create_dataset
from scipy.integrate import IntegrationWarning, quad
from tqdm.auto import tqdm

from soar_lib.verifier import integrals
from soar_lib.verifier.formulas import Formula, Unreadable
from soar_lib.verifier.integrals import read
from soar_lib.verifier.worker import value

TABLE = Path(__file__).parents[1] / "figures" / "data" / "integrals_verifier.csv"
SIZES = {"simple_integration": 400, "intermediate_integration": 300, "composition": 400}
X = sympy.Symbol("x")
OUTER = (sympy.sin, sympy.cos, sympy.exp, sympy.log, sympy.sqrt, sympy.tan, sympy.atan, sympy.sinh)
NEIGHBOURS = {
    sympy.sin: sympy.cos, sympy.cos: sympy.sin, sympy.tan: sympy.atan, sympy.atan: sympy.tan, sympy.exp: sympy.sinh,
    sympy.sinh: sympy.cosh, sympy.cosh: sympy.sinh, sympy.log: sympy.atan, sympy.asin: sympy.atan,
}  # fmt: skip
WITNESSES = [sympy.Rational(n, 97) for n in (17, 71, -53, 241)]
WINDOWS, WIDTH, ALLOWED, DRAWS = 5, 0.1, 0.01, 200
Expressions = list[tuple[sympy.Expr, sympy.Expr]]


# ------------------------------------------------------------------ pairs


def generated(kind: str, size: int, seed: int) -> Expressions:
    """(integrand, antiderivative) of one kind."""
    if kind == "composition":
        rng = random.Random(f"composition {seed}")
        answers = [composition(rng) for _ in range(size)]
        return [(sympy.diff(answer, X), answer) for answer in answers]
    symbols = dict(symbols=("x",)) if kind == "simple_integration" else {}
    items = create_dataset(kind, seed=seed, size=size, **symbols)
    texts = [(item["metadata"]["integrand"], item["answer"].removesuffix(" + C")) for item in items]
    return [(sympy.sympify(f), sympy.sympify(F)) for f, F in texts if "Integral" not in F and f != "0"]


def composition(rng: random.Random) -> sympy.Expr:
    """A sum of one to three terms such as -2*x*sin(x**2 + 3)/5, each with a function of a function."""

    def inner() -> sympy.Expr:
        number = rng.randint(1, 5)
        return rng.choice([number * X, X + number, X**2 + number, sympy.sin(number * X), sympy.exp(-X) + number])

    terms = [
        sympy.Rational(rng.choice([-1, 1]) * rng.randint(1, 9), rng.randint(1, 5))
        * X ** rng.randint(0, 2)
        * rng.choice(OUTER)(inner())
        for _ in range(rng.randint(1, 3))
    ]
    return sum(terms) if X in sum(terms).free_symbols else composition(rng)


def spoiled(integrand: sympy.Expr, answer: sympy.Expr, rng: random.Random) -> sympy.Expr:
    """The answer after one edit that makes it wrong."""
    edits = list(_edits(answer))
    rng.shuffle(edits)
    for edit in edits:
        difference = sympy.diff(edit, X) - integrand
        if edit.is_finite is not False and any(_differs(difference.subs(X, x)) for x in WITNESSES):
            return edit
    raise ValueError(f"no edit of {answer} is wrong")


def _edits(expression: sympy.Expr):
    """Every expression that is one edit away."""
    if expression.is_Rational:
        yield from (expression + 1, expression - 1)
    if expression.func in NEIGHBOURS:
        yield NEIGHBOURS[expression.func](*expression.args)
    for at, part in enumerate(expression.args):
        others = expression.args[:at] + expression.args[at + 1 :]
        if expression.is_Add:
            yield from (expression.func(*others), expression.func(*others, -part))
        yield from (expression.func(*expression.args[:at], edit, *expression.args[at + 1 :]) for edit in _edits(part))


def _differs(value: sympy.Expr) -> bool:
    number = value.evalf(30)
    return bool(number.is_number and number.is_finite and abs(number) > 1e-15)


def pairs(kind: str, seed: int) -> list[tuple[str, str, bool]]:
    """(integrand, answer, whether it is right) as text, every right one followed by a spoiled one."""
    rng, rows = random.Random(f"spoil {kind} {seed}"), []
    for number, (f, answer) in enumerate(tqdm(generated(kind, SIZES[kind], seed), desc=kind)):
        write = sympy.latex if number % 2 else str
        rows += [(write(f), write(answer), True), (write(f), write(spoiled(f, answer, rng)), False)]
    return rows


# ------------------------------------------------------------------ LADDER's rule


def ladder_rule(integrand: str, answer: str, rng: random.Random) -> str:
    """LADDER's verdict; wrong also where not enough windows could be found."""
    try:
        f, F = read(integrand), read(answer)
    except Unreadable:
        return "unparsed"
    agreed = 0
    for _ in range(DRAWS):
        centre = rng.uniform(-10, 10)
        try:
            sides = _window(f, F, centre - WIDTH / 2, centre + WIDTH / 2)
        except (ArithmeticError, ValueError, IntegrationWarning):
            continue
        if abs(sides[0] - sides[1]) > ALLOWED * abs(sides[1]):
            return "wrong"
        agreed += 1
        if agreed == WINDOWS:
            return "right"
    return "wrong"


def _window(f: Formula, F: Formula, start: float, end: float) -> tuple[float, float]:
    """F(end) - F(start) and the quadrature between them. Raises where a value is not real or the error is large."""
    integral, error = quad(lambda x: _value(f, x), start, end)
    if error > ALLOWED * abs(integral) / 10:
        raise ArithmeticError
    return _value(F, end) - _value(F, start), integral


def _value(formula: Formula, x: float) -> float:
    found = value(formula, {"x": x}, mpmath.fp)
    if isinstance(found, complex) or not math.isfinite(found):
        raise ArithmeticError
    return found


# ------------------------------------------------------------------ the table


def row(rule: str, kind: str, rows: list[tuple[str, str, bool]], verdicts: list[str]) -> dict:
    accepted = [verdict == "right" for verdict in verdicts]
    right = [is_right for *_, is_right in rows]
    false_accept = sum(a and not r for a, r in zip(accepted, right, strict=True)) / right.count(False)
    false_reject = sum(r and not a for a, r in zip(accepted, right, strict=True)) / right.count(True)
    return dict(
        rule=rule, kind=kind, pairs=len(rows), false_accept=round(false_accept, 4), false_reject=round(false_reject, 4),
        timeouts=verdicts.count("timeout"),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print the pairs on which our verdict is false")
    arguments = parser.parse_args()
    warnings.simplefilter("error", IntegrationWarning)
    by_kind = {kind: pairs(kind, arguments.seed) for kind in SIZES}
    table, everything = [], {"ours": ([], []), "LADDER": ([], [])}
    for kind, rows in by_kind.items():
        rng = random.Random(f"windows {kind} {arguments.seed}")
        verdicts = {
            "ours": integrals.check_many([pair[:2] for pair in rows], progress=True),
            "LADDER": [ladder_rule(f, answer, rng) for f, answer, _ in tqdm(rows, desc="LADDER's rule")],
        }
        for rule, found in verdicts.items():
            table.append(row(rule, kind, rows, found))
            everything[rule][0].extend(rows)
            everything[rule][1].extend(found)
        for (f, answer, is_right), verdict in zip(rows, verdicts["ours"], strict=True):
            if arguments.show and (verdict == "right") != is_right:
                print(f"{verdict}: {f}   {answer}   {integrals.judge(f, answer)}")
    table += [row(rule, "all", *found) for rule, found in everything.items()]
    frame = pd.DataFrame(table)
    if arguments.seed == 0:
        frame.to_csv(TABLE, index=False, lineterminator="\n")
    print(frame.to_string(index=False))
    ours, theirs = (frame[(frame.kind == "all") & (frame.rule == rule)].false_accept.item() for rule in everything)
    print(f"false accepts: {ours:.4f} here, {theirs:.4f} by LADDER's rule")


if __name__ == "__main__":
    main()
