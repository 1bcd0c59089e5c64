"""The base model: one frozen causal language model with its tokenizer, under every policy of a run.

This is the only place that knows where models come from. "nano" is the model shipped in the package; any other name is
a local folder or a Hub id. Weights are read from safetensors only and no code from a model's repository is run.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from soar_lib.config import ConfigError

NANO = Path(__file__).parent.parent / "nano" / "weights"


@dataclass(frozen=True)
class Base:
    """A frozen model in evaluation mode, its tokenizer, and the token ids that end a completion."""

    model: torch.nn.Module
    tokenizer: object
    name: str
    device: torch.device
    pad: int
    stop: tuple[int, ...]

    def encode(self, messages: list[dict]) -> list[int]:
        return encode(self, messages)


def load(name: str, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Base:
    """Load model and tokenizer by name.

    Without `device`, the first GPU where there is one, otherwise the CPU. Without `dtype`, bfloat16 on a GPU that has
    it and float32 elsewhere. Raises FileNotFoundError for a missing folder, ConfigError for a model that cannot chat.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if dtype is None:
        dtype = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    source = _source(name)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    return assemble(model.to(device), tokenizer, name)


def assemble(model: torch.nn.Module, tokenizer, name: str) -> Base:
    """A Base around a model and tokenizer already in memory (a quantised one, or a tiny one in a test).

    A tokenizer without a padding token pads with its end token; padding is masked everywhere, so the choice is free.
    """
    if tokenizer.chat_template is None:
        raise ConfigError(f"model {name!r}: its tokenizer has no chat template; use an instruct or chat model")
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"model {name!r}: its tokenizer has no end-of-sequence token; set tokenizer.eos_token")
    declared = model.generation_config.eos_token_id
    declared = declared if isinstance(declared, list) else [declared]
    stop = {tokenizer.eos_token_id, *(token for token in declared if token is not None)}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    model.eval().requires_grad_(False)
    return Base(model, tokenizer, name, model.device, pad, tuple(sorted(stop)))


def encode(base: Base, messages: list[dict]) -> list[int]:
    """Token ids of chat messages, ending where the assistant's answer begins."""
    return base.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)


def _source(name: str) -> str:
    """Folder or Hub id of a model's name; a name that looks like a path must exist."""
    path = NANO if name == "nano" else Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if name == "nano" or path.is_absolute() or name.startswith(("./", "../", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"model {name!r}: no folder {path}; give an existing folder or a Hub id (owner/name)")
    return name
