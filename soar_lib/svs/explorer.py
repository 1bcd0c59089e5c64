"""The SvS explorer: what was written beside what it was written from, and the arms' curves. It reads a folder."""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import ipywidgets
import pandas as pd

from soar_lib import files
from soar_lib.measure import widgets
from soar_lib.measure.charts import Chart, Mark, Panel
from soar_lib.measure.names import COLOURS, OTHERS, QUANTITIES, TABLE
from soar_lib.measure.tables import mean_rows, name, score_rows
from soar_lib.measure.widgets import Explorer, Page, choice
from soar_lib.svs import figures, report
from soar_lib.svs.report import AnswerJudge
from soar_lib.svs.settings import MAIN

CURVES, SETS = TABLE["svs_curves"], TABLE["svs_sets"]
CONTROLS = dict(zip(CURVES, (("x", "smoothing"), ("x",), ("x", "smoothing"), ("set",))))  # what applies to which
ONLY = {"": "all", "reward": "rewarded", "leak": "giving something away", "duplicate": "near duplicates"}
KIND_COLOURS = dict(zip(report.KINDS, (COLOURS[2], COLOURS[1], COLOURS[4], COLOURS[0], OTHERS), strict=True))


@dataclass(frozen=True)
class SvsFolder:
    """An SvS folder, read once: `report.table`, `report.steps`, `report.by_kind`, its judge, and the arms' `group`."""

    numbers: pd.DataFrame
    steps: pd.DataFrame
    written: pd.DataFrame
    judge: AnswerJudge | None
    groups: dict[str, int]


def read(folder: str | Path) -> SvsFolder:
    """Read the finished arms of an SvS folder. Raises RunError where `folder` is none."""
    report.read(folder)
    path = Path(folder) / "svs.csv"  # intervals take a while, and the run has computed them
    typed = {"arm": str, "metric": str} | dict.fromkeys(report.COLUMNS[2:], float)
    numbers = files.read_table(path, **typed, advice="delete it") if path.is_file() else report.table(folder)
    groups = {arm: files.setting(Path(folder) / arm, "group", int) for arm in report.finished(folder)}
    return SvsFolder(numbers, report.steps(folder), report.by_kind(folder), report.exact_judge(folder), groups)


def variants_page(run: SvsFolder, arm: str, seed: int | str, only: str = "") -> Page:
    """Every variant that an arm's seed wrote: its step, how many of its solutions gave the original's answer, what kind
    it is. A circle's area is its number of variants; `only` is a key of `ONLY`."""
    own = run.written[(run.written["arm"] == arm) & (run.written["seed"] == seed)]
    own = own[own[only].astype(bool)] if only else own
    if own.empty:
        return ["Nothing was written: no arm of this folder that writes variants is finished."]
    return [
        f"{len(own):,} variants ({ONLY[only]}) by {name(arm)}, seed {seed}. A variant is paid if "
        f"{' to '.join(map(str, paid(own)))} of its {run.groups[arm]} solutions give the original's answer. Point at a "
        "circle to read variants next to their originals; click it to list all of them below.",
        variants_chart(own, run.groups[arm]),
    ]


def paid(own: pd.DataFrame) -> list[int]:
    """The fewest and the most right solutions of a rewarded variant; [0, 0] where none was rewarded."""
    right = own.loc[own["reward"] > 0, "right"]
    return [int(right.min()), int(right.max())] if len(right) else [0, 0]


def variants_chart(own: pd.DataFrame, group: int) -> Chart:
    """Variants by step and right solutions of `group` (-1: dropped before they were solved), kinds side by side."""
    marks, solved = [], own["right"].fillna(-1).astype(int)
    for place, (kind, colour) in enumerate(KIND_COLOURS.items()):
        groups = own[own["kind"] == kind].groupby(["step", solved])
        if not len(groups):
            continue
        rows = [(step + 0.12 * (place - 2), right, part) for (step, right), part in groups]
        x, y, parts = zip(*rows)
        size = [min(30.0, 4 * len(part) ** 0.5) for part in parts]
        look = {"marker": "o", "size": size, "opacity": 0.8, "hover": list(map(_quoted, parts))}
        keys = [tuple(part.index.tolist()) for part in parts]
        marks.append(Mark(x, y, f"{kind} ({sum(map(len, parts))})", [colour] * len(x), **look, keys=keys))
    low, high = paid(own)
    rules = [("y", low - 0.5, "paid between"), ("y", high + 0.5, "paid between")] if high else []
    axes = {"x": "step", "y": "solutions with the original's answer", "ylim": (-1.6, group + 0.6), "rules": rules}
    return Chart([Panel(marks, **axes)], size=(9.0, 5.4), heading="variants (−1: not solved)")


def _quoted(part: pd.DataFrame, most: int = 3) -> str:
    said = [f"step {part['step'].iloc[0]}, {part['kind'].iloc[0]}"] + [
        f"{row.question or '(unreadable)'}\n   from: {row.original} (answer {row.answer}); reward {row.reward:.0f}"
        for row in part.head(most).itertuples()
    ]
    return "\n".join([*said, *([f"and {len(part) - most} more"] if len(part) > most else [])])


def picked(run: SvsFolder, keys: list) -> Page:
    """The variants of the picked circles, whose keys are row labels of `SvsFolder.written`."""
    rows = run.written.loc[sorted({*chain(*keys)})]
    return [f"Variants picked: {len(rows)}", variant_rows(rows, run)]


def variant_rows(own: pd.DataFrame, run: SvsFolder) -> pd.DataFrame:
    """The variants as text: right counts solutions with the original's answer; seed and variant are numbered from 1."""
    rows = [
        {
            "step": row.step, "original": row.original, "answer": row.answer, "seed": row.number + 1,
            "variant": row.index + 1, "question": row.question or "(unreadable)",
            "exact judge": judged(row.question, row.answer, run.judge),
            "right": f"not solved: {row.dropped}" if row.dropped else f"{row.right:.0f} of {run.groups[row.arm]}",
            "reward": f"{row.reward:.0f}", "gives away": row.leak or "–", "near duplicate of": row.duplicate or "–",
        }
        for row in own.itertuples(index=False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def judged(question: str, answer: str, judge: AnswerJudge | None) -> str:
    """What the exact judge says of a variant, in words: "valid" where the variant's own answer is the original's."""
    if not question:
        return "unreadable"
    if judge is None:
        return "not judged: of another world"
    verdict = judge(question, answer)
    if verdict.correct:
        return "valid"
    return f"its answer is {verdict.answer}" if verdict.well_posed else verdict.label.replace("_", "-")


def curves_page(
    run: SvsFolder, view: str, arms: tuple[str, ...], x: str = "step", smoothing: int = 1, set: str = "hard"
) -> Page:
    """Chart and table of a view of `CURVES`: pass@k on one of `SETS`, or a measure along `figures.AXES`."""
    if not arms:
        return ["Choose at least one arm."]
    smoothing = smoothing if "smoothing" in CONTROLS[view] else 1
    passed = view == "passes"
    frame = report.passes(run.numbers, set) if passed else figures.along(run.steps, view, smoothing)
    frame = frame[frame["arm"].isin(arms)]
    if frame.empty:
        return ["Nothing to show: of these arms nothing was measured there (the untrained model has no steps)."]
    absent = ", ".join(name(arm) for arm in arms if arm not in {*frame["arm"]})
    note = [f"Not measured there: {absent}."] if absent else []
    if passed:
        return [figures.pass_at_k(frame, where=SETS[set]), *note, score_rows(frame, "seeds").fillna("–")]
    label, factor, _ = QUANTITIES[view]
    counted = frame.round({"rollouts": 0}).astype({"rollouts": int}).rename(columns={"rollouts": "completions"})
    text = mean_rows(counted, view, label.replace("\n", " "), factor, 1 if view == "accuracy" else 3)
    return [figures.curve(frame, x, view, smoothing), *note, text]


def svs_explorer(folder: str | Path) -> Explorer:
    """Explore an SvS folder: every variant next to its original, the arms' curves. Raises RunError without a run."""
    run = read(folder)
    controls = {
        "arm": choice("arm", [(name(arm), arm) for arm in dict.fromkeys(run.written["arm"])] or ["none"]),
        "seed": choice("seed", sorted(set(run.written["seed"].tolist())) or ["none"]),
        "only": choice("show", [(text, key) for key, text in ONLY.items()]),
    }
    variants = widgets.explorer(controls, partial(variants_page, run), detail=lambda keys, **_: picked(run, keys))
    return widgets.tabs({"variants": variants, "curves": _curves(run)})


def _curves(run: SvsFolder) -> Explorer:
    arms = [(name(arm), arm) for arm in run.groups]
    controls = {
        "view": choice("show", [(text, key) for key, text in CURVES.items()]),
        "x": choice("x axis", [(text, key) for key, text in figures.AXES.items()]),
        "smoothing": widgets.slider("smoothing", 1, 15, 5, 2),
        "set": choice("on", [(text, key) for key, text in SETS.items()]),
        "arms": widgets.several("arms", arms, MAIN, rows=11, layout={"width": "28em"}),
    }

    def prepare() -> None:
        widgets.show_only(controls, ("view", "arms", *CONTROLS[controls["view"].value]))

    *choices, chosen = controls.values()
    return widgets.explorer(controls, partial(curves_page, run), prepare, top=[ipywidgets.VBox(choices), chosen])
