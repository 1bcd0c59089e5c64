"""Sampling: the same tokens as transformers' own generate, whoever shares the batch."""

import pytest
import tiny
import torch

from soar_lib.engine import base as bases
from soar_lib.engine import lora, sampling
from soar_lib.engine.update import completion_logprobs
from soar_lib.records import Draw, counting

TEXTS = ("hello", "2+2 = what is it?", "a", "zz zz z", "2+2 = what is it?")
SLOTS = [2, 0, 0, 1, 0]  # prompts 1 and 4 are the same


def prompts(base) -> list[list[int]]:
    return [base.encode([{"role": "user", "content": text}]) for text in TEXTS]


def numbers(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))


def same(left: sampling.Samples, right: sampling.Samples) -> bool:
    """Equal completions, whatever the padding."""
    wide = sampling.concatenate([left, right])
    half = len(left)
    return all(
        torch.equal(getattr(wide, name)[:half], getattr(wide, name)[half:])
        for name in ("completion", "mask", "prompt", "prompt_mask", "slots")
    )


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_greedy_equals_generate(kind):
    base = tiny.base(kind)
    adapters = tiny.adapters(base, 3)
    drawn = sampling.sample(base, adapters, prompts(base), SLOTS, 1, None, Draw(40))
    for row, (prompt, slot) in enumerate(zip(prompts(base), SLOTS, strict=True)):
        with lora.use(base.model, adapters, torch.tensor([slot])):
            whole = base.model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=40)
        assert drawn.completion[row][drawn.mask[row].bool()].tolist() == whole[0, len(prompt) :].tolist()


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_equal_a_teacher_forced_forward(kind, temperature):
    base = tiny.base(kind)
    adapters = tiny.adapters(base, 3)
    drawn = sampling.sample(base, adapters, prompts(base), SLOTS, 3, numbers(15, 40), Draw(40, temperature))
    for row in range(len(drawn)):
        prompt = drawn.prompt[row][drawn.prompt_mask[row].bool()]
        completion = drawn.completion[row][drawn.mask[row].bool()]
        with torch.no_grad(), lora.use(base.model, adapters, drawn.slots[row : row + 1]):
            logits = base.model(torch.cat([prompt, completion])[None]).logits[0, len(prompt) - 1 : -1]
        expected = torch.log_softmax(logits / temperature, -1).gather(1, completion[:, None])[:, 0]
        torch.testing.assert_close(drawn.logprobs[row, : len(completion)], expected, atol=1e-5, rtol=1e-4)
        assert not drawn.logprobs[row, len(completion) :].any()


def test_tokens_follow_the_inverse_cdf():
    logits = torch.log(torch.tensor([[0.25, 0.0, 0.5, 0.25]])).repeat(6, 1)
    token, logprob = sampling.choose_tokens(logits, torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2**-24]))
    assert token.tolist() == [0, 0, 2, 2, 3, 3]
    torch.testing.assert_close(logprob.exp(), torch.tensor([0.25, 0.25, 0.5, 0.5, 0.25, 0.25]))


def test_frequencies_are_the_probabilities():
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(0)).mul(2).repeat(200_000, 1)
    token, _ = sampling.choose_tokens(logits, numbers(200_000, 1)[:, 0], temperature=2.0)
    share = torch.bincount(token, minlength=12) / len(token)
    torch.testing.assert_close(share, torch.softmax(logits[0] / 2, -1), atol=4e-3, rtol=0)


def test_a_row_does_not_depend_on_its_neighbours():
    base = tiny.base()
    adapters = tiny.adapters(base, 3)
    uniforms = numbers(20, 40)
    everyone = sampling.sample(base, adapters, prompts(base), SLOTS, 4, uniforms, Draw(40))
    assert len({int(length) for length in everyone.mask.sum(1)}) > 3  # rows do leave at different times
    for index, (prompt, slot) in enumerate(zip(prompts(base), SLOTS, strict=True)):
        rows = torch.arange(4 * index, 4 * index + 4)
        alone = sampling.sample(base, adapters.select([slot]), [prompt], [0], 4, uniforms[rows], Draw(40))
        alone = sampling.Samples(*list(alone.__dict__.values())[:-1], torch.full((4,), slot))
        assert same(sampling.concatenate([alone, everyone.select([0])]).select(range(4)), _padded(everyone, rows))


def _padded(samples, rows):
    return sampling.concatenate([samples.select(rows), samples.select([0])]).select(range(len(rows)))


@pytest.mark.parametrize("max_rows", [1, 3, 5, 8, 1000])
def test_the_number_of_rows_in_memory_changes_nothing_and_is_kept(max_rows):
    base = tiny.base()
    adapters, uniforms, rows = tiny.adapters(base, 3), numbers(20, 40), []
    whole = sampling.sample(base, adapters, prompts(base), SLOTS, 4, uniforms, Draw(40))
    base.model.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    assert same(sampling.sample(base, adapters, prompts(base), SLOTS, 4, uniforms, Draw(40, rows=max_rows)), whole)
    assert max(rows) <= max_rows  # parts of a group too


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_compaction_changes_nothing(monkeypatch, share):
    base = tiny.base()
    adapters, uniforms = tiny.adapters(base, 3), numbers(40, 70)
    usual = sampling.sample(base, adapters, prompts(base), SLOTS, 8, uniforms, Draw(70))
    monkeypatch.setattr(sampling, "SHRINK", share)  # never, and at every finished row
    assert same(sampling.sample(base, adapters, prompts(base), SLOTS, 8, uniforms, Draw(70)), usual)


def test_padding_of_prompts_changes_nothing():
    base = tiny.base()
    short = base.encode([{"role": "user", "content": "a"}])
    long = base.encode([{"role": "user", "content": "a much longer prompt than the other one"}])
    both = sampling.sample(base, None, [short, long], [0, 0], 2, numbers(4, 30), Draw(30))
    alone = sampling.sample(base, None, [short], [0], 2, numbers(4, 30)[:2], Draw(30))
    width = alone.mask.shape[1]
    assert torch.equal(both.completion[:2, :width] * alone.mask, alone.completion * alone.mask)
    assert torch.equal(both.mask[:2].sum(1), alone.mask.sum(1))


def test_a_prompt_of_one_token_and_a_completion_of_one_token():
    base = tiny.base()
    drawn = sampling.sample(base, None, [[5]], [0], 3, numbers(3, 1), Draw(1))
    assert drawn.prompt.tolist() == [[5]] * 3 and drawn.mask.tolist() == [[1]] * 3


def test_decode_stops_at_the_end_token():
    base = tiny.base()
    drawn = sampling.sample(base, None, prompts(base)[:2], [0, 0], 4, numbers(8, 60), Draw(60))
    for text, ids, mask in zip(sampling.decode(base, drawn), drawn.completion, drawn.mask, strict=True):
        written = [token for token in ids[mask.bool()].tolist() if token >= len(tiny.SPECIALS)]
        assert len(text) == len(written) and mask.sum() >= 1


def test_completions_without_an_end_token_are_cut_off_and_the_meter_counts_them():
    base = tiny.base()
    with counting() as meter:
        drawn = [sampling.sample(base, None, prompts(base)[:2], [0, 0], 8, numbers(16, n), Draw(n)) for n in (3, 60)]
    for samples, limit in zip(drawn, (3, 60), strict=True):
        ended = [row[length - 1] in base.stop for row, length in zip(samples.completion.tolist(), samples.mask.sum(1))]
        cut = sampling.cut_off(base, samples)
        assert cut.tolist() == [not end for end in ended]
        assert (samples.mask.sum(1)[cut] == limit).all()
        assert meter.cut[str(limit)] == [16, int(cut.sum())]
    assert meter.cut["3"][1] > meter.cut["60"][1]


def test_wrong_arguments_are_named():
    base = tiny.base()
    with pytest.raises(ValueError, match=r"shape \(2, 3\), not \(2, 4\)"):
        sampling.sample(base, None, [[5], [6]], [0, 0], 1, numbers(2, 3), Draw(4))
    with pytest.raises(ValueError, match="2 prompts for 1 slots"):
        sampling.sample(base, None, [[5], [6]], [0], 1, None, Draw(4))
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        sampling.sample(base, None, [[5], []], [0, 0], 1, None, Draw(4))
    with pytest.raises(IndexError, match="among 2 adapters"):
        sampling.sample(base, tiny.adapters(base, 2), [[5]], [2], 1, None, Draw(4))


@pytest.mark.parametrize("policy", ["base", "adapters"])
def test_a_half_precision_base_samples_and_scores_alike(policy):
    """The dtype of every GPU run: log-probabilities of sampling and of learning agree to bf16's eight bits."""
    base = bases.assemble(tiny.model().to(torch.bfloat16), tiny.tokenizer(), "tiny")
    adapters = tiny.adapters(base, 3) if policy == "adapters" else None
    slots = SLOTS if policy == "adapters" else [0] * len(SLOTS)
    drawn = sampling.sample(base, adapters, prompts(base), slots, 2, numbers(10, 20), Draw(20))
    with torch.no_grad():
        again = completion_logprobs(base, adapters, drawn)
    gaps = (drawn.logprobs - again)[drawn.mask.bool()].abs()
    assert drawn.logprobs.dtype == torch.float32 and gaps.mean() < 0.1


@pytest.mark.parametrize("size", [3, 512, 513, 5000])
def test_the_inverse_cdf_in_blocks_is_the_plain_one_and_never_takes_what_cannot_be(size):
    draw = torch.Generator().manual_seed(size)
    logits = 3 * torch.randn(200, size, generator=draw)
    logits[:, torch.rand(size, generator=draw) < 0.3] = -torch.inf
    logits[:, 0] = logits[:, 0].clamp(min=0)
    edges = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-24]).repeat(50)
    for numbers in (torch.rand(200, generator=draw), edges):
        token, logprob = sampling.choose_tokens(logits, numbers)
        probability = torch.softmax(logits.double(), -1)
        cdf, rows = probability.cumsum(-1), torch.arange(200)
        assert (probability[rows, token] > 0).all()
        torch.testing.assert_close(logprob.double(), probability[rows, token].log(), rtol=1e-4, atol=1e-5)
        below = (cdf - probability)[rows, token]
        assert (numbers - 2e-6 <= cdf[rows, token]).all() and (numbers + 2e-6 >= below).all()
