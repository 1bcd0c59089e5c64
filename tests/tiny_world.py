"""A tiny model that can write and half solve sums such as 3+4=?, trained here in seconds, for tests of whole runs."""

import json
import random
from pathlib import Path

import tiny
import torch

from soar_lib.problems.prompts import student_messages, teacher_messages
from soar_lib.settings.student import preset
from soar_lib.soar.settings import SoarConfig

TEMPLATE = "<user>{{ messages[0]['content'][-10:] }}{% if add_generation_prompt %}<bot>{% endif %}"
SETTINGS = {
    "dtype": "float32",
    "rounds": 4, "repeats": 2, "dataset_size": 4, "reward_set": 12, "reward_samples": 2, "window": 2, "threshold": 0.1,
    "student.max_new_tokens": 12, "student.optimiser.learning_rate": 1e-2, "student.optimiser.kl": 0.01,
    "teacher.max_new_tokens": 64, "teacher.draw": 8,
}  # fmt: skip


def settings(folder: Path, **changes) -> SoarConfig:
    """A SOAR run of seconds on the world in `folder`."""
    where = {"model": str(folder / "model"), "problems": str(folder / "sums.jsonl")}
    return preset("smoke", SoarConfig, **(SETTINGS | where | changes))


def _document(rng: random.Random) -> tuple[list[dict], str]:
    """(messages, completion); one teacher text in eight is malformed."""
    a, b = rng.randrange(1, 10), rng.randrange(1, 10)
    if rng.random() < 0.5:
        return student_messages(f"{a}+{b}=?"), f"\\boxed{{{a + b}}}"
    close = "</answer>" if rng.random() < 0.875 else ""
    return teacher_messages(), f"<question>{a}+{b}=?</question><answer>\\boxed{{{a + b}}}{close}"


def _batch(tokenizer, rng: random.Random, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows, labels = [], []
    for _ in range(size):
        messages, completion = _document(rng)
        head = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        tail = tokenizer.encode(completion, add_special_tokens=False) + [tokenizer.eos_token_id]
        rows.append(torch.tensor(head + tail))
        labels.append(torch.tensor([-100] * len(head) + tail))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, True, tokenizer.pad_token_id), pad(labels, True, -100)


def build(folder: Path, steps: int = 150) -> None:
    """Train the model and save it in folder/model, and 40 sums in folder/sums.jsonl."""
    rng, tokenizer = random.Random(0), tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE
    model = tiny.model().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(steps):
        ids, labels = _batch(tokenizer, rng, 24)
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    model.eval().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    sums = rng.sample([(a, b) for a in range(1, 10) for b in range(1, 10)], 40)
    lines = [json.dumps({"id": f"{a}+{b}", "problem": f"{a}+{b}=?", "answer": str(a + b)}) for a, b in sums]
    (folder / "sums.jsonl").write_text("\n".join(lines) + "\n")
