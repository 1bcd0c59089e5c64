"""The comparison of methods (figures/data/methods.csv, made by tools/methods.py): one row per method, seed and place on
its way, with the completions so far and pass@1 and pass@32 on hard test."""

import pandas as pd

from soar_lib.measure.charts import Chart, Panel, bands
from soar_lib.measure.claims import over_seeds
from soar_lib.measure.tables import name, percent

PROBLEMS = {"hard": "hard problems alone", "pool": "hard and easier problems"}
TICKS = {10**power: f"{10**power:,}" for power in range(2, 7)}


def places(found: pd.DataFrame, column: str = "pass@32") -> pd.DataFrame:
    """Means over seeds with 95 % intervals, fractions: columns problems, method, place (of the measurement on the
    method's way), completions, mean, low, high, seeds."""
    keys = ["problems", "method"]
    place = found.sort_values("completions", kind="stable").groupby([*keys, "seed"]).cumcount()

    def mean(own: pd.DataFrame) -> dict:
        value = over_seeds(own[column].tolist(), difference=False)
        ends = {"low": max(0.0, value.low), "high": min(1.0, value.high)}
        return {"completions": own["completions"].mean(), "mean": value.ours, **ends, "seeds": value.seeds}

    groups = found.assign(place=place).groupby([*keys, "place"])
    return pd.DataFrame([dict(zip(groups.keys, where)) | mean(own) for where, own in groups])


def by_completions(found: pd.DataFrame) -> Chart:
    """pass@32 of each method along its way with 95 % intervals, a panel for each kind of problems."""
    label, way, panels = "pass@32 on hard test (%)", "completions on the way to the student (logarithmic)", []
    for problems, own in places(found).rename(columns={"method": "arm"}).groupby("problems"):
        title, base = f"Learns from {PROBLEMS[problems]}", 100 * own.query("completions == 0")["mean"].mean()
        axes = {"ylim": (-2, 102), "ticks": TICKS, "log": True, "rules": [("y", base, name("base"))]}
        panels.append(Panel(bands(own.query("completions > 0"), "completions", "mean", 100), way, label, title, **axes))
    return Chart(panels, 2, (10.0, 5.2), shared="xy", legend="top", note="mean over seeds and 95 % interval")


def method_rows(found: pd.DataFrame) -> pd.DataFrame:
    """The end of each method on each kind of problems as a table of text, the best pass@32 first."""
    last = [places(found, column).groupby(["problems", "method"]).last() for column in ("pass@32", "pass@1")]
    both = last[0].join(last[1].add_suffix("_1")).sort_values(["problems", "mean"], ascending=[True, False])
    rows = [
        [
            PROBLEMS[row.Index[0]], name(row.Index[1]), f"{row.completions:,.0f}", row.seeds,
            percent(row.mean_1, row.low_1, row.high_1), percent(row.mean, row.low, row.high),
        ]
        for row in both.itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["learns from", "method", "completions", "seeds", "pass@1, %", "pass@32, %"])
