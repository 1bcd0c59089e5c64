"""Figures of filtering, SOAR runs and their evaluation, and what all figures share: colours, style, `save`.

A figure function takes a table and gives a figure; `save` writes both, so a picture and its numbers cannot part.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot: nothing global, no display needed

from soar_lib.measure.passk import table
from soar_lib.measure.tables import title
from soar_lib.records import Score
from soar_lib.runs import read_jsonl

ROOT = Path("figures")
Draw = Callable[[pd.DataFrame], Figure]
Tables = dict[str, tuple[pd.DataFrame, Draw | None]]  # name of the CSV and the picture: what is in it, how it is drawn
# Okabe and Ito's palette: told apart by readers with any common form of colour blindness.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
STYLE = {
    "font.size": 11, "axes.titlesize": 12, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.3,
}  # fmt: skip


def save(figure: Figure, name: str, data: pd.DataFrame, root: str | Path = ROOT) -> Path:
    """Write figures/<name>.png and the table behind it, figures/data/<name>.csv; returns the picture's path."""
    root = Path(root)
    save_table(name, data, root)
    # Without the software's version in it, the same numbers give the same file.
    figure.savefig(root / f"{name}.png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    return root / f"{name}.png"


def save_table(name: str, data: pd.DataFrame, root: str | Path = ROOT) -> Path:
    """Write figures/data/<name>.csv; returns its path."""
    path = Path(root) / "data" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_csv(path, index=False, lineterminator="\n")
    return path


def save_all(tables: Tables, root: str | Path = ROOT) -> list[Path]:
    """Write every table, and its picture where it has one; returns the pictures' paths."""
    for name, (data, _) in tables.items():
        save_table(name, data, root)
    return [save(draw(data), name, data, root) for name, (data, draw) in tables.items() if draw]


def new_axes(rows: int = 1, size: tuple[float, float] = (7.0, 4.2)) -> tuple[Figure, list[Axes]]:
    """A figure with its panels, one under another, that share the x axis."""
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        return figure, list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])


# ------------------------------------------------------------------ filtering


def filtering_table(*folders: str | Path) -> pd.DataFrame:
    """Problems and how many were never solved, by topic and level (0: the source states none), of filter runs."""
    outcomes = pd.DataFrame([row for folder in folders for row in read_jsonl(Path(folder) / "outcomes.jsonl")])
    outcomes["level"] = outcomes["level"].fillna(0).astype(int)
    cells = outcomes.groupby(["topic", "level"])["right"]
    return cells.agg(problems="size", hard=lambda right: int((right == 0).sum())).reset_index()


def filtering(data: pd.DataFrame) -> Figure:
    """Share of problems that stay unsolved, by topic and level; columns topic, level, problems, hard."""
    share = data.assign(share=data["hard"] / data["problems"]).pivot(index="topic", columns="level", values="share")
    figure, (axes,) = new_axes(size=(1.6 + 0.62 * len(share.columns), 1.4 + 0.42 * len(share)))
    image = axes.imshow(share.to_numpy(), vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for row, column in ((r, c) for r in range(len(share)) for c in range(len(share.columns))):
        value = share.iat[row, column]
        if pd.notna(value):
            colour = "white" if value < 0.6 else "black"
            axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(share.columns)), [f"{level:g}" for level in share.columns])
    axes.set_yticks(range(len(share)), share.index)
    axes.grid(False)
    axes.set(xlabel="level as the source states it", ylabel="topic", title="Problems never solved (%)")
    figure.colorbar(image, ax=axes, label="share never solved")
    return figure


# ------------------------------------------------------------------ SOAR runs


def of_runs(filtered: str | Path, soar: Iterable[Path], table: pd.DataFrame, threshold: float) -> Tables:
    """The figures of a filter run, SOAR runs with one promotion threshold, and the table of their evaluation."""
    return {
        "filtering_nano": (filtering_table(filtered), filtering),
        "soar_rounds": (rounds_table(soar), partial(timeline, threshold=threshold)),
        "soar_nano": (table, pass_at_k),
    }


def rounds_table(folders: Iterable[str | Path]) -> pd.DataFrame:
    """One row per run and round from rounds.jsonl; rewards are gains in accuracy (fractions of 1)."""
    rows = []
    for folder in map(Path, folders):
        for record in read_jsonl(folder / "rounds.jsonl"):
            means = [sum(row) / len(row) for row in record["rewards"]]
            rows.append(
                {
                    "run": "/".join(folder.parts[-2:]), "round": record["round"], "mean_reward": record["mean_reward"],
                    "lowest": min(means), "highest": max(means), "moving_average": record["moving_average"],
                    "baseline_accuracy": record["baseline_accuracy"], "promoted": record["promoted"],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def timeline(data: pd.DataFrame, threshold: float | None = None) -> Figure:
    """Teacher reward, its moving average and promotions over the rounds, one panel per run; see `rounds_table`."""
    runs = list(dict.fromkeys(data["run"]))
    figure, panels = new_axes(len(runs), (7.0, 1.1 + (2.4 if len(runs) == 1 else 1.7) * len(runs)))
    for axes, run in zip(panels, runs, strict=True):
        _one_timeline(axes, data[data["run"] == run], threshold)
        axes.set(title=run, ylabel="gain in accuracy (points)" if len(runs) == 1 else "gain (points)")
    panels[-1].set_xlabel("round")
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", fontsize=9, ncols=5, frameon=False)
    return figure


def _one_timeline(axes: Axes, part: pd.DataFrame, threshold: float | None) -> None:
    axes.fill_between(
        part["round"], 100 * part["lowest"], 100 * part["highest"], color=COLOURS[5], alpha=0.25, label="data sets"
    )
    axes.plot(part["round"], 100 * part["mean_reward"], color=COLOURS[0], marker="o", ms=4, label="mean reward")
    axes.plot(part["round"], 100 * part["moving_average"], color=COLOURS[3], lw=2, label="moving average")
    if threshold is not None:
        axes.axhline(100 * threshold, color="black", ls="--", lw=1, label="promotion threshold")
    promoted = part[part["promoted"]]
    axes.plot(
        promoted["round"], 100 * promoted["moving_average"], "*", color=COLOURS[6], ms=13, ls="", label="promotion"
    )
    axes.xaxis.get_major_locator().set_params(integer=True)


# ------------------------------------------------------------------ evaluation


def pass_at_k(data: pd.DataFrame) -> Figure:
    """pass@k of each arm with its interval; the columns of `soar_lib.measure.passk.COLUMNS`."""
    figure, (axes,) = new_axes()
    arms = list(dict.fromkeys(data["arm"]))
    for index, arm in enumerate(arms):
        part = data[data["arm"] == arm]
        name = f"{title(arm)} ({part['seeds'].iloc[0]} seeds)"
        errors = [100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])]
        # Markers of one k stand beside each other, so that intervals do not hide one another.
        axes.errorbar(
            part["k"] * 1.04 ** (index - (len(arms) - 1) / 2), 100 * part["mean"], yerr=errors, capsize=3,
            marker=MARKERS[(index + index // 7) % 7], ms=5, color=COLOURS[index % 7], label=name,
        )  # fmt: skip
    ks = sorted(data["k"].unique())
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_ylim(bottom=0)
    axes.set(xlabel="k (samples per problem)", ylabel="pass@k on hard test (%)")
    axes.set_title("Held-out hard problems, 95 % intervals")
    axes.legend(fontsize=9, frameon=False)
    return figure


def topics_table(scores: list[Score], topics: dict[str, str], k: int, seed: int = 0) -> pd.DataFrame:
    """pass@k of each arm on the problems of each topic alone; `topics` says a problem id's. Columns topic, problems
    (how many were measured) and those of `soar_lib.measure.passk.COLUMNS`."""
    parts = []
    for topic in sorted({topics[score.problem] for score in scores}):
        own = [score for score in scores if topics[score.problem] == topic]
        part = table(own, [k], seed=seed)
        part.insert(0, "topic", topic)
        part.insert(1, "problems", len({score.problem for score in own}))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def by_topic(data: pd.DataFrame) -> Figure:
    """pass@k of each arm by topic, bars with intervals; see `topics_table`."""
    figure, (axes,) = new_axes()
    arms, topics = (list(dict.fromkeys(data[name])) for name in ("arm", "topic"))
    for index, arm in enumerate(arms):
        part = data[data["arm"] == arm].set_index("topic").reindex(topics)
        places = [place + 0.8 * (index - (len(arms) - 1) / 2) / len(arms) for place in range(len(topics))]
        errors = [100 * (part["mean"] - part["low"]), 100 * (part["high"] - part["mean"])]
        axes.bar(
            places, 100 * part["mean"], 0.8 / len(arms), yerr=errors, color=COLOURS[index % 7], label=title(arm),
            error_kw={"elinewidth": 1},
        )  # fmt: skip
    counts = data.groupby("topic")["problems"].first()
    axes.set_xticks(range(len(topics)), [f"{topic.replace('_', chr(10))}\n({counts[topic]})" for topic in topics])
    axes.set(ylabel=f"pass@{data['k'].iloc[0]} on hard test (%)", xlabel="topic (number of test problems)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=9, frameon=False)
    return figure
