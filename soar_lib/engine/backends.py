"""Where a base's weights come from, and what can go wrong on the way.

    transformers    any causal model; float32 on a CPU, bfloat16 on a GPU that has it
    four_bit        its linear layers in 4 bits by bitsandbytes (NF4 with double quantisation: QLoRA, arXiv 2305.14314)
    unsloth         the same weights, in 4 bits too, loaded by Unsloth with its patches for small GPUs
    vllm            as transformers for learning, and once more by vLLM for sampling (engine/vllm.py)

Of Unsloth our shared-prompt attention asks for `FastModel`, uncompiled: FastLanguageModel replaces the attention of
Llama and its kin by functions that know nothing of `attention.py`, and `check_layers` refuses such a model. Unsloth
runs on a CPU from 2026.10.9 on, by transformers underneath, for trying out; on a GPU this path was never run by us.

bitsandbytes, Unsloth and vLLM are imported only where they are asked for. Weights are read from safetensors alone, and
code from a model's repository is run only with `remote_code`. All that a user can mend is a ConfigError of one line."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_token
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from soar_lib.engine.attention import Prefill, shared_prompts
from soar_lib.engine.lora import TARGETS
from soar_lib.settings.student import BaseSettings, loader
from soar_lib.settings.values import ConfigError, explained, first_line, network

POINTER = b"version https://git-lfs"  # how a file begins that Git LFS has left out
CONTEXT = 4096  # tokens; Unsloth sizes its tables by it and lengthens them on demand


def choose_device(device: str | torch.device | None, backend: str, four_bit: bool) -> torch.device:
    """The device asked for, else the first GPU, else the CPU. Raises ConfigError: an absent library, settings
    that exclude each other, or no GPU for what would be slow without one (`device="cpu"` says that it may)."""
    wanted = {}  # setting: the package that it needs, its extra, and the setting to do without
    if backend != "transformers":
        wanted[f"backend = {backend!r}"] = backend, backend, "backend = 'transformers'"
    if four_bit:
        wanted["four_bit = True"] = "bitsandbytes", "four-bit", "four_bit = false"
    if wanted and device is None and not torch.cuda.is_available():
        advice = "run it where there is one, or set backend = 'transformers' and four_bit = false"
        raise ConfigError(f"{next(iter(wanted))}: needs a GPU, and torch sees none; {advice}")
    if four_bit and backend == "vllm":
        other = "backend = 'vllm' would sample from other weights than those in 4 bits"
        raise ConfigError(f"four_bit = True: {other}; set four_bit = false or backend = 'transformers'")
    for setting, (package, extra, without) in wanted.items():
        if importlib.util.find_spec(package) is None:
            absent = f'needs {package}, which is not installed; pip install "soar-lib[{extra}]"'
            raise ConfigError(f"{setting}: {absent}, or set {without}")
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def read(config: BaseSettings, source: str, device: torch.device, dtype: torch.dtype) -> tuple[torch.nn.Module, Any]:
    """Model and tokenizer of `source`, a folder or Hub id that messages call by the settings' name. The tokenizer is
    transformers' with each backend, so that prompts are the same. Raises ConfigError."""
    load = _unsloth if loader(config.backend) == "unsloth" else _transformers
    options = dict(trust_remote_code=config.remote_code)
    if not Path(source).is_dir():
        options["revision"] = config.revision or "main"
    try:
        AutoConfig.from_pretrained(source, **options)  # first, as its errors say most
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model = load(source, device, dtype, config.four_bit, options)
    except ConfigError:
        raise
    except Exception as error:  # of transformers, the Hub and damaged files
        raise ConfigError(f"model {config.model!r}: {_reason(config.model, Path(source), error)}") from error
    if config.four_bit:
        _check_four_bit(model, config.model)
    check_layers(model, config.model)
    return model, tokenizer


def _transformers(source: str, device: torch.device, dtype: torch.dtype, four_bit: bool, options: dict[str, Any]):
    options = options | dict(dtype=dtype, use_safetensors=True)
    if four_bit:  # must go to its device while it is read
        quantised = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        options |= dict(quantization_config=quantised, device_map={"": device})
    model, found = AutoModelForCausalLM.from_pretrained(source, output_loading_info=True, **options)
    if lacking := sorted(found["missing_keys"]):  # transformers would draw them at random
        names = f"{', '.join(lacking[:3])}{', ...' * (len(lacking) > 3)}"
        raise ValueError(f"its files lack {len(lacking)} of its weights: {names}")
    return model if four_bit else model.to(device)


def _unsloth(source: str, device: torch.device, dtype: torch.dtype, four_bit: bool, options: dict[str, Any]):
    os.environ.setdefault("UNSLOTH_COMPILE_DISABLE", "1")  # compiled attention would bake one layout in
    if device.type == "cpu":
        os.environ["UNSLOTH_FORCE_CPU"] = "1"
    advice = "where torchvision is at fault, a build for another torch, pip uninstall torchvision"
    with explained("backend = 'unsloth': cannot be imported", f"{advice}; or set backend = 'transformers'"):
        from unsloth import FastModel
    model, _ = FastModel.from_pretrained(
        model_name=source, max_seq_length=CONTEXT, dtype=dtype, load_in_4bit=four_bit,
        use_gradient_checkpointing=False, use_safetensors=True, device_map={"": device},
        use_exact_model_name=True,  # else another repository's quantised weights take the place of the named ones
        **options,
    )  # fmt: skip
    return model


def _check_four_bit(model: torch.nn.Module, name: str) -> None:
    """Unsloth falls back to 16 bits in silence where bitsandbytes fails; we do not."""
    from bitsandbytes.nn import Linear4bit

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    if not layers:
        raise ConfigError(f"four_bit = True: no layer of model {name!r} could be read in 4 bits; set four_bit = false")
    for layer in layers if model.device.type == "cpu" else ():
        layer.support_avx512bf16_for_cpu = False  # it would repack the weights in place, and gradients come out wrong


def check_layers(model: torch.nn.Module, name: str) -> None:
    """Raise ConfigError where the model has no layers for adapters, computes no numbers, or its layers do not ask
    transformers' attention interface, so that what it sampled would come from no model."""
    if not any(part.rpartition(".")[2] in TARGETS for part, _ in model.named_modules()):
        lacking = f"{type(model).__name__} has no layers named {', '.join(TARGETS)}, which adapters sit on"
        raise ConfigError(f"model {name!r}: {lacking}; choose a model of Llama's or Qwen2's kind")
    layout, ids = Prefill(), torch.zeros(1, 2, dtype=torch.long, device=model.device)
    positions = torch.arange(2, device=model.device)[None]
    with torch.no_grad(), shared_prompts(model):
        logits = model(input_ids=ids, position_ids=positions, layout=layout, use_cache=False, logits_to_keep=1).logits
    if not logits.isfinite().all():
        raise ConfigError(f"model {name!r}: its weights are not all numbers (NaN or infinite); take another copy of it")
    if len(layout.keys) != model.config.get_text_config().num_hidden_layers:
        own = f"{type(model).__name__} has an attention of its own, which shared prompts cannot use"
        advice = "set backend = 'transformers', or choose a model of Llama's or Qwen2's kind"
        raise ConfigError(f"model {name!r}: as it is loaded, {own}; {advice}")


def _reason(name: str, folder: Path, error: BaseException) -> str:
    """What is wrong with a model that cannot be read, and what to do."""
    starts = {path.name: path.open("rb").read(len(POINTER)) for path in folder.glob("*") if path.is_file()}
    if left_out := [file for file, start in starts.items() if start == POINTER]:
        return f"its {left_out[0]} is a pointer of Git LFS and not the file; run git lfs pull in the folder"
    text, check, chain = str(error), "" if Path(name).expanduser().is_dir() else network(), [error]
    while link := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(link)

    def came_of(*kinds: type) -> bool:
        return any(isinstance(link, kinds) for link in chain)

    if came_of(GatedRepoError):
        page = f"https://huggingface.co/{name}"
        if get_token() is None:
            return f"is gated; accept its licence at {page}, then hf auth login or set HF_TOKEN"
        return f"is gated, and your token has no access to it; accept its licence at {page} with the same account"
    if came_of(RepositoryNotFoundError):
        return "is not on the Hub, or private; check its name, and for a private one hf auth login or set HF_TOKEN"
    if came_of(LocalEntryNotFoundError, ConnectionError):
        return f"was not downloaded before, and the Hub cannot be reached; {check}connect once, or name a local folder"
    if came_of(SafetensorError):
        return f"its weights are cut off or damaged ({first_line(error)}); copy or download them again"
    if "model.safetensors" in text:
        why = "none other are read, as a pickle (pytorch_model.bin) can run code"
        advice = "convert it with save_pretrained where that may happen, or choose another model"
        return f"has no safetensors weights, and {why}; {advice}"
    if "trust_remote_code" in text:
        return "needs code from its repository, which is not run; set remote_code = true if you trust that code"
    return f"cannot be loaded ({first_line(error)}); {check}choose another model or the folder of one"
