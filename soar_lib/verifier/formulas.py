r"""The one reader of formulas: text in plain or LaTeX syntax becomes a tree, for answers and integrals alike.

It is a whitelist: numbers, letters with short subscripts, `+ - * / ^ !`, brackets, `| |`, `\frac`, `\binom`,
`\sqrt[n]{}`, pi, e and the elementary functions in NAMES. Every other word or sign, such as Integral, Sum or an
undefined function, raises Unreadable. Nothing is ever evaluated by Python or sympy. The text has one spelling already
(`spelling.clean`).
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from soar_lib.verifier.spelling import MAX_CHARACTERS

MAX_DEPTH = 40
MAX_BITS = 4096  # numbers beyond are not worked out
MAX_FACTORIAL, FOLDED_FACTORIAL = 5000, 500

TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc")
HYPERBOLIC = ("sinh", "cosh", "tanh", "coth", "sech", "csch")
INVERTIBLE = (*TRIGONOMETRIC, "sinh", "cosh", "tanh", "coth")
NAMES = {
    **{name: name for name in (*TRIGONOMETRIC, *HYPERBOLIC, "exp", "log", "sqrt", "sign", "erf", "Si", "Ci", "Ei")},
    **{f"{prefix}{name}": f"a{name}" for name in INVERTIBLE for prefix in ("a", "ar", "arc")},
    "ln": "log", "Log": "log", "cosec": "csc", "Abs": "abs", "abs": "abs", "sgn": "sign",
}  # fmt: skip
GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi|omega"
TOKEN = re.compile(
    r"\s*(?:(?P<number>[1-9]\d{0,2}(?:,\d{3})+(?!\d)|\d+(?:\.\d*)?|\.\d+)"
    rf"|(?P<letter>\\(?:{GREEK})(?![a-zA-Z])|\\?[a-zA-Z](?![a-zA-Z]))"
    r"|\\?(?P<word>[a-zA-Z]{2,})|(?P<sign>[-+*/^!_(){}\[\]|.]))"
)
CLOSING = {"(": ")", "[": "]", "{": "}"}
FUNCTION_NAMES = "fghFGHPQTW"  # letters that before a bracket are functions, not factors
LEFT_TO_RIGHT, TIGHT = "left to right", "tight"  # how a/bc is read: (a/b)c or a/(bc)


class Unreadable(ValueError):
    """The text is no formula of the whitelist; the message says why."""


class Ambiguous(Unreadable):
    """`1/2x`: the quotient of 1 and 2x, or half of x; or a number behind a factor, x2."""


class Malformed(Unreadable):
    """Nobody can read it: only numbers, letters, signs and brackets, and still no formula, as `-45-` or `3*(x`."""


@dataclass(frozen=True)
class Formula:
    """A node: a number, letter or pi, a sum or product of all `parts`, a power (two parts), or a function of one."""

    head: str  # "number", "letter", "pi", "+", "*", "^", "!", or a value of NAMES
    parts: tuple["Formula", ...] = ()
    number: Fraction = Fraction(0)
    name: str = ""  # of a letter


# ------------------------------------------------------------------ building, with small numbers worked out


def constant(value: int | Fraction) -> Formula:
    return Formula("number", number=Fraction(value))


ONE, MINUS = constant(1), constant(-1)
E = Formula("exp", (ONE,))


def _small(numbers: list[Fraction]) -> bool:
    return sum(max(n.numerator.bit_length(), n.denominator.bit_length()) for n in numbers) <= MAX_BITS


def plus(parts: list[Formula]) -> Formula:
    if len(parts) == 1:
        return parts[0]
    numbers = [part.number for part in parts if part.head == "number"]
    return constant(sum(numbers)) if len(numbers) == len(parts) and _small(numbers) else Formula("+", tuple(parts))


def times(parts: Iterable[Formula]) -> Formula:
    """The product, its rational factors as one number in front."""
    flat = [inner for part in parts for inner in (part.parts if part.head == "*" else (part,))]
    numbers = [part.number for part in flat if part.head == "number"]
    if not _small(numbers):
        return Formula("*", tuple(flat))
    factor, rest = math.prod(numbers), [part for part in flat if part.head != "number"]
    if not rest:
        return constant(factor)
    return rest[0] if factor == 1 and len(rest) == 1 else Formula("*", (constant(factor), *rest))


def power(base: Formula, exponent: Formula) -> Formula:
    """The power; one of rational numbers is a number where it stays small, `e^u` is read as exp."""
    if base == E:
        return Formula("exp", (exponent,))
    if base.head == exponent.head == "number" and exponent.number.denominator == 1:
        n, size = int(exponent.number), max(map(int.bit_length, base.number.as_integer_ratio()))
        if abs(n) * size <= MAX_BITS and (base.number or n > 0):
            return constant(base.number**n)
    return Formula("^", (base, exponent))


def factorial(formula: Formula) -> Formula:
    n = formula.number
    if formula.head != "number" or n.denominator != 1 or not 0 <= n <= MAX_FACTORIAL:
        raise Unreadable("a factorial of no small integer")
    return constant(math.factorial(int(n))) if n <= FOLDED_FACTORIAL else Formula("!", (formula,))


def binomial(top: Formula, bottom: Formula) -> Formula:
    n, k = top.number, bottom.number
    integers = top.head == bottom.head == "number" and n.denominator == k.denominator == 1
    if not integers or not 0 <= k <= n <= MAX_FACTORIAL:
        raise Unreadable("a binomial of no small integers")
    return constant(math.comb(int(n), int(k)))


def letters(formula: Formula) -> frozenset[str]:
    """The names of all letters in a formula, pi and e not among them."""
    return symbols(formula) - {"pi", "exp"}


def symbols(formula: Formula) -> frozenset[str]:
    """The names of all letters in a formula; "pi" and "exp" where it holds pi and powers of e."""
    own = {formula.name or formula.head} if formula.head in ("letter", "pi", "exp") else set()
    return frozenset(own.union(*map(symbols, formula.parts)))


# ------------------------------------------------------------------ tokens


@dataclass
class Cursor:
    """A position in the tokens of one text, how deep it is in brackets, and how many bars of `|x|` are open."""

    tokens: list[tuple[str, str]]
    slash: str = ""
    at: int = 0
    depth: int = 0
    bars: int = 0

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def text(self) -> str:
        return self.tokens[self.at][1]

    def before(self) -> tuple[str, str]:
        return self.tokens[self.at - 1]

    def opens(self) -> bool:
        """Whether a factor may begin here."""
        bar = self.text == "|" and not self.bars
        return bar or self.text in CLOSING or self.kind in ("number", "letter", "word")

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def expect(self, text: str) -> None:
        if self.take() != text:
            raise Malformed(f"{text!r} is missing")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")


def read(text: str, slash: str = "") -> Formula:
    r"""The formula that a text states in sympy's notation or LaTeX.

    Raises Unreadable; Ambiguous for `a/bc` unless `slash` says how it is meant, and Malformed for broken syntax.

    >>> read("-9*x^6/8 + sin(2*x)") == read("-\\frac{9}{8} x^{6} + \\sin{2x}")
    True
    """
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("too long")
    cursor = Cursor(_tokens(text), slash)
    try:
        formula = _sum(cursor)
        if cursor.kind != "end":
            raise Malformed(f"unexpected {cursor.text!r}")
    except Malformed as error:
        if any(kind == "word" and word not in ("frac", "binom", "e", "pi", "sqrt") for kind, word in cursor.tokens):
            raise Unreadable(*error.args) from error  # \log_2 8: others may read it
        raise
    return formula


def _tokens(text: str) -> list[tuple[str, str]]:
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
    """A word of the whitelist; `xsin`, `xe` and `ab` are a letter and what follows it."""
    if kind == "letter":
        return [("word", "e")] if text == "e" else [(kind, text.removeprefix("\\"))]
    if kind != "word" or text in NAMES or text in ("frac", "binom", "pi"):
        return [(kind, text)]
    if text[1:] in NAMES or text[1:] in ("e", "pi"):
        return [*_split("letter", text[0]), ("word", text[1:])]
    if len(text) == 2 and text not in ("lg", "or", "is"):
        return [*_split("letter", text[0]), *_split("letter", text[1])]
    raise Unreadable(f"{text!r} is outside the whitelist")


# ------------------------------------------------------------------ the grammar, from sums down to atoms


def _sum(cursor: Cursor) -> Formula:
    cursor.deeper()
    terms = [_product(cursor)]
    while cursor.text in ("+", "-"):
        sign = MINUS if cursor.take() == "-" else ONE
        terms.append(times((sign, _product(cursor))))
    cursor.depth -= 1
    return plus(terms)


def _product(cursor: Cursor) -> Formula:
    factors, divided = [_signed(cursor, _power)], False
    while True:
        if cursor.text in ("*", "/"):
            divided = cursor.take() == "/"
            factor = _signed(cursor, _power)
            while divided and cursor.slash == TIGHT and cursor.opens():
                factor = _beside(cursor, factor)
            factors.append(power(factor, MINUS) if divided else factor)
        elif cursor.opens():
            both_numbers = cursor.kind == cursor.before()[0] == "number"
            if not cursor.slash and (divided or cursor.kind == "number") and not both_numbers:
                raise Ambiguous("a/bc, or a number behind a factor: put brackets or *")
            factors[-1] = _beside(cursor, factors[-1])
        else:
            return times(factors)


def _beside(cursor: Cursor, left: Formula) -> Formula:
    r"""`left` times what stands beside it, or a mixed number: `3\frac{5}{6}` and `3 5/6` are 23/6."""
    after_number, start = cursor.before()[0] == "number", cursor.at
    plain = after_number and cursor.kind == "number"
    part = _number(cursor) if plain else _power(cursor)
    if plain and cursor.text == "/":
        cursor.take()
        part = times((part, power(_atom(cursor), MINUS)))
    proper = part.head == "number" and 0 < part.number < 1
    if plain and not proper:
        raise Malformed("two numbers side by side")
    if not (plain or (after_number and proper and cursor.tokens[start][1] == "frac")):
        return times((left, part))
    if start >= 2 and cursor.tokens[start - 2][1] not in ("+", "-", *CLOSING) or left.number.denominator != 1:
        raise Unreadable("a mixed number inside a product")
    return plus([left, times((MINUS if left.number < 0 else ONE, part))])


def _signed(cursor: Cursor, operand: Callable[[Cursor], Formula]) -> Formula:
    start, sign = cursor.at, ONE
    while cursor.text in ("+", "-"):
        sign = times((sign, MINUS)) if cursor.take() == "-" else sign
    if cursor.at - start > MAX_DEPTH:
        raise Unreadable("nested too deeply")
    return operand(cursor) if sign == ONE else times((sign, operand(cursor)))


def _power(cursor: Cursor) -> Formula:
    formula = _atom(cursor)
    while cursor.text in ("^", "!"):
        formula = factorial(formula) if cursor.take() == "!" else power(formula, _signed(cursor, _exponent))
    return formula


def _exponent(cursor: Cursor) -> Formula:
    """An exponent; a chain of them binds to the right, as in sympy."""
    formula = _atom(cursor)
    if cursor.text == "^":
        cursor.deeper()
        cursor.take()
        return power(formula, _signed(cursor, _exponent))
    return formula


def _atom(cursor: Cursor) -> Formula:
    if cursor.text in CLOSING:
        return _bracketed(cursor)
    if cursor.text == "|":
        return _bars(cursor)
    if cursor.kind in ATOMS:
        return ATOMS[cursor.kind](cursor)
    raise Unreadable("a subscript") if cursor.text == "_" else Malformed(f"no operand before {cursor.text!r}")


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


def _number(cursor: Cursor) -> Formula:
    number = constant(Fraction(cursor.take().rstrip(".").replace(",", "")))
    if cursor.text == "_":
        raise Unreadable("a subscript")
    return number


def _letter(cursor: Cursor) -> Formula:
    """A letter with an optional subscript of one number or letter."""
    name = cursor.take()
    if name in FUNCTION_NAMES and cursor.text == "(":
        raise Unreadable("a function")
    if cursor.text == "_":
        cursor.take()
        braced = cursor.text == "{" and cursor.take()
        if cursor.kind not in ("number", "letter") or braced and cursor.tokens[cursor.at + 1][1] != "}":
            raise Unreadable("a long subscript")
        name = f"{name}_{cursor.take()}"
        cursor.at += bool(braced)
    return Formula("letter", name=name)


def _word(cursor: Cursor) -> Formula:
    word = cursor.take()
    if word in ("pi", "e"):
        return Formula("pi") if word == "pi" else E
    if word in ("frac", "binom"):
        top, bottom = _braced(cursor), _braced(cursor)
        return times((top, power(bottom, MINUS))) if word == "frac" else binomial(top, bottom)
    if word == "sqrt" and cursor.text == "[":
        root = _bracketed(cursor)
        return power(_braced(cursor), power(root, MINUS))
    return _call(cursor, NAMES[word])


ATOMS = {"number": _number, "letter": _letter, "word": _word}


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
    if exponent == MINUS and name in INVERTIBLE:
        name, exponent = f"a{name}", None
    formula = Formula(name, (_argument(cursor, name),))
    return formula if exponent is None else power(formula, exponent)


def _argument(cursor: Cursor, name: str) -> Formula:
    if cursor.text == "|" or cursor.text in CLOSING:
        return _atom(cursor)
    factors, plain = [], name != "sqrt"  # which takes no argument without brackets
    while plain and (cursor.kind in ("number", "letter") or cursor.text in ("e", "pi", "frac", "sqrt")):
        if cursor.kind == "number" and factors:
            raise Unreadable("a number behind a factor: put *")
        factors.append(_power(cursor))
    if not factors or cursor.text in CLOSING:
        raise Unreadable(f"the argument of {name} needs brackets")
    return times(factors)
