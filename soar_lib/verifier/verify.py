r"""One function decides equality for rewards, filtering and evaluation alike (design: verifier).

`check` takes the answer out of the last balanced \boxed{} (`spelling`), reads it (`answers`), compares it where that is
cheap (`same`), and only then asks Math-Verify in a process that can be killed (`workers`). Model text is never
evaluated. The verdicts: right; wrong; unparsed (no balanced box in the response, or an empty one); timeout (Math-Verify
ran out of time or memory: no reward either, but counted apart).

What `same` decides must be sound: False is given only where both sides were understood, or where one side cannot be
read by anybody. POLICY is a careful human grader's; beside it a decimal stands for a value that it is not equal to only
with ten significant digits or more. This process imports neither sympy nor Math-Verify."""

import functools
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from soar_lib.verifier import workers
from soar_lib.verifier.answers import LEFT_SIDE, PRIME, Form, point, read, understood
from soar_lib.verifier.formulas import symbols
from soar_lib.verifier.spelling import MAX_CHARACTERS, boxed_answer, clean, extract_boxed

__all__ = ["VERDICTS", "check", "check_many", "decide", "equal", "extract_boxed", "parses"]

VERDICTS = ("right", "wrong", "unparsed", "timeout")
WORDS = {True: "right", False: "wrong", None: "timeout"}  # of what a worker answers
DEADLINE = 5.0  # seconds per pair in Math-Verify; ordinary pairs take milliseconds
NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)"
DECIMAL = re.compile(r"-?\d*\.\d+")
ONE_COMMA = re.compile(r"-?\d+,\d+ -?\d*\.\d+|-?\d*\.\d+ -?\d+,\d+")  # of two answers: 1000,99 is 1000.99
POWER_OF_TEN = re.compile(rf"(?<![\w.\\/^])({NUMBER})[eE]([-+]?\d{{1,3}})(?![\w.])")
LETTER_E = re.compile(r"(?<![a-zA-Z])[eE](?![a-zA-Z])")
ROUNDED_DIGITS = 10
LETTER_UNIT = re.compile(rf"({NUMBER})\s*([cdghlmst]|[a-zA-Z]{{2,}})")  # 5 m, 5 s, 5 cm


def check(gold: str, response: str, deadline: float = DEADLINE) -> str:
    r"""The verdict on a whole response: "right", "wrong", "unparsed" (no box) or "timeout"; `gold` is the right box.

    `deadline` is in seconds of processor time and counts the comparison alone, not the start of a worker.

    >>> check("\\frac{1}{2}", "so it is \\boxed{0.5}"), check("3", "\\boxed{4}"), check("3", "it is 3")
    ('right', 'wrong', 'unparsed')
    """
    answer = boxed_answer(response)
    return "unparsed" if answer is None else equal(gold, answer, deadline)


def equal(gold: str, answer: str, deadline: float = DEADLINE) -> str:
    """The verdict on a bare answer, the content of a box: "right", "wrong" or "timeout"; `gold` is the right one."""
    verdict = decide(gold, answer)
    return WORDS[_asked(cleaned(gold, answer), deadline) if verdict is None else verdict]


def check_many(pairs: Sequence[tuple[str, str]], progress: bool = False, deadline: float = DEADLINE) -> list[str]:
    """Verdicts on (gold, response) pairs in order, each distinct one decided once; Math-Verify uses up to 8 cores."""
    answers = {text: boxed_answer(text) for text in {text for _, text in pairs}}
    asked = {(gold, answers[text]) for gold, text in pairs if answers[text] is not None}
    found = workers.side_by_side(asked, decide, lambda *pair: _asked(cleaned(*pair), deadline), "Math-Verify", progress)
    return ["unparsed" if answers[text] is None else WORDS[found[gold, answers[text]]] for gold, text in pairs]


def parses(answer: str) -> bool:
    r"""Whether an answer (the content of a box) can be read: as a number, expression, list, text, or by Math-Verify.

    >>> parses("\\frac{1}{2}"), parses("2, 3"), parses("\\text{east}"), parses("1 +")
    (True, True, True, False)
    """
    if len(answer) > MAX_CHARACTERS:
        return False
    text = cleaned("", answer)[1]
    known = understood(read(text))
    return _asked([text], DEADLINE) is True if known is None else known


def _asked(texts: Iterable[str], deadline: float) -> bool | None:
    """What Math-Verify says of cleaned answers, which it is given in LaTeX."""
    latex = [text.replace("°", "^{\\circ}").replace("%", "\\%").replace("*", "\\cdot ") for text in texts]
    return workers.ask(latex, deadline)


def decide(gold: str, answer: str) -> bool | None:
    r"""Whether `answer` (content of a box) states the same as `gold`; None where only computer algebra can tell.

    >>> decide("\\frac{1}{2}", "0.5"), decide("1, 2", "2, 1"), decide("(1, 2)", "(2, 1)"), decide("2", "\\sqrt{4}")
    (True, True, False, None)
    """
    if max(len(gold), len(answer)) > MAX_CHARACTERS:
        return gold == answer
    left, right = cleaned(gold, answer)
    bare = [re.sub(r"(?<!\d) | (?!\d)", "", text) if " " in text else text for text in (left, right)]
    if ONE_COMMA.fullmatch(f"{left} {right}"):
        bare = [Fraction(text.replace(",", ".")) for text in (left, right)]
    return True if bare[0] == bare[1] else same(read(left), read(right))


def cleaned(gold: str, answer: str) -> tuple[str, str]:
    """Both answers in one spelling, `spelling.clean`'s; 4.2e-5 is a power of ten unless both use e as a letter."""
    left, right = clean(gold), clean(answer)
    if LETTER_E.search(left) and LETTER_E.search(right):
        return left, right
    return tuple(POWER_OF_TEN.sub(r"\1*10^{\2}", text) if "e" in text.lower() else text for text in (left, right))


def same(gold: Form, answer: Form) -> bool | None:
    """Whether two forms of answers state the same; None where only computer algebra can tell."""
    if gold == answer and gold.kind != "malformed":
        return True
    if "malformed" in (gold.kind, answer.kind):
        return None if gold.kind in ("malformed", "unclear") else False
    rule = _rule(gold.kind, answer.kind)
    return rule(gold, answer) if callable(rule) else rule


def _equations(gold: Form, answer: Form) -> bool | None:
    """Right sides; a left side that is no letter, as in 6 + 6 = 12, must be equal to its right side."""
    if answer.kind != "equation":
        return same(gold.items[1], answer) if LEFT_SIDE.fullmatch(gold.text) else None
    if gold.kind == "equation":
        return same(gold.items[1], answer.items[1]) if gold.text == answer.text else None
    first, last = answer.items
    verdict = None if LEFT_SIDE.fullmatch(last.text) else same(gold, last)  # 12 = x
    sound = LEFT_SIDE.fullmatch(answer.text) or same(first, last)
    return verdict if sound or verdict is False else None


def _letters(gold: Form, answer: Form) -> bool | None:
    """Letter by letter; a word is no number, but bare letters may also be a product."""
    kinds = {gold.kind, answer.kind}
    if kinds <= TEXTS or any(form.kind == "value" and len(form.text) == 1 for form in (gold, answer)):
        equal = gold.text.casefold() == answer.text.casefold()
        return True if equal else None if kinds == {"words"} else False
    other = answer if gold.kind in TEXTS else gold
    if other.kind == "value" and ("text" in kinds or not symbols(other.formula)):
        return False
    bare = re.sub(r"\\[a-zA-Z]+|[^a-zA-Z]", "", answer.text).casefold()
    told = gold.kind == "text" and gold.text not in ("nosolution", "")
    return False if told and sorted(bare) != sorted(gold.text) else None


def _in_order(gold: Form, answer: Form) -> bool | None:
    if len(gold.items) != len(answer.items) or gold.kind == answer.kind == "tuple" and gold.text != answer.text:
        return False
    return _all(same(a, b) for a, b in zip(gold.items, answer.items))


def _members(gold: Form, answer: Form) -> bool | None:
    """Equality as sets: everything on either side is also on the other. With `...` the order counts, and for a tuple:
    (1, 2) is 1, 2 without brackets, but neither 2, 1 nor [1, 2), nor a set."""
    if gold.kind == "tuple" and answer.kind in ("tuple", "list"):
        return _in_order(gold, answer)
    if {gold.kind, answer.kind} == {"tuple", "set"} or answer.kind == "tuple" and answer.text not in ("()", "[]"):
        return False
    given, found = (form.items if form.kind in COLLECTIONS else (form,) for form in (gold, answer))
    if any(item.kind == "dots" for item in given + found):
        return _in_order(gold, answer)
    if all(item.kind == "value" and item.formula.head == "number" and not _digits(item) for item in given + found):
        return {item.residue for item in given} == {item.residue for item in found}
    table = [[same(a, b) for b in found] for a in given]
    rows = [*table, *zip(*table)]  # each member's verdicts
    return _all(True if True in row else None if None in row else False for row in rows)


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    verdicts = list(verdicts)
    return False if False in verdicts else None if None in verdicts else True


def _based(gold: Form, answer: Form) -> bool:
    digits, base = zip(*((form.text.lstrip("0") + "_").split("_")[:2] for form in (gold, answer)))
    return digits[0] == digits[1] and (not all(base) or base[0] == base[1])


def _numbers(gold: Form, answer: Form) -> bool | None:
    """Both as written, both as fractions of 100 and of pi."""
    a, b = (form.items[0] if form.items else form for form in (gold, answer))
    if a.residue == b.residue:
        return True
    if gold.kind == answer.kind == "value":
        return _values(a, b)
    scale = {"value": 1, "percent": pow(100, -1, PRIME), "degrees": pow(180, -1, PRIME) * point("pi")}
    return (a.residue * scale[gold.kind] - b.residue * scale[answer.kind]) % PRIME == 0


def _values(gold: Form, answer: Form) -> bool | None:
    """Different residues are different values, but for units written as letters and for long rounded decimals."""
    if bool(symbols(gold.formula)) != bool(symbols(answer.formula)):
        number, other = (answer, gold) if symbols(gold.formula) else (gold, answer)
        unit = LETTER_UNIT.fullmatch(other.text)
        long = _digits(number) >= ROUNDED_DIGITS and symbols(other.formula) <= {"pi", "exp"}
        return None if long or unit and read(unit.group(1)).residue == number.residue else False
    for decimal, other in ((gold, answer), (answer, gold)):
        if _digits(decimal) >= ROUNDED_DIGITS and other.formula.head == "number":
            half = Fraction(1, 2 * 10 ** len(decimal.text.split(".")[1]))
            if abs(decimal.formula.number - other.formula.number) <= half:
                return True
    return False


def _digits(form: Form) -> int:
    """The significant digits of a decimal, 0 of anything else."""
    return len(form.text.lstrip("-0.").replace(".", "")) if DECIMAL.fullmatch(form.text) else 0


ANY = None
TEXTS, COLLECTIONS, NUMBERS = {"text", "words"}, {"list", "set", "tuple"}, {"value", "percent", "degrees"}
POLICY = [  # kinds of the two answers, either way round, and a rule or verdict: the first row that fits, else None
    ({"equation"}, ANY, _equations),  # 5 is x = 5 and 2 + 3 = 5, x = 5 is x = 10/2; x = 5 against y = 5 is for algebra
    (TEXTS, ANY, _letters),  # east is East and \text{(E)} is E
    (COLLECTIONS, {"unclear"}, None),
    (COLLECTIONS, ANY, _members),  # a list is a set: unordered, a repetition counts once; 1, 2 is (2, 1) too
    (NUMBERS, NUMBERS, _numbers),  # 28% is 28 and 0.28; 60 degrees are 60 and pi/3
    ({"based"}, {"based", "value"}, _based),  # 506_7 is 506 without its base, but neither 506_8 nor 251
    ({"ratio"}, {"ratio"}, _in_order),  # 3:4 is not 6:8: a ratio is asked for in lowest terms, or as it was given
    ({"infinity", "dots"}, {"infinity", "dots", *NUMBERS}, False),
]


@functools.cache
def _rule(gold: str, answer: str):
    both = ((gold, answer), (answer, gold))
    fitting = (rule for one, other, rule in POLICY if any(a in one and (other is ANY or b in other) for a, b in both))
    return next(fitting, None)
