"""Widgets that explore a saved run: they read its folder, load no model and train nothing.

What is shown is plain HTML from a pure function, the page; the widget only chooses. All text of a run is escaped.
"""

import base64
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import ipywidgets
import pandas as pd
from matplotlib.figure import Figure

from soar_lib.runs import read_jsonl, write_text_atomic

Controls = Mapping[str, ipywidgets.Widget]
# What pandas leaves: at the start of a line [ would be an option of \\.
LATEX = str.maketrans({"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}", "±": r"$\pm$"})
SCROLLED = "max-height: {}em; overflow: auto; line-height: 1.4"


# ------------------------------------------------------------------ controls


def controlled(
    controls: Controls,
    page: Callable[..., str],
    prepare: Callable[[], None] = lambda: None,
    top: Sequence[ipywidgets.Widget] = (),
) -> ipywidgets.VBox:
    """The controls above the page of their values by name, which is made anew whenever one of them changes.

    `prepare` is called first: what one control says may hide another or change its options. `top` holds the controls
    where they do not stand in a row.
    """
    shown = ipywidgets.HTML()

    def show(change: dict | None = None) -> None:
        prepare()
        shown.value = page(**{key: control.value for key, control in controls.items()})

    show()
    for control in controls.values():
        control.observe(show, "value")
    row = ipywidgets.HBox([*(top or controls.values())], layout={} if top else {"flex_flow": "row wrap"})
    return ipywidgets.VBox([row, shown])


def tabs(pages: Mapping[str, ipywidgets.Widget]) -> ipywidgets.VBox:
    """The pages of an explorer by their titles."""
    return ipywidgets.VBox([ipywidgets.Tab([*pages.values()], titles=tuple(pages))])


def choice(description: str, options: Sequence) -> ipywidgets.Dropdown:
    """One of the options, which are values or (name, value)."""
    return ipywidgets.Dropdown(options=options, description=description)


def several(
    description: str, options: Sequence[tuple], first: Sequence = (), rows: int = 10, **look
) -> ipywidgets.SelectMultiple:
    """Several of (name, value), at first those of `first` that there are, or else all."""
    values = [value for _, value in options]
    chosen = [value for value in values if value in first] or values
    return ipywidgets.SelectMultiple(options=options, value=chosen, description=description, rows=rows, **look)


def listed(control: ipywidgets.SelectMultiple) -> tuple:
    """What is chosen of several, in the order in which it is listed."""
    return tuple(value for _, value in control.options if value in control.value)


def smoother(most: int) -> ipywidgets.IntSlider:
    return ipywidgets.IntSlider(5, 1, most, 2, description="smoothing", continuous_update=False)


def span(first: int, last: int) -> ipywidgets.IntRangeSlider:
    """The first and the last round to show."""
    return ipywidgets.IntRangeSlider(
        value=(first, last), min=first, max=last, description="rounds", continuous_update=False
    )


def show_only(controls: Controls, applying: Sequence[str]) -> None:
    for key, control in controls.items():
        control.layout.display = None if key in applying else "none"


def save_buttons(folder: Path, shown: Callable[[], tuple]) -> tuple[list[ipywidgets.Button], ipywidgets.HTML]:
    """Buttons that write what `shown` gives, (file stem, table, how it becomes text), to `folder`: the table as CSV,
    its text as LaTeX; and where they say what they did."""
    said = ipywidgets.HTML()
    buttons = [ipywidgets.Button(description=f"Export {kind}") for kind in ("CSV", "LaTeX")]
    for button, ending in zip(buttons, ("csv", "tex"), strict=True):
        button.on_click(lambda _, ending=ending: setattr(said, "value", para(_save(folder, ending, *shown()))))
    return buttons, said


def _save(folder: Path, ending: str, stem: str, frame: pd.DataFrame, text: Callable) -> str:
    """Write a table, whole or not at all; returns a sentence that says where, or why not."""
    if frame.empty:
        return "Nothing is shown, so nothing was written."
    path = folder / f"{stem}.{ending}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        csv = ending == "csv"
        write_text_atomic(path, frame.to_csv(index=False, lineterminator="\n") if csv else latex(text(frame)))
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror}); name another folder as export"
    return f"Written: {path}"


# ------------------------------------------------------------------ HTML and LaTeX


def para(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def picture(figure: Figure, text: str) -> str:
    """A figure as an image of HTML; `text` is what it says to those who do not see it."""
    figure.savefig(content := io.BytesIO(), format="png", dpi=100)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="{escape(text)}" style="max-width: 100%" src="data:image/png;base64,{data}">'


def table(frame: pd.DataFrame) -> str:
    """A table as HTML in which all text is escaped; long ones scroll."""
    rows = [_cells("th", frame.columns), *(_cells("td", row) for row in frame.itertuples(index=False))]
    inner = f'<table style="border-spacing: 1em 0; text-align: left">{"".join(rows)}</table>'
    return f'<div style="{SCROLLED.format(25)}">{inner}</div>'


def _cells(tag: str, values: Sequence) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(value))}</{tag}>' for value in values)}</tr>"


def latex(frame: pd.DataFrame) -> str:
    """A table of text as LaTeX for the package booktabs: the first column to the left, the others to the right."""
    columns = f"l{'r' * (len(frame.columns) - 1)}"
    return frame.to_latex(index=False, escape=True, column_format=columns).translate(LATEX)


# ------------------------------------------------------------------ filter runs and rounds


def problem_browser(folder: str | Path) -> ipywidgets.VBox:
    """Browse the hard problems of a finished filter run by part, topic and number."""
    folder = Path(folder)
    parts = {name: read_jsonl(folder / f"{name}.jsonl") for name in ("hard_train", "hard_test")}
    outcomes = {row["id"]: row for row in read_jsonl(folder / "outcomes.jsonl")}
    topics = ["all", *sorted({row["topic"] for rows in parts.values() for row in rows})]
    number = ipywidgets.IntSlider(min=1, max=1, description="problem")
    controls = {"part": choice("part", list(parts)), "topic": choice("topic", topics), "number": number}

    def found(part: str, topic: str) -> list[dict]:
        return [row for row in parts[part] if topic in ("all", row["topic"])]

    def prepare() -> None:
        number.max = max(1, len(found(controls["part"].value, controls["topic"].value)))

    def page(part: str, topic: str, number: int) -> str:
        rows = found(part, topic)
        if not rows:
            return "No hard problem of this topic in this part."
        problem = rows[number - 1]
        return problem_html(problem, outcomes[problem["id"]], len(rows))

    return controlled(controls, page, prepare)


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
    controls = {
        "number": ipywidgets.IntSlider(min=1, max=len(rounds), description="round"),
        "dataset": choice("data set", range(len(rounds[0]["rewards"]))),
    }

    def page(number: int, dataset: int) -> str:
        record = rounds[number - 1]
        mine = [p for p in problems if (p["round"], p["dataset"]) == (record["round"], dataset)]
        return round_html(record) + problems_html(mine)

    return controlled(controls, page)


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
