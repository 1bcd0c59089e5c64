"""What the ablation explorer shows, without its controls: a study's tables, the views on them, and pages of HTML.

A view takes what is chosen and gives a table and the figure that is drawn from it; `html` and `latex` write a table of
text. Nothing here loads a model or trains, and a bootstrap is computed only for what is shown, once.
"""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from soar_lib.measure import passk, plots
from soar_lib.measure.drawing import Looks, looks, means
from soar_lib.measure.quality import UNJUDGED, Verdict
from soar_lib.measure.tables import name, plus_minus, score_rows
from soar_lib.records import HARD_TEST, TRANSFER, Score, SyntheticProblem
from soar_lib.runs import read_json
from soar_lib.soar import figures as study_plots
from soar_lib.soar import report as study_tables
from soar_lib.soar.figures import QUANTITIES
from soar_lib.soar.names import MAIN, ordered

ALL = 0  # as k: every k
FIRST = (*MAIN, "intrinsic_t")  # the arms of the first look, if measured
WHERE = {HARD_TEST: "hard test", TRANSFER: "the transfer set"}
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}", "]": "{]}",  # [ would be an option of \\
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$",
}  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """What is chosen: arms as the view names them, seeds of SOAR runs, k (or `ALL`), points to smooth over, rounds."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    k: int = ALL
    smoothing: int = 1
    rounds: tuple[int, int] = (1, 1_000_000)


@dataclass(frozen=True)
class Tables:
    """A study's folder, read once. `known` keeps rows of `passk.table` by (arm, set, k, runs)."""

    rounds: pd.DataFrame
    curves: pd.DataFrame
    problems: pd.DataFrame  # without labels, which `labelled` gives to those that are shown
    scores: dict[tuple[str, str], list[Score]]  # by arm and set of problems
    ks: list[int]
    known: dict[tuple, list]

    @property
    def students(self) -> list[str]:
        return ordered([*(arm for arm, _ in self.scores), *self.curves["arm"]])

    @property
    def teachers(self) -> list[str]:
        return list(dict.fromkeys(self.rounds["arm"]))

    @property
    def seeds(self) -> list[int]:
        return sorted({*self.rounds["seed"], *self.curves["seed"]})

    @property
    def look(self) -> Looks:
        return looks([*FIRST, *self.students]) | looks(self.teachers)


@dataclass(frozen=True)
class View:
    """One way to look at a study: its table, the figure of the table, the table as text. Its arms are `students` or
    `teachers`, and `controls` apply beside arms and seeds; `empty` says why there may be nothing to see."""

    title: str
    arms: str
    controls: tuple[str, ...]
    empty: str
    table: Callable[[Tables, Selection], pd.DataFrame]
    figure: Callable[[Tables, Selection, pd.DataFrame], Figure]
    text: Callable[[pd.DataFrame], pd.DataFrame]


def read(folder: str | Path) -> Tables:
    """Everything of a study's folder that is finished. Raises RunError where it is none."""
    folder, scores = Path(folder), {}
    for score in study_tables.scores(folder):
        scores.setdefault((score.arm, score.set), []).append(score)
    problems = study_tables.problems(folder, lambda written: [Verdict(UNJUDGED)] * len(written))
    return Tables(
        study_tables.rounds(folder),
        study_tables.curves(folder),
        problems.drop(columns="label"),
        scores,
        list(read_json(folder / "config.json")["evaluate"]["ks"]),
        _measured(folder, scores),
    )


def _measured(folder: Path, scores: dict[tuple[str, str], list[Score]]) -> dict[tuple, list]:
    """The rows that the study itself computed: those of all seeds."""
    known = {}
    for set, path in ((HARD_TEST, folder / "pass_at_k.csv"), (TRANSFER, folder / "transfer.csv")):
        rows = pd.read_csv(path)[passk.COLUMNS].values.tolist() if path.is_file() else []
        for row in rows:
            known[row[0], set, row[1], frozenset(score.run for score in scores.get((row[0], set), ()))] = row
    return known


# ------------------------------------------------------------------ the views


def _pass_at_k(set: str) -> View:
    return View(
        f"pass@k on {WHERE[set]}",
        "students",
        ("k",),
        f"no finished evaluation has scores on {WHERE[set]} for this choice.",
        partial(_scored, set=set),
        partial(_drawn_scores, where=WHERE[set]),
        score_rows,
    )


def _scored(tables: Tables, chosen: Selection, set: str) -> pd.DataFrame:
    """The rows of `passk.table` on the chosen seeds."""
    runs = {f"seed{seed}" for seed in chosen.seeds}
    ks = tables.ks if chosen.k == ALL else [chosen.k]
    rows = []
    for arm in chosen.arms:
        if own := [score for score in tables.scores.get((arm, set), ()) if score.run in runs]:
            keys = [(arm, set, k, frozenset(score.run for score in own)) for k in ks]
            if missing := [key for key in keys if key not in tables.known]:
                found = passk.table(own, [key[2] for key in missing], set=set)
                tables.known.update(zip(missing, found.values.tolist(), strict=True))
            rows += [tables.known[key] for key in keys]
    return pd.DataFrame(rows, columns=passk.COLUMNS)


def _drawn_scores(tables: Tables, chosen: Selection, frame: pd.DataFrame, where: str) -> Figure:
    if chosen.k == ALL:
        return plots.pass_at_k(frame, where, tables.look)
    return study_plots.arms(frame, chosen.k, where, tables.look)


def _training(measure: str, title: str) -> View:
    return View(
        f"training: {title}",
        "students",
        ("smoothing",),
        "these arms have no training curves with these seeds (the untrained model and PS are not trained).",
        partial(_averaged, measure=measure),
        lambda tables, chosen, frame: study_plots.lines(frame, "step", measure, chosen.smoothing, tables.look),
        partial(_curves_text, measure=measure),
    )


def _averaged(tables: Tables, chosen: Selection, measure: str) -> pd.DataFrame:
    return means(_rows_of(tables.curves, chosen), "step", measure, chosen.smoothing)


def _rows_of(frame: pd.DataFrame, chosen: Selection) -> pd.DataFrame:
    """The rows of the chosen seeds and arms, arms in the order in which they are chosen."""
    own = frame[frame["seed"].isin(chosen.seeds)]
    return pd.concat([own[own["arm"] == arm] for arm in chosen.arms]) if chosen.arms else own[:0]


def _curves_text(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """One row per step, one column per arm: mean ± SD over seeds."""
    label, factor = QUANTITIES[measure]
    cells = frame.assign(cell=[plus_minus(factor * m, factor * sd) for m, sd in zip(frame[measure], frame["sd"])])
    wide = cells.pivot(index="step", columns="arm", values="cell")[list(dict.fromkeys(frame["arm"]))].fillna("")
    return wide.rename(columns=name).rename_axis(columns=None).reset_index()


def _taught(tables: Tables, chosen: Selection) -> pd.DataFrame:
    """Smoothed over all rounds, of which the chosen ones are shown."""
    frame = study_plots.teacher_means(_rows_of(tables.rounds, chosen), chosen.smoothing)
    return frame[frame["round"].between(*chosen.rounds)].reset_index(drop=True)


def _taught_text(frame: pd.DataFrame) -> pd.DataFrame:
    points = [plus_minus(100 * m, 100 * sd) for m, sd in zip(frame["mean_reward"], frame["sd"])]
    return pd.DataFrame(
        {
            "arm": frame["arm"].map(name), "round": frame["round"], "teacher reward (points)": points,
            "promotions so far, per seed": frame["promotions"].map("{:.1f}".format), "seeds": frame["seeds"],
        }
    )  # fmt: skip


VIEWS = {
    "pass_at_k": _pass_at_k(HARD_TEST),
    "transfer": _pass_at_k(TRANSFER),
    "reward": _training("reward", "reward"),
    "top_reward": _training("top_reward", "share of top rewards"),
    "signal": _training("signal", "signal (groups with unequal rewards)"),
    "teachers": View(
        "teachers: reward, promotions",
        "teachers",
        ("smoothing", "rounds"),
        "no round of these arms and seeds lies in this range.",
        _taught,
        lambda tables, chosen, frame: study_plots.teachers(frame, chosen.smoothing, tables.look),
        _taught_text,
    ),
}


# ------------------------------------------------------------------ pages


def page(view: View, tables: Tables, chosen: Selection) -> str:
    """The figure and the table of a view as HTML, or a sentence on what is missing."""
    if not chosen.arms or not chosen.seeds:
        return "<p>Choose at least one arm and one seed.</p>"
    frame = view.table(tables, chosen)
    if frame.empty:
        return f"<p>Nothing to show: {view.empty}</p>"
    absent = [name(arm) for arm in chosen.arms if arm not in {*frame["arm"]}]
    note = f"<p>Without {escape(', '.join(absent))}: {view.empty}</p>" if absent else ""
    return picture(view.figure(tables, chosen, frame), view.title) + note + html(view.text(frame))


def picture(figure: Figure, text: str) -> str:
    """A figure as an image of HTML; `text` is what it says to those who do not see it."""
    figure.savefig(content := io.BytesIO(), format="png", dpi=100)
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="{escape(text)}" style="max-width: 100%" src="data:image/png;base64,{data}">'


def html(frame: pd.DataFrame) -> str:
    """A table as HTML in which all text is escaped; long ones scroll."""
    rows = [_cells("th", frame.columns), *(_cells("td", row) for row in frame.itertuples(index=False))]
    return (
        '<div style="max-height: 25em; overflow: auto; line-height: 1.4">'
        '<table style="border-spacing: 1em 0; text-align: left">'
        f"{''.join(rows)}</table></div>"
    )


def _cells(tag: str, values) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(value))}</{tag}>' for value in values)}</tr>"


def latex(frame: pd.DataFrame) -> str:
    """A table as LaTeX for the package booktabs: the first column to the left, the others to the right."""
    head, *rows = (" & ".join(map(_escaped, row)) + r" \\" for row in (frame.columns, *frame.itertuples(index=False)))
    start = rf"\begin{{tabular}}{{l{'r' * (len(frame.columns) - 1)}}}"
    lines = [start, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _escaped(value: object) -> str:
    return "".join(LATEX.get(character, character) for character in str(value))


def labelled(problems: pd.DataFrame, judge: study_tables.Judge) -> pd.DataFrame:
    """Problems with a column label, as the judge says."""
    written = [SyntheticProblem("", q, a, "") for q, a in zip(problems["question"], problems["answer"], strict=True)]
    return problems.assign(label=[verdict.label for verdict in judge(written)])


def problems_page(problems: pd.DataFrame, label: str, judge: study_tables.Judge) -> str:
    """The problems of one run and round with the reward of their data set, their topics and labels; "" as label: all
    of them."""
    if problems.empty:
        return "<p>No problem was written there: this arm has no run of this seed, or no such round or data set.</p>"
    known = labelled(problems, judge)
    shown = known[known["label"] == label] if label else known
    if shown.empty:
        return f"<p>None of these {len(known)} problems is labelled {escape(label)}.</p>"
    columns = ["data set", "reward (points)", "question", "answer", "topic", "label"]
    frame = shown.assign(**{"data set": shown["dataset"], "reward (points)": shown["reward"].map(_points)})
    return f"<p>{len(shown)} of {len(known)} problems</p>" + html(frame[columns])


def _points(reward: float) -> str:
    return f"{100 * reward:+.1f}"
