"""Log-probabilities of completions under adapters, differentiable, in little memory.

Completions of a prompt share its forward and backward pass and nothing is padded (`packing`). Logits are formed for
completion tokens alone and never for more than LOGITS entries at once: beyond that the head is applied in parts, each
of which is formed again in the backward pass. A Llama 3 vocabulary has 128,256 entries, so that a micro-batch of 4,096
tokens would hold 2 GB of logits and four times that in its backward pass.

`checkpointing` keeps of each layer its input only and computes the rest again in the backward pass (gradient
checkpointing, Chen et al. 2016, arXiv 1604.06174): a third more time, about a tenth of the activations.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from soar_lib.engine import lora
from soar_lib.engine.attention import shared_prompts
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.packing import Packing, pack
from soar_lib.engine.sampling import Samples

LOGITS = 2**26  # 256 MB in float32
BEYOND_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # what some models do to logits after it

_again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)  # nothing here is random


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
    """The same, while the adapters are in use: with `checkpointing` the backward pass must run inside."""
    packing = pack(samples)
    rows = packing.slots if adapters is not None else torch.zeros_like(packing.slots)
    with shared_prompts(base.model), lora.use(base.model, adapters, rows), _checkpointed(base.model, checkpointing):
        yield _logprobs(base.model, packing, samples, temperature)


@contextmanager
def _checkpointed(model: torch.nn.Module, wanted: bool) -> Iterator[None]:
    """Let the model's layers compute their insides again in the backward pass. They alone are set to training, which
    transformers asks for; the modules inside stay in evaluation mode, without dropout."""
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)] if wanted else []
    before = [(layer, layer.gradient_checkpointing, layer.training) for layer in layers]
    try:
        for layer in layers:
            layer.gradient_checkpointing, layer.training, layer._gradient_checkpointing_func = True, True, _again
        yield
    finally:
        for layer, was, training in before:
            layer.gradient_checkpointing, layer.training = was, training


def _logprobs(model: torch.nn.Module, packing: Packing, samples: Samples, temperature: float) -> torch.Tensor:
    inputs = dict(
        input_ids=packing.ids, position_ids=packing.positions, layout=packing.layout, use_cache=False,
    )  # fmt: skip
    real = samples.mask.bool()
    place, token = packing.predictor[real], samples.completion[real]
    size = model.get_output_embeddings().weight.shape[0]
    if packing.ids.shape[0] * len(packing.keep) * size <= LOGITS or _scaled(model.config):
        logits = model(**inputs, logits_to_keep=packing.keep).logits.flatten(0, 1)
        values = _of_tokens(logits, place, token, temperature)
    else:
        hidden = model.get_decoder()(**inputs).last_hidden_state[:, packing.keep].flatten(0, 1)
        values = _in_parts(model.get_output_embeddings(), hidden, place, token, temperature, max(1, LOGITS // size))
    return torch.zeros(real.shape, device=values.device).masked_scatter(real, values)


def _scaled(config) -> bool:
    """Whether logits are more than the head's product with the hidden states."""
    return any(getattr(config, name, None) not in (None, 1.0) for name in BEYOND_THE_HEAD)


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
