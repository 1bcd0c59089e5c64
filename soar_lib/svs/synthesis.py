r"""The rollouts of SvS: solutions, the problems written from correct ones, and what these are worth.

SvS Algorithm 1 lines 4 to 24. Every completion is read by itself: one without a question is no problem at all (the
released code then takes the problem before it). The paper's only guard is the accuracy band. The guards here look at
texts alone and err both ways; they note what they see, and act where a setting says so."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples, complete, decode
from soar_lib.problems.prompts import reconstruct_messages, student_messages, tagged
from soar_lib.problems.rows import LoadError, read_rows
from soar_lib.randomness import Key, derive
from soar_lib.records import Draw, Problem
from soar_lib.svs.settings import SvsConfig
from soar_lib.verifier.verify import check_many

HINT = 8  # consecutive words, numbers or signs of a worked solution that are no coincidence
Rephrase = Callable[[Problem, int, Key], list[str]]  # (problem, count, random key) -> questions


@dataclass(frozen=True)
class Task:
    """A problem for one slot; `key` gives its random numbers: seed of the run, step, place in the batch, ..."""

    slot: int
    problem: Problem
    key: Key


@dataclass(frozen=True)
class Solved:
    """`group` completions of each task, rows in order of tasks; `right` has a row per task."""

    tasks: list[Task]
    samples: Samples | None  # None where there is no task
    texts: list[str]
    right: list[list[bool]]


@dataclass(frozen=True)
class Seed:
    """A correct solution of an under-performing problem, from which variants are written."""

    task: Task
    number: int  # of the solution among the problem's
    solution: str

    def further(self, question: str, index: int) -> Task:
        """The task of solving another wording of the seed's problem, number `index`, against the same answer."""
        problem, key = replace(self.task.problem, question=question), (*self.task.key, "further", self.number, index)
        return Task(self.task.slot, problem, key)


@dataclass(frozen=True)
class VariationalProblem:
    """A problem written from a seed, in short a variant: a line of problems.jsonl. `dropped` says why it was not
    solved: "unreadable" (no question), "long", "leak" or "duplicate"; the last two are noted without a guard too."""

    step: int
    seed: int
    problem: str  # the original's id
    original: str
    answer: str
    number: int  # of the solution it was written from
    index: int  # among the problems written from that solution
    question: str | None
    leak: str = ""
    duplicate: str = ""  # of the "original" or of a "sibling"
    dropped: str = ""
    right: int | None = None  # solutions with the original answer; None where it was not solved
    reward: float = 0.0


def solve(base: Base, adapters: Adapters, tasks: list[Task], config: SvsConfig) -> Solved:
    """`config.group` solutions of each task, scored against its problem's answer."""
    if not tasks:
        return Solved([], None, [], [])
    samples = _draw(base, adapters, tasks, [student_messages(t.problem.question) for t in tasks], config.group, config)
    texts = decode(base, samples)
    golds = [task.problem.answer for task in tasks for _ in range(config.group)]
    right = [verdict == "right" for verdict in check_many(list(zip(golds, texts, strict=True)))]
    return Solved(tasks, samples, texts, [right[i : i + config.group] for i in range(0, len(right), config.group)])


def _draw(base: Base, adapters: Adapters, tasks: list[Task], messages: list, count: int, config: SvsConfig) -> Samples:
    draw = Draw(config.max_new_tokens, config.temperature, config.rows)
    slots, keys = [task.slot for task in tasks], [task.key for task in tasks]
    return complete(base, adapters, messages, slots, count, keys, draw)


def seeds(solved: Solved, config: SvsConfig) -> list[Seed]:
    """The correct solutions of the under-performing problems (Algorithm 1 lines 10 to 12)."""
    found = []
    for place, (task, right) in enumerate(zip(solved.tasks, solved.right, strict=True)):
        if sum(right) in config.seed_counts:
            numbers = [number for number, good in enumerate(right) if good][: config.guards.solutions or None]
            found += [Seed(task, number, solved.texts[place * config.group + number]) for number in numbers]
    return found


def synthesise(
    base: Base, adapters: Adapters, found: list[Seed], config: SvsConfig, step: int
) -> tuple[list[Seed], Samples | None, list[VariationalProblem]]:
    """Write `config.variants` problems from each solution whose prompt fits. Returns those seeds, the completions, and
    one variant from each completion (Algorithm 1 lines 14 to 16)."""
    found = [seed for seed in found if _fits(base, reconstruct_messages(seed.solution), config)]
    if not found:
        return [], None, []
    tasks = [replace(seed.task, key=(*seed.task.key, "synthesise", seed.number)) for seed in found]
    prompts = [reconstruct_messages(seed.solution) for seed in found]
    samples = _draw(base, adapters, tasks, prompts, config.variants, config)
    written, siblings = [], defaultdict(list)
    for row, text in enumerate(decode(base, samples)):
        seed, index = found[row // config.variants], row % config.variants
        earlier = siblings[seed.task.slot, seed.task.problem.id]
        written.append(judge(base, seed, index, tagged(text, "question"), earlier, config, step))
        earlier += [written[-1].question] if written[-1].question is not None else []
    return found, samples, written


def _fits(base: Base, messages: list[dict], config: SvsConfig) -> bool:
    return len(base.encode(messages)) <= config.max_prompt_tokens


def judge(
    base: Base, seed: Seed, index: int, question: str | None, earlier: list[str], config: SvsConfig, step: int
) -> VariationalProblem:
    """The record of a variant just read, with what the guards note; `earlier` are its original's variants before it."""
    original, guards, run = seed.task.problem, config.guards, int(seed.task.key[0])
    asked = original.id, original.question, original.answer
    written = VariationalProblem(step, run, *asked, seed.number, index, question)
    if question is None:
        return replace(written, dropped="unreadable")
    given_away = leak(question, original.answer, seed.solution, original.question)
    known = [(original.question, "original"), *((other, "sibling") for other in earlier)]
    same = next((name for text, name in known if near_duplicate(question, text, guards.similarity)), "")
    reasons = {"leak": guards.leaks and given_away, "duplicate": guards.duplicates and same}
    reasons["long"] = not _fits(base, student_messages(question), config)
    dropped = next((reason for reason, holds in reasons.items() if holds), "")
    return replace(written, leak=given_away, duplicate=same, dropped=dropped)


def variant_tasks(writers: list[Seed], written: list[VariationalProblem]) -> list[Task]:
    """The tasks of solving the undropped variants against the original's answer; each seed wrote equally many."""
    owners = [seed for seed in writers for _ in range(len(written) // len(writers))]
    pairs = zip(owners, written, strict=True)
    return [seed.further(variant.question, variant.index) for seed, variant in pairs if not variant.dropped]


def paid(written: list[VariationalProblem], again: Solved, config: SvsConfig) -> list[VariationalProblem]:
    """The variants with rewards and counts of solutions that give the original's answer; `again` solved those kept."""
    places = [place for place, variant in enumerate(written) if not variant.dropped]
    agreed = dict(zip(places, map(sum, again.right), strict=True))
    return [
        replace(variant, right=agreed.get(i), reward=synthesis_reward(agreed.get(i), config.reward_counts))
        for i, variant in enumerate(written)
    ]


def synthesis_reward(right: int | None, paid: range) -> float:
    """1 where `right`, how many solvers gave the original's answer, is in `paid`; else 0, also for None (nobody tried).

    >>> [synthesis_reward(right, range(1, 6)) for right in (None, 0, 1, 5, 6)]
    [0.0, 0.0, 1.0, 1.0, 0.0]
    """
    return float(right is not None and right in paid)


def leak(question: str, answer: str, solution: str, original: str) -> str:
    r"""What a variant `question` gives away: "answer" (it states the answer, or has a box), "hint" (HINT tokens in a
    row are the solution's), or "" for nothing. What the `original` question gives away as well does not count.

    >>> leak("Double 21, which is 42.", "42", "21+21=42", "What is 21 + 21?")
    'answer'
    >>> leak("Go on: 1+2=3+4=7+5. What follows?", "12", "1+2=3+4=7+5=12", "What is 1 + 2 + 4 + 5?")
    'hint'
    >>> leak("Add 40 and 2.", "42", "40+2=42", "What is 40 + 2?")
    ''
    """
    if "\\boxed" in question or _states(question, answer) and not _states(original, answer):
        return "answer"
    return "hint" if (_runs(question) & _runs(solution)) - _runs(original) else ""


def _states(text: str, answer: str) -> bool:
    """Whether the answer stands in the text as a whole word, number or list, wherever spaces are beside signs."""
    bare = re.sub(r"\\text\{(.*?)\}", r"\1", answer).strip("()[]{} ")
    text, bare = (re.sub(r"\s+(?=\W)|(?<=\W)\s+", "", each) for each in (text, bare))
    return bool(bare) and bool(re.search(rf"(?<![\w.-]){re.escape(bare)}(?!\w|\.\d)", text))


def _tokens(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+|[^\w\s]", text.lower())


def _runs(text: str) -> set[tuple[str, ...]]:
    tokens = _tokens(text)
    return {tuple(tokens[i : i + HINT]) for i in range(len(tokens) - HINT + 1)}


def near_duplicate(first: str, second: str, similarity: float = 0.8) -> bool:
    """Whether two texts have the same numbers, as often, and at least `similarity` of all words in common (Jaccard).

    >>> near_duplicate("Add 3 and 4.", "add 4 and 3"), near_duplicate("Add 3 and 4.", "Add 3 and 5.")
    (True, False)
    """
    one, other = _tokens(first), _tokens(second)
    numbers = [Counter(token for token in tokens if token.isdigit()) for tokens in (one, other)]
    words = [{token for token in tokens if token[0].isalpha()} for tokens in (one, other)]
    return numbers[0] == numbers[1] and len(words[0] & words[1]) >= similarity * len(words[0] | words[1])


def other_tasks(found: list[Seed], config: SvsConfig, rephrase: Rephrase | None) -> list[Task]:
    """What the controls solve besides the originals: each under-performing problem once more, or for each of its
    correct solutions as many rephrasings of the problem as SvS would write variants."""
    if config.further == "originals":
        return [replace(task, key=(*task.key, "again")) for task in dict.fromkeys(seed.task for seed in found)]
    if config.further == "nothing":
        return []
    keys = [(*seed.task.key, "rephrase", seed.number) for seed in found]
    asked = [rephrase(seed.task.problem, config.variants, key) for seed, key in zip(found, keys, strict=True)]
    return [seed.further(text, i) for seed, texts in zip(found, asked, strict=True) for i, text in enumerate(texts)]


def rephraser(name: str, problems: Sequence[Problem]) -> Rephrase:
    """A function that draws other wordings of `problems`, with the same answers, from a JSONL file with `id` (of the
    problem) and `question`, with replacement. Raises LoadError where it cannot be read or lacks a problem."""
    known = defaultdict(list)
    for number, row in read_rows(Path(name)):
        if not (isinstance(row.get("id"), str) and isinstance(row.get("question"), str)):
            raise LoadError(f"{name}:{number}: expected an object with id and question")
        known[row["id"]].append(row["question"])
    missing = [problem.id for problem in problems if problem.id not in known]
    if missing:
        raise LoadError(f"{name}: has no rephrasing of {missing[0]} ({len(missing)} problems lack one); add them")
    return lambda problem, count, key: random.Random(derive(*key)).choices(known[problem.id], k=count)
