"""The comparison of methods by what they reach and what they take (figures/data/methods.csv, made by tools/methods.py):
one row per method, seed and place on its way, with the completions so far and pass@1 and pass@32 on hard test."""

import pandas as pd

from soar_lib.measure.charts import Chart, Panel, arm_mark
from soar_lib.measure.claims import over_seeds
from soar_lib.measure.tables import name, percent

PROBLEMS = {"hard": "hard problems alone", "pool": "hard and easier problems"}
TICKS = {10**power: f"{10**power:,}" for power in range(2, 7)}


def places(found: pd.DataFrame, column: str = "pass@32") -> pd.DataFrame:
    """Means over seeds with 95 % intervals, fractions: columns problems, method, place (of the measurement on the
    method's way), completions, mean, low, high, seeds."""
    keys = ["problems", "method", "seed"]
    place, rows = found.sort_values("completions", kind="stable").groupby(keys).cumcount(), []
    for (problems, method, number), own in found.assign(place=place).groupby(["problems", "method", "place"]):
        value = over_seeds(own[column].tolist(), difference=False)
        low, high = max(0.0, value.low), min(1.0, value.high)
        rows.append([problems, method, number, own["completions"].mean(), value.ours, low, high, value.seeds])
    columns = ["problems", "method", "place", "completions", "mean", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def by_completions(found: pd.DataFrame) -> Chart:
    """pass@32 of each method along its way, a panel for each kind of problems; a method measured at its end alone is a
    point."""
    panels = []
    for problems, title in PROBLEMS.items():
        own = places(found).query("problems == @problems and completions > 0")
        marks = [
            arm_mark(
                method, part["completions"], 100 * part["mean"], low=100 * part["low"], high=100 * part["high"],
                ends="band" if len(part) > 1 else "y", size=5,
            )
            for method, part in own.groupby("method", sort=False)
        ]  # fmt: skip
        axes = {"x": "completions on the way to the student", "y": "pass@32 on hard test (%)", "ticks": TICKS}
        panels.append(Panel(marks, **axes, title=f"Learns from {title}", ylim=(-2, 102), log=True))
    note = "mean over seeds and 95 % interval; completions on a logarithmic scale"
    return Chart(panels, 2, (10.0, 5.2), shared="xy", legend="top", note=note)


def method_rows(found: pd.DataFrame) -> pd.DataFrame:
    """As text: each method at its end on each kind of problems, the best first."""
    one, many = (places(found, column).groupby(["problems", "method"]).tail(1) for column in ("pass@1", "pass@32"))
    both = many.merge(one, on=["problems", "method"], suffixes=("", "_1")).sort_values(["problems", "mean"])
    rows = [
        [
            PROBLEMS[row.problems], name(row.method), f"{row.completions:,.0f}", row.seeds,
            percent(row.mean_1, row.low_1, row.high_1), percent(row.mean, row.low, row.high),
        ]
        for row in both.iloc[::-1].itertuples()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["learns from", "method", "completions", "seeds", "pass@1, %", "pass@32, %"])
