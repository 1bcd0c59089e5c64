"""The calculus family: antiderivatives of polynomials, as reasoning-gym's `simple_integration` states them.

A question's content is its lead and its terms, (coefficient, power) in the order written. The generator makes its
polynomials with sympy, a twentieth of a second for each; `stated` draws the same random numbers and writes the same
text without it."""

import random
import re
from collections.abc import Collection
from fractions import Fraction

LEADS = ("Find the indefinite integral: ∫ ", "Calculate the antiderivative: ∫ ", "Evaluate the indefinite integral: ∫ ")
TERM = r"(?:\d{1,4}\*)?x(?:\*\*\d{1,2})?(?:/\d{1,4})?|\d{1,4}(?:/\d{1,4})?"
FORM = re.compile(rf"({'|'.join(LEADS)})(-?(?:{TERM})(?: [+-] (?:{TERM})){{0,99}}) dx")


def parse(question: str) -> list | None:
    """The content of a question, None where the text is no such question."""
    match = FORM.fullmatch(question)
    if not match:
        return None
    terms = [_term(sign, body) for sign, body in re.findall(rf"(-|\+)? ?({TERM})", match[2])]
    return [match[1], *terms] if all(terms) and len({power for _, power in terms}) == len(terms) else None


def _term(sign: str, body: str) -> tuple[Fraction, int] | None:
    match = re.fullmatch(r"(?:(\d+)(?:\*|(?=/|$)))?(x)?(?:\*\*(\d+))?(?:/(\d+))?", body)
    top, x, power, bottom = match.groups()
    if bottom and int(bottom) == 0:
        return None
    coefficient = Fraction(int(top or 1), int(bottom or 1)) * (-1 if sign == "-" else 1)
    return coefficient, (int(power) if power else 1) if x else 0


def polynomial(terms: list) -> str:
    """The text of a polynomial in sympy's notation, in the order given."""
    text = ""
    for coefficient, power in terms:
        size, x = abs(coefficient), "" if power == 0 else "x" if power == 1 else f"x**{power}"
        body = "*".join(part for part in (str(size.numerator) if size.numerator != 1 or not x else "", x) if part)
        body += f"/{size.denominator}" if size.denominator != 1 else ""
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} {body}" if text else f"{'-' if coefficient < 0 else ''}{body}"
    return text


def write(content: list) -> str:
    """The question with this content."""
    return f"{content[0]}{polynomial(content[1:])} dx"


def solve(content: list, slips: Collection[int] = ()) -> tuple[str, str]:
    """Integrate term by term: ("", answer). At the steps in `slips` (from 1) it forgets to divide by the new power."""
    terms = enumerate(content[1:], 1)
    integrated = [(c if step in slips else c / (power + 1), power + 1) for step, (c, power) in terms]
    return "", polynomial(integrated) + " + C"


def stated(generator, index: int) -> str | None:
    """The question of the generator's item `index`, None where two of its terms have the same power and merge."""
    rng, config = random.Random(generator.seed + index), generator.config
    count = rng.randint(config.min_terms, config.max_terms)
    rng.choice(config.symbols)
    terms = {}
    for _ in range(count):
        coefficient = generator._generate_coefficient(rng)
        degree = rng.randint(config.min_degree, config.max_degree)
        sign = 1 if rng.choice(config.operators) == "+" else -1
        terms[degree - 1] = sign * coefficient * degree
    lead = rng.choice(LEADS)
    ordered = [(terms[power], power) for power in sorted(terms, reverse=True)]
    if count == 2 and terms.get(0, -1) > 0 > ordered[0][0]:
        ordered.reverse()  # sympy writes `4 - x` and not `-x + 4`
    return write([lead, *ordered]) if len(terms) == count else None
