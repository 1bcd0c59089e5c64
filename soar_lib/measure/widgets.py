"""Widgets that explore a saved run: they read its folder, load no model and train nothing.

What is shown is plain HTML from a pure function; the widget only chooses.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import ipywidgets

from soar_lib.runs import read_jsonl


def problem_browser(folder: str | Path) -> ipywidgets.VBox:
    """Browse the hard problems of a finished filter run by part, topic and number."""
    folder = Path(folder)
    parts = {name: read_jsonl(folder / f"{name}.jsonl") for name in ("hard_train", "hard_test")}
    outcomes = {row["id"]: row for row in read_jsonl(folder / "outcomes.jsonl")}
    topics = ["all", *sorted({row["topic"] for rows in parts.values() for row in rows})]
    part = ipywidgets.Dropdown(options=list(parts), description="part")
    topic = ipywidgets.Dropdown(options=topics, description="topic")
    number = ipywidgets.IntSlider(min=1, max=1, description="problem")

    def show() -> str:
        rows = [row for row in parts[part.value] if topic.value in ("all", row["topic"])]
        number.max = max(1, len(rows))
        if not rows:
            return "No hard problem of this topic in this part."
        problem = rows[number.value - 1]
        return problem_html(problem, outcomes[problem["id"]], len(rows))

    return controlled([part, topic, number], show)


def problem_html(problem: dict, outcome: dict, of: int) -> str:
    """One problem with its answer and the verdicts of its samples."""
    verdicts = ", ".join(f"{outcome[name]} {name}" for name in ("right", "wrong", "unparsed", "timeout"))
    level = "" if problem["level"] is None else f", level {problem['level']}"
    return (
        f"<p><b>{escape(problem['topic'])}{level}</b> ({escape(problem['id'])}, one of {of})</p>"
        f"<p>{escape(problem['question'])}</p><p>Answer: <code>{escape(problem['answer'])}</code></p>"
        f"<p>Samples: {verdicts}</p>"
    )


def round_browser(folder: str | Path) -> ipywidgets.VBox:
    """Browse a SOAR run by round and data set: rewards, promotion, and the problems that the teacher wrote."""
    folder = Path(folder)
    rounds, problems = read_jsonl(folder / "rounds.jsonl"), read_jsonl(folder / "problems.jsonl")
    if not rounds:
        raise ValueError(f"{folder}: has no finished round to show; run it or resume it first")
    number = ipywidgets.IntSlider(min=1, max=len(rounds), description="round")
    dataset = ipywidgets.Dropdown(options=range(len(rounds[0]["rewards"])), description="data set")

    def show() -> str:
        record = rounds[number.value - 1]
        mine = [p for p in problems if (p["round"], p["dataset"]) == (record["round"], dataset.value)]
        return round_html(record) + problems_html(mine)

    return controlled([number, dataset], show)


def round_html(record: dict) -> str:
    """Rewards of a round in points of accuracy, one row per data set; the promoted student is bold."""
    rows = []
    for k, gains in enumerate(record["rewards"]):
        cells = [f"{100 * gain:+.1f}" for gain in gains]
        if record["chosen"] and record["chosen"][0] == k:
            cells[record["chosen"][1]] = f"<b>{cells[record['chosen'][1]]} promoted</b>"
        mean = 100 * sum(gains) / len(gains)
        rows.append(f"<tr><td>{k}</td><td>{', '.join(cells)}</td><td>{mean:+.1f}</td></tr>")
    return (
        f"<p>Round {record['round']}: baseline {100 * record['baseline_accuracy']:.1f} %, mean reward "
        f"{100 * record['mean_reward']:+.2f}, moving average {100 * record['moving_average']:+.2f} points</p>"
        f"<table><tr><th>data set</th><th>gains of its students</th><th>reward</th></tr>{''.join(rows)}</table>"
    )


def problems_html(problems: Sequence[dict]) -> str:
    """The questions and answers of one data set; those that occur more than once say so."""
    counts = Counter((problem["question"], problem["answer"]) for problem in problems)
    items = [
        f"<li>{escape(question)} <code>{escape(answer)}</code>{f' ({count} times)' if count > 1 else ''}</li>"
        for (question, answer), count in counts.items()
    ]
    return f"<ol>{''.join(items)}</ol>"


def controlled(controls: list[ipywidgets.Widget], show: Callable[[], str]) -> ipywidgets.VBox:
    """The controls above what `show` returns, shown anew whenever one of them changes."""
    page = ipywidgets.HTML(show())

    def refresh(change: dict) -> None:
        page.value = show()

    for control in controls:
        control.observe(refresh, "value")
    return ipywidgets.VBox([ipywidgets.HBox(controls), page])
