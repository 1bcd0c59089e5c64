r"""The one reader of answers: what a cleaned text says.

That is a value (see `formulas`), list, set, tuple or interval, equation, ratio, number in a base, or text. Reading
never fails: what this module does not understand is of kind "unclear" (computer algebra may), and what nobody can read
is "malformed". Formulas are compared without computer algebra, as their values at one fixed pseudo-random point modulo
a prime. Two rational expressions are equal exactly when these residues are; a chance coincidence has probability
degree / 2^255. Numbers as large as 2^2009 stay exact and cheap. pi and e are letters like any other."""

import functools
import hashlib
import itertools
import re
from dataclasses import dataclass, field

from soar_lib.verifier import formulas
from soar_lib.verifier.formulas import Formula, Malformed, Unreadable
from soar_lib.verifier.spelling import MAX_CHARACTERS, clean, closing, split_top

MAX_DEPTH = 40
PRIME = 2**255 - 19
MAX_EXPONENT = 10**12
THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:[ ,]\d{3})+(?:\.\d+)?")
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

    # value, percent, degrees, infinity, list, set, tuple, equation, ratio, dots, based, text, words, malformed, unclear
    kind: str
    text: str = ""  # the cleaned text; of text forms the letters alone; of tuples the two brackets
    items: tuple["Form", ...] = ()
    formula: Formula | None = field(default=None, compare=False)  # of a value, with its residue
    residue: int = 0


def understood(form: Form) -> bool | None:
    """True for a form read to its last part, False for one that nobody can read, None where algebra has to look."""
    parts = [{"malformed": False, "unclear": None}.get(form.kind, True), *map(understood, form.items)]
    return False if False in parts else None if None in parts else True


@functools.lru_cache(maxsize=50_000)
def read(text: str) -> Form:
    """The form of a text that `spelling.clean` gave; units behind a number are dropped."""
    depths = itertools.accumulate((character in "([{") - (character in ")]}") for character in text)
    if len(text) > MAX_CHARACTERS or max(depths, default=0) > MAX_DEPTH:
        return Form("unclear", text)
    if text.removeprefix("-").isdecimal():
        return _value(text)
    while (bare := UNIT.sub("", text)) != text:
        text = bare
    readers = (_text, _relation, _list, _bracketed, _special)
    return next((form for reader in readers if (form := reader(text))), None) or _value(text)


def _joined(kind: str, text: str, items: list[Form]) -> Form:
    broken = any(item.kind == "malformed" for item in items)
    return Form("malformed", text) if broken else Form(kind, text, tuple(items))


def _text(text: str) -> Form | None:
    r"""`\text{even}`, `(\text{A})`, bare words, and words between values: `133 Ps, 134 Qs` is a tuple."""
    if not text:
        return Form("malformed", text)
    if text == "\\emptyset":
        return Form("text", "nosolution")
    if not TEXT.search(text):
        return Form("words", _letters(text)) if WORDS.fullmatch(text) else None
    if not TEXT.sub("", text).strip(" ()"):
        return Form("text", _letters(TEXT.sub(r"\1", text)))
    values = [piece.strip(" ,") for piece in TEXT.split(text)[::2]]
    found = _joined("tuple", _letters("|".join(TEXT.findall(text))), [read(piece) for piece in values if piece])
    return found if len(found.items) > 1 and understood(found) else Form("unclear", text)


def _letters(text: str) -> str:
    letters = re.sub(r"^\((.*)\)$", r"\1", re.sub(r"\s", "", text).removesuffix(".").casefold())
    return "nosolution" if letters in NOTHING else letters


def _relation(text: str) -> Form | None:
    """Equations keep their first and last side."""
    sides = [side.strip() for side in RELATION.split(text)]
    signs = set(sides[1::2])
    if "\\in" in text and (belongs := re.fullmatch(rf"{SYMBOL}\s*\\in\s*([(\[\\](?!.*\\in\b).*)", text)):
        return read(belongs.group(1)) if len(split_top(text, ",;")) == 1 else None
    if not signs or len(split_top(text, ",;")) > 1 or signs <= set("=<>") and len(split_top(text, "=<>")) == 1:
        return None
    if sides[-2] == "\\approx":
        return read(clean(" ".join(sides[: sides.index("\\approx")])))
    if not all(sides[::2]):
        return Form("malformed", text)
    if signs == {"="}:
        return Form("equation", sides[0].replace(" ", ""), (read(sides[0]), read(sides[-1])))
    return Form("unclear", text)


def _list(text: str) -> Form | None:
    if THOUSANDS.fullmatch(text):
        return None
    comma, semicolon = split_top(text, ","), split_top(text, ";")
    if len(comma) > 1 and len(semicolon) > 1:
        return Form("unclear", text)
    parts = comma if len(comma) > 1 else semicolon
    if len(parts) == 1:
        if text.count("\\pm") != 1 or text[:1] in "([{":
            return None
        plus, minus = (re.sub(r"\\pm\s*", sign, text) for sign in "+-")
        return Form("list", text, (read(plus.removeprefix("+")), read(minus)))
    if ", " in text and re.search(r"\d,\d{3}(?!\d)", text):  # 1,000, 2,000: thousands beside a list's commas
        return read(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text))
    items = [read(part) for part in parts]
    return _joined("list", text, [part for item in items for part in (item.items if item.kind == "list" else [item])])


def _bracketed(text: str) -> Form | None:
    """A single value in brackets is that value, except in a set."""
    text = re.sub(r"^[a-zA-Z](?=\([^()\[\]]*\]$|\[[^()\[\]]*\)$)", "", text)
    if text.startswith("\\{") and text.endswith("\\}") and "\\}" not in text[2:-2]:
        inner = read(text[2:-2].strip())
        return Form("set", text, inner.items if inner.kind == "list" else (inner,))
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]") or closing(text, "([", ")]") != len(text) - 1:
        return None
    inner = text[1:-1].strip()
    parts = next((p for p in (split_top(inner, ","), split_top(inner, ";")) if len(p) > 1), None)
    return read(inner) if parts is None else _joined("tuple", text[0] + text[-1], [read(part) for part in parts])


def _special(text: str) -> Form | None:
    if text in ("\\infty", "-\\infty", "- \\infty"):
        return Form("infinity", "-" if "-" in text else "+")
    if text == "\\ldots":
        return Form("dots")
    if based := BASED.fullmatch(text):
        return Form("based", based.group(1).lstrip("0").upper() + "_" + based.group(2))
    if ":" in text and len(parts := split_top(text, ":")) > 1:
        return Form("ratio", text, tuple(read(part) for part in parts))
    if text[-1] in "%°":
        inner, kind = _value(text[:-1].strip()), "percent" if text[-1] == "%" else "degrees"
        return Form(kind, text, (inner,)) if inner.kind == "value" else Form("unclear", text)
    return Form("unclear", text) if "\\ldots" in text else None


def _value(text: str) -> Form:
    text = re.sub(r"[ ,]", "", text) if THOUSANDS.fullmatch(text) else text
    try:
        formula = formulas.read(text, loose=True)
        return Form("value", text, (), formula, residue(formula))
    except Unreadable as error:
        return Form("malformed" if isinstance(error, Malformed) else "unclear", text)


def residue(formula: Formula, modulus: int = PRIME, at: dict[str, int] | None = None) -> int:
    """The value modulo `modulus`, a power of PRIME, where letters have the values `at` or else those of their `point`.
    Raises Unreadable for roots, functions, and exponents that are no integers, and Malformed for a division by zero."""
    head = formula.head
    if head == "number":
        top, bottom = formula.number.as_integer_ratio()
        if bottom % PRIME == 0:
            raise Unreadable("a multiple of the prime")
        return (top if bottom == 1 else top * pow(bottom, -1, modulus)) % modulus
    if head in ("letter", "pi"):
        return (at or {}).get(formula.name) or point(formula.name or "pi")
    if head in ("^", "exp"):
        base, exponent = [Formula("letter", name="e"), *formula.parts][-2:]
        n, value = exponent.number, residue(base, modulus, at)
        if exponent.head != "number" or n.denominator != 1 or abs(n) > MAX_EXPONENT:
            raise Unreadable("an exponent that is no small integer")
        if n < 0 and value % PRIME == 0:
            raise Malformed("division by zero")
        return pow(value, int(n), modulus)
    if head not in ("+", "*"):
        raise Unreadable(f"{head} has no residue")
    parts = [residue(part, modulus, at) for part in formula.parts]
    return sum(parts) % modulus if head == "+" else functools.reduce(lambda a, b: a * b % modulus, parts)


@functools.cache
def point(name: str) -> int:
    """The residue that stands for a letter, derived from its name; that of i squares to -1."""
    if name == "i":
        return pow(2, (PRIME - 1) // 4, PRIME)  # 2 is no square modulo this prime (1 modulo 4): this squares to -1
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=32).digest()) % PRIME


def slope(formula: Formula, variable: str) -> int:
    """The derivative's residue modulo p: (f(x + p) - f(x)) / p modulo p, since f(x + p) = f(x) + p f'(x) modulo p^2."""
    near, here = (residue(formula, PRIME**2, {variable: point(variable) + step}) for step in (PRIME, 0))
    return (near - here) // PRIME % PRIME
