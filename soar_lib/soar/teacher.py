"""The teacher: writes problems under one constant prompt and learns from the rewards of its data sets.

SOAR sections 3.2 and B.2. Completions that do not parse (tags, box, answer) are dropped and drawn again without
penalty: leave-one-out advantages sum to zero, so the acceptance rate drops out of the gradient (Proposition 1). The
paper gives no cap on the drawing; we stop after `max_attempts` completions per problem wanted. With two turns (the
ablation of D.3) the first turn's completion counts up to `</question>`, and in the second the teacher answers its own
question under the student's prompt (the paper gives no other). Each turn is a row of samples that carries the data
set's advantage; the mean over rows halves the loss against a sum over turns, which AdamW does not see."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from tqdm.auto import tqdm

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples, complete, concatenate, cut_off, decode
from soar_lib.engine.update import Learner, advantages, update
from soar_lib.files import RunError
from soar_lib.problems.prompts import CONTROL, student_messages, tagged, teacher_messages
from soar_lib.randomness import Key
from soar_lib.records import Draw, SyntheticProblem
from soar_lib.soar.settings import TeacherSettings
from soar_lib.verifier.verify import extract_boxed, parses

TAGS = ("<question>", "</question>", "<answer>", "</answer>")


class TeacherError(RunError):
    """The teacher hardly ever writes a problem that parses; the message gives the rate and what to do."""


@dataclass
class Proposal:
    """What the teacher wrote: accepted problems in the order drawn, their tokens (a row per problem and turn, turns
    together), how many completions that took (a second turn is no further one), why the others were dropped, and how
    many of all were cut off at `max_new_tokens`."""

    problems: list[SyntheticProblem] = field(default_factory=list)
    samples: Samples | None = None
    attempts: int = 0
    rejected: Counter = field(default_factory=Counter)
    cut: int = 0

    def __str__(self) -> str:
        found, drawn = len(self.problems), self.attempts
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.rejected.most_common())
        return f"{found} of {drawn} completions parse ({found / drawn:.1%}; missing or bad: {reasons or 'none'})"


def propose(
    base: Base, adapters: Adapters, count: int, settings: TeacherSettings, key: Key, progress: bool = False
) -> Proposal:
    """Draw from the teacher (slot 0 of `adapters`) until `count` problems parse, in the order drawn. Completion i
    depends on (key, i) alone, so how many are drawn at a time does not matter. With `progress`, a bar shows how many
    parse and why the others do not. Raises `TeacherError` when `max_attempts` completions per problem were not enough.
    """
    made, parts, limit = Proposal(), [], settings.max_attempts * count
    with tqdm(total=count, desc="teacher", unit="problem", leave=False, disable=not progress) as bar:
        while len(made.problems) < count:
            if made.attempts >= limit:
                raise TeacherError(
                    f"teacher: only {made}; lower teacher.optimiser.learning_rate or raise teacher.optimiser.kl if it "
                    "wrote better before, else raise teacher.max_new_tokens or teacher.max_attempts"
                )
            indices, kept = range(made.attempts, min(made.attempts + settings.draw, limit)), []
            samples, drafts = write(base, adapters, settings, key, indices)
            for index, draft in zip(indices, drafts, strict=True):
                made.attempts, made.cut = made.attempts + 1, made.cut + draft.cut
                if isinstance(draft.found, str):
                    made.rejected[draft.found] += 1
                    continue
                kept += draft.rows
                made.problems.append(SyntheticProblem("-".join(map(str, (*key, index))), *draft.found, draft.text))
                if len(made.problems) == count:
                    break
            parts += [samples.select(kept)] if kept else []
            bar.set_postfix_str(str(made), refresh=False)
            bar.update(len(made.problems) - bar.n)
    return replace(made, samples=concatenate(parts))


def datasets(problems: Sequence[SyntheticProblem], size: int, round: int) -> list[list[SyntheticProblem]]:
    """X_1..X_g: the problems split in order into data sets of `size`, numbered from 0 (Algorithm 1)."""
    return [
        [replace(problem, round=round, dataset=k) for problem in problems[k * size : (k + 1) * size]]
        for k in range(len(problems) // size)
    ]


def learn(
    base: Base, learner: Learner, samples: Samples, rewards: Sequence[float], step: int, temperature: float = 1.0,
    kind: str = "rloo",
) -> dict[str, float]:  # fmt: skip
    """One policy-gradient step on the rewards R_k of the data sets, in place; `samples` are the accepted problems' rows
    in order. Every completion of X_k has the advantage A_k = R_k minus the mean of the other rewards (or another `kind`
    of `engine.update.advantages`); the KL term, if any, is to the base. Returns grad_norm, kl and learning_rate."""
    advantage = advantages(torch.tensor(rewards), kind).repeat_interleave(len(samples) // len(rewards))
    measured = update(base, learner, samples, advantage, step, temperature)
    return {name: value[0].item() for name, value in measured.items()}


def read(text: str, forgive_tags: bool = False) -> tuple[str, str] | str:
    r"""(question, answer) of a completion, or the reason why it is dropped (SOAR B.2, the format filter).

    >>> read(r"<question>1 + 1 = ?</question><answer>\boxed{2}</answer>")
    ('1 + 1 = ?', '2')
    >>> read("<question>1 + 1 = ?<question><answer>2</answer>"), read("<question>1?</question><answer>2</answer>")
    ('question tags', 'box')
    >>> read(r"<question>1 + 1 = ?<question><answer>\boxed{2}<answer>", forgive_tags=True)
    ('1 + 1 = ?', '2')
    """
    question, answer = (tagged(text, tag, forgive_tags) for tag in ("question", "answer"))
    return "question tags" if question is None else _answered(question, answer)


def _answered(question: str, text: str | None) -> tuple[str, str] | str:
    """The second half of the filter: a question that is one and does not give its own answer away, and a box that
    parses, in the answer's tags or in the second of two turns."""
    if any(tag in question for tag in TAGS):
        return "tags in the question"
    if CONTROL.search(question):
        return "control tokens in the question"
    if text is None:
        return "answer tags"
    box = extract_boxed(text)
    if box is None:
        return "box"
    if not parses(box):
        return "answer does not parse"
    return "answer in the question" if extract_boxed(question) == box else (question, box)


@dataclass(frozen=True)
class Draft:
    """To the filter a completion is (question, answer) or why it is dropped, text, samples' rows, and whether cut."""

    found: tuple[str, str] | str
    text: str
    rows: list[int]
    cut: bool


def write(
    base: Base, adapters: Adapters, settings: TeacherSettings, key: Key, indices: range
) -> tuple[Samples, list[Draft]]:
    """The completions `indices`, read; with two turns the question, cut after its closing tag, and an answer to it."""
    draw = Draw(settings.max_new_tokens, settings.temperature)
    asked, keys = [teacher_messages()] * len(indices), [(*key, index) for index in indices]
    first = complete(base, adapters, asked, [0] * len(asked), 1, keys, draw)
    cut = cut_off(base, first).tolist()
    if settings.turns == 1:
        found = enumerate(zip(decode(base, first), cut, strict=True))
        return first, [Draft(read(text, settings.forgive_tags), text, [row], end) for row, (text, end) in found]
    first = _cut(base, first, "</question>")
    texts = decode(base, first)
    asked = {row: question for row, text in enumerate(texts) if (question := tagged(text, "question"))}
    drafts = [Draft("question tags", text, [], end) for text, end in zip(texts, cut, strict=True)]
    if not asked:
        return first, drafts
    keys = [(*key, indices[row], "answer") for row in asked]
    second = complete(base, adapters, list(map(student_messages, asked.values())), [0] * len(asked), 1, keys, draw)
    answers = zip(asked.items(), decode(base, second), cut_off(base, second).tolist(), strict=True)
    for place, ((row, question), text, end) in enumerate(answers):
        drafts[row] = Draft(_answered(question, text), f"{texts[row]}\n{text}", [row, len(texts) + place], end)
    return concatenate([first, second]), drafts


def _cut(base: Base, samples: Samples, mark: str) -> Samples:
    """The completions up to the token that completes `mark`; those without it stay whole."""
    mask = samples.mask.clone()
    for row, (ids, text) in enumerate(zip(samples.completion.tolist(), decode(base, samples), strict=True)):
        if mark in text:
            ends = range(1, int(mask[row].sum()) + 1)
            done = bisect_left(ends, True, key=lambda end: mark in base.tokenizer.decode(ids[:end]))
            mask[row, ends[done] :] = 0
    width = int(mask.sum(1).max())
    mask = mask[:, :width]
    return replace(
        samples, completion=samples.completion[:, :width], mask=mask, logprobs=samples.logprobs[:, :width] * mask
    )
