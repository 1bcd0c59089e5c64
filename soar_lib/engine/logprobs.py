"""Log-probabilities of completions under adapters, differentiable, in little memory.

Completions are packed: one row of tokens per slot, each prompt once, no padding inside. The tokens that predict a
completion token come first in a row (the last token of each prompt, then the completions without their last token), so
that logits are computed for them alone. Attention finds the sequences again by the places in `layout`.

Logits are never more than LOGITS entries at once (a Llama 3 vocabulary has 128,256): beyond that the head is applied in
parts, each of which is formed again in the backward pass. `checkpointing` keeps of each layer its input only and
computes the rest again (gradient checkpointing, Chen et al. 2016, arXiv 1604.06174): a third more time, about a tenth
of the activations."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from soar_lib.engine import lora
from soar_lib.engine.attention import Packed, shared_prompts
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples

LOGITS = 2**26  # 256 MB in float32
BEYOND_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # what some models do to logits after it

_again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)  # nothing here is random


@dataclass(frozen=True)
class _Packing:
    slots: torch.Tensor  # [B] the slot of each packed row
    ids: torch.Tensor  # [B, L] tokens; rows with fewer are padded at the end
    positions: torch.Tensor  # [B, L] each token's position in its own sequence
    keep: torch.Tensor  # [K] the columns that predict something, 0 to K - 1
    predictor: torch.Tensor  # [N, T] where in the flattened B * K each completion token is predicted
    layout: Packed


def pack(samples: Samples) -> _Packing:
    """Lay out all tokens of `samples`; every step is a tensor operation, none a loop over rows."""
    slots, row = torch.unique(samples.slots, return_inverse=True)
    prompts, lengths, home, owner = _distinct_prompts(samples, row)
    inputs = samples.mask.sum(1) - 1  # a completion's last token predicts nothing
    shared = torch.bincount(home)  # prompts of each row
    last = _offsets(torch.ones_like(home), home)
    start = shared[row] + _offsets(inputs, row)
    keep = int(shared.index_add(0, row, inputs).max())
    body = keep + _offsets(lengths - 1, home)
    shape = (len(slots), keep + int(torch.zeros_like(slots).index_add(0, home, lengths - 1).max()))

    column = torch.arange(prompts.shape[1], device=row.device)
    real = column < lengths[:, None]
    place = torch.where(column < lengths[:, None] - 1, body[:, None] + column, last[:, None])
    prompt_place = torch.where(real, place + home[:, None] * shape[1], 0)
    positions, ids = torch.zeros(2, *shape, dtype=torch.long, device=row.device)
    positions.view(-1)[prompt_place[real]] = column.expand_as(real)[real]
    ids.view(-1)[prompt_place[real]] = prompts[real]

    column = torch.arange(max(1, int(inputs.max())), device=row.device)
    real = column < inputs[:, None]
    place = torch.where(real, row[:, None] * shape[1] + start[:, None] + column, 0)
    positions.view(-1)[place[real]] = (lengths[owner][:, None] + column)[real]
    ids.view(-1)[place[real]] = samples.completion[:, : len(column)][real]

    layout = Packed(prompt_place, lengths, place, inputs, owner, ids.numel())
    follow = start[:, None] + torch.arange(samples.mask.shape[1] - 1, device=row.device)
    predictor = torch.cat([last[owner][:, None], follow], 1) + row[:, None] * keep
    return _Packing(slots, ids, positions, torch.arange(keep, device=row.device), predictor, layout)


def _distinct_prompts(samples: Samples, row: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Distinct (packed row, prompt) pairs: ids [U, P], padded right, lengths [U], rows [U]; completions' pairs [N]."""
    lengths = samples.prompt_mask.sum(1)
    pairs = torch.cat([row[:, None], lengths[:, None], samples.prompt * samples.prompt_mask], 1)
    pairs, owner = torch.unique(pairs, dim=0, return_inverse=True)
    row, lengths, ids = pairs[:, 0], pairs[:, 1], pairs[:, 2:]
    column = torch.arange(ids.shape[1], device=row.device)
    return ids.gather(1, (column - lengths[:, None]) % ids.shape[1]), lengths, row, owner  # what was padded left


def _offsets(counts: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Where each item starts in its row when a row's items are laid end to end."""
    order = torch.argsort(row, stable=True)
    row, counts = row[order], counts[order]
    starts = counts.cumsum(0) - counts  # as if all were one row
    return (starts - starts[torch.searchsorted(row, row)])[order.argsort()]


def completion_logprobs(
    base: Base, adapters: Adapters | None, samples: Samples, temperature: float = 1.0
) -> torch.Tensor:
    """Log-probabilities [N, T] of the completions' tokens, float32, 0 where masked; differentiable in the adapters."""
    with differentiable(base, adapters, samples, temperature) as logprobs:
        return logprobs


@contextmanager
def differentiable(
    base: Base, adapters: Adapters | None, samples: Samples, temperature: float = 1.0, checkpointing: bool = False
) -> Iterator[torch.Tensor]:
    """Log-probabilities [N, T] as those of `completion_logprobs`, while the adapters (None: the untrained model) are in
    use: with `checkpointing` the backward pass must run inside."""
    packing = pack(samples)
    rows = packing.slots
    if adapters is None:
        adapters, rows = base.start, torch.zeros_like(packing.slots)
    with shared_prompts(base.model), lora.use(base.model, adapters, rows), _checkpointed(base.model, checkpointing):
        yield _logprobs(base.model, packing, samples, temperature)


@contextmanager
def _checkpointed(model: torch.nn.Module, wanted: bool) -> Iterator[None]:
    """Let the model's layers compute their insides again in the backward pass. They alone are set to training, which
    transformers asks for; the modules inside stay in evaluation mode."""
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)] if wanted else []
    try:
        for layer in layers:
            layer.gradient_checkpointing, layer.training, layer._gradient_checkpointing_func = True, True, _again
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False  # as in every base


def _logprobs(model: torch.nn.Module, packing: _Packing, samples: Samples, temperature: float) -> torch.Tensor:
    inputs = dict(input_ids=packing.ids, position_ids=packing.positions, layout=packing.layout, use_cache=False)
    real = samples.mask.bool()
    place, token = packing.predictor[real], samples.completion[real]
    size = model.get_output_embeddings().weight.shape[0]
    scaled = any(getattr(model.config, name, None) not in (None, 1.0) for name in BEYOND_THE_HEAD)
    if packing.ids.shape[0] * len(packing.keep) * size <= LOGITS or scaled:
        logits = model(**inputs, logits_to_keep=packing.keep).logits.flatten(0, 1)
        values = _of_tokens(logits, place, token, temperature)
    else:
        hidden = model.get_decoder()(**inputs).last_hidden_state[:, packing.keep].flatten(0, 1)
        values = _in_parts(model.get_output_embeddings(), hidden, place, token, temperature, max(1, LOGITS // size))
    return torch.zeros(real.shape, device=values.device).masked_scatter(real, values)


def _of_tokens(logits: torch.Tensor, place: torch.Tensor, token: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities [M] of tokens [M] under the rows `place` [M] of logits [K, V]."""
    logits = logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    chosen = logits.flatten().index_select(0, place * logits.shape[-1] + token)
    return chosen - logits.logsumexp(-1).index_select(0, place)


def _in_parts(
    head: torch.nn.Module, hidden: torch.Tensor, place: torch.Tensor, token: torch.Tensor, temperature: float, size: int
) -> torch.Tensor:
    """`_of_tokens` of head(hidden), with `size` rows of logits at once."""

    def part(rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return _of_tokens(head(rows), torch.arange(len(rows), device=rows.device), tokens, temperature)

    parts = zip(place.split(size), token.split(size), strict=True)
    return torch.cat([_again(part, hidden.index_select(0, rows), tokens) for rows, tokens in parts])
