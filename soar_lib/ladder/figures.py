"""Figures of a LADDER run: its arms beside the paper, its variants, what they are worth, and TTRL step by step.

As in measure/plots.py a table goes in and a figure comes out. Tables are those of `ladder_report`; fractions of 1 are
drawn as percent.
"""

from statistics import fmean

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soar_lib.measure.plots import COLOURS, new_axes
from soar_lib.measure.tables import title
from soar_lib.soar.figures import side_legend, styles

# `ladder_report.FATES` for readers, and their colours.
FATES = {
    "usable": ("usable", COLOURS[2]), "repeats": ("repeats another", COLOURS[1]),
    "unsolvable": ("cannot be checked", COLOURS[3]), "test_problems": ("is a test problem", COLOURS[6]),
    "no_question": ("no question", "#999999"),
}  # fmt: skip
TREES = {"ladder": "trees", "one_level": "one level", "ttrl": "trees of test problems"}
TIMES = {"base": "before (untrained model)", "ladder": "after (LADDER)"}


def arms(data: pd.DataFrame) -> Figure:
    """Every number of `ladder_report.table` with its 95 % interval, the paper's as a hollow diamond."""
    figure, (axes,) = new_axes(size=(9.0, 1.4 + 0.36 * len(data)))
    look = styles(data["arm"])
    for place, row in enumerate(data.itertuples()):
        errors = [[100 * (row.mean - row.low)], [100 * (row.high - row.mean)]]
        axes.errorbar(100 * row.mean, place, xerr=errors, capsize=3, ms=6, **look[row.arm] | {"ls": ""})
    axes.plot(100 * data["paper"], range(len(data)), "D", mfc="none", mec=COLOURS[6], ms=7, label="paper")
    names = [f"{title(row.arm)}, {row.metric} ({row.seeds})" for row in data.itertuples()]
    axes.set_yticks(range(len(data)), names, fontsize=9)
    axes.set(ylim=(len(data) - 0.5, -0.5), xlim=(-2, 102))
    axes.set(xlabel="right on the test problems (%), 95 % intervals", ylabel="arm, measure (seeds)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", fontsize=9, frameon=False)
    return figure


def levels(data: pd.DataFrame) -> Figure:
    """Accuracy on the variants by level, before and after, with 95 % intervals; the table of `ladder_report.levels`."""
    figure, (axes,) = new_axes(size=(9.0, 4.2))
    look = styles(TIMES)
    for index, (arm, part) in enumerate(data.groupby("arm", sort=False)):
        errors = [100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])]
        places = part["level"] + 0.05 * (2 * index - 1)  # beside each other, so that intervals do not hide one another
        axes.errorbar(places, 100 * part["mean"], yerr=errors, capsize=3, ms=5, **look[arm], label=TIMES[arm])
    counts = data.groupby("level")["problems"].max()
    axes.set_xticks(counts.index, [f"{level}\n({count})" for level, count in counts.items()])
    axes.set(xlabel="level of the variant (variants)", ylabel="right answers (%)", ylim=(0, 102))
    axes.set_title("Accuracy on the trees' variants, 95 % intervals")
    axes.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def variants(data: pd.DataFrame) -> Figure:
    """What became of the variants, a bar for each kind of tree and level; the table of `ladder_report.trees`."""
    figure, (axes,) = new_axes(size=(9.0, 1.6 + 0.42 * len(data)))
    total, end = data[list(FATES)].sum(axis=1), 0.0 * data["usable"]
    for fate, (text, colour) in FATES.items():
        share = 100 * data[fate] / total
        axes.barh(range(len(data)), share, 0.8, end, color=colour, label=text)
        for place, (left, width) in enumerate(zip(end, share, strict=True)):
            if width >= 4:
                axes.text(left + width / 2, place, f"{width:.0f}", ha="center", va="center", color="white", fontsize=9)
        end = end + share
    names = [f"{TREES[row.tree]}, level {row.level} ({row.prompts:,})" for row in data.itertuples()]
    axes.set_yticks(range(len(data)), names, fontsize=9)
    axes.set_ylim(len(data) - 0.5, -0.5)
    axes.grid(False)
    axes.set(xlabel="share of what the prompts gave (%)", ylabel="kind of tree, level (prompts)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=9, frameon=False)
    return figure


def ttrl(data: pd.DataFrame) -> Figure:
    """Right probes after each step of TTRL, test problems solved by any probe so far, and the reward on the variants,
    the mean over test problems and seeds; bands: 95 % intervals. The table of `ladder_report.ttrl`."""
    figure, (right, solved, reward) = new_axes(3, (9.0, 8.0))
    look = styles(data["arm"])
    for arm, part in data.groupby("arm", sort=False):
        _band(right, part, ("right", "low", "high"), look[arm], title(arm))
        _band(solved, part, ("solved", "solved_low", "solved_high"), look[arm], title(arm))
        reward.plot(part["step"], part["reward"], **look[arm], ms=4, label=title(arm))
    right.set(ylabel="right probes (%)", ylim=(0, 102), title="Mean over test problems and seeds, 95 % intervals")
    solved.set(ylabel="solved at any step so far (%)", ylim=(0, 102))
    reward.set(ylabel="reward on the variants", xlabel="step of TTRL (0: before the first)")
    reward.xaxis.get_major_locator().set_params(integer=True)
    side_legend(figure, right)
    return figure


def _band(axes: Axes, part: pd.DataFrame, columns: tuple[str, str, str], look: dict[str, str], label: str) -> None:
    mean, low, high = (100 * part[column] for column in columns)
    axes.fill_between(part["step"], low, high, color=look["color"], alpha=0.15, lw=0)
    axes.plot(part["step"], mean, **look, ms=4, label=label)


# ------------------------------------------------------------------ one problem


def tree(data: pd.DataFrame) -> Figure:
    """The tree of one problem from left to right: each variant in the colour of what became of it, the root in black.

    `data` has the columns id, parent, level and fate (one of `FATES`), parents before their children.
    """
    places = _places(data)
    figure, (axes,) = new_axes(size=(9.0, 1.2 + 0.1 * max(12, len(places))))
    points = {node: (level, places[node]) for node, level in zip(data["id"], data["level"], strict=True)}
    points |= {node: (0, place) for node, place in places.items() if node not in points}
    for node, parent in zip(data["id"], data["parent"], strict=True):
        axes.plot(*zip(points[parent], points[node]), color="#bbbbbb", lw=0.7, zorder=1)
    axes.plot(*points[data["parent"].iloc[0]], "s", color="black", label="the problem", ls="")
    for fate, (text, colour) in FATES.items():
        own = [points[node] for node in data.loc[data["fate"] == fate, "id"]]
        if own:
            axes.plot(*zip(*own), "o", color=colour, ms=5, ls="", label=f"{text} ({len(own)})")
    axes.set(xlabel="level", yticks=[], xlim=(-0.2, data["level"].max() + 0.2))
    axes.set_xticks(range(data["level"].max() + 1))
    axes.invert_yaxis()
    side_legend(figure, axes)
    return figure


def _places(data: pd.DataFrame) -> dict[str, float]:
    """The height of each node: leaves one under another in the order written, parents in the middle of their own."""
    children = data.groupby("parent", sort=False)["id"].apply(list).to_dict()
    places: dict[str, float] = {}

    def put(node: str, free: int) -> int:
        """Give places to a node and all below it from `free` on; returns the first one that is left."""
        own = children.get(node, [])
        for child in own:
            free = put(child, free)
        places[node] = fmean(places[child] for child in own) if own else free
        return free if own else free + 1

    put(data["parent"].iloc[0], 0)
    return places


def one_problem(data: pd.DataFrame) -> Figure:
    """TTRL on one test problem: right probes after each step above, the reward on its variants below.

    `data` is a part of `ladder_report.probes`.
    """
    figure, (right, reward) = new_axes(2, (9.0, 4.6))
    colours = [COLOURS[2] if share else COLOURS[3] for share in data["right"]]
    right.vlines(data["step"], 0, data["right"] / data["probes"], color="#bbbbbb", lw=1, zorder=1)
    right.scatter(data["step"], data["right"] / data["probes"], c=colours, s=30)
    right.set(ylabel="share of right probes", ylim=(-0.1, 1.1))
    reward.plot(data["step"], data["reward"], color=COLOURS[0], marker="o", ms=4)
    reward.set(ylabel="reward on the variants", xlabel="step of TTRL (0: before the first)")
    reward.xaxis.get_major_locator().set_params(integer=True)
    return figure
