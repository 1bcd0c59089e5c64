"""Predicted peak memory of a run, from the model's shape and the settings alone; no weights are read.

A run passes through phases (sampling, a learning step, measuring, ...). Each holds the weights, the adapters with what
learning adds to them, and buffers of its own; the peak is that of the largest phase. Every completion is taken at its
full length, which is the most that can happen. With b bytes per number of the base:

    weights       b per parameter, tied ones once; in 4 bits 0.516 byte per parameter of the linear layers
    adapters      float32; a population in training is there five times: reference, values, gradients, AdamW's moments
    keys, values  2 b x layers x key heads x head size for each token of rows sampled together; a prompt counts once
    logits        in sampling b + 12 bytes per row and vocabulary entry; in learning 20 per predicting token and entry
                  of one micro-batch (4 kept, 16 in the backward pass), of at most `logprobs.LOGITS` of them
    activations   in learning, per token and layer of a micro-batch: 8 hidden (the norms' float32 inputs) + b x
                  (2 hidden + 3 heads x head size + 4 intermediate + 7 rank), and per completion and layer keys and
                  values as attention reads them, 2 b x heads x head size x (prompt + completion); in sampling, those
                  of one layer; with gradient checkpointing too, with b x (hidden + 2 intermediate) for gradients, and
                  b x hidden per token and layer

The first three are exact, the others those of Llama and Qwen2; on CPU, allocations were measured to agree within a few
percent (tests/test_memory.py). Left out: CUDA's own memory (about 0.5 GB), what the allocators lose in gaps, norms of
queries and keys, attention scores where a GPU has no fused attention, and the tokenizer.
"""

import functools
from dataclasses import dataclass

from soar_lib.settings.student import OptimiserSettings
from soar_lib.settings.values import ConfigError, first_line

PROMPT = 300  # tokens assumed of a prompt; a question of MATH under a chat template has between 100 and 300
FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes: NF4 with a scale of 8 bits per 64, and theirs of 32 bits per 256
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


@dataclass(frozen=True)
class Form:
    """How a machine holds the base, and how long prompts are (tokens)."""

    bytes: int = 4  # per number
    four_bit: bool = False
    gpu: bool = False
    prompt: int = PROMPT


@dataclass(frozen=True)
class Memory:
    """Bytes by what holds them, in the phase that needs most."""

    phase: str
    weights: int
    adapters: int
    cache: int = 0  # keys and values
    logits: int = 0
    activations: int = 0
    tokens: int = 0  # completions, masks and log-probabilities as they are collected, with their random numbers

    @property
    def certain(self) -> int:
        """The part that no shorter completion makes smaller."""
        return self.weights + self.adapters

    @property
    def total(self) -> int:
        return self.certain + self.cache + self.logits + self.activations + self.tokens


@functools.cache
def shape(model: str) -> Shape:
    """The shape of a model that is on this machine (nano, a folder, a downloaded Hub id) or known here.

    Raises ConfigError with the reason why it cannot be told.
    """
    from transformers import AutoConfig

    from soar_lib.engine.base import NANO

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
    import torch
    from transformers import AutoModelForCausalLM

    from soar_lib.engine.lora import TARGETS

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


# ------------------------------------------------------------------ parts


def weight_bytes(shape: Shape, form: Form) -> int:
    quantised = shape.linear_weights if form.four_bit else 0
    return round((shape.parameters - quantised) * form.bytes + quantised * FOUR_BIT)


def adapter_bytes(shape: Shape, rank: int) -> int:
    """One slot: A and B of every layer, float32."""
    return 4 * rank * sum(inputs + outputs for inputs, outputs in shape.linears)


def cache_bytes(shape: Shape, form: Form, rows: int, tokens: int, prompts: int) -> int:
    """Keys and values of `rows` completions of `tokens` on `prompts` distinct prompts; see `attention.Decoding`."""
    from soar_lib.engine.attention import BLOCK

    own, shared = rows * -(-tokens // BLOCK) * BLOCK, prompts * (form.prompt - 1)
    return 2 * form.bytes * shape.layers * shape.kv_heads * shape.head_dim * (own + shared)


def in_use(shape: Shape, form: Form, rank: int, slots: int, active: int) -> int:
    """What `lora.use` makes of `active` of `slots` adapters: merged weights, or a copy of their part of the stack."""
    from soar_lib.engine.lora import MERGE_LIMIT

    elements = sum(inputs * outputs for inputs, outputs in shape.linears) * active
    if elements <= MERGE_LIMIT and not form.four_bit:
        return elements * form.bytes
    return active * adapter_bytes(shape, rank) if active < slots else 0


def sampling(
    shape: Shape, form: Form, rows: int, group: int, tokens: int, at_once: int, rank: int = 0, slots: int = 0,
    distinct: int = 0,
) -> dict[str, int]:  # fmt: skip
    """Buffers of `sampling.sample` for `rows` completions, `group` of each prompt, `at_once` of them together: while
    prompts are read or completions written, whichever is more. Without `slots` the base alone; `distinct` prompts,
    where that is not one per group."""
    now = min(rows, max(1, at_once // group) * min(group, at_once))
    prompts, one = distinct or max(1, now // group), _layer(shape, form, slots)
    scores = now * shape.heads * (form.prompt + tokens) * (2 * form.bytes + 4)  # of one layer, before and after softmax
    first = prompts * shape.vocabulary * form.bytes  # the prompts' own logits stay until the end
    old, drawn = (now * shape.vocabulary * size + first for size in (form.bytes, form.bytes + 12))
    adapters = in_use(shape, form, rank, slots, min(slots, prompts)) if slots else 0
    reading = {"cache": cache_bytes(shape, form, 0, 0, prompts), "activations": prompts * form.prompt * one}
    writing = {"cache": cache_bytes(shape, form, now, tokens, prompts), "logits": drawn}
    writing["activations"] = max(0, old + scores + now * one - drawn)
    most = max(reading, writing, key=lambda parts: sum(parts.values()))
    return most | {"activations": most["activations"] + adapters, "tokens": rows * tokens * 24}


def _layer(shape: Shape, form: Form, slots: int) -> int:
    """Activations of one token in one layer without gradients, at most: in the MLP, with the product of the adapters
    before it is added, or in attention."""
    mlp, attention = (4 if slots else 3) * shape.intermediate, 7 * shape.heads * shape.head_dim
    return form.bytes * (4 * shape.hidden + max(mlp, attention))


def learning(
    shape: Shape, form: Form, slots: int, rows: int, group: int, tokens: int, rank: int, optimiser: OptimiserSettings
) -> dict[str, int]:
    """Buffers of the largest micro-batch of `update.update`: `rows` completions per slot, `group` of each prompt,
    about `optimiser.max_tokens` completion tokens together."""
    from soar_lib.engine.logprobs import LOGITS

    limit = optimiser.max_tokens
    share = rows * tokens / -(-rows * tokens // limit)
    part = min(rows, max(1, int(share / tokens + 0.5)))
    active = min(slots, max(1, limit // (part * tokens)))
    count, prompts = active * part, active * -(-part // group)
    predicting, wide = count * (tokens - 1) + prompts, shape.heads * shape.head_dim
    packed, columns = predicting + prompts * (form.prompt - 1), form.prompt + tokens - 1
    each = 8 * shape.hidden + form.bytes * (2 * shape.hidden + 3 * wide + 4 * shape.intermediate + 7 * rank)
    keys = 2 * form.bytes * wide * (count * columns + prompts * form.prompt)
    mask = count * (tokens - 1) * columns * form.bytes  # float32's is one for all layers, others are cast in each
    casts = active * adapter_bytes(shape, rank) * form.bytes // 4 if form.bytes < 4 else 0
    dequantised = max(i * o for i, o in shape.linears) * form.bytes if form.four_bit else 0
    logits = 20 * min(predicting * shape.vocabulary, LOGITS)
    layers = 1 if optimiser.gradient_checkpointing else shape.layers  # whose insides are there at a time
    masks = layers * mask + 2 * mask if form.bytes < 4 else mask
    activations = layers * (packed * each + keys) + masks + casts + dequantised
    if optimiser.gradient_checkpointing:  # a layer is computed again, and has its gradients, when the logits are gone
        again = activations + packed * form.bytes * (shape.hidden + 2 * shape.intermediate)
        activations = shape.layers * packed * shape.hidden * form.bytes + max(0, again - logits)
    return {
        "logits": logits,
        "activations": activations + in_use(shape, form, rank, slots, active),
        "tokens": slots * rows * (20 * tokens + 16 * form.prompt),
    }
