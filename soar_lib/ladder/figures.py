"""Figures of a LADDER run: its arms beside the paper, its variants, what they are worth, and TTRL step by step.

As in measure/drawing.py a table goes in and a figure comes out. Tables are those of `ladder.report`.
"""

from itertools import count
from statistics import fmean

import pandas as pd
from matplotlib.figure import Figure

from soar_lib.measure import drawing, plots
from soar_lib.measure.drawing import COLOURS, looks, panels
from soar_lib.measure.names import TIMES, TREES
from soar_lib.measure.tables import name, percent

# What became of a variant (`ladder.report.FATES`) for readers, and its colour.
FATE_LOOKS = {
    "usable": ("usable", COLOURS[2]), "repeats": ("repeats another", COLOURS[1]),
    "unsolvable": ("cannot be checked", COLOURS[3]), "test_problems": ("is a test problem", COLOURS[6]),
    "no_question": ("no question", "#999999"),
}  # fmt: skip


def rows(data: pd.DataFrame) -> pd.DataFrame:
    """The table of `ladder.report.table` as text: arm, measure, ours with its 95 % interval, the paper's, seeds,
    completions that made one student; what the paper lacks is a dash."""
    found = [
        [
            name(row.arm), row.metric, percent(row.mean, row.low, row.high),
            "–" if pd.isna(row.paper) else f"{100 * row.paper:.0f}", row.seeds, f"{row.rollouts:,}",
        ]
        for row in data.itertuples(index=False)
    ]  # fmt: skip
    return pd.DataFrame(found, columns=["arm", "measure", "ours, %", "paper, %", "seeds", "completions"])


def arms(data: pd.DataFrame) -> Figure:
    """Every number of `ladder.report.table` with its 95 % interval, the paper's as a hollow diamond."""
    figure, (axes,) = panels(size=(9.0, 1.4 + 0.36 * len(data)))
    look = looks(data["arm"])
    drawing.dots(axes, data, [look[arm] for arm in data["arm"]])
    drawing.name_rows(axes, [f"{name(row.arm)}, {row.metric} ({row.seeds})" for row in data.itertuples()])
    axes.set(xlim=(-2, 102), xlabel="right on the test problems (%), 95 % intervals", ylabel="arm, measure (seeds)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", fontsize=9, frameon=False)
    return figure


def curves(metrics: pd.DataFrame, smoothing: int = 5) -> Figure:
    """The share of answers with the top reward along the steps, one line per arm; rows of the run's metrics.csv."""
    frame = drawing.means(metrics, "step", "top_reward", smoothing)
    return plots.lines(frame, "step", "top_reward", ("answers with the top reward (%)", 100), smoothing)


def levels(data: pd.DataFrame) -> Figure:
    """Accuracy on the variants by level, before and after, with 95 % intervals; the table of `ladder.report.levels`."""
    figure, (axes,) = panels(size=(9.0, 4.2))
    look = looks(TIMES)
    for index, (arm, part) in enumerate(data.groupby("arm", sort=False)):
        places = part["level"] + 0.05 * (2 * index - 1)  # beside each other, so that intervals do not hide one another
        own = look[arm] | {"label": TIMES[arm]}
        axes.errorbar(places, 100 * part["mean"], yerr=drawing.whiskers(part), capsize=3, ms=5, **own)
    counts = data.groupby("level")["problems"].max()
    axes.set_xticks(counts.index, [f"{level}\n({count})" for level, count in counts.items()])
    axes.set(xlabel="level of the variant (variants)", ylabel="right answers (%)", ylim=(0, 102))
    axes.set_title("Accuracy on the trees' variants, 95 % intervals")
    axes.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def variants(data: pd.DataFrame) -> Figure:
    """What became of the variants, a bar for each kind of tree and level; the table of `ladder.report.trees`."""
    figure, (axes,) = panels(size=(9.0, 1.6 + 0.42 * len(data)))
    counts = data[list(FATE_LOOKS)]
    for place, shares in enumerate((100 * counts.div(counts.sum(axis=1), axis=0)).to_dict("records")):
        parts = [(text, shares[fate], colour, "white") for fate, (text, colour) in FATE_LOOKS.items()]
        drawing.stack(axes, place, parts)
    drawing.name_rows(axes, [f"{TREES[row.tree]}, level {row.level} ({row.prompts:,})" for row in data.itertuples()])
    axes.grid(False)
    axes.set(xlabel="share of what the prompts gave (%)", ylabel="kind of tree, level (prompts)")
    handles, labels = axes.get_legend_handles_labels()
    drawing.top_legend(figure, handles[: len(FATE_LOOKS)], labels[: len(FATE_LOOKS)])
    return figure


def ttrl(data: pd.DataFrame) -> Figure:
    """Right probes after each step of TTRL, test problems solved by any probe so far, and the reward on the variants,
    the mean over test problems and seeds; bands: 95 % intervals. The table of `ladder.report.ttrl`."""
    figure, (right, solved, reward) = panels(3, size=(9.0, 8.0), sharex=True)
    look = looks(data["arm"])
    drawing.draw_bands(right, data, "step", ("right", "low", "high"), look, 100)
    drawing.draw_bands(solved, data, "step", ("solved", "solved_low", "solved_high"), look, 100)
    for arm, part in data.groupby("arm", sort=False):
        reward.plot(part["step"], part["reward"], **look[arm], ms=4)
    right.set(ylabel="right probes (%)", ylim=(0, 102), title="Mean over test problems and seeds, 95 % intervals")
    solved.set(ylabel="solved at any step so far (%)", ylim=(0, 102))
    reward.set(ylabel="reward on the variants", xlabel="step of TTRL (0: before the first)")
    drawing.side_legend(figure, right)
    return figure


# ------------------------------------------------------------------ one problem


def tree(data: pd.DataFrame) -> Figure:
    """The tree of one problem from left to right: each variant in the colour of what became of it, the root in black.
    `data` has the columns id, parent, level and fate (a key of `FATE_LOOKS`), parents before their children."""
    places = _places(data)
    figure, (axes,) = panels(size=(9.0, 1.2 + 0.1 * max(12, len(places))))
    points = {node: (level, places[node]) for node, level in zip(data["id"], data["level"], strict=True)}
    points |= {node: (0, place) for node, place in places.items() if node not in points}
    for node, parent in zip(data["id"], data["parent"], strict=True):
        axes.plot(*zip(points[parent], points[node]), color="#bbbbbb", lw=0.7, zorder=1)
    axes.plot(*points[data["parent"].iloc[0]], "s", color="black", label="the problem", ls="")
    for fate, (text, colour) in FATE_LOOKS.items():
        own = [points[node] for node in data.loc[data["fate"] == fate, "id"]]
        if own:
            axes.plot(*zip(*own), "o", color=colour, ms=5, ls="", label=f"{text} ({len(own)})")
    axes.set(xlabel="level", yticks=[], xlim=(-0.2, data["level"].max() + 0.2))
    axes.set_xticks(range(data["level"].max() + 1))
    axes.invert_yaxis()
    drawing.side_legend(figure, axes)
    return figure


def _places(data: pd.DataFrame) -> dict[str, float]:
    """The height of each node: leaves one under another in the order written, parents in the middle of their own."""
    children, leaves = data.groupby("parent", sort=False)["id"].apply(list).to_dict(), count()
    places: dict[str, float] = {}

    def put(node: str) -> float:
        own = [put(child) for child in children.get(node, [])]
        places[node] = fmean(own) if own else next(leaves)
        return places[node]

    put(data["parent"].iloc[0])
    return places


def one_problem(data: pd.DataFrame) -> Figure:
    """TTRL on one test problem, a part of `ladder.report.probes`: right probes after each step above, the reward on its
    variants below."""
    figure, (right, reward) = panels(2, size=(9.0, 4.6), sharex=True)
    shares, colours = data["right"] / data["probes"], [COLOURS[2] if count else COLOURS[3] for count in data["right"]]
    right.vlines(data["step"], 0, shares, color="#bbbbbb", lw=1, zorder=1)
    right.scatter(data["step"], shares, c=colours, s=30)
    right.set(ylabel="share of right probes", ylim=(-0.1, 1.1))
    reward.plot(data["step"], data["reward"], color=COLOURS[0], marker="o", ms=4)
    reward.set(ylabel="reward on the variants", xlabel="step of TTRL (0: before the first)")
    reward.xaxis.get_major_locator().set_params(integer=True)
    return figure
