"""The inner loop's speed: a population of students against as many runs of TRL's RLOOTrainer.

    python benchmarks/inner_loop.py                   nano: 16 students, 10 steps
    python benchmarks/inner_loop.py --model FOLDER    a real model: 4 students, 1 step, about ten minutes for 0.5B

Same base model, LoRA rank, optimiser, problems, batch x group x maximal length, reward and threads; KL is off in both,
and gradient checkpointing, which only costs time here, is off in TRL. Ours and TRL's runs alternate, each in a process
of its own, whose peak memory is kept. TRL's runs do not influence each other, so `--peers` of them are run per repeat
and their mean time is scaled to all students; only training steps are timed, not imports, model loading or trainer
construction. The reward compares the box with the
answer as text: the verifier has a benchmark of its own. Both hold the base in the same numbers (bfloat16 where the
processor computes in it, nano in float32). Writes results/inner_loop.csv, or results/inner_loop_PRESET.csv where the
preset, by default "laptop" for models that are not shipped, is not nano; the last line is `ratio <number>`.
"""

import argparse
import csv
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import RLOOConfig, RLOOTrainer

from soar_lib.engine import base as bases
from soar_lib.engine.lora import TARGETS, Adapters
from soar_lib.problems.load import load
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import derive, generator
from soar_lib.records import Problem
from soar_lib.settings.student import StudentSettings, preset
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.verifier.verify import extract_boxed

RESULTS = Path(__file__).parent / "results"
SIZES = {"nano": dict(students=16, steps=10, peers=4), "laptop": dict(students=4, steps=1, peers=1)}  # by preset


def reward(golds: list[str], responses: list[str]) -> list[float]:
    boxes = [extract_boxed(response) for response in responses]
    return [0.0 if box is None else 120.0 if box == gold else 10.0 for gold, box in zip(golds, boxes, strict=True)]


Run = tuple[float, float, float]  # seconds, mean completion length, peak memory in GB


def ours(name: str, problems: list[Problem], settings: StudentSettings, repeat: int, size: int) -> Run:
    """All students' training, as one population."""
    base, sets = bases.load(name, device="cpu"), [problems] * size
    adapters = Adapters.create(base.model, size, settings.rank, settings.alpha, generator(repeat, "init"))
    lessons = [student.Lesson(problems, (repeat, "inner", index)) for index, problems in enumerate(sets)]
    began = time.perf_counter()
    _, history = student.train(base, adapters, lessons, settings, reward)
    return time.perf_counter() - began, fmean(fmean(row["length"]) for row in history), peak()


def peak() -> float:
    """The most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def alone(threads: int, run: Callable[..., Run], *arguments) -> Run:
    """`run` in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        return pool.submit(run, *arguments).result()


class Clock(TrainerCallback):
    """Times the training steps alone."""

    def on_train_begin(self, *args, **kwargs):
        self.began = time.perf_counter()

    def on_train_end(self, *args, **kwargs):
        self.seconds = time.perf_counter() - self.began


def trl(name: str, problems: list[Problem], settings: StudentSettings, repeat: int, index: int) -> Run:
    """One student's training by TRL."""
    base = bases.load(name, device="cpu")
    rows = [dict(prompt=student_messages(problem.question), gold=problem.answer) for problem in problems]
    optimiser, clock = settings.optimiser, Clock()
    config = RLOOConfig(
        output_dir="build/inner_loop", max_steps=settings.steps, num_generations=settings.group,
        per_device_train_batch_size=settings.batch * settings.group, max_completion_length=settings.max_new_tokens,
        temperature=settings.temperature, beta=0.0, learning_rate=optimiser.learning_rate,
        lr_scheduler_type=optimiser.schedule, max_grad_norm=optimiser.max_grad_norm, gradient_checkpointing=False,
        bf16=False, use_cpu=True, report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True,
        seed=derive(repeat, index) % 2**31,
    )  # fmt: skip
    trainer = RLOOTrainer(
        base.model, lambda completions, gold, **_: reward(gold, [c[0]["content"] for c in completions]), config,
        Dataset.from_list(rows), processing_class=base.tokenizer, callbacks=[clock],
        peft_config=LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=list(TARGETS)),
    )  # fmt: skip
    trainer.train()
    lengths = [row["completions/mean_length"] for row in trainer.state.log_history if "completions/mean_length" in row]
    return clock.seconds, fmean(lengths), peak()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--preset", choices=SIZES, help="whose student's settings")
    parser.add_argument("--problems", default="nano", help="a set's name or a JSONL file")
    parser.add_argument("--students", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", type=int, help="TRL runs per repeat, scaled to all students")
    parser.add_argument("--repeats", type=int, default=2)
    chosen = parser.parse_known_args()[0]
    parser.set_defaults(preset="nano" if chosen.model in bases.SHIPPED else "laptop")
    parser.set_defaults(**SIZES[parser.parse_args().preset])
    options = parser.parse_args()
    settings = preset(options.preset, SoarConfig, **{"student.steps": options.steps, "max_steps": 1000}).student
    problems = load(options.problems, seed=0, size=64)
    mine, theirs = [], []
    for repeat in range(options.repeats):
        mine.append(alone(options.threads, ours, options.model, problems, settings, repeat, options.students))
        print(f"ours: {options.students} students in {mine[-1][0]:.1f} s, mean length {mine[-1][1]:.1f}", flush=True)
        for index in range(options.peers):
            theirs.append(alone(options.threads, trl, options.model, problems, settings, repeat, index))
            print(f"TRL: one student in {theirs[-1][0]:.1f} s, mean length {theirs[-1][1]:.1f}", flush=True)
    (seconds, length, gb), (peer, trl_length, trl_gb) = (map(fmean, zip(*runs)) for runs in (mine, theirs))
    peer *= options.students
    drawn = options.students * options.steps * settings.batch * settings.group  # completions
    row = dict(
        students=options.students, steps=options.steps, batch=settings.batch, group=settings.group,
        max_new_tokens=settings.max_new_tokens, threads=options.threads, length=round(length, 1),
        trl_length=round(trl_length, 1), seconds=round(seconds, 1), trl_seconds=round(peer, 1), trl_runs=len(theirs),
        tokens_per_second=round(drawn * length / seconds, 1), trl_tokens_per_second=round(drawn * trl_length / peer, 1),
        peak_gb=round(gb, 1), trl_peak_gb=round(trl_gb, 1), ratio=round(peer / seconds, 2),
    )  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    name = "inner_loop" if options.preset == "nano" else f"inner_loop_{options.preset}"
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    print(f"TRL's time for {options.students} students is scaled from {len(theirs)} runs: {peer:.1f} s")
    print(f"ratio {peer / seconds:.2f}")


if __name__ == "__main__":
    main()
