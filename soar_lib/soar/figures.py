"""Figures of SOAR's runs: their rounds, what arms scored by topic, how teachers earned; our numbers beside the paper's.

A table goes in and a `Chart` comes out. Tables are those of `passk.table` and `soar.report`; fractions of 1 are drawn
as percent or points.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd

from soar_lib.measure import passk, plots
from soar_lib.measure.charts import Chart, Mark, Panel, Tables, arm_mark
from soar_lib.measure.names import COLOURS
from soar_lib.measure.tables import name, percent
from soar_lib.records import Score
from soar_lib.soar import report

ROUNDS = ["run", *report.ROUNDS[2:]]


def of_runs(filtered: str | Path, soar: Iterable[Path], table: pd.DataFrame, threshold: float) -> Tables:
    """The figures of a filter run, SOAR runs with one promotion threshold, and the table of their evaluation."""
    return {
        "filtering_nano": (plots.filtering_table(filtered), plots.filtering),
        "soar_rounds": (rounds_table(soar), partial(timeline, threshold=threshold)),
        "soar_nano": (table, plots.pass_at_k),
    }


def rounds_table(folders: Iterable[str | Path]) -> pd.DataFrame:
    """One row per run and round; rewards are gains in accuracy (fractions of 1)."""
    return pd.DataFrame([row for folder in folders for row in report.rounds_of(Path(folder))], columns=ROUNDS)


def timeline(data: pd.DataFrame, threshold: float | None = None, shown: int | None = None) -> Chart:
    """Teacher reward, its moving average and promotions over the rounds, one panel per run; see `rounds_table`. A line
    stands at the round `shown`."""
    parts = data.groupby("run", sort=False) if len(data) else [("", data)]
    rules = [("y", 100 * threshold, "promotion threshold")] if threshold is not None else []
    rules += [("x", shown, "round shown below")] if shown is not None else []
    panels = [
        Panel(_rewards(part), "round", "gain (points)", _title(run), rules=rules,
              xlim=(0.5, max(2, *part["round"]) + 0.5 if len(part) else None))
        for run, part in parts
    ]  # fmt: skip
    height = 1.1 + (2.4 if len(panels) == 1 else 1.7) * len(panels)
    return Chart(panels, size=(8.0, height), shared="x", legend="top")


def _title(run: str) -> str:
    """What a reader calls a run: its arm and seed in a study, else the teacher of the run."""
    found = re.fullmatch(r"(\w+)/seed(\d+)", run)
    return f"{name(found[1]).capitalize()}, seed {found[2]}" if found else "What the teacher earned, round by round"


def _rewards(part: pd.DataFrame) -> list[Mark]:
    x, promoted = part["round"], part[part["promoted"].astype(bool)]
    points = 100 * part[["mean_reward", "lowest", "highest", "moving_average"]]
    said = [
        f"round {row.round}: {100 * row.mean_reward:+.2f} points\ndata sets {100 * row.lowest:+.2f} to "
        f"{100 * row.highest:+.2f}\nbaseline {100 * row.baseline_accuracy:.1f} %{', promoted' * bool(row.promoted)}"
        for row in part.itertuples()
    ]
    return [
        Mark(x, points["mean_reward"], "mean reward, band: all data sets", COLOURS[1], "-", "o", low=points["lowest"],
             high=points["highest"], ends="band", hover=said, keys=list(x)),
        Mark(x, points["moving_average"], "moving average", COLOURS[4], "--", keys=list(x)),
        Mark(promoted["round"], 100 * promoted["moving_average"], "promotion", marker="*", size=12,
             keys=list(promoted["round"])),
    ]  # fmt: skip


def teacher_means(rounds: pd.DataFrame, smoothing: int = 1) -> pd.DataFrame:
    """The columns of `plots.means` over the mean_reward of `soar.report.rounds`, and promotions: how many a seed had so
    far, in the mean."""
    counts = rounds.sort_values("round").groupby(["arm", "seed"])["promoted"].cumsum()
    promotions = plots.means(rounds.assign(promotions=counts), "round", "promotions")
    rewards = plots.means(rounds, "round", "mean_reward", smoothing)
    return rewards.merge(promotions[["arm", "round", "promotions"]], on=["arm", "round"], how="left")


def teachers(frame: pd.DataFrame, smoothing: int = 1) -> Chart:
    """Teachers' rewards above, promotions so far below, over the rounds; the table of `teacher_means`. A grounded
    reward is a gain in accuracy; an intrinsic one is not, so the two do not compare."""
    steps = [arm_mark(arm, p["round"], p["promotions"], step=True) for arm, p in frame.groupby("arm", sort=False)]
    above = plots.curve(frame, "round", "mean_reward", title=plots.averaged(smoothing))
    below = Panel(steps, "round", plots.QUANTITIES["promotions"][0], ylim=(0, None))
    return Chart([above, below], size=(9.0, 5.6), shared="x")


def by_reward(rounds: pd.DataFrame) -> Chart:
    """Teachers' rewards over the rounds, a panel for those paid by their students' gain and one for those paid by
    disagreement, whose rewards have another unit; `rounds` is a table of `soar.report.rounds`."""
    unpaid = rounds["arm"].isin(["intrinsic", "rounds_x6"])
    parts = {"paid by the student's gain": ~unpaid, "paid by disagreement (intrinsic)": unpaid}
    panels = [
        plots.mean_curve(rounds[own], "round", "mean_reward", f"{title}; {plots.averaged()}")
        for title, own in parts.items() if own.any()
    ]  # fmt: skip
    return Chart(panels, size=(9.0, 1.0 + 2.6 * len(panels)))


def beside(ours: pd.DataFrame, paper: pd.DataFrame, model: str = "nano") -> pd.DataFrame:
    """One row per arm and source: pass@k in percent, ours with 95 % intervals, the paper's as mean ± SD over seeds.
    `ours` has the columns of `passk.COLUMNS` (fractions), `paper` those of figures/data/soar_paper.csv (percent). The
    paper's numbers are of another model on other problems: what compares is the order of the arms."""
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
    parts = {}
    for topic in sorted({topics[score.problem] for score in scores}):
        own = [score for score in scores if topics[score.problem] == topic]
        parts[topic, len({score.problem for score in own})] = passk.table(own, [k], seed=seed)
    return pd.concat(parts, names=["topic", "problems"]).reset_index(["topic", "problems"]).reset_index(drop=True)


def by_topic(data: pd.DataFrame) -> Chart:
    """pass@k of each arm by topic with its interval; see `topics_table`."""
    groups, topics = data.groupby("arm", sort=False), list(dict.fromkeys(data["topic"]))
    marks = []
    for index, (arm, part) in enumerate(groups):
        x = part["topic"].map(topics.index) + 0.12 * (index - (len(groups) - 1) / 2)
        ends = {end: 100 * part[end] for end in ("low", "high")}
        marks.append(arm_mark(arm, x, 100 * part["mean"], line="", size=6, **ends))
    counts = data.groupby("topic")["problems"].first()
    ticks = {i: f"{topic.replace('_', chr(10))}\n({counts[topic]})" for i, topic in enumerate(topics)}
    axes = {"x": "topic (test problems)", "y": f"pass@{data['k'].iloc[0]} on hard test (%)"}
    return Chart([Panel(marks, **axes, title="Mean and 95 % intervals", ticks=ticks, ylim=(-2, 102))], size=(9.0, 4.4))
