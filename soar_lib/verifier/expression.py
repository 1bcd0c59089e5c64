r"""Polynomials and rational expressions, compared without computer algebra (design: verifier, cheap canonical forms).

A recursive-descent parser of our own reads `+ - * / ^ !`, integers, decimals, letters, brackets, `\frac` and `\binom`,
and nothing else: model text is never evaluated by Python or sympy. Instead of building an expression it computes the
value at one fixed pseudo-random point modulo the prime 2^255 - 19, so that two expressions are equal exactly when
their residues are (a chance coincidence has probability degree / 2^255). Numbers as large as 2^2009 stay exact and
cheap. The prime is 1 modulo 4, so i is a square root of -1; pi and e are letters like any other.
"""

import functools
import hashlib
import re
from dataclasses import dataclass
from fractions import Fraction

PRIME = 2**255 - 19
MAX_CHARACTERS = 2000
MAX_DEPTH = 40
MAX_EXPONENT = 10**6
MAX_FACTORIAL = 5000
MAX_EXACT_BITS = 4096  # exact values beyond are forgotten; only an exponent needs one

FUNCTION_NAMES = "fghFGHPQTW"  # before a bracket these are functions, not factors
GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|varphi|omega"
TOKEN = re.compile(
    rf"\s*(?:(?P<number>[1-9]\d{{0,2}}(?:,\d{{3}})+(?!\d)|\d+(?:\.\d*)?|\.\d+)|(?P<symbol>\\(?:{GREEK})(?![a-zA-Z])|[a-zA-Z])"
    r"|(?P<command>\\(?:frac|binom)(?![a-zA-Z]))|(?P<sign>[-+*/^!_(){}\[\].]))"
)
LEFT_TO_RIGHT, TIGHT = ":", "÷"  # what a slash becomes once its reading is chosen
CLOSING = {"(": ")", "[": "]", "{": "}"}


class Unclear(Exception):
    """The text is outside this grammar or its limits; another reader may understand it."""


class Ambiguous(Unclear):
    """`1/2x`: the quotient of 1 and 2x, or half of x."""


class Malformed(Exception):
    """The text uses only this grammar's symbols and still is no expression: `-45-`, `3*(x`, `7 48`."""


@dataclass(frozen=True)
class Value:
    """An expression at the fixed point: its residue, its exact value where known, and whether it holds letters."""

    residue: int
    exact: Fraction | None
    constant: bool


def evaluate(text: str, slash: str = "/") -> Value:
    r"""The value of an expression in plain or LaTeX syntax.

    Raises Unclear for anything outside the grammar, Ambiguous for `a/bc`, and Malformed for broken syntax or a division
    by zero. With `slash` LEFT_TO_RIGHT `a/bc` is (a/b)c, with TIGHT it is a/(bc).

    >>> evaluate("-9*x^6/8 + 2*x + C") == evaluate("C - \\frac{9}{8}x^{6} + x*2")
    True
    """
    if len(text) > MAX_CHARACTERS:
        raise Unclear("too long")
    tokens = [(kind, slash if token == "/" else token) for kind, token in _tokens(text)]
    value, end = _sum(tokens, 0, 0)
    if tokens[end][1] == "_":
        raise Unclear("a subscript")
    if end != len(tokens) - 1:
        raise Malformed(f"unexpected {tokens[end][1]!r}")
    return value


def _tokens(text: str) -> list[tuple[str, str]]:
    text = text.strip()
    tokens, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            raise Unclear(f"unknown symbol at {text[position : position + 10]!r}")
        tokens.append((match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    return [*tokens, ("end", "")]


def _sum(tokens, at, depth):
    if depth > MAX_DEPTH:
        raise Unclear("too deep")
    value, at = _product(tokens, at, depth)
    while tokens[at][1] in ("+", "-"):
        sign = 1 if tokens[at][1] == "+" else -1
        term, at = _product(tokens, at + 1, depth)
        value = _combine(value, term, lambda a, b, sign=sign: a + sign * b)
    return value, at


def _product(tokens, at, depth):
    value, at = _signed(tokens, at, depth)
    divided = False
    while True:
        text = tokens[at][1]
        if text == "*":
            factor, at = _signed(tokens, at + 1, depth)
            value = _combine(value, factor, lambda a, b: a * b)
        elif text in ("/", LEFT_TO_RIGHT, TIGHT):
            factor, at = _signed(tokens, at + 1, depth)
            while text == TIGHT and _juxtaposed(tokens[at]):
                factor, at = _implicit(tokens, at, depth, factor)
            value, divided = _divide(value, factor), text == "/"
        elif _juxtaposed(tokens[at]):
            if divided and not tokens[at][0] == tokens[at - 1][0] == "number":
                raise Ambiguous("a/bc")
            value, at = _implicit(tokens, at, depth, value)
        else:
            return value, at


def _juxtaposed(token) -> bool:
    return token[0] in ("number", "symbol", "command") or token[1] in CLOSING


def _implicit(tokens, at, depth, value):
    """Juxtaposition: a product, or an integer and a fraction of integers (the mixed number 2 1/2)."""
    before, here = tokens[at - 1], tokens[at]
    if here[0] == before[0] == "number":
        raise Malformed("two numbers side by side")
    factor, end = _power(tokens, at, depth)
    mixed = before[0] == "number" and here[1] == "\\frac" and factor.exact is not None and 0 < factor.exact < 1
    if mixed and (at < 2 or tokens[at - 2][1] in ("+", "-", "(", "[", "{")):
        negative = at >= 2 and tokens[at - 2][1] == "-" and value.exact is not None and value.exact < 0
        return _combine(value, factor, (lambda a, b: a - b) if negative else (lambda a, b: a + b)), end
    if mixed:
        raise Unclear("a mixed number inside a product")
    return _combine(value, factor, lambda a, b: a * b), end


def _signed(tokens, at, depth):
    if depth > MAX_DEPTH:
        raise Unclear("too deep")
    if tokens[at][1] == "+":
        return _signed(tokens, at + 1, depth + 1)
    if tokens[at][1] == "-":
        value, at = _signed(tokens, at + 1, depth + 1)
        return _combine(value, value, lambda a, _: -a), at
    return _power(tokens, at, depth)


def _power(tokens, at, depth):
    value, at = _atom(tokens, at, depth)
    while tokens[at][1] in ("!", "^"):
        if tokens[at][1] == "!":
            value, at = _factorial(value), at + 1
        else:
            exponent, at = _exponent(tokens, at + 1, depth)
            value = _raise(value, exponent)
    return value, at


def _exponent(tokens, at, depth):
    """The exponent; a chain without braces is unclear, because people read a^b^c in both ways."""
    negative = tokens[at][1] == "-"
    value, at = _atom(tokens, at + negative, depth)
    if tokens[at][1] == "^":
        raise Unclear("a chain of exponents")
    return (_combine(value, value, lambda a, _: -a) if negative else value), at


def _atom(tokens, at, depth):
    kind, text = tokens[at]
    if kind == "number":
        return _number(Fraction(text.rstrip(".").replace(",", ""))), at + 1
    if kind == "symbol":
        return _symbol(tokens, at)
    if kind == "command":
        top, at = _argument(tokens, at + 1, depth)
        bottom, at = _argument(tokens, at, depth)
        return (_divide if text == "\\frac" else _binomial)(top, bottom), at
    if text in CLOSING:
        value, at = _sum(tokens, at + 1, depth + 1)
        if tokens[at][1] != CLOSING[text]:
            raise Malformed(f"{text!r} is not closed")
        return value, at + 1
    raise Unclear("a subscript") if text == "_" else Malformed(f"no operand before {text!r}")


def _argument(tokens, at, depth):
    if tokens[at][1] != "{":
        raise Unclear("an argument without braces")
    return _atom(tokens, at, depth)


def _symbol(tokens, at):
    """One letter with an optional subscript; words of three letters or more may be functions or text."""
    name = tokens[at][1]
    run = 0
    while tokens[at + run][0] == "symbol" and len(tokens[at + run][1]) == 1:
        run += 1
    if run > 2 or (run == 2 and name + tokens[at + 1][1] in ("ln", "lg", "or", "is")):
        raise Unclear("a word")
    if name in FUNCTION_NAMES and tokens[at + 1][1] == "(":
        raise Unclear("a function")
    at += 1
    if tokens[at][1] == "_":
        braced = tokens[at + 1][1] == "{"
        inner = tokens[at + 2 if braced else at + 1]
        if inner[0] not in ("number", "symbol") or (braced and tokens[at + 3][1] != "}"):
            raise Unclear("a long subscript")
        name, at = f"{name}_{inner[1]}", at + (4 if braced else 2)
    return Value(_point(name), None, False), at


@functools.cache
def _point(name: str) -> int:
    if name == "i":
        return pow(2, (PRIME - 1) // 4, PRIME)  # 2 is no square modulo this prime, so this squares to -1
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=32).digest()) % PRIME


def _number(exact: Fraction) -> Value:
    return Value(exact.numerator * _inverse(exact.denominator) % PRIME, exact, True)


@functools.lru_cache(maxsize=10_000)
def _inverse(residue: int) -> int:
    return pow(residue, -1, PRIME)


def _small(exact: Fraction) -> Fraction | None:
    return exact if max(exact.numerator.bit_length(), exact.denominator.bit_length()) <= MAX_EXACT_BITS else None


def _combine(a: Value, b: Value, operation) -> Value:
    known = a.exact is not None and b.exact is not None
    exact = _small(operation(a.exact, b.exact)) if known else None
    return Value(operation(a.residue, b.residue) % PRIME, exact, a.constant and b.constant)


def _divide(a: Value, b: Value) -> Value:
    if b.residue == 0:
        raise Malformed("division by zero")
    known = a.exact is not None and b.exact is not None
    exact = _small(a.exact / b.exact) if known else None
    return Value(a.residue * _inverse(b.residue) % PRIME, exact, a.constant and b.constant)


def _raise(base: Value, exponent: Value) -> Value:
    power = exponent.exact
    if power is None or power.denominator != 1 or abs(power) > MAX_EXPONENT:
        raise Unclear("an exponent that is no small integer")
    power = int(power)
    if base.residue == 0 and power < 0:
        raise Malformed("division by zero")
    size = 0 if base.exact is None else max(base.exact.numerator.bit_length(), base.exact.denominator.bit_length())
    known = base.exact is not None and size * abs(power) <= MAX_EXACT_BITS
    return Value(pow(base.residue, power, PRIME), base.exact**power if known else None, base.constant)


def _factorial(value: Value) -> Value:
    n = value.exact
    if n is None or n.denominator != 1 or not 0 <= n <= MAX_FACTORIAL:
        raise Unclear("a factorial of no small integer")
    result = Value(1, Fraction(1), True)
    for factor in range(2, int(n) + 1):
        result = _combine(result, Value(factor, Fraction(factor), True), lambda a, b: a * b)
    return result


def _binomial(top: Value, bottom: Value) -> Value:
    n, k = top.exact, bottom.exact
    if n is None or k is None or n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= MAX_FACTORIAL:
        raise Unclear("a binomial of no small integers")
    rest = _number(n - k)
    return _divide(_factorial(top), _combine(_factorial(bottom), _factorial(rest), lambda a, b: a * b))
