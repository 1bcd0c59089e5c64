"""A causal language model's sizes, told without its weights."""

import functools
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from soar_lib.engine.base import NANO
from soar_lib.engine.lora import TARGETS
from soar_lib.settings.values import ConfigError, first_line

# The paper's model by its public config.json, which is behind a licence: predicted before it is downloaded.
KNOWN = {
    "meta-llama/Llama-3.2-3B-Instruct": {
        "model_type": "llama", "vocab_size": 128_256, "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": True,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A causal language model's sizes."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    linears: tuple[tuple[int, int], ...]  # (inputs, outputs) of each layer that gets an adapter
    parameters: int  # tied ones once
    linear_weights: int  # in linear layers but the head: what 4 bits hold


@functools.cache
def shape(model: str) -> Shape:
    """The shape of a model that is on this machine (nano, a folder, a downloaded Hub id) or known here.

    Raises ConfigError with the reason why it cannot be told.
    """
    if model in KNOWN:
        values = dict(KNOWN[model])
        return shape_of(AutoConfig.for_model(values.pop("model_type"), **values))
    source = NANO if model == "nano" else model
    try:
        return shape_of(AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        reason = first_line(error)
        raise ConfigError(f"memory not predicted: {model} cannot be inspected on this machine ({reason})") from None


def shape_of(config) -> Shape:
    """The shape behind a transformers configuration, counted on a model without storage. Raises ValueError."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    targets = {name: m for name, m in linear.items() if name.rpartition(".")[2] in TARGETS}
    keys = next((m.out_features for name, m in targets.items() if name.endswith("k_proj")), None)
    if keys is None:
        raise ValueError(f"{type(model).__name__} has no linear layer named k_proj")
    return Shape(
        config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers,
        config.num_attention_heads, config.num_key_value_heads, keys // config.num_key_value_heads,
        tuple((m.in_features, m.out_features) for m in targets.values()),
        sum(p.numel() for p in model.parameters()), sum(m.weight.numel() for m in linear.values()),
    )  # fmt: skip
