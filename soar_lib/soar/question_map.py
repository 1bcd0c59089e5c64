"""The map of a study's questions as a widget: SVG within HTML, from files alone; see `question_points`."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd

from soar_lib.measure import widgets
from soar_lib.measure.diversity import Embedding
from soar_lib.measure.quality import Judge, exact
from soar_lib.measure.tables import name
from soar_lib.soar import question_points, report
from soar_lib.soar.question_points import COLOUR_BY, Circle, counted, named

WIDTH, MARGIN, LEGEND = 560, 46, 190  # of the drawing, in pixels; a name at the edge needs the margin
SMALL, LARGE = 3.0, 22.0  # radius in pixels of a single question, and the most that a circle may have
QUOTED = 4  # questions that a circle names


# ------------------------------------------------------------------ the drawing


def map_svg(data: pd.DataFrame, shown: pd.DataFrame, kinds: Sequence[str], colours: dict[str, str], full: int) -> str:
    """The map as SVG: the places of all of `data` in grey, the rows of `shown` in colour, `kinds` being their classes.

    `full` is the number of questions that a circle of the largest size holds. Pointing at a circle shows its questions.
    """
    width, height = WIDTH + 2 * MARGIN + LEGEND, max(330, round(WIDTH * float(data["y"].max())) + 2 * MARGIN)
    scale = min(SMALL, LARGE / math.sqrt(full))
    lines = list(map(_line, shown.to_dict("records")))
    drawn = "".join(_circle_svg(circle, lines, colours, scale) for circle in question_points.circles(shown, kinds))
    counts = Counter(kinds)
    entries = {f"{named(kind)} ({counts[kind]})": colour for kind, colour in colours.items()}
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'style="max-width: 100%; background: white" font-family="sans-serif" font-size="12">'
        f"{_ground_svg(data)}{drawn}{_names_svg(data)}"
        f"{_legend_svg(entries, full, scale)}</svg>"
    )


def _pixels(x: float, y: float) -> tuple[float, float]:
    return round(MARGIN + WIDTH * x, 1), round(MARGIN + WIDTH * y, 1)


def _ground_svg(data: pd.DataFrame) -> str:
    places = data[["x", "y"]].to_numpy()
    dots = (_pixels(*places[rows].mean(0).tolist()) for rows in question_points.squares(data))
    path = "".join(f"M{x},{y}h0" for x, y in dots)
    return f'<path d="{path}" stroke="#dddddd" stroke-width="5" stroke-linecap="round"/>'


def _dot(x: float, y: float, radius: float, colour: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius:.2f}" fill="{colour}"/>'


def _circle_svg(circle: Circle, lines: Sequence[str], colours: dict[str, str], scale: float) -> str:
    x, y = _pixels(circle.x, circle.y)
    rings = "".join(_dot(x, y, scale * math.sqrt(area), colours[kind]) for kind, area in circle.rings)
    return f'<g stroke="white" stroke-width="0.4"><title>{escape(_quoted(circle, lines))}</title>{rings}</g>'


def _quoted(circle: Circle, lines: Sequence[str]) -> str:
    """What pointing at a circle shows: its questions, at most `QUOTED` different ones."""
    found = Counter(lines[row] for row in circle.rows.tolist()).most_common(QUOTED)
    texts = [f"{line}{f' ({count} times)' if count > 1 else ''}" for line, count in found]
    left = circle.count - sum(count for _, count in found)
    return "\n".join([*texts, *([f"and {left} more"] if left else [])])


def _line(row: dict) -> str:
    written = f"seed {row['seed']}, round {row['round']}, data set {row['dataset']}"
    judged = f"{named(row['label'])}; reward {100 * row['reward']:+.1f} points"
    return f"{row['question']} → {row['answer']} ({judged}; {written})"


def _names_svg(data: pd.DataFrame) -> str:
    texts = []
    for family, place in question_points.families(data).items():
        x, y = _pixels(*place)
        texts.append(f'<text x="{x}" y="{y - 12}" text-anchor="middle">{escape(named(family))}</text>')
    style = 'stroke="white" stroke-width="3" paint-order="stroke" pointer-events="none"'
    return f"<g {style}>{''.join(texts)}</g>"


def _legend_svg(entries: dict[str, str], full: int, scale: float) -> str:
    left, first = WIDTH + 2 * MARGIN + 24, 24 + 20 * (len(entries) - 1)
    rows = [(24 + 20 * row, 6, colour, text) for row, (text, colour) in enumerate(entries.items())]
    for row, size in enumerate(sorted({1, full}), start=1):
        rows.append((first + 40 * row, scale * math.sqrt(size), "#888888", counted(size)))
    return "".join(
        f'{_dot(left, y, radius, colour)}<text x="{left + 30}" y="{y + 4}">{escape(text)}</text>'
        for y, radius, colour, text in rows
    )


# ------------------------------------------------------------------ the widget


def question_map(
    folder: str | Path, embed: Embedding | None = None, judge: Judge = exact, most: int = 2000
) -> ipywidgets.VBox:
    """Explore the map of all questions that a study's teachers wrote, by arm, seed and rounds, coloured as chosen.

    Raises ValueError where no teacher of the study wrote anything yet.
    """
    data = question_points.points(report.problems(folder, judge), embed, most)
    if data.empty:
        raise ValueError(f"{folder}: no teacher wrote a problem yet; run the study or resume it")
    return map_widget(data)


def map_widget(data: pd.DataFrame) -> ipywidgets.VBox:
    """The widget of `question_map` for a table of `points` that is not empty."""
    controls = {
        "arm": widgets.choice("arm", [(name(arm), arm) for arm in dict.fromkeys(data["arm"])]),
        "seed": widgets.choice("seed", ["all", *sorted(set(data["seed"].tolist()))]),
        "by": widgets.choice("colour by", list(COLOUR_BY)),
        "rounds": widgets.span(int(data["round"].min()), int(data["round"].max())),
    }
    return widgets.controlled(controls, partial(map_html, data))


def map_html(data: pd.DataFrame, arm: str, seed: int | str, rounds: tuple[int, int], by: str) -> str:
    """The map with its caption for one arm, a seed or "all", the first and last round, and a way to colour.

    Colours and sizes are scaled by all rounds of the arm and seed, so other rounds change neither.
    """
    own = ((data["arm"] == arm) & ((data["seed"] == seed) | (seed == "all"))).to_numpy()
    whole = data[own]
    inside = whole["round"].between(*rounds).to_numpy()
    shown = whole[inside]
    chosen = f"{escape(name(arm))}, {'all seeds' if seed == 'all' else f'seed {seed}'}, "
    if shown.empty:
        return f"<p>No question: {chosen}{_span(*rounds)}.</p>"
    chosen += _span(shown["round"].min(), shown["round"].max())
    kinds, colours = question_points.classes(data, own, by)
    drawing = map_svg(data, shown, np.array(kinds)[inside].tolist(), colours, question_points.fullest(whole))
    written = whole.groupby(["arm", "seed"])["written"].first().sum()
    part = f" Of {written} written in all rounds, {len(whole)} were drawn by lot." if written > len(whole) else ""
    said = f"{counted(len(shown))}: {chosen}; colours: {COLOUR_BY[by]}.{part}"
    return f"<p>{said}</p>{drawing}<p>{caption(data)}</p>"


def _span(first: int, last: int) -> str:
    return f"round {first}" if first == last else f"rounds {first} to {last}"


def caption(data: pd.DataFrame) -> str:
    """How a map was made and how to read it, as HTML."""
    known = data["trust"].notna().all()
    trusted = f", trustworthiness {data['trust'].iloc[0]:.2f}" if known else ""
    return (
        f"Map: {escape(data['projection'].iloc[0])}{trusted}. Neighbours are alike; distances between groups far apart "
        "mean little. A circle's area is its number of questions, its rings share it among the colours; grey: the "
        "questions of all arms. Point at a circle to read its questions."
    )
