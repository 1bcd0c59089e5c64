r"""Formulas of one variable as trees: a reader of sympy's notation and of LaTeX.

The reader is a whitelist. It knows numbers, letters, `+ - * / ^ **`, brackets, `| |`, `\frac`, `\sqrt[n]{}`, pi, e and
the elementary functions in NAMES; every other word or sign, and so Integral, Derivative, Sum, i and undefined
functions, raises Unreadable. Nothing is ever evaluated by Python or sympy. `expression` reads answers that are numbers
or polynomials in any letters and computes no tree; here the tree is needed, because derivatives are.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from soar_lib.verifier.latex import clean

MAX_CHARACTERS = 2000
MAX_DEPTH = 40
MAX_BITS = 4096  # a power of numbers beyond stays a power

TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc")
HYPERBOLIC = ("sinh", "cosh", "tanh", "coth", "sech", "csch")
INVERTIBLE = (*TRIGONOMETRIC, "sinh", "cosh", "tanh", "coth")
NAMES = {
    **{name: name for name in (*TRIGONOMETRIC, *HYPERBOLIC, "exp", "log", "sqrt", "sign", "erf", "Si", "Ci", "Ei")},
    **{f"{prefix}{name}": f"a{name}" for name in INVERTIBLE for prefix in ("a", "ar", "arc")},
    "ln": "log", "Log": "log", "cosec": "csc", "Abs": "abs", "abs": "abs", "sgn": "sign",
}  # fmt: skip
TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<letter>[CcKk](?:_\{?\d\}?|\d)|\\?[a-zA-Z](?![a-zA-Z]))"
    r"|\\?(?P<word>[a-zA-Z]{2,})|(?P<sign>[-+*/^(){}\[\]|]))"
)
CLOSING = {"(": ")", "[": "]", "{": "}"}


class Unreadable(ValueError):
    """The text is no formula of the whitelist; the message says why."""


@dataclass(frozen=True)
class Formula:
    """A node: a number, letter or pi, a sum or product of all `parts`, a power (two parts), or a function of one."""

    head: str  # "number", "letter", "pi", "+", "*", "^", or a value of NAMES
    parts: tuple["Formula", ...] = ()
    number: Fraction = Fraction(0)
    name: str = ""  # of a letter


# ------------------------------------------------------------------ building, with numbers folded


def constant(value: int | Fraction) -> Formula:
    return Formula("number", number=Fraction(value))


def plus(parts: list[Formula]) -> Formula:
    if all(part.head == "number" for part in parts):
        return constant(sum(part.number for part in parts))
    return parts[0] if len(parts) == 1 else Formula("+", tuple(parts))


def times(parts: Iterable[Formula]) -> Formula:
    """The product, its rational factors as one number in front."""
    factor, rest = Fraction(1), []
    for part in (inner for part in parts for inner in (part.parts if part.head == "*" else (part,))):
        if part.head == "number":
            factor *= part.number
        else:
            rest.append(part)
    if not rest:
        return constant(factor)
    return rest[0] if factor == 1 and len(rest) == 1 else Formula("*", (constant(factor), *rest))


def power(base: Formula, exponent: Formula) -> Formula:
    """The power; one of rational numbers is a number where it stays small, `e^u` is read as exp."""
    if base.head == exponent.head == "number" and exponent.number.denominator == 1:
        n, size = int(exponent.number), max(map(int.bit_length, base.number.as_integer_ratio()))
        if abs(n) * size <= MAX_BITS and (base.number or n > 0):
            return constant(base.number**n)
    return Formula("^", (base, exponent))


def letters(formula: Formula) -> frozenset[str]:
    """The names of all letters in a formula."""
    own = {formula.name} if formula.head == "letter" else set()
    return frozenset(own.union(*map(letters, formula.parts)))


# ------------------------------------------------------------------ reading


@dataclass
class Cursor:
    """A position in the tokens of one text, how deep it is in brackets, and how many bars of `|x|` are open."""

    tokens: list[tuple[str, str]]
    at: int = 0
    depth: int = 0
    bars: int = 0

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def text(self) -> str:
        return self.tokens[self.at][1]

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def expect(self, text: str) -> None:
        if self.take() != text:
            raise Unreadable(f"{text!r} is missing")


@functools.lru_cache(maxsize=50_000)
def read(text: str) -> Formula:
    r"""The formula a text states in sympy's notation or LaTeX. Raises Unreadable.

    >>> read("-9*x**6/8 + sin(2*x)") == read("-\\frac{9}{8} x^6 + \\sin{2x}")
    True
    """
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("too long")
    cursor = Cursor(_tokens(clean(text)))
    formula = _sum(cursor)
    if cursor.kind != "end":
        raise Unreadable(f"unexpected {cursor.text!r}")
    return formula


def _tokens(text: str) -> list[tuple[str, str]]:
    text = re.sub(r"\\text\s*\{\s*([a-zA-Z]+)\s*\}", r"\\\1 ", text)
    text = re.sub(r"\\(?:[lr]?vert|mid)(?![a-zA-Z])", "|", text).rstrip()
    tokens, position = [], 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            raise Unreadable(f"{text[position : position + 10]!r} is outside the whitelist")
        tokens += _split(match.lastgroup, match.group(match.lastgroup))
        position = match.end()
    return [*tokens, ("end", "")]


def _split(kind: str, text: str) -> list[tuple[str, str]]:
    """A word of the whitelist; `xsin` and `xe` are a letter and what follows it."""
    if kind == "letter":
        text = re.sub(r"[\\{}]", "", text)
        if text in ("i", "I"):
            raise Unreadable("the imaginary unit is outside the whitelist")
        return [("word", "e") if text in ("e", "E") else (kind, text)]
    if text in ("const", "constant"):
        return [("letter", "C")]
    if kind != "word" or text in NAMES or text in ("frac", "pi"):
        return [(kind, text)]
    if text[1:] in NAMES or text[1:] in ("e", "pi"):
        return [*_split("letter", text[0]), ("word", text[1:])]
    raise Unreadable(f"{text!r} is outside the whitelist")


def _deeper(read_part):
    """The reader with a limit on how often it may be nested."""

    def limited(cursor: Cursor) -> Formula:
        cursor.depth += 1
        if cursor.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        formula = read_part(cursor)
        cursor.depth -= 1
        return formula

    return limited


@_deeper
def _sum(cursor: Cursor) -> Formula:
    terms = [_product(cursor)]
    while cursor.text in ("+", "-"):
        sign = -1 if cursor.take() == "-" else 1
        terms.append(times((constant(sign), _product(cursor))))
    return plus(terms)


def _product(cursor: Cursor) -> Formula:
    factors, divided = [_signed(cursor)], False
    while cursor.text in ("*", "/") or _juxtaposed(cursor):
        if cursor.text in ("*", "/"):
            divided = cursor.take() == "/"
            factor = _signed(cursor)
            factors.append(power(factor, constant(-1)) if divided else factor)
        elif divided:
            raise Unreadable("a/bc: put brackets or *")
        elif cursor.kind == "number":
            raise Unreadable("a number behind a factor: put *")
        else:
            factors.append(_power(cursor))
    return times(factors)


def _juxtaposed(cursor: Cursor) -> bool:
    opens = cursor.text in CLOSING or (cursor.text == "|" and not cursor.bars)
    return cursor.kind in ("number", "letter", "word") or opens


@_deeper
def _signed(cursor: Cursor) -> Formula:
    if cursor.text in ("+", "-"):
        sign = -1 if cursor.take() == "-" else 1
        return times((constant(sign), _signed(cursor)))
    return _power(cursor)


def _power(cursor: Cursor) -> Formula:
    e = cursor.text == "e"
    base = _atom(cursor)
    if cursor.text != "^":
        return base
    cursor.take()
    exponent = _signed(cursor)
    return Formula("exp", (exponent,)) if e else power(base, exponent)


def _atom(cursor: Cursor) -> Formula:
    kind, text = cursor.kind, cursor.text
    if text in CLOSING:
        return _bracketed(cursor)
    if text == "|" and kind == "sign":
        return _bars(cursor)
    if kind == "number":
        return constant(Fraction(cursor.take().rstrip(".")))
    if kind == "letter":
        return Formula("letter", name=cursor.take())
    if kind == "word":
        return _word(cursor)
    raise Unreadable(f"no operand before {text!r}")


def _bracketed(cursor: Cursor) -> Formula:
    closing, bars, cursor.bars = CLOSING[cursor.take()], cursor.bars, 0
    formula = _sum(cursor)
    cursor.expect(closing)
    cursor.bars = bars
    return formula


def _bars(cursor: Cursor) -> Formula:
    cursor.take()
    cursor.bars += 1
    formula = _sum(cursor)
    cursor.expect("|")
    cursor.bars -= 1
    return Formula("abs", (formula,))


def _word(cursor: Cursor) -> Formula:
    word = cursor.take()
    if word == "pi":
        return Formula("pi")
    if word == "e":
        return Formula("exp", (constant(1),))
    if word == "frac":
        return times((_braced(cursor), power(_braced(cursor), constant(-1))))
    if word == "sqrt" and cursor.text == "[":
        root = _bracketed(cursor)
        return power(_braced(cursor), power(root, constant(-1)))
    return _call(cursor, NAMES[word])


def _braced(cursor: Cursor) -> Formula:
    if cursor.text != "{":
        raise Unreadable("an argument without braces")
    return _bracketed(cursor)


def _call(cursor: Cursor, name: str) -> Formula:
    r"""A function with its argument: `sin(x)`, `\sin 2x`, `\sin^2 x`, `\sin^{-1}(x)`."""
    exponent = None
    if cursor.text == "^":
        cursor.take()
        exponent = _atom(cursor)
    if exponent == constant(-1) and name in INVERTIBLE:
        name, exponent = f"a{name}", None
    formula = Formula(name, (_argument(cursor, name),))
    return formula if exponent is None else power(formula, exponent)


def _argument(cursor: Cursor, name: str) -> Formula:
    if cursor.text == "|":
        return _bars(cursor)
    if cursor.text in CLOSING:
        return _bracketed(cursor)
    factors = []
    while cursor.kind in ("number", "letter") or cursor.text in ("e", "pi", "frac", "sqrt"):
        if cursor.kind == "number" and factors:
            raise Unreadable("a number behind a factor: put *")
        factors.append(_power(cursor))
    if not factors or cursor.text in CLOSING:
        raise Unreadable(f"the argument of {name} needs brackets")
    return times(factors)
