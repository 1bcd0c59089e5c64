"""Figures of SvS and its controls: entropy and pass@k, the arms beside the paper, what became of the variants.

As in measure/drawing.py a table goes in and a figure comes out. Tables are those of `svs.report`; an arm looks the same
in every figure.
"""

from collections.abc import Sequence
from itertools import product

import pandas as pd
from matplotlib.figure import Figure

from soar_lib.measure import drawing, plots
from soar_lib.measure.drawing import averaged, draw_means, means, panels
from soar_lib.measure.tables import name, percent, signed
from soar_lib.svs.report import passes
from soar_lib.svs.settings import MAIN, SVS_ARMS

LOOK = drawing.looks(SVS_ARMS)
CONTROLS = (*MAIN, "rlvr_equal_updates")  # arms of the static figure of entropy
# What the y axis says, and the factor to its unit.
QUANTITIES = {
    "entropy": ("entropy on the step's problems\n(nats per token)", 1),
    "test_entropy": ("entropy on the test problems\n(nats per token)", 1),
    "accuracy": ("right answers on the step's problems (%)", 100),
}
AXES = {"step": "updates", "rollouts": "completions drawn for learning"}
MEASURES = {
    "readable": "readable (%)", "valid": "valid, of the readable (%)", "leaking": "giving something away (%)",
    "duplicate": "near duplicates (%)", "rewarded": "rewarded (%)",
}  # fmt: skip


# ------------------------------------------------------------------ along the steps


def along(data: pd.DataFrame, y: str, smoothing: int = 1) -> pd.DataFrame:
    """The mean over seeds of each arm after each update where y was measured: columns arm, step, rollouts (mean over
    seeds), y, sd, seeds. `data` is a table of `svs.report.steps`; smoothing is that of `drawing.means`."""
    known = data.dropna(subset=[y])
    spent = known.groupby(["arm", "step"])["rollouts"].mean()
    frame = means(known, "step", y, smoothing).join(spent, on=["arm", "step"])
    return frame[["arm", "step", "rollouts", y, "sd", "seeds"]]


def curve(frame: pd.DataFrame, x: str, y: str, smoothing: int = 1) -> Figure:
    """One line per arm of a table of `along`, with a band of one SD over seeds on each side; x one of `AXES`."""
    figure = plots.lines(frame, x, y, QUANTITIES[y], smoothing, LOOK)
    (axes,) = figure.axes
    axes.set(xlabel=AXES[x], title=averaged(smoothing, "± 1 SD"))
    axes.set_ylim(bottom=0)
    return figure


def entropy(data: pd.DataFrame, arms: Sequence[str] = CONTROLS, smoothing: int = 5) -> Figure:
    """Entropy on each step's own problems (smoothed) above, on the test problems below; left against the updates, as
    far as `svs` has them, right against the completions drawn. `data` is a table of `svs.report.steps`."""
    chosen = data[data["arm"].isin(arms)]
    last = chosen.loc[chosen["arm"] == "svs", "step"].max()
    figure, grid = panels(2, 2, (10.0, 6.4), sharex="col", sharey="row")
    for axes, (y, x) in zip(grid, product(("entropy", "test_entropy"), AXES), strict=True):
        part = chosen[chosen["step"] <= last] if x == "step" and pd.notna(last) else chosen
        draw_means(axes, along(part, y, smoothing if y == "entropy" else 1), x, y, LOOK)
    for axes, y in zip(grid[::2], ("entropy", "test_entropy"), strict=True):
        axes.set_ylabel(QUANTITIES[y][0])
        axes.set_ylim(bottom=0)  # once all is drawn, as both panels of a row share it
    for axes, x in zip(grid[2:], AXES, strict=True):
        axes.set_xlabel(AXES[x])
        axes.locator_params(axis="x", nbins=6)
    heading = averaged(1, "± 1 SD") + (f"; above a moving average of {smoothing}" if smoothing > 1 else "")
    grid[0].set_title(heading, loc="left")  # over both columns; a title of the figure would reach the legend
    drawing.side_legend(figure, grid[0])
    return figure


# ------------------------------------------------------------------ pass@k


def rows(data: pd.DataFrame) -> pd.DataFrame:
    """The arms of a table of `svs.report.table` as text: the completions that trained a seed, pass@k on the hard set in
    percent with 95 % intervals at every k that the paper has (its number beside ours) and at the largest, and the
    entropy on test."""
    hard = [metric for metric in dict.fromkeys(data["metric"]) if metric.startswith("hard pass@")]
    known = {*data.loc[data["paper"].notna(), "metric"], max(hard, key=lambda metric: int(metric.partition("@")[2]))}
    found = []
    for arm, part in data.groupby("arm", sort=False):
        own = {row.metric: row for row in part.itertuples(index=False)}
        row = {"arm": name(arm), "completions": f"{part['rollouts'].iloc[0]:,}"}
        for metric in (metric for metric in hard if metric in known):
            one, k = own.get(metric), metric.removeprefix("hard ")
            row[f"{k}, %"] = percent(one.mean, one.low, one.high) if one else "–"
            if data.loc[data["metric"] == metric, "paper"].notna().any():
                row[f"paper's {k}"] = f"{100 * one.paper:.1f}" if one and pd.notna(one.paper) else "–"
        left = own["test entropy"]
        found.append(row | {"entropy on test, nats": signed(left.mean, left.low, left.high, 3)})
    return pd.DataFrame(found)


def pass_at_k(data: pd.DataFrame, where: str = "the hard set") -> Figure:
    """pass@k of each arm with its 95 % interval; a table of `svs.report.passes`."""
    return plots.pass_at_k(data, where, LOOK, "seeds")


def beside_paper(data: pd.DataFrame) -> Figure:
    """pass@1 on the hard set, and pass@k at the largest k that the paper has too (else the largest that all arms have):
    ours with its 95 % interval, the paper's as a hollow diamond. `data` is a table of `svs.report.table`."""
    known, arms = passes(data[data["paper"].notna()])["k"], list(dict.fromkeys(data["arm"]))
    shared = passes(data).groupby("k")["arm"].nunique()
    largest = shared[shared == shared.max()].index.max() if (known <= 1).all() else known.max()
    ks = sorted({1, int(largest)})
    figure, grid = panels(1, len(ks), (4.8 * len(ks) + 0.4, 1.4 + 0.34 * len(arms)), sharey=True)
    for axes, k in zip(grid, ks, strict=True):
        own = data[data["metric"] == f"hard pass@{k}"].set_index("arm").reindex(arms)
        drawing.dots(axes, own, [LOOK[arm] for arm in arms])
        axes.set_xlabel(f"pass@{k} on the hard set (%)")
        axes.set_xlim(left=0)
    drawing.name_rows(grid[0], list(map(name, arms)))
    grid[0].set_ylabel("arm")
    labels = ("paper (another model, other problems)", "ours, 95 % interval")
    drawing.top_legend(figure, (grid[0].lines[-1], grid[0].containers[-1]), labels, ncols=2)
    return figure


# ------------------------------------------------------------------ variants


def shares(data: pd.DataFrame) -> Figure:
    """Shares of the written problems along the steps, a panel for each of `MEASURES` that is known, one line per arm;
    `data` is a table of `svs.report.variants`."""
    known = [measure for measure in MEASURES if data[measure].notna().any()]
    figure, grid = panels(2, 3, (10.0, 5.8), sharex=True, sharey=True)
    for axes, measure in zip(grid, known):
        draw_means(axes, means(data, "step", measure), "step", measure, LOOK, 100)
        axes.set(title=MEASURES[measure], ylim=(-2, 102))
    for axes in grid[len(known) :]:
        axes.remove()
    for axes in grid[max(0, len(known) - 3) : len(known)]:  # those with no panel below them
        axes.xaxis.set_tick_params(labelbottom=True)
    figure.supxlabel("first step of those counted together; mean over seeds, band: ± 1 SD", fontsize=10)
    figure.supylabel("share of the written problems (%)", fontsize=10)
    drawing.side_legend(figure, grid[0])
    return figure
