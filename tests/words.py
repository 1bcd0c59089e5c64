"""A tiny random model whose words are whole boxes and whole proposals, able to play student and teacher."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from soar_lib.records import Problem

BOXES = [f"\\boxed{{{digit}}}" for digit in range(8)]
PROPOSALS = [f"<question>q{digit}</question><answer>\\boxed{{{digit}}}</answer>" for digit in range(8)]
QUESTIONS = [f"q{digit}" for digit in range(8)]
WORDS = ["<pad>", "<eos>", "<unk>", "so", *BOXES, *PROPOSALS, *QUESTIONS]


def save_model(folder: Path, seed: int = 0) -> Path:
    """Write the model and its tokenizer; some completions hold a proposal, some a box, some neither."""
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def problems(count: int, prefix: str) -> list[Problem]:
    """Questions of one word, answered by the box of another digit than the teacher's, hard to hit by luck."""
    return [Problem(f"{prefix}{i}", f"q{i % 8}", str((i + 3) % 8), "words") for i in range(count)]
