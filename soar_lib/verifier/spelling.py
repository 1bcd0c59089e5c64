r"""The answer that a response states, what stands in its last \boxed{}, and one spelling for the many ways to write it.

A box counts wherever it stands, in unfinished thinking too: `problems.prompts` asks for it as the last thing written.
Text in, text out; `answers` tells what it means."""

import functools
import re
import tomllib
from pathlib import Path

# Of a longer run of backslashes the pairs go first, so that no run is read again from each of its places.
BRACE = re.compile(r"\\{1,8}(?:boxed|fbox)\s{0,99}\{|\\.|[{}]", re.DOTALL)
# What may stand between two boxes of one list: \boxed{1}, \boxed{2} papers and \( n = \boxed{3} \).
DELIMITERS = re.compile(r"\\[\[\]()]|\\(?:quad|qquad|text|textbf|mbox|,|;|!| )|[$&{}]")
GAP = re.compile(r"[\s,;.]*|[^.!?\n\\]{0,30}\b(?:and|or)\b[^.!?\n\\]{0,10}")
CORRECTION = re.compile(r"(?i)\b(?:rather|no|not|wait|actually|instead|sorry|mean|correct\w*|should|better)\b")

THINK = "<think>"  # before the thoughts of models that reason; </think> ends them
MAX_CHARACTERS = 2000  # no answer is as long; beyond nothing is cleaned or read
PLAIN = re.compile(r"(?:[-+*/^(),\d]|\.(?!\.)|(?<![\d ]) | (?!\d)|(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z]))*+")
WORD = r"(?![a-zA-Z])"
BASES = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
INNER = r"(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*"  # braces in braces, four deep
TOP = re.compile(r"\\frac(?![a-zA-Z])\s*(?:(\\[a-zA-Z]+|[^\s{}])|(?=\{))")
BOTTOM = re.compile(rf"(\\frac\{{{INNER}\}})(?:\s*(\\[a-zA-Z]+|[^\s{{}}])|\s+(?=\{{))")
IN_BASE = rf"({'|'.join(BASES)}|\d{{1,2}})"


def _repeating(match: re.Match) -> str:
    """`0.8\\overline{3}` as (83 - 8)/90."""
    whole, fixed, period = match.groups()
    nines = 10 ** len(fixed) * (10 ** len(period) - 1)
    return f"\\frac{{{int(whole + fixed + period) - int(whole + fixed or 0)}}}{{{nines}}}"


def _mixed(match: re.Match) -> str:
    whole, top, bottom = match.groups()
    return f"{whole}\\frac{{{top}}}{{{bottom}}}" if int(top) < int(bottom) else match[0]


def _base(match: re.Match) -> str:
    return f"_{{{BASES.index(match[1]) + 2 if match[1] in BASES else match[1]}}}"


_TABLE = tomllib.loads(Path(__file__).with_name("spelling.toml").read_text(encoding="utf-8"))
_WRITERS = {"=repeating": _repeating, "=mixed": _mixed, "=base": _base}
CHARACTERS = str.maketrans(_TABLE["characters"])
REWRITES = [
    (re.compile(pattern.replace("<end>", WORD).replace("<base>", IN_BASE)), _WRITERS.get(replacement, replacement))
    for pattern, replacement in _TABLE["rewrites"]
]


@functools.lru_cache(maxsize=50_000)
def clean(text: str) -> str:
    r"""One spelling: no delimiters, spacing, sizes or currency; `*` for products, `^{}` for powers, `,` for and/or.

    The result is LaTeX again but for `°`, which stands for degrees. Text beyond MAX_CHARACTERS stays as it is.

    >>> clean("$\\left( \\dfrac ab,\\ 3,\\!200 \\right).$")
    '(\\frac{a}{b}, 3200)'
    """
    if len(text) > MAX_CHARACTERS:
        return text
    if PLAIN.fullmatch(text):  # the same at a tenth of the time: most answers of small models are such
        return _spaced(re.sub(r"\^\s*(-?\d+(?:\.\d+)?)", r"^{\1}", re.sub(r"\*\s?\*", "^", text)))
    text = re.sub(r"(?<!\\)\\[()\[\]]", " ", text.strip().translate(CHARACTERS))
    while inner := boxes(text):
        text = inner[-1][2]  # a box in the box
    if "\\begin" not in text and "&" not in text:  # no environment with rows
        text = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", text)
    for pattern, replacement in REWRITES:
        text = pattern.sub(replacement, text)
    text = _spaced(_braced_fractions(text))
    while text.startswith("{") and closing(text, "{", "}") == len(text) - 1:
        text = text[1:-1].strip()  # `{1,3}` is `1,3`: the braces only group
    return text


def _spaced(text: str) -> str:
    """Single spaces, none inside brackets or before a comma; no full stop at the end."""
    text = re.sub(r"\s+", " ", text).strip().removesuffix(".").strip()
    return re.sub(r"(?<=[(\[{]) | (?=[)\]},])", "", text)


def _braced_fractions(text: str) -> str:
    r"""`\frac12`, `\frac ab`, `\frac1{72}` and `\frac {1}{3}` with both arguments in braces, as TeX reads them."""
    text = TOP.sub(lambda m: f"\\frac{{{m[1]}}}" if m[1] else "\\frac", text)
    while (braced := BOTTOM.sub(lambda m: f"{m[1]}{{{m[2]}}}" if m[2] else m[1], text)) != text:
        text = braced
    return text


def closing(text: str, opening: str, ending: str) -> int | None:
    """The index at which the bracket closes that begins the text; None where it stays open."""
    depth = 0
    for match in re.finditer(r"\\.|[()\[\]{}]", text, re.DOTALL):
        depth += (match[0] in opening) - (match[0] in ending)
        if depth == 0:
            return match.start()
    return None


def split_top(text: str, separators: str) -> list[str]:
    """The stripped pieces of `text` between separators outside all brackets; brackets may be half-open: (0,4]."""
    pieces, depth, start = [], 0, 0
    for match in re.finditer(r"\\[^{}]|[()\[\]{},;:=<>]", text, re.DOTALL):
        depth = max(0, depth + (match[0] in "([{") - (match[0] in ")]}"))
        if depth == 0 and match[0] in separators:
            pieces.append(text[start : match.start()].strip())
            start = match.end()
    return [*pieces, text[start:].strip()]


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
                found.append((start.start(), match.end(), start.end()))
    return [(start, end, text[inside : end - 1]) for start, end, inside in found]  # once: boxes may be deep


def unfinished(text: str) -> bool:
    """Whether a text ends inside a <think> that nothing closes: what stands in it is no answer yet.

    >>> unfinished("<think> a </think> b"), unfinished("<think> a </think> <think> b")
    (False, True)
    """
    return text.rfind(THINK) > text.rfind("</think>")


def extract_boxed(text: str) -> str | None:
    r"""The stripped content of the last balanced \boxed{} or \fbox{}; None if empty, missing or in unfinished thoughts.

    >>> extract_boxed("\\boxed{4}, no: \\boxed{\\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    found = [] if unfinished(text) else boxes(text)
    return found[-1][2].strip() or None if found else None


def boxed_answer(text: str) -> str | None:
    r"""The answer a response states: its last box, joined with the boxes it forms one list with. `\boxed{2} and
    \boxed{3}` is the list `2,3`; `\boxed{2} wait no, \boxed{3}` is 3."""
    found = [] if unfinished(text) else boxes(text)
    contents, after = [], None
    for start, end, content in reversed(found):
        content, gap = content.strip(), text[end:after]
        if not content or contents and (CORRECTION.search(gap) or not GAP.fullmatch(DELIMITERS.sub("", gap))):
            break
        if [content] != contents[-1:]:
            contents.append(content)
        after = start
    return ",".join(contents[::-1]) or None
