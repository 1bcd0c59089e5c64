r"""Reference answers as box content: one text that the verifier compares, whatever way the source writes it.

Benchmarks write answers in dollar signs, in boxes, as numbers, as lists of several answers or at the end of a worked
solution; reasoning-gym writes lists, words and units. Several answers are joined by ", ".
"""

import ast
import math
import re

from soar_lib.verifier.verify import extract_boxed


class LoadError(ValueError):
    """A problem set that cannot be read; the message is one line and says what to do."""


def answer_of(row: dict) -> str:
    """The reference answer of a row of a benchmark file. Raises LoadError naming the field."""
    field = next((field for field in ("answer", "final_answer", "solution") if row.get(field) is not None), None)
    if field is None:
        raise LoadError("field 'answer' (or 'final_answer', or 'solution' with a box) is missing; add the answer")
    value = row[field]
    if field == "final_answer" and isinstance(value, list):
        several = bool(row.get("is_multiple_answer"))
        answer = ", ".join(part for item in value for part in _parts(plain(item, field), several))
    elif field == "solution":
        answer = extract_boxed(value) if isinstance(value, str) else None
    else:
        answer = unwrap(plain(value, field))
    if not answer:
        raise LoadError(f"field '{field}': no answer in {str(value)!r:.60}; write the bare answer into field 'answer'")
    return answer


def plain(value: object, field: str) -> str:
    """Text as it is, a number as people write it: 27.0 is 27."""
    if isinstance(value, str):
        return value.rpartition("####")[2].strip()  # GSM8K: the worked solution comes first
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LoadError(f"field '{field}' must be text or a number, found {value!r:.40}; write the bare answer there")
    return str(int(value)) if value == int(value) else repr(value)


def unwrap(answer: str) -> str:
    r"""An answer without the `$...$`, `\(...\)` or `\boxed{...}` around it, and without a stray full stop after it.

    >>> unwrap("$10\\frac{2}{3}$"), unwrap("$11$.$"), unwrap("$f(n)=n$, $g(n)=1$"), unwrap("the line $y = x$")
    ('10\\frac{2}{3}', '11', 'f(n)=n, g(n)=1', 'the line $y = x$')
    """
    text = answer.strip()
    if re.fullmatch(r"\$[^$]+\$(?:\s*,?\s*\$[^$]+\$)*[\s.$]*", text):  # nothing but formulas
        return ", ".join(part.strip() for part in re.findall(r"\$([^$]+)\$", text) if part.strip(" ."))
    if re.fullmatch(r"\\\(.*\\\)", text, re.DOTALL):
        return text[2:-2].strip()
    if text.startswith("\\boxed{") and text.endswith("}"):
        inner = extract_boxed(text)
        return inner if inner is not None and len(inner.strip()) == len(text[7:-1].strip()) else text
    return text


def _parts(answer: str, several: bool) -> list[str]:
    """The single answers of a text such as `$(1,2)$, $(3,4)$`: cut at commas outside all brackets."""
    if not several:
        return [unwrap(answer)]
    depth, parts = 0, [""]
    for character in answer.replace("$", ""):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def boxable(answer: str) -> str:
    r"""A generator's answer as box content: formulas as they are, words in `\text{}`, lists as `[1, 2, 3]`.

    The brackets matter: the verifier compares a bare `1, 2, 3` as a set of answers, whose order is free.

    >>> boxable("['-94.2', '30.0']"), boxable("-5.0 + 20.0i"), boxable("grandmother"), boxable("$\\frac{1}{3}$")
    ('[-94.2, 30.0]', '-5.0 + 20.0i', '\\text{grandmother}', '\\frac{1}{3}')
    """
    text = answer.strip()
    if text.startswith("["):
        items = _literal(text)
        if isinstance(items, list) and items and not any(isinstance(item, list | dict) for item in items):
            return f"[{', '.join(boxable(str(item)) for item in items)}]"
    text = text.replace("×", "\\times").replace("°", "^\\circ")
    letters = re.sub(r"\\[a-zA-Z]+|\b(?:sin|cos|tan|exp|log|sqrt|asin|Integral)\b", "", text)
    is_formula = text.isascii() and re.search(r"\w", text) and not re.search(r"[A-Za-z_]{2}|\n|[\"'?:;<>#]", letters)
    if "$" in text or is_formula:
        return unwrap(text)
    return f"\\text{{{' '.join(text.split())}}}"


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
