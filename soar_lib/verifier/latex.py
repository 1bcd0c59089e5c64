r"""Boxes, and one spelling for the many ways to write the same LaTeX (design: verifier).

Everything here is text in, text out: what the answer means is the business of `canonical`.
"""

import functools
import re

BRACE = re.compile(r"\\+(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
# What may stand between two boxes of one answer: \boxed{1}, \boxed{2} papers and \( n = \boxed{3} \).
DELIMITERS = re.compile(r"\\[\[\]()]|\\(?:quad|qquad|text|textbf|mbox|,|;|!| )|[$&{}]")
GAP = re.compile(r"[\s,;.]*|[^.!?\n\\]{0,30}\b(?:and|or)\b[^.!?\n\\]{0,10}")


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Start, end and content of every balanced \boxed{} or \fbox{} that is in no other, in order."""
    found, opened = [], []
    for match in BRACE.finditer(text):
        if match.group()[-1] == "{" and match.group() != "\\{":
            opened.append(match)
        elif match.group() == "}" and opened:
            start = opened.pop()
            if start.group() != "{":
                while found and found[-1][0] > start.start():
                    found.pop()
                found.append((start.start(), match.end(), text[start.end() : match.start()]))
    return found


def _closing_brace(text: str, start: int) -> int | None:
    depth, position = 1, start
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] in "{}":
            depth += 1 if text[position] == "{" else -1
            if depth == 0:
                return position
        position += 1
    return None


def extract_boxed(text: str) -> str | None:
    r"""The stripped content of the last balanced \boxed{} or \fbox{}; None where there is none or it is empty.

    >>> extract_boxed("\\boxed{4}, no: \\boxed{\\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    found = boxes(text)
    return found[-1][2].strip() or None if found else None


def boxed_answer(text: str) -> str | None:
    r"""The answer a response states: its last box, joined with the boxes it forms one list with.

    `\boxed{2} and \boxed{3}` is the list `2,3`; `\boxed{2} wait no, \boxed{3}` is 3.
    """
    found = boxes(text)
    if not found or not found[-1][2].strip():
        return None
    contents = [found[-1][2].strip()]
    for (_, end, content), (start, _, _) in zip(found[-2::-1], found[:0:-1]):
        gap = text[end:start]
        if not content.strip() or not GAP.fullmatch(DELIMITERS.sub("", gap)):
            break
        if content.strip() != contents[0]:
            contents.insert(0, content.strip())
    return ",".join(contents)


# ------------------------------------------------------------------ one spelling

PLAIN = re.compile(r"(?:[-+*/^(),\d ]|\.(?!\.)|(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z]))*")
WORD = r"(?![a-zA-Z])"
ENVIRONMENT_WITH_ROWS = re.compile(r"\\begin|&")
REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|middle|[bB]igg?[lrm]?)\s*(?=[^a-zA-Z\s])\.?(?![a-zA-Z])", ""),
        (r"(?<=\d)\s*(?:,\\!\s*|\{,\}(?:\\!)?\s*|\\,)(?=\d{3}(?!\d))", ""),  # thousands: 3,\!200 and 14{,}916
        (r"\{\s*([-+:=,])\s*\}", r"\1"),
        (r"\\[hv]space\s*\{[^{}]*\}", " "),
        (rf"\\(?:displaystyle|textstyle|limits){WORD}", ""),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\[dt]binom", r"\\binom"),
        (r"\{?((?<!\d)\d+|[a-zA-Z])\s*\\choose\s*(\d+|[a-zA-Z])\}", r"\\binom{\1}{\2}"),
        (rf"\\(?:textdollar|euro|pounds){WORD}|\\\$|[$€£¥₹]", ""),
        (r"\\(?:math(?:rm|bf|it|sf|normal)|textrm|textbf|textit|textnormal|texttt|mbox|operatorname)\s*\{", r"\\text{"),
        (r"(?:,\s*)?\\text\s*\{\s*(?:,?\s*(?:and|or)\s*,?)\s*\}", ","),
        (r"\\text\s*\{\s*(?:percent(?:age)?|pct)\s*\}|\b(?:percent(?:age)?|pct)\b|\\%", "%"),
        (r"\\text\s*\{\s*([-\d.,/]+|[a-zA-Z])\s*\}", r"\1"),
        (r"(?<![a-zA-Z\\])(?:,\s*)?\b(?:and|or)\b(?![a-zA-Z])", ","),
        (r"(?<=[)\]}\d])\s*or\s*(?=[(\[{\d])", ","),
        (r"(?<!\\)\\[,;:!> ]|~|\\q?quad" + WORD, " "),
        (rf"\\(?:cdot|times|ast){WORD}|[×·]|\*", "*"),
        (r"\*\s?\*", "^"),
        (rf"\\div{WORD}|÷", "/"),
        (r"[−–]", "-"),
        (rf"\\(?:leq?|leqslant){WORD}|<=|≤", r"\\le "),
        (rf"\\(?:geq?|geqslant){WORD}|>=|≥", r"\\ge "),
        (rf"\\(?:neq?){WORD}|!=|≠", r"\\ne "),
        (rf"\\lt{WORD}", "<"),
        (rf"\\gt{WORD}", ">"),
        (rf"\\l?dots{WORD}|\\cdots{WORD}|\.\.\.|…", r"\\ldots "),
        (rf"\+?\s*\\infty{WORD}|\+?\s*\binfinity\b|\+?\s*∞", r"\\infty "),
        (r"π", r"\\pi "),
        (rf"\^?\s*\{{\s*\\circ\s*\}}|\^\s*\\circ{WORD}|\\degree{WORD}", "°"),
        (r"\\(?:varnothing|emptyset)" + WORD + r"|∅|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\sqrt\s*\(([^()]*)\)|\\sqrt\s*([0-9a-zA-Z])", r"\\sqrt{\1\2}"),
        (r"\^\s*(-?\d+(?:\.\d+)?)", r"^{\1}"),
        (r"_\s*(\d+)", r"_{\1}"),
    )
]


@functools.lru_cache(maxsize=50_000)
def clean(text: str) -> str:
    r"""One spelling: no delimiters, spacing, sizes or currency; `*` for products, `^{}` for powers, `,` for and/or.

    The result is LaTeX again but for `°`, which stands for degrees.

    >>> clean("$\\left( \\dfrac ab,\\ 3,\\!200 \\right).$")
    '(\\frac{a}{b}, 3200)'
    """
    if PLAIN.fullmatch(text):
        return _clean_plain(text)
    text = re.sub(r"(?<!\\)\\[()\[\]]", " ", text.strip())
    while inner := boxes(text):
        text = inner[-1][2]  # a box in the box
    if not ENVIRONMENT_WITH_ROWS.search(text):
        text = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", text)
    for pattern, replacement in REWRITES:
        text = pattern.sub(replacement, text)
    return _outer_braces(_spaced(_braced_fractions(text)))


def _clean_plain(text: str) -> str:
    """The same for text without LaTeX and words, at a tenth of the time: most answers of small models are such."""
    text = re.sub(r"\*\s?\*", "^", text)
    return _spaced(re.sub(r"\^\s*(-?\d+(?:\.\d+)?)", r"^{\1}", text))


def _spaced(text: str) -> str:
    """Single spaces, none inside brackets or before a comma; no full stop at the end."""
    text = re.sub(r"\s+", " ", text).strip().removesuffix(".").strip()
    return re.sub(r"(?<=[(\[{]) | (?=[)\]},])", "", text)


def _outer_braces(text: str) -> str:
    """`{1,3}` in LaTeX is `1,3`: the braces only group."""
    while text.startswith("{") and _closing_brace(text, 1) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _braced_fractions(text: str) -> str:
    r"""`\frac12`, `\frac ab`, `\frac1{72}` and `\frac {1}{3}` with both arguments in braces, as TeX reads them."""
    pieces = re.split(rf"\\frac{WORD}", text)
    result = pieces[-1]
    for piece in reversed(pieces[:-1]):
        top, rest = _argument(result)
        bottom, rest = _argument(rest)
        result = f"{piece}\\frac{top}{bottom}{rest}"
    return result


def _argument(text: str) -> tuple[str, str]:
    text = text.lstrip()
    if text.startswith("{"):
        end = _closing_brace(text, 1)
        return (text[: end + 1], text[end + 1 :]) if end else (text, "")
    match = re.match(r"\\[a-zA-Z]+|[^}]", text)
    return (f"{{{match.group()}}}", text[match.end() :]) if match else ("", text)


def split_top(text: str, separators: str) -> list[str]:
    """The stripped pieces of `text` between separators outside all brackets; brackets may be half-open: (0,4]."""
    if not any(separator in text for separator in separators):
        return [text.strip()]
    pieces, depth, start, position = [], 0, 0, 0
    while position < len(text):
        character = text[position]
        escaped = character == "\\" and text[position + 1 : position + 2]
        bracket = text[position + 1] if escaped and text[position + 1] in "{}" else character
        if bracket in "([{":
            depth += 1
        elif bracket in ")]}":
            depth = max(0, depth - 1)
        elif depth == 0 and character in separators:
            pieces.append(text[start:position].strip())
            start = position + 1
        position += 2 if escaped else 1
    return [*pieces, text[start:].strip()]
