"""The learning rate and the KL of RLVR on the second world, chosen on training problems alone.

`python -m tools.tune` trains RLVR for as many steps as the arm "equal rollouts" of SvS takes, about, once for each
pair of RATES and KLS, on seeds that no study uses, and writes figures/data/tuning.csv. The rule was named before the
runs: of the pairs whose share of right answers ends above that of the first five steps, the one with the highest share
over the last fifth of them all. All arms of SvS, and all methods that are compared (tools/methods.py), have that pair.
"""

import argparse
from itertools import product
from pathlib import Path

import pandas as pd

from soar_lib.files import read_table, write_tables
from soar_lib.hooks import Hooks
from soar_lib.measure.charts import ROOT
from soar_lib.settings.student import preset
from soar_lib.svs import run as svs
from soar_lib.svs.settings import SvsConfig

RATES, KLS = (5e-4, 1e-3, 1.5e-3, 2e-3), (0.0, 0.01)
STEPS, SEEDS, FIRST_SEED = 240, 2, 100


def settings(rate: float, kl: float) -> SvsConfig:
    return preset(
        "nano2", SvsConfig, arms=("rlvr",), steps=STEPS, seeds=SEEDS, seed=FIRST_SEED, measure_every=0, test_size=0,
        test="", hard="", other="", **{"optimiser.learning_rate": rate, "optimiser.kl": kl},
    )  # fmt: skip


def trained(out: Path) -> pd.DataFrame:
    """One row per pair: learning_rate, kl, and the shares of right answers in the first five steps (start) and in the
    last fifth (end)."""
    rows = []
    for rate, kl in product(RATES, KLS):
        folder = out / f"{rate:g}-{kl:g}"
        svs.run(settings(rate, kl), folder, True, hooks=Hooks(progress=False))
        right = read_table(folder / "rlvr" / "metrics.csv", step=int, accuracy=float)
        first, last = right["step"] < 5, right["step"] >= STEPS - STEPS // 5
        rows.append([rate, kl, right.loc[first, "accuracy"].mean(), right.loc[last, "accuracy"].mean()])
    return pd.DataFrame(rows, columns=["learning_rate", "kl", "start", "end"]).round(5)


def chosen(table: pd.DataFrame) -> pd.Series:
    """The row that the rule takes. Raises ValueError where every pair ends below its start."""
    rising = table[table["end"] > table["start"]]
    if rising.empty:
        raise ValueError("no pair ends above its start: try lower learning rates")
    return rising.loc[rising["end"].idxmax()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.tune", description="The learning rate and KL of RLVR.")
    parser.add_argument("--out", type=Path, default=Path("runs") / "tuning", help="folder of the runs")
    table = trained(parser.parse_args().out)
    write_tables(ROOT / "data", {"tuning": table})
    print(f"{table.to_string(index=False)}\nchosen: {dict(chosen(table)[['learning_rate', 'kl']])}")


if __name__ == "__main__":
    main()
