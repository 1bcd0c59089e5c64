"""Explorers of what teachers did: one SOAR run's rounds, after it and while it goes on, and the diversity of a study's
problems. Files are read, no model is loaded, nothing is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd

from soar_lib.files import read_jsonl
from soar_lib.hooks import Log
from soar_lib.measure import diversity, plots, widgets
from soar_lib.measure.charts import Chart
from soar_lib.measure.diversity import Embedding
from soar_lib.measure.tables import name
from soar_lib.measure.widgets import Explorer, Page
from soar_lib.records import SyntheticProblem
from soar_lib.soar import figures, report
from soar_lib.soar.study import ARMS

DRAWS = 10  # subsamples per set: enough for a curve that follows a slider


def round_browser(folder: str | Path, threshold: float | None = None) -> Explorer:
    """Browse a SOAR run: the rewards along its rounds, and of one round (slide, or click it) what each data set earned
    and the problems that the teacher wrote. Raises ValueError where no round is finished."""
    folder = Path(folder)
    rounds, problems = report.rounds_of(folder), read_jsonl(folder / "problems.jsonl", SyntheticProblem)
    if not rounds:
        raise ValueError(f"{folder}: has no finished round to show; run it or resume it first")
    controls = {
        "number": widgets.slider("round", 1, len(rounds)),
        "dataset": widgets.choice("data set", range(len(rounds[0]["rewards"]))),
    }

    def page(number: int, dataset: int) -> Page:
        record = rounds[number - 1]
        mine = [p for p in problems if (p["round"], p["dataset"]) == (record["round"], dataset)]
        timeline = figures.timeline(pd.DataFrame(rounds), threshold, record["round"])
        counts = pd.DataFrame(mine).groupby(["question", "answer"], sort=False).size().reset_index(name="times")
        return [timeline, *round_page(record), f"Problems of data set {dataset}:", counts]

    def picked(keys: list, **_: int) -> Page:
        controls["number"].value = 1 + [record["round"] for record in rounds].index(keys[0])
        return []

    return widgets.explorer(controls, page, detail=picked)


def round_page(record: dict) -> Page:
    """A round in a sentence, and one row per data set with its rewards in points of accuracy."""
    rows = []
    for k, gains in enumerate(record["rewards"]):
        cells = [f"{100 * gain:+.1f}" for gain in gains]
        if record["chosen"] and record["chosen"][0] == k:
            cells[record["chosen"][1]] += " (promoted)"
        rows.append([k, ", ".join(cells), f"{100 * sum(gains) / len(gains):+.1f}"])
    said = (
        f"Round {record['round']}: baseline {100 * record['baseline_accuracy']:.1f} %, mean reward "
        f"{100 * record['mean_reward']:+.2f}, moving average {100 * record['moving_average']:+.2f} points"
    )
    return [said, pd.DataFrame(rows, columns=["data set", "gains of its students", "reward"])]


def live_timeline(folder: str | Path, threshold: float | None = None) -> tuple[Explorer, Log]:
    """(a timeline of rewards to show before a SOAR run begins, what `hooks.Hooks` takes as `log` to redraw it whenever
    a round has ended). A resumed run's earlier rounds are there from the start."""
    folder, shown = Path(folder), ipywidgets.VBox()

    def page() -> Page:
        return [figures.timeline(figures.rounds_table([folder]), threshold)]

    def redraw(rows: Sequence[dict] = ()) -> None:
        widgets.fill(shown, page())

    redraw()
    return Explorer([shown], page), redraw


def vendi_windows(problems: pd.DataFrame, vectors: diversity.Vectors, window: int, q: float, size: int) -> pd.DataFrame:
    """The Vendi Score of order q of `size` problems of every arm, seed and window of rounds (columns arm, seed, round:
    the window's first, size, vendi: the mean over `DRAWS` subsamples); `vectors` [N, D] are those of the problems.
    Windows with fewer problems have no row."""
    first = (problems["round"] - 1) // window * window + 1
    rows = []
    for key, own in problems.groupby(["arm", "seed", first.rename("first")], sort=False).indices.items():
        if len(own) >= size:
            draws = diversity.subsamples(len(own), size, DRAWS, 0, "vendi window", *map(str, key))
            rows.append([*key, size, np.mean([diversity.vendi(vectors[own[draw]], q) for draw in draws])])
    return pd.DataFrame(rows, columns=["arm", "seed", "round", "size", "vendi"])


def vendi_explorer(problems: pd.DataFrame, embeddings: Mapping[str, Embedding] | None = None) -> Explorer:
    """Explore how diverse the problems of `soar.report.problems` are along the rounds, by embedding, order q, pooled
    rounds and number of problems. `embeddings` by their names; None: character n-grams."""
    known: dict[str, diversity.Vectors] = {}
    embeddings = embeddings or {"character n-grams": diversity.tfidf()}
    problems = problems[problems["arm"].isin(report.TEACHERS)].reset_index(drop=True)
    sizes = problems.groupby(["arm", "seed", "round"]).size()
    least, last = (int(sizes.min()), int(problems["round"].max())) if len(sizes) else (2, 1)
    arms = [(name(arm), arm) for arm in dict.fromkeys(problems["arm"])]
    shown = [arm for _, arm in arms if not ARMS[arm].sweep]  # beside a longer run the others could not be read
    controls = {
        "embedding": widgets.choice("embedding", list(embeddings)),
        "q": widgets.choice("q", [("0.5", 0.5), ("1", 1.0), ("2", 2.0), ("infinity", float("inf"))], value=1.0),
        "window": widgets.slider("pool rounds", 1, min(10, last)),
        "size": widgets.slider("problems", 2, max(least, 2) * 2, max(least, 2)),
        "arms": widgets.several("arms", arms, shown, rows=min(6, max(1, len(arms)))),
    }

    def page(embedding: str, q: float, window: int, size: int, arms: tuple) -> Page:
        if embedding not in known:
            known[embedding] = embeddings[embedding].encode(list(problems["question"]))
        own = problems["arm"].isin(arms).to_numpy()
        table = vendi_windows(problems[own].reset_index(drop=True), known[embedding][own], window, q, size)
        rounds = f"{window} rounds together" if window > 1 else "one round"
        if table.empty:
            return [f"No arm wrote {size} problems in {rounds}: choose fewer problems or more rounds."]
        title = f"{embedding}; {size} problems of {rounds}\nmean and ± 1 SD over seeds"
        means = plots.means(table, "round", "vendi")
        chart = Chart([plots.curve(means, "round", "vendi", title=title, label=f"Vendi Score (q = {q:g})")])
        text = means.groupby("arm").tail(1).round(2).rename(columns={"vendi": "mean", "sd": "SD"})
        return [chart, "The last rounds of each arm:", text.assign(arm=text["arm"].map(name))]

    return widgets.explorer(controls, page)
