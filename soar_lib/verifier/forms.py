r"""What an answer says: a value (see `expression`), list, set, tuple or interval, relation, ratio, based number, text.

Reading never fails: what this module does not understand is of kind "unclear" (a computer algebra system may), and what
nobody can read is "malformed".
"""

import functools
import re
from dataclasses import dataclass

from soar_lib.verifier.expression import LEFT_TO_RIGHT, TIGHT, Ambiguous, Malformed, Unclear, Value, evaluate
from soar_lib.verifier.latex import clean, split_top

MAX_CHARACTERS = 2000
MAX_DEPTH = 40
THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:[ ,]\d{3})+(?:\.\d+)?")
INTEGER = re.compile(r"-?\d+")
SYMBOL = r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?"
LEFT_SIDE = re.compile(rf"{SYMBOL}|{SYMBOL}\({SYMBOL}(?:,{SYMBOL})*\)|\({SYMBOL}(?:,{SYMBOL})*\)|\|{SYMBOL}\|")
RELATION = re.compile(r"(=|<|>|\\le |\\ge |\\ne |\\approx )")
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
UNIT = re.compile(r"(?<=[\d}%°])\s*\\text\s*\{[^{}\d]*\}\s*(?:\^\{?\d\}?)?$")
WORDS = re.compile(r"[A-Za-z]{3,}|[A-Za-z]{2,}(?:[ -][A-Za-z]{2,})+")
NOTHING = {"nosolution", "nosolutions", "norealsolution", "norealsolutions", "none", "emptyset", "theemptyset"}
BASED = re.compile(r"\(?(-?\d[\dA-Fa-f]*(?:\.\d+)?)\)?_\{(\d+)\}")


@dataclass(frozen=True)
class Form:
    """One reading of an answer; `kind` says which of the other fields are set."""

    # value, percent, degrees, infinity, list, set, tuple, equation, chain, ratio, dots, based, text, words, pieces,
    # either (two readings), malformed, unclear
    kind: str
    text: str = ""  # the cleaned text; of text forms the letters alone; of tuples the two brackets
    items: tuple["Form", ...] = ()
    value: Value | None = None


def understood(form: Form) -> bool | None:
    """True for a form read to its last part, False for one that nobody can read, None where algebra has to look."""
    if form.kind in ("malformed", "unclear"):
        return False if form.kind == "malformed" else None
    parts = [understood(item) for item in form.items]
    return False if False in parts else None if None in parts else True


@functools.lru_cache(maxsize=50_000)
def read(text: str) -> Form:
    """The form of a cleaned text; units behind a number are dropped."""
    if len(text) > MAX_CHARACTERS or _depth(text) > MAX_DEPTH:
        return Form("unclear", text)
    if INTEGER.fullmatch(text):
        return _read_value(text)
    while (bare := UNIT.sub("", text)) != text:
        text = bare
    for reader in (_read_text, _read_relation, _read_list, _read_bracketed, _read_special, _read_suffixed):
        form = reader(text)
        if form:
            return form
    return _read_value(text)


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _read_text(text: str) -> Form | None:
    r"""`\text{even}`, `(\text{A})`, bare words, and words between values."""
    if not text:
        return Form("malformed", text)
    if text == "\\emptyset":
        return Form("text", "nosolution")
    if not TEXT.sub("", text).strip(" ()") and "\\text" in text:
        return Form("text", _letters(TEXT.sub(r"\1", text)))
    if TEXT.search(text):
        return _read_pieces(text)
    return Form("words", _letters(text)) if WORDS.fullmatch(text) else None


def _letters(text: str) -> str:
    letters = re.sub(r"\s", "", text).removesuffix(".").casefold()
    letters = letters[1:-1] if letters[:1] == "(" and letters[-1:] == ")" else letters
    return "nosolution" if letters in NOTHING else letters


def _read_pieces(text: str) -> Form:
    """Mathematics with words between, `133 Ps, 134 Qs`: the words and the values must agree in order."""
    pieces = [piece.strip(" ,") for piece in TEXT.split(text)]
    values = tuple(read(piece) for piece in pieces[::2] if piece)
    return Form("pieces", "|".join(_letters(piece) for piece in pieces[1::2]), values)


def _read_suffixed(text: str) -> Form | None:
    for suffix, kind in (("%", "percent"), ("°", "degrees")):
        if text.endswith(suffix):
            inner = _read_value(text[:-1].strip())
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
        return Form("equation", sides[0].replace(" ", ""), (read(sides[0]), read(sides[-1])))
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
    based = BASED.fullmatch(text)
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
    except Ambiguous:
        return _read_both(text)
    except Unclear:
        return Form("unclear", text)
    except Malformed:
        return Form("malformed", text)


def _read_both(text: str) -> Form:
    try:
        readings = [evaluate(text, slash) for slash in (LEFT_TO_RIGHT, TIGHT)]
    except (Unclear, Malformed):
        return Form("unclear", text)
    return Form("either", text, tuple(Form("value", text, value=value) for value in readings))
