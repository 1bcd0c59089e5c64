"""Train nano from a seed: `python -m tools.pretrain --world nano2 --out FOLDER [--steps N --threads T]`.

A small Llama-architecture decoder is trained on documents of the embedded world; the loss is taken on completions
alone. The run is resumable: a checkpoint is written every CHECKPOINT steps, and document i depends on (seed, i) alone,
so an interrupted run continues as if it had not been. Weights are safetensors, loadable as any other causal model.

A prior of the teacher is a short further training of a finished model on documents with other proposals. So the models
of the second world are made by

    python -m tools.pretrain --world nano2-base --steps 1700 --out BASE
    python -m tools.pretrain --world nano2 --start BASE --steps 200 --out soar_lib/nano/weights2
    python -m tools.pretrain --world nano2-plain --start BASE --steps 200 --out soar_lib/nano/weights2_plain
    python -m tools.pretrain --world nano2-calculus --start BASE --steps 1200 --out soar_lib/nano/weights2_calculus
"""

import argparse
import json
import math
import os
import random
import time
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import LlamaConfig, LlamaForCausalLM

from soar_lib.randomness import derive
from tools import documents, documents2, tokenizer

SHAPE = dict(hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4)
TOKENS_PER_STEP = 6_400
LEARNING_RATE = 3e-3
WARMUP = 100
CHECKPOINT = 250
FURTHER = 0.3  # share of the learning rate in a further training
# Spread of an untied output head at the start. Two tokens between which the documents leave the choice to chance (signs
# of care and of haste) stay as far apart as they began, and the farther, the faster practice chooses: from 0.02,
# sixteen steps hardly moved two skills of five.
HEAD = 0.1
CHUNK = 8  # steps whose documents are drawn together and sorted by length, so that little is padding

WORLDS = {
    "nano": (documents.document, tokenizer.build),
    **{name: (partial(documents2.document, prior=it), documents2.tokens) for name, it in documents2.PRIORS.items()},
}  # what a model is trained on, and its tokenizer


def create(vocabulary: int, seed: int, tied: bool = True) -> LlamaForCausalLM:
    """The untrained model; `tied`: its output head is its embeddings."""
    torch.manual_seed(derive(seed, "nano"))
    config = LlamaConfig(
        vocab_size=vocabulary, max_position_embeddings=1024, tie_word_embeddings=tied, rope_theta=10_000.0,
        pad_token_id=0, eos_token_id=1, bos_token_id=None, **SHAPE,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    if not tied:
        torch.nn.init.normal_(model.lm_head.weight, std=HEAD)
    return model


def encoded(write, tok, index: int, seed: int) -> tuple[list[int], int]:
    """Document `index` of the function `write` as token ids, and the length of its prompt."""
    messages, completion = write(random.Random(derive(seed, "document", index)))
    prompt = tok.encode(tok.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    return prompt + tok.encode(completion) + [tok.eos_token_id], len(prompt)


def batches(world: str, seed: int, start: int):
    """Batches (ids [N, T], labels [N, T]) from chunk `start` on; a chunk holds about CHUNK * TOKENS_PER_STEP tokens."""
    (write, build), chunk = WORLDS[world], start
    tok = build()
    while True:
        docs, tokens = [], 0
        while tokens < CHUNK * TOKENS_PER_STEP:
            docs.append(encoded(write, tok, chunk * 100_000 + len(docs), seed))
            tokens += len(docs[-1][0])
        docs.sort(key=lambda doc: len(doc[0]))
        groups = _cut(docs, tokens / CHUNK)
        random.Random(derive(seed, "chunk", chunk)).shuffle(groups)
        yield from map(_padded, groups)
        chunk += 1


class _Stream(IterableDataset):
    """`batches` in a worker process, so that drawing documents does not wait for the optimiser."""

    def __init__(self, *where):
        self.where = where

    def __iter__(self):
        return batches(*self.where)


def _cut(docs: list, size: float) -> list[list]:
    """Exactly CHUNK groups of about `size` tokens, in order."""
    groups, total = [[] for _ in range(CHUNK)], 0
    for doc in docs:
        groups[min(int(total / size), CHUNK - 1)].append(doc)
        total += len(doc[0])
    return groups


def _padded(docs: list) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(ids) for ids, _ in docs)
    ids = torch.zeros(len(docs), width, dtype=torch.long)
    labels = torch.full((len(docs), width), -100)
    for row, (tokens, prompt) in enumerate(docs):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, prompt : len(tokens)] = torch.tensor(tokens[prompt:])
    return ids, labels


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up over WARMUP steps, or a tenth of a shorter training; then cosine to a tenth."""
    warmup = min(WARMUP, steps // 10)
    if step < warmup:
        return LEARNING_RATE * (step + 1) / warmup
    return LEARNING_RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))))


def optimisers(model) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, where it needs about half of AdamW's steps; AdamW for embeddings and norms."""
    hidden = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if all(p is not one for one in hidden)]
    muon = torch.optim.Muon(hidden, lr=LEARNING_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    return [muon, torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)]


def train(out: Path, world: str, steps: int, seed: int, start: Path | None = None) -> None:
    """Train (or go on training) into `out`: state.pt while it runs, the finished model beside it. `start` is the model
    that a further training begins with, at a lower learning rate."""
    out.mkdir(parents=True, exist_ok=True)
    tok = WORLDS[world][1]()
    model = LlamaForCausalLM.from_pretrained(start) if start else create(len(tok), seed, tied=world == "nano")
    optimizers = optimisers(model)
    first = _resume(out / "state.pt", model, optimizers)
    stream, began, tokens = iter(DataLoader(_Stream(world, seed, first // CHUNK), None, num_workers=1)), time.time(), 0
    for step in range(first, steps):
        ids, labels = next(stream)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(step, steps) * (FURTHER if start else 1)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        tokens += ids.numel()
        if (step + 1) % 50 == 0:
            rate = tokens / (time.time() - began)
            row = dict(step=step + 1, loss=round(loss.item(), 4), tokens_per_second=round(rate))
            print(json.dumps(row), flush=True)
        if (step + 1) % CHECKPOINT == 0 or step + 1 == steps:
            _save(out, model, optimizers, tok, step + 1)


def _resume(path: Path, model, optimizers: list) -> int:
    if not path.exists():
        return 0
    state = torch.load(path)
    model.load_state_dict(state["model"])
    for optimizer, values in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(values)
    return state["step"]


def _save(out: Path, model, optimizers: list, tok, step: int) -> None:
    temporary = out / "state.tmp"
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save(dict(step=step, model=model.state_dict(), optimizers=states), temporary)
    os.replace(temporary, out / "state.pt")
    model.save_pretrained(out)
    tok.save_pretrained(out)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model and its checkpoints")
    parser.add_argument("--world", choices=list(WORLDS), default="nano", help="what the model is trained on")
    parser.add_argument("--start", type=Path, help="the finished model that a further training begins with")
    parser.add_argument("--steps", type=int, default=1400, help="optimiser steps of 6,400 tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.out, options.world, options.steps, options.seed, options.start)


if __name__ == "__main__":
    main()
