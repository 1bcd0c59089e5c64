"""A teacher's completions as they are read: question and answer in one turn, or each in its own (SOAR B.2, D.3).

With two turns (the ablation of D.3) the first turn's completion counts up to `</question>`, and in the second turn the
teacher answers its own question under the student's prompt (the paper gives no second prompt). The loss takes the
log-probabilities of both turns: each is a row of samples that carries the data set's advantage. The mean over rows
halves the loss against a sum over turns, which AdamW does not see.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples, concatenate, cut_off, decode, sample
from soar_lib.problems.prompts import CONTROL, student_messages, tagged, teacher_messages
from soar_lib.randomness import Key, uniforms
from soar_lib.records import Draw
from soar_lib.soar.settings import TeacherSettings
from soar_lib.verifier.verify import extract_boxed, parses

TAGS = ("<question>", "</question>", "<answer>", "</answer>")


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
    """The second half of the filter: a question that is one, and a box that parses, in the answer's tags or in the
    second of two turns. A question that gives its own answer away asks nothing."""
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
    """What a completion is to the filter: (question, answer) or the reason to drop it, its text, its rows of samples,
    and whether it was cut off."""

    found: tuple[str, str] | str
    text: str
    rows: list[int]
    cut: bool


def one_turn(
    base: Base, adapters: Adapters, settings: TeacherSettings, key: Key, indices: range
) -> tuple[Samples, list[Draft]]:
    prompt = base.encode(teacher_messages())
    samples = _draw(base, adapters, [prompt] * len(indices), settings, [(*key, index) for index in indices])
    ended = zip(decode(base, samples), cut_off(base, samples).tolist(), strict=True)
    return samples, [
        Draft(read(text, settings.forgive_tags), text, [row], cut) for row, (text, cut) in enumerate(ended)
    ]


def two_turns(
    base: Base, adapters: Adapters, settings: TeacherSettings, key: Key, indices: range
) -> tuple[Samples, list[Draft]]:
    """The question, cut after its closing tag, then an answer to each question that has its tags."""
    prompt = base.encode(teacher_messages())
    first = _draw(base, adapters, [prompt] * len(indices), settings, [(*key, index) for index in indices])
    cut, first = cut_off(base, first).tolist(), _cut(base, first, "</question>")
    texts = decode(base, first)
    asked = {row: question for row, text in enumerate(texts) if (question := tagged(text, "question"))}
    drafts = [Draft("question tags", text, [], end) for text, end in zip(texts, cut, strict=True)]
    if not asked:
        return first, drafts
    prompts = [base.encode(student_messages(question)) for question in asked.values()]
    second = _draw(base, adapters, prompts, settings, [(*key, indices[row], "answer") for row in asked])
    answers = zip(asked.items(), decode(base, second), cut_off(base, second).tolist(), strict=True)
    for place, ((row, question), text, end) in enumerate(answers):
        drafts[row] = Draft(_answered(question, text), f"{texts[row]}\n{text}", [row, len(texts) + place], end)
    return concatenate([first, second]), drafts


def _draw(
    base: Base, adapters: Adapters, prompts: list[list[int]], settings: TeacherSettings, keys: list[Key]
) -> Samples:
    """One completion of each prompt, each from its own key."""
    numbers = torch.stack([uniforms((settings.max_new_tokens,), *key) for key in keys])
    slots = [0] * len(prompts)
    return sample(base, adapters, prompts, slots, 1, numbers, Draw(settings.max_new_tokens, settings.temperature))


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
