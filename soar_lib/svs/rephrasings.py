"""Other wordings of one problem with the same answer, for the control that spends its rollouts on those."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from soar_lib.problems.rows import LoadError
from soar_lib.randomness import derive
from soar_lib.records import Problem

Rephrase = Callable[[Problem, int, tuple[int | str, ...]], list[str]]  # (problem, count, random key) -> questions


def rephraser(name: str, problems: Sequence[Problem]) -> Rephrase:
    """The function that rephrases `problems`: "nano" writes rephrasings of the embedded world's problems; otherwise
    `name` is a JSONL file with `id` (of the problem) and `question`, a line per rephrasing, drawn with replacement.

    Raises LoadError for a file that cannot be read or lacks a problem.
    """
    if name == "nano":
        from soar_lib.nano.wordings import rephrased  # here, as this name alone needs the world's word lists
        from soar_lib.nano.world import understand

        foreign = [problem.id for problem in problems if understand(problem.question) is None]
        if foreign:
            raise LoadError(f"nano: cannot rephrase {foreign[0]}, which is not of its world; name a JSONL file")
        return lambda problem, count, key: _draws(count, key, lambda rng: rephrased(problem.question, rng))
    known = _read(Path(name))
    missing = [problem.id for problem in problems if problem.id not in known]
    if missing:
        raise LoadError(f"{name}: has no rephrasing of {missing[0]} ({len(missing)} problems lack one); add them")
    return lambda problem, count, key: _draws(count, key, lambda rng: rng.choice(known[problem.id]))


def _draws(count: int, key: tuple[int | str, ...], one: Callable[[random.Random], str]) -> list[str]:
    rng = random.Random(derive(*key))
    return [one(rng) for _ in range(count)]


def _read(path: Path) -> dict[str, list[str]]:
    found = defaultdict(list)
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if line.strip():
                row = json.loads(line)
                found[row["id"]].append(row["question"])
    except OSError as error:
        raise LoadError(f"{path}: cannot be read ({error.strerror}); name a JSONL file of rephrasings") from None
    except (ValueError, KeyError, TypeError):
        raise LoadError(f"{path}:{number}: expected an object with id and question") from None
    return found
