r"""Problem sets, all as one list of `Problem`: benchmarks, any JSONL file, reasoning-gym families, the embedded world.

SOAR (section B.5) takes MATH, HARP and OlympiadBench. Their published files differ in field names and in how answers
are written; the fields of a row tell which is meant, so a new file with the same fields needs no code:

- question: `problem` or `question` (after `context`, where a row has one);
- answer: `answer` (text or number; GSM8K's worked text ending in `#### 18` too), `final_answer` (OlympiadBench's list),
  or the last `\boxed{}` of `solution` (MATH as published);
- number: `id`, `unique_id`, or HARP's `year`, `contest` and `number`; otherwise a hash of the question;
- topic: `subfield`, `subject` or `type`; level: `level`.

Every row becomes a problem or an error that names file, line and field. A unit goes into the question, so that the
box holds the bare value.
"""

import difflib
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from reasoning_gym.factory import DATASETS, create_dataset

from soar_lib.problems.rows import LoadError, answer_of, boxable
from soar_lib.randomness import generator
from soar_lib.records import Problem

PLANNED_WHOLE = ("acre", "gsm_symbolic")  # families whose generator plans all items of a set from the set's seed
UNSEEDED = ("list_functions",)  # its generator draws from Python's global random state
EMBEDDED = ("nano", "nano-transfer", "nano-integrals", "nano-middle", "nano-deep", "nano-other")
GENERATED_SIZE = 500  # problems of a family where no size is given


def load(name: str | Path, *, seed: int = 0, size: int | None = None, **parameters) -> list[Problem]:
    """The problems of a JSONL file, of a benchmark in its public home ("hub:math_test"; hub.py lists them), of the
    embedded world ("nano"; "nano-transfer", the family that no pool holds; "nano-integrals", its integrals alone) or of
    a reasoning-gym family ("rg:chain_sum").

    A file or benchmark gives all rows in order, or `size` of them drawn under `seed`. A family, named with or
    without "rg:", takes generator `parameters` (`min_terms=3`); its item i depends on `seed + i` alone.

    Raises LoadError.
    """
    name = str(name)
    is_family = name.startswith("rg:") or name in DATASETS
    if size is not None and size < 1:
        raise LoadError(f"size {size}: ask for at least one problem")
    if parameters and not is_family:
        raise LoadError(f"{name}: parameters ({', '.join(parameters)}) are for reasoning-gym families; leave them out")
    if name in EMBEDDED:
        return _embedded(name, seed, {} if size is None else {"size": size})
    if is_family:
        return load_family(name.removeprefix("rg:"), seed, size or GENERATED_SIZE, **parameters)
    from soar_lib.problems import hub  # here, as it reads this module

    if name.startswith("hub:"):
        return _draw(hub.load(name.removeprefix("hub:")), size, seed, name)
    if Path(name).exists():
        return _draw(load_file(name), size, seed, name)
    known = [*EMBEDDED, *DATASETS, *(f"hub:{key}" for key in hub.SETS)]
    raise LoadError(f"{name}: neither a file nor a reasoning-gym family{suggest(name, known)}")


def _embedded(name: str, seed: int, size: dict[str, int]) -> list[Problem]:
    from soar_lib.nano import world  # the world and its word lists are needed by these names alone

    if name == "nano":
        return world.pool(seed, **size)
    if name in world.DEPTHS:
        depths = world.DEPTHS[name]
        drawn = world.pool(seed, families=tuple(depths), depths=depths.__getitem__, **size)
    else:
        family = world.TRANSFER_FAMILY if name == "nano-transfer" else "simple_integration"
        drawn = world.pool(seed, families=(family,), **size)
    return [replace(problem, id=f"{name}/{seed}/{i}", source=name) for i, problem in enumerate(drawn)]


def suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else "; give the path of a JSONL file or a family's name"


def _draw(problems: list[Problem], size: int | None, seed: int, name: str) -> list[Problem]:
    """`size` problems without replacement, in the order of the file."""
    if size is None:
        return problems
    if size > len(problems):
        raise LoadError(f"{name}: has {len(problems)} problems, {size} were asked for; ask for fewer")
    chosen = torch.randperm(len(problems), generator=generator(seed, "load"))[:size]
    return [problems[i] for i in sorted(chosen.tolist())]


# ------------------------------------------------------------------ files


def load_file(path: str | Path) -> list[Problem]:
    """All problems of a JSONL file, in order. Raises LoadError with file, line and field at the first malformed row."""
    return problems_of(read_rows(Path(path)), Path(path).stem, str(path))


def problems_of(rows: Iterable[tuple[int, dict]], source: str, place: str) -> list[Problem]:
    """The problems of numbered rows, in order. Raises LoadError with `place`, number and field at the first malformed
    row."""
    problems, lines = [], {}
    for number, row in rows:
        try:
            problem = problem_of(row, source)
        except LoadError as error:
            raise LoadError(f"{place}:{number}: {error}") from None
        if problem.id in lines and not _own_number(row):  # the same question twice: both stay, apart
            problem = replace(problem, id=f"{problem.id}-{number}")
        if problem.id in lines:
            raise LoadError(
                f"{place}:{number}: field 'id': {problem.id} stands on line {lines[problem.id]} too; renumber"
            )
        lines[problem.id] = number
        problems.append(problem)
    if not problems:
        raise LoadError(f"{place}: holds no problem; expected one JSON object per line")
    return problems


def read_rows(path: Path) -> list[tuple[int, dict]]:
    """(line number, object) of each line that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__}); give a JSONL file") from None
    return [(number, _row(path, number, line)) for number, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, number: int, line: str) -> dict:
    try:
        row = json.loads(line)
    except ValueError:
        raise LoadError(f"{path}:{number}: not JSONL; every line must be one JSON object") from None
    if not isinstance(row, dict):
        raise LoadError(f"{path}:{number}: not JSONL; expected an object {{...}}, found a {type(row).__name__}")
    return row


def problem_of(row: dict, source: str = "") -> Problem:
    """One row of any known shape as a Problem. Raises LoadError naming the field."""
    question, answer = _question(row), answer_of(row)
    if row.keys() == {field.name for field in fields(Problem)}:  # a Problem that was written out, by a filter run say
        return Problem(**row)
    key = _own_number(row) or hashlib.sha256(question.encode()).hexdigest()[:12]
    topic = next((row[field] for field in ("subfield", "subject", "type") if isinstance(row.get(field), str)), "")
    return Problem(
        f"{source}/{key}" if source else key, question, answer, source=source, topic=topic, level=_level(row)
    )


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
    context = row.get("context") or ""
    unit = _unit(row.get("unit") or "")
    return (f"{context}\n" if context else "") + text.strip() + (f" (Give the answer in {unit}.)" if unit else "")


def _unit(text: str) -> str:
    """OlympiadBench's unit as a sentence takes it: `$cm^2$` stays LaTeX, a circle is degrees, % is percent."""
    bare = text.strip(" $")
    return {"^{\\circ}": "degrees", "%": "percent"}.get(bare, f"${bare}$" if "^" in bare else bare)


def _level(row: dict) -> int | None:
    """5 for `5` and for MATH's "Level 5"; None where the source gives no number ("Level ?")."""
    digits = re.search(r"\d+", str(row.get("level", "")))
    return int(digits.group()) if digits else None


# ------------------------------------------------------------------ reasoning-gym


def load_family(family: str, seed: int, size: int, **parameters) -> list[Problem]:
    """Items `seed .. seed + size - 1` of a reasoning-gym family. Raises LoadError for unknown names and settings.

    Where a family accepts several right answers, the reference answer is the generator's own.
    """
    if family not in DATASETS:
        raise LoadError(f"rg:{family}: no such reasoning-gym family{suggest(family, DATASETS)}")
    if family in UNSEEDED:
        raise LoadError(f"rg:{family}: no seed makes its items the same twice; choose another family")
    try:
        if family in PLANNED_WHOLE:
            items = [create_dataset(family, seed=seed + i, size=1, **parameters)[0] for i in range(size)]
        else:
            items = list(create_dataset(family, seed=seed, size=size, **parameters))
    except (TypeError, AssertionError, ValueError) as error:
        known = [field.name for field in fields(DATASETS[family][1]) if field.name not in ("seed", "size")]
        raise LoadError(" ".join(f"rg:{family}: {error}; parameters are {', '.join(known)}".split())) from None
    settings = json.dumps(parameters, sort_keys=True, default=str)
    mark = f"-{hashlib.sha256(settings.encode()).hexdigest()[:6]}" if parameters else ""
    return [
        Problem(f"rg/{family}{mark}/{seed + i}", item["question"], _generated(family, item), f"rg:{family}", family)
        for i, item in enumerate(items)
    ]


def _generated(family: str, item: dict) -> str:
    if item["answer"] is None:
        raise LoadError(f"rg:{family}: has no single reference answer to compare with; choose another family")
    return boxable(str(item["answer"]))


# ------------------------------------------------------------------ overlap


@dataclass(frozen=True)
class Overlap:
    """Which problems of a first set also stand in a second one.

    `shared`: (id in the first, id in the second) for each problem of the first whose words, numbers and letters are
    those of one in the second, spaces and punctuation aside; `identical` of them agree up to white space.
    """

    shared: tuple[tuple[str, str], ...]
    identical: int
    sizes: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{len(self.shared)} of {self.sizes[0]} problems also stand among the other {self.sizes[1]} "
            f"({self.identical} of them identical up to white space)"
        )


def overlap(first: list[Problem], second: list[Problem]) -> Overlap:
    """The exact-text overlap of two sets: a model trained on `second` has seen `shared` of `first`.

    Publishers set the same problem with different spacing, dollar signs and punctuation; case is kept, as names
    of points differ by it.
    """
    known = defaultdict(list)
    for problem in second:
        known[_word_characters(problem.question)].append(problem)
    pairs = [(problem, known[_word_characters(problem.question)]) for problem in first]
    pairs = [(problem, twins) for problem, twins in pairs if twins]
    identical = sum(any(_spaced(p.question) == _spaced(twin.question) for twin in twins) for p, twins in pairs)
    return Overlap(tuple((p.id, twins[0].id) for p, twins in pairs), identical, (len(first), len(second)))


def _word_characters(text: str) -> str:
    return re.sub(r"\W+", "", text)


def _spaced(text: str) -> str:
    return " ".join(text.split())
