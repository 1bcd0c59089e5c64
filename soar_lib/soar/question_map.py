"""The map of a study's questions, to explore and on paper, from files alone; see `question_points`."""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from soar_lib.measure import widgets
from soar_lib.measure.charts import Chart, Mark, Panel
from soar_lib.measure.diversity import Embedding
from soar_lib.measure.quality import Judge, exact
from soar_lib.measure.tables import name
from soar_lib.measure.widgets import Explorer, Page
from soar_lib.soar import question_points, report
from soar_lib.soar.question_points import COLOUR_BY, counted, named

SMALL, LARGE = 4.5, 33.0  # diameter in points of a single question, and the most that a circle may have
QUOTED = 4  # questions that pointing at a circle shows
HOW = (
    "Neighbours are alike; distances between groups far apart mean little. A circle's area is its number of questions; "
    "grey: the questions of all arms."
)


def panel(data: pd.DataFrame, own: np.ndarray, by: str, shown: np.ndarray | None = None) -> Panel:
    """The rows `own` [N] of the map of `question_points.points` in colour, all others in grey; of them only those of
    `shown` are drawn. Sizes and colours are scaled by all of `own`, so that choosing other rounds changes neither."""
    kinds, colours = question_points.classes(data, own, by)
    inside = np.ones(len(kinds), bool) if shown is None else shown[own]
    part, kinds = data[own][inside], np.array(kinds)[inside]
    full = question_points.circles(data[own], [""] * int(own.sum()))["count"].max()
    scale, found = min(SMALL, LARGE / full**0.5), question_points.circles(part, kinds)
    ground = question_points.circles(data, [""] * len(data))
    silent = {"hover": [""] * len(ground), "keys": [()] * len(ground)}
    marks = [Mark(ground["x"], ground["y"], colour="#e4e4e4", marker="o", size=4, **silent)]
    for kind, colour in colours.items():
        circles = found[found["kind"] == kind]
        hover = [_quoted(part.iloc[rows]) for rows in circles["rows"]]
        keys = [tuple(part.index[rows].tolist()) for rows in circles["rows"]]
        look = {"marker": "o", "size": scale * circles["count"] ** 0.5, "opacity": 0.85, "hover": hover, "keys": keys}
        label = f"{named(kind)} ({circles['count'].sum()})"
        marks.append(Mark(circles["x"], circles["y"], label, [colour] * len(circles), **look))
    places = question_points.families(data)
    texts = {"text": list(map(named, places)), "hover": [""] * len(places), "keys": [()] * len(places)}
    marks.append(Mark([x for x, _ in places.values()], [y - 0.03 for _, y in places.values()], **texts))
    return Panel(marks, bare="xy", ylim=(1.02 * data["y"].max() + 0.02, -0.07))


def _quoted(part: pd.DataFrame) -> str:
    """What pointing at a circle shows: its questions, at most `QUOTED` different ones."""
    lines = [
        f"{row.question} → {row.answer} ({named(row.label)}; reward {100 * row.reward:+.1f} points; "
        f"seed {row.seed}, round {row.round}, data set {row.dataset})"
        for row in part.itertuples()
    ]
    found = Counter(lines).most_common(QUOTED)
    left = len(part) - sum(count for _, count in found)
    texts = [f"{line}{f' ({count} times)' if count > 1 else ''}" for line, count in found]
    return "\n".join([*texts, *([f"and {left} more"] if left else [])])


def figure(data: pd.DataFrame, by: str = "round") -> Chart:
    """The map on paper, a panel for each arm. `by` is one of `question_points.COLOUR_BY`."""
    arms, panels = list(dict.fromkeys(data["arm"])), []
    for arm in arms:
        own = (data["arm"] == arm).to_numpy()
        drawn = panel(data, own, by)
        marks = [Mark(**vars(mark) | {"name": mark.name.rpartition(" (")[0]}) for mark in drawn.marks]
        panels.append(Panel(**vars(drawn) | {"marks": marks, "title": f"{name(arm)} ({counted(int(own.sum()))})"}))
    columns = min(2, len(panels))
    size = (1.0 + 4.6 * columns, 1.2 + 3.9 * -(-len(panels) // columns))
    return Chart(panels, columns, size, shared="xy", heading=by, note=f"{made(data)}\n{HOW}")


def made(data: pd.DataFrame) -> str:
    """How a map was made."""
    known = f", trustworthiness {data['trust'].iloc[0]:.2f}" if data["trust"].notna().all() else ""
    return f"{data['projection'].iloc[0]}{known}"


def question_map(
    folder: str | Path, embed: Embedding | None = None, judge: Judge = exact, most: int = 2000
) -> Explorer:
    """Explore the map of all questions that a study's teachers wrote, by arm, seed and rounds, coloured as chosen;
    click a circle, or draw around several, to read their questions below. Raises ValueError where no teacher of the
    study wrote anything yet."""
    data = question_points.points(report.problems(folder, judge), embed, most)
    if data.empty:
        raise ValueError(f"{folder}: no teacher wrote a problem yet; run the study or resume it")
    return map_explorer(data)


def map_explorer(data: pd.DataFrame) -> Explorer:
    """The explorer of a table of `question_points.points` that is not empty."""
    controls = {
        "arm": widgets.choice("arm", [(name(arm), arm) for arm in dict.fromkeys(data["arm"])]),
        "seed": widgets.choice("seed", ["all", *sorted(set(data["seed"].tolist()))]),
        "by": widgets.choice("colour by", list(COLOUR_BY)),
        "rounds": widgets.span(int(data["round"].min()), int(data["round"].max())),
    }
    return widgets.explorer(controls, partial(page, data), detail=lambda keys, **chosen: picked(data, keys))


def page(data: pd.DataFrame, arm: str, seed: int | str, rounds: tuple[int, int], by: str) -> Page:
    """The map for one arm, a seed or "all", the first and last round, and a way to colour."""
    own = ((data["arm"] == arm) & ((data["seed"] == seed) | (seed == "all"))).to_numpy()
    shown = own & data["round"].between(*rounds).to_numpy()
    span = f"round {rounds[0]}" if rounds[0] == rounds[1] else f"rounds {rounds[0]} to {rounds[1]}"
    chosen = f"{name(arm)}, {'all seeds' if seed == 'all' else f'seed {seed}'}, {span}"
    if not shown.any():
        return [f"No question: {chosen}."]
    written = data[own].groupby(["arm", "seed"])["written"].first().sum()
    part = f" Of {written} written in all rounds, {own.sum()} were drawn by lot." if written > own.sum() else ""
    said = f"{counted(int(shown.sum()))}: {chosen}; colours: {COLOUR_BY[by]}.{part}"
    chart = Chart([panel(data, own, by, shown)], size=(9.0, 7.0), heading=by)
    return [said, chart, f"Map: {made(data)}. {HOW} Click a circle, or draw around several, to read their questions."]


def picked(data: pd.DataFrame, keys: list) -> Page:
    """The questions of the circles that were picked, whose keys are row labels."""
    rows = data.loc[sorted({row for key in keys for row in key})]
    if rows.empty:
        return []
    shown = rows.assign(reward=(100 * rows["reward"]).map("{:+.1f}".format), label=rows["label"].map(named))
    columns = ["question", "answer", "label", "reward", "seed", "round", "dataset"]
    return [f"{counted(len(rows))} picked (reward in points):", shown[columns].rename(columns={"dataset": "data set"})]
