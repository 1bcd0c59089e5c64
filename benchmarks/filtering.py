"""Samples that filtering spends against drawing all k of each problem, on the shipped model's own pool.

    python benchmarks/filtering.py            samples spent by level, also as results/filtering.csv
    python benchmarks/filtering.py --check    draw all k as well and compare the hard sets (several times slower)

The count is exact and does not depend on the machine. The last line is samples spent / (problems x k).
"""

import argparse
from pathlib import Path

import pandas as pd

from soar_lib.engine import base
from soar_lib.problems.filtering import Outcome, fail_at_k
from soar_lib.problems.load import load
from soar_lib.settings.student import FilterConfig, preset

TABLE = Path(__file__).parent / "results" / "filtering.csv"


def by_level(outcomes: list[Outcome], k: int) -> pd.DataFrame:
    """One row per level: problems, never solved, samples spent and their share of problems x k."""
    rows = [{"level": o.level, "problems": 1, "hard": o.hard, "samples": o.samples} for o in outcomes]
    table = pd.DataFrame(rows).groupby("level", as_index=False).sum()
    return table.assign(share=(table["samples"] / (table["problems"] * k)).round(4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="nano, a local folder or a Hub id")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, help="problems of the pool (default: all)")
    parser.add_argument("--check", action="store_true", help="draw all k samples too and compare")
    arguments = parser.parse_args()
    config = preset("nano", FilterConfig, model=arguments.model, seed=arguments.seed)
    model, problems = base.load(config.model), load(config.problems, seed=config.seed, size=arguments.size)
    outcomes = fail_at_k(model, problems, config)
    table = by_level(outcomes, config.k)
    if arguments.model == "nano" and arguments.size is None:
        TABLE.parent.mkdir(exist_ok=True)
        table.to_csv(TABLE, index=False, lineterminator="\n")
    print(table.to_string(index=False))
    if arguments.check:
        everything = fail_at_k(model, problems, config, sizes=[config.k])
        differing = [a.id for a, b in zip(outcomes, everything, strict=True) if a.hard != b.hard]
        print(f"hard sets: {sum(o.hard for o in everything)} problems, {len(differing)} differ {differing}")
    spent = sum(outcome.samples for outcome in outcomes)
    print(f"{spent:,} samples spent, {len(problems) * config.k:,} are all")
    print(f"ratio {spent / (len(problems) * config.k):.3f}")


if __name__ == "__main__":
    main()
