"""What the LADDER explorer shows, without its controls: a run's folder read once, and pages of HTML.

A page is a figure, its table, and for trees every variant with its prompt, why it was rejected, the test problem
nearest to it and how often it was solved before and after. Nothing here loads a model or trains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import pandas as pd

from soar_lib.ladder import figures as ladder_plots
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder.figures import FATE_LOOKS
from soar_lib.ladder.names import TIMES, TREES
from soar_lib.ladder.report import ANY_STEP, VARIANTS
from soar_lib.ladder.settings import TTRL_ARMS
from soar_lib.measure.tables import name, percent
from soar_lib.records import HARD_TEST, Score
from soar_lib.runs import RunError, read_json, read_jsonl
from soar_lib.soar.explorer_views import html, picture

_USABLE, *_REJECTED = FATE_LOOKS
SHOWN = {"all": (_USABLE, *_REJECTED), "usable": (_USABLE,), "rejected": tuple(_REJECTED)}  # by what is asked for


@dataclass(frozen=True)
class Run:
    """A LADDER run's folder, read once. `variants` are the rows of `ladder_report.read_variants` with before and after:
    right ones of the samples as text, "" where not measured; `probes` those of `ladder_report.probes`; `known` keeps
    the accuracy by level of each choice of seeds, whose intervals take a moment."""

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

    def roots(self, tree: str) -> list[str]:
        own = self.variants
        return own.loc[own["tree"] == tree, "root"].drop_duplicates().tolist()


def read(folder: str | Path) -> Run:
    """A finished run. Raises RunError where the folder holds none."""
    folder = Path(folder)
    if not (folder / "ladder.csv").is_file():
        raise RunError(f"{folder}: holds no finished LADDER run (no ladder.csv); run it or go on with it first")
    parts = {part: read_jsonl(folder / f"hard_{part}.jsonl") for part in ("train", "test")}
    scores, variants = ladder_report.read_scores(folder), ladder_report.read_variants(folder)
    solved = {(s.arm, s.run, s.problem): f"{s.c} of {s.n}" for s in scores if s.set == VARIANTS}
    for arm, column in zip(TIMES, ("before", "after"), strict=True):
        keys = zip(variants["tree"], variants["seed"], variants["id"], strict=True)
        variants[column] = [solved.get((arm, f"seed{seed}", one), "") * (tree == "ladder") for tree, seed, one in keys]
    return Run(
        variants,
        {row["id"]: row["question"] for rows in parts.values() for row in rows},
        [row["id"] for row in parts["test"]],
        scores,
        ladder_report.probes(folder),
        read_json(folder / "config.json")["seeds"],
    )


# ------------------------------------------------------------------ trees


def tree_page(run: Run, tree: str, seed: int, root: str, shown: str = "all") -> str:
    """One tree: drawn, counted by level, and as nested text; `shown` is one of `SHOWN`, and parents stay."""
    own = run.of(tree, seed, root)
    if own.empty:
        return "<p>No variant was asked for there: this run has no such tree.</p>"
    kept = with_parents(own, SHOWN[shown])
    if kept.empty:
        return f"<p>No variant of this tree is {escape(shown)}.</p>"
    drawn = picture(ladder_plots.tree(kept), f"the tree of {root}")
    return f"{_asked(run, root)}{drawn}{html(_counts(own))}{_scrolled(nested(kept, root, run.questions))}"


def with_parents(variants: pd.DataFrame, fates: Sequence[str]) -> pd.DataFrame:
    """The variants of one tree that met such a fate, and all above them."""
    kept = {*variants.loc[variants["fate"].isin(fates), "id"]}
    for one, parent in zip(variants["id"][::-1], variants["parent"][::-1], strict=True):  # children first
        if one in kept:
            kept.add(parent)
    return variants[variants["id"].isin(kept)]


def _asked(run: Run, root: str) -> str:
    part = "test problem" if root in run.tests else "problem to learn from"
    return f"<p><b>{escape(run.questions[root])}</b> ({part} {escape(root)})</p>"


def _counts(variants: pd.DataFrame) -> pd.DataFrame:
    """The table of `ladder_report.counted`, in words."""
    counts = ladder_report.counted(variants).drop(columns="tree")
    counts["distance"] = ["–" if pd.isna(value) else f"{value:.2f}" for value in counts["distance"]]
    names = {fate: text for fate, (text, _) in FATE_LOOKS.items()}
    return counts.rename(columns=names | {"distance": "mean distance to a test problem"})


def nested(variants: pd.DataFrame, parent: str, questions: dict[str, str]) -> str:
    """The variants below a parent as lists in lists, each with its children and what is known of it; only those with
    children stand open."""
    items = []
    for row in variants[variants["parent"] == parent].to_dict("records"):
        below = nested(variants, row["id"], questions)
        state, summary = " open" if below else "", _summary(row)
        notes = _notes(row, questions)
        items.append(f"<li><details{state}><summary>{summary}</summary>{notes}{below}</details></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _scrolled(content: str) -> str:
    return f'<div style="max-height: 40em; overflow: auto; line-height: 1.4">{content}</div>'


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


def levels_page(run: Run, seeds: Sequence[int], tree: str) -> str:
    """Accuracy on the trees' variants by level, before and after, and what became of the variants of a kind of tree,
    both of the chosen seeds."""
    if not seeds:
        return "<p>Choose at least one seed.</p>"
    chosen = run.variants[run.variants["seed"].isin(seeds)]
    counts = ladder_report.counted(chosen[chosen["tree"] == tree])
    found = _by_level(run, tuple(seeds), chosen)
    measured = "<p>Accuracy on the variants was not measured in this run.</p>"
    if len(found):
        cells = [percent(row.mean, row.low, row.high) for row in found.itertuples()]
        text = found.assign(model=found["arm"].map(TIMES), variants=found["problems"], **{"right (%)": cells})
        measured = picture(ladder_plots.levels(found), "accuracy by level of the variant")
        measured += html(text[["level", "model", "variants", "right (%)"]])
    if counts.empty:
        return f"{measured}<p>No variant was asked for there: this run has no such tree.</p>"
    return f"{measured}{picture(ladder_plots.variants(counts), 'what became of the variants')}"


def _by_level(run: Run, seeds: tuple[int, ...], variants: pd.DataFrame) -> pd.DataFrame:
    if seeds not in run.known:
        runs = {f"seed{seed}" for seed in seeds}
        run.known[seeds] = ladder_report.by_level(variants, [score for score in run.scores if score.run in runs])
    return run.known[seeds]


# ------------------------------------------------------------------ TTRL


def ttrl_page(run: Run, arm: str, seed: int, problem: str) -> str:
    """TTRL on one test problem: probes and rewards along the steps, how often it was solved, and its own tree."""
    steps = run.probes
    own = steps[(steps["arm"] == arm) & (steps["seed"] == seed) & (steps["problem"] == problem)]
    if own.empty:
        return f"<p>This run has no {escape(name(arm))}.</p>"
    kept = with_parents(run.of("ttrl", seed, problem), SHOWN["usable"])
    drawn = picture(ladder_plots.one_problem(own), f"TTRL on {problem}, step by step")
    tree = nested(kept, problem, run.questions) or "<p>No usable variant: nothing was trained.</p>"
    solved = html(_solved(run, seed, problem))
    return f"{_asked(run, problem)}{drawn}{solved}<p>Its usable variants:</p>{_scrolled(tree)}"


def _solved(run: Run, seed: int, problem: str) -> pd.DataFrame:
    """How often each student of this seed solved the problem."""
    names = {HARD_TEST: "samples", ANY_STEP: "probes at any step"}
    rows = [
        {"arm": name(s.arm), "measured on": names[s.set], "right": f"{s.c} of {s.n}", "completions spent": s.rollouts}
        for s in run.scores
        if (s.run, s.problem) == (f"seed{seed}", problem) and s.set in names
        and (s.arm in ("base", "ladder") or s.arm in TTRL_ARMS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def label(run: Run, problem: str) -> str:
    """A problem's name in a list: its number and the start of its question."""
    question = run.questions[problem].partition("∫")[2] or run.questions[problem]
    return f"{problem.rpartition('/')[2]}: {question.strip()[:40]}"


def trees_of(run: Run) -> list[tuple[str, str]]:
    """The kinds of trees that the run has, names first."""
    return [(TREES[tree], tree) for tree in TREES if tree in {*run.variants["tree"]}]
