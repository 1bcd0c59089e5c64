"""Trees of variants: a model writes easier problems from a problem, and easier ones from those (LADDER section 3.1.2).

Each prompt suggests some transformations, takes the point of view of one persona and has its own temperature, in turn
(`problems.prompts`). A variant counts once, by its canonical form (`problems.likeness`), and never where it is a test
problem. One that cannot be checked gets no children. Rejected ones stay in the list with the reason.

The paper gives neither branching nor what becomes of unsolvable variants, about 8 % by its symbolic system. Here one is
unsolvable where its integral cannot be read or compared; whether an elementary antiderivative exists is not asked: a
variant without one earns no reward. Without a verifier (check = "answer") a variant's answer is the most frequent one
of `votes` samples of the untrained model, where that is frequent enough: self-consistency in the verifier's place."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.sampling import complete, decode
from soar_lib.files import read_jsonl
from soar_lib.ladder.reward import majority
from soar_lib.ladder.settings import LadderConfig, VariantSettings
from soar_lib.problems import prompts
from soar_lib.problems.checks import CHECKS
from soar_lib.problems.likeness import Known, canonical
from soar_lib.randomness import Key, generator
from soar_lib.records import Draw, Problem, record
from soar_lib.verifier.verify import extract_boxed

UNDECIDED = "unsolvable: no answer"  # the votes are too far apart


@dataclass(frozen=True)
class Variant:
    """One variant that a prompt gave, or the prompt that gave none (an empty question)."""

    id: str
    root: str  # Problem.id of the problem its tree grows from
    parent: str  # id of the problem or variant it was written from
    level: int  # 1: written from the root
    prompt: int  # its number among those of the tree, one completion each
    question: str
    effect: str  # what was asked for: easier, equivalent
    temperature: float
    persona: str = ""
    suggestions: tuple[str, ...] = ()
    rejected: str = ""  # why nothing is trained on it: "no question", "repeats ID", "test problem", "unsolvable: ..."
    answer: str = ""  # by self-consistency, where there is no verifier
    nearest: str = ""  # Problem.id of the test problem nearest to it
    distance: float = 1.0  # to that one, 0 to 1


def grow(
    base: Base, roots: Sequence[Problem], config: LadderConfig, key: Key, known: Known, apart: bool = False
) -> list[Variant]:
    """The trees of all roots, level by level, written by the untrained model; `known` are the test problems. Without
    `apart` a variant counts once in all trees together, with it once in each: a tree is then its root's and `key`'s."""
    settings, grown, everywhere = config.variants, [], {}
    numbers = {root.id: count() for root in roots}
    seen = {root.id: {} if apart else everywhere for root in roots}
    for root in roots:
        seen[root.id].setdefault(canonical(root.question), root.id)
    parents = [Variant(root.id, root.id, "", 0, 0, root.question, "", 0.0) for root in roots]
    for level in range(1, settings.depth + 1):
        asked = [parent for parent in parents for _ in range(settings.prompts)]
        asked = [_prompt(parent, next(numbers[parent.root]), settings, key) for parent in asked]
        found = [_screened(variant, seen[variant.root], known) for variant in _written(base, asked, config, key)]
        grown += _solvable(base, found, config, key)
        parents = _parents(grown, numbers, level, settings.parents, key)
        if not parents:
            break
    return grown


def usable(variants: Sequence[Variant]) -> list[Problem]:
    """The variants that can be trained on, as problems; their answers are self-consistent ones or empty."""
    return [Problem(v.id, v.question, v.answer, "variants", level=v.level) for v in variants if not v.rejected]


def drawn(variants: Sequence[Variant], config: LadderConfig) -> int:
    """Completions that these trees took: one per prompt, and where there is no verifier the votes."""
    prompts = len({(variant.root, variant.prompt) for variant in variants})
    voted = sum(variant.rejected in ("", UNDECIDED) for variant in variants) if config.check == "answer" else 0
    return prompts + voted * config.variants.votes


def to_rows(variants: Sequence[Variant], tree: str, seed: int) -> list[dict]:
    """The variants as rows of problems.jsonl, each with its kind of tree and its seed."""
    return [{"tree": tree, "seed": seed, **asdict(variant)} for variant in variants]


def read(folder: Path, tree: str, seed: int) -> list[Variant]:
    """The variants of one kind of tree and one seed in a run's problems.jsonl. Raises RunError where it is damaged."""
    return [*_read(folder, (folder / "problems.jsonl").stat().st_mtime_ns).get((tree, seed), [])]


@lru_cache(maxsize=1)
def _read(folder: Path, written: int) -> dict[tuple[str, int], list[Variant]]:
    """All variants by tree and seed: a stage asks arm by arm, and checking a hundred thousand lines takes seconds."""
    found = defaultdict(list)
    for row in read_lines(folder):
        found[row.pop("tree"), row.pop("seed")].append(record(Variant, row))
    return found


def read_lines(folder: Path, **more: Any) -> list[dict]:
    """All rows of a run's problems.jsonl, checked; `more` names the types or values of fields (`files.read_jsonl`)."""
    return read_jsonl(folder / "problems.jsonl", Variant, tree=str, seed=int, **more)


def _prompt(parent: Variant, number: int, settings: VariantSettings, key: Key) -> Variant:
    """A prompt, as the variant that it asks for; until that is written, its question is the parent's."""
    draw = generator(*key, parent.root, "prompt", number)
    effect = "equivalent" if torch.rand((), generator=draw).item() < settings.equivalent else "easier"
    turn, place = divmod(number, len(settings.temperatures))
    persona, suggestions = "", ()
    if settings.prompt == "transformations":
        persona, texts = prompts.PERSONAS[turn % len(prompts.PERSONAS)], prompts.TRANSFORMATIONS[effect]
        low, high = settings.suggestions
        size = int(torch.randint(low, high + 1, (), generator=draw))
        suggestions = tuple(texts[i] for i in torch.randperm(len(texts), generator=draw)[:size].tolist())
    return Variant(
        "", parent.root, parent.id, parent.level + 1, number, parent.question, effect, settings.temperatures[place],
        persona, suggestions,
    )  # fmt: skip


def _messages(asked: Variant, settings: VariantSettings) -> list[dict]:
    if settings.prompt == "plain":
        return prompts.easier_messages(asked.question)
    return prompts.variant_messages(asked.question, asked.effect, settings.per_prompt, asked.suggestions, asked.persona)


def _written(base: Base, asked: Sequence[Variant], config: LadderConfig, key: Key) -> list[Variant]:
    """What the prompts gave, in their order; each temperature is sampled by itself."""
    settings, texts = config.variants, {}
    for temperature in dict.fromkeys(prompt.temperature for prompt in asked):
        mine = [prompt for prompt in asked if prompt.temperature == temperature]
        messages, slots = [_messages(prompt, settings) for prompt in mine], [0] * len(mine)
        keys = [(*key, prompt.root, "write", prompt.prompt) for prompt in mine]
        draw = Draw(settings.max_new_tokens, temperature, config.rows)
        texts |= zip(mine, decode(base, complete(base, None, messages, slots, 1, keys, draw)), strict=True)
    return [
        replace(prompt, id=f"{prompt.root}/{prompt.level}.{prompt.prompt}.{i}", question=question)
        for prompt in asked
        for i, question in enumerate(prompts.questions_in(texts[prompt], settings.per_prompt) or [""])
    ]


def _screened(variant: Variant, seen: dict[str, str], known: Known) -> Variant:
    """The variant with its distance to the test problems, rejected where it is one or known; joins `seen`."""
    if not variant.question:
        return replace(variant, rejected="no question")
    form = canonical(variant.question)
    nearest, gap = known.nearest(variant.question)
    variant = replace(variant, nearest=nearest, distance=gap)
    if form in seen:
        return replace(variant, rejected=f"repeats {seen[form]}")
    if form in known.forms:
        return replace(variant, rejected="test problem")
    seen[form] = variant.id
    return variant


def _solvable(base: Base, variants: list[Variant], config: LadderConfig, key: Key) -> list[Variant]:
    """The variants, those marked that nothing could show to be solved; without a verifier with their answers."""
    good, check = [variant for variant in variants if not variant.rejected], CHECKS[config.check]
    if config.check == "answer":
        judged = _voted(base, good, config, key)
    else:
        reasons = [(variant, check.unsolvable(variant.question)) for variant in good]
        judged = [replace(variant, rejected=why and f"unsolvable: {why}") for variant, why in reasons]
    found = {variant.id: variant for variant in judged}
    return [found.get(variant.id, variant) for variant in variants]


def _voted(base: Base, variants: list[Variant], config: LadderConfig, key: Key) -> list[Variant]:
    if not variants:
        return []
    votes, draw = config.variants.votes, config.student.draw(config.rows)
    asked = [prompts.student_messages(variant.question) for variant in variants]
    keys = [(*key, variant.id, "votes") for variant in variants]
    drawn = complete(base, None, asked, [0] * len(asked), votes, keys, draw)
    boxes = [extract_boxed(text) for text in decode(base, drawn)]
    judged = []
    for i, variant in enumerate(variants):
        answer, share = majority(boxes[i * votes : (i + 1) * votes])
        agreed = share >= config.variants.agreement
        judged.append(replace(variant, answer=answer) if agreed else replace(variant, rejected=UNDECIDED))
    return judged


def _parents(grown: Sequence[Variant], roots: Iterable[str], level: int, most: int, key: Key) -> list[Variant]:
    """Of each root's usable variants of a level at most so many, drawn at random, in the order written."""
    chosen = []
    for root in roots:
        mine = [v for v in grown if v.root == root and v.level == level and not v.rejected]
        order = torch.randperm(len(mine), generator=generator(*key, root, "parents", level)).tolist()
        chosen += [mine[i] for i in sorted(order[:most])]
    return chosen
