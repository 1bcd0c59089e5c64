r"""Equality of two answers where it can be decided without computer algebra.

`same` compares two forms (see `forms`) and answers True, False or None; None means: a computer algebra system has to
look. Both verdicts must be sound: False is given only where both sides were understood, or where one side cannot be
read by anybody.

The policy is a careful human grader's. A bare list is unordered and a repetition in it counts once; a tuple in
parentheses is ordered. A decimal stands for a value that it is not equal to only with ten significant digits or more.
"""

import re
from fractions import Fraction

from soar_lib.verifier.expression import PRIME, Value, evaluate
from soar_lib.verifier.forms import LEFT_SIDE, Form, read
from soar_lib.verifier.latex import clean

NUMBER = r"-?(?:\d+\.?\d*|\.\d+)"
DECIMAL = re.compile(r"-?\d*\.\d+")
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
ROUNDED_DIGITS = 10
UNITS = "cdghlmst"  # letters that behind a number may be a unit: 5 m, 5 s


def decide(gold: str, answer: str) -> bool | None:
    r"""Whether `answer` (content of a box) states the same as `gold`; None where only computer algebra can tell.

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
    if DECIMAL_COMMA.fullmatch(a):
        a, b = b, a
    return bool(DECIMAL.fullmatch(a) and DECIMAL_COMMA.fullmatch(b)) and Fraction(a) == Fraction(b.replace(",", "."))


def same(gold: Form, answer: Form) -> bool | None:
    """Whether two forms state the same; None where unknown."""
    if gold == answer and gold.kind != "malformed":
        return True
    if "malformed" in (gold.kind, answer.kind):
        return None if gold.kind in ("malformed", "unclear") else False
    if "either" in (gold.kind, answer.kind):  # 1/2x: wrong if it is wrong in both readings
        a, b = (form.items if form.kind == "either" else (form,) for form in (gold, answer))
        return None if any(same(x, y) is not False for x in a for y in b) else False
    for compare in (_same_equation, _same_text, _same_collection, _same_number, _same_kind):
        verdict, settled = compare(gold, answer)
        if settled:
            return verdict
    return None


def _same_equation(gold: Form, answer: Form) -> tuple[bool | None, bool]:
    """`x = 5` against `5` compares right sides; `x = 5` against `y = 5` is for the algebra system."""
    if gold.kind == answer.kind == "equation":
        return (same(gold.items[1], answer.items[1]) if gold.text == answer.text else None), True
    if gold.kind == "equation":
        return (same(gold.items[1], answer) if LEFT_SIDE.fullmatch(gold.text) else None), True
    if answer.kind == "equation":
        first, last = answer.items
        if LEFT_SIDE.fullmatch(last.text):  # 12 = x
            return None, True
        verdict = same(gold, last)
        sound = LEFT_SIDE.fullmatch(answer.text) or same(first, last)  # x = 12 or 6 + 6 = 12
        return (verdict if sound or verdict is False else None), True
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
    if gold.kind == "text" and gold.text not in ("nosolution", ""):
        letters = re.sub(r"\\[a-zA-Z]+|[^a-zA-Z]", "", answer.text).casefold()
        return (None if sorted(letters) == sorted(gold.text) else False), True
    return None, True


def _same_pieces(gold: Form, answer: Form) -> bool | None:
    if gold.kind != "pieces" or answer.kind != "pieces":
        return False if gold.kind == "text" and len(gold.text) > 1 else None
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
    if all(map(_is_integer, gold + answer)):
        return {form.value.residue for form in gold} == {form.value.residue for form in answer}
    table = [[same(a, b) for b in answer] for a in gold]
    found = [_any(row) for row in table] + [_any(column) for column in zip(*table)]
    return _all(found)


def _is_integer(form: Form) -> bool:
    return form.kind == "value" and form.value.exact is not None and form.value.exact.denominator == 1


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
        letters = re.fullmatch(rf"({NUMBER})\s*([{UNITS}]|[a-zA-Z]{{2,}})", answer.text if a.constant else gold.text)
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
