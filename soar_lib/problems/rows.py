r"""Rows of benchmark files as problems: question, reference answer and the source's own numbering, whatever its format.

SOAR (section B.5) takes MATH, HARP and OlympiadBench. Their published files differ in field names and in how answers
are written; the fields of a row tell which is meant, so a new file with the same fields needs no code:

- question: `problem` or `question` (after `context`, where a row has one); a `unit` goes into it, so that the box holds
  the bare value;
- answer: `answer` (text or number; GSM8K's worked text ending in `#### 18` too), `final_answer` (OlympiadBench's list),
  or the last `\boxed{}` of `solution` (MATH as published);
- number: `id`, `unique_id`, or HARP's `year`, `contest` and `number`; otherwise a hash of the question;
- topic: `subfield`, `subject` or `type`; level: `level`.

Every row becomes a problem or an error that names file, line and field. A reference answer becomes box content, one
text that the verifier compares; several answers are joined by ", "."""

import ast
import difflib
import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

from soar_lib.records import Problem, fault
from soar_lib.settings.values import LoadError
from soar_lib.verifier.spelling import split_top
from soar_lib.verifier.verify import extract_boxed

LARGEST, LONGEST = 2_000_000_000, 100_000  # bytes of a file, characters of a question
TYPES = dict.fromkeys("id unique_id year contest number level".split(), (str, int, float))
TYPES |= {"context": (str,), "unit": (str,)}


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the known names most like it, or else what to give."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "; give the path of a JSONL file or a family's name"


def load_file(path: str | Path) -> list[Problem]:
    """All problems of a JSONL file, in order. Raises LoadError with file, line and field of the first malformed row."""
    return problems_of(read_rows(Path(path)), Path(path).stem, str(path))


def hard_sets(folder: str | Path) -> tuple[list[Problem], list[Problem]]:
    """Hard train and hard test of a finished filter run. Raises LoadError where it has not ended or kept nothing."""
    train, test = (Path(folder) / f"hard_{part}.jsonl" for part in ("train", "test"))
    if not train.is_file():
        raise LoadError(f"{folder}: no folder of a finished filter run (no {train.name}); finish it with --resume")
    sets = load_file(train), load_file(test)
    check_hard(Path(folder) / "outcomes.jsonl", [*sets[0], *sets[1]])
    return sets


def check_hard(outcomes: Path, problems: Iterable[Problem]) -> None:
    """Raise LoadError unless these are the problems that outcomes.jsonl, where there is one, calls hard."""
    if not outcomes.is_file():
        return
    rows = read_rows(outcomes)
    hard = {str(row.get("id")) for _, row in rows if row.get("right") == 0}
    if not rows or hard != {problem.id for problem in problems}:
        said = f"names {len(hard)} hard problems, others than hard_train.jsonl and hard_test.jsonl hold"
        raise LoadError(f"{outcomes}: {said}; delete these three, and the same command with --resume makes them anew")


def problems_of(rows: Iterable[tuple[int, dict]], source: str, place: str) -> list[Problem]:
    """The problems of (number, row) pairs, in order; `source` is where they come from, such as "math_test". Raises
    LoadError with `place`, number and field for the first malformed row."""
    problems, lines = [], {}
    for number, row in rows:
        try:
            problem = problem_of(row, source)
        except LoadError as error:
            raise LoadError(f"{place}:{number}: {error}") from None
        if problem.id in lines and not _own_number(row):  # the same question twice: both stay, apart
            problem = replace(problem, id=f"{problem.id}-{number}")
        if problem.id in lines:
            twin = f"{problem.id} stands on line {lines[problem.id]} too"
            raise LoadError(f"{place}:{number}: field 'id': {twin}; renumber")
        lines[problem.id] = number
        problems.append(problem)
    if not problems:
        raise LoadError(f"{place}: holds no problem; expected one JSON object per line")
    return problems


def read_rows(path: Path) -> list[tuple[int, dict]]:
    """(line number, object) of each line of a JSONL file that is not blank. Raises LoadError with file and line."""
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= LARGEST):  # a pipe would never end
            raise LoadError(f"{path}: cannot be read as UTF-8 text (no file of at most {LARGEST:,} bytes)")
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # Windows begins a text with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__}); give a JSONL file") from None
    return [(number, _row(f"{path}:{number}", line)) for number, line in enumerate(lines, 1) if line.strip()]


def _row(place: str, line: str) -> dict:
    try:
        row = json.loads(line, parse_int=lambda digits: int(digits) if len(digits) < 1000 else float(digits))
        json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        raise LoadError(f"{place}: not JSONL; every line must be one JSON object") from None
    if not isinstance(row, dict):
        raise LoadError(f"{place}: not JSONL; expected an object {{...}}, found a {type(row).__name__}")
    return row


def problem_of(row: dict, source: str = "") -> Problem:
    """A row of a benchmark file, of any known format, as a Problem. Raises LoadError naming the field."""
    own = row.keys() == {field.name for field in fields(Problem)}  # a Problem that was written out, by a filter run say
    for name, kinds in TYPES.items():
        value = row.get(name)
        if value is not None and (type(value) not in kinds or type(value) is float and not abs(value) < 1e300):
            raise LoadError(f"field '{name}' must be text{' or a number' * (int in kinds)}, found {value!r:.40}")
    if own and (wrong := fault(Problem, row)):
        raise LoadError(wrong)
    question, answer = _question(row), answer_of(row)
    key = _own_number(row) or hashlib.sha256(question.encode()).hexdigest()[:12]
    topic = next((row[field] for field in ("subfield", "subject", "type") if isinstance(row.get(field), str)), "")
    found = re.search(r"\d{1,9}", str(row.get("level", "")))  # 5 of MATH's "Level 5", none of its "Level ?"
    named = f"{source}/{key}" if source else key, question, answer, source, topic, found and int(found.group())
    made = Problem(**row) if own else Problem(*named)
    for name, value in vars(made).items():
        if len(str(value)) > LONGEST:
            field = "problem" if name == "question" and "problem" in row else name
            raise LoadError(f"field '{field}' has {len(value):,} characters; no problem needs more than {LONGEST:,}")
    return made


def _own_number(row: dict) -> str:
    """The row's own numbering, empty where it has none."""
    if {"year", "contest", "number"} <= row.keys():
        return f"{row['year']}/{row['contest']}/{row['number']}"
    return next((str(row[field]) for field in ("id", "unique_id") if row.get(field) not in (None, "")), "")


def _question(row: dict) -> str:
    field = "problem" if "problem" in row else "question"
    if field not in row:
        raise LoadError("field 'problem' (or 'question') is missing; add the question's text")
    text = row[field]
    if not isinstance(text, str) or not text.strip():
        raise LoadError(f"field '{field}' must be text that is not empty, found {text!r:.40}; write the question there")
    context, bare = row.get("context") or "", (row.get("unit") or "").strip(" $")
    # OlympiadBench's unit as a sentence takes it: `$cm^2$` stays LaTeX.
    unit = {"^{\\circ}": "degrees", "%": "percent"}.get(bare, f"${bare}$" if "^" in bare else bare)
    return (f"{context}\n" if context else "") + text.strip() + (f" (Give the answer in {unit}.)" if unit else "")


def answer_of(row: dict) -> str:
    """The reference answer of a row of a benchmark file. Raises LoadError naming the field."""
    field = next((field for field in ("answer", "final_answer", "solution") if row.get(field) is not None), None)
    if field is None:
        raise LoadError("field 'answer' (or 'final_answer', or 'solution' with a box) is missing; add the answer")
    value = row[field]
    if field == "final_answer" and isinstance(value, list):
        texts = [plain(item, field) for item in value]
        split = [part for text in texts for part in split_top(text.replace("$", ""), ",") if part]
        answer = ", ".join(split if row.get("is_multiple_answer") else map(unwrap, texts))
    elif field == "solution":
        answer = extract_boxed(value) if isinstance(value, str) else None
    else:
        answer = unwrap(plain(value, field))
    if not answer:
        raise LoadError(f"field '{field}': no answer in {str(value)!r:.60}; write the bare answer into field 'answer'")
    return answer


def plain(value: object, field: str) -> str:
    """An answer as text: of GSM8K's what follows ####, a number as people write it (27.0 is 27). Raises LoadError."""
    if isinstance(value, str):
        return value.rpartition("####")[2].strip()  # GSM8K: the worked solution comes first
    if type(value) not in (int, float) or not abs(value) < 1e300:  # nan is not below either
        raise LoadError(f"field '{field}' must be text or a number, found {value!r:.40}; write the bare answer there")
    return str(int(value)) if value == int(value) else repr(value)


def unwrap(answer: str) -> str:
    r"""An answer without the `$...$`, `\(...\)` or `\boxed{...}` around it, and without a stray full stop after it.

    >>> unwrap("$10\\frac{2}{3}$"), unwrap("$11$.$"), unwrap("$f(n)=n$, $g(n)=1$"), unwrap("the line $y = x$")
    ('10\\frac{2}{3}', '11', 'f(n)=n, g(n)=1', 'the line $y = x$')
    """
    text = answer.strip()
    if re.fullmatch(r"\$[^$]+\$(?:\s*+(?:,\s*+)?\$[^$]+\$)*+[\s.$]*", text):  # nothing but formulas
        return ", ".join(part.strip() for part in re.findall(r"\$([^$]+)\$", text) if part.strip(" ."))
    if re.fullmatch(r"\\\(.*\\\)", text, re.DOTALL):
        return text[2:-2].strip()
    if text.startswith("\\boxed{") and text.endswith("}"):
        inner = extract_boxed(text)
        return inner if inner is not None and len(inner.strip()) == len(text[7:-1].strip()) else text
    return text


def boxable(answer: str) -> str:
    r"""A generator's answer as box content: formulas as they are, words in `\text{}`, lists as `[1, 2, 3]`.

    The brackets matter: the verifier compares a bare `1, 2, 3` as a set of answers, whose order is free.

    >>> boxable("['-94.2', '30.0']"), boxable("-5.0 + 20.0i"), boxable("grandmother"), boxable("$\\frac{1}{3}$")
    ('[-94.2, 30.0]', '-5.0 + 20.0i', '\\text{grandmother}', '\\frac{1}{3}')
    """
    text, items = answer.strip(), None
    if text.startswith("["):
        with suppress(ValueError, SyntaxError):
            items = ast.literal_eval(text)
    if isinstance(items, list) and items and not any(isinstance(item, list | dict) for item in items):
        return f"[{', '.join(boxable(str(item)) for item in items)}]"
    text = text.replace("×", "\\times").replace("°", "^\\circ")
    letters = re.sub(r"\\[a-zA-Z]+|\b(?:sin|cos|tan|exp|log|sqrt|asin|Integral)\b", "", text)
    is_formula = text.isascii() and re.search(r"\w", text) and not re.search(r"[A-Za-z_]{2}|\n|[\"'?:;<>#]", letters)
    if "$" in text or is_formula:
        return unwrap(text)
    return f"\\text{{{' '.join(text.split())}}}"
