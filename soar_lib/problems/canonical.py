r"""Canonical forms of answers, and equality of two forms where it can be decided without computer algebra.

`read` turns an answer into a form: a number or expression (by its value, see `expression`), a list, a set, a tuple or
interval, a relation, a ratio, a number in a base, text. `same` compares two forms and answers True, False or None;
None means: a computer algebra system has to look. Both verdicts must be sound: False is given only where both sides
were understood, or where one side cannot be read by anybody.

The policy is a careful human grader's. A bare list is unordered and a repetition in it counts once; a tuple in
parentheses is ordered. A decimal stands for a value that it is not equal to only with ten significant digits or more.
"""

import functools
import re
from dataclasses import dataclass
from fractions import Fraction

from soar_lib.problems.expression import PRIME, Malformed, Unclear, Value, evaluate
from soar_lib.problems.latex import clean, split_top

NUMBER = r"-?(?:\d+\.?\d*|\.\d+)"
THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:[ ,]\d{3})+(?:\.\d+)?")
DECIMAL = re.compile(r"-?\d*\.\d+")
ROUNDED_DIGITS = 10
SYMBOL = r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?"
LEFT_SIDE = re.compile(rf"{SYMBOL}|{SYMBOL}\({SYMBOL}(?:,{SYMBOL})*\)|\({SYMBOL}(?:,{SYMBOL})*\)|\|{SYMBOL}\|")
RELATION = re.compile(r"(=|<|>|\\le |\\ge |\\ne |\\approx )")
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
UNIT = re.compile(r"(?<=[\d}%°])\s*\\text\s*\{[^{}\d]*\}\s*(?:\^\{?\d\}?)?$")
WORDS = re.compile(r"[A-Za-z][a-z]+(?:[ -][A-Za-z]+)*|[A-Za-z]+(?:[ -][A-Za-z]+)+")
NOTHING = {"nosolution", "nosolutions", "norealsolution", "norealsolutions", "none", "emptyset", "theemptyset"}


@dataclass(frozen=True)
class Form:
    """One reading of an answer; `kind` says which of the other fields are set."""

    kind: str  # value, percent, degrees, infinity, list, set, tuple, relation, ratio, based, text, malformed, unclear
    text: str = ""  # the cleaned text; of text forms the letters alone; of tuples the two brackets
    items: tuple["Form", ...] = ()
    value: Value | None = None


def decide(gold: str, answer: str) -> bool | None:
    """Whether `answer` (content of a box) states the same as `gold`; None where only computer algebra can tell.

    >>> decide("\\frac{1}{2}", "0.5"), decide("1, 2", "2, 1"), decide("(1, 2)", "(2, 1)"), decide("2", "\\sqrt{4}")
    (True, True, False, None)
    """
    left, right = clean(gold), clean(answer)
    if _unspaced(left) == _unspaced(right):
        return True
    if _decimal_comma(left, right):
        return True
    return same(read(left), read(right))


def _unspaced(text: str) -> str:
    return re.sub(r"(?<!\d) | (?!\d)", "", text)


def _decimal_comma(a: str, b: str) -> bool:
    """`1000,99` is `1000.99` in much of the world; as a list it could not equal a decimal."""
    comma = re.compile(r"-?\d+,\d+")
    if comma.fullmatch(a) and DECIMAL.fullmatch(b):
        a, b = b, a
    return bool(DECIMAL.fullmatch(a) and comma.fullmatch(b)) and Fraction(a) == Fraction(b.replace(",", "."))


def understood(form: Form) -> bool | None:
    """True for a form read to its last part, False for one that nobody can read, None where algebra has to look."""
    if form.kind in ("malformed", "unclear"):
        return False if form.kind == "malformed" else None
    return _all([understood(item) for item in form.items])


# ------------------------------------------------------------------ reading


@functools.lru_cache(maxsize=50_000)
def read(text: str) -> Form:
    """The form of a cleaned text."""
    for reader in (_read_text, _read_suffixed, _read_relation, _read_list, _read_bracketed, _read_special):
        form = reader(text)
        if form:
            return form
    return _read_value(text)


def _read_text(text: str) -> Form | None:
    r"""`\text{even}`, `(\text{A})` and bare words; units behind a number are dropped."""
    if not text:
        return Form("malformed", text)
    bare = UNIT.sub("", text)
    if bare != text:
        return read(bare)
    if text == "\\emptyset":
        return Form("text", "nosolution")
    rest = TEXT.sub("", text).strip(" ().,")
    if not rest and "\\text" in text:
        return Form("text", _letters(TEXT.sub(r"\1", text)))
    if "\\text" in text:
        return _read_pieces(text)
    return Form("words", _letters(text)) if WORDS.fullmatch(text) and len(text) > 2 else None


def _letters(text: str) -> str:
    letters = re.sub(r"[\s().,'\"`-]", "", text).casefold()
    return "nosolution" if letters in NOTHING else letters


def _read_pieces(text: str) -> Form:
    """Mathematics with words between, `133 Ps, 134 Qs`: the words and the values must agree in order."""
    pieces = [piece.strip(" ,") for piece in TEXT.split(text)]
    values = tuple(read(piece) for piece in pieces[::2] if piece)
    return Form("pieces", "|".join(_letters(piece) for piece in pieces[1::2]), values)


def _read_suffixed(text: str) -> Form | None:
    for suffix, kind in (("%", "percent"), ("°", "degrees")):
        if text.endswith(suffix):
            inner = read(text[:-1].strip())
            return Form(kind, text, (inner,)) if inner.kind == "value" else Form("unclear", text)
    return None


def _read_relation(text: str) -> Form | None:
    """Equations keep their first and last side; inequalities about one letter are intervals."""
    if len(split_top(text, ",;")) > 1:
        return None
    membership = re.fullmatch(rf"{SYMBOL}\s*\\in\s*([(\[\\].*)", text)
    if membership:
        return read(membership.group(1))
    sides = [side.strip() for side in RELATION.split(text)]
    if len(sides) < 3 or len(split_top(text, "=<>")) == 1 and not re.search(r"\\(?:le|ge|ne|approx) ", text):
        return None
    if sides[-2] == "\\approx":
        return read(clean(" ".join(sides[:-2])))
    if any(not side for side in sides[::2]):
        return Form("malformed", text)
    if set(sides[1::2]) == {"="}:
        return Form("equation", sides[0].replace(" ", ""), (read(sides[-1]),))
    return _interval(text, sides) or Form("chain", "", tuple(read(s) for s in sides[::2]), None)


def _interval(text: str, sides: list[str]) -> Form | None:
    """`a < x <= b`, `x < b`, `b > x`: the interval that x lies in."""
    flipped = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
    if any(operator not in flipped for operator in sides[1::2]):
        return None
    if len(sides) == 3 and not LEFT_SIDE.fullmatch(sides[0]):
        sides = [sides[2], flipped[sides[1]], sides[0]]
    elif len(sides) == 5 and sides[1] in (">", "\\ge"):
        sides = [sides[4], flipped[sides[3]], sides[2], flipped[sides[1]], sides[0]]
    if len(sides) == 3:
        below = sides[1] in ("<", "\\le")
        sides = ["-\\infty", "<", *sides] if below else [sides[2], flipped[sides[1]], sides[0], "<", "\\infty"]
    if len(sides) != 5 or not LEFT_SIDE.fullmatch(sides[2]) or {sides[1], sides[3]} & {">", "\\ge"}:
        return None
    brackets = ("[" if sides[1] == "\\le" else "(") + ("]" if sides[3] == "\\le" else ")")
    return Form("tuple", brackets, (read(sides[0]), read(sides[4])))


def _read_list(text: str) -> Form | None:
    if THOUSANDS.fullmatch(text):
        return None
    comma, semicolon = split_top(text, ","), split_top(text, ";")
    if len(comma) > 1 and len(semicolon) > 1:
        return Form("unclear", text)
    parts = comma if len(comma) > 1 else semicolon
    if len(parts) == 1:
        return _plus_minus(text)
    if ", " in text and re.search(r"\d,\d{3}(?!\d)", text):  # 1,000, 2,000: thousands beside a list's commas
        return read(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))
    items = [read(part) for part in parts]
    if any(item.kind == "malformed" for item in items):
        return Form("malformed", text)
    return Form("list", text, tuple(part for item in items for part in (item.items if item.kind == "list" else [item])))


def _plus_minus(text: str) -> Form | None:
    if text.count("\\pm") != 1 or text[:1] in "([{":
        return None
    plus, minus = (re.sub(r"\\pm\s*", sign, text) for sign in "+-")
    return Form("list", text, (read(plus.removeprefix("+")), read(minus)))


def _read_bracketed(text: str) -> Form | None:
    """Sets, tuples and intervals; a single value in brackets is that value, except in a set."""
    text = re.sub(r"^[a-zA-Z](?=\([^()\[\]]*\]$|\[[^()\[\]]*\)$)", "", text)
    if text.startswith("\\{") and text.endswith("\\}") and "\\}" not in text[2:-2]:
        inner = read(text[2:-2].strip())
        return Form("set", text, inner.items if inner.kind == "list" else (inner,))
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]") or not _encloses(text):
        return None
    inner = text[1:-1].strip()
    parts = next((p for p in (split_top(inner, ","), split_top(inner, ";")) if len(p) > 1), None)
    if parts is None:
        return read(inner)
    items = tuple(read(part) for part in parts)
    kind = "malformed" if any(item.kind == "malformed" for item in items) else "tuple"
    return Form(kind, text[0] + text[-1], items)


def _encloses(text: str) -> bool:
    depth = 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return position == len(text) - 1
    return False


def _read_special(text: str) -> Form | None:
    if text in ("\\infty", "-\\infty", "- \\infty"):
        return Form("infinity", "-" if "-" in text else "+")
    if text == "\\ldots":
        return Form("dots")
    based = re.fullmatch(r"\(?(\d[\dA-Fa-f]*)\)?_\{(\d+)\}", text)
    if based:
        return Form("based", based.group(1).lstrip("0").upper() + "_" + based.group(2))
    if ":" in text and len(parts := split_top(text, ":")) > 1:
        return Form("ratio", text, tuple(read(part) for part in parts))
    if "\\ldots" in text:
        return Form("unclear", text)
    return None


def _read_value(text: str) -> Form:
    if THOUSANDS.fullmatch(text):
        text = re.sub(r"[ ,]", "", text)
    try:
        return Form("value", text, value=evaluate(text))
    except Unclear:
        return Form("unclear", text)
    except Malformed:
        return Form("malformed", text)


# ------------------------------------------------------------------ comparing


def same(gold: Form, answer: Form) -> bool | None:
    """Whether two forms state the same; None where unknown."""
    if gold == answer and gold.kind != "malformed":
        return True
    if "malformed" in (gold.kind, answer.kind):
        return None if gold.kind in ("malformed", "unclear") else False
    for compare in (_same_equation, _same_text, _same_collection, _same_number, _same_kind):
        verdict, settled = compare(gold, answer)
        if settled:
            return verdict
    return None


def _same_equation(gold: Form, answer: Form) -> tuple[bool | None, bool]:
    """`x = 5` against `5` compares right sides; `x = 5` against `y = 5` is for the algebra system."""
    if gold.kind == answer.kind == "equation":
        return (same(gold.items[0], answer.items[0]) if gold.text == answer.text else None), True
    if gold.kind == "equation":
        return (same(gold.items[0], answer) if LEFT_SIDE.fullmatch(gold.text) else None), True
    if answer.kind == "equation":
        return (same(gold, answer.items[0]) if LEFT_SIDE.fullmatch(answer.text) else None), True
    return None, False


def _same_text(gold: Form, answer: Form) -> tuple[bool | None, bool]:
    """Text equals text letter by letter; a word is no number. Bare letters may also be a product."""
    kinds = {gold.kind, answer.kind}
    if "pieces" in kinds:
        return _same_pieces(gold, answer), True
    if not kinds & {"text", "words"}:
        return None, False
    single = {form.text for form in (gold, answer) if form.kind == "value" and len(form.text) == 1}
    if kinds <= {"text", "words"} or single:
        equal = gold.text.casefold() == answer.text.casefold()
        return (True if equal else None if kinds == {"words"} else False), True
    other = answer if gold.kind in ("text", "words") else gold
    if other.kind == "value" and (other.value.constant or "text" in kinds):
        return False, True
    return (False if gold.kind == "text" and len(gold.text) > 1 and "\\" not in answer.text else None), True


def _same_pieces(gold: Form, answer: Form) -> bool | None:
    if gold.kind != "pieces" or answer.kind != "pieces":
        return None
    values = _all([same(a, b) for a, b in zip(gold.items, answer.items)])
    if len(gold.items) != len(answer.items) or values is not True:
        return None if len(gold.items) != len(answer.items) else values
    return gold.text == answer.text


def _same_collection(gold: Form, answer: Form) -> tuple[bool | None, bool]:
    kinds = {gold.kind, answer.kind}
    if not kinds & {"list", "set", "tuple"}:
        return None, False
    if "unclear" in kinds or "chain" in kinds:
        return None, True
    if gold.kind == "tuple" and answer.kind in ("tuple", "list"):
        if answer.kind == "tuple" and gold.text != answer.text:
            return False, True
        return _same_order(gold.items, answer.items), True
    if kinds == {"tuple", "set"}:
        return False, True
    if any(item.kind == "dots" for item in gold.items + answer.items):
        return _same_order(gold.items, answer.items), True
    if gold.kind == "list" and answer.kind == "tuple" and answer.text not in ("()", "[]"):
        return False, True
    return _same_members(_members(gold), _members(answer)), True


def _members(form: Form) -> tuple[Form, ...]:
    return form.items if form.kind in ("list", "set", "tuple") else (form,)


def _same_order(gold: tuple[Form, ...], answer: tuple[Form, ...]) -> bool | None:
    return False if len(gold) != len(answer) else _all([same(a, b) for a, b in zip(gold, answer)])


def _same_members(gold: tuple[Form, ...], answer: tuple[Form, ...]) -> bool | None:
    """Equality as sets: everything on either side is also on the other."""
    table = [[same(a, b) for b in answer] for a in gold]
    found = [_any(row) for row in table] + [_any(column) for column in zip(*table)]
    return _all(found)


def _all(verdicts: list[bool | None]) -> bool | None:
    return False if False in verdicts else None if None in verdicts else True


def _any(verdicts) -> bool | None:
    return True if True in verdicts else None if None in verdicts else False


def _same_number(gold: Form, answer: Form) -> tuple[bool | None, bool]:
    """Values, percentages (28% is 28 and 0.28 alike), degrees (60 degrees is 60 and pi/3 alike) and bases."""
    if "based" in (gold.kind, answer.kind):
        return _same_based(gold, answer)
    scaled = {"value": 1, "percent": Fraction(1, 100), "degrees": Fraction(1, 180)}
    if gold.kind not in scaled or answer.kind not in scaled:
        return None, False
    a, b = (form.value or form.items[0].value for form in (gold, answer))
    if a.residue == b.residue:
        return True, True
    if gold.kind == answer.kind == "value":
        return _same_value(gold, answer), True
    pi = evaluate("\\pi").residue if "degrees" in (gold.kind, answer.kind) else 1
    a, b = (_scale(v, scaled[form.kind], pi) for v, form in ((a, gold), (b, answer)))
    return a == b, True


def _scale(value: Value, factor: Fraction | int, pi: int) -> int:
    if factor == 1:
        return value.residue
    return value.residue * factor.numerator * pow(factor.denominator, -1, PRIME) * pi % PRIME


def _same_based(gold: Form, answer: Form) -> tuple[bool | None, bool]:
    """Digits must agree, and the bases where both are written: 506_7 is 506 here, but not 251."""
    digits, base = zip(*((form.text.lstrip("0") + "_").split("_")[:2] for form in (gold, answer)))
    plain = all(form.kind in ("based", "value") for form in (gold, answer))
    return (digits[0] == digits[1] and (not all(base) or base[0] == base[1])) if plain else None, True


def _same_value(gold: Form, answer: Form) -> bool | None:
    """Different residues are different values, but for units written as letters and for long rounded decimals."""
    a, b = gold.value, answer.value
    if a.constant != b.constant:
        letters = re.fullmatch(rf"({NUMBER})\s*([a-zA-Z]+)", answer.text if a.constant else gold.text)
        number = a if a.constant else b
        return None if letters and evaluate(letters.group(1)).residue == number.residue else False
    for decimal, other in ((gold, b), (answer, a)):
        if DECIMAL.fullmatch(decimal.text) and a.exact is not None and b.exact is not None:
            digits = decimal.text.lstrip("-0.").replace(".", "")
            half = Fraction(1, 2 * 10 ** len(decimal.text.split(".")[1]))
            if len(digits) >= ROUNDED_DIGITS and abs(decimal.value.exact - other.exact) <= half:
                return True
    return False


def _same_kind(gold: Form, answer: Form) -> tuple[bool | None, bool]:
    if gold.kind == answer.kind == "ratio":
        return _same_order(gold.items, answer.items), True
    simple = ("value", "percent", "degrees", "infinity", "dots")
    return False, gold.kind in simple and answer.kind in simple
