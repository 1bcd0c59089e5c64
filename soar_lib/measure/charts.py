"""One description of a figure: marks in panels. `Chart.static` draws it on paper with matplotlib, `live.figure` on a
screen with plotly, so that what a reader explores and what a page shows without a kernel are the same data.

Lengths are in matplotlib's units: sizes of figures in inches, of markers (their diameter) and lines in points."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot: nothing global, no display needed

from soar_lib.files import write_tables
from soar_lib.measure.names import look
from soar_lib.measure.tables import name

ROOT = Path("figures")
STYLE = {
    "font.size": 11, "axes.titlesize": 12, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True,
}  # fmt: skip
SHARE = (0.0, 100.0)  # between which a percentage lies, and the band around it


@dataclass(frozen=True)
class Mark:
    """One series of a panel: the points x and y [N], a line through them, markers on them, intervals around them."""

    x: Sequence
    y: Sequence
    name: str = ""  # in the legend, where it is one
    colour: str | Sequence[str] = "#000000"
    line: str = ""  # "-", "--", ":", "-."
    marker: str = ""  # as matplotlib writes it
    size: float | Sequence[float] = 5.0
    low: Sequence | None = None  # ends of the intervals ...
    high: Sequence | None = None
    ends: str = "y"  # ... which are whiskers along x or y, or a "band" around the line
    left: Sequence | None = None  # bars from here to x take the place of markers
    opacity: float = 1.0
    step: bool = False  # the line goes on at the same height to the next point
    hollow: bool = False
    text: Sequence[str] = ()  # written on the points
    ink: str = "black"  # colour of the text
    hover: Sequence[str] = ()  # what pointing at a point says; () its numbers
    keys: Sequence = ()  # what picking a point gives; () its place among the points


@dataclass(frozen=True)
class Panel:
    """Marks on their axes. `rows` are labels for y = 0, 1, 2, ... from the top down, `ticks` labels for places on x."""

    marks: Sequence[Mark]
    x: str = ""
    y: str = ""
    title: str = ""
    xlim: tuple[float | None, float | None] = (None, None)
    ylim: tuple[float | None, float | None] = (None, None)
    rows: Sequence[str] = ()
    ticks: Mapping[float, str] = field(default_factory=dict)
    log: bool = False  # x on a logarithmic scale, whose places `ticks` name
    rules: Sequence[tuple[str, float, str]] = ()  # lines across the panel: "x" or "y", place, name
    bare: str = ""  # axes without ticks: "y", or "xy" for a map, on which both have one scale


@dataclass(frozen=True)
class Chart:
    """Panels row by row. Axes in `shared` ("x", "y", "xy") have one scale. `legend` is "side", "top" or "" (none)."""

    panels: Sequence[Panel]
    columns: int = 1
    size: tuple[float, float] = (9.0, 4.4)
    heights: Sequence[float] = ()  # of the rows, relative
    shared: str = ""
    legend: str = "side"
    heading: str = ""  # of the legend
    note: str = ""  # below the panels

    @property
    def rows(self) -> int:
        """How many rows of panels there are."""
        return -(-len(self.panels) // self.columns)

    def static(self) -> Figure:
        """The chart as a matplotlib figure."""
        with rc_context(STYLE):
            figure = Figure(figsize=self.size, layout="constrained")
            grid = figure.subplots(
                self.rows, self.columns, squeeze=False, sharex="x" in self.shared, sharey="y" in self.shared,
                height_ratios=self.heights or None,
            ).ravel()  # fmt: skip
        for place, (axes, panel) in enumerate(zip(grid, self.panels)):
            _draw_panel(axes, self.labelled(place))
            axes.xaxis.set_tick_params(labelbottom=not self.x_below(place))
            if self.columns > 1 and not panel.bare:  # long numbers would touch
                axes.locator_params(axis="x", nbins=6)
        for axes in grid[len(self.panels) :]:
            axes.remove()
        for axes, panel in zip(figure.axes, self.panels):  # once all is drawn, since panels may share an axis
            axes.set(xlim=panel.xlim, ylim=(len(panel.rows) - 0.5, -0.5) if panel.rows else panel.ylim)
        entries: dict[str, object] = {}
        for line, label in (entry for axes in figure.axes for entry in zip(*axes.get_legend_handles_labels())):
            entries.setdefault(label, line)
        if entries:
            _legend(figure, self, entries)
        if self.note:
            figure.supxlabel(_text(self.note), fontsize=9)
        return figure

    def x_below(self, place: int) -> bool:
        """Whether a panel below has the same x axis, so that its ticks and label stand there."""
        return "x" in self.shared and place + self.columns < len(self.panels)

    def labelled(self, place: int) -> Panel:
        """The panel at `place`, without labels of axes that another panel below it or left of it names."""
        panel = self.panels[place]
        named_left = "y" in self.shared and place % self.columns > 0
        return replace(panel, x="" if self.x_below(place) else panel.x, y="" if named_left else panel.y)

    def png(self) -> bytes:
        """The chart as a PNG picture of 100 dots per inch."""
        self.static().savefig(content := io.BytesIO(), format="png", dpi=100, bbox_inches="tight")
        return content.getvalue()

    _repr_png_ = png  # what a notebook shows

    def __repr__(self) -> str:
        return f"<Chart of {len(self.panels)} panel{'s' if len(self.panels) > 1 else ''}>"


Drawing = Callable[[pd.DataFrame], Chart]
Tables = dict[str, tuple[pd.DataFrame, Drawing | None]]  # name of CSV and picture: what is in it, how it is drawn


def _text(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return str(text).replace("$", r"\$")


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for way, place, label in panel.rules:
        draw = axes.axvline if way == "x" else axes.axhline
        draw(place, color="#555555", ls=":" if way == "x" else "--", lw=1, label=_text(label) or None)
    for place, mark in enumerate(panel.marks):
        _draw_mark(axes, mark, 2 + place / 100)  # later marks above earlier ones, whatever they are
    if panel.log:
        axes.set_xscale("log", base=2)
        axes.minorticks_off()
    elif not panel.bare:
        axes.xaxis.get_major_locator().set_params(integer=not panel.rows, min_n_ticks=1)
    if panel.ticks:
        axes.set_xticks(list(panel.ticks), list(map(_text, panel.ticks.values())))
    if panel.rows:
        rows = ["\n".join(fill(line, 56) for line in row.split("\n")) for row in panel.rows]
        axes.set_yticks(range(len(rows)), list(map(_text, rows)), fontsize=9)
    if panel.bare:
        axes.set(yticks=[], **({"xticks": [], "aspect": "equal"} if panel.bare == "xy" else {}))
    axes.set(xlabel=_text(panel.x), ylabel=_text(panel.y), title=_text(panel.title))


def _draw_mark(axes: Axes, mark: Mark, above: float) -> None:
    x, y = np.asarray(mark.x), np.asarray(mark.y, float)
    look = {"alpha": mark.opacity, "label": _text(mark.name) or None, "zorder": above}
    if mark.left is not None:
        axes.barh(y, x - np.asarray(mark.left), 0.8, mark.left, color=mark.colour, **look)
    elif not isinstance(mark.colour, str) or np.ndim(mark.size):
        axes.scatter(x, y, np.square(mark.size), mark.colour, marker=mark.marker, edgecolors="white", lw=0.3, **look)
    else:
        _draw_line(axes, mark, look)
    middle = (x + np.asarray(mark.left)) / 2 if mark.left is not None else x
    for place, height, said in zip(middle, y, mark.text):
        axes.text(place, height, _text(said), ha="center", va="center", color=mark.ink, fontsize=9, zorder=above)


def _draw_line(axes: Axes, mark: Mark, look: dict) -> None:
    look |= {"color": mark.colour, "ls": mark.line or "none", "marker": mark.marker or "none", "ms": mark.size}
    look |= {"mfc": "none"} if mark.hollow else {}
    look["markevery"] = max(1, len(mark.x) // 10) if mark.line else 1
    if mark.low is None or mark.ends == "band":
        if mark.low is not None:
            x, low, high = (np.asarray(values, float) for values in (mark.x, mark.low, mark.high))
            axes.fill_between(x, low, high, color=mark.colour, alpha=0.15, lw=0)
        axes.plot(mark.x, mark.y, **look, drawstyle="steps-post" if mark.step else "default")
    else:
        axes.errorbar(mark.x, mark.y, **{f"{mark.ends}err": whiskers(mark)}, **look | {"markevery": 1}, capsize=3)


def whiskers(mark: Mark) -> np.ndarray:
    """Distances [2, N] from a mark's points down to the low and up to the high ends of its intervals, at least 0."""
    middle = np.asarray(mark.x if mark.ends == "x" else mark.y, float)
    return np.maximum(0, [middle - np.asarray(mark.low, float), np.asarray(mark.high, float) - middle])


def _legend(figure: Figure, chart: Chart, entries: Mapping[str, object]) -> None:
    look = {"fontsize": 9, "frameon": False, "title": _text(chart.heading) or None}
    if chart.legend == "top":
        columns = min(len(entries), max(1, round(9 * chart.size[0] / (8 + max(map(len, entries))))))
        figure.legend(entries.values(), entries, loc="outside upper center", ncols=columns, **look)
    elif chart.legend:
        figure.legend(entries.values(), entries, loc="outside right upper", **look)


def arm_mark(arm: str, x: Sequence, y: Sequence, **more) -> Mark:
    """A mark for an arm, with the arm's name, colour, marker and line; `more` are other fields of `Mark`."""
    return replace(Mark(x, y, name(arm), **look(arm), size=4.5), **more)


def paper(x: Sequence, y: Sequence) -> Mark:
    """A mark for the paper's numbers: hollow diamonds."""
    return Mark(x, y, "paper (another model, other problems)", marker="D", size=7, hollow=True)


def bands(frame: pd.DataFrame, x: str, y: str, factor: float = 1, limits: tuple[float, float] | None = None,
          ends: Sequence[str] = ("low", "high")) -> list[Mark]:  # fmt: skip
    """One line per arm: column `y` times `factor` over column `x`. The band around it, at a lone point whiskers, is one
    SD on each side where the table has a column sd, else between the columns `ends`; `limits`, as drawn, cut it off."""
    marks = []
    for arm, part in frame.groupby("arm", sort=False):
        middle = factor * part[y]
        spread = factor * part["sd"] if "sd" in part else 0
        low, high = (middle - spread, middle + spread) if "sd" in part else (factor * part[end] for end in ends)
        if limits:
            low, high = low.clip(*limits), high.clip(*limits)
        marks.append(arm_mark(arm, part[x], middle, low=low, high=high, ends="band" if len(part) > 1 else "y"))
    return marks


def estimates(data: pd.DataFrame, lone: int = 1) -> list[Mark]:
    """One mark per row of the table, from the top: mean and 95 % interval in percent, in its arm's look. Rows of at
    most `lone` seeds have no interval: how much seeds differ is unknown. A column paper adds its numbers."""
    marks = []
    for place, row in enumerate(data.itertuples()):
        low, high = (100 * row.low, 100 * row.high) if row.seeds > lone else (np.nan, np.nan)
        look = {"name": "", "line": "", "size": 6, "low": [low], "high": [high], "ends": "x"}
        marks.append(arm_mark(row.arm, [100 * row.mean], [place], **look))
    if "paper" in data and data["paper"].notna().any():
        marks.append(paper(100 * data["paper"], range(len(data))))
    return marks


def stacked(shares: pd.DataFrame, looks: Mapping[str, tuple[str, str]], least: float = 4.0, **more) -> list[Mark]:
    """One bar of shares in percent per row of the table, at the row's index, one column after another. Shares from
    `least` on show their number. `looks` maps columns to names and colours; `more` are other fields of `Mark`."""
    ends, marks = shares[list(looks)].cumsum(axis=1), []
    for column, (label, colour) in looks.items():
        share = shares[column]
        text = [f"{value:.0f}" if value >= least else "" for value in share]
        light = sum(int(colour[i : i + 2], 16) * weight for i, weight in ((1, 3), (3, 6), (5, 1))) > 1300
        look = {"left": ends[column] - share, "text": text, "ink": "black" if light else "white", **more}
        marks.append(Mark(ends[column], shares.index, label, colour, **look))
    return marks


def row_size(counts: Sequence[float]) -> dict:
    """`size` and `heights` of a Chart in one column, from the number of rows in each of its panels."""
    return {"size": (9.0, 1.1 + 0.5 * len(counts) + 0.32 * sum(counts)), "heights": [count + 0.5 for count in counts]}


def save_all(tables: Tables, root: str | Path = ROOT) -> list[Path]:
    """Write every table as <root>/data/NAME.csv, and as <root>/NAME.png where it has a picture; returns the paths of
    the pictures."""
    (Path(root) / "data").mkdir(parents=True, exist_ok=True)
    write_tables(Path(root) / "data", {table: data for table, (data, _) in tables.items()})
    drawn = {Path(root) / f"{table}.png": draw(data) for table, (data, draw) in tables.items() if draw}
    for path, chart in drawn.items():  # without the software's version in it, the same numbers give the same file
        chart.static().savefig(path, dpi=150, bbox_inches="tight", metadata={"Software": None})
    return [*drawn]
