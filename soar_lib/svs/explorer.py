"""The SvS explorer: what was written beside what it was written from, and the arms' curves. Reads a folder, no model.

Pages of HTML come from pure functions; the widget only chooses.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import ipywidgets
import pandas as pd

from soar_lib import runs
from soar_lib.measure import widgets
from soar_lib.measure.tables import name, plus_minus, score_rows
from soar_lib.measure.widgets import choice, para, picture, table
from soar_lib.svs import figures, report
from soar_lib.svs.report import AnswerJudge
from soar_lib.svs.settings import MAIN

CURVES = {
    "entropy": "entropy on the step's problems", "test_entropy": "entropy on the test problems",
    "accuracy": "accuracy on the step's problems", "passes": "pass@k",
}  # fmt: skip
CONTROLS = dict(zip(CURVES, (("x", "smoothing"), ("x",), ("x", "smoothing"), ("set",))))  # what applies to which
SETS = {"hard": "the hard set", "test": "the test problems", "other": "answers of another type"}
ONLY = {"": "all", "reward": "rewarded", "leak": "giving something away", "duplicate": "near duplicates"}
LEVELS = {"arm": "arm", "seed": "seed", "step": "step", "problem": "original"}


@dataclass(frozen=True)
class SvsFolder:
    """An SvS folder, read once: `report.table`, `steps` and `written`, its judge, and the settings of each arm."""

    numbers: pd.DataFrame
    steps: pd.DataFrame
    written: pd.DataFrame
    judge: AnswerJudge | None
    settings: dict[str, dict]


def read(folder: str | Path) -> SvsFolder:
    """Everything of an SvS folder that is finished. Raises RunError where it is none."""
    report.read(folder)
    path = Path(folder) / "svs.csv"  # intervals take a while, and the run has computed them
    return SvsFolder(
        pd.read_csv(path) if path.is_file() else report.table(folder),
        report.steps(folder),
        report.written(folder),
        report.exact_judge(folder),
        {arm: runs.read_json(Path(folder) / arm / "config.json") for arm in report.finished(folder)},
    )


# ------------------------------------------------------------------ pages: variants


def variants_page(run: SvsFolder, own: pd.DataFrame, only: str = "") -> str:
    """One original of one step beside its variants; `own` are their rows of `report.written`, `only` a key of
    `ONLY`."""
    if own.empty:
        return para("Nothing was written: no arm of this folder that writes variants is finished.")
    shown = own[own[only].astype(bool)] if only else own
    said = f"{len(shown)} of {len(own)} variants" + (f" ({ONLY[only]})" if only else "")
    head = original_html(own, run.settings[own["arm"].iloc[0]])
    return head + para(said) + (table(variant_rows(shown, run)) if len(shown) else "")


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


def variant_rows(own: pd.DataFrame, run: SvsFolder) -> pd.DataFrame:
    """The variants as text; right counts the solutions with the original's answer, seeds and variants count from 1."""
    group = {arm: settings["group"] for arm, settings in run.settings.items()}
    rows = [
        {
            "seed": row.number + 1, "variant": row.index + 1, "question": row.question or "(unreadable)",
            "exact judge": judged(row.question, row.answer, run.judge),
            "right": f"not solved: {row.dropped}" if row.dropped else f"{row.right:.0f} of {group[row.arm]}",
            "reward": f"{row.reward:.0f}", "gives away": row.leak or "–", "near duplicate of": row.duplicate or "–",
        }
        for row in own.itertuples(index=False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def judged(question: str, answer: str, judge: AnswerJudge | None) -> str:
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
    run: SvsFolder, view: str, arms: tuple[str, ...], x: str = "step", smoothing: int = 1, set: str = "hard"
) -> str:
    """Figure and table of a view of `CURVES`: pass@k on one of `SETS`, or a measure along `figures.AXES`; smoothing is
    for measures of each step."""
    if not arms:
        return para("Choose at least one arm.")
    smoothing = smoothing if "smoothing" in CONTROLS[view] else 1
    passed = view == "passes"
    frame = report.passes(run.numbers, set) if passed else figures.along(run.steps, view, smoothing)
    frame = frame[frame["arm"].isin(arms)]
    if frame.empty:
        return para("Nothing to show: of these arms nothing was measured there (the untrained model has no steps).")
    absent = ", ".join(name(arm) for arm in arms if arm not in {*frame["arm"]})
    note = para(f"Not measured there: {absent}.") if absent else ""
    if passed:
        scores = score_rows(frame, "seeds").fillna("–")
        return picture(figures.pass_at_k(frame, SETS[set]), "pass@k") + note + table(scores)
    return picture(figures.curve(frame, x, view, smoothing), CURVES[view]) + note + table(_points(frame, view))


def _points(frame: pd.DataFrame, view: str) -> pd.DataFrame:
    """One row per arm and step."""
    (label, factor), digits = figures.QUANTITIES[view], 1 if view == "accuracy" else 3
    values = [plus_minus(factor * m, factor * sd, digits) for m, sd in zip(frame[view], frame["sd"], strict=True)]
    columns = {"arm": frame["arm"].map(name), "updates": frame["step"]}
    columns |= {"completions": frame["rollouts"].round().astype(int), label.replace("\n", " "): values}
    return pd.DataFrame(columns | {"seeds": frame["seeds"]})


# ------------------------------------------------------------------ the widget


def svs_explorer(folder: str | Path) -> ipywidgets.VBox:
    """Explore an SvS folder: every variant beside its original, and the arms' curves. Raises RunError where the folder
    holds no SvS run."""
    run = read(folder)
    return widgets.tabs({"variants": _variants(run), "curves": _curves(run)})


def _variants(run: SvsFolder) -> ipywidgets.VBox:
    """Each choice decides what the next one offers."""
    controls = {level: choice(text, []) for level, text in LEVELS.items()}
    only = choice("show", [(text, key) for key, text in ONLY.items()])

    def prepare() -> pd.DataFrame:
        own = run.written
        for level, control in controls.items():
            if control.options != (options := _options(own, level)):
                kept, values = control.value, [value for _, value in options]
                control.options = options
                control.value = kept if kept in values else next(iter(values), None)
            own = own[own[level] == control.value]
        return own

    return widgets.controlled(controls | {"only": only}, lambda **chosen: variants_page(run, prepare(), only.value))


def _options(own: pd.DataFrame, level: str) -> tuple[tuple[str, int | str], ...]:
    found = own.drop_duplicates(level)
    if level == "problem":
        return tuple((f"{row.original[:70]} ({row.problem})", row.problem) for row in found.itertuples(index=False))
    values = found[level].tolist()
    return tuple((name(value) if level == "arm" else str(value), value) for value in values)


def _curves(run: SvsFolder) -> ipywidgets.VBox:
    arms = [(name(arm), arm) for arm in run.settings]
    controls = {
        "view": choice("show", [(text, key) for key, text in CURVES.items()]),
        "x": choice("against", [(text, key) for key, text in figures.AXES.items()]),
        "smoothing": widgets.smoother(15),
        "set": choice("on", [(text, key) for key, text in SETS.items()]),
        "arms": widgets.several("arms", arms, MAIN, rows=11, layout={"width": "28em"}),
    }

    def prepare() -> None:
        widgets.show_only(controls, ("view", "arms", *CONTROLS[controls["view"].value]))

    def page(view: str, arms: tuple, **values: object) -> str:
        return curves_page(run, view, widgets.listed(controls["arms"]), **values)

    *choices, chosen = controls.values()
    return widgets.controlled(controls, page, prepare, [ipywidgets.VBox(choices), chosen])
