"""The policy-gradient step: advantages, the loss, equality with TRL's RLOOTrainer, slots that do not mix."""

import math

import pytest
import tiny
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import get_cosine_schedule_with_warmup
from trl import RLOOConfig, RLOOTrainer

from soar_lib.engine import logprobs, lora, sampling, update
from soar_lib.engine.lora import TARGETS
from soar_lib.records import Draw
from soar_lib.settings.student import OptimiserSettings

PLAIN = OptimiserSettings(kl=0.0)
TEXTS = ("hello", "2+2 = what is it?", "a", "zz zz z")


def rollouts(base, adapters, slots, group=4, columns=30, seed=0) -> sampling.Samples:
    prompts = [base.encode([{"role": "user", "content": TEXTS[i % 4]}]) for i in range(len(slots))]
    uniforms = torch.rand(len(slots) * group, columns, generator=torch.Generator().manual_seed(seed))
    return sampling.sample(base, adapters, prompts, slots, group, uniforms, Draw(columns))


def plain_logprobs(base, adapters, samples) -> torch.Tensor:
    """Log-probabilities by the model's own padded forward."""
    ids = torch.cat([samples.prompt, samples.completion], 1)
    mask = torch.cat([samples.prompt_mask, samples.mask], 1)
    with lora.use(base.model, adapters, samples.slots):
        logits = base.model(ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits
    logits = logits[:, samples.prompt.shape[1] - 1 : -1]
    return torch.log_softmax(logits, -1).gather(-1, samples.completion[..., None])[..., 0] * samples.mask


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_advantages_sum_to_zero(kind):
    rewards = torch.randint(0, 4, (3, 5, 8), generator=torch.Generator().manual_seed(0)) * 10.0
    result = update.advantages(rewards, kind)
    torch.testing.assert_close(result.sum(-1), torch.zeros(3, 5), atol=2e-5, rtol=0)
    assert not update.advantages(torch.full((2, 7), 0.1), kind).any()  # equal rewards: exactly nothing


def test_rloo_advantage_is_the_reward_less_the_mean_of_the_others():
    rewards = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    others = torch.stack([torch.cat([rewards[:, :i], rewards[:, i + 1 :]], 1).mean(1) for i in range(6)], 1)
    torch.testing.assert_close(update.advantages(rewards), rewards - others)


def test_grpo_advantage_is_standardised():
    result = update.advantages(torch.randn(4, 64, generator=torch.Generator().manual_seed(0)), "grpo")
    torch.testing.assert_close(result.std(-1), torch.ones(4), atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="'rloo' or 'grpo'"):
        update.advantages(torch.zeros(2, 2), "reinforce")
    with pytest.raises(ValueError, match="at least 2"):
        update.advantages(torch.zeros(2, 1))


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_packed_logprobs_and_their_gradients_equal_the_padded_forward(kind):
    base = tiny.base(kind)
    samples = rollouts(base, tiny.adapters(base, 3), [2, 0, 0, 1, 0], group=12)
    assert len(logprobs.pack(samples).layout.buckets) > 1
    weights = torch.randn(samples.mask.shape, generator=torch.Generator().manual_seed(3))
    gradients, values = [], []
    for compute in (update.completion_logprobs, plain_logprobs):
        adapters = tiny.adapters(base, 3)
        values.append(compute(base, adapters, samples))
        (values[-1] * weights).sum().backward()
        gradients.append([parameter.grad for parameter in adapters.parameters()])
    torch.testing.assert_close(values[0], values[1], atol=1e-5, rtol=1e-4)
    for packed, padded in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, padded, atol=1e-3, rtol=1e-3)


def trl_gradient(base, start, samples, rewards, beta) -> dict[str, torch.Tensor]:
    """The gradient TRL's RLOOTrainer computes for these rollouts: its advantages, its KL, its loss, its PEFT model."""
    model = tiny.model()
    config = RLOOConfig(
        output_dir="build/trl", per_device_train_batch_size=len(samples), num_generations=4, beta=beta, bf16=False,
        use_cpu=True, report_to="none", gradient_checkpointing=False, max_completion_length=samples.mask.shape[1],
    )  # fmt: skip
    scale = LoraConfig(r=start.rank, lora_alpha=start.alpha, target_modules=list(TARGETS))
    rows = Dataset.from_list([{"prompt": "a"}] * len(samples))
    trainer = RLOOTrainer(
        model, lambda completions, **_: rewards, config, rows, processing_class=base.tokenizer, peft_config=scale
    )
    own = dict(trainer.model.named_parameters())
    with torch.no_grad():
        for name, tensor in start.state_dict().items():
            layer, _, half = name.rpartition(".")
            own[f"base_model.model.{layer}.lora_{half.upper()}.default.weight"].copy_(tensor[0])
    prompts = [row[mask.bool()].tolist() for row, mask in zip(samples.prompt, samples.prompt_mask, strict=True)]
    drawn = [row[mask.bool()].tolist() for row, mask in zip(samples.completion, samples.mask, strict=True)]
    trainer._generate = lambda inputs: (prompts, drawn, sampling.decode(base, samples))
    inputs = trainer._generate_and_score_completions([{"prompt": "a"}] * len(samples))
    trainer.model.eval()
    trainer._compute_loss(trainer.model, inputs).backward()
    return {
        name: own[f"base_model.model.{name[:-2]}.lora_{name[-1].upper()}.default.weight"].grad
        for name in start.state_dict()
    }


@pytest.mark.network  # TRL asks the Hub about the model that it trains
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_the_gradient_equals_trl(beta):
    base = tiny.base()
    adapters = tiny.adapters(base, 1)
    samples = rollouts(base, adapters, [0] * 4)
    rewards = [float(x) for x in torch.randint(0, 4, (16,), generator=torch.Generator().manual_seed(5)) * 10]
    expected = trl_gradient(base, adapters, samples, rewards, beta)
    with torch.no_grad():  # TRL's KL: the k1 estimate against the base, taken off the reward
        kl = ((samples.logprobs - update.completion_logprobs(base, None, samples)) * samples.mask).sum(1)
    advantage = update.advantages((torch.tensor(rewards) - beta * kl).view(4, 4)).flatten()
    logprobs = update.completion_logprobs(base, adapters, samples)
    weights = update.row_weights(samples.mask, samples.slots)
    losses = update.policy_gradient_loss(logprobs, advantage, samples.mask, PLAIN)
    (losses * weights).sum().backward()
    size = max(gradient.abs().max() for gradient in expected.values())
    assert size > 0.1
    mine = {f"{name}.a": t.grad for name, t in adapters.a.items()} | {
        f"{name}.b": t.grad for name, t in adapters.b.items()
    }
    for name, gradient in expected.items():
        torch.testing.assert_close(mine[name][0] / size, gradient / size, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize(("normalisation", "rows", "kl"), [("sequence", 2, 0.0), ("token", 3, 0.0), ("token", 3, 0.1)])
def test_the_loss_and_its_normalisation_by_hand(normalisation, rows, kl):
    logprobs, mask = torch.log(torch.tensor([[0.6, 0.5], [0.2, 0.9]])), torch.tensor([[1, 1], [1, 0]])
    reference, settings = torch.full((2, 2), 0.5).log(), OptimiserSettings(kl=kl)
    losses = update.policy_gradient_loss(logprobs, torch.tensor([2.0, -1.0]), mask, settings, reference)
    weights = update.row_weights(mask, torch.tensor([0, 0]), normalisation)
    k3 = sum(0.5 / p - 1 - math.log(0.5 / p) for p in (0.6, 0.5, 0.2))
    expected = (-2 * math.log(0.6 * 0.5) + math.log(0.2) + kl * k3) / rows
    assert (losses * weights).sum().item() == pytest.approx(expected)


def test_the_gradient_is_that_of_the_clipped_ratio_to_the_policy_that_sampled():
    draw = torch.Generator().manual_seed(0)
    logprobs, advantage = -torch.rand(4, 6, generator=draw).requires_grad_(), torch.randn(4, generator=draw)
    mask = (torch.rand(4, 6, generator=draw) < 0.7).long()
    ratio = (logprobs - logprobs.detach()).exp()  # PPO's loss, as GRPO and DAPO have it
    clipped = torch.minimum(ratio * advantage[:, None], ratio.clamp(0.8, 1.28) * advantage[:, None])
    losses = update.policy_gradient_loss(logprobs, advantage, mask, PLAIN)
    both = [torch.autograd.grad(loss.sum(), logprobs)[0] for loss in (-(clipped * mask), losses)]
    assert torch.equal(*both) and both[0].any()


def test_k3_is_a_divergence():
    first, second = torch.log_softmax(torch.randn(2, 50, generator=torch.Generator().manual_seed(0)), -1)
    assert (update.k3(first, second) >= 0).all() and not update.k3(first, first).any()
    exact = (first.exp() * (first - second)).sum()
    torch.testing.assert_close((first.exp() * update.k3(first, second)).sum(), exact, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_learning_rate_equals_transformers(schedule):
    settings = OptimiserSettings(learning_rate=1.0, schedule=schedule, warmup=3)
    mine = [update.learning_rate(settings, step, 10) for step in range(10)]
    assert mine[:3] == [0, 1 / 3, 2 / 3]
    theirs = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = get_cosine_schedule_with_warmup(theirs, 3, 10)
    for step in range(10):
        expected = scheduler.get_last_lr()[0] if schedule == "cosine" or step < 3 else 1.0
        assert math.isclose(mine[step], expected, abs_tol=1e-12)
        theirs.step()
        scheduler.step()


def step(base, adapters, samples, advantage, max_tokens=4096, kl=0.0, **settings):
    options = OptimiserSettings(learning_rate=1e-3, kl=kl, max_tokens=max_tokens, **settings)
    learner = update.make_learner(adapters, options, 10, tiny.adapters(base, adapters.size, seed=9))
    return update.update(base, learner, samples, advantage, 0)


@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_micro_batches_change_nothing(kl):
    base, states, norms = tiny.base(), [], []
    samples = rollouts(base, tiny.adapters(base, 3), [2, 0, 0, 1, 0], group=8)
    advantage = update.advantages(torch.randn(5, 8, generator=torch.Generator().manual_seed(2))).flatten()
    for max_tokens in (10**6, 200, 40):
        adapters = tiny.adapters(base, 3)
        norms.append(step(base, adapters, samples, advantage, max_tokens, kl)["grad_norm"])
        states.append(adapters.state_dict())
    for norm in norms[1:]:
        torch.testing.assert_close(norm, norms[0], atol=1e-4, rtol=1e-4)
    for state in states[1:]:
        for name, tensor in states[0].items():  # Adam's first step is a sign, so compare where it is not near 0
            torch.testing.assert_close(state[name], tensor, atol=1e-4, rtol=1e-3)


def test_a_slot_without_signal_takes_the_step_it_would_take_alone():
    base = tiny.base()
    samples = rollouts(base, tiny.adapters(base, 2), [0, 1])
    advantage = torch.tensor([1.0, -1, 2, -2, 0, 0, 0, 0])
    adapters = tiny.adapters(base, 2)
    before = adapters.state_dict()["model.layers.0.self_attn.q_proj.b"].clone()
    measured = step(base, adapters, samples, advantage, weight_decay=0.1)
    after = adapters.state_dict()["model.layers.0.self_attn.q_proj.b"]
    assert measured["grad_norm"][0] > 0 and measured["grad_norm"][1] == 0
    torch.testing.assert_close(after[1], before[1] * (1 - 1e-3 * 0.1))  # weight decay alone
    assert not torch.equal(after[0], before[0] * (1 - 1e-3 * 0.1))


def test_gradients_are_clipped_per_adapter():
    adapters = tiny.adapters(tiny.base(), 3)
    draw = torch.Generator().manual_seed(0)
    for parameter in adapters.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw) * torch.tensor([1e-4, 1.0, 5.0])[:, None, None]
    alone = [[p.grad[slot].clone().requires_grad_() for p in adapters.parameters()] for slot in range(3)]
    norms = update.clip_per_adapter(adapters, 1.0)
    for slot, gradients in enumerate(alone):
        for gradient in gradients:
            gradient.grad = gradient.detach().clone()
        expected = torch.nn.utils.clip_grad_norm_(gradients, 1.0)
        torch.testing.assert_close(norms[slot], expected)
        for parameter, gradient in zip(adapters.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad[slot], gradient.grad)


def test_kl_pulls_back_to_the_reference():
    base = tiny.base()
    adapters, anchor = tiny.adapters(base, 1), tiny.adapters(base, 1, seed=9)
    settings = OptimiserSettings(learning_rate=5e-3, kl=1.0, schedule="constant")
    learner, kl = update.make_learner(adapters, settings, 12, anchor), []
    for number in range(12):
        samples = rollouts(base, adapters, [0] * 4, seed=number)
        kl += update.update(base, learner, samples, torch.zeros(16), number)["kl"].tolist()
    assert kl[-1] < 0.7 * kl[0]


def test_kl_without_reference_logprobs_is_refused():
    with pytest.raises(ValueError, match="needs reference"):
        update.policy_gradient_loss(*(torch.zeros(1, 1),) * 3, OptimiserSettings(kl=0.1))
