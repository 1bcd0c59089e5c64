"""Log-probabilities in little memory: logits in parts and layers computed again change nothing but the memory. And a
student's are its own, whoever learns beside it."""

from dataclasses import replace

import pytest
import tiny
import torch
from transformers import GraniteConfig, GraniteForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from soar_lib.engine import base as bases
from soar_lib.engine import logprobs, lora, update
from soar_lib.settings.student import OptimiserSettings
from tests.engine.test_update import plain_logprobs, rollouts


def measured(base, samples, checkpointing=False):
    """Log-probabilities and the gradients of a weighted sum of them."""
    adapters = tiny.adapters(base, 3)
    weights = torch.randn(samples.mask.shape, generator=torch.Generator().manual_seed(3))
    with logprobs.differentiable(base, adapters, samples, 0.7, checkpointing) as values:
        (values * weights).sum().backward()
    return values.detach(), [parameter.grad for parameter in adapters.parameters()]


def assert_equal(found, expected):
    torch.testing.assert_close(found[0], expected[0])
    for gradient, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(gradient, other, atol=1e-4, rtol=1e-4)


@pytest.fixture(params=["llama", "qwen"])
def drawn(request):
    base = tiny.base(request.param)
    return base, rollouts(base, tiny.adapters(base, 3), [2, 0, 0, 1, 0])


def test_logits_in_parts_are_the_same_and_never_more_than_allowed(drawn, monkeypatch):
    base, samples = drawn
    whole, rows = measured(base, samples), []
    monkeypatch.setattr(logprobs, "LOGITS", 700)  # 7 rows of 100 entries
    base.model.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(output[..., 0].numel()))
    assert_equal(measured(base, samples), whole)
    assert max(rows) == 7 and sum(rows) == 2 * int(samples.mask.sum())  # once more in the backward pass
    rows.clear()
    with torch.no_grad():
        logprobs.completion_logprobs(base, None, samples)
    assert max(rows) == 7 and sum(rows) == int(samples.mask.sum())


def test_layers_computed_again_give_the_same_gradients_under_the_same_adapters(drawn):
    base, samples = drawn
    layers = [module for module in base.model.modules() if isinstance(module, GradientCheckpointingLayer)]
    calls = []
    for layer in layers:
        layer.self_attn.register_forward_hook(lambda module, inputs, output: calls.append(module.training))
    expected = measured(base, samples)
    assert calls == [False] * len(layers)
    calls.clear()
    assert_equal(measured(base, samples, checkpointing=True), expected)
    assert calls == [False] * 2 * len(layers)  # computed twice, and never in training mode
    assert not any(layer.training or layer.gradient_checkpointing for layer in layers)


def test_a_model_that_scales_its_logits_is_computed_by_its_own_forward(monkeypatch):
    torch.manual_seed(0)
    shape = dict(
        vocab_size=100, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, eos_token_id=1, pad_token_id=0, bos_token_id=None, initializer_range=0.15,
    )  # fmt: skip
    model = GraniteForCausalLM(GraniteConfig(**shape, logits_scaling=4.0))
    base = bases.assemble(model.eval(), tiny.tokenizer(), "granite")
    adapters = tiny.adapters(base, 1)
    samples = rollouts(base, adapters, [0, 0])
    monkeypatch.setattr(logprobs, "LOGITS", 700)
    found = logprobs.completion_logprobs(base, adapters, samples)
    torch.testing.assert_close(found, plain_logprobs(base, adapters, samples), atol=1e-5, rtol=1e-4)


def test_a_step_with_checkpointing_is_the_same_step(drawn):
    base, samples = drawn
    advantage = torch.randn(len(samples), generator=torch.Generator().manual_seed(1))
    moved = []
    for checkpointing in (False, True):
        settings = OptimiserSettings(learning_rate=0.01, kl=0.5, max_tokens=60, gradient_checkpointing=checkpointing)
        adapters = tiny.adapters(base, 3)
        told = update.update(base, update.make_learner(adapters, settings, 2), samples, advantage, 0)
        moved.append([*adapters.parameters(), told["kl"], told["grad_norm"]])
    for plain, again in zip(*moved, strict=True):
        torch.testing.assert_close(again, plain, atol=1e-5, rtol=1e-4)
    assert float(moved[0][-2].min()) > 0


def off_by(alone, together, samples):
    """Mean difference of log-probabilities, and the size of the gradients' difference as a share of theirs."""
    (values, mine), (others, theirs) = alone, together
    difference = sum((one - other).square().sum() for one, other in zip(mine, theirs, strict=True))
    share = (difference / sum(one.square().sum() for one in mine)).sqrt()
    return (values - others)[samples.mask.bool()].abs().mean().item(), share.item()


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize(("dtype", "mean", "share"), [(torch.float32, 1e-5, 1e-4), (torch.bfloat16, 0.005, 0.05)])
def test_what_a_student_learns_from_its_samples_is_the_same_alone_and_among_others(
    dtype, mean, share, merged, monkeypatch
):
    """GUIDE.md has these tolerances. In bfloat16 a draw may differ, and then the runs part; samples are fixed here."""
    monkeypatch.setattr(lora, "MERGE_LIMIT", lora.MERGE_LIMIT if merged else 0)
    base = bases.assemble(tiny.model("llama").to(dtype), tiny.tokenizer(), "tiny")
    adapters = tiny.adapters(base, 3)
    samples = rollouts(base, adapters, [2, 0, 0, 1, 0, 2, 1])
    weights = torch.randn(samples.mask.shape, generator=torch.Generator().manual_seed(3))

    def learned(policy, part, weight):
        with logprobs.differentiable(base, policy, part, 0.7, False) as values:
            (values * weight).sum().backward()
        return values.detach(), [parameter.grad for parameter in policy.parameters()]

    values, gradients = learned(adapters, samples, weights)
    for slot in range(3):
        rows = samples.slots == slot
        own = samples.select(rows)
        together = values[rows], [gradient[[slot]] for gradient in gradients]
        found = {
            policy: off_by(
                learned(adapters.select([policy]), replace(own, slots=torch.zeros_like(own.slots)), weights[rows]),
                together, own,
            )
            for policy in range(3)
        }  # fmt: skip
        assert found[slot][0] <= mean and found[slot][1] <= share
        assert min(found[other][0] / mean for other in range(3) if other != slot) > 10  # another student is far off
