"""When does training the teacher pay? The value of trained and untrained teachers (soar/value.py) over two knobs of the
second world's prior: how many of the problems that the untrained teacher writes are useful, and how many are decoys.

`python -m tools.payoff --base BASE --out runs/payoff` makes a prior for each cell by a further training of the base
(any model of this world; tools/pretrain.py makes some), then RUNS SOAR runs of ROUNDS rounds an arm, and the values of
their teachers. figures/data/payoff.csv is written after every run; what it holds is not run again, and a run that was
stopped goes on. With `--seeds`, commands for other seeds may run beside it once the priors are made. All cells have the
hard problems of the committed study. The arms were named before any run, `annealed` as the last one to be run:

    grounded    paid by progress, without promotion
    intrinsic   paid by disagreement
    annealed    our own: paid by both, each standardised over the round's data sets, with a weight of progress that
                grows from 0 in the first round to 1 in the last: the cheap reward first, the true one in the end
"""

import argparse
import fcntl
import os
from collections.abc import Iterable
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
from tools import mix, pretrain
from tools.documents2 import KNOBS, cell

RUNS, ROUNDS, SETS = range(3), 24, 16  # SOAR runs an arm, rounds of each, data sets behind a teacher's value
STEPS = 200  # of a prior's training
FILTERED = Path("runs") / "reference" / "study2" / "filter"
UNTRAINED = "untrained"
COLUMNS = ["useful", "decoys", "arm", "seed", "value", "wrote_useful", "wrote_decoys"]  # all but arm, seed: shares of 1
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


def measure(base: Path, out: Path, seeds: Iterable[int], table: Path) -> None:
    """Add to the CSV `table` (columns `COLUMNS`) the values of every run that it does not hold, run by run."""
    table.parent.mkdir(parents=True, exist_ok=True)
    for knobs in KNOBS:
        if not (model(out, knobs) / "model.safetensors").is_file():
            pretrain.train(model(out, knobs), cell(*knobs), STEPS, 0, base)
    for group, seed, knobs in product((("grounded", "intrinsic"), ("annealed",)), seeds, KNOBS):
        for arm in group:
            if (*knobs, arm, seed) not in {*known(table)[COLUMNS[:4]].itertuples(index=False, name=None)}:
                add(measured(out, knobs, arm, seed), table)


def add(found: pd.DataFrame, table: Path) -> None:
    """Add rows to the CSV, which other commands may write as well: one at a time, and no row twice."""
    held = os.open(table.parent, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        rows = pd.concat([known(table), found]).drop_duplicates(COLUMNS[:4]).sort_values(COLUMNS[:4])
        write_tables(table.parent, {table.stem: rows})
    finally:
        os.close(held)
    print(found.to_string(), flush=True)


def known(table: Path) -> pd.DataFrame:
    return read_table(table, *COLUMNS) if table.is_file() else pd.DataFrame(columns=COLUMNS)


def model(out: Path, knobs: tuple[float, float]) -> Path:
    return out / cell(*knobs) / "model"


def measured(out: Path, knobs: tuple[float, float], arm: str, seed: int) -> pd.DataFrame:
    """The rows of one SOAR run: its teacher, and beside the first arm the untrained one. `wrote_useful` and
    `wrote_decoys` are the shares in the last round of a trained teacher, in the first of the untrained one."""
    folder = out / cell(*knobs) / arm / f"seed{seed}"
    config, shipped = settings(str(model(out, knobs)), seed), bases.load(str(model(out, knobs)))
    soar.run(config, folder, True, shipped, teacher_reward=ARMS[arm], hooks=Hooks(progress=False))
    value.write(shipped, [folder], SETS, folder / "values.csv", untrained=arm == "grounded")
    shares = mix.mix(mix.written(folder)).reindex(columns=[mix.USEFUL, "decoy"], fill_value=0.0)
    rows = []
    for row in read_table(folder / "values.csv", "teacher", "value").itertuples():
        who, wrote = (arm, shares.iloc[-1]) if row.teacher == "trained" else (UNTRAINED, shares.iloc[0])
        rows.append([*knobs, who, seed, round(row.value, 5), *wrote.round(4)])
    return pd.DataFrame(rows, columns=COLUMNS)


def gaps(data: pd.DataFrame) -> pd.DataFrame:
    """`COMPARED` in points, paired by seed: useful, decoys, compared, ours, low, high, seeds, and in `wrote` the share
    of useful problems that the untrained teachers wrote."""
    rows = []
    for (useful, decoys), part in data.groupby(["useful", "decoys"]):
        wrote = part.loc[part["arm"] == UNTRAINED, "wrote_useful"].mean()
        by = part.pivot(index="seed", columns="arm", values="value")
        for compared, (arm, other) in COMPARED.items():
            if {arm, other} <= {*by}:
                found = over_seeds((100 * (by[arm] - by[other])).dropna().tolist())
                row = dict(ours=found.ours, low=found.low, high=found.high, seeds=found.seeds)
                rows.append(dict(useful=useful, decoys=decoys, wrote=wrote, compared=compared) | row)
    return pd.DataFrame(rows)


def figure(data: pd.DataFrame) -> Chart:
    """The map: a panel for each comparison over the share of useful problems that untrained teachers wrote, a line for
    each share of decoys."""
    panels, found = [], gaps(data)
    for compared, own in found.groupby("compared", sort=False):
        marks = [
            Mark(100 * part["wrote"], part["ours"], f"{100 * decoys:.0f} % decoys", COLOURS[1 + place], "-", "o",
                 low=part["low"], high=part["high"])
            for place, (decoys, part) in enumerate(own.groupby("decoys"))
        ]  # fmt: skip
        label = "useful problems that the untrained teacher wrote (%)"
        panels.append(Panel(marks, label, f"{compared}\n(points)", rules=[("y", 0, "")]))
    runs = " to ".join(map(str, sorted({found["seeds"].min(), found["seeds"].max()})))
    note = f"SOAR runs a cell: {runs}; a lone run has no interval"
    return Chart(panels, size=(8.0, 1.0 + 2.4 * len(panels)), shared="x", note=note)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.payoff", description="When does training the teacher pay?")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base that priors are trained from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of payoff.csv")
    parser.add_argument("--seeds", type=int, nargs="+", default=[*RUNS], help="of the runs; all by default")
    arguments = parser.parse_args()
    measure(arguments.base, arguments.out, arguments.seeds, arguments.data / "payoff.csv")


if __name__ == "__main__":
    main()
