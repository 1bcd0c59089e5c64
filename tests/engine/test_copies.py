"""What a decoding step moves: never keys or values of the prompt or the history, and nothing that grows with them but
attention's weights, in either precision, with merged weights and with thin products."""

import math

import pytest
import tiny
import torch
from torch.profiler import ProfilerActivity, profile

from soar_lib.engine import lora, sampling
from soar_lib.engine.attention import BLOCK, Decoding, shared_prompts
from soar_lib.engine.base import assemble

MOVES = ("aten::copy_", "aten::cat", "aten::index_select", "aten::index", "aten::gather")
PATHS = [(dtype, merged) for dtype in (torch.float32, torch.bfloat16) for merged in (True, False)]
SHORT, LONG = 20, 203  # tokens of a prompt
EARLY, LATE = 3, 2 * BLOCK + 6  # tokens of a completion so far; buffers have 1 and 3 blocks of columns


@pytest.fixture(params=PATHS, ids=lambda path: f"{path[0]}, merged {path[1]}".removeprefix("torch."))
def base(request, monkeypatch):
    """A base whose four query heads share two key heads, with weights of students merged or not."""
    dtype, merged = request.param
    monkeypatch.setattr(lora, "MERGE_LIMIT", lora.MERGE_LIMIT if merged else 0)
    model = tiny.model("qwen2")
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    return assemble(model.to(dtype), tiny.tokenizer(), "tiny")


def moved(base, prompt: int, rows: int, before: int) -> list[tuple[tuple[int, ...], int]]:
    """(shape, bytes) of each tensor moved by the step after `before` others, for two prompts of `prompt` tokens with
    `rows` completions each and an adapter of their own. Bytes: four to an element, at most what is moved."""
    adapters = tiny.adapters(base, 2)
    owner = torch.arange(2).repeat_interleave(rows)
    with torch.no_grad(), shared_prompts(base.model), lora.use(base.model, adapters, torch.arange(2)) as population:
        layout = Decoding(sampling._prefill(base, [(5,) * prompt] * 2), torch.tensor([prompt, prompt]), owner)
        population.assign(owner)
        token = torch.full((2 * rows,), 7)
        for step in range(before):
            sampling._forward(base, layout, token, torch.full_like(token, prompt + step))
        layout.prepare()  # growing buffers are copied, once in BLOCK steps
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as told:
            sampling._logits(base, layout, token, torch.full_like(token, prompt + before))
    shapes = [shape for event in told.events() if event.name in MOVES for shape in tensors(event)]
    return [(shape, 4 * math.prod(shape)) for shape in shapes]


def tensors(event) -> list[tuple[int, ...]]:
    """Shapes of what an event moves: each part of a `cat`, what `index_select` and its like choose, or a whole."""
    first, *others = event.structured_input_shapes
    if event.name == "aten::cat":
        return [tuple(shape) for shape in first]
    if event.name == "aten::copy_":
        return [tuple(first)]
    return [(*(size for index in others if index for size in index), *first[1:])]


def columns(prompt: int, before: int) -> set[int]:
    """Lengths that a tensor has along the prompt, the history, or both."""
    own = BLOCK * (before // BLOCK + 1)
    return {prompt, own, prompt + own}


@pytest.mark.parametrize(("prompt", "before"), [(SHORT, LATE), (LONG, EARLY)], ids=["history", "prompt"])
def test_a_step_moves_no_keys_and_nothing_that_grows_but_attentions_weights(base, prompt, before):
    config = base.model.config
    head, few = config.hidden_size // config.num_attention_heads, moved(base, SHORT, 6, EARLY)
    many, long = moved(base, prompt, 6, before), columns(prompt, before)
    assert len(many) == len(few)
    assert not [shape for shape, _ in many if head in shape and long & {*shape}]
    grown = [shape for (shape, size), (_, small) in zip(many, few, strict=True) if size > small]
    assert grown and all(shape[-1] in long and head not in shape for shape in grown)
    assert max(size for _, size in many) <= 4 * 12 * max(config.vocab_size, config.num_attention_heads * max(long))


def test_what_a_step_moves_grows_no_faster_than_the_group(base):
    few, many = (moved(base, SHORT, rows, EARLY) for rows in (4, 16))
    assert len(few) == len(many) and sum(size for _, size in many) <= 4 * sum(size for _, size in few)
