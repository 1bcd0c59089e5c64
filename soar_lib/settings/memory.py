"""Predicted peak memory of a run, from the model's shape and the settings alone; no weights are read.

A run passes through phases (sampling, a learning step, ...), whose counts its settings say. The peak is that of the
largest phase, with every completion at its full length. With b bytes per number of the base:

    weights       b per parameter, tied ones once; in 4 bits 0.516 byte per parameter of the linear layers
    adapters      float32; a student in training has five copies: reference, values, gradients, AdamW's moments
    cache         keys and values: 2 b x layers x key heads x head size for each token, a prompt's once
    logits        in sampling b + 12 bytes per row and vocabulary entry, and 24 per token that is drawn; in learning 20
                  per token and entry, as far as they are there together
    activations   in learning, for each token and layer of a micro-batch, what the backward pass needs; in sampling,
                  those of one layer

The first three are exact, the others those of Llama and Qwen2, within a tenth of what torch was seen to allocate on
a CPU (tests/settings/test_memory.py). Left out: CUDA's own memory (about 0.5 GB), merged or copied adapters, gaps
between allocations, and completions of earlier rows.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from soar_lib.engine.attention import BLOCK
from soar_lib.engine.base import choose_dtype
from soar_lib.engine.logprobs import LOGITS
from soar_lib.settings.cost import Part, by_trl, describe, size, total
from soar_lib.settings.shape import Shape, shape
from soar_lib.settings.student import BaseSettings, Phase
from soar_lib.settings.values import ConfigError

FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes: NF4 with a scale of 8 bits per 64, and theirs of 32 bits per 256


@dataclass(frozen=True)
class Machine:
    """Bytes per number of a base here, whether a GPU holds it, and the bytes that are free (None: not known)."""

    number: int
    gpu: bool
    free: int | None

    @property
    def kind(self) -> str:
        return "GPU memory" if self.gpu else "memory"


@dataclass(frozen=True)
class Memory:
    """Bytes of a phase by what holds them."""

    phase: str
    weights: int
    adapters: int
    cache: int = 0  # keys and values
    logits: int = 0
    activations: int = 0

    @property
    def certain(self) -> int:
        """The part that no shorter completion makes smaller."""
        return self.weights + self.adapters

    @property
    def total(self) -> int:
        return self.certain + self.cache + self.logits + self.activations

    def __str__(self) -> str:
        """The phase and its three largest parts."""
        parts = {"keys and values": self.cache, "logits": self.logits, "activations": self.activations}
        parts |= {"weights": self.weights, "adapters": self.adapters}
        largest = sorted(parts.items(), key=lambda part: -part[1])[:3]
        return f"{self.phase}: {', '.join(f'{name} {size(count)}' for name, count in largest)}"


def here() -> Machine:
    """How this machine would hold a base. Main memory that a new program can have is what Linux tells."""
    if torch.cuda.is_available():
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # by torch, of what was freed before
        return Machine(choose_dtype(torch.device("cuda")).itemsize, True, torch.cuda.mem_get_info()[0] + kept)
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return Machine(4, False, int(lines["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError):
        return Machine(4, False, None)


# ------------------------------------------------------------------ bytes


def weight_bytes(shape: Shape, number: int, four_bit: bool) -> int:
    quantised = shape.linear_weights if four_bit else 0
    return round((shape.parameters - quantised) * number + quantised * FOUR_BIT)


def adapter_bytes(shape: Shape, rank: int) -> int:
    """One adapter: A and B of every layer, float32."""
    return 4 * rank * sum(inputs + outputs for inputs, outputs in shape.linears)


def sampling_bytes(shape: Shape, number: int, phase: Phase) -> dict[str, int]:
    """While prompts are read or completions written, whichever is more."""
    token = 2 * number * shape.layers * shape.kv_heads * shape.head_dim  # keys and values
    read, written = phase.prompts * (phase.prompt - 1), phase.rows * -(-phase.tokens // BLOCK) * BLOCK
    layer = number * (4 * shape.hidden + max(4 * shape.intermediate, 7 * shape.heads * shape.head_dim))  # of one token
    scores = phase.rows * shape.heads * (phase.prompt + phase.tokens) * (2 * number + 4)  # before and after softmax
    logits = shape.vocabulary * (phase.rows * (number + 12) + phase.prompts * number)
    logits += 24 * phase.rows * phase.tokens  # what is drawn, with masks and random numbers
    inside = max(0, scores + phase.rows * (layer - 12 * shape.vocabulary))  # of a layer, when the last logits are gone
    reading = phase.prompts * phase.prompt * layer
    if reading > token * written + logits + inside:
        return {"cache": token * read, "activations": reading}
    return {"cache": token * (read + written), "logits": logits, "activations": inside}


def learning_bytes(shape: Shape, number: int, phase: Phase) -> dict[str, int]:
    """One micro-batch, forward and backward."""
    rows, prompts, columns, wide = phase.rows, phase.prompts, phase.prompt + phase.tokens, shape.heads * shape.head_dim
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


def hold(config: BaseSettings, phase: Phase, number: int) -> Memory:
    """What one phase of a command holds, with `number` bytes per number of the base. Raises ConfigError."""
    known = shape(config.model)
    kept = weight_bytes(known, number, config.four_bit), adapter_bytes(known, phase.ranks)
    return Memory(phase.name, *kept, **(learning_bytes if phase.optimiser else sampling_bytes)(known, number, phase))


def predict(config: BaseSettings, problems: int = 0, runs: int = 1, machine: Machine | None = None) -> Memory:
    """The largest phase of a command, on this machine where none is named; `problems` as for `cost`, `runs` as for
    `BaseSettings.phases`. Raises ConfigError where there is no prediction."""
    if by_trl(config):
        raise ConfigError("memory not predicted: not worked out for student.trainer = 'trl'")
    if config.backend == "vllm":
        raise ConfigError("memory not predicted: not worked out for backend = 'vllm', which holds the weights twice")
    number = (machine or here()).number
    return max((hold(config, phase, number) for phase in config.phases(problems, runs)), key=lambda held: held.total)


# ------------------------------------------------------------------ said before a run, or refused


def check_memory(config: BaseSettings, problems: int = 0, runs: int = 1, loaded: bool = False) -> None:
    """Raise ConfigError where the run cannot fit, with the settings to change; `loaded` says that the base is in memory
    already. A GPU must hold the whole prediction; main memory, where completions are hardly ever all of full length and
    nothing else need be in it, what is certain. A model without a prediction passes."""
    machine = here()
    try:
        most = predict(config, problems, runs, machine)
    except ConfigError:
        return
    needed = most.total if machine.gpu else most.certain
    if machine.free is None or needed <= (free := machine.free + most.weights * loaded):
        return
    raise ConfigError(
        f"{config.model} does not fit: {size(needed)} of {machine.kind} needed ({most}), {size(free)} to be had; "
        f"{_advice(config, config.phases(problems, runs), machine.number, free)}"
    )


def _advice(config: BaseSettings, phases: list[Phase], number: int, free: int) -> str:
    """The settings with which each phase fits: fewer completions at a time, if that is enough."""
    values: dict[str, int] = {}
    for phase in phases:
        if hold(config, phase, number).total <= free:
            continue
        fewer = (phase.cut(rows) for rows in range(phase.rows - 1, 0, -1))
        fits = next((part for part in fewer if hold(config, part, number).total <= free), None)
        if fits is None:
            return "use a smaller model, four_bit = true on a GPU, or adapters that are fewer or of a smaller rank"
        value = fits.rows * (fits.tokens if fits.optimiser else 1)
        values[phase.lower] = min(value, values.get(phase.lower, value))
    return f"set {' and '.join(f'{name} = {value}' for name, value in values.items())}"


def describe_memory(config: BaseSettings, problems: int = 0, runs: int = 1) -> str:
    """The predicted peak as part of a line, or why there is none; arguments as for `predict`."""
    machine = here()
    try:
        found = predict(config, problems, runs, machine)
    except ConfigError as error:
        return str(error)
    there = "" if machine.free is None else f", of {size(machine.free)} free"
    return f"at most {size(found.total)} of {machine.kind} for tensors{there} ({found})"


def predicted(*parts: Part) -> dict[str, Any]:
    """What cost.json says of the prediction: completions (the teacher's too), most tokens, hours and bytes, None where
    unknown."""
    whole, peaks = total(parts), [0]
    for part in parts:
        with contextlib.suppress(ConfigError):
            peaks.append(predict(*part).total)
    return {
        "rollouts": whole.rollouts + whole.teacher_samples, "tokens": whole.tokens, "hours": whole.hours,
        "peak_bytes": max(peaks) or None,
    }  # fmt: skip


def announce(name: str, parts: dict[str, Part], say: Callable[[str], None]) -> None:
    """Say what each part of a whole will cost, then all together, and what the largest part holds in memory. Raises
    ConfigError where a part cannot fit."""
    for part in parts.values():
        check_memory(*part)
    for part, settings in parts.items():
        say(f"{name}: {part}: {describe(total([settings]), settings[0].model)}")
    if parts:
        largest = max(parts.values(), key=lambda part: predicted(part)["peak_bytes"] or 0)
        say(f"{name}: in all {describe(total(parts.values()), largest[0].model)}")
        say(f"{name}: its largest part: {describe_memory(*largest)}")
