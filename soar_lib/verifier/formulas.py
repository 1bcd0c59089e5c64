r"""The one reader of formulas: text in plain or LaTeX syntax becomes a tree, for answers and integrals alike.

It is a whitelist: numbers, letters with short subscripts, `+ - * / ^ !`, brackets, `| |`, `\frac`, `\binom`,
`\sqrt[n]{}`, pi, e and the functions in NAMES. Every other word or sign raises Unreadable. Nothing is ever evaluated by
Python or sympy. The text has one spelling already (`spelling.clean`)."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from soar_lib.verifier.spelling import MAX_CHARACTERS

MAX_DEPTH = 80
MAX_BITS = 4096  # numbers beyond are not worked out
MAX_COUNTED = 5000  # in factorials and binomials

INVERTIBLE = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")
NAMES = {
    **{name: name for name in (*INVERTIBLE, "sech", "csch", "exp", "log", "sqrt", "sign", "erf", "Si", "Ci", "Ei")},
    **{f"{prefix}{name}": f"a{name}" for name in INVERTIBLE for prefix in ("a", "ar", "arc")},
    "ln": "log", "Log": "log", "cosec": "csc", "Abs": "abs", "abs": "abs", "sgn": "sign",
}  # fmt: skip
GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi|omega"
TOKEN = re.compile(
    r"\s*(?:(?P<number>[1-9]\d{0,2}(?:,\d{3})+(?!\d)|\d+(?:\.\d*)?|\.\d+)"
    rf"|(?P<letter>\\(?:{GREEK})(?![a-zA-Z])|\\?[a-zA-Z](?![a-zA-Z]))"
    r"|\\?(?P<word>[a-zA-Z]{2,})|(?P<sign>[-+*/^!_(){}\[\]|.])|(?P<other>.))"
)
CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|"}
FUNCTION_NAMES = "fghFGHPQTW"  # letters that before a bracket are functions, not factors
SUM, PRODUCT, SIGNED, POWER = 1, 2, 3, 4  # how tightly signs bind
BINDING = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "^": POWER, "!": POWER}


class Unreadable(ValueError):
    """The text is no formula of the whitelist; the message says why."""


class Malformed(Unreadable):
    """Nobody can read it: only numbers, letters, signs and brackets, and still no formula, as `-45-` or `3*(x`."""


@dataclass(frozen=True)
class Formula:
    """A node: a number, letter or pi, a sum or product of all `parts`, a power (two parts), or a function of one."""

    head: str  # "number", "letter", "pi", "+", "*", "^", or a value of NAMES
    parts: tuple["Formula", ...] = ()
    number: Fraction = Fraction(0)
    name: str = ""  # of a letter


def symbols(formula: Formula) -> frozenset[str]:
    """The names of all letters in a formula; "pi" and "exp" where it holds pi and powers of e."""
    own = {formula.name or formula.head} if formula.head in ("letter", "pi", "exp") else set()
    return frozenset(own.union(*map(symbols, formula.parts)))


def letters(formula: Formula) -> frozenset[str]:
    """The formula's letters without pi and the exponential function."""
    return symbols(formula) - {"pi", "exp"}


def _constant(value: int | Fraction) -> Formula:
    return Formula("number", number=Fraction(value))


ONE, MINUS = _constant(1), _constant(-1)
E = Formula("exp", (ONE,))


def combine(head: str, parts: Sequence[Formula]) -> Formula:
    """The sum (head "+") or product ("*") of the parts, whose rational numbers are worked out as one in front."""
    flat = [inner for part in parts for inner in (part.parts if part.head == head else (part,))]
    numbers = [part.number for part in flat if part.head == "number"]
    if len(numbers) > 1 and sum(max(map(int.bit_length, n.as_integer_ratio())) for n in numbers) > MAX_BITS:
        return Formula(head, tuple(flat))
    total, rest = sum(numbers) if head == "+" else math.prod(numbers), [p for p in flat if p.head != "number"]
    if not rest:
        return _constant(total)
    neutral = total == (head == "*")
    return rest[0] if neutral and len(rest) == 1 else Formula(head, (*([] if neutral else [_constant(total)]), *rest))


def power(base: Formula, exponent: Formula) -> Formula:
    """base^exponent: worked out for rational numbers where it stays small, and exp(u) for e^u."""
    if base == E:
        return Formula("exp", (exponent,))
    if base.head == exponent.head == "number" and exponent.number.denominator == 1:
        n, size = int(exponent.number), max(map(int.bit_length, base.number.as_integer_ratio()))
        if abs(n) * size <= MAX_BITS and (base.number or n > 0):
            return _constant(base.number**n)
    return Formula("^", (base, exponent))


def _divide(top: Formula, bottom: Formula) -> Formula:
    return combine("*", (top, power(bottom, MINUS)))


def counted(count: Callable[..., int], *of: Formula) -> Formula:
    """The number that `count` (factorial, binomial) gives. Raises Unreadable unless all of `of` are small integers."""
    if any(part.head != "number" or part.number.denominator != 1 or not 0 <= part.number <= MAX_COUNTED for part in of):
        raise Unreadable("a factorial or binomial of no small integers")
    return _constant(count(*(int(part.number) for part in of)))


@dataclass
class _Cursor:
    """A position in the tokens of one text, how deep it is nested, and how many bars of `|x|` are open."""

    tokens: list[tuple[str, str]]
    loose: bool
    at: int = 0
    depth: int = 0
    bars: int = 0

    kind = property(lambda self: self.tokens[self.at][0])
    text = property(lambda self: self.tokens[self.at][1])

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def opens(self) -> bool:
        """Whether a factor may begin at the cursor."""
        return self.kind in ("number", "letter", "word") or self.text in CLOSING and (self.text != "|" or not self.bars)


def read(text: str, loose: bool = False) -> Formula:
    r"""The formula that a text states in sympy's notation or LaTeX; `loose` allows a number behind a factor, x2.

    Raises Unreadable, also for `a/bc`, which people read in two ways, and Malformed for broken syntax.

    >>> read("-9*x^6/8 + sin(2*x)") == read("-\\frac{9}{8} x^{6} + \\sin{2x}")
    True
    """
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"longer than {MAX_CHARACTERS} characters")
    cursor = _Cursor(_tokens(text), loose)
    try:
        formula = _formula(cursor)
        if cursor.kind != "end":
            raise Malformed(f"unexpected {cursor.text!r}")
    except Malformed as error:
        if any(kind == "word" and word in NAMES and word != "sqrt" for kind, word in cursor.tokens):
            raise Unreadable(*error.args) from error  # \log_2 8: others may read it
        raise
    return formula


def _tokens(text: str) -> list[tuple[str, str]]:
    text, tokens = re.sub(r"\\(?:[lr]?vert|mid)(?![a-zA-Z])", "|", text).rstrip(), []
    for match in TOKEN.finditer(text):
        if match.lastgroup == "other":
            raise Unreadable(f"{text[match.start() : match.start() + 10]!r} is outside the whitelist")
        tokens += _split(match.lastgroup, match.group(match.lastgroup))
    return [*tokens, ("end", "")]


def _split(kind: str, text: str) -> list[tuple[str, str]]:
    """A word of the whitelist; `xsin`, `xe` and `ab` are a letter and what follows it."""
    if kind == "letter":
        return [("word", "e")] if text == "e" else [(kind, text.removeprefix("\\"))]
    if kind != "word" or text in NAMES or text in ("frac", "binom", "pi"):
        return [(kind, text)]
    if text[1:] in NAMES or text[1:] == "pi" or len(text) == 2 and text not in ("lg", "or", "is"):
        return [*_split("letter", text[0]), *_split("letter" if len(text) == 2 else "word", text[1:])]
    raise Unreadable(f"{text!r} is outside the whitelist")


def _formula(cursor: _Cursor, level: int = 0) -> Formula:
    """All that binds more tightly than `level`; exponents bind to the right, as in sympy."""
    cursor.depth += 1
    if cursor.depth > MAX_DEPTH:
        raise Unreadable("nested too deeply")
    left, divided = _atom(cursor), False
    while (PRODUCT if cursor.opens() else BINDING.get(cursor.text, 0)) > level:
        if cursor.opens():
            left = _beside(cursor, left, divided)
            continue
        sign = cursor.take()
        right = _formula(cursor, SIGNED if sign == "^" else BINDING[sign]) if sign != "!" else None
        divided = sign == "/"
        if sign in "+-*":
            right = combine("*", (MINUS, right)) if sign == "-" else right
            left = combine("*" if sign == "*" else "+", (left, right))
        else:
            left = counted(math.factorial, left) if sign == "!" else (_divide if divided else power)(left, right)
    cursor.depth -= 1
    return left


def _beside(cursor: _Cursor, left: Formula, divided: bool) -> Formula:
    r"""`left` times the factor beside it, or a mixed number: `3\frac{5}{6}` is 23/6."""
    start, number = cursor.at, cursor.at > 0 and cursor.tokens[cursor.at - 1][0] == "number"
    if number and cursor.kind == "number":
        raise Malformed("two numbers side by side")
    if divided or cursor.kind == "number" and not cursor.loose:
        raise Unreadable("a/bc, or a number behind a factor: put brackets or *")
    fraction, part = cursor.text == "frac", _formula(cursor, SIGNED)
    if not (number and fraction and part.head == "number" and 0 < part.number < 1):
        return combine("*", (left, part))
    if start > 1 and cursor.tokens[start - 2][1] not in ("+", "-", *CLOSING) or left.number.denominator != 1:
        raise Unreadable("a mixed number inside a product")
    return _constant(left.number + (-part.number if left.number < 0 else part.number))


def _atom(cursor: _Cursor) -> Formula:
    kind, text = cursor.kind, cursor.text
    if text in ("+", "-"):
        cursor.take()
        return combine("*", (MINUS if text == "-" else ONE, _formula(cursor, SIGNED)))
    if text in CLOSING:
        return _enclosed(cursor)
    if kind in ("letter", "word"):
        return (_letter if kind == "letter" else _word)(cursor)
    if kind == "number" and cursor.tokens[cursor.at + 1][1] != "_":
        digits = cursor.take().rstrip(".").replace(",", "")
        return _constant(int(digits) if digits.isdecimal() else Fraction(digits))
    raise Unreadable("a subscript") if kind == "number" or text == "_" else Malformed(f"no operand before {text!r}")


def _enclosed(cursor: _Cursor, braces: bool = False) -> Formula:
    if braces and cursor.text != "{":
        raise Unreadable("an argument without braces")
    bars, bracket = cursor.bars, cursor.take()
    cursor.bars = bars + 1 if bracket == "|" else 0
    formula = _formula(cursor)
    if cursor.take() != CLOSING[bracket]:
        raise Malformed(f"{CLOSING[bracket]!r} is missing")
    cursor.bars = bars
    return Formula("abs", (formula,)) if bracket == "|" else formula


def _letter(cursor: _Cursor) -> Formula:
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


def _word(cursor: _Cursor) -> Formula:
    r"""pi, e, a fraction, or a function: `sin(x)`, `\sin 2x`, `\sin^2 x`, `\sin^{-1}(x)`."""
    word, exponent = cursor.take(), ONE
    if word in ("pi", "e"):
        return Formula("pi") if word == "pi" else E
    if word in ("frac", "binom"):
        top, bottom = _enclosed(cursor, braces=True), _enclosed(cursor, braces=True)
        return _divide(top, bottom) if word == "frac" else counted(math.comb, top, bottom)
    if word == "sqrt" and cursor.text == "[":
        root = _enclosed(cursor)
        return power(_enclosed(cursor, braces=True), _divide(ONE, root))
    name = NAMES[word]
    if cursor.text == "^":
        cursor.take()
        exponent = _atom(cursor)
    if exponent == MINUS and name in INVERTIBLE:
        name, exponent = f"a{name}", ONE
    formula = Formula(name, (_argument(cursor, name),))
    return formula if exponent == ONE else power(formula, exponent)


def _argument(cursor: _Cursor, name: str) -> Formula:
    if cursor.text in CLOSING:
        return _enclosed(cursor)
    factors = [_formula(cursor, SIGNED)] if cursor.kind == "number" and name != "sqrt" else []
    while name != "sqrt" and (cursor.kind == "letter" or cursor.text in ("e", "pi", "frac", "sqrt")):
        factors.append(_formula(cursor, SIGNED))
    if not factors or cursor.kind == "number" or cursor.text in CLOSING and cursor.opens():
        raise Unreadable(f"the argument of {name} needs brackets")
    return combine("*", factors)
