r"""Verdicts per second: `check_many` against Math-Verify called as TRL's accuracy reward calls it.

    python benchmarks/verify.py             time both on benchmarks/data/nano_rollouts.jsonl (fields gold, response)
    python benchmarks/verify.py --sample    the same, after drawing that file anew from the shipped nano model

Both run in this process on the same rollouts, after one warm-up call each: Math-Verify parses gold and response and
verifies, one pair after the other; `check_many` may use its cheap forms, its worker processes and repetitions among
the rollouts. Math-Verify cannot read `x**12`, so it is given `x^{12}`. Verdicts that differ are printed with
Math-Verify's. Writes results/verify.csv; the last line is the ratio of throughputs.
"""

import argparse
import json
import re
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from soar_lib.verifier import verify

ROLLOUTS = Path(__file__).parent / "data" / "nano_rollouts.jsonl"
RESULTS = Path(__file__).parent / "results" / "verify.csv"
PROBLEMS, GROUP, MAX_NEW_TOKENS = 250, 16, 128


def sample(path: Path) -> None:
    """Rollouts of the shipped model on its own pool of held-out problems, at temperature 1."""
    from soar_lib.engine import base, sampling
    from soar_lib.problems.load import load
    from soar_lib.problems.prompts import student_messages
    from soar_lib.randomness import uniforms
    from soar_lib.records import Draw

    nano, problems = base.load("nano"), load("nano", seed=0, size=PROBLEMS)
    prompts = [nano.encode(student_messages(problem.question)) for problem in problems]
    numbers = uniforms((PROBLEMS * GROUP, MAX_NEW_TOKENS), "benchmark", "verify")
    samples = sampling.sample(nano, None, prompts, [0] * PROBLEMS, GROUP, numbers, Draw(MAX_NEW_TOKENS))
    responses = sampling.decode(nano, samples)
    rows = [{"gold": problems[i // GROUP].answer, "response": text} for i, text in enumerate(responses)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"{len(rows)} rollouts in {path}")


def math_verify_alone(pairs: list[tuple[str, str]]) -> tuple[list[bool], float]:
    """Its verdicts and its seconds."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse
    from math_verify import verify as compare

    config = [LatexExtractionConfig(boxed_match_priority=0, normalization_config=NormalizationConfig(units=True))]
    parse("\\boxed{1}", config)
    start = time.perf_counter()
    verdicts = [
        compare(parse(_powers(f"\\boxed{{{gold}}}"), config), parse(_powers(response), config))
        for gold, response in tqdm(pairs, desc="Math-Verify")
    ]
    return verdicts, time.perf_counter() - start


def _powers(text: str) -> str:
    return re.sub(r"\*\*(\d+)", r"^{\1}", text)


def ours(pairs: list[tuple[str, str]]) -> tuple[list[str], float]:
    """Our verdicts and seconds."""
    verify.check_many([(str(n), f"\\boxed{{\\sqrt{{{n * n}}}}}") for n in range(2, 10)])  # starts the workers
    start = time.perf_counter()
    verdicts = verify.check_many(pairs)
    return verdicts, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", action="store_true", help="first draw new rollouts from the nano model")
    parser.add_argument("--rollouts", type=Path, default=ROLLOUTS, help="JSONL file with gold and response")
    parser.add_argument("--limit", type=int, default=4000, help="rollouts to time, from the start of the file")
    arguments = parser.parse_args()
    if arguments.sample:
        sample(arguments.rollouts)
    if not arguments.rollouts.exists():
        parser.error(f"{arguments.rollouts} is missing; make it with --sample")
    lines = arguments.rollouts.read_text().splitlines()[: arguments.limit]
    pairs = [(row["gold"], row["response"]) for row in map(json.loads, lines)]
    verdicts, seconds = ours(pairs)
    peer, peer_seconds = math_verify_alone(pairs)
    asked = sum(verify.extract_boxed(response) is not None for _, response in pairs)
    different = Counter(
        (gold, verify.extract_boxed(response), verdict, is_right)
        for (gold, response), verdict, is_right in zip(pairs, verdicts, peer, strict=True)
        if (verdict == "right") != is_right
    )
    for (gold, answer, verdict, is_right), count in different.most_common():
        print(f"differs {count}x: gold {gold!r}, answer {answer!r}: {verdict} here, Math-Verify {is_right}")
    print(f"{len(pairs)} rollouts, {asked} with a box, {len(set(pairs))} distinct: {dict(Counter(verdicts))}")
    print(f"verdicts that differ: {sum(different.values())}")
    row = dict(
        rollouts=len(pairs), boxed=asked, distinct=len(set(pairs)), differing=sum(different.values()),
        per_second=round(len(pairs) / seconds), math_verify_per_second=round(len(pairs) / peer_seconds),
        ratio=round(peer_seconds / seconds, 1),
    )  # fmt: skip
    pd.DataFrame([row]).to_csv(RESULTS, index=False)
    print(f"check_many {row['per_second']}/s, Math-Verify {row['math_verify_per_second']}/s")
    print(f"ratio {row['ratio']}")


if __name__ == "__main__":
    main()
