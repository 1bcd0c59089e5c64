"""When does training the teacher pay? The value of trained and untrained teachers (soar/value.py) over two knobs of the
second world's prior: how many of the problems that the untrained teacher writes are useful, and how many are decoys.

`python -m tools.payoff --base BASE --out runs/payoff` makes a prior for each cell by a further training of the base
(tools/pretrain.py says how BASE is made), RUNS SOAR runs of ROUNDS rounds an arm, and the values of their teachers. It
goes on where it stopped, and writes figures/data/payoff.csv after every arm. All cells have the hard problems of the
committed study. The arms were named before any run:

    grounded    paid by progress, without promotion
    intrinsic   paid by disagreement
    annealed    our own: paid by both, each standardised over the round's data sets, with a weight of progress that
                grows from 0 in the first round to 1 in the last: the cheap reward first, the true one in the end
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from soar_lib.engine import base as bases
from soar_lib.engine.update import advantages
from soar_lib.files import read_table, write_tables
from soar_lib.hooks import Hooks
from soar_lib.measure.charts import ROOT, Chart, Mark, Panel
from soar_lib.measure.claims import over_seeds
from soar_lib.measure.names import COLOURS
from soar_lib.settings.student import preset
from soar_lib.soar import rewards, value
from soar_lib.soar import run as soar
from soar_lib.soar.rewards import Measured, OuterStep
from soar_lib.soar.settings import SoarConfig
from tools import pretrain
from tools.documents2 import KNOBS, cell

RUNS, ROUNDS, SETS = range(3), 24, 16  # SOAR runs an arm, rounds of each, data sets behind a teacher's value
STEPS = 200  # of a prior's training
FILTERED = Path("runs") / "reference" / "study2" / "filter"
UNTRAINED = "untrained"
COMPARED = {  # what is drawn: an arm minus another
    "progress minus untrained": ("grounded", UNTRAINED),
    "progress minus disagreement": ("grounded", "intrinsic"),
    "annealed minus progress": ("annealed", "grounded"),
}


def annealed(step: OuterStep) -> Measured:
    """The reward of the arm `annealed`; its students are those of the grounded reward."""
    found, cheap = rewards.grounded(step), rewards.intrinsic(step)
    paid = (torch.tensor(rewards.dataset_rewards(part.gains), dtype=torch.double) for part in (cheap, found))
    early, late = (advantages(part, "grpo") for part in paid)
    weight = (step.number - 1) / max(1, step.config.rounds - 1)
    return replace(found, gains=tuple((one,) for one in torch.lerp(early, late, weight).tolist()))


ARMS = {"grounded": "grounded", "intrinsic": "intrinsic", "annealed": annealed}


def settings(model: str, seed: int, rounds: int = ROUNDS) -> SoarConfig:
    return preset("nano2", SoarConfig, model=model, problems=str(FILTERED), seed=seed, rounds=rounds, promotion=False)


def measure(base: Path, out: Path) -> Iterator[pd.DataFrame]:
    """All values so far, after each arm of each cell: useful, decoys (shares), arm, seed, value (a fraction of 1)."""
    for useful, decoys in KNOBS:
        name = cell(useful, decoys)
        if not (out / name / "model" / "model.safetensors").is_file():
            pretrain.train(out / name / "model", name, STEPS, 0, base)
        shipped = bases.load(str(out / name / "model"))
        for arm, reward in ARMS.items():
            folders = [out / name / arm / f"seed{seed}" for seed in RUNS]
            for seed, folder in zip(RUNS, folders):
                config = settings(str(out / name / "model"), seed)
                soar.run(config, folder, True, shipped, teacher_reward=reward, hooks=Hooks(progress=False))
            value.write(shipped, folders, SETS, out / name / arm / "values.csv", untrained=arm == "grounded")
            yield values(out)


def values(out: Path) -> pd.DataFrame:
    """The values that a folder of `measure` holds."""
    rows = []
    for (useful, decoys), arm in product(KNOBS, ARMS):
        path = out / cell(useful, decoys) / arm / "values.csv"
        for row in read_table(path, "seed", "teacher", "value").itertuples() if path.is_file() else ():
            who = arm if row.teacher == "trained" else UNTRAINED
            rows.append(dict(useful=useful, decoys=decoys, arm=who, seed=row.seed, value=round(row.value, 5)))
    return pd.DataFrame(rows)


def gaps(data: pd.DataFrame) -> pd.DataFrame:
    """`COMPARED` in points, paired by seed: useful, decoys, compared, ours, low, high, seeds."""
    rows = []
    for (useful, decoys), part in data.groupby(["useful", "decoys"]):
        by = part.pivot(index="seed", columns="arm", values="value")
        for compared, (arm, other) in COMPARED.items():
            if {arm, other} <= {*by}:
                found = over_seeds((100 * (by[arm] - by[other])).dropna().tolist())
                row = dict(ours=found.ours, low=found.low, high=found.high, seeds=found.seeds)
                rows.append(dict(useful=useful, decoys=decoys, compared=compared) | row)
    return pd.DataFrame(rows)


def figure(data: pd.DataFrame) -> Chart:
    """The map: a panel for each comparison over the share of useful problems, a line for each share of decoys."""
    panels = []
    for compared, own in gaps(data).groupby("compared", sort=False):
        marks = [
            Mark(100 * part["useful"] + place, part["ours"], f"{100 * decoys:.0f} % decoys", COLOURS[1 + place], "-",
                 "o", low=part["low"], high=part["high"])
            for place, (decoys, part) in enumerate(own.groupby("decoys"))
        ]  # fmt: skip
        label = "useful problems that the untrained teacher writes (%)"
        panels.append(Panel(marks, label, f"{compared}\n(points)", rules=[("y", 0, "")]))
    return Chart(panels, size=(8.0, 1.0 + 2.4 * len(panels)), shared="x")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.payoff", description="When does training the teacher pay?")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base that priors are trained from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of payoff.csv")
    arguments = parser.parse_args()
    for table in measure(arguments.base, arguments.out):
        write_tables(arguments.data, {"payoff": table})
        print(f"{len(table)} values")


if __name__ == "__main__":
    main()
