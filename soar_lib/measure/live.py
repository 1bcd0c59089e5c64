"""A `Chart` on a screen: a plotly figure to point at, zoom into and pick from, its legend switching arms on and off.

plotly reads a few HTML tags, entities and, between dollar signs, TeX in any text; `plain` keeps a model's text text."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go
from plotly.colors import hex_to_rgb
from plotly.subplots import make_subplots
from traitlets import Unicode

from soar_lib.measure.charts import Chart, Mark, Panel, whiskers

DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
    "*": "star", "|": "line-ns",
}  # fmt: skip
PIXELS = 90  # per inch of a chart: a wide one then fits into a tab


class Figure(go.FigureWidget):
    """plotly's widget, whose part in the browser loads once for all figures of a page (figure.js says why)."""

    _esm = Path(__file__).with_name("figure.js")
    _bundle = Unicode(str(go.FigureWidget._esm)).tag(sync=True)


def plain(text: object, width: int = 90) -> str:
    """Text as HTML that plotly shows as it is, broken into lines of at most `width` characters.

    >>> plain("<script>1</script> $x$")
    '&lt;script&gt;1&lt;/script&gt; &#36;x&#36;'
    """
    lines = [part for line in str(text).split("\n") for part in wrap(line, width) or [""]]
    return "<br>".join(escape(line, quote=False).replace("$", "&#36;") for line in lines)


def figure(chart: Chart) -> go.Figure:
    """The plotly figure of a chart."""
    drawn = make_subplots(
        chart.rows, chart.columns, shared_xaxes="x" in chart.shared and "all",
        shared_yaxes="y" in chart.shared and "all",
        row_heights=list(chart.heights) or None, subplot_titles=[plain(panel.title) or " " for panel in chart.panels],
        vertical_spacing=min(0.35 / chart.rows, 0.8 / chart.size[1]), horizontal_spacing=0.12 / chart.columns,
    )  # fmt: skip
    named: set[str] = set()
    lines = any(mark.line for panel in chart.panels for mark in panel.marks)
    for place, whole in enumerate(chart.panels):
        panel = chart.labelled(place)
        where = {"row": place // chart.columns + 1, "col": place % chart.columns + 1}
        for mark in panel.marks:
            drawn.add_traces(_traces(mark, whole, named), rows=where["row"], cols=where["col"])
        for way, at, label in panel.rules:
            draw = drawn.add_vline if way == "x" else drawn.add_hline
            draw(at, **_rule(way, label, named), exclude_empty_subplots=False, **where)
        drawn.update_xaxes(**_x_axis(panel), **where)
        drawn.update_yaxes(**_y_axis(panel), **where)
    drawn.update_layout(
        template="plotly_white", width=round(PIXELS * chart.size[0]), height=round(PIXELS * chart.size[1]) + 30,
        margin={"l": 70, "r": 20, "t": 45, "b": 55},
        hovermode="closest", barmode="overlay", dragmode="zoom", uirevision="kept", font={"size": 12},
        legend={"title": {"text": plain(chart.heading)}, "itemsizing": "trace" if lines else "constant"},
        hoverlabel={"align": "left", "namelength": -1},
    )  # fmt: skip
    drawn.update_annotations(font_size=13)
    if chart.note:
        drawn.update_layout(margin_b=95)
        drawn.add_annotation(text=plain(chart.note, 140), x=0.5, y=0, yshift=-45, xref="paper", yref="paper",
                             yanchor="top", showarrow=False, font_size=11)  # fmt: skip
    return drawn


def _traces(mark: Mark, panel: Panel, named: set[str]) -> list[go.Scatter | go.Bar]:
    """A mark's traces, its band first; a name stands in the legend once for all panels, which it switches together."""
    new = bool(mark.name) and mark.name not in named
    group = {"name": plain(mark.name, 36), "legendgroup": mark.name, "showlegend": new}
    named.add(mark.name)
    hover = list(map(plain, mark.hover or _numbers(mark, panel)))
    point = {"opacity": mark.opacity, "customdata": list(mark.keys) or list(range(len(mark.x)))}
    told = {"hovertext": hover, "hovertemplate": "%{hovertext}<extra></extra>"}
    point |= told if any(hover) else {"hoverinfo": "skip"}
    x, y = _known(mark.x), _known(mark.y)
    if mark.left is not None:
        left = np.asarray(mark.left)
        return [go.Bar(y=y, x=_known(np.asarray(mark.x) - left), base=left, orientation="h", width=0.8,
                       marker_color=mark.colour, text=list(map(plain, mark.text)), textposition="inside",
                       insidetextanchor="middle", textangle=0, textfont_color=mark.ink, **point, **group)]  # fmt: skip
    marked = mark.marker and not (mark.line and len(x) > 40)
    mode = "+".join(part for part, there in (("lines", mark.line), ("markers", marked), ("text", mark.text)) if there)
    ends = {}
    if mark.low is not None and mark.ends != "band":
        below, above = np.nan_to_num(whiskers(mark))
        look = {"symmetric": False, "thickness": 1.2, "width": 4}
        ends = {f"error_{mark.ends}": look | {"array": above, "arrayminus": below}}
    line = go.Scatter(
        x=x, y=y, mode=mode or "markers", text=list(map(plain, mark.text)) or None, marker=_marker(mark), **ends,
        textfont={"color": mark.ink},
        line={"color": mark.colour, "dash": DASHES[mark.line], "shape": "hv" if mark.step else "linear"} if mark.line
        else None, cliponaxis=False, **point, **group,
    )  # fmt: skip
    return [*_band(mark), line]


def _known(values) -> list:
    """The values, those that are no number as None: a message to the browser can hold no other."""
    return [None if isinstance(value, float) and not np.isfinite(value) else value for value in values]


def _marker(mark: Mark) -> dict:
    size = np.asarray(mark.size, float) * PIXELS / 72
    symbol = SYMBOLS.get(mark.marker, "circle") + ("-open" if mark.hollow or mark.marker == "|" else "")
    width = 0.5 if np.ndim(mark.size) or not isinstance(mark.colour, str) else 2 if "-open" in symbol else 0
    edge = {"color": mark.colour if "-open" in symbol else "white", "width": width}
    colour = mark.colour if isinstance(mark.colour, str) else list(mark.colour)
    return {"symbol": symbol, "size": size.tolist(), "color": colour, "line": edge, "opacity": 1}


def _band(mark: Mark) -> list[go.Scatter]:
    if mark.low is None or mark.ends != "band":
        return []
    known = [row for row in zip(mark.x, mark.low, mark.high) if np.isfinite(row[1:]).all()]
    x, low, high = map(list, zip(*known)) if known else ([], [], [])
    fill = f"rgba{(*hex_to_rgb(mark.colour), 0.15)}"
    look = {"fill": "toself", "fillcolor": fill, "line_width": 0, "mode": "lines", "hoverinfo": "skip", "zorder": -1}
    return [go.Scatter(x=x + x[::-1], y=high + low[::-1], legendgroup=mark.name, showlegend=False, **look)]


def _numbers(mark: Mark, panel: Panel) -> list[str]:
    """What pointing at a point says if the mark has no words of its own."""
    low, high = (mark.low, mark.high) if mark.low is not None else ([np.nan] * len(mark.x),) * 2
    said = []
    for x, y, a, b in zip(mark.x, mark.y, low, high):
        row = panel.rows[round(y)] if panel.rows else f"{panel.x}: {panel.ticks.get(x, f'{x:.4g}')}"
        value = f"{panel.x if panel.rows else panel.y}: {x if panel.rows else y:.4g}"
        said.append("\n".join(filter(None, [mark.name, row, value + (f" ({a:.4g} to {b:.4g})" if a < b else "")])))
    return said


def _rule(way: str, label: str, named: set[str]) -> dict:
    entry = {"name": plain(label, 36), "legendgroup": label, "showlegend": bool(label) and label not in named}
    named.add(label)
    return entry | {"line": {"color": "#555555", "dash": "dot" if way == "x" else "dash", "width": 1}}


def _x_axis(panel: Panel) -> dict:
    axis = {"title": {"text": plain(panel.x, 60)}, **_range(panel.xlim, panel.log)}
    if panel.ticks:
        axis |= {"tickvals": list(panel.ticks), "ticktext": list(map(plain, panel.ticks.values()))}
    elif None not in panel.xlim and panel.xlim[1] - panel.xlim[0] < 8:  # the first rounds of a run: no half ones
        axis |= {"tick0": 0, "dtick": 1}
    if panel.bare == "xy":
        axis |= {"showticklabels": False, "showgrid": False, "zeroline": False, "constrain": "domain"}
    return axis | ({"type": "log"} if panel.log else {})


def _y_axis(panel: Panel) -> dict:
    if panel.rows:
        rows = {"tickvals": list(range(len(panel.rows))), "ticktext": [plain(row, 56) for row in panel.rows]}
        return {**rows, "range": [len(panel.rows) - 0.5, -0.5], "title": {"text": plain(panel.y)}, "automargin": True}
    axis = {"title": {"text": plain(panel.y, 30)}, **_range(panel.ylim, False), "automargin": True}
    if panel.bare:
        axis |= {"showticklabels": False, "showgrid": False, "zeroline": False}
    return axis | ({"scaleanchor": "x", "constrain": "domain"} if panel.bare == "xy" else {})


def _range(limits: tuple[float | None, float | None], log: bool) -> dict:
    if limits in ((None, None), (0, None)):  # plotly lets axes that share a scale begin together at zero, not at limits
        return {"rangemode": "tozero" if limits[0] == 0 else "normal"}
    return {"range": [None if end is None else float(np.log10(end)) if log else end for end in limits]}


def shown(chart: Chart, old: Figure | None = None, picked: Callable[[list], None] | None = None) -> Figure:
    """The chart as a widget: `old`, if it has as many traces, so that a reader keeps the view; else a new one, because
    plotly in the browser fails when a widget loses traces. `picked` gets the keys of points clicked or selected."""
    drawn = figure(chart)
    if old is None or len(old.data) != len(drawn.data):
        old = Figure(drawn)
    else:
        with old.batch_update():
            old.data = []
            old.layout = drawn.layout
            old.add_traces(drawn.data)

    def told(trace: go.Scatter, points: object, _: object) -> None:
        if points.point_inds:
            picked([trace.customdata[index] for index in points.point_inds])

    for trace in old.data if picked else ():
        if trace.customdata is not None:
            trace.on_click(told)
            trace.on_selection(told)
    return old
