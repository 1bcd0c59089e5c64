"""What the explorers share: controls above a page that follows them. They read run folders and train nothing. A page is
a list of charts, tables and sentences, which a pure function makes of the controls' values; here it becomes widgets,
and on paper (on GitHub) a picture. All text of a run is escaped."""

import base64
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
import plotly.graph_objects as go

from soar_lib.files import write_text_atomic
from soar_lib.measure import live
from soar_lib.measure.charts import Chart
from soar_lib.measure.tables import name
from soar_lib.records import HARD_TEST, HARD_TRAIN, Problem

Page = Sequence[Chart | pd.DataFrame | str]
Controls = Mapping[str, ipywidgets.Widget]
# What pandas leaves: at the start of a line [ would be an option of \\.
LATEX = str.maketrans({"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}", "]": "{]}", "±": r"$\pm$"})


class Explorer(ipywidgets.VBox):
    """Widgets, and a function `page` that gives what they show now: all that a reader without a kernel sees."""

    def __init__(self, children: Sequence[ipywidgets.Widget], page: Callable[[], Page]) -> None:
        super().__init__(children)
        self.page = page

    def _repr_mimebundle_(self, **kwargs) -> dict:
        return super()._repr_mimebundle_(**kwargs) | on_paper(self.page())


def on_paper(page: Page) -> dict[str, str]:
    """A page without a kernel, by MIME type: its first chart as a picture, or else its text and tables as HTML."""
    if charts := [part for part in page if isinstance(part, Chart)]:
        return {"image/png": base64.b64encode(charts[0].png()).decode()}
    return {"text/html": f'<div class="tex2jax_ignore mathjax_ignore">{"".join(map(html, page))}</div>'}


def explorer(
    controls: Controls, draw: Callable[..., Page], prepare: Callable[[], None] = lambda: None,
    detail: Callable[..., Page] | None = None, top: Sequence[ipywidgets.Widget] = (),
) -> Explorer:  # fmt: skip
    """The controls above the page that `draw` makes of their values by name, anew whenever one changes; `prepare` is
    called first, as one control may hide another or change its options. `detail` makes what stands below once points of
    a chart are clicked or selected, of their keys and the values. `top` holds controls that do not stand in a row."""
    shown, below, now = ipywidgets.VBox(), ipywidgets.VBox(), {"busy": False, "page": []}

    def values() -> dict:
        return {key: value_of(control) for key, control in controls.items()}

    def picked(keys: list) -> None:
        fill(below, detail(keys, **values()))

    def show(change: dict | None = None) -> None:
        if now["busy"]:  # a control that `prepare` changes
            return
        now["busy"] = True
        try:
            prepare()
            now["page"] = draw(**values())
        finally:
            now["busy"] = False
        fill(shown, now["page"], picked if detail else None)
        fill(below, [])

    show()
    for control in controls.values():
        control.observe(show, "value")
    row = ipywidgets.HBox([*(top or controls.values())], layout={} if top else {"flex_flow": "row wrap"})
    return Explorer([row, shown, below], lambda: now["page"])


def fill(box: ipywidgets.Box, page: Page, picked: Callable[[list], None] | None = None) -> None:
    """Show a page in a box; its charts take the place of those that stand there where they can (`live.shown`)."""
    old, new = [child for child in box.children if isinstance(child, go.FigureWidget)], []
    for part in page:
        if isinstance(part, Chart):
            new.append(live.shown(part, old.pop(0) if old else None, picked))
        else:
            new.append(ipywidgets.HTML(html(part)))
    gone, box.children = [child for child in box.children if child not in new], new
    for child in gone:
        child.close()


def tabs(pages: Mapping[str, Explorer]) -> Explorer:
    """Explorers under tabs with their titles, one visible at a time."""
    tab = ipywidgets.Tab([*pages.values()], titles=tuple(pages))
    return Explorer([tab], lambda: [*pages.values()][tab.selected_index or 0].page())


def html(part: pd.DataFrame | str) -> str:
    """A sentence, or a table that scrolls where it is long, with all text escaped."""
    if isinstance(part, str):
        return f"<p>{escape(part)}</p>"
    with pd.option_context("display.max_colwidth", None):
        table = part.to_html(index=False, border=0, justify="left", na_rep="")
    spaced = table.replace("<table", '<table style="border-collapse: separate; border-spacing: 1em 0"', 1)
    return f'<div style="max-height: 25em; overflow: auto; line-height: 1.4">{spaced}</div>'


def choice(description: str, options: Sequence, **first) -> ipywidgets.Dropdown:
    """A drop-down list of values or (name, value), as wide as the longest and the arrow; at first `value` is chosen."""
    longest = max(len(str(option[0] if isinstance(option, tuple) else option)) for option in [*options, ""])
    look = {"width": f"calc({longest}ch + 130px)", "max_width": "100%"}
    return ipywidgets.Dropdown(options=options, description=description, layout=look, **first)


def several(description: str, options: Sequence[tuple], first: Sequence = (), rows: int = 10,
            **look) -> ipywidgets.SelectMultiple:  # fmt: skip
    """A list of (name, value) to choose several from; those in `first` are chosen at the start, or else all."""
    values = [value for _, value in options]
    chosen = [value for value in values if value in first] or values
    return ipywidgets.SelectMultiple(options=options, value=chosen, description=description, rows=rows, **look)


def value_of(control: ipywidgets.Widget) -> object:
    """A control's value; for a control that chooses several, a tuple in the order in which they are listed."""
    many = isinstance(control, ipywidgets.SelectMultiple)
    return tuple(value for _, value in control.options if value in control.value) if many else control.value


def slider(description: str, first: int, last: int, value: int | None = None, step: int = 1) -> ipywidgets.IntSlider:
    """A slider over whole numbers, which reports its value once it rests."""
    look = {"description": description, "continuous_update": False}
    return ipywidgets.IntSlider(first if value is None else value, first, max(first, last), step, **look)


def span(first: int, last: int) -> ipywidgets.IntRangeSlider:
    """A slider over the first and the last round to show."""
    look = {"description": "rounds", "continuous_update": False}
    return ipywidgets.IntRangeSlider(value=(first, last), min=first, max=last, **look)


def reach(rounds: ipywidgets.IntRangeSlider, last: int) -> None:
    """Move the end of a slider of rounds to the last round that there is; if it moves, all rounds are chosen."""
    if rounds.max != (last := max(last, rounds.min)):
        rounds.max = last
        rounds.value = (rounds.min, last)


def show_only(controls: Controls, applying: Sequence[str]) -> None:
    """Show the controls named in `applying` and hide the others."""
    for key, control in controls.items():
        control.layout.display = None if key in applying else "none"


def save_buttons(folder: Path, shown: Callable[[], tuple]) -> tuple[list[ipywidgets.Button], ipywidgets.HTML]:
    """Buttons that write to `folder` what `shown` gives (file stem, table, function from table to text): the table as
    CSV, its text as LaTeX; and the widget that says what they did."""
    said = ipywidgets.HTML()
    buttons = [ipywidgets.Button(description=f"Export {kind}") for kind in ("CSV", "LaTeX")]
    for button, ending in zip(buttons, ("csv", "tex"), strict=True):
        button.on_click(lambda _, ending=ending: setattr(said, "value", html(_save(folder, ending, *shown()))))
    return buttons, said


def _save(folder: Path, ending: str, stem: str, frame: pd.DataFrame, text: Callable) -> str:
    """Write a table, whole or not at all; returns a sentence that says where, or why not."""
    if frame.empty:
        return "Nothing is shown, so nothing was written."
    path, csv = folder / f"{stem}.{ending}", ending == "csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, frame.to_csv(index=False, lineterminator="\n") if csv else latex(text(frame)))
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror}); name another folder as export"
    return f"Written: {path}"


def latex(frame: pd.DataFrame) -> str:
    """A table of text as LaTeX for the package booktabs: the first column to the left, the others to the right."""
    columns = f"l{'r' * (len(frame.columns) - 1)}"
    return frame.to_latex(index=False, escape=True, column_format=columns).translate(LATEX)


def problem_browser(folder: str | Path) -> Explorer:
    """Browse the hard problems of a finished filter run by part, topic and number."""
    from soar_lib.problems.filtering import read_filtered  # it waits for the engine

    filtered = read_filtered(folder)
    parts, outcomes = {HARD_TRAIN: filtered.train, HARD_TEST: filtered.test}, {one.id: one for one in filtered.outcomes}
    topics = ["all", *sorted({problem.topic for problems in parts.values() for problem in problems})]
    named = {key: [(name(value), value) for value in values] for key, values in (("part", parts), ("topic", topics))}
    controls = {key: choice(key, options) for key, options in named.items()} | {"number": slider("problem", 1, 1)}

    def found(part: str, topic: str) -> list[Problem]:
        return [problem for problem in parts[part] if topic in ("all", problem.topic)]

    def prepare() -> None:
        controls["number"].max = max(1, len(found(controls["part"].value, controls["topic"].value)))

    def page(part: str, topic: str, number: int) -> Page:
        if not (rows := found(part, topic)):
            return ["No hard problem of this topic in this part."]
        return [problem_table(rows[number - 1], outcomes[rows[number - 1].id], len(rows))]

    return explorer(controls, page, prepare)


def problem_table(problem: Problem, outcome: Any, of: int) -> pd.DataFrame:
    """One problem with its answer and the verdicts of its samples (`outcome`); `of` problems can be chosen from."""
    verdicts = ", ".join(f"{getattr(outcome, kind)} {kind}" for kind in ("right", "wrong", "unparsed", "timeout"))
    level = "" if problem.level is None else f", level {problem.level}"
    rows = [("topic", f"{name(problem.topic)}{level}"), ("question", problem.question), ("answer", problem.answer)]
    return pd.DataFrame([*rows, ("samples", verdicts)], columns=["", f"one of {of} problems ({problem.id})"])
