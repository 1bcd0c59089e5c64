"""The ablation explorer: a study's arms, their paired gaps, training curves and teachers. A view (names.toml) turns
what is chosen into a table, its chart and its text; a bootstrap is computed only for what is shown, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ipywidgets
import pandas as pd

from soar_lib.files import read_table, setting
from soar_lib.measure import passk, plots, widgets
from soar_lib.measure.charts import Chart
from soar_lib.measure.names import MAIN, QUANTITIES, TABLE, ordered
from soar_lib.measure.tables import gap_rows, mean_rows, name, score_rows
from soar_lib.measure.widgets import Explorer, Page
from soar_lib.records import HARD_TEST, TRANSFER, Score
from soar_lib.soar import claims, figures, report

ALL = 0  # as k: every k
FIRST = (*MAIN, "intrinsic_t")  # the arms of the first look, if measured
VIEWS = TABLE["soar_views"]  # of each its title, the controls that apply to it, and why nothing is seen
PASSED = {"pass_at_k": (HARD_TEST, "hard test"), "transfer": (TRANSFER, "the transfer set")}  # views of pass@k
SMOOTHEST = 25  # points; the paper smooths over as many steps (section B.8)


@dataclass(frozen=True)
class Selection:
    """What is chosen: a view, arms, seeds of SOAR runs, k (or `ALL`), points to smooth over, rounds, another arm."""

    view: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    k: int = ALL
    smoothing: int = 1
    rounds: tuple[int, int] = (1, 1_000_000)
    other: str = "hard_only"

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of the chosen seeds and arms, arms in the order in which they are chosen."""
        own = frame[frame["seed"].isin(self.seeds)]
        return pd.concat([own[own["arm"] == arm] for arm in self.arms]) if self.arms else own[:0]


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder, read once. `known` keeps rows of `passk.table` by (arm, set, k, runs)."""

    rounds: pd.DataFrame
    curves: pd.DataFrame
    scores: dict[tuple[str, str], list[Score]]  # by arm and set of problems
    ks: list[int]
    known: dict[tuple, list]

    @property
    def students(self) -> list[str]:
        """Arms whose students were measured or trained, in the order of the figures."""
        return ordered([*(arm for arm, _ in self.scores), *self.curves["arm"]])

    def of(self, arm: str, set: str, seeds: Sequence[int]) -> list[Score]:
        """An arm's scores on one set of problems, of these seeds."""
        runs = {f"seed{seed}" for seed in seeds}
        return [score for score in self.scores.get((arm, set), ()) if score.run in runs]


def read(folder: str | Path) -> StudyFolder:
    """Everything of a study's folder that is finished. Raises RunError where it is none."""
    folder, scores, known = Path(folder), {}, {}
    for score in claims.read_study(folder).scores:
        scores.setdefault((score.arm, score.set), []).append(score)
    for set, path in ((HARD_TEST, folder / "pass_at_k.csv"), (TRANSFER, folder / "transfer.csv")):
        if path.is_file():  # of all seeds
            rows = read_table(path, **passk.TYPES, advice="delete it")[passk.COLUMNS].values.tolist()
            known |= {(row[0], set, row[1], _runs(scores.get((row[0], set), ()))): row for row in rows}
    tables = report.rounds(folder), report.curves(folder)
    return StudyFolder(*tables, scores, setting(folder, "evaluate.ks", list[int]), known)


def _runs(scores: Sequence[Score]) -> frozenset[str]:
    return frozenset(score.run for score in scores)


def _scored(study: StudyFolder, chosen: Selection, set: str) -> pd.DataFrame:
    rows = []
    for arm in chosen.arms:
        if own := study.of(arm, set, chosen.seeds):
            keys = [(arm, set, k, _runs(own)) for k in (study.ks if chosen.k == ALL else [chosen.k])]
            if missing := [key for key in keys if key not in study.known]:
                found = passk.table(own, [key[2] for key in missing], set=set)
                study.known.update(zip(missing, found.values.tolist(), strict=True))
            rows += [study.known[key] for key in keys]
    return pd.DataFrame(rows, columns=passk.COLUMNS)


def _gaps(study: StudyFolder, chosen: Selection) -> pd.DataFrame:
    """Each chosen arm minus the other one, on the seeds that both have."""
    k = max(study.ks) if chosen.k == ALL else chosen.k
    scores = {arm: study.of(arm, HARD_TEST, chosen.seeds) for arm in (*chosen.arms, chosen.other)}
    others = {score.run for score in scores[chosen.other]}
    arms = [arm for arm in chosen.arms if arm != chosen.other and others & {score.run for score in scores[arm]}]
    return passk.gaps([score for own in scores.values() for score in own], arms, chosen.other, k)


Draw, Text = Callable[[pd.DataFrame], Chart], Callable[[pd.DataFrame], pd.DataFrame]


def seen(study: StudyFolder, chosen: Selection) -> tuple[pd.DataFrame, Draw, Text]:
    """What is seen of a study: numbers, what draws them, and what makes text of them."""
    if chosen.view in PASSED:
        set, where = PASSED[chosen.view]
        draw = plots.pass_at_k if chosen.k == ALL else partial(plots.arms, k=chosen.k)
        return _scored(study, chosen, set), partial(draw, where=where), score_rows
    if chosen.view == "gaps":
        return _gaps(study, chosen), partial(plots.gaps, other=chosen.other), gap_rows
    smoothing, measure = chosen.smoothing, "mean_reward" if chosen.view == "teachers" else chosen.view
    label, factor, _ = QUANTITIES[measure]
    text = partial(mean_rows, y=measure, label=label, factor=factor)
    if chosen.view == "teachers":  # smoothed over all rounds, of which the chosen ones are shown
        frame = figures.teacher_means(chosen.of(study.rounds), smoothing)
        frame = frame[frame["round"].between(*chosen.rounds)].reset_index(drop=True)
        return frame, partial(figures.teachers, smoothing=smoothing), text
    border, title = report.border(study.curves), plots.averaged(smoothing)
    frame = plots.means(chosen.of(study.curves), "step", measure, smoothing, border)
    return frame, lambda frame: Chart([plots.curve(frame, "step", measure, border, title)]), text


def page(study: StudyFolder, chosen: Selection) -> Page:
    """The chart and the table of a view, or a sentence on what is missing."""
    if not chosen.arms or not chosen.seeds:
        return ["Choose at least one arm and one seed."]
    (frame, draw, text), empty = seen(study, chosen), VIEWS[chosen.view]["empty"]
    if frame.empty:
        return [f"Nothing to show: {empty}"]
    shown = {*frame["arm"], chosen.other if chosen.view == "gaps" else ""}
    absent = [name(arm) for arm in chosen.arms if arm not in shown]
    notes = [f"Not shown: {', '.join(absent)}; {empty}"] if absent else []
    return [draw(frame), *notes, text(frame)]


def ablation_explorer(folder: str | Path, export: str | Path = ".") -> Explorer:
    """Explore a study's folder, finished or not: how its arms scored and learned (what its teachers wrote is on the
    `question_map`). Tables are exported to `<export>/ablation_<view>.csv` (unrounded, fractions of 1) and `.tex` (as
    shown). Raises RunError where the folder holds no study."""
    study = read(folder)
    wide, narrow = ({"style": {"description_width": "3em"}, "layout": {"width": width}} for width in ("24em", "9em"))
    students = [(name(arm), arm) for arm in study.students]
    teachers = [(name(arm), arm) for arm in dict.fromkeys(study.rounds["arm"])]
    seeds = sorted({*study.rounds["seed"], *study.curves["seed"]})
    controls = {
        "view": widgets.choice("show", [(view["title"], key) for key, view in VIEWS.items()]),
        "students": widgets.several("arms", students, FIRST if "grounded_t" in study.students else (), **wide),
        "teachers": widgets.several("arms", teachers, figures.GAINING, **wide),
        "seeds": widgets.several("seeds", [(str(seed), seed) for seed in seeds], **narrow),
        "k": widgets.choice("k", [("all", ALL), *((str(k), k) for k in study.ks)]),
        "other": widgets.choice("minus", students or [("none", "hard_only")]),
        "smoothing": widgets.slider("smoothing", 1, SMOOTHEST, 5, 2), "rounds": widgets.span(1, 1),
    }  # fmt: skip
    if "hard_only" in study.students:
        controls["other"].value = "hard_only"

    def chosen() -> Selection:
        arms = "teachers" if controls["view"].value == "teachers" else "students"
        keys = ("view", arms, "seeds", "k", "smoothing", "rounds", "other")
        return Selection(*(widgets.value_of(controls[key]) for key in keys))

    def shown() -> tuple:
        frame, _, text = seen(study, chosen())
        return f"ablation_{controls['view'].value}", frame, text

    def prepare() -> None:
        said.value, own = "", study.rounds[study.rounds["arm"].isin(controls["teachers"].value)]
        widgets.reach(controls["rounds"], int(own["round"].max()) if len(own) else 1)
        widgets.show_only(controls, ("view", "seeds", *VIEWS[controls["view"].value]["controls"]))

    buttons, said = widgets.save_buttons(Path(export), shown)
    left = [*(controls[key] for key in ("view", "k", "other", "smoothing", "rounds")), ipywidgets.HBox(buttons), said]
    top = [ipywidgets.VBox(left), *(controls[key] for key in ("students", "teachers", "seeds"))]
    return widgets.explorer(controls, lambda **values: page(study, chosen()), prepare, top=top)
