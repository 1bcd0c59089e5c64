"""Sampling from many adapters in one loop.

Each distinct prompt is computed once, and finished rows leave the batch. A token is drawn by inverse CDF from the row's
own uniform numbers, so a completion depends on its policy, its prompt and its numbers, never on its neighbours. With
the back end "vllm" all this is vLLM's part (vllm.py)."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch

from soar_lib.engine import lora
from soar_lib.engine.attention import Decoding, Prefill, shared_prompts
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.randomness import Key, choose_tokens
from soar_lib.randomness import uniforms as uniforms_of
from soar_lib.records import Draw, count

SHRINK = 0.75  # rows are compacted once no more than this share of them is unfinished


@dataclass(frozen=True)
class Samples:
    """N completions. Prompts are padded left, completions right; all tensors lie on the base's device."""

    prompt: torch.Tensor  # [N, P] token ids
    prompt_mask: torch.Tensor  # [N, P] 1 for prompt tokens
    completion: torch.Tensor  # [N, T] token ids
    mask: torch.Tensor  # [N, T] 1 up to and including the token that ends the completion
    logprobs: torch.Tensor  # [N, T] float32, of each token under the distribution it was drawn from; 0 where masked
    slots: torch.Tensor  # [N] the adapter each row was drawn from

    def __len__(self) -> int:
        return len(self.slots)

    def select(self, rows: torch.Tensor | list[int]) -> "Samples":
        """The samples of some rows, in the order given: a LongTensor, a list of ints, or a boolean mask."""
        rows = torch.as_tensor(rows, device=self.slots.device)
        return Samples(*(getattr(self, item.name)[rows] for item in fields(self)))


def concatenate(parts: list[Samples]) -> Samples:
    """One Samples with the rows of all parts, in order, padded to the widest."""
    prompt = max(part.prompt.shape[1] for part in parts)
    completion = max(part.completion.shape[1] for part in parts)

    def widen(part: Samples) -> list[torch.Tensor]:
        left, right = (prompt - part.prompt.shape[1], 0), (0, completion - part.completion.shape[1])
        pads = (left, left, right, right, right, (0, 0))
        tensors = (getattr(part, item.name) for item in fields(part))
        return [torch.nn.functional.pad(tensor, pad) for tensor, pad in zip(tensors, pads, strict=True)]

    return Samples(*(torch.cat(column) for column in zip(*map(widen, parts), strict=True)))


def decode(base: Base, samples: Samples) -> list[str]:
    """The N completions as text, without special tokens, with the <think> that a prompt may have opened."""
    lengths = samples.mask.sum(1).tolist()
    ids = [row[:length] for row, length in zip(samples.completion.tolist(), lengths, strict=True)]
    return base.texts(ids)


def complete(
    base: Base, adapters: Adapters | None, asked: Sequence[list[dict]], slots: list[int], group: int,
    keys: Sequence[Key] | None, draw: Draw,
) -> Samples:  # fmt: skip
    """Sample `group` completions of each conversation in `asked`, as `sample` does of token ids. The completions are
    divided evenly, in order, among `keys`, from which their random numbers are derived; None decodes greedily."""
    known = {str(messages): messages for messages in asked}
    ids = {name: base.encode(messages) for name, messages in known.items()}
    shape = (len(asked) * group // len(keys or [0]), draw.max_new_tokens)
    numbers = None if keys is None else torch.cat([uniforms_of(shape, *key) for key in keys])
    return sample(base, adapters, [ids[str(messages)] for messages in asked], slots, group, numbers, draw)


def cut_off(base: Base, samples: Samples) -> torch.Tensor:
    """A boolean [N]: which completions were cut off at their limit, so that their last token is no end token."""
    last = samples.completion.gather(1, (samples.mask.sum(1, keepdim=True) - 1).clamp(min=0))[:, 0]
    return torch.isin(last, torch.tensor(base.stop, device=last.device), invert=True)


def sample(
    base: Base, adapters: Adapters | None, prompts: list[list[int]], slots: list[int], group: int,
    uniforms: torch.Tensor | None, draw: Draw,
) -> Samples:  # fmt: skip
    """Sample `group` completions of each prompt; those of prompt i come from adapter `slots[i]` (adapters None: the
    untrained model) and are rows i * group to (i + 1) * group - 1. The random numbers in [0, 1) are `uniforms`
    [len(prompts) * group, draw.max_new_tokens]; None decodes greedily."""
    _check(adapters, prompts, slots, group, uniforms, draw)
    if adapters is None:
        adapters, slots = base.start, [0] * len(slots)
    out = _blank(base, prompts, slots, group, draw.max_new_tokens)
    if base.engine is None:
        uniforms = None if uniforms is None else uniforms.to(base.device)
        asked = _Asked(base, adapters, prompts, slots, group, uniforms, draw)
        with shared_prompts(base.model):
            for part in _parts(group, draw.rows):
                for chunk in _chunks(slots, max(1, draw.rows // len(part))):
                    _sample_chunk(asked, part, chunk, out)
    else:
        _fill(out, base.engine.complete(adapters, prompts, slots, group, uniforms, draw))
    lengths = out.mask.sum(1)
    count(len(out), int(lengths.sum()), {str(draw.max_new_tokens): [len(out), int(cut_off(base, out).sum())]})
    drawn = (t[:, : max(1, int(lengths.max()))].clone() for t in (out.completion, out.mask, out.logprobs))
    return replace(out, **dict(zip(("completion", "mask", "logprobs"), drawn, strict=True)))


@dataclass(frozen=True)
class _Asked:
    """The arguments of `sample`."""

    base: Base
    adapters: Adapters | None
    prompts: list[list[int]]
    slots: list[int]
    group: int
    uniforms: torch.Tensor | None
    draw: Draw


def _check(adapters, prompts, slots, group, uniforms, draw: Draw) -> None:
    if not prompts or len(prompts) != len(slots):
        raise ValueError(f"{len(prompts)} prompts for {len(slots)} slots: give one slot per prompt, and at least one")
    if not all(prompts):
        raise ValueError(f"prompt {[bool(ids) for ids in prompts].index(False)} is empty: give at least one token")
    if min(group, draw.max_new_tokens, draw.rows, draw.temperature) <= 0:
        raise ValueError(f"group {group}, {draw}: must be positive")
    if adapters is not None and not 0 <= min(slots) <= max(slots) < adapters.size:
        raise IndexError(f"slots {min(slots)} to {max(slots)} do not all exist among {adapters.size} adapters")
    expected = (len(prompts) * group, draw.max_new_tokens)
    if uniforms is not None and tuple(uniforms.shape) != expected:
        raise ValueError(f"uniforms have shape {tuple(uniforms.shape)}, not {expected}")


def _parts(group: int, most: int) -> list[range]:
    """range(group) in equal parts of at most `most`.

    >>> _parts(5, 2), _parts(4, 8)
    ([range(0, 1), range(1, 3), range(3, 5)], [range(0, 4)])
    """
    count = -(-group // most)
    return [range(group * i // count, group * (i + 1) // count) for i in range(count)]


def _chunks(slots: list[int], size: int) -> list[list[int]]:
    """Prompt indices in chunks of `size`, dealt round the slots so that each chunk holds equal numbers of each."""
    turns = defaultdict(itertools.count)  # of each slot
    order = [index for *_, index in sorted((next(turns[slot]), slot, index) for index, slot in enumerate(slots))]
    return [order[part.start : part.stop] for part in _parts(len(order), size)]


def _blank(base: Base, prompts: list[list[int]], slots: list[int], group: int, columns: int) -> Samples:
    """All rows, their completions still to be written."""
    width, shape = max(map(len, prompts)), (len(prompts) * group, columns)
    ids = [[base.pad] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    ids, mask, owners = (torch.tensor(x, device=base.device).repeat_interleave(group, 0) for x in (ids, mask, slots))
    completion = torch.full(shape, base.pad, device=base.device)
    return Samples(ids, mask, completion, torch.zeros_like(completion), torch.zeros(shape, device=base.device), owners)


def _fill(out: Samples, completions: list[tuple[list[int], list[float]]]) -> None:
    lengths = torch.tensor([len(tokens) for tokens, _ in completions])
    written = (torch.arange(out.mask.shape[1]) < lengths[:, None]).to(out.mask.device)
    tokens, logprobs = (torch.tensor([x for row in half for x in row]) for half in zip(*completions, strict=True))
    out.mask.copy_(written)
    out.completion.masked_scatter_(written, tokens.to(out.completion))
    out.logprobs.masked_scatter_(written, logprobs.to(out.logprobs))


@torch.inference_mode()  # less is kept of each operation than without gradients alone: an eighth of a small step
def _sample_chunk(asked: _Asked, part: range, chunk: list[int], out: Samples) -> None:
    base = asked.base
    wanted = sorted((asked.slots[index], tuple(asked.prompts[index]), index) for index in chunk)
    number = {key: i for i, key in enumerate(dict.fromkeys((slot, prompt) for slot, prompt, _ in wanted))}
    columns = (
        [number[slot, prompt] for slot, prompt, _ in wanted for _ in part],
        [index * asked.group + i for *_, index in wanted for i in part],
        *zip(*((slot, len(prompt) - 1, prompt[-1]) for slot, prompt in number), strict=True),
    )
    owner, row, slot, lengths, last = (torch.tensor(column, device=base.device) for column in columns)
    with lora.use(base.model, asked.adapters, slot) as population:
        prefill = _prefill(base, [prompt[:-1] for _, prompt in number])
        layout = Decoding(prefill, lengths, torch.arange(len(slot)).to(slot))
        stepping = _stepping(base, layout)
        logits = _forward(base, layout, last, lengths)  # once per prompt; from here on a row is a completion
        state = dict(row=row, slot=slot[owner], position=lengths[owner], alive=torch.ones_like(row, dtype=torch.bool))
        _keep(owner, layout, population, state["slot"])
        _generate(asked, layout, population, stepping, state, logits[owner], out)


def _prefill(base: Base, prompts: list[tuple[int, ...]]) -> Prefill:
    """Keys and values of the prompts without their last token, which is the first that the loop feeds."""
    layout, width = Prefill(), max(map(len, prompts))
    if width:
        ids = torch.tensor([list(p) + [base.pad] * (width - len(p)) for p in prompts], device=base.device)
        positions = torch.arange(width, device=base.device).expand_as(ids)
        base.model.get_decoder()(input_ids=ids, position_ids=positions, layout=layout, use_cache=False)
    return layout


def _stepping(base: Base, layout: Decoding) -> tuple[Callable, float]:
    """The function that steps, and the share of unfinished rows at which the others leave."""
    if not base.graphs:
        return partial(_forward, base, layout), SHRINK
    from soar_lib.engine import graphs  # for GPUs alone

    return graphs.Recorded(partial(_logits, base, layout), layout), graphs.SHRINK


def _forward(base: Base, layout: Decoding, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Logits [N, V] after one more token [N] per row, which is part of the layout afterwards."""
    layout.prepare()
    logits = _logits(base, layout, token, position)
    layout.advance()
    return logits


def _logits(base: Base, layout: Decoding, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    inputs = dict(input_ids=token[:, None], position_ids=position[:, None], layout=layout)
    return base.model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]


def _generate(asked: _Asked, layout, population, stepping, state: dict, logits: torch.Tensor, out: Samples) -> None:
    """Draw tokens until every row has ended; `state` holds row (of `out`), slot, position and alive, each [R]."""
    stop, (forward, shrink) = torch.tensor(asked.base.stop, device=logits.device), stepping
    for step in range(out.mask.shape[1]):
        if step:
            logits = forward(state["token"], state["position"])
        numbers = None if asked.uniforms is None else asked.uniforms[state["row"], step]
        token, logprob = choose_tokens(logits, numbers, asked.draw.temperature)
        place, alive = (state["row"], step), state["alive"]
        out.completion[place], out.mask[place] = torch.where(alive, token, asked.base.pad), alive.long()
        out.logprobs[place] = torch.where(alive, logprob, 0.0)
        alive = alive & ~torch.isin(token, stop)
        state = state | dict(token=token, alive=alive, position=state["position"] + 1)
        left = int(alive.sum())
        if left == 0:
            return
        if left <= shrink * len(token):  # the others keep their order, by slot and prompt
            rows = alive.nonzero()[:, 0]
            state = {key: value[rows] for key, value in state.items()}
            _keep(rows, layout, population, state["slot"])


def _keep(rows: torch.Tensor, layout: Decoding, population: lora.Population | None, slots: torch.Tensor) -> None:
    layout.keep(rows)
    if population is not None:
        population.assign(slots)
