"""How near sampling and learning on a real model come to what the machine's matrix products allow.

    python benchmarks/ceiling.py --model FOLDER [--threads 2] [--group 16] [--tokens 64] [--max-tokens 4096]
                                 [--repeats 3]

Four students, each with one problem and `--group` completions of `--tokens` tokens at most, in the dtype that `auto` is
here; then one learning step on their tokens, prompts not counted, at most `--max-tokens` in one backward pass. The
machine's rates are measured in the same run, the least work is counted (ceilings.py), and the median of the repeats is
taken. A row of results/ceiling.csv, with the peak memory of the process, replaces the one of the same sizes; the
committed ones are of Qwen2.5-Coder-0.5B-Instruct, dequantised from 4 bits. The last line is
`sampling <share> learning <share>`.
"""

import argparse
import resource
import time
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from ceilings import decoding, learning, measure

from soar_lib.engine import base as bases
from soar_lib.engine import sampling, update
from soar_lib.engine.lora import Adapters
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import generator, uniforms
from soar_lib.records import Draw
from soar_lib.settings.memory import shape_of
from soar_lib.settings.student import OptimiserSettings

RESULTS = Path(__file__).parent / "results" / "ceiling.csv"
STUDENTS, RANK = 4, 16
QUESTION = "A baker sells {} loaves on Monday and half as many on Tuesday. How many loaves does he sell on both days?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a local folder or a Hub id")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=OptimiserSettings.max_tokens)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    base = bases.load(options.model, device="cpu")
    of, number = shape_of(base.model.config), base.model.dtype.itemsize
    rows, settings = STUDENTS * options.group, OptimiserSettings(kl=0.0, max_tokens=options.max_tokens)
    adapters = Adapters.create(base.model, STUDENTS, RANK, float(RANK), generator("ceiling"))
    prompts = [base.encode(student_messages(QUESTION.format(count))) for count in (18, 32, 48, 90)]
    learner = update.make_learner(adapters, settings, 100)
    advantage = torch.tensor([1.0, -1.0]).repeat(rows // 2)
    sampled, learnt = [], []
    for repeat in range(options.repeats):
        rates, numbers = measure(torch.device("cpu")), uniforms((rows, options.tokens), "ceiling", repeat)
        began = time.perf_counter()
        drawn = sampling.sample(base, adapters, prompts, [0, 1, 2, 3], options.group, numbers, Draw(options.tokens))
        middle = time.perf_counter()
        update.update(base, learner, drawn, advantage, 0)
        seconds = middle - began, time.perf_counter() - middle
        length, tokens = len(prompts[0]), int(drawn.mask.sum())
        mean = tokens / len(drawn)
        least = decoding(of, number, len(drawn), STUDENTS, length, round(mean), STUDENTS, RANK, len(drawn))
        sampled.append((least.share(seconds[0], rates), tokens / seconds[0]))
        least = learning(of, tokens, False)
        learnt.append((least.share(seconds[1], rates), tokens / seconds[1]))
        print(f"sampling {sampled[-1][1]:.0f} tokens/s, learning {learnt[-1][1]:.0f} tokens/s", flush=True)
    shares, speeds = ([median(column) for column in zip(*rows)] for rows in (sampled, learnt))
    row = dict(
        model=Path(options.model).name, dtype=str(base.model.dtype).removeprefix("torch."), threads=options.threads,
        rows=rows, tokens=options.tokens, max_tokens=options.max_tokens, sampling=round(shares[0], 2),
        learning=round(speeds[0], 2),
        sampling_tokens_per_second=round(shares[1]), learning_tokens_per_second=round(speeds[1]),
        peak_gb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1),
    )  # fmt: skip
    keep(row, "model", "dtype", "threads", "rows", "tokens", "max_tokens")
    print(f"sampling {shares[0]:.2f} learning {speeds[0]:.2f}")


def keep(row: dict, *key: str) -> None:
    """Put a row into the table, in place of the one with the same values of `key`."""
    RESULTS.parent.mkdir(exist_ok=True)
    before = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    others = [other for other in before if any(other[name] != row[name] for name in key)]
    pd.DataFrame([*others, row]).to_csv(RESULTS, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
