"""The ablation explorer: a study's arms, training curves, teachers and problems, by what is chosen.

It reads a study's folder once, loads no model and trains nothing. What is shown comes from pure functions
(`soar_lib.soar.explorer_views`); here are the controls, and the files that buttons write.
"""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import ipywidgets
import pandas as pd

from soar_lib.measure.quality import LABELS, UNJUDGED, exact
from soar_lib.measure.tables import name
from soar_lib.runs import write_text_atomic
from soar_lib.soar import explorer_views
from soar_lib.soar import report as study_tables
from soar_lib.soar.explorer_views import ALL, FIRST, VIEWS, Selection, Tables

SMOOTHEST = 25  # points; the paper smooths over as many steps (section B.8)
Controls = dict[str, ipywidgets.Widget]


def ablation_explorer(
    folder: str | Path, export: str | Path = ".", judge: study_tables.Judge = exact
) -> ipywidgets.VBox:
    """Explore a study's folder, finished or not: how its arms scored and learned, and what its teachers wrote.

    Tables are exported to `<export>/ablation_<view>.csv` (unrounded, fractions of 1) and `.tex` (as shown). `judge`
    labels the problems that are shown; `exact` can judge those of the embedded world only and calls all others
    ill-posed. Raises RunError where the folder holds no study.
    """
    tables = explorer_views.read(folder)
    tabs = [_arms(tables, Path(export)), _problems(tables.problems, judge)]
    return ipywidgets.VBox([ipywidgets.Tab(tabs, titles=("arms", "problems"))])


def _arms(tables: Tables, export: Path) -> ipywidgets.VBox:
    """Views on the arms: controls and buttons, and below them figure and table."""
    controls, shown, said = _arms_controls(tables), ipywidgets.HTML(), ipywidgets.HTML()
    buttons = [ipywidgets.Button(description=f"Export {kind}") for kind in ("CSV", "LaTeX")]

    def show() -> None:
        view = VIEWS[controls["view"].value]
        for control in controls:
            applies = control in ("view", "seeds", view.arms, *view.controls)
            controls[control].layout.display = None if applies else "none"
        shown.value, said.value = explorer_views.page(view, tables, _chosen(controls)), ""

    def write(button: ipywidgets.Button) -> None:
        ending = "csv" if button is buttons[0] else "tex"
        said.value = f"<p>{escape(_export(controls['view'].value, tables, _chosen(controls), export, ending))}</p>"

    for button in buttons:
        button.on_click(write)
    choices = [controls[key] for key in ("view", "k", "smoothing", "rounds")]
    lists = [controls[key] for key in ("students", "teachers", "seeds")]
    top = ipywidgets.HBox([ipywidgets.VBox([*choices, ipywidgets.HBox(buttons)]), *lists])
    return _above(controls, [top, said], shown, show)


def _arms_controls(tables: Tables) -> Controls:
    views = [(view.title, key) for key, view in VIEWS.items()]
    last = int(tables.rounds["round"].max()) if len(tables.rounds) else 1
    return {
        "view": ipywidgets.Dropdown(options=views, description="show"),
        "students": _several("arms", "24em", [(name(arm), arm) for arm in tables.students], FIRST),
        "teachers": _several("arms", "24em", [(name(arm), arm) for arm in tables.teachers]),
        "seeds": _several("seeds", "9em", [(str(seed), seed) for seed in tables.seeds]),
        "k": ipywidgets.Dropdown(options=[("all", ALL), *((str(k), k) for k in tables.ks)], description="k"),
        "smoothing": ipywidgets.IntSlider(5, 1, SMOOTHEST, 2, description="smoothing", continuous_update=False),
        "rounds": ipywidgets.IntRangeSlider(
            value=(1, last), min=1, max=last, description="rounds", continuous_update=False
        ),
    }


def _several(description: str, width: str, options: Sequence[tuple], first: Sequence = ()) -> ipywidgets.SelectMultiple:
    """A choice of several, at first those of `first` that there are, or else all."""
    values = [value for _, value in options]
    chosen = [value for value in values if value in first] or values
    look = {"style": {"description_width": "3em"}, "layout": {"width": width}}
    return ipywidgets.SelectMultiple(options=options, value=chosen, description=description, rows=10, **look)


def _chosen(controls: Controls) -> Selection:
    """What the controls say, arms in the order in which they are listed."""
    arms = controls[VIEWS[controls["view"].value].arms]
    return Selection(
        tuple(arm for _, arm in arms.options if arm in arms.value),
        tuple(sorted(controls["seeds"].value)),
        controls["k"].value,
        controls["smoothing"].value,
        controls["rounds"].value,
    )


def _export(view: str, tables: Tables, chosen: Selection, folder: Path, ending: str) -> str:
    """Write the table of a view, whole or not at all; returns a sentence that says where, or why not."""
    frame = VIEWS[view].table(tables, chosen)
    if frame.empty:
        return "Nothing is shown, so nothing was written."
    path = folder / f"ablation_{view}.{ending}"
    csv = ending == "csv"
    text = frame.to_csv(index=False, lineterminator="\n") if csv else explorer_views.latex(VIEWS[view].text(frame))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, text)
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror}); name another folder as export"
    return f"Written: {path}"


# ------------------------------------------------------------------ problems


def _problems(problems: pd.DataFrame, judge: study_tables.Judge) -> ipywidgets.VBox:
    """The problems that the teachers wrote, by arm, seed, round, data set and label."""
    controls = _problems_controls(problems)

    def show() -> None:
        own = problems
        for column in ("arm", "seed", "round", "dataset"):
            if (value := controls[column].value) != "all":
                own = own[own[column] == value]
        shown.value = explorer_views.problems_page(own, controls["label"].value, judge)

    shown = ipywidgets.HTML()
    top = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
    return _above(controls, [top], shown, show)


def _problems_controls(problems: pd.DataFrame) -> Controls:
    found = {column: problems[column].drop_duplicates().tolist() for column in ("arm", "seed", "round", "dataset")}
    arms = [(name(arm), arm) for arm in found["arm"]] or ["none"]
    return {
        "arm": ipywidgets.Dropdown(options=arms, description="arm"),
        "seed": ipywidgets.Dropdown(options=sorted(found["seed"]) or ["none"], description="seed"),
        "round": ipywidgets.IntSlider(
            1, 1, max(found["round"], default=1), description="round", continuous_update=False
        ),
        "dataset": ipywidgets.Dropdown(options=["all", *sorted(found["dataset"])], description="data set"),
        "label": ipywidgets.Dropdown(
            options=[("all", ""), *((label, label) for label in (*LABELS, UNJUDGED))], description="label"
        ),
    }


def _above(
    controls: Controls, top: Sequence[ipywidgets.Widget], shown: ipywidgets.HTML, show: Callable[[], None]
) -> ipywidgets.VBox:
    """What holds the controls above what they show; `show` is called now and whenever one of them changes."""
    for control in controls.values():
        control.observe(lambda change: show(), "value")
    show()
    return ipywidgets.VBox([*top, shown])
