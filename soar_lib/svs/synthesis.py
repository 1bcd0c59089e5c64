"""The rollouts of SvS: solutions, the problems written from correct ones, and what these are worth.

SvS Algorithm 1 lines 4 to 24. Every completion is read by itself: one without a question is no problem at all (the
released code then takes the problem before it). Guards only note what they see unless a setting lets them act.
"""

from dataclasses import dataclass, replace

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples, decode, sample
from soar_lib.problems.prompts import reconstruct_messages, student_messages, tagged
from soar_lib.randomness import Key, uniforms
from soar_lib.records import Draw, Problem
from soar_lib.svs.guards import leak, near_duplicate
from soar_lib.svs.rephrasings import Rephrase
from soar_lib.svs.settings import SvsConfig
from soar_lib.verifier.verify import check_many


@dataclass(frozen=True)
class Task:
    """A problem for one slot; its completions follow from `key`: seed of the run, step, place in the batch, ..."""

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
    """A correct solution of an under-performing problem."""

    task: Task
    number: int  # of the solution among the problem's
    solution: str


@dataclass(frozen=True)
class Variant:
    """A written problem, a line of problems.jsonl. `dropped` says why it was not solved: "unreadable" (no question),
    "long", "leak" or "duplicate"; `leak` and `duplicate` are noted also where no guard acts on them."""

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


def synthesis_reward(right: int | None, paid: range) -> float:
    """1 for a variant that some but not most solvers answer as the original, else 0, also where nobody could try.

    >>> [synthesis_reward(right, range(1, 6)) for right in (None, 0, 1, 5, 6)]
    [0.0, 0.0, 1.0, 1.0, 0.0]
    """
    return float(right is not None and right in paid)


def seeds(solved: Solved, config: SvsConfig) -> list[Seed]:
    """The correct solutions of the under-performing problems (Algorithm 1 lines 10 to 12)."""
    found = []
    for place, (task, right) in enumerate(zip(solved.tasks, solved.right, strict=True)):
        if sum(right) in config.seed_counts:
            numbers = [number for number, good in enumerate(right) if good][: config.guards.solutions or None]
            found += [Seed(task, number, solved.texts[place * config.group + number]) for number in numbers]
    return found


def paid(written: list[Variant], places: list[int], again: Solved, config: SvsConfig) -> list[Variant]:
    """The variants with how many solvers gave the original answer, and their rewards; solved were those at `places`."""
    agreed = dict(zip(places, map(sum, again.right), strict=True))
    return [
        replace(variant, right=agreed.get(i), reward=synthesis_reward(agreed.get(i), config.reward_counts))
        for i, variant in enumerate(written)
    ]


# ------------------------------------------------------------------ rollouts


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
    numbers = torch.cat([uniforms((count, config.max_new_tokens), *task.key) for task in tasks])
    prompts, slots = [base.encode(message) for message in messages], [task.slot for task in tasks]
    draw = Draw(config.max_new_tokens, config.temperature, config.rows)
    return sample(base, adapters, prompts, slots, count, numbers, draw)


def _fits(base: Base, messages: list[dict], config: SvsConfig) -> bool:
    return len(base.encode(messages)) <= config.max_prompt_tokens


def synthesise(
    base: Base, adapters: Adapters, found: list[Seed], config: SvsConfig, step: int
) -> tuple[list[Seed], Samples | None, list[Variant]]:
    """`config.variants` problems from each solution whose prompt fits; returns those seeds, the completions, and the
    variants as read, each from its own completion (Algorithm 1 lines 14 to 16)."""
    found = [seed for seed in found if _fits(base, reconstruct_messages(seed.solution), config)]
    if not found:
        return [], None, []
    tasks = [replace(seed.task, key=(*seed.task.key, "synthesise", seed.number)) for seed in found]
    prompts = [reconstruct_messages(seed.solution) for seed in found]
    samples = _draw(base, adapters, tasks, prompts, config.variants, config)
    written, siblings = [], {}
    for row, text in enumerate(decode(base, samples)):
        seed, index = found[row // config.variants], row % config.variants
        earlier = siblings.setdefault((seed.task.slot, seed.task.problem.id), [])
        variant = judge(base, seed, index, tagged(text, "question"), earlier, config, step)
        written.append(variant)
        if variant.question is not None:
            earlier.append(variant.question)
    return found, samples, written


def judge(
    base: Base, seed: Seed, index: int, question: str | None, earlier: list[str], config: SvsConfig, step: int
) -> Variant:
    """A variant as it was read, with what the guards note about it; `earlier` are the original's other variants."""
    original, guards = seed.task.problem, config.guards
    plain = Variant(
        step, int(seed.task.key[0]), original.id, original.question, original.answer, seed.number, index, question
    )
    if question is None:
        return replace(plain, dropped="unreadable")
    given_away = leak(question, original.answer, seed.solution, original.question)
    if near_duplicate(question, original.question, guards.similarity):
        same = "original"
    else:
        same = "sibling" if any(near_duplicate(question, other, guards.similarity) for other in earlier) else ""
    dropped = "" if _fits(base, student_messages(question), config) else "long"
    dropped = "duplicate" if guards.duplicates and same else dropped
    dropped = "leak" if guards.leaks and given_away else dropped
    return replace(plain, leak=given_away, duplicate=same, dropped=dropped)


def variant_tasks(found: list[Seed], written: list[Variant]) -> tuple[list[Task], list[int]]:
    """What is solved of the variants, and the place of each among them; the answer is the original's."""
    tasks, places = [], []
    for place, variant in enumerate(written):
        if not variant.dropped:
            task = found[place * len(found) // len(written)].task
            problem = replace(task.problem, question=variant.question)
            tasks.append(Task(task.slot, problem, (*task.key, "further", variant.number, variant.index)))
            places.append(place)
    return tasks, places


def other_tasks(found: list[Seed], config: SvsConfig, rephrase: Rephrase | None) -> list[Task]:
    """What the controls solve further: each under-performing problem once more, or for each of its correct solutions
    as many rephrasings of it as SvS would write variants."""
    if config.further == "rephrasings":
        return [
            Task(
                seed.task.slot, replace(seed.task.problem, question=question),
                (*seed.task.key, "further", seed.number, index),
            )
            for seed in found
            for index, question in enumerate(
                rephrase(seed.task.problem, config.variants, (*seed.task.key, "rephrase", seed.number))
            )
        ]  # fmt: skip
    if config.further == "originals":
        return [replace(task, key=(*task.key, "again")) for task in dict.fromkeys(seed.task for seed in found)]
    return []
