"""Completions by vLLM (Kwon et al. 2023, arXiv 2309.06180), with one LoRA per slot: `backend = "vllm"`.

transformers loads the base for learning, and an engine in the same process loads the same weights again for sampling,
so they are in memory twice; on a GPU the engine takes GPU_SHARE of the memory when it starts. Adapters go to the engine
as PEFT folders, written anew for each call under numbers never used before, as the engine keeps what it has computed
under one. Not as with the other back ends:

- random numbers are vLLM's; a row's uniform numbers only give its seed. A call repeats with the same rows in it; among
  other rows, with another version of vLLM or on another device, rounding differs, and with it now and then a token;
- learning computes log-probabilities again: they differ by the rounding of the base's numbers, and nothing corrects it;
- log-probabilities of greedy completions are those of temperature 1, whatever the temperature;
- `Draw.rows` has no effect: the engine admits rows as its memory allows;
- a prompt and its completion must fit into the context that the model was made for.

An engine is built for a rank, a number of slots and a length, and anew where a call needs more. Tried on a CPU in
float32, never on a GPU, and not with Ray, whose actors would start an engine each."""

import gc
import os
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from soar_lib.engine import lora
from soar_lib.engine.lora import Adapters
from soar_lib.randomness import derive
from soar_lib.records import Draw
from soar_lib.settings.student import BaseSettings
from soar_lib.settings.values import ConfigError, explained

GPU_SHARE = 0.4  # of the GPU's memory, for the engine's weights, adapters, keys and values; the rest is for learning
LENGTH = 4096  # tokens by which the longest row grows, so that few calls ask for another engine
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM sets memory aside for
SLOTS = (8, 16, 32)  # adapters in one batch, each with memory set aside; those of larger populations take turns
TEMPERATURES = (0.01, 2.0)  # that vLLM takes as they are
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process: a call's rows are scheduled in the same way each time
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB of keys and values on a CPU, instead of a share of all memory
    "VLLM_LOGGING_LEVEL": "ERROR",
}

Completion = tuple[list[int], list[float]]  # token ids with the one that ends it, and their log-probabilities


@dataclass(frozen=True)
class Size:
    """What an engine is built for: LoRA rank, adapters in one batch, tokens of a prompt with its completion."""

    rank: int = RANKS[0]
    slots: int = SLOTS[0]
    length: int = 0

    def grown(self, other: "Size") -> "Size":
        """The smallest size that holds this one and `other`."""
        return Size(max(self.rank, other.rank), max(self.slots, other.slots), max(self.length, other.length))


class Engine:
    """vLLM on the weights of `source`, the folder or Hub id that the settings name, started by the first call; `model`
    is the same as transformers has it, `stop` its end tokens. Raises ConfigError where vLLM cannot be used here."""

    def __init__(self, config: BaseSettings, source: str, model: torch.nn.Module, stop: tuple[int, ...]):
        self.name, self.source, self.stop, self.remote_code = config.model, source, stop, config.remote_code
        self.revision = None if Path(source).is_dir() else config.revision or None
        self.device, self.dtype = model.device, model.dtype
        self.context = model.config.get_text_config().max_position_embeddings
        self.llm, self.size, self.written = None, Size(), 0
        _import(self.device)

    def complete(
        self, adapters: Adapters | None, prompts: list[list[int]], slots: list[int], group: int,
        uniforms: torch.Tensor | None, draw: Draw,
    ) -> list[Completion]:  # fmt: skip
        """The rows that `sampling.sample` asks for, in its order. Raises ConfigError where they, the temperature or the
        rank are beyond what model or vLLM allow, or the engine fails."""
        from vllm import SamplingParams

        tokens, temperature = draw.max_new_tokens, draw.temperature
        if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            raise ConfigError(
                f"temperature = {temperature}: backend = 'vllm' takes {TEMPERATURES[0]} to {TEMPERATURES[1]}; "
                "change it, or set backend = 'transformers'"
            )
        self._prepare(size(adapters, max(map(len, prompts)) + tokens, self.context, self.name))
        shared = dict(max_tokens=tokens, stop_token_ids=list(self.stop), logprobs=0, detokenize=False)
        shared["ignore_eos"] = True  # as the end token is one of `stop`
        if uniforms is None:
            params = [SamplingParams(temperature=0.0, **shared)] * (len(prompts) * group)
        else:
            params = [SamplingParams(temperature=temperature, seed=seed(row), **shared) for row in uniforms.cpu()]
        asked = [{"prompt_token_ids": prompt} for prompt in prompts for _ in range(group)]
        with tempfile.TemporaryDirectory() as folder, self._explained():
            named = self._write(adapters, sorted(set(slots)), Path(folder))
            owners = None if adapters is None else [named[slot] for slot in slots for _ in range(group)]
            outputs = self.llm.generate(asked, params, lora_request=owners, use_tqdm=False)
        drawn = [(list(output.outputs[0].token_ids), output.outputs[0].logprobs) for output in outputs]
        return [(ids, [found[token].logprob for token, found in zip(ids, rest, strict=True)]) for ids, rest in drawn]

    def _write(self, adapters: Adapters | None, slots: list[int], folder: Path) -> dict:
        """Slots as vLLM's LoRARequests, on PEFT folders inside `folder`."""
        from vllm.lora.request import LoRARequest

        named = {}
        for slot in slots if adapters is not None else ():
            self.written += 1
            path = folder / str(self.written)
            lora.save_peft(adapters, slot, path, self.name)
            named[slot] = LoRARequest(str(self.written), self.written, str(path))
        return named

    def _prepare(self, needed: Size) -> None:
        from vllm import LLM

        grown, threads = self.size.grown(needed), torch.set_num_threads
        if self.llm is not None and grown == self.size:
            return
        self.close()
        self.size = grown
        try:
            with self._explained():
                self.llm = LLM(
                    self.source, dtype=self.dtype, revision=self.revision, trust_remote_code=self.remote_code,
                    load_format="safetensors", skip_tokenizer_init=True, max_model_len=self.size.length,
                    gpu_memory_utilization=GPU_SHARE, use_tqdm_on_load=False,
                    enable_lora=True, max_lora_rank=self.size.rank, max_loras=self.size.slots,
                    logprobs_mode="processed_logprobs",  # of the distribution drawn from, temperature included
                )  # fmt: skip
        finally:
            torch.set_num_threads = threads  # which the engine takes away on a CPU

    def _explained(self) -> AbstractContextManager:
        """Errors of the engine, such as too little memory or a model whose shape it does not know, as one line."""
        advice = "where memory is short, free some, else set backend = 'transformers'"
        return explained(f"backend = 'vllm': its engine fails on model {self.name!r}", advice)

    def close(self) -> None:
        """Stop the engine and free its memory; the next call starts another."""
        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
            self.llm = None
            gc.collect()
            torch.cuda.empty_cache()


def size(adapters: Adapters | None, length: int, context: int, name: str) -> Size:
    """The size of an engine for these adapters and for rows of `length` tokens. Raises ConfigError."""
    if length > context:
        raise ConfigError(
            f"backend = 'vllm': a prompt and its completion may take {length} tokens, and model {name!r} was made for "
            f"{context}; lower max_new_tokens, or set backend = 'transformers'"
        )
    length = min(context, -(-length // LENGTH) * LENGTH)
    if adapters is None:
        return Size(length=length)
    if adapters.rank > RANKS[-1]:
        raise ConfigError(
            f"rank = {adapters.rank}: backend = 'vllm' goes to {RANKS[-1]}; lower it, or set backend = 'transformers'"
        )
    rank = next(rank for rank in RANKS if rank >= adapters.rank)
    return Size(rank, next((slots for slots in SLOTS if slots >= adapters.size), SLOTS[-1]), length)


def seed(uniforms: torch.Tensor) -> int:
    """A row's seed from its first uniform numbers, of 24 random bits each; four, so that no two rows share one."""
    return derive("vllm", *(int(number * 2**24) for number in uniforms[:4].tolist()))


def _import(device: torch.device) -> None:
    """Import vLLM with the settings that it reads from the environment, where they are not set already."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    advice = "install the version that pyproject.toml pins, or set backend = 'transformers'"
    with explained("backend = 'vllm': cannot be imported", advice):  # as a build for another torch or machine
        import vllm  # noqa: F401
        from vllm.platforms import current_platform

        kind = current_platform.device_type
    if kind != device.type or device.index:
        raise ConfigError(
            f"backend = 'vllm': the base is on {device}, but vLLM computes on {kind or 'no device'} here; "
            "install its build for this machine, choose a GPU by CUDA_VISIBLE_DEVICES, or set backend = 'transformers'"
        )
