"""The policy-gradient step of every method here: advantages, one loss, one optimiser step for all slots.

RLOO is REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, arXiv 2402.14740); GRPO standardises the rewards
of a group (Shao et al. 2024, arXiv 2402.03300). SOAR names RLOO and AdamW (Table 3) and leaves open, so we chose:

- one update per batch, so the ratio to the policy that sampled is 1 and no clip acts, which leaves the advantage times
  the log-probability (`clip_low` and `clip_high` are for TRL's trainers, where none acts either);
- normalisation "sequence": minus advantage times the sum of a completion's log-probabilities, averaged over a slot's
  completions, as TRL's RLOOTrainer;
- KL: the k3 estimator per token, in the loss, against `Learner.reference` (a student's own start, a teacher's
  untrained state). TRL's RLOOTrainer subtracts the k1 estimate from the reward, before `advantages`;
- AdamW with betas (0.9, 0.999), no weight decay, fresh state per inner run; the gradient norm is clipped per adapter
  at 1.0 (the trainers' usual values), so that a student learns the same alone and among others;
- the cosine runs over the steps of the run it belongs to, warm-up included.

Groups without advantage are left out where KL is off; the optimiser still steps for every slot, as a lone run would."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.logprobs import completion_logprobs, differentiable
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples
from soar_lib.settings.student import OptimiserSettings


def advantages(rewards: torch.Tensor, kind: str = "rloo") -> torch.Tensor:
    """Advantages of rewards [..., G] within each group of G.

    "rloo": reward minus the mean of the other G - 1. "grpo": (reward - mean) / (std + 1e-4), as in TRL. Equal rewards
    give exact zeros.

    >>> advantages(torch.tensor([120.0, 0.0, 0.0, 0.0])).tolist()
    [120.0, -40.0, -40.0, -40.0]
    """
    size = rewards.shape[-1]
    if size < 2:
        raise ValueError(f"a group of {size} has no baseline: sample at least 2 completions per prompt")
    centred = rewards - rewards.mean(-1, keepdim=True)
    equal = (rewards == rewards[..., :1]).all(-1, keepdim=True)
    if kind == "rloo":
        result = centred * (size / (size - 1))
    elif kind == "grpo":
        result = centred / (rewards.std(-1, keepdim=True) + 1e-4)
    else:
        raise ValueError(f"advantages of kind {kind!r} are unknown: use 'rloo' or 'grpo'")
    return result.masked_fill(equal, 0.0)


def row_weights(mask: torch.Tensor, slots: torch.Tensor, normalisation: str = "sequence") -> torch.Tensor:
    """The weight [N] of each completion's token sum in its slot's loss. "sequence": 1 / completions of the slot (TRL's
    RLOO). "token": 1 / tokens of the slot (DAPO)."""
    _, slot = torch.unique(slots, return_inverse=True)
    counted = {"sequence": torch.ones_like(slot), "token": mask.sum(1)}[normalisation]
    return 1 / torch.bincount(slot, counted.float())[slot].float()


def policy_gradient_loss(
    logprobs: torch.Tensor, advantage: torch.Tensor, mask: torch.Tensor, settings: OptimiserSettings,
    reference: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """The loss [N] of each completion: the sum over its tokens of (-advantage x log-probability + kl x k3). `logprobs`,
    `reference`, `mask` are [N, T], `advantage` is [N]."""
    if settings.kl and reference is None:
        raise ValueError(f"kl = {settings.kl} needs reference log-probabilities")
    terms = -(advantage[:, None] * (logprobs * mask)).sum(1)
    return terms + settings.kl * (k3(logprobs, reference) * mask).sum(1) if settings.kl else terms


def k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The k3 estimate of KL(policy || reference) per token, never negative (Schulman 2020)."""
    difference = reference - logprobs
    return difference.exp() - difference - 1


@dataclass(frozen=True)
class Learner:
    """Adapters that learn in place for `steps` steps, with AdamW over the stack: element-wise, so it is one per slot.
    Where settings.kl > 0 they stay close to `reference`, slot by slot (None: the base)."""

    adapters: Adapters
    optimizer: torch.optim.Optimizer
    settings: OptimiserSettings
    steps: int
    reference: Adapters | None = None


def make_learner(
    adapters: Adapters, settings: OptimiserSettings, steps: int, reference: Adapters | None = None,
    state: dict[str, torch.Tensor] | None = None,
) -> Learner:  # fmt: skip
    """A learner of `steps` steps with a fresh optimiser, or one in the `state` that `optimizer_tensors` gave."""
    parameters = adapters.parameters()
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )
    for key, value in (state or {}).items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        optimizer.state[parameter][name] = value if name == "step" else value.to(parameter.device)
    return Learner(adapters, optimizer, settings, steps, reference)


def optimizer_tensors(learner: Learner) -> dict[str, torch.Tensor]:
    """The optimiser's state by parameter number and name, for a checkpoint; empty before the first step."""
    return {
        f"{i}.{name}": value
        for i, parameter in enumerate(learner.adapters.parameters())
        for name, value in learner.optimizer.state[parameter].items()
    }


def learning_rate(settings: OptimiserSettings, step: int, steps: int) -> float:
    """The learning rate of step 0 <= step < steps: linear warm-up from 0, then constant or a half cosine to 0.

    >>> [round(learning_rate(OptimiserSettings(learning_rate=1.0), step, 4), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    if step < settings.warmup:
        return settings.learning_rate * step / settings.warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    progress = (step - settings.warmup) / max(1, steps - settings.warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def update(
    base: Base, learner: Learner, samples: Samples, advantage: torch.Tensor, step: int, temperature: float = 1.0,
    normalisation: str = "sequence",
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Take step `step` (from 0) of each slot on its rows of `samples`, drawn at `temperature`, with `advantage` [N].
    Returns tensors [S]: `grad_norm` before clipping, `kl` (mean k3 per token, 0 where off) and `learning_rate`."""
    adapters, optimizer, settings = learner.adapters, learner.optimizer, learner.settings
    optimizer.zero_grad(set_to_none=False)
    for parameter in adapters.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    advantage = advantage.to(samples.mask.device, torch.float32)
    weights = row_weights(samples.mask, samples.slots, normalisation)
    anchor, divergence = None, torch.zeros(adapters.size, device=samples.mask.device)
    learnt = torch.arange(len(samples), device=advantage.device) if settings.kl else advantage.nonzero()[:, 0]
    for rows in _micro_batches(samples, learnt, settings.max_tokens):
        part = samples.select(rows)
        if settings.kl:
            with torch.no_grad():
                anchor = completion_logprobs(base, learner.reference, part, temperature)
        with differentiable(base, adapters, part, temperature, settings.gradient_checkpointing) as logprobs:
            if settings.kl:
                divergence.index_add_(0, part.slots, (k3(logprobs.detach(), anchor) * part.mask).sum(1))
            losses = policy_gradient_loss(logprobs, advantage[rows], part.mask, settings, anchor)
            (losses * weights[rows]).sum().backward()
    norms = clip_per_adapter(adapters, settings.max_grad_norm)
    rate = learning_rate(settings, step, learner.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    tokens = torch.zeros_like(divergence).index_add_(0, samples.slots, samples.mask.sum(1).float())
    return dict(grad_norm=norms, kl=divergence / tokens.clamp(min=1), learning_rate=torch.full_like(norms, rate))


def clip_per_adapter(adapters: Adapters, limit: float) -> torch.Tensor:
    """Clip each slot's gradient to the norm `limit`, as torch's clip_grad_norm_ does; returns the norms [S] before."""
    grads = [parameter.grad for parameter in adapters.parameters()]
    norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)
    factor = (limit / (norms + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor[:, None, None])
    return norms


def _micro_batches(samples: Samples, rows: torch.Tensor, max_tokens: int) -> Iterator[torch.Tensor]:
    """`rows` in batches of about `max_tokens` completion tokens: slots of like size together, a large slot in parts."""
    tokens = samples.mask.sum(1).tolist()
    by_slot: dict[int, list[int]] = {}
    for row, slot in zip(rows.tolist(), samples.slots[rows].tolist(), strict=True):
        by_slot.setdefault(slot, []).append(row)
    parts = [part for group in by_slot.values() for part in _parts(group, tokens, max_tokens)]
    parts.sort(key=lambda part: -sum(tokens[row] for row in part))
    batch, slots, area = [], set(), 0
    for part in parts:
        size, slot = sum(tokens[row] for row in part), samples.slots[part[0]].item()
        if batch and (slot in slots or area * (len(slots) + 1) > max_tokens):
            yield torch.tensor(batch, device=rows.device)
            batch, slots, area = [], set(), 0
        batch, slots, area = batch + part, slots | {slot}, max(area, size)
    if batch:
        yield torch.tensor(batch, device=rows.device)


def _parts(rows: list[int], tokens: list[int], max_tokens: int) -> Iterator[list[int]]:
    """Consecutive rows, so that groups stay together, in equal parts of about `max_tokens`."""
    total = sum(tokens[row] for row in rows)
    limit, part, used = total / -(-total // max_tokens), [], 0
    for row in rows:
        if part and used + tokens[row] / 2 > limit:
            yield part
            part, used = [], used - limit
        part.append(row)
        used += tokens[row]
    yield part
