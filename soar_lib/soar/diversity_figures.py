"""Figures of what teachers write: its diversity (SOAR Table 1, appendix E), its quality (Table 7), its map.

As in measure/drawing.py a table goes in and a figure comes out. Tables are those of `soar.report` and, for the map, of
`question_points.points`. Diversity tables of several embeddings may be put one under another: each gets its panel.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from soar_lib.measure import diversity, drawing
from soar_lib.measure.diversity import Embedding
from soar_lib.measure.drawing import looks, panels
from soar_lib.measure.names import ordered
from soar_lib.measure.quality import LABELS
from soar_lib.measure.tables import name
from soar_lib.soar.question_points import LABEL_COLOURS, circles, classes, counted, families, fullest, named

GAINING = ("grounded", "no_promotion", "multi_turn")  # arms paid by their students' gain, with data sets of one size
GAIN_COLUMNS = ["arm", "seed", "round", "dataset", "n", "embedding", "q", "vendi", "reward"]


# ------------------------------------------------------------------ diversity


def _by_embedding(data: pd.DataFrame, width: float, height: float) -> tuple[Figure, list]:
    """A figure with a panel for each embedding: (axes, the embedding's name, its rows) of each."""
    parts = list(data.groupby("embedding", sort=False))
    figure, grid = panels(len(parts), size=(width, 1.2 + height * len(parts)), sharex=True)
    return figure, [(axes, *part) for axes, part in zip(grid, parts, strict=True)]


def vendi_by_round(data: pd.DataFrame) -> Figure:
    """Vendi Score of each round's problems, one line per arm: the mean over seeds with a band of one SD on each side.

    `data` is a table of `soar.report.diversity_by_round`.
    """
    figure, grid = _by_embedding(data, 9.0, 3.2)
    for axes, embedding, part in grid:
        drawing.draw_means(axes, drawing.means(part, "round", "vendi"), "round", "vendi", looks(data["arm"]))
        axes.set_title(f"{embedding}; {_sizes(part)} problems of each round; mean and ± 1 SD over seeds")
        axes.set_ylabel(_score(part))
    axes.set_xlabel("round")
    drawing.side_legend(figure, grid[0][0])
    return figure


def vendi_by_arm(data: pd.DataFrame) -> Figure:
    """Vendi Score of the problems that each teacher wrote for the evaluation: a point per seed, a bar at their mean.

    `data` is a table of `soar.report.diversity_by_seed`.
    """
    arms, look = ordered(data["arm"]), looks(data["arm"])
    figure, grid = _by_embedding(data, 7.0, 3.2)
    for axes, embedding, part in grid:
        for place, arm in enumerate(arms):
            own = part.loc[part["arm"] == arm, "vendi"]
            axes.plot([place] * len(own), own, **look[arm] | {"ls": "", "alpha": 0.6})
            axes.plot([place - 0.25, place + 0.25], [own.mean()] * 2, color=look[arm]["color"], lw=2)
        axes.set(title=f"{embedding}; {_sizes(part)} problems of each seed", ylabel=_score(part))
        axes.set_ylim(bottom=0)
    axes.set_xticks(range(len(arms)), [name(arm).replace(", ", ",\n") for arm in arms], fontsize=9)
    axes.set_xlabel("arm (points: seeds; bars: their means)")
    return figure


def _score(part: pd.DataFrame) -> str:
    return f"Vendi Score (q = {' and '.join(f'{q:g}' for q in sorted(part['q'].unique()))})"


def _sizes(part: pd.DataFrame) -> str:
    return " or ".join(map(str, sorted(part["size"].unique())))


def vendi_gain_table(
    problems: pd.DataFrame, embed: Embedding | None = None, arms: tuple[str, ...] = GAINING, q: float = 1.0
) -> pd.DataFrame:
    """One row per data set of the outer loop, columns `GAIN_COLUMNS`: the Vendi Score of its questions and its reward,
    which is the gain in accuracy of students trained on it (a fraction of 1).

    `problems` are those of `soar.report.problems`; `embed` None: character n-grams. Raises ValueError where data sets
    differ in size, since their scores do not compare.
    """
    chosen = problems[problems["arm"].isin(arms)].reset_index(drop=True)
    if chosen.empty:
        return pd.DataFrame(columns=GAIN_COLUMNS)
    embed, rows = embed or diversity.tfidf(), []
    vectors = embed.encode(list(chosen["question"]))
    for key, own in chosen.groupby(GAIN_COLUMNS[:4], sort=False).indices.items():
        score = diversity.vendi(vectors[own], q)
        rows.append([*key, len(own), embed.name, q, score, float(chosen["reward"].iloc[own[0]])])
    found = pd.DataFrame(rows, columns=GAIN_COLUMNS)
    sizes = found.groupby("arm", sort=False)["n"].unique()
    if found["n"].nunique() > 1:
        said = "; ".join(f"{arm}: {', '.join(map(str, own))}" for arm, own in sizes.items())
        raise ValueError(f"data sets of {said} problems do not compare; name arms whose sets have one size")
    return found


def vendi_against_gain(data: pd.DataFrame) -> Figure:
    """A data set's gain against its Vendi Score, coloured by arm; `data` is a table of `vendi_gain_table`.

    The title has Spearman's rho over all data sets, and within rounds, where all data sets of a round share their
    baseline and reward set: both numbers are then taken as differences from their round's means.
    """
    figure, grid = _by_embedding(data, 9.0, 3.4)
    for axes, embedding, part in grid:
        for arm, own in part.groupby("arm", sort=False):
            look = looks(data["arm"])[arm]
            points = look | {"ls": "", "ms": 4, "alpha": 0.6, "label": f"{name(arm)}: {_rho(own)}"}
            axes.plot(own["vendi"], 100 * own["reward"], **points)
        axes.set_title(f"{embedding}; Spearman's rho {_rho(part)}, within rounds {_rho(within_rounds(part))}")
        axes.set_ylabel("gain in accuracy (points)")
        axes.legend(fontsize=9, frameon=False, title="arm: rho")
    axes.set_xlabel(f"{_score(data)} of a data set of {' or '.join(map(str, data['n'].unique()))} problems")
    return figure


def within_rounds(data: pd.DataFrame) -> pd.DataFrame:
    """A table of `vendi_gain_table` with vendi and reward as differences from the means of their arm, seed, round."""
    values = ["vendi", "reward"]
    return data.assign(**data[values] - data.groupby(["arm", "seed", "round"])[values].transform("mean"))


def rank_correlation(data: pd.DataFrame) -> float:
    """Spearman's rho of vendi and reward; NaN where one of them is constant."""
    if min(data["vendi"].nunique(), data["reward"].nunique()) < 2:
        return math.nan
    return float(spearmanr(data["vendi"], data["reward"]).statistic)


def _rho(data: pd.DataFrame) -> str:
    rho = rank_correlation(data)
    return f"{'undefined' if math.isnan(rho) else f'{rho:+.2f}'} (n = {len(data)})"


# ------------------------------------------------------------------ quality


def quality_bars(data: pd.DataFrame, paper: pd.DataFrame | None = None) -> Figure:
    """Shares of the quality labels of each arm in one bar, with 95 % intervals of `correct` and of all well-posed ones.

    `data` is a table of `soar.report.quality_by_arm`. Beneath an arm's bar stands, paler, what `paper` says of it
    (figures/data/quality_paper.csv, SOAR Table 7 as printed, where not all columns add up to 100: another model, other
    problems, a language model as judge).
    """
    bars = []
    for arm in ordered(data["arm"]):
        theirs = pd.DataFrame() if paper is None else paper[paper["arm"] == arm]
        bars += [(name(arm), data[data["arm"] == arm], 1.0)]
        bars += [] if theirs.empty else [("paper", theirs, 0.45)]
    figure, (axes,) = panels(size=(9.0, 1.6 + 0.42 * len(bars)))
    for place, (_, part, alpha) in enumerate(bars):
        _one_bar(axes, place, part.set_index("measure"), alpha)
    drawing.name_rows(axes, [f"{text} (n = {part['n'].iloc[0]})" for text, part, _ in bars])
    axes.grid(False)
    axes.set(xlabel="share of the judged problems (%)", ylabel="arm (judged problems)")
    handles, labels = axes.get_legend_handles_labels()
    drawing.top_legend(figure, handles[:5], labels[:5])
    return figure


def _one_bar(axes: Axes, place: int, part: pd.DataFrame, alpha: float) -> None:
    """All labels; the intervals, where there are any, stand at the ends of their shares."""
    dark = ("correct", "arithmetic") if alpha == 1 else ()
    parts = [
        (named(label), part.loc[label, "percent"], LABEL_COLOURS[label], "white" if label in dark else "black")
        for label in LABELS
    ]
    drawing.stack(axes, place, parts, alpha, least=5)
    for measure, offset in (("correct", 0.28), ("well_posed", -0.28)) if "low" in part else ():
        row = part.loc[measure]
        errors = [[row["percent"] - row["low"]], [row["high"] - row["percent"]]]
        axes.errorbar(row["percent"], place + offset, xerr=errors, color="black", capsize=3, lw=1)


def quality_by_round(data: pd.DataFrame) -> Figure:
    """Shares of well-posed and of correct problems by round, one line per arm: mean and ± 1 SD over seeds.

    `data` is a table of `soar.report.quality_by_round`.
    """
    figure, grid = panels(2, size=(9.0, 5.6), sharex=True)
    for axes, column in zip(grid, ("well_posed", "correct"), strict=True):
        drawing.draw_means(axes, drawing.means(data, "round", column), "round", column, looks(data["arm"]), 100)
        axes.set(ylabel=f"{column.replace('_', '-')} problems (%)", ylim=(0, 102))
    grid[0].set_title(drawing.averaged())
    grid[-1].set_xlabel("round")
    drawing.side_legend(figure, grid[0])
    return figure


# ------------------------------------------------------------------ the map


def question_map_figure(data: pd.DataFrame, by: str = "round") -> Figure:
    """The map of `question_points.points`, a panel for each arm: all questions in grey, the arm's in colour.

    `by` is one of `question_points.COLOUR_BY`; circles and colours are those of the widget.
    """
    arms = list(dict.fromkeys(data["arm"]))
    rows, columns = math.ceil(len(arms) / 2), min(2, len(arms))
    figure, grid = panels(rows, columns, (1.0 + 4.6 * columns, 1.2 + 3.9 * rows), sharex=True, sharey=True)
    for axes, arm in zip(grid, arms):
        _one_map(axes, data, (data["arm"] == arm).to_numpy(), by)
        axes.set(title=f"{name(arm)} ({counted((data['arm'] == arm).sum())})")
    for axes in grid[len(arms) :]:
        axes.remove()
    figure.supxlabel(_map_note(data, by), fontsize=9)
    return figure


def _map_note(data: pd.DataFrame, by: str) -> str:
    known = f", trustworthiness {data['trust'].iloc[0]:.2f}" if data["trust"].notna().all() else ""
    return f"{data['projection'].iloc[0]}{known}\ncoloured by {by}; a circle's area is its number of questions"


def _one_map(axes: Axes, data: pd.DataFrame, own: np.ndarray, by: str) -> None:
    kinds, colours = classes(data, own, by)
    axes.scatter(data["x"], data["y"], s=6, color="#dddddd", lw=0)
    unit = min(8.0, 500 / fullest(data[own]))  # square points of area per question
    found = circles(data[own], kinds)
    rings = [(circle.x, circle.y, unit * area, colours[kind]) for circle in found for kind, area in circle.rings]
    x, y, sizes, colour = zip(*rings, strict=True)
    axes.scatter(x, y, s=sizes, c=colour, edgecolors="white", lw=0.3)
    for family, (left, top) in families(data).items():
        axes.text(left, top - 0.03, named(family), ha="center", fontsize=7)
    for kind, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=named(kind))
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(xticks=[], yticks=[], aspect="equal", ylim=(1.02 * data["y"].max() + 0.01, -0.03))  # as in the widget
