"""The LADDER explorer: trees of variants, accuracy by level, and TTRL on each test problem. Reads a folder, no model.

A page is a figure, its table, and for trees every variant with its prompt, why it was rejected, its nearest test
problem and how often it was solved before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path

import ipywidgets
import pandas as pd

from soar_lib.ladder import figures, report
from soar_lib.ladder.figures import FATE_LOOKS
from soar_lib.ladder.settings import TTRL_ARMS
from soar_lib.measure import widgets
from soar_lib.measure.names import TIMES, TREES
from soar_lib.measure.tables import name, percent
from soar_lib.measure.widgets import para, picture, table
from soar_lib.records import ANY_STEP, HARD_TEST, VARIANTS, Score
from soar_lib.runs import RunError, read_json, read_jsonl

_USABLE, *_REJECTED = FATE_LOOKS
SHOWN = {"all": (_USABLE, *_REJECTED), "usable": (_USABLE,), "rejected": tuple(_REJECTED)}  # by what is asked for
NO_TREE = "No variant was asked for there: this run has no such tree."


@dataclass(frozen=True)
class LadderFolder:
    """A LADDER run's folder, read once. `variants` are those of `report.read_variants` with before and after, right
    ones of the samples as text; `probes` those of `report.probes`; `known` keeps the accuracy by level of each choice
    of seeds, whose intervals take a moment."""

    variants: pd.DataFrame
    questions: dict[str, str]  # by Problem.id
    tests: list[str]  # ids of the test problems
    scores: list[Score]
    probes: pd.DataFrame
    seeds: int
    known: dict[tuple[int, ...], pd.DataFrame] = field(default_factory=dict)

    def of(self, tree: str, seed: int, root: str) -> pd.DataFrame:
        own = self.variants
        return own[(own["tree"] == tree) & (own["seed"] == seed) & (own["root"] == root)]

    def trees(self) -> list[tuple[str, str]]:
        """The kinds of trees that the run has, names first."""
        return [(TREES[tree], tree) for tree in TREES if tree in {*self.variants["tree"]}]

    def roots(self, tree: str) -> list[str]:
        own = self.variants
        return own.loc[own["tree"] == tree, "root"].drop_duplicates().tolist()

    def listed(self, problems: Sequence[str]) -> list[tuple[str, str]]:
        """The problems by their names in a list: number and start of the question."""
        starts = [self.questions[one].partition("∫")[2] or self.questions[one] for one in problems]
        return [(f"{one.rpartition('/')[2]}: {start.strip()[:40]}", one) for one, start in zip(problems, starts)]


def read(folder: str | Path) -> LadderFolder:
    """A finished run. Raises RunError where the folder holds none."""
    folder = Path(folder)
    if not (folder / "ladder.csv").is_file():
        raise RunError(f"{folder}: holds no finished LADDER run (no ladder.csv); run it or go on with it first")
    parts = {part: read_jsonl(folder / f"hard_{part}.jsonl") for part in ("train", "test")}
    scores, variants = report.read_scores(folder), report.read_variants(folder)
    solved = {(s.arm, s.run, s.problem): f"{s.c} of {s.n}" for s in scores if s.set == VARIANTS}
    for arm, column in zip(TIMES, ("before", "after"), strict=True):
        keys = zip(variants["tree"], variants["seed"], variants["id"], strict=True)
        variants[column] = [solved.get((arm, f"seed{seed}", one), "") * (tree == "ladder") for tree, seed, one in keys]
    questions = {row["id"]: row["question"] for rows in parts.values() for row in rows}
    tests, seeds = [row["id"] for row in parts["test"]], read_json(folder / "config.json")["seeds"]
    return LadderFolder(variants, questions, tests, scores, report.probes(folder), seeds)


# ------------------------------------------------------------------ trees


def tree_page(run: LadderFolder, tree: str, seed: int, root: str, shown: str = "all") -> str:
    """One tree: drawn, counted by level, and as nested text; `shown` is one of `SHOWN`, and parents stay."""
    own = run.of(tree, seed, root)
    if own.empty:
        return para(NO_TREE)
    kept = with_parents(own, SHOWN[shown])
    if kept.empty:
        return para(f"No variant of this tree is {shown}.")
    counts = report.trees(own).drop(columns="tree")
    counts["distance"] = ["–" if pd.isna(value) else f"{value:.2f}" for value in counts["distance"]]
    names = {fate: text for fate, (text, _) in FATE_LOOKS.items()}
    counted = table(counts.rename(columns=names | {"distance": "mean distance to a test problem"}))
    drawn, texts = picture(figures.tree(kept), f"the tree of {root}"), nested(kept, root, run.questions)
    return _asked(run, root) + drawn + counted + _scrolled(texts)


def with_parents(variants: pd.DataFrame, fates: Sequence[str]) -> pd.DataFrame:
    """The variants of one tree that met such a fate, and all above them."""
    kept = {*variants.loc[variants["fate"].isin(fates), "id"]}
    for one, parent in zip(variants["id"][::-1], variants["parent"][::-1], strict=True):  # children first
        if one in kept:
            kept.add(parent)
    return variants[variants["id"].isin(kept)]


def _asked(run: LadderFolder, root: str) -> str:
    part = "test problem" if root in run.tests else "problem to learn from"
    return f"<p><b>{escape(run.questions[root])}</b> ({part} {escape(root)})</p>"


def _scrolled(content: str) -> str:
    return f'<div style="{widgets.SCROLLED.format(40)}">{content}</div>'


def nested(variants: pd.DataFrame, parent: str, questions: dict[str, str]) -> str:
    """The variants below a parent as lists in lists, each with its children and what is known of it; only those with
    children stand open."""
    items = []
    for row in variants[variants["parent"] == parent].to_dict("records"):
        below = nested(variants, row["id"], questions)
        state, notes = " open" if below else "", _notes(row, questions)
        items.append(f"<li><details{state}><summary>{_summary(row)}</summary>{notes}{below}</details></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _summary(row: dict) -> str:
    """Level, question, what became of it, and how often it was solved."""
    said, colour = FATE_LOOKS[row["fate"]]
    why = row["rejected"] if row["fate"] in ("repeats", "unsolvable") else said
    solved = f"; solved before {row['before']}, after {row['after']}" if row["before"] or row["after"] else ""
    question = escape(row["question"]) or "<i>nothing that can be read</i>"
    return f'level {row["level"]}: {question} <span style="color: {colour}">({escape(why + solved)})</span>'


def _notes(row: dict, questions: dict[str, str]) -> str:
    """How it was asked for, and how near a test problem is."""
    persona = f", as {row['persona']}" if row["persona"] else ""
    suggested = f"; suggested: {', '.join(row['suggestions'])}" if len(row["suggestions"]) else ""
    notes = [f"asked for: {row['effect']}, at temperature {row['temperature']:g}{persona}{suggested}"]
    if row["nearest"]:
        notes.append(f"nearest test problem, at {row['distance']:.2f}: {questions[row['nearest']]}")
    return f"<small>{'<br>'.join(map(escape, notes))}</small>"


# ------------------------------------------------------------------ levels


def levels_page(run: LadderFolder, seeds: Sequence[int], tree: str) -> str:
    """Accuracy on the trees' variants by level, before and after, and what became of the variants of a kind of tree,
    both of the chosen seeds."""
    if not seeds:
        return para("Choose at least one seed.")
    chosen = run.variants[run.variants["seed"].isin(seeds)]
    counts, found = report.trees(chosen[chosen["tree"] == tree]), _by_level(run, tuple(sorted(seeds)), chosen)
    became = para(NO_TREE) if counts.empty else picture(figures.variants(counts), "what became of the variants")
    if found.empty:
        return para("Accuracy on the variants was not measured in this run.") + became
    cells = list(map(percent, found["mean"], found["low"], found["high"]))
    text = found.assign(model=found["arm"].map(TIMES), variants=found["problems"], **{"right (%)": cells})
    rows = table(text[["level", "model", "variants", "right (%)"]])
    return picture(figures.levels(found), "accuracy by level of the variant") + rows + became


def _by_level(run: LadderFolder, seeds: tuple[int, ...], variants: pd.DataFrame) -> pd.DataFrame:
    if seeds not in run.known:
        runs = {f"seed{seed}" for seed in seeds}
        run.known[seeds] = report.levels(variants, [score for score in run.scores if score.run in runs])
    return run.known[seeds]


# ------------------------------------------------------------------ TTRL


def ttrl_page(run: LadderFolder, arm: str, seed: int, problem: str) -> str:
    """TTRL on one test problem: probes and rewards along the steps, how often it was solved, and its own tree."""
    steps = run.probes
    own = steps[(steps["arm"] == arm) & (steps["seed"] == seed) & (steps["problem"] == problem)]
    if own.empty:
        return para(f"This run has no {name(arm)}.")
    kept = with_parents(run.of("ttrl", seed, problem), SHOWN["usable"])
    drawn = picture(figures.one_problem(own), f"TTRL on {problem}, step by step")
    tree = nested(kept, problem, run.questions) or para("No usable variant: nothing was trained.")
    solved = table(_solved(run, seed, problem))
    return _asked(run, problem) + drawn + solved + para("Its usable variants:") + _scrolled(tree)


def _solved(run: LadderFolder, seed: int, problem: str) -> pd.DataFrame:
    """How often each student of this seed solved the problem."""
    names, arms = {HARD_TEST: "samples", ANY_STEP: "probes at any step"}, ("base", "ladder", *TTRL_ARMS)
    own = [score for score in run.scores if (score.run, score.problem) == (f"seed{seed}", problem)]
    rows = [
        {"arm": name(s.arm), "measured on": names[s.set], "right": f"{s.c} of {s.n}", "completions spent": s.rollouts}
        for s in own
        if s.set in names and s.arm in arms
    ]
    return pd.DataFrame(rows)


# ------------------------------------------------------------------ the widget


def ladder_explorer(folder: str | Path) -> ipywidgets.VBox:
    """Explore the folder of a finished LADDER run. Raises RunError where it holds none."""
    run = read(folder)
    return widgets.tabs({"variant trees": _trees(run), "levels": _levels(run), "TTRL": _ttrl(run)})


def _trees(run: LadderFolder) -> ipywidgets.VBox:
    """The trees one by one."""
    tree = widgets.choice("kind", run.trees())
    root = widgets.choice("problem", run.listed(run.roots(tree.value)))
    seed, shown = widgets.choice("seed", range(run.seeds)), widgets.choice("variants", list(SHOWN))

    def prepare() -> None:
        options = tuple(run.listed(run.roots(tree.value)))
        if root.options != options:
            root.options = options

    controls = {"tree": tree, "seed": seed, "root": root, "shown": shown}
    return widgets.controlled(controls, partial(tree_page, run), prepare)


def _levels(run: LadderFolder) -> ipywidgets.VBox:
    """Accuracy by level, and what became of the variants."""
    seeds = widgets.several("seeds", [(str(seed), seed) for seed in range(run.seeds)], rows=min(5, run.seeds))
    controls = {"seeds": seeds, "tree": widgets.choice("kind", run.trees())}
    return widgets.controlled(controls, partial(levels_page, run))


def _ttrl(run: LadderFolder) -> ipywidgets.VBox:
    """TTRL on each test problem."""
    arms = [(name(arm), arm) for arm in TTRL_ARMS if arm in {*run.probes["arm"]}] or [("none", TTRL_ARMS[0])]
    seed, problem = widgets.choice("seed", range(run.seeds)), widgets.choice("problem", run.listed(run.tests))
    controls = {"arm": widgets.choice("arm", arms), "seed": seed, "problem": problem}
    return widgets.controlled(controls, partial(ttrl_page, run))
