"""Figures of SOAR: a run's rounds, what a study's arms scored, how their students and teachers learned, its sweeps.

As in measure/drawing.py a table goes in and a figure comes out. Tables are those of `passk.table` and `soar.report`;
fractions of 1 are drawn as percent or points.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soar_lib.measure import drawing, passk, plots
from soar_lib.measure.drawing import COLOURS, Looks, Tables, looks, panels
from soar_lib.measure.names import ordered
from soar_lib.measure.tables import name, percent
from soar_lib.records import Score
from soar_lib.runs import read_jsonl

# Columns that become axes: what they say, and the factor to their unit.
QUANTITIES = {
    "step": ("step (both phases)", 1), "round": ("round", 1), "reward": ("mean reward of the answers", 1),
    "top_reward": ("answers with the top reward (%)", 100), "signal": ("groups with unequal rewards (%)", 100),
    "length": ("length of the answers (tokens)", 1), "grad_norm": ("gradient norm", 1),
    "mean_reward": ("teacher reward (points)", 100), "baseline_accuracy": ("accuracy of the baseline (%)", 100),
}  # fmt: skip


def of_runs(filtered: str | Path, soar: Iterable[Path], table: pd.DataFrame, threshold: float) -> Tables:
    """The figures of a filter run, SOAR runs with one promotion threshold, and the table of their evaluation."""
    return {
        "filtering_nano": (plots.filtering_table(filtered), plots.filtering),
        "soar_rounds": (rounds_table(soar), partial(timeline, threshold=threshold)),
        "soar_nano": (table, main_pass_at_k),
    }


# ------------------------------------------------------------------ rounds of a run


def rounds_table(folders: Iterable[str | Path]) -> pd.DataFrame:
    """One row per run and round from rounds.jsonl; rewards are gains in accuracy (fractions of 1)."""
    rows = []
    for folder in map(Path, folders):
        for record in read_jsonl(folder / "rounds.jsonl"):
            reached = [sum(row) / len(row) for row in record["rewards"]]
            run = {"run": "/".join(folder.parts[-2:]), "lowest": min(reached), "highest": max(reached)}
            rows.append(record | run)
    return pd.DataFrame(rows, columns=ROUNDS)


ROUNDS = [
    "run", "round", "mean_reward", "lowest", "highest", "moving_average", "baseline_accuracy", "promoted",
]  # fmt: skip


def timeline(data: pd.DataFrame, threshold: float | None = None) -> Figure:
    """Teacher reward, its moving average and promotions over the rounds, one panel per run; see `rounds_table`."""
    runs = list(dict.fromkeys(data["run"]))
    figure, grid = panels(len(runs), size=(7.0, 1.1 + (2.4 if len(runs) == 1 else 1.7) * len(runs)), sharex=True)
    for axes, run in zip(grid, runs, strict=True):
        _one_timeline(axes, data[data["run"] == run], threshold)
        axes.set(title=run, ylabel="gain in accuracy (points)" if len(runs) == 1 else "gain (points)")
    grid[-1].set_xlabel("round")
    drawing.top_legend(figure, *grid[0].get_legend_handles_labels())
    return figure


def _one_timeline(axes: Axes, part: pd.DataFrame, threshold: float | None) -> None:
    number, points = part["round"], 100 * part[["lowest", "highest", "mean_reward", "moving_average"]]
    axes.fill_between(number, points["lowest"], points["highest"], color=COLOURS[5], alpha=0.25, label="data sets")
    axes.plot(number, points["mean_reward"], color=COLOURS[0], marker="o", ms=4, label="mean reward")
    axes.plot(number, points["moving_average"], color=COLOURS[3], lw=2, label="moving average")
    if threshold is not None:
        axes.axhline(100 * threshold, color="black", ls="--", lw=1, label="promotion threshold")
    promoted = points.loc[part["promoted"], "moving_average"]
    axes.plot(number[part["promoted"]], promoted, "*", color=COLOURS[6], ms=13, ls="", label="promotion")
    axes.xaxis.get_major_locator().set_params(integer=True)


# ------------------------------------------------------------------ pass@k


def main_pass_at_k(data: pd.DataFrame) -> Figure:
    """pass@k of few arms with its interval, the legend inside; the columns of `passk.COLUMNS`."""
    figure, (axes,) = panels(size=(7.0, 4.2))
    plots.draw_passes(axes, data, looks(data["arm"]), seeds=" seeds")
    axes.set_title("Held-out hard problems, 95 % intervals")
    axes.legend(fontsize=9, frameon=False)
    return figure


def beside(ours: pd.DataFrame, paper: pd.DataFrame, model: str = "nano") -> pd.DataFrame:
    """One row per arm and source: pass@k in percent, ours with 95 % intervals, the paper's as mean ± SD over seeds.

    `ours` has the columns of `passk.COLUMNS` (fractions), `paper` those of figures/data/soar_paper.csv (percent).
    The paper's numbers are of another model on other problems: what compares is the order of the arms.
    """
    rows = []
    for arm in dict.fromkeys(ours["arm"]):
        mine, theirs = ours[ours["arm"] == arm], paper[paper["arm"] == arm]
        cells = {f"pass@{r.k}": percent(r.mean, r.low, r.high) for r in mine.itertuples(index=False)}
        seeds = mine["seeds"].iloc[0]
        rows.append({"arm": name(arm), "source": f"{model}, {seeds} seed{'s' if seeds > 1 else ''}", **cells})
        for source, part in theirs[theirs["k"].isin(mine["k"])].groupby("set", sort=False):
            cells = {f"pass@{r.k}": f"{r.mean} ± {r.sd}" for r in part.itertuples(index=False)}
            rows.append({"arm": name(arm), "source": f"paper, {source.upper()}", **cells})
    return pd.DataFrame(rows)


def topics_table(scores: list[Score], topics: dict[str, str], k: int, seed: int = 0) -> pd.DataFrame:
    """pass@k of each arm on the problems of each topic alone; `topics` says a problem id's. Columns topic, problems
    (how many were measured) and those of `soar_lib.measure.passk.COLUMNS`."""
    parts = []
    for topic in sorted({topics[score.problem] for score in scores}):
        own = [score for score in scores if topics[score.problem] == topic]
        part = passk.table(own, [k], seed=seed)
        part.insert(0, "topic", topic)
        part.insert(1, "problems", len({score.problem for score in own}))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def by_topic(data: pd.DataFrame) -> Figure:
    """pass@k of each arm by topic, bars with intervals; see `topics_table`."""
    figure, (axes,) = panels(size=(7.0, 4.2))
    arms, topics = (list(dict.fromkeys(data[column])) for column in ("arm", "topic"))
    for index, arm in enumerate(arms):
        part = data[data["arm"] == arm].set_index("topic").reindex(topics)
        places = [place + 0.8 * (index - (len(arms) - 1) / 2) / len(arms) for place in range(len(topics))]
        look = {"color": COLOURS[index % 7], "label": name(arm), "error_kw": {"elinewidth": 1}}
        axes.bar(places, 100 * part["mean"], 0.8 / len(arms), yerr=drawing.whiskers(part), **look)
    counts = data.groupby("topic")["problems"].first()
    axes.set_xticks(range(len(topics)), [f"{topic.replace('_', chr(10))}\n({counts[topic]})" for topic in topics])
    axes.set(ylabel=f"pass@{data['k'].iloc[0]} on hard test (%)", xlabel="topic (number of test problems)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9, frameon=False)
    return figure


def arms(data: pd.DataFrame, k: int | None = None, where: str = "", look: Looks | None = None) -> Figure:
    """pass@k of every arm at one k (None: the largest) with its interval, one row each, in the order of
    `measure.names.STUDENTS`.

    `data` has the columns `passk.COLUMNS`; names end in how many students were measured. Raises ValueError
    where nothing was measured at k.
    """
    part = _at(data, k)
    found, look = ordered(part["arm"]), look or looks(part["arm"])
    figure, (axes,) = plots.row_panels([len(found)])
    _points(axes, part.set_index("arm", drop=False).loc[found], [look[arm] for arm in found])
    axes.set(xlabel=_measured(part, where), title="Mean and 95 % intervals", ylabel="arm (students)")
    return figure


def sweeps(data: pd.DataFrame, k: int | None = None, where: str = "") -> Figure:
    """pass@k at one k (None: the largest) of swept settings below the unswept one, a panel for each kind of student.

    `data` has the columns `passk.COLUMNS`; an arm is a sweep of the arm whose name its own begins with. Line and
    shade are the unswept setting's mean and interval. Raises ValueError where nothing was measured at k.
    """
    part = _at(data, k)
    groups = [(base, _sweeps_of(base, part)) for base in ordered(part["arm"]) if not _unswept(base, part["arm"])]
    figure, grid = plots.row_panels([len(group) for _, group in groups], sharex=True)
    for axes, (base, group) in zip(grid, groups, strict=True):
        first = group.iloc[0]
        axes.axvspan(100 * first["low"], 100 * first["high"], color=COLOURS[0], alpha=0.1, lw=0)
        axes.axvline(100 * first["mean"], color=COLOURS[0], ls=":", lw=1)
        look = looks([base, "sweep"])
        _points(axes, group, [look[base], *[look["sweep"]] * (len(group) - 1)])
        axes.set(title=name(base), ylabel="setting (students)")
    grid[-1].set_xlabel(_measured(part, where) + ", 95 % intervals")
    return figure


def _unswept(arm: str, among: Iterable[str]) -> str:
    """The arm of which this one is a sweep, "" where there is none."""
    return max((other for other in among if arm.startswith(f"{other}_")), key=len, default="")


def _sweeps_of(base: str, part: pd.DataFrame) -> pd.DataFrame:
    own = [arm for arm in part["arm"] if arm == base or _unswept(arm, part["arm"]) == base]
    return part.set_index("arm", drop=False).loc[sorted(own, key=lambda arm: arm != base)]


def _at(data: pd.DataFrame, k: int | None) -> pd.DataFrame:
    part = data[data["k"] == (data["k"].max() if k is None else k)]
    if part.empty:
        measured = ", ".join(str(one) for one in sorted(data["k"].unique())) or "none"
        raise ValueError(f"k = {k}: no arm was measured at it; measured: {measured}")
    return part


def _measured(part: pd.DataFrame, where: str) -> str:
    return f"pass@{part['k'].iloc[0]}{f' on {where}' if where else ''} (%)"


def _points(axes: Axes, part: pd.DataFrame, look: Sequence[dict[str, str]]) -> None:
    """One row per arm from above, its axis from 0 or below."""
    drawing.dots(axes, part[["mean", "low", "high"]], look)
    drawing.name_rows(axes, [f"{name(row.arm)} ({row.seeds})" for row in part.itertuples()])
    axes.set_xlim(left=min(0, axes.get_xlim()[0]) if (part["low"] < 0).any() else 0)


# ------------------------------------------------------------------ lines over steps and rounds


def bands(data: pd.DataFrame, x: str, y: str, smoothing: int = 1, look: Looks | None = None) -> Figure:
    """One line per arm, the mean over seeds, with a band of one SD over seeds on each side; `data` as in `means`."""
    return lines(drawing.means(data, x, y, smoothing), x, y, smoothing, look)


def lines(frame: pd.DataFrame, x: str, y: str, smoothing: int = 1, look: Looks | None = None) -> Figure:
    """The figure of a table that `means` gave; `smoothing` is what it was smoothed by."""
    figure = plots.lines(frame, x, y, QUANTITIES.get(y, (y, 1)), smoothing, look)
    figure.axes[0].set_xlabel(QUANTITIES.get(x, (x, 1))[0])
    return figure


def teacher_means(rounds: pd.DataFrame, smoothing: int = 1) -> pd.DataFrame:
    """The columns of `means` over rounds of mean_reward, and promotions: how many a seed had so far, in the mean.

    `rounds` has the columns of `soar.report.ROUNDS`.
    """
    counts = rounds.sort_values("round").groupby(["arm", "seed"])["promoted"].cumsum()
    promotions = drawing.means(rounds.assign(promotions=counts), "round", "promotions")
    rewards = drawing.means(rounds, "round", "mean_reward", smoothing)
    return rewards.merge(promotions[["arm", "round", "promotions"]], on=["arm", "round"], how="left")


def teachers(frame: pd.DataFrame, smoothing: int = 1, look: Looks | None = None) -> Figure:
    """Teachers' rewards above, promotions so far below, over the rounds; the table of `teacher_means`.

    A grounded reward is a gain in accuracy; an intrinsic one is not, so the two do not compare.
    """
    look, (label, factor) = look or looks(frame["arm"]), QUANTITIES["mean_reward"]
    figure, (above, below) = panels(2, size=(9.0, 5.6), sharex=True)
    drawing.draw_means(above, frame, "round", "mean_reward", look, factor)
    for arm, part in frame.groupby("arm", sort=False):
        below.step(part["round"], part["promotions"], **look[arm], ms=4, where="post")
    above.set(ylabel=label, title=drawing.averaged(smoothing))
    below.set(xlabel="round", ylabel="promotions so far, per seed")
    below.set_ylim(bottom=0)
    drawing.side_legend(figure, above)
    return figure
