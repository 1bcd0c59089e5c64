"""What one outer step of SOAR costs on a GPU, part by part, and what a run of the paper's size would take there.

    python benchmarks/gpu.py                                     writes figures/data/gpu_cost.csv, on one GPU
    python benchmarks/gpu.py --variants graphs,graphs+no_kl      rows of other variants, beside those in the file
    python benchmarks/gpu.py --model tiny-llama --tokens 8 --rows 64 --out build/gpu.csv     to try it, on a CPU too

The settings are the `paper` preset's: 16 students, 10 inner steps of 8 x 32 completions of at most 1,024 tokens, 64
questions of reward set, 256 problems of at most 512 tokens by the teacher, adapters of rank 64. The parts:

    sampling, learning                   all students' inner steps
    evaluation                           greedy answers of 16 students and the baseline student to the reward set
    verifying                            rewards of completions of the shipped model (data/nano_rollouts.jsonl)
    teacher sampling, teacher learning   drawn until enough parse, and one step
    TRL                                  the students' training by TRL's RLOOTrainer, one after another

The model has the exact shape of Llama-3.2-3B and random weights, which does not change its speed. Random weights never
answer right and no token ends a completion here, so every completion has full length: the worst case. (TRL ends one at
the end token, which random weights hardly ever draw.) Rewards are random, so that every group has something to learn
from. The tokenizer is the shipped model's, so decoding to text is cheaper than Llama's, and prompts are digits, made as
long as --prompt says, the teacher's too.

A part is measured on some of its work and scaled to all of it by the count of tokens (verifying: completions): the
columns measured_seconds and scale; seconds is their product. tokens_per_second counts completion tokens. tb_per_second
and tflop_per_second count the least work (ceilings.py), and share_of_ceiling compares it with a copy and a matrix
product of the same machine, the rows `machine`. peak_gb is what torch allocated on the GPU at most, in that part. What
cannot be measured has a row without numbers that says why.
"""

import argparse
import functools
import gc
import math
import operator
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ceilings
import pandas as pd
import torch
from gpu_parts import (
    LLAMA,
    MODELS,
    NAME,
    ROOT,
    STAGES,
    Clock,
    Done,
    measuring,
    one_by_one,
    random_base,
    students,
    training,
)

from soar_lib import files
from soar_lib.engine import backends
from soar_lib.engine.base import Base
from soar_lib.meter import Meter
from soar_lib.settings.memory import check_memory
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar.settings import SoarConfig

TABLE = ROOT / "figures" / "data" / "gpu_cost.csv"
GOAL, AUTHORS = 96, "1,536 to 1,920"  # hours on one GPU; GPU-hours of one run (SOAR B.9: 32 GPUs, 48 to 60 hours)
SHARED = {"teacher.draw": 256}  # all in one batch; changes speed alone
# What each variant changes in the settings; `graphs+no_kl` is both. Importing Unsloth changes transformers, so it comes
# last.
VARIANTS = {
    "plain": {},
    "no_kl": {"student.optimiser.kl": 0.0, "teacher.optimiser.kl": 0.0},  # no reference pass
    "checkpointing": {  # leaves room for larger batches
        f"{who}.optimiser.{name}": value
        for who in ("student", "teacher")
        for name, value in {"gradient_checkpointing": True, "max_tokens": 16_384}.items()
    },
    "graphs": {"graphs": True},
    "trl": {},
    "unsloth": {"backend": "unsloth"},
}
NUMBERS = (
    "seconds", "measured_seconds", "scale", "tokens_per_second", "tb_per_second", "tflop_per_second",
    "share_of_ceiling", "peak_gb",
)  # fmt: skip
COLUMNS = ("variant", "part", *NUMBERS, "machine", "torch", "note")


def row(variant: str, part: str, note: str, **numbers: float | None) -> dict:
    """A row of the table; numbers that are not given stay empty."""
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    values = {name: numbers.get(name) for name in NUMBERS}
    values = {name: None if value is None else float(f"{value:.6g}") for name, value in values.items()}
    return dict(variant=variant, part=part, **values, machine=machine, torch=torch.__version__, note=note)


def part_row(variant: str, part: str, spent: Meter, done: Done, rates: ceilings.Rates) -> dict:
    """A measured part, scaled to an outer step."""
    scale, numbers = done.whole / done.amount, {}
    if part != "verifying":
        numbers["tokens_per_second"] = done.amount / spent.seconds
    if done.work is not None:
        numbers |= dict(
            tb_per_second=done.work.bytes / spent.seconds / 1e12 or None,
            tflop_per_second=done.work.operations / spent.seconds / 1e12,
            share_of_ceiling=done.work.share(spent.seconds, rates),
        )
    return row(
        variant, part, done.note, seconds=scale * spent.seconds, measured_seconds=spent.seconds, scale=scale,
        peak_gb=spent.peak_bytes / 1e9 if torch.cuda.is_available() else None, **numbers,
    )  # fmt: skip


def machine_rows(rates: ceilings.Rates) -> list[dict]:
    return [
        row("machine", "copy", "bytes read and written", tb_per_second=rates.copy / 1e12),
        row("machine", "matrix product", "a large square one", tflop_per_second=rates.product / 1e12),
    ]


def whole_rows(variant: str, rows: list[dict], config: SoarConfig) -> list[dict]:
    """The outer step, the sum of its parts, and the run, so many times as much; a reason where a part is missing."""
    run = f"run of {config.rounds} outer steps"
    missing = [row["part"] for row in rows if row["seconds"] is None]
    if missing:
        return [row(variant, part, f"not known: no {', '.join(missing)}") for part in ("outer step", run)]
    seconds = sum(row["seconds"] for row in rows)
    tokens = (training(config) + measuring(config)) * config.student.max_new_tokens
    note = (
        f"{seconds * config.rounds / 3600:,.1f} hours on this machine, goal at most {GOAL}; the authors spent "
        f"{AUTHORS} GPU-hours; without the steps that promotions add"
    )
    peak = max((row["peak_gb"] for row in rows if row["peak_gb"] is not None), default=None)
    return [
        row(variant, "outer step", "the sum", seconds=seconds, tokens_per_second=tokens / seconds, peak_gb=peak),
        row(variant, run, note, seconds=seconds * config.rounds, scale=config.rounds, peak_gb=peak),
    ]


def prepare(variant: str, options: argparse.Namespace, until: float) -> tuple[SoarConfig, Base]:
    """Settings and base of a variant, after a first step that makes kernels and buffers. Raises ConfigError."""
    check_budget(options, until)
    settings = functools.reduce(operator.or_, [VARIANTS[name] for name in variant.split("+")], SHARED)
    name = NAME if options.model == LLAMA else options.model
    config = preset("paper", SoarConfig, model=name, rows=options.rows, **settings)
    check_memory(config)
    on = replace(random_base(options.model, config.backend), graphs=config.graphs)
    if variant != "trl":
        students(on, config, argparse.Namespace(**vars(options) | {"tokens": min(8, options.tokens)}), Clock())
    return config, on


def check_budget(options: argparse.Namespace, until: float) -> None:
    if time.perf_counter() >= until:
        raise ConfigError(f"--budget-seconds = {options.budget_seconds}: all spent; measure it in a call of its own")


def variant_rows(variant: str, options: argparse.Namespace, rates: ceilings.Rates, until: float) -> Iterator[dict]:
    """The rows of one variant, each as soon as it is known; no stage begins after `until`."""
    stages = {one_by_one: ("TRL",)} if variant == "trl" else STAGES
    failures, found = (ConfigError, torch.OutOfMemoryError), []
    try:
        config, on = prepare(variant, options, until)
    except failures as error:
        yield _not_measured(variant, "TRL" if variant == "trl" else "all parts", error)
        return
    for stage, parts in stages.items():
        clock = Clock()
        try:
            check_budget(options, until)
            done = stage(on, config, options, clock)
            rows = [part_row(variant, part, clock.total(part), done[part], rates) for part in parts]
        except failures as error:
            clock.stop()
            rows = [_not_measured(variant, part, error) for part in parts]
        found += rows
        yield from rows
    if variant != "trl":
        yield from whole_rows(variant, found, config)


def _not_measured(variant: str, part: str, error: Exception) -> dict:
    return row(variant, part, f"not measured: {str(error).strip().partition(chr(10))[0]}")


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """The table with TRL's time in multiples of ours in the note, where both are known."""
    seconds = {(line.variant, line.part): line.seconds for line in table.itertuples()}
    ours = seconds.get(("plain", "sampling"), math.nan) + seconds.get(("plain", "learning"), math.nan)
    times, theirs = seconds.get(("trl", "TRL"), math.nan) / ours, table["part"] == "TRL"
    if not math.isnan(times):
        table.loc[theirs, "note"] = table.loc[theirs, "note"].str.partition(";")[0] + f"; {times:.1f} times plain's"
    return table


def write(path: Path, kept: pd.DataFrame, rows: list[dict]) -> None:
    """Replace the table: rows of other variants that it had, and the new ones."""
    new = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))
    table = compared(pd.concat([kept, new], ignore_index=True) if len(kept) else new)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def read(path: Path, without: list[str]) -> pd.DataFrame:
    """The rows that a table has already, but for these variants'."""
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    return table[~table["variant"].isin(without)]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default=LLAMA)
    parser.add_argument("--variants", default="plain,trl,unsloth", help=f"some of {','.join(VARIANTS)}, and sums")
    parser.add_argument("--rows", type=int, default=512, help="completions sampled together, and measured")
    parser.add_argument("--tokens", type=int, default=1024, help="length of measured completions (short ones flatter)")
    parser.add_argument("--steps", type=int, default=1, help="inner steps that are measured")
    parser.add_argument("--prompt", type=int, default=200, help="tokens of a prompt")
    parser.add_argument("--pairs", type=int, default=4000, help="completions that are verified")
    parser.add_argument("--budget-seconds", type=int, default=480, help="no part begins after so many seconds")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    options.variants = options.variants.split(",")
    for variant in options.variants:
        unknown = set(variant.split("+")) - VARIANTS.keys()
        if unknown or ("trl" in variant and variant != "trl"):
            parser.error(f"--variants: {variant!r} is unknown; known are {', '.join(VARIANTS)} and, but for trl, sums")
    for name in ("rows", "tokens", "steps", "prompt", "pairs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: must be 1 or more")
    if options.out.resolve() == TABLE and not (torch.cuda.is_available() and options.model == LLAMA):
        parser.error(
            f"{TABLE.name} is for {LLAMA} on a GPU, and this is neither or only one; name another file by --out"
        )
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    until = time.perf_counter() + options.budget_seconds
    kept = read(options.out, ["machine", *options.variants])
    rates = ceilings.measure(backends.choose_device(None, "transformers", four_bit=False))
    rows = machine_rows(rates)
    for variant in options.variants:
        for found in variant_rows(variant, options, rates, until):
            rows.append(found)
            write(options.out, kept, rows)
            shown = {name: value for name, value in found.items() if value is not None}
            print(", ".join(f"{name} {value}" for name, value in shown.items()), flush=True)
        gc.collect()
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
