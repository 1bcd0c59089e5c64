"""The SvS explorer: what was written beside what it was written from, and the arms' curves. Reads a folder, no model.

Pages of HTML come from pure functions; the widget only chooses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import ipywidgets
import pandas as pd

from soar_lib import runs
from soar_lib.measure.quality import Verdict
from soar_lib.measure.tables import name, plus_minus, score_rows
from soar_lib.soar.explorer_views import html, picture
from soar_lib.svs import figures as svs_plots
from soar_lib.svs import report as svs_report
from soar_lib.svs import tables as svs_tables
from soar_lib.svs.names import MAIN

Judge = Callable[[str, str], Verdict]
CURVES = {
    "entropy": "entropy on the step's problems", "test_entropy": "entropy on the test problems",
    "accuracy": "accuracy on the step's problems", "passes": "pass@k",
}  # fmt: skip
SETS = {"hard": "the hard set", "test": "the test problems", "other": "answers of another type"}
ONLY = {"": "all", "reward": "rewarded", "leak": "giving something away", "duplicate": "near duplicates"}
LEVELS = {"arm": "arm", "seed": "seed", "step": "step", "problem": "original"}


@dataclass(frozen=True)
class Tables:
    """An SvS folder, read once: `svs_report.table`, `svs_tables.steps` and `written`, the judge of its world if there
    is one, and the settings of each arm."""

    numbers: pd.DataFrame
    steps: pd.DataFrame
    written: pd.DataFrame
    judge: Judge | None
    settings: dict[str, dict]

    @property
    def arms(self) -> list[str]:
        return list(self.settings)


def read(folder: str | Path) -> Tables:
    """Everything of an SvS folder that is finished. Raises RunError where it is none."""
    svs_report.read(folder)
    path = Path(folder) / "svs.csv"  # intervals take a while, and the run has computed them
    return Tables(
        pd.read_csv(path) if path.is_file() else svs_report.table(folder),
        svs_tables.steps(folder),
        svs_tables.written(folder),
        svs_report.exact_judge(folder),
        {arm: runs.read_json(Path(folder) / arm / "config.json") for arm in svs_report.finished(folder)},
    )


# ------------------------------------------------------------------ pages: variants


def variants_page(tables: Tables, own: pd.DataFrame, only: str = "") -> str:
    """One original of one step beside its variants; `own` are their rows of `svs_tables.written`, `only` a key of
    `ONLY`."""
    if own.empty:
        return "<p>Nothing was written: no arm of this folder that writes variants is finished.</p>"
    shown = own[own[only].astype(bool)] if only else own
    said = f"{len(shown)} of {len(own)} variants" + (f" ({ONLY[only]})" if only else "")
    head = original_html(own, tables.settings[own["arm"].iloc[0]])
    return f"{head}<p>{said}</p>" + (html(variant_rows(shown, tables)) if len(shown) else "")


def original_html(own: pd.DataFrame, settings: dict) -> str:
    """The problem that variants were written from, and how often it was solved: every right solution is a seed, unless
    a guard limits them."""
    first, seeds = own.iloc[0], own["number"].nunique()
    least = "at least " if settings["guards"]["solutions"] else ""
    where = f"{name(first['arm'])}, seed {first['seed']}, step {first['step']}, {first['problem']}"
    return (
        f"<p><b>Original</b> ({escape(where)}): {escape(first['original'])}</p>"
        f"<p>Answer: <code>{escape(first['answer'])}</code>; right solutions in this step: {least}{seeds} of "
        f"{settings['group']}. Variants were written from {seeds} of them.</p>"
    )


def variant_rows(own: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """The variants as text; right counts the solutions with the original's answer, seeds and variants count from 1."""
    rows = [
        {
            "seed": row.number + 1, "variant": row.index + 1, "question": row.question or "(unreadable)",
            "exact judge": judged(row.question, row.answer, tables.judge),
            "right": f"not solved: {row.dropped}" if row.dropped else f"{row.right:.0f} of {_group(tables, row.arm)}",
            "reward": f"{row.reward:.0f}", "gives away": row.leak or "–", "near duplicate of": row.duplicate or "–",
        }
        for row in own.itertuples(index=False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _group(tables: Tables, arm: str) -> int:
    return tables.settings[arm]["group"]


def judged(question: str, answer: str, judge: Judge | None) -> str:
    """What the exact judge says of a variant: valid is one whose own answer is the original's."""
    if not question:
        return "unreadable"
    if judge is None:
        return "not judged: of another world"
    verdict = judge(question, answer)
    if verdict.correct:
        return "valid"
    return f"its answer is {verdict.answer}" if verdict.well_posed else verdict.label.replace("_", "-")


# ------------------------------------------------------------------ pages: curves


def curves_page(
    tables: Tables, view: str, arms: tuple[str, ...], x: str = "step", smoothing: int = 1, set: str = "hard"
) -> str:
    """Figure and table of a view of `CURVES`: pass@k on one of `SETS`, or a measure along `svs_plots.AXES`."""
    if not arms:
        return "<p>Choose at least one arm.</p>"
    frame = passed(tables, arms, set) if view == "passes" else along(tables, view, arms, smoothing)
    if frame.empty:
        return "<p>Nothing to show: of these arms nothing was measured there (the untrained model has no steps).</p>"
    absent = ", ".join(name(arm) for arm in arms if arm not in {*frame["arm"]})
    note = f"<p>Not measured there: {escape(absent)}.</p>" if absent else ""
    if view == "passes":
        return picture(svs_plots.pass_at_k(frame, SETS[set]), "pass@k") + note + html(_scores(frame))
    figure = svs_plots.curve(frame, x, view, smoothing)
    return picture(figure, CURVES[view]) + note + html(_points(frame, view))


def passed(tables: Tables, arms: tuple[str, ...], set: str) -> pd.DataFrame:
    found = svs_tables.passes(tables.numbers, set)
    return found[found["arm"].isin(arms)]


def along(tables: Tables, view: str, arms: tuple[str, ...], smoothing: int) -> pd.DataFrame:
    return svs_plots.along(tables.steps[tables.steps["arm"].isin(arms)], view, smoothing)


def _scores(frame: pd.DataFrame) -> pd.DataFrame:
    return score_rows(frame, "seeds").fillna("–")


def _points(frame: pd.DataFrame, view: str) -> pd.DataFrame:
    """One row per arm and step."""
    factor, digits = (100, 1) if view == "accuracy" else (1, 3)
    values = [plus_minus(factor * m, factor * sd, digits) for m, sd in zip(frame[view], frame["sd"], strict=True)]
    spent = frame["rollouts"].round().astype(int)
    return pd.DataFrame(
        {
            "arm": frame["arm"].map(name), "updates": frame["step"], "completions": spent,
            svs_plots.QUANTITIES[view][0].replace("\n", " "): values, "seeds": frame["seeds"],
        }
    )  # fmt: skip


# ------------------------------------------------------------------ the widget


def svs_explorer(folder: str | Path) -> ipywidgets.VBox:
    """Explore an SvS folder: every variant beside its original, and the arms' curves. Raises RunError where the folder
    holds no SvS run."""
    tables = read(folder)
    tabs = [_variants(tables), _curves(tables)]
    return ipywidgets.VBox([ipywidgets.Tab(tabs, titles=("variants", "curves"))])


def _variants(tables: Tables) -> ipywidgets.VBox:
    """Each choice decides what the next one offers."""
    controls = {level: ipywidgets.Dropdown(description=text) for level, text in LEVELS.items()}
    only = ipywidgets.Dropdown(options=[(text, key) for key, text in ONLY.items()], description="show")
    page = ipywidgets.HTML()

    def show(change: dict | None = None) -> None:
        own = tables.written
        for level, control in controls.items():
            if control.options != (options := _options(own, level)):
                kept, values = control.value, [value for _, value in options]
                control.options = options
                control.value = kept if kept in values else next(iter(values), None)
            own = own[own[level] == control.value]
        page.value = variants_page(tables, own, only.value)

    show()
    for control in (*controls.values(), only):
        control.observe(show, "value")
    top = ipywidgets.HBox([*controls.values(), only], layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([top, page])


def _options(own: pd.DataFrame, level: str) -> tuple[tuple[str, int | str], ...]:
    found = own.drop_duplicates(level)
    if level == "problem":
        return tuple((f"{row.original[:70]} ({row.problem})", row.problem) for row in found.itertuples(index=False))
    values = found[level].tolist()
    return tuple((name(value) if level == "arm" else str(value), value) for value in values)


def _curves(tables: Tables) -> ipywidgets.VBox:
    arms = [(name(arm), arm) for arm in tables.arms]
    first = [arm for arm in tables.arms if arm in MAIN] or tables.arms
    view = ipywidgets.Dropdown(options=[(text, key) for key, text in CURVES.items()], description="show")
    x = ipywidgets.Dropdown(options=[(text, key) for key, text in svs_plots.AXES.items()], description="against")
    smoothing = ipywidgets.IntSlider(5, 1, 15, 2, description="smoothing", continuous_update=False)
    set = ipywidgets.Dropdown(options=[(text, key) for key, text in SETS.items()], description="on")
    chosen = ipywidgets.SelectMultiple(options=arms, value=first, description="arms", rows=11, layout={"width": "28em"})
    page = ipywidgets.HTML()

    def show(change: dict | None = None) -> None:
        applies = {
            x: view.value != "passes",
            smoothing: view.value in ("entropy", "accuracy"),
            set: view.value == "passes",
        }
        for control, shown in applies.items():
            control.layout.display = None if shown else "none"
        listed = tuple(arm for arm in tables.arms if arm in chosen.value)
        smooth = smoothing.value if applies[smoothing] else 1
        page.value = curves_page(tables, view.value, listed, x.value, smooth, set.value)

    show()
    for control in (view, x, smoothing, set, chosen):
        control.observe(show, "value")
    return ipywidgets.VBox([ipywidgets.HBox([ipywidgets.VBox([view, x, smoothing, set]), chosen]), page])
