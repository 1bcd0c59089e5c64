"""The map of the questions that a study's teachers wrote, to explore (SOAR section 5.2); from files alone.

`points` gives every question its place, once, so that nothing moves when a reader looks at other rounds or arms, like
questions near each other. What is drawn are `circles`: questions of one colour that fall into one small square of the
map are one circle, whose area is their number. Small circles lie on large ones, and no point is moved to be seen.

The projection is t-SNE (van der Maaten and Hinton 2008): neighbours on the map are neighbours in the embedding, but
distances between groups far apart mean little. `trust` says how far the first half of that sentence holds. A projection
onto principal components would keep distances, but lays half of the embedded world's families on one spot."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import TruncatedSVD
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from soar_lib.measure import diversity, widgets
from soar_lib.measure.charts import Chart, Mark, Panel
from soar_lib.measure.diversity import Embedding, Vectors
from soar_lib.measure.names import COLOURS, LABEL_LOOKS, TABLE
from soar_lib.measure.quality import Judge, exact
from soar_lib.measure.tables import name
from soar_lib.measure.widgets import Explorer, Page
from soar_lib.randomness import generator
from soar_lib.soar import report
from soar_lib.soar.report import PROBLEMS

COLUMNS = [*PROBLEMS, "x", "y", "written", "projection", "trust"]
COLOUR_BY = TABLE["colour_by"]  # what to colour by, and what it means
NO_FAMILY = "no family"
GRID = 80  # squares along the map's wider side
SMALL, LARGE = 4.5, 33.0  # diameter in points of a single question, and the most that a circle may have
QUOTED = 4  # questions that pointing at a circle shows
HOW = (
    "Neighbours are alike; distances between groups far apart mean little. A circle's area grows with its number of "
    "questions; grey: the questions of all arms."
)


def counted(count: int) -> str:
    """A number of questions in words, "1 question" say."""
    return f"{count:,} question{'' if count == 1 else 's'}"


def points(
    problems: pd.DataFrame, embed: Embedding | None = None, most: int = 2000, landmarks: int = 600, seed: int = 0
) -> pd.DataFrame:
    """The map of the problems of `report.problems`: the same columns and x, y, written, projection, trust. Of an arm's
    seed at most `most` problems are drawn evenly from the `written` ones; equal questions share their place. `embed`
    None: character n-grams. `projection` says how places were found, `trust` is their trustworthiness."""
    kept = [
        part.iloc[_drawn(len(part), most, seed, "question map", *map(str, key))].assign(written=len(part))
        for key, part in problems.groupby(["arm", "seed"], sort=False)
    ]
    if not kept:
        return pd.DataFrame(columns=COLUMNS)
    data, embed = pd.concat(kept, ignore_index=True), embed or diversity.tfidf()
    codes, questions = pd.factorize(data["question"])
    vectors = embed.encode(list(questions))
    places = project(vectors, landmarks, seed)
    data[["x", "y"]] = places[codes].round(3)  # t-SNE enlarges what a processor rounds in its own way
    taken = min(landmarks, len(questions))
    data["projection"] = f"t-SNE of {embed.name}, from {taken} of {len(questions)} different questions"
    data["trust"] = trust(vectors, places, seed=seed)
    return data[COLUMNS]


def _drawn(count: int, most: int, *key: int | str) -> list[int]:
    """At most `most` different numbers below `count`, in ascending order."""
    return sorted(torch.randperm(count, generator=generator(*key))[:most].tolist())


def project(vectors: Vectors, landmarks: int = 600, seed: int = 0) -> np.ndarray:
    """Places [N, 2] of vectors [N, D] on a map whose wider side reaches from 0 to 1. The vectors' first 50 singular
    directions are laid out by exact t-SNE, for at most `landmarks` rows drawn from `seed`; every other row stands among
    its five nearest landmarks, nearer ones weighing more. The same input gives the same places."""
    count, width = vectors.shape
    if count == 1:
        return np.zeros((1, 2))
    reduced = TruncatedSVD(min(50, width), random_state=seed).fit_transform(vectors)
    reduced = np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))
    chosen = _drawn(count, landmarks, seed, "landmarks")
    known = reduced[chosen]
    distances, near = NearestNeighbors(n_neighbors=min(5, len(known))).fit(known).kneighbors(reduced)
    weights = 1 / np.maximum(distances, 1e-9)  # a landmark stands where it stands
    places = (_laid_out(known)[near] * (weights / weights.sum(1, keepdims=True))[..., None]).sum(1)
    places -= places.min(0)
    return places / (places.max() or 1.0)


def _laid_out(vectors: np.ndarray) -> np.ndarray:
    """t-SNE of [N, D], from the first two columns; too few rows to have neighbours stay there."""
    if len(vectors) < 4:
        return vectors[:, :2]
    start = 1e-4 * vectors[:, :2] / (vectors[:, 0].std() or 1.0)
    perplexity = min(20.0, (len(vectors) - 1) / 3)
    # The exact method: the approximate one works in threads, which wait for each other on a busy machine.
    laid = TSNE(perplexity=perplexity, init=start.astype(np.float32), method="exact", max_iter=350)
    return laid.fit_transform(vectors).astype(float)


def trust(vectors: Vectors, places: np.ndarray, most: int = 1000, seed: int = 0) -> float:
    """Trustworthiness (Venna and Kaski 2001) of the places for at most `most` rows: 1 where each row's five neighbours
    on the map are its nearest by cosine, about 0.5 for a random map; NaN below 4 rows."""
    rows = _drawn(len(places), most, seed, "trust")
    if len(rows) < 4:
        return math.nan
    near = min(5, (len(rows) - 1) // 2)
    return float(trustworthiness(vectors[rows], places[rows], n_neighbors=near, metric="cosine"))


def classes(data: pd.DataFrame, own: np.ndarray, by: str) -> tuple[list[str], dict[str, str]]:
    """(the class of each row of the part `own` [N] of a map, each class's colour in the legend's order), by one of
    `COLOUR_BY`. Families have the same colours in every part; rounds and rewards, of which arms have others, are scaled
    by the part."""
    part = data[own]
    if by == "round":
        return _rounds(part["round"].to_numpy())
    if by == "reward":
        return _rewards(100 * part["reward"].to_numpy(float))
    if by == "family":
        known = sorted(set(data["topic"].dropna()) - {""})  # a CSV has no empty text
        colours = {family: COLOURS[1 + i] for i, family in enumerate(known)} | {NO_FAMILY: COLOURS[0]}
        return list(part["topic"].fillna("").replace("", NO_FAMILY)), colours
    if by == "quality":
        return list(part["label"]), {label: colour for label, (_, colour) in LABEL_LOOKS.items()}
    raise ValueError(f"colour by {by!r}: must be one of {', '.join(COLOUR_BY)}")


def _rounds(values: np.ndarray) -> tuple[list[str], dict[str, str]]:
    """At most six spans of equally many rounds."""
    first, last = int(values.min()), int(values.max())
    step = math.ceil((last - first + 1) / 6)
    starts = range(first, last + 1, step)
    names = [f"{a}" if a == b else f"{a} to {b}" for a in starts for b in [min(a + step - 1, last)]]
    return [names[(int(value) - first) // step] for value in values], _shades(names)


def _rewards(values: np.ndarray) -> tuple[list[str], dict[str, str]]:
    """Spans between round numbers; the lower end belongs to a span, the upper one to the next."""
    edges = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(values.min(), values.max())
    texts = [f"{edge:+g}" if edge else "0" for edge in edges]
    names = [f"{low} to {high}" for low, high in zip(texts, texts[1:])]
    found = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(names) - 1)
    return [names[index] for index in found], _shades(names)


def _shades(names: Sequence[str]) -> dict[str, str]:
    return {kind: to_hex(colormaps["viridis"](0.95 * i / max(1, len(names) - 1))) for i, kind in enumerate(names)}


def circles(data: pd.DataFrame, kinds: Sequence[str] | str) -> pd.DataFrame:
    """The circles of a part of the map, large ones first: columns kind, x and y (mean place), rows (positions in the
    table), count. `kinds` are the rows' classes, or the one of all."""
    down, along = np.floor(GRID * data[["y", "x"]].to_numpy(float)).astype(int).T
    frame = data[["x", "y"]].assign(kind=kinds, rows=range(len(data)))
    groups = frame.groupby(["kind", down * (GRID + 1) + along])
    found = groups.agg({"x": "mean", "y": "mean", "rows": list}).reset_index(level="kind")
    found["count"] = found["rows"].map(len)
    return found.sort_values(["count", "x", "y"], ascending=[False, True, True], ignore_index=True)


def families(data: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Where each family's name stands: the middle of the square that holds most of its questions."""
    known = data[data["topic"].fillna("") != ""]
    found = circles(known, known["topic"]).groupby("kind").first() if len(known) else known
    return {str(row.Index): (row.x, row.y) for row in found.itertuples()}


def panel(data: pd.DataFrame, own: np.ndarray, by: str, shown: np.ndarray | None = None) -> Panel:
    """The rows `own` [N] of the map of `points` in colour, of them only those of `shown`, all others in grey. Sizes and
    colours are scaled by all of `own`, so that choosing other rounds changes neither."""
    kinds, colours = classes(data, own, by)
    inside = np.ones(len(kinds), bool) if shown is None else shown[own]
    part, kinds = data[own][inside], np.array(kinds)[inside]
    full = circles(data[own], "")["count"].max()
    scale, found = min(SMALL, LARGE / full**0.5), circles(part, kinds)
    ground = circles(data, "")
    silent = {"hover": [""] * len(ground), "keys": [()] * len(ground)}
    marks = [Mark(ground["x"], ground["y"], colour="#e4e4e4", marker="o", size=4, **silent)]
    for kind, colour in colours.items():
        drawn = found[found["kind"] == kind]
        hover = [_quoted(part.iloc[rows]) for rows in drawn["rows"]]
        keys = [tuple(part.index[rows].tolist()) for rows in drawn["rows"]]
        look = {"marker": "o", "size": scale * drawn["count"] ** 0.5, "opacity": 0.85, "hover": hover, "keys": keys}
        label = f"{name(kind)} ({drawn['count'].sum()})"
        marks.append(Mark(drawn["x"], drawn["y"], label, [colour] * len(drawn), **look))
    places = families(data)
    texts = {"text": list(map(name, places)), "hover": [""] * len(places), "keys": [()] * len(places)}
    marks.append(Mark([x for x, _ in places.values()], [y - 0.05 for _, y in places.values()], **texts))
    return Panel(marks, bare="xy", ylim=(1.02 * data["y"].max() + 0.02, -0.07))


def _quoted(part: pd.DataFrame) -> str:
    """What pointing at a circle shows: its questions, at most `QUOTED` different ones."""
    lines = [
        f"{row.question} → {row.answer} ({name(row.label)}; reward {100 * row.reward:+.1f} points; "
        f"seed {row.seed}, round {row.round}, data set {row.dataset})"
        for row in part.itertuples()
    ]
    found = Counter(lines).most_common(QUOTED)
    left = len(part) - sum(count for _, count in found)
    texts = [f"{line}{f' ({count} times)' if count > 1 else ''}" for line, count in found]
    return "\n".join([*texts, *([f"and {left} more"] if left else [])])


def made(data: pd.DataFrame) -> str:
    """A sentence that says how a map was made."""
    known = f", trustworthiness {data['trust'].iloc[0]:.2f}" if data["trust"].notna().all() else ""
    return f"{data['projection'].iloc[0]}{known}"


def question_map(folder: str | Path, embed: Embedding | None = None, judge: Judge = exact,
                 most: int = 2000) -> Explorer:  # fmt: skip
    """Explore the map of all questions that a study's teachers wrote, by arm, seed and rounds, coloured as chosen;
    click circles to read their questions. Raises ValueError if no teacher of the study has written anything yet."""
    data = points(report.problems(folder, judge), embed, most)
    if data.empty:
        raise ValueError(f"{folder}: no teacher wrote a problem yet; run the study or resume it")
    return map_explorer(data)


def map_explorer(data: pd.DataFrame) -> Explorer:
    """The explorer of a table of `points` that is not empty."""
    controls = {
        "arm": widgets.choice("arm", [(name(arm), arm) for arm in dict.fromkeys(data["arm"])]),
        "seed": widgets.choice("seed", ["all", *sorted(set(data["seed"].tolist()))]),
        "by": widgets.choice("colour by", list(COLOUR_BY)),
        "rounds": widgets.span(int(data["round"].min()), int(data["round"].max())),
    }
    last = data.groupby("arm")["round"].max()
    prepare = lambda: widgets.reach(controls["rounds"], int(last[controls["arm"].value]))  # noqa: E731
    return widgets.explorer(controls, partial(page, data), prepare, lambda keys, **chosen: picked(data, keys))


def page(data: pd.DataFrame, arm: str, seed: int | str, rounds: tuple[int, int], by: str) -> Page:
    """The map for one arm, a seed or "all", the first and last round, and a way to colour."""
    own = ((data["arm"] == arm) & ((data["seed"] == seed) | (seed == "all"))).to_numpy()
    shown = own & data["round"].between(*rounds).to_numpy()
    span = f"round {rounds[0]}" if rounds[0] == rounds[1] else f"rounds {rounds[0]} to {rounds[1]}"
    chosen = f"{name(arm)}, {'all seeds' if seed == 'all' else f'seed {seed}'}, {span}"
    if not shown.any():
        return [f"No question: {chosen}."]
    written = data[own].groupby(["arm", "seed"])["written"].first().sum()
    part = f" Of {written:,} written in all rounds, {own.sum():,} were drawn by lot." if written > own.sum() else ""
    said = f"{counted(shown.sum())}: {chosen}; colours: {COLOUR_BY[by]}.{part}"
    chart = Chart([panel(data, own, by, shown)], size=(9.0, 7.0), heading=by)
    return [said, chart, f"Map: {made(data)}. {HOW} Click a circle, or draw around several, to read their questions."]


def picked(data: pd.DataFrame, keys: list) -> Page:
    """The questions of the circles that were picked, whose keys are row labels."""
    rows = data.loc[sorted({row for key in keys for row in key})]
    if rows.empty:
        return []
    shown = rows.assign(reward=(100 * rows["reward"]).map("{:+.1f}".format), label=rows["label"].map(name))
    columns = ["question", "answer", "label", "reward", "seed", "round", "dataset"]
    return [f"{counted(len(rows))} picked (reward in points):", shown[columns].rename(columns={"dataset": "data set"})]
