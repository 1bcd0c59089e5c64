"""Predicted peak memory of a run, from the model's shape and the settings alone; no weights are read.

The peak is that of the largest of a run's phases (sampling, a learning step, ...), with every completion at its full
length. Exact are weights (in 4 bits 0.516 byte per parameter of the linear layers), adapters (float32), keys and
values. Logits and activations are those of Llama and Qwen2, within a tenth of what torch was seen to allocate on a CPU.
Left out: CUDA's own memory (about 0.5 GB), merged or copied adapters, gaps between allocations."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from soar_lib.engine.attention import BLOCK
from soar_lib.engine.logprobs import LOGITS
from soar_lib.engine.lora import TARGETS
from soar_lib.settings.student import SHIPPED, BaseSettings, Phase, by_trl, precision
from soar_lib.settings.values import ConfigError, first_line

BYTES = {"float32": 4, "bfloat16": 2}  # of a number
FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes: NF4 with a scale of 8 bits per 64, and theirs of 32 bits per 256
# Of a preset's model what a prediction needs of its config.json, before it is downloaded (the paper's needs a licence).
KNOWN = {
    "meta-llama/Llama-3.2-3B-Instruct": Path(__file__).with_name("llama"),
    "Qwen/Qwen2.5-0.5B-Instruct": Path(__file__).with_name("qwen"),
}


@dataclass(frozen=True)
class Machine:
    """What holds a run, and its bytes that are free."""

    kind: str  # "GPU memory" or "memory"
    free: int


@dataclass(frozen=True)
class Memory:
    """What a phase holds, in bytes: weights, adapters, (random) numbers, which no shorter completion makes
    smaller, a cache of keys and values, logits and activations."""

    phase: Phase
    parts: dict[str, int]

    @property
    def certain(self) -> int:
        """Bytes that are held however short the completions are."""
        return sum(self.parts[name] for name in ("weights", "adapters", "numbers"))

    @property
    def total(self) -> int:
        """Bytes of all parts together."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        largest = sorted(self.parts, key=lambda name: -self.parts[name])[:3]
        return f"{self.phase.name}: {', '.join(f'{name} {size(self.parts[name])}' for name in largest)}"


def here() -> Machine:
    """This machine, with the bytes that a new program can have."""
    gpu, free = torch.cuda.is_available(), psutil.virtual_memory().available
    if gpu:  # what torch has reserved it gives again
        free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return Machine("GPU memory" if gpu else "memory", free)


@dataclass(frozen=True)
class Shape:
    """A causal language model's sizes."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    wide: int  # of all query heads together
    keys: int  # of all key heads together
    linears: int  # inputs and outputs of all layers that get an adapter
    parameters: int  # tied ones once
    linear_weights: int  # in linear layers but the head: what 4 bits hold


@functools.cache
def shape(model: str) -> Shape:
    """The shape of a model that is on this machine (nano, a folder, a downloaded Hub id) or known here. Raises
    ConfigError with the reason why it cannot be told."""
    source = (SHIPPED | KNOWN).get(model) or os.path.expanduser(model)
    try:
        return shape_of(AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False))
    except Exception as error:  # whatever a damaged folder makes transformers raise
        reason = f"{model} cannot be inspected on this machine ({first_line(error)})"
        raise ConfigError(f"memory not predicted: {reason}") from None


def shape_of(config) -> Shape:
    """The shape behind a transformers configuration, counted on a model without storage. Raises ValueError."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    targets = {name: m for name, m in linear.items() if name.rpartition(".")[2] in TARGETS}
    outputs = {name.rpartition(".")[2]: m.out_features for name, m in targets.items()}
    if "k_proj" not in outputs:
        raise ValueError(f"{type(model).__name__} has no linear layer named k_proj")
    return Shape(
        config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers,
        config.num_attention_heads, outputs["q_proj"], outputs["k_proj"],
        sum(m.in_features + m.out_features for m in targets.values()),
        sum(p.numel() for p in model.parameters()), sum(m.weight.numel() for m in linear.values()),
    )  # fmt: skip


def weight_bytes(shape: Shape, number: int, four_bit: bool) -> int:
    """Bytes of a base's weights at `number` bytes each; with `four_bit` its linear layers take four bits."""
    quantised = shape.linear_weights if four_bit else 0
    return round((shape.parameters - quantised) * number + quantised * FOUR_BIT)


def adapter_bytes(shape: Shape, rank: int) -> int:
    """Bytes of one adapter: A and B of every linear layer in float32."""
    return 4 * rank * shape.linears


def sampling_bytes(shape: Shape, number: int, phase: Phase) -> dict[str, int]:
    """Bytes by part of a phase that samples, at its peak: while prompts are read, or while completions are written."""
    token = 2 * number * shape.layers * shape.keys  # keys and values
    read, written = phase.prompts * (phase.prompt - 1), phase.rows * -(-phase.tokens // BLOCK) * BLOCK
    layer = number * (4 * shape.hidden + max(4 * shape.intermediate, 7 * shape.wide))  # of one token
    scores = phase.rows * shape.heads * (phase.prompt + phase.tokens) * (2 * number + 4)  # before and after softmax
    logits = shape.vocabulary * (phase.rows * (number + 12) + phase.prompts * number)
    logits += 24 * phase.rows * phase.tokens  # what is drawn, with masks and random numbers
    inside = max(0, scores + phase.rows * (layer - 12 * shape.vocabulary))  # of a layer, when the last logits are gone
    reading = phase.prompts * phase.prompt * layer
    if reading > token * written + logits + inside:
        return {"cache": token * read, "activations": reading}
    return {"cache": token * (read + written), "logits": logits, "activations": inside}


def learning_bytes(shape: Shape, number: int, phase: Phase) -> dict[str, int]:
    """Bytes by part of a phase that learns, for the forward and the backward pass of one micro-batch."""
    rows, prompts, columns, wide = phase.rows, phase.prompts, phase.prompt + phase.tokens, shape.wide
    packed = rows * phase.tokens + prompts * phase.prompt
    each = 8 * shape.hidden + number * (2 * shape.hidden + 3 * wide + 4 * shape.intermediate)
    mask = rows * phase.tokens * columns * number  # float32's is one for all layers, others are cast in each
    layer = packed * each + 2 * number * wide * (rows * columns + prompts * phase.prompt) + mask * (number < 4)
    logits = 20 * min(rows * phase.tokens * shape.vocabulary, LOGITS)
    if not phase.optimiser.gradient_checkpointing:
        return {"logits": logits, "activations": shape.layers * layer + mask}
    again = layer + mask + packed * number * (shape.hidden + 2 * shape.intermediate)  # when the logits are gone
    kept = shape.layers * packed * shape.hidden * number
    return {"logits": logits, "activations": kept + max(0, again - logits)}


def predict(config: BaseSettings, problems: int = 0, runs: int = 1) -> Memory:
    """The memory of a command's largest phase, in this machine's precision where dtype is "auto"; `problems` in its
    pool or test set, `runs` SOAR runs under an evaluation. Raises ConfigError where there is no prediction."""
    other = "student.trainer = 'trl'" if by_trl(config) else "backend = 'vllm', which holds the weights twice"
    if by_trl(config) or config.backend == "vllm":
        raise ConfigError(f"memory not predicted: not worked out for {other}")
    known, number, found = shape(config.model), BYTES[precision(config.model, config.dtype)], []
    for phase in config.phases(problems, runs):
        parts = (learning_bytes if phase.optimiser else sampling_bytes)(known, number, phase)
        weights, adapters = weight_bytes(known, number, config.four_bit), adapter_bytes(known, phase.ranks)
        found.append(Memory(phase, {"weights": weights, "adapters": adapters, **parts, "numbers": 4 * phase.drawn}))
    return max(found, key=lambda held: held.total)


def check_memory(config: BaseSettings, problems: int = 0, runs: int = 1, loaded: bool = False) -> None:
    """Raise ConfigError where the run cannot fit, with the settings to change; `loaded`: the base is in memory already.
    A GPU must hold the whole prediction, main memory what is certain. A model without a prediction passes."""
    machine = here()
    try:
        most = predict(config, problems, runs)
    except ConfigError:
        return
    needed = most.certain if machine.kind == "memory" else most.total
    if needed <= (free := machine.free + most.parts["weights"] * loaded):
        return
    advice = f"lower {most.phase.lower}"
    if most.certain > free:
        advice = "use a smaller model, four_bit = true on a GPU, or adapters that are fewer or of a smaller rank"
    if 2 * most.parts["numbers"] > needed:
        advice = f"lower the completions drawn at a time ({most.phase.fewer}) or max_new_tokens"
    raise ConfigError(
        f"{config.model} does not fit: {size(needed)} of {machine.kind} needed ({most}), {size(free)} free; {advice}"
    )


def size(count: float) -> str:
    """A number of bytes as text, in GB or MB.

    >>> size(61_540_000_000), size(3_200_000)
    ('61.5 GB', '3 MB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
