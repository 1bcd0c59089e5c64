"""Where the questions that a study's teachers wrote lie on a map: like questions near each other (SOAR section 5.2).

`points` gives every question its place, once, so that nothing moves when a reader looks at other rounds or arms. What
is drawn (`question_map`) are `circles`: questions of one colour that fall into one small square of the map are one
circle, whose area is their number. Small circles lie on large ones, and no point is moved to be seen.

The projection is t-SNE (van der Maaten and Hinton 2008): neighbours on the map are neighbours in the embedding, but
distances between groups far apart mean little. `trust` says how far the first half of that sentence holds. A projection
onto principal components would keep distances, but lays half of the embedded world's families on one spot.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import TruncatedSVD
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from soar_lib.measure import diversity
from soar_lib.measure.diversity import Embedding, Vectors
from soar_lib.measure.names import COLOURS
from soar_lib.measure.quality import UNJUDGED
from soar_lib.randomness import generator
from soar_lib.soar.report import PROBLEMS

COLUMNS = [*PROBLEMS, "x", "y", "written", "projection", "trust"]
COLOUR_BY = {  # what to colour by, and what it means
    "round": "the round that it was written in",
    "reward": "the reward of its data set, as its arm pays it, in points (a span holds its lower end)",
    "family": "the family of the world that reads it",
    "quality": "the judge's label",
}
BLACK, BLUE, GREEN, ORANGE, RED, PINK, SKY, *_ = COLOURS
LABEL_COLOURS = {
    "correct": GREEN, "arithmetic": BLUE, "logic": ORANGE, "ill_posed": RED, "ambiguous": PINK, UNJUDGED: BLACK,
}  # fmt: skip
LABEL_TITLES = {"arithmetic": "arithmetic error", "logic": "logic error", "ill_posed": "ill-posed"}
NO_FAMILY = "no family"
GRID = 80  # squares along the map's wider side


def named(kind: str) -> str:
    """The name for readers of a class of `classes`.

    >>> named("ill_posed"), named("chain_sum")
    ('ill-posed', 'chain sum')
    """
    return LABEL_TITLES.get(kind, kind.replace("_", " "))


def counted(count: int) -> str:
    """
    >>> counted(1), counted(12)
    ('1 question', '12 questions')
    """
    return f"{count} question{'' if count == 1 else 's'}"


def points(
    problems: pd.DataFrame, embed: Embedding | None = None, most: int = 2000, landmarks: int = 600, seed: int = 0
) -> pd.DataFrame:
    """The map of the problems of `soar.report.problems`: the same columns and x, y, written, projection, trust. Of an
    arm's seed at most `most` problems are taken, drawn evenly from the `written` ones; equal questions share their
    place. `embed` None: character n-grams. `projection` says how the places were found and `trust` is their
    trustworthiness; both are the same in all rows."""
    runs = [part for _, part in problems.groupby(["arm", "seed"], sort=False)]
    kept = [
        part.iloc[_drawn(len(part), most, seed, "question map", *map(str, part.iloc[0][["arm", "seed"]]))]
        .assign(written=len(part)) for part in runs
    ]  # fmt: skip
    if not kept:
        return pd.DataFrame(columns=COLUMNS)
    data, embed = pd.concat(kept, ignore_index=True), embed or diversity.tfidf()
    codes, questions = pd.factorize(data["question"])
    vectors = embed.encode(list(questions))
    places = project(vectors, landmarks, seed)
    data[["x", "y"]] = places[codes]
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
    near = min(5, (len(rows) - 1) // 2)
    if near < 1 or len(rows) < 4:
        return math.nan
    return float(trustworthiness(vectors[rows], places[rows], n_neighbors=near, metric="cosine"))


def classes(data: pd.DataFrame, own: np.ndarray, by: str) -> tuple[list[str], dict[str, str]]:
    """(the class of each row of a part of the map, the colour of each class in the legend's order). `own` [N] marks the
    part's rows, `by` is one of `COLOUR_BY`. Families have the same colours in every part of a map; rounds and rewards,
    of which arms have different numbers and kinds, are scaled by the part."""
    part = data[own]
    if by == "round":
        return _rounds(part["round"].to_numpy())
    if by == "reward":
        return _rewards(100 * part["reward"].to_numpy(float))
    if by == "family":
        names = sorted(set(data["topic"].dropna()) - {""})  # a CSV has no empty text
        colours = {name: COLOURS[1 + i] for i, name in enumerate(names)} | {NO_FAMILY: BLACK}
        return list(part["topic"].fillna("").replace("", NO_FAMILY)), colours
    if by == "quality":
        return list(part["label"]), LABEL_COLOURS
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
    return {name: to_hex(colormaps["viridis"](0.95 * i / max(1, len(names) - 1))) for i, name in enumerate(names)}


def circles(data: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """The circles of a part of the map, large ones first: columns kind, x and y (mean place), rows (positions in the
    table), count. `kinds` are the rows' classes."""
    down, along = np.floor(GRID * data[["y", "x"]].to_numpy(float)).astype(int).T
    frame = pd.DataFrame(
        {"kind": list(kinds), "x": data["x"].to_numpy(), "y": data["y"].to_numpy(), "rows": range(len(data))}
    )
    groups = frame.groupby(["kind", down * (GRID + 1) + along])
    found = groups.agg({"x": "mean", "y": "mean", "rows": list}).reset_index(level="kind")
    found["count"] = found["rows"].map(len)
    return found.sort_values(["count", "x", "y"], ascending=[False, True, True], ignore_index=True)


def families(data: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Where each family's name stands: the middle of the square that holds most of its questions."""
    known = data[data["topic"].fillna("") != ""]
    found = circles(known, known["topic"]).groupby("kind").first() if len(known) else known
    return {str(row.Index): (row.x, row.y) for row in found.itertuples()}
