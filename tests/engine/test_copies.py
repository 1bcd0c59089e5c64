"""What a decoding step copies: nothing that grows with the prompt, the group or the history, in either precision."""

import pytest
import tiny
import torch
from torch.profiler import ProfilerActivity, profile

from soar_lib.engine import lora, sampling
from soar_lib.engine.attention import Decoding, shared_prompts
from soar_lib.engine.base import assemble


def grouped(dtype: torch.dtype):
    """A base whose four query heads share two key heads."""
    model = tiny.model("qwen2")
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    return assemble(model.to(dtype), tiny.tokenizer(), "tiny")


def copied(base, prompt: int, rows: int, before: int) -> list[int]:
    """Elements of each copy in the step after `before` others, for two prompts of `prompt` tokens with `rows`
    completions each and an adapter of their own."""
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
    found = [event for event in told.events() if event.name == "aten::copy_" and event.input_shapes]
    return sorted(int(torch.tensor(event.input_shapes[0]).prod()) for event in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_copy_of_a_step_grows_with_the_prompt_or_the_history(dtype):
    base = grouped(dtype)
    short = copied(base, prompt=20, rows=6, before=3)
    assert copied(base, prompt=20, rows=6, before=25) == short
    longer = copied(base, prompt=200, rows=6, before=3)
    hidden = base.model.config.hidden_size
    scores = 2 * 6 * base.model.config.num_attention_heads * (200 + 32)  # what attention weighs, of one layer
    assert len(longer) == len(short) and max(longer) <= max(2 * 6 * base.model.config.vocab_size, scores)
    keys = 2 * base.model.config.num_key_value_heads * 200 * (hidden // base.model.config.num_attention_heads)
    assert sum(size == keys for size in longer) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copies_of_a_step_grow_no_faster_than_the_group(dtype):
    base = grouped(dtype)
    few, many = (copied(base, prompt=20, rows=rows, before=3) for rows in (4, 16))
    assert len(few) == len(many) and sum(many) <= 4 * sum(few)
