"""The base model: one frozen causal language model with its tokenizer, under every policy of a run.

Only here is it known which model a name means: "nano" and its like are shipped in the package, any other name is a
local folder or a Hub id. How it is read, and what can go wrong then, is in backends.py."""

import re
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from soar_lib.settings.student import SHIPPED, BaseSettings, loader, precision, template_arguments
from soar_lib.settings.values import ConfigError, first_line, folder_of, revision
from soar_lib.verifier.spelling import THINK, unfinished

ADVICE = "raise max_new_tokens, or set template = ['enable_thinking=false'] where the model can do without"


@dataclass(frozen=True)
class Base:
    """A frozen model in evaluation mode, its tokenizer, and the token ids that end a completion."""

    model: torch.nn.Module
    tokenizer: object
    name: str
    device: torch.device
    pad: int
    stop: tuple[int, ...]
    graphs: bool = False  # decoding steps are recorded as CUDA graphs and replayed (graphs.py)
    start: Any = None  # the adapter (lora.Adapters of one slot) that stands for the untrained model; None: no adapter
    template: dict[str, Any] = field(default_factory=lambda: template_arguments(BaseSettings()))  # of the chat template
    engine: Any = None  # with the backend "vllm": the vllm.Engine that completes prompts in the model's place

    def encode(self, messages: list[dict]) -> list[int]:
        """Token ids of chat messages, ending where the assistant's answer begins. Control tokens that a content spells
        out are split, so that no problem can end its turn."""
        messages = [message | {"content": self.split_control(message["content"])} for message in messages]
        options = dict(add_generation_prompt=True, tokenize=True, return_dict=False)
        return self.tokenizer.apply_chat_template(messages, **options, **self.template)

    @property
    def begins(self) -> str:
        """How a completion begins in the prompt already: <think>, where the chat template opens one, or nothing."""
        options = dict(add_generation_prompt=True, tokenize=False)
        prompt = self.tokenizer.apply_chat_template([{"role": "user", "content": ""}], **options, **self.template)
        return THINK if unfinished(prompt) else ""

    def texts(self, rows: list[list[int]]) -> list[str]:
        """Completions as text without special tokens, with their prompt's <think>. Warns where most end inside it."""
        found = [self.begins + text for text in self.tokenizer.batch_decode(rows, skip_special_tokens=True)]
        if 2 * sum(map(unfinished, found)) > len(found):
            warnings.warn(f"most completions of {self.name} end inside <think>: their boxes earn nothing; {ADVICE}")
        return found

    @cached_property
    def control(self) -> re.Pattern:
        """What the tokenizer reads as one of its control tokens wherever it stands in a text."""
        tokens = self.tokenizer.added_tokens_decoder.values()
        texts = [token.content for token in tokens if token.special and len(token.content.strip()) > 1]
        return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")

    def split_control(self, text: str) -> str:
        """The text with a space after the first character of each control token: `< |im_end|>`."""
        while self.control.search(text):
            text = self.control.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", text)
        return text


def load(name: str, device: str | torch.device | None = None, **settings: Any) -> Base:
    """The frozen model of a name (a shipped one, a folder or a Hub id), with further `BaseSettings`, on `device` (None:
    the first GPU, else the CPU). Raises FileNotFoundError for a missing folder, ConfigError for what cannot be used."""
    return load_for(BaseSettings(name, **settings), device)


def load_for(config: BaseSettings, device: str | torch.device | None = None) -> Base:
    """The frozen model that a command's settings name, with the adapter it starts from, on `device` (None: the first
    GPU, else the CPU). Raises FileNotFoundError for a missing folder, ConfigError for what cannot be had or used."""
    source, backend = _source(config.model), loader(config.backend)
    if config.graphs and backend == "vllm":
        raise ConfigError("graphs = True: with backend = 'vllm' the decoding steps are vLLM's; set graphs = false")
    from soar_lib.engine import backends  # a run imports it only to read a base

    device = backends.choose_device(device, backend, config.four_bit)
    if (config.backend, backend) == ("auto", "transformers"):
        why = "is not installed" if torch.cuda.is_available() else "needs a GPU, and torch sees none"
        warnings.warn(f"backend = 'auto': {config.model} is loaded by transformers, as Unsloth {why}", stacklevel=3)
    if config.graphs and device.type != "cuda":
        raise ConfigError("graphs = True: needs a GPU, whose steps can be recorded; set graphs = false")
    config = replace(config, revision=revision(config.model, config.revision))
    dtype = getattr(torch, precision(config.model, config.dtype, device.type == "cuda"))
    model, tokenizer = backends.read(config, source, device, dtype)
    base = assemble(model, tokenizer, config.model)
    base = replace(base, graphs=config.graphs, template=template_arguments(config))
    if backend == "vllm":
        from soar_lib.engine.vllm import Engine

        base = replace(base, engine=Engine(config, source, model, base.stop))
    _check_chat(base)
    if not config.start:
        return base
    from soar_lib.engine import lora

    folder = Path(folder_of(config.start)).expanduser()
    base = replace(base, start=lora.load_start(folder, base.name, base.model))
    for part in (config, *(vars(config)[name] for name in ("student", "teacher") if name in vars(config))):
        if "rank" in vars(part):  # an error before anything is written
            lora.begin(base, part, torch.Generator())
    return base


def _check_chat(base: Base) -> None:
    """Raise ConfigError where the chat template fails or writes unknown tokens; warn where it leaves questions out."""
    rows, advice = base.model.get_input_embeddings().num_embeddings, "choose another model, or mend its chat template"
    asked = [{"role": "user", "content": "What is 1 + 2?"}]
    try:
        ids = base.encode(asked)
        prompt = base.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False, **base.template)
    except Exception as error:  # whatever a template raises
        raise ConfigError(f"model {base.name!r}: its chat template fails ({first_line(error)}); {advice}") from error
    if asked[0]["content"] not in prompt:
        warnings.warn(f"model {base.name!r}: its chat template leaves the question out; {advice}", stacklevel=3)
    if max(ids) >= rows:
        raise ConfigError(f"model {base.name!r}: its chat template writes token {max(ids)} of {rows}; {advice}")


def assemble(model: torch.nn.Module, tokenizer, name: str) -> Base:
    """A Base around a model and tokenizer already in memory. Raises ConfigError where they cannot chat."""
    if tokenizer.chat_template is None:
        raise ConfigError(f"model {name!r}: its tokenizer has no chat template; use an instruct or chat model")
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"model {name!r}: its tokenizer has no end-of-sequence token; set tokenizer.eos_token")
    declared = model.generation_config.eos_token_id
    stop = {tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}
    rows = model.get_input_embeddings().num_embeddings
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    asked = tokenizer.get_vocab().keys() - special | {tokenizer.eos_token}  # `encode` splits the special ones
    last, token = max((tokenizer.convert_tokens_to_ids(token), token) for token in asked)
    if last >= rows:
        raise ConfigError(
            f"model {name!r}: its tokenizer's {token!r} is number {last}, but the model knows {rows} tokens; take the "
            "tokenizer that was published with the model"
        )
    model.eval().requires_grad_(False)
    return Base(model, tokenizer, name, model.device, padding(tokenizer, rows), tuple(sorted(stop)))


def padding(tokenizer, rows: int) -> int:
    """The token that fills batches up, for a model that knows `rows` tokens: masked, but looked up. The tokenizer's own
    where the model knows it, else one set aside for padding (as Llama 3's), else the end token."""
    aside = sorted(number for token, number in tokenizer.get_added_vocab().items() if "pad" in token.lower())
    own = [] if tokenizer.pad_token_id is None else [tokenizer.pad_token_id]
    return next(number for number in (*own, *aside, tokenizer.eos_token_id) if number < rows)


def _source(name: str) -> str:
    """Folder or Hub id of a model's name; a name that looks like a path must exist."""
    path = SHIPPED.get(name) or Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if name in SHIPPED or path.is_absolute() or name.startswith(("./", "../", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"model {name!r}: no folder {path}; give an existing folder or a Hub id (owner/name)")
    return name
