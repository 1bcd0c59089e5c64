"""Figures of SvS and its controls: entropy and pass@k, the arms beside the paper, what became of the variants.

As in measure/plots.py a table goes in and a figure comes out. Tables are those of `svs_report` and `svs_tables`; an
arm looks the same in every figure.
"""

from collections.abc import Sequence

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soar_lib.measure.plots import COLOURS, STYLE
from soar_lib.soar import figures as study_plots
from soar_lib.soar.figures import draw_bands, means, name, side_legend, styles
from soar_lib.svs.settings import SVS_ARMS
from soar_lib.svs.tables import passes

LOOK = styles(SVS_ARMS)
MAIN = ("base", "rlvr", "svs", "rlvr_equal_rollouts", "second_rollout")  # arms of the static figure of pass@k
CONTROLS = (*MAIN, "rlvr_equal_updates")  # and of entropy
QUANTITIES = {
    "entropy": "entropy on the step's problems\n(nats per token)",
    "test_entropy": "entropy on the test problems\n(nats per token)",
    "accuracy": "right answers on the step's problems (%)",
}
AXES = {"step": "updates", "rollouts": "completions drawn for learning"}
MEASURES = {
    "readable": "readable (%)", "valid": "valid, of the readable (%)", "leaking": "giving something away (%)",
    "duplicate": "near duplicates (%)", "rewarded": "rewarded (%)",
}  # fmt: skip


def panels(rows: int, columns: int, size: tuple[float, float], **shared: bool | str) -> tuple[Figure, list[Axes]]:
    """A figure with rows times columns panels, row by row."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        return figure, list(figure.subplots(rows, columns, squeeze=False, **shared).ravel())


# ------------------------------------------------------------------ along the steps


def along(data: pd.DataFrame, y: str, smoothing: int = 1) -> pd.DataFrame:
    """The mean over seeds of each arm after each update where y was measured: columns arm, step, rollouts (mean over
    seeds), y, sd, seeds. `data` is a table of `svs_tables.steps`; smoothing is that of `study_plots.means`."""
    known = data.dropna(subset=[y])
    frame, spent = means(known, "step", y, smoothing), known.groupby(["arm", "step"])["rollouts"].mean().reset_index()
    return frame.merge(spent, on=["arm", "step"], how="left")[["arm", "step", "rollouts", y, "sd", "seeds"]]


def curve(frame: pd.DataFrame, x: str, y: str, smoothing: int = 1) -> Figure:
    """One line per arm of a table of `along`, with a band of one SD over seeds on each side; x one of `AXES`."""
    figure, (axes,) = panels(1, 1, (9.0, 4.4))
    _lines(axes, frame, x, y)
    axes.set(xlabel=AXES[x], title=_averaged(smoothing))
    axes.set_ylim(bottom=0)
    side_legend(figure, axes)
    return figure


def entropy(data: pd.DataFrame, arms: Sequence[str] = CONTROLS, smoothing: int = 5) -> Figure:
    """Entropy on each step's own problems (smoothed) above, on the test problems below; left against the updates, as
    far as `svs` has them, right against the completions drawn. `data` is a table of `svs_tables.steps`."""
    chosen = data[data["arm"].isin(arms)]
    last = chosen.loc[chosen["arm"] == "svs", "step"].max()
    figure, grid = panels(2, 2, (10.0, 6.4), sharex="col", sharey="row")
    for axes, y, x in zip(grid, ("entropy", "entropy", "test_entropy", "test_entropy"), (*AXES, *AXES), strict=True):
        part = chosen[chosen["step"] <= last] if x == "step" and pd.notna(last) else chosen
        _lines(axes, along(part, y, smoothing if y == "entropy" else 1), x, y)
    for axes, x in zip(grid[2:], AXES, strict=True):
        axes.set_xlabel(AXES[x])
        axes.locator_params(axis="x", nbins=6)
    for axes in (grid[1], grid[3]):
        axes.set_ylabel("")
    for axes in grid:
        axes.set_ylim(bottom=0)
    heading = _averaged(1) + (f"; above a moving average of {smoothing}" if smoothing > 1 else "")
    grid[0].set_title(heading, loc="left")  # over both columns; a title of the figure would reach the legend
    side_legend(figure, grid[0])
    return figure


def _lines(axes: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    percent = 100 if y == "accuracy" else 1
    draw_bands(axes, frame.assign(**{y: percent * frame[y], "sd": percent * frame["sd"]}), x, y, LOOK)
    axes.set_ylabel(QUANTITIES[y])


def _averaged(smoothing: int) -> str:
    return "Mean over seeds, band: ± 1 SD" + (f"; moving average of {smoothing}" if smoothing > 1 else "")


# ------------------------------------------------------------------ pass@k


def pass_at_k(data: pd.DataFrame, where: str = "the hard set") -> Figure:
    """pass@k of each arm with its 95 % interval; the columns of `passk.COLUMNS`, as `svs_tables.passes` gives them."""
    figure = study_plots.pass_at_k(data, where, LOOK)
    figure.legends[0].set_title("arm (seeds)")
    return figure


def beside_paper(data: pd.DataFrame) -> Figure:
    """pass@1 on the hard set, and pass@k at the largest k that the paper has too (else the largest that all arms have):
    ours with its 95 % interval, the paper's as a hollow diamond. `data` is a table of `svs_report.table`."""
    known, arms = passes(data[data["paper"].notna()])["k"], list(dict.fromkeys(data["arm"]))
    shared = passes(data).groupby("k")["arm"].nunique()
    largest = shared[shared == shared.max()].index.max() if (known <= 1).all() else known.max()
    ks = sorted({1, int(largest)})
    figure, grid = panels(1, len(ks), (4.8 * len(ks) + 0.4, 1.4 + 0.34 * len(arms)), sharey=True)
    for axes, k in zip(grid, ks, strict=True):
        _beside(axes, data[data["metric"] == f"hard pass@{k}"].set_index("arm").reindex(arms))
        axes.set_xlabel(f"pass@{k} on the hard set (%)")
        axes.set_xlim(left=0)
    grid[0].set_yticks(range(len(arms)), [name(arm) for arm in arms], fontsize=9)
    grid[0].set(ylim=(len(arms) - 0.5, -0.5), ylabel="arm")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles[-2:], labels[-2:], loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return figure


def _beside(axes: Axes, part: pd.DataFrame) -> None:
    for place, row in enumerate(part.itertuples()):
        look = {"fmt": LOOK[row.Index]["marker"], "color": LOOK[row.Index]["color"]}
        errors = [[100 * (row.mean - row.low)], [100 * (row.high - row.mean)]]
        label = "ours, 95 % interval" if place == len(part) - 1 else None
        axes.errorbar(100 * row.mean, place, xerr=errors, capsize=3, ms=6, label=label, **look)
    where = {"label": "paper (another model, other problems)", "ms": 7, "mfc": "none", "mec": COLOURS[6]}
    axes.plot(100 * part["paper"], range(len(part)), "D", **where)


# ------------------------------------------------------------------ variants


def shares(data: pd.DataFrame) -> Figure:
    """Shares of the written problems along the steps, a panel for each of `MEASURES` that is known, one line per arm;
    `data` is a table of `svs_tables.binned`."""
    known = [measure for measure in MEASURES if data[measure].notna().any()]
    figure, grid = panels(2, 3, (10.0, 5.8), sharex=True, sharey=True)
    for axes, measure in zip(grid, known):
        percent = data.assign(**{measure: 100 * data[measure]})
        draw_bands(axes, means(percent, "step", measure), "step", measure, LOOK)
        axes.set(title=MEASURES[measure], ylabel="", ylim=(-2, 102))
    for axes in grid[len(known) :]:
        axes.remove()
    for axes in grid[max(0, len(known) - 3) : len(known)]:  # those with no panel below them
        axes.xaxis.set_tick_params(labelbottom=True)
    figure.supxlabel("first step of those counted together; mean over seeds, band: ± 1 SD", fontsize=10)
    figure.supylabel("share of the written problems (%)", fontsize=10)
    side_legend(figure, grid[0])
    return figure
