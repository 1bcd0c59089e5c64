"""A tiny random model with a character tokenizer, for tests that need no trained weights."""

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from tokenizers.decoders import Fuse
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from soar_lib.engine import base as bases
from soar_lib.engine.lora import Adapters

SPECIALS = ["<pad>", "<eos>", "<user>", "<bot>"]
TEMPLATE = "<user>{{ messages[0]['content'] }}{% if add_generation_prompt %}<bot>{% endif %}"


def tokenizer() -> PreTrainedTokenizerFast:
    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {text: index for index, text in enumerate(SPECIALS + characters)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    core.decoder = Fuse()
    result = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    result.add_special_tokens({"additional_special_tokens": ["<user>", "<bot>"]})
    result.chat_template = TEMPLATE
    return result


def model(kind: str = "llama", seed: int = 0, layers: int = 2):
    """Random weights, large enough that distributions are far from uniform and completions end now and then."""
    torch.manual_seed(seed)
    shape = dict(
        vocab_size=100, hidden_size=32, intermediate_size=48, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=1, pad_token_id=0, bos_token_id=None,
        initializer_range=0.15, tie_word_embeddings=True,
    )  # fmt: skip
    result = LlamaForCausalLM(LlamaConfig(**shape)) if kind == "llama" else Qwen2ForCausalLM(Qwen2Config(**shape))
    return result.eval()


def base(kind: str = "llama", seed: int = 0, layers: int = 2) -> bases.Base:
    return bases.assemble(model(kind, seed, layers), tokenizer(), "tiny")


def adapters(on: bases.Base, size: int, seed: int = 0, rank: int = 4, spread: float = 0.2) -> Adapters:
    """Adapters that differ from each other and from the base (B is not zero)."""
    draw = torch.Generator().manual_seed(seed)
    result = Adapters.create(on.model, size, rank, 2 * rank, draw, same=False)
    with torch.no_grad():
        for b in result.b.values():
            b.copy_(spread * torch.randn(b.shape, generator=draw))
    return result


ASKED = [f"<question>{sum}</question><answer>\\boxed{{" for sum in ("1+2", "2+2", "3+1")]
WRITER = [*SPECIALS, "?", *"01234", "+", *ASKED, *(f"{digit}}}</answer>" for digit in range(5)), "\\boxed{"]


def writer(folder) -> str:
    """A folder with a random Llama over so few words that it hits the formats of teacher and student by chance."""
    core = Tokenizer(models.WordLevel({text: index for index, text in enumerate(WRITER)}, unk_token="?"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Split(Regex("."), "isolated"), Fuse()
    words = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    words.add_special_tokens({"additional_special_tokens": ["<user>", "<bot>"]})
    words.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )  # fmt: skip
    ends = dict(eos_token_id=1, pad_token_id=0, bos_token_id=None, tie_word_embeddings=False, initializer_range=0.02)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(WRITER), **shape, **ends)).save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)
