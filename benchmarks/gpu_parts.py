"""The parts of an outer step as gpu.py measures them: each stage runs the library's own functions on some of the work,
under a clock, and says how much of the whole it did.
"""

import argparse
import functools
import importlib.util
import json
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import ceilings
import pandas as pd
import torch
from ceilings import Work
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from soar_lib.engine import backends, base
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import sample
from soar_lib.engine.update import make_learner
from soar_lib.files import read_table
from soar_lib.meter import Meter, metered
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import derive, generator, uniforms
from soar_lib.records import Draw, Problem
from soar_lib.settings.memory import KNOWN, shape_of
from soar_lib.settings.student import precision
from soar_lib.settings.values import ConfigError
from soar_lib.soar import rewards, teacher
from soar_lib.soar import run as soar
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import Lesson

ROOT = Path(__file__).parents[1]
ROLLOUTS = Path(__file__).parent / "data" / "nano_rollouts.jsonl"
REFERENCE = ROOT / "runs" / "reference" / "study" / "grounded"
LLAMA, NAME = "llama-3.2-3b", "meta-llama/Llama-3.2-3B-Instruct"
_TINY = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
MODELS = {
    LLAMA: json.loads((KNOWN[NAME] / "config.json").read_text()),
    "tiny-llama": {"model_type": "llama", "vocab_size": 256, **_TINY},
    "tiny-qwen": {"model_type": "qwen2", "vocab_size": 256, **_TINY},
}  # fmt: skip


class Clock:
    """Time, tokens drawn and peak memory of the parts, one after another."""

    def __init__(self):
        self.parts: dict[str, list[Meter]] = {}
        self.running = ExitStack()

    def start(self, part: str) -> None:
        self.stop()
        meter = self.running.enter_context(metered(os.devnull, {}))  # no run folder, so nothing is written
        self.running.callback(ceilings.synchronize)
        self.parts.setdefault(part, []).append(meter)

    def stop(self) -> None:
        self.running.close()

    def total(self, part: str) -> Meter:
        meters = self.parts[part]
        return Meter(
            tokens=sum(meter.tokens for meter in meters), seconds=sum(meter.seconds for meter in meters),
            peak_bytes=max(meter.peak_bytes for meter in meters),
        )  # fmt: skip


def random_base(model: str, backend: str = "transformers") -> Base:
    """A model of `MODELS` with random weights and the shipped model's tokenizer, which no token stops."""
    device = backends.choose_device(None, backend, four_bit=False)
    values, tokenizer = dict(MODELS[model]), AutoTokenizer.from_pretrained(base.SHIPPED["nano"])
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(derive("gpu", "weights"))
        dtype = getattr(torch, precision("", "auto", device.type == "cuda"))
        weights = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if backend == "transformers":
        return replace(base.assemble(weights, tokenizer, model), stop=(-1,))
    with tempfile.TemporaryDirectory() as folder:
        weights.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        del weights
        return replace(base.load(folder, backend=backend), stop=(-1,))


def questions(on: Base, count: int, length: int) -> list[Problem]:
    """Different problems whose prompts have `length` tokens: a digit is one token."""
    digits = max(4, length - len(on.encode(student_messages(""))))
    return [Problem(str(number), f"{number:0{digits}d}", "0") for number in range(count)]


def random_rewards(golds: list[str], responses: list[str]) -> list[float]:
    return uniforms((len(golds),), "gpu", "rewards").tolist()


# ------------------------------------------------------------------ parts


@dataclass(frozen=True)
class Done:
    """How much of a part was measured: tokens or completions of how many, the least work in it, and what to know."""

    amount: int
    whole: float
    work: Work | None
    note: str


def training(config: SoarConfig) -> int:
    """Completions of all students in an outer step."""
    return config.datasets * config.repeats * config.student.steps * config.student.batch * config.student.group


def measuring(config: SoarConfig) -> int:
    """Completions on the reward set in an outer step."""
    return (config.datasets * config.repeats + 1) * config.reward_set * max(1, config.reward_samples)


def students(on: Base, config: SoarConfig, options: argparse.Namespace, clock: Clock) -> dict[str, Done]:
    """Sampling and learning: as many questions per student as fill `options.rows`, in `options.steps` steps."""
    count, group = config.datasets * config.repeats, config.student.group
    batch = min(config.student.batch, max(1, options.rows // (count * group)))
    settings = replace(config.student, steps=options.steps, batch=batch, max_new_tokens=options.tokens)
    asked = questions(on, config.datasets * config.dataset_size, options.prompt)
    sets = [asked[k :: config.datasets] for k in range(config.datasets) for _ in range(config.repeats)]
    adapters = Adapters.create(on.model, count, settings.rank, settings.alpha, generator("gpu", "students"))

    def reward(golds: list[str], responses: list[str]) -> list[float]:
        clock.start("learning")
        return random_rewards(golds, responses)

    clock.start("sampling")
    lessons = [Lesson(problems, ("gpu", "student", slot)) for slot, problems in enumerate(sets)]
    student.train(on, adapters, lessons, settings, reward, options.rows, lambda *_: clock.start("sampling"))
    clock.stop()
    drawn, shape, kl = clock.total("sampling").tokens, shape_of(on.model.config), settings.optimiser.kl > 0
    rows, prompts = options.steps * count * batch * group, options.steps * count * batch
    work = ceilings.decoding(
        shape, on.model.dtype.itemsize, rows, prompts, options.prompt, options.tokens, count, settings.rank,
        min(options.rows, rows // options.steps),
    )  # fmt: skip
    whole, drew = training(config) * config.student.max_new_tokens, f"{rows:,} completions of {options.tokens:,} tokens"
    return {
        "sampling": Done(drawn, whole, work, f"{drew}, the longest there can be; {options.rows} at once"),
        "learning": Done(drawn, whole, ceilings.learning(shape, drawn, kl), f"{drew}; {_left_out(kl)}"),
    }


def _left_out(kl: bool) -> str:
    if kl:
        return "random rewards; with KL no group is left out for equal rewards"
    return f"random rewards; of real groups {1 - reference()[0]:.0%} had equal ones, which cost nothing ({_source()})"


def evaluation(on: Base, config: SoarConfig, options: argparse.Namespace, clock: Clock) -> dict[str, Done]:
    """Greedy answers of the students and the baseline to as many questions as fill `options.rows`."""
    count = config.datasets * config.repeats + 1
    asked = questions(on, min(config.reward_set, max(1, options.rows // count)), options.prompt)
    adapters = Adapters.create(
        on.model, count, config.student.rank, config.student.alpha, generator("gpu", "evaluation")
    )
    clock.start("evaluation")
    student.accuracy(on, adapters, asked, Draw(options.tokens, rows=options.rows))
    clock.stop()
    rows = count * len(asked)
    work = ceilings.decoding(
        shape_of(on.model.config), on.model.dtype.itemsize, rows, rows, options.prompt, options.tokens, count,
        config.student.rank, options.rows,
    )  # fmt: skip
    note = f"{rows:,} greedy completions of {options.tokens:,} tokens, the longest there can be"
    whole = measuring(config) * config.student.max_new_tokens
    return {"evaluation": Done(clock.total("evaluation").tokens, whole, work, note)}


def the_teacher(on: Base, config: SoarConfig, options: argparse.Namespace, clock: Clock) -> dict[str, Done]:
    """The teacher's completions, as many as fill `options.rows`, and its step on them."""
    settings, written = config.teacher, config.datasets * config.dataset_size
    rows = max(1, min(options.rows, written) // config.datasets) * config.datasets
    tokens = min(options.tokens, settings.max_new_tokens)
    adapters = Adapters.create(on.model, 1, settings.rank, settings.alpha, generator("gpu", "teacher"))
    learner = make_learner(adapters, settings.optimiser, config.rounds)
    prompt = on.encode(student_messages(questions(on, 1, options.prompt)[0].question))
    numbers = uniforms((rows, tokens), "gpu", "teacher")
    clock.start("teacher sampling")
    draw = Draw(tokens, settings.temperature, options.rows)
    samples = sample(on, adapters, [prompt] * rows, [0] * rows, 1, numbers, draw)
    clock.start("teacher learning")
    gains = uniforms((config.datasets,), "gpu", "gains").tolist()
    teacher.learn(on, learner, samples, gains, settings.optimiser.warmup, settings.temperature)
    clock.stop()
    drawn, shape, accepted = clock.total("teacher sampling").tokens, shape_of(on.model.config), reference()[1]
    work = ceilings.decoding(
        shape, on.model.dtype.itemsize, rows, 1, options.prompt, tokens, 1, settings.rank, options.rows
    )
    drew, batches = f"{rows:,} completions of {tokens:,} tokens", math.ceil(written / accepted / settings.draw)
    kept = f"scaled to {batches} batches of {settings.draw}, as if {accepted:.0%} parsed ({_source()})"
    whole = batches * settings.draw * settings.max_new_tokens
    return {
        "teacher sampling": Done(drawn, whole, work, f"{drew}, the longest there can be; {kept}"),
        "teacher learning": Done(
            drawn, written * settings.max_new_tokens, ceilings.learning(shape, drawn, settings.optimiser.kl > 0), drew
        ),
    }


def verifying(on: Base, config: SoarConfig, options: argparse.Namespace, clock: Clock) -> dict[str, Done]:
    """Rewards of committed completions, whose answers are numbers and short formulas."""
    if importlib.util.find_spec("math_verify") is None:
        raise ConfigError("math-verify is not installed")
    pairs = [json.loads(line) for line in ROLLOUTS.read_text().splitlines()[: options.pairs]]
    rewards.student_rewards(["2"], ["\\boxed{\\sqrt{4}}"])  # starts a worker
    clock.start("verifying")
    rewards.student_rewards([pair["gold"] for pair in pairs], [pair["response"] for pair in pairs])
    clock.stop()
    note = f"{len(pairs):,} completions of the shipped model, on {os.cpu_count()} CPU cores"
    return {"verifying": Done(len(pairs), training(config) + measuring(config), None, note)}


def one_by_one(on: Base, config: SoarConfig, options: argparse.Namespace, clock: Clock) -> dict[str, Done]:
    """One student by TRL; the first step, in which trainer and kernels are made, is not timed."""
    batch = min(config.student.batch, max(1, options.rows // config.student.group))
    settings = replace(
        config.student, trainer="trl", steps=options.steps + 1, batch=batch, max_new_tokens=options.tokens
    )
    adapters = Adapters.create(on.model, 1, settings.rank, settings.alpha, generator("gpu", "trl"))

    def watch(step: int, metrics: dict, students: Adapters | None) -> None:
        if step == 0:
            clock.start("TRL")
        elif step == options.steps:
            clock.stop()

    asked = questions(on, config.dataset_size, options.prompt)
    student.train(on, adapters, [Lesson(asked, ("gpu", "trl"))], settings, random_rewards, watch=watch)
    count, rows = config.datasets * config.repeats, options.steps * batch * settings.group
    note = f"one student's {rows:,} completions, scaled to {count} students one after another"
    return {"TRL": Done(clock.total("TRL").tokens, training(config) * config.student.max_new_tokens, None, note)}


Stage = Callable[[Base, SoarConfig, argparse.Namespace, Clock], dict[str, Done]]
STAGES: dict[Stage, tuple[str, ...]] = {
    students: ("sampling", "learning"), evaluation: ("evaluation",), verifying: ("verifying",),
    the_teacher: ("teacher sampling", "teacher learning"),
}  # fmt: skip


@functools.cache
def reference() -> tuple[float, float]:
    """Of the committed SOAR runs of the shipped model: the share of groups with unequal rewards, and that of the
    teacher's completions that parse."""
    folders = sorted(REFERENCE.glob("seed*"))
    steps = pd.concat([read_table(folder / "metrics.csv") for folder in folders])
    rounds = [row for folder in folders for row in soar.read_rounds(folder)]
    attempts = sum(row.attempts for row in rounds)
    rejected = sum(sum(row.rejected.values()) for row in rounds)
    return steps.loc[steps["policy"] == "student", "signal"].mean(), 1 - rejected / attempts


def _source() -> str:
    return f"the shipped model's {REFERENCE.relative_to(ROOT)}"
