"""What the figures of all methods are made of: panels, looks of arms, bands, rows of dots, bars and legends; `save`.

A figure function takes a table and gives a figure; `save` writes both, so a picture and its numbers cannot part. Here
are the parts, in measure/plots.py figures that several methods share, in each method's figures.py its own; which
figures the project has is said in tools/figures.py. Tables have fractions of 1, figures percent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot: nothing global, no display needed

from soar_lib.measure.tables import name

ROOT = Path("figures")
# Okabe and Ito's palette: told apart by readers with any common form of colour blindness.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
LINES = ["-", "--", ":", "-."]
STYLE = {
    "font.size": 11, "axes.titlesize": 12, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.3,
}  # fmt: skip
PAPER = {"marker": "D", "ls": "", "mfc": "none", "mec": COLOURS[6], "ms": 7, "label": "paper"}  # a hollow diamond
Draw = Callable[[pd.DataFrame], Figure]
Tables = dict[str, tuple[pd.DataFrame, Draw | None]]  # name of the CSV and the picture: what is in it, how it is drawn
Looks = dict[str, dict[str, str]]  # by arm, in matplotlib's words: color, marker, ls and label


def save(figure: Figure, name: str, data: pd.DataFrame, root: str | Path = ROOT) -> Path:
    """Write figures/<name>.png and the table behind it, figures/data/<name>.csv; returns the picture's path."""
    path = Path(root) / f"{name}.png"
    save_table(name, data, root)
    # Without the software's version in it, the same numbers give the same file.
    figure.savefig(path, dpi=150, bbox_inches="tight", metadata={"Software": None})
    return path


def save_table(name: str, data: pd.DataFrame, root: str | Path = ROOT) -> Path:
    """Write figures/data/<name>.csv; returns its path."""
    path = Path(root) / "data" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_csv(path, index=False, lineterminator="\n")
    return path


def save_all(tables: Tables, root: str | Path = ROOT) -> list[Path]:
    """Write every table, and its picture where it has one; returns the pictures' paths."""
    for table, (data, _) in tables.items():
        save_table(table, data, root)
    return [save(draw(data), table, data, root) for table, (data, draw) in tables.items() if draw]


def panels(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (9.0, 4.4), **grid
) -> tuple[Figure, list[Axes]]:
    """A figure of this size in inches and its panels, row by row; `grid` goes to `Figure.subplots`."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        return figure, list(figure.subplots(rows, columns, squeeze=False, **grid).ravel())


def looks(arms: Iterable[str]) -> Looks:
    """The look of each arm, by its place among them: up to 28 differ in colour or line."""
    return {
        arm: {
            "color": COLOURS[index % 7], "marker": MARKERS[(index + index // 7) % 7], "ls": LINES[index // 7 % 4],
            "label": name(arm),
        }
        for index, arm in enumerate(dict.fromkeys(arms))
    }  # fmt: skip


def side_legend(figure: Figure, axes: Axes, heading: str = "") -> None:
    """All arms beside the panels, where they hide nothing."""
    entries = axes.get_legend_handles_labels()
    figure.legend(*entries, title=heading, loc="outside right upper", fontsize=9, frameon=False)


def top_legend(figure: Figure, handles: Sequence, labels: Sequence[str], ncols: int = 5) -> None:
    """The entries in a line above the panels."""
    figure.legend(handles, labels, loc="outside upper center", ncols=ncols, fontsize=9, frameon=False)


def whiskers(data: pd.DataFrame) -> np.ndarray:
    """How far low and high [2, N] lie from mean, in percent."""
    return 100 * np.array([data["mean"] - data["low"], data["high"] - data["mean"]])


# ------------------------------------------------------------------ lines over steps and rounds


def means(data: pd.DataFrame, x: str, y: str, smoothing: int = 1) -> pd.DataFrame:
    """The mean over seeds of each arm at each x: columns arm, x, y, sd (over seeds; NaN for one), seeds.

    `data` has the columns arm, seed, x, y and may have student. Every line is first smoothed by a centred moving
    average of `smoothing` points (fewer at its ends), then a seed's students are averaged, then seeds.
    """
    if data.empty:
        return pd.DataFrame(columns=["arm", x, y, "sd", "seeds"])
    wide = data.pivot(index=x, columns=[key for key in ("arm", "seed", "student") if key in data], values=y)
    smooth = wide.rolling(smoothing, center=True, min_periods=1).mean().where(wide.notna())
    seeds = smooth.T.groupby(level=["arm", "seed"]).mean()
    parts = []
    for arm in dict.fromkeys(data["arm"]):
        own = seeds.loc[arm]
        part = pd.DataFrame({y: own.mean(), "sd": own.std(), "seeds": own.count()}).dropna(subset=[y])
        parts.append(part.rename_axis(x).reset_index().assign(arm=arm))
    return pd.concat(parts, ignore_index=True)[["arm", x, y, "sd", "seeds"]]


def averaged(smoothing: int = 1, band: str = "± 1 SD over seeds") -> str:
    """What a figure of `means` says of them."""
    return f"Mean over seeds, band: {band}" + (f"; moving average of {smoothing}" if smoothing > 1 else "")


def draw_means(axes: Axes, frame: pd.DataFrame, x: str, y: str, look: Looks, factor: float = 1) -> None:
    """A table of `means`: one line per arm with a band of one SD over seeds on each side."""
    ends = {"low": frame[y] - frame["sd"], "high": frame[y] + frame["sd"]}
    draw_bands(axes, frame.assign(**ends), x, (y, "low", "high"), look, factor)


def draw_bands(
    axes: Axes, frame: pd.DataFrame, x: str, columns: tuple[str, str, str], look: Looks, factor: float = 1
) -> None:
    """One line per arm of the first of the columns, with a band between the others."""
    for arm, part in frame.groupby("arm", sort=False):
        mean, low, high = (factor * part[column] for column in columns)
        axes.fill_between(part[x], low, high, color=look[arm]["color"], alpha=0.15, lw=0)
        axes.plot(part[x], mean, **look[arm], ms=4, markevery=max(1, len(part) // 10))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


# ------------------------------------------------------------------ rows from above


def name_rows(axes: Axes, names: Sequence[str], fontsize: float = 9) -> None:
    """One row for each name, the first one above."""
    axes.set_yticks(range(len(names)), names, fontsize=fontsize)
    axes.set_ylim(len(names) - 0.5, -0.5)


def dots(axes: Axes, data: pd.DataFrame, look: Sequence[Mapping[str, str]]) -> None:
    """The mean of each row with its interval, and the paper's number where the table has a column paper."""
    for place, own in enumerate(look):
        row = data.iloc[[place]]
        own = own | {"ls": "", "label": None}
        axes.errorbar(100 * row["mean"], [place], xerr=whiskers(row), capsize=3, ms=6, **own)
    if "paper" in data:
        axes.plot(100 * data["paper"], range(len(data)), **PAPER)


def stack(
    axes: Axes, place: int, parts: Iterable[tuple[str, float, str, str]], alpha: float = 1.0, least: float = 4.0
) -> None:
    """One bar of shares in percent, which say their number from `least` on; `parts` are (label, share, colour, colour
    of the number)."""
    end = 0.0
    for label, share, colour, ink in parts:
        axes.barh(place, share, 0.8, end, color=colour, alpha=alpha, label=label)
        if share >= least:
            axes.text(end + share / 2, place, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=9)
        end += share
