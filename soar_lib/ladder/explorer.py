"""The LADDER explorer: trees of variants, accuracy by level, TTRL on each test problem. Reads a folder, no model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from textwrap import shorten

import pandas as pd

from soar_lib.files import RunError, read_problems, setting
from soar_lib.ladder import figures, report
from soar_lib.ladder.settings import TTRL_ARMS
from soar_lib.measure import widgets
from soar_lib.measure.names import FATE_LOOKS, TIMES, TREES
from soar_lib.measure.tables import name, percent
from soar_lib.measure.widgets import Explorer, Page
from soar_lib.records import ANY_STEP, HARD_TEST, HARD_TRAIN, VARIANTS, Score

SHOWN = {"all": [*FATE_LOOKS], "usable": [*FATE_LOOKS][:1], "rejected": [*FATE_LOOKS][1:]}  # by what is asked for
NO_TREE = "No variant was asked for there: this run has no such tree."


@dataclass(frozen=True)
class LadderFolder:
    """A LADDER run's folder, read once. `variants` is `report.read_variants` with columns of text added: before and
    after (right samples), said (a description); `probes` is `report.probes`; `known` keeps `report.levels` by seeds."""

    variants: pd.DataFrame
    questions: dict[str, str]  # by Problem.id
    tests: list[str]  # ids of the test problems
    scores: list[Score]
    probes: pd.DataFrame
    seeds: int
    known: dict[tuple[int, ...], pd.DataFrame] = field(default_factory=dict)

    def of(self, tree: str, seed: int, root: str) -> pd.DataFrame:
        """The variants of one problem in one seed's trees of a kind."""
        return self.variants.query("tree == @tree and seed == @seed and root == @root")

    def trees(self) -> list[tuple[str, str]]:
        """Choices for a list, (text, name): the kinds of trees that the run has."""
        return [(TREES[tree], tree) for tree in TREES if tree in {*self.variants["tree"]}]

    def roots(self, tree: str) -> list[str]:
        """Ids of the problems that trees of this kind begin with."""
        return self.variants.query("tree == @tree")["root"].unique().tolist()

    def listed(self, problems: Sequence[str]) -> list[tuple[str, str]]:
        """Choices for a list, (text, id): a problem's number and the start of its question."""
        starts = {one: self.questions[one].rpartition("∫")[2] for one in problems}
        return [(shorten(f"{one.rpartition('/')[2]}: {starts[one]}", 48, placeholder=" …"), one) for one in starts]

    def asked(self, root: str) -> str:
        """A problem in a line: its number, what it is for, and its question."""
        part = "a test problem" if root in self.tests else "to learn from"
        return f"Problem {root.rpartition('/')[2]}, {part}: {self.questions[root]}"


def read(folder: str | Path) -> LadderFolder:
    """Read a finished LADDER run. Raises RunError where the folder holds none."""
    folder = Path(folder)
    if not (folder / "ladder.csv").is_file():
        raise RunError(f"{folder}: holds no finished LADDER run (no ladder.csv); run it or go on with it first")
    train, test = (read_problems(folder, name) for name in (HARD_TRAIN, HARD_TEST))
    questions = {problem.id: problem.question for problem in (*train, *test)}
    scores, variants = report.read_scores(folder), report.read_variants(folder)
    solved = {(s.arm, s.run, s.problem): f"{s.c} of {s.n}" for s in scores if s.set == VARIANTS}
    for arm, column in zip(TIMES, ("before", "after"), strict=True):
        keys = zip(variants["tree"], variants["seed"], variants["id"], strict=True)
        variants[column] = [solved.get((arm, f"seed{seed}", one), "") * (tree == "ladder") for tree, seed, one in keys]
    variants["said"] = [said(row, questions) for row in variants.to_dict("records")]
    tests, seeds = [problem.id for problem in test], setting(folder, "seeds", int)
    return LadderFolder(variants, questions, tests, scores, report.probes(folder), seeds)


def said(row: dict, questions: dict[str, str]) -> str:
    """All that is known of a variant (a row of `LadderFolder.variants`), in lines of text."""
    persona = f", as {row['persona']}" if row["persona"] else ""
    suggested = f"; suggested: {', '.join(row['suggestions'])}" if len(row["suggestions"]) else ""
    solved = f"samples right before LADDER: {row['before']}, after: {row['after']}" if row["before"] else ""
    near = row["nearest"] and f"nearest test problem, at distance {row['distance']:.2f}: {questions[row['nearest']]}"
    asked = f"asked for: {row['effect']}, at temperature {row['temperature']:g}{persona}{suggested}"
    first = f"level {row['level']}: {row['question'] or 'nothing that can be read'}"
    return "\n".join(filter(None, [first, fate(row), solved, asked, near]))


def fate(row: dict) -> str:
    """What became of a variant, with the reason where there is one."""
    reason = row["rejected"].partition(" ")[2] if row["fate"] in ("repeats", "unsolvable") else ""
    return f"{FATE_LOOKS[row['fate']][0]}{reason and ': '}{reason}"


def tree_page(run: LadderFolder, tree: str, seed: int, root: str, shown: str = "all") -> Page:
    """One tree: drawn, and counted by level. `shown`, a key of `SHOWN`, picks variants by fate; their parents stay."""
    own = run.of(tree, seed, root)
    if own.empty:
        return [NO_TREE]
    kept = with_parents(own, SHOWN[shown])
    if kept.empty:
        return [f"No variant of this tree is {shown}."]
    counts = report.trees(own).drop(columns="tree")
    counts["distance"] = ["–" if pd.isna(value) else f"{value:.2f}" for value in counts["distance"]]
    names = {fate: text for fate, (text, _) in FATE_LOOKS.items()} | {"distance": "mean distance to a test problem"}
    hint = "Point at a variant to read it; click it, or draw around several, to list them below."
    return [run.asked(root), figures.tree(kept, run.questions[root]), hint, counts.rename(columns=names)]


def with_parents(variants: pd.DataFrame, fates: Sequence[str]) -> pd.DataFrame:
    """The variants of one tree whose fate is one of `fates`, and all those above them."""
    kept = {*variants.loc[variants["fate"].isin(fates), "id"]}
    for one, parent in zip(variants["id"][::-1], variants["parent"][::-1], strict=True):  # children first
        if one in kept:
            kept.add(parent)
    return variants[variants["id"].isin(kept)]


def picked(run: LadderFolder, keys: list, tree: str, seed: int, root: str) -> Page:
    """The picked variants of a tree (`keys`: their ids) and their children, with what each was written from."""
    own = run.of(tree, seed, root)
    rows = own[own["id"].isin(keys) | own["parent"].isin(keys)]
    asked = {**run.questions, **dict(zip(own["id"], own["question"], strict=True))}
    shown = rows.assign(written=rows["parent"].map(asked), became=[fate(row) for row in rows.to_dict("records")])
    columns = ["id", "level", "question", "became", "written", "before", "after", "distance"]
    names = {"id": "variant", "became": "what became of it", "written": "written from", "before": "right before"}
    return ["The picked variants and their children:", shown[columns].rename(columns=names).round(2)]


def levels_page(run: LadderFolder, seeds: Sequence[int], tree: str) -> Page:
    """Of the chosen seeds: accuracy by level, before and after LADDER, and what became of a kind of tree's variants."""
    if not seeds:
        return ["Choose at least one seed."]
    chosen, key = run.variants[run.variants["seed"].isin(seeds)], tuple(sorted(seeds))
    counts, runs = report.trees(chosen[chosen["tree"] == tree]), {f"seed{seed}" for seed in seeds}
    became = NO_TREE if counts.empty else figures.variants(counts)
    if key not in run.known:
        run.known[key] = report.levels(chosen, [score for score in run.scores if score.run in runs])
    if (found := run.known[key]).empty:
        return ["Accuracy on the variants was not measured in this run.", became]
    cells = list(map(percent, found["mean"], found["low"], found["high"]))
    text = found.assign(model=found["arm"].map(TIMES), variants=found["problems"], **{"right (%)": cells})
    return [figures.levels(found), text[["level", "model", "variants", "right (%)"]], became]


def ttrl_page(run: LadderFolder, arm: str, seed: int, problem: str) -> Page:
    """TTRL on one test problem: probes and rewards along the steps, how often it was solved, and its own tree."""
    own = run.probes.query("arm == @arm and seed == @seed and problem == @problem")
    if own.empty:
        return [f"This run has no {name(arm)}."]
    kept = with_parents(run.of("ttrl", seed, problem), SHOWN["usable"])
    tree = ["No usable variant: nothing was trained."]
    if len(kept):
        tree = ["Its usable variants:", figures.tree(kept, run.questions[problem])]
    names, arms = {HARD_TEST: "samples", ANY_STEP: "probes at any step"}, ("base", "ladder", *TTRL_ARMS)
    solved = [
        {"arm": name(s.arm), "measured on": names[s.set], "right": f"{s.c} of {s.n}", "completions spent": s.rollouts}
        for s in run.scores
        if (s.run, s.problem) == (f"seed{seed}", problem) and s.set in names and s.arm in arms
    ]
    return [run.asked(problem), figures.one_problem(own), pd.DataFrame(solved), *tree]


def ladder_explorer(folder: str | Path) -> Explorer:
    """Explore the folder of a finished LADDER run. Raises RunError where it holds none."""
    run = read(folder)
    arms = [(name(arm), arm) for arm in TTRL_ARMS if arm in {*run.probes["arm"]}] or [("none", TTRL_ARMS[0])]
    seeds = widgets.several("seeds", [(str(seed), seed) for seed in range(run.seeds)], rows=min(5, run.seeds))
    levels = {"seeds": seeds, "tree": widgets.choice("kind", run.trees())}
    ttrl = {
        "arm": widgets.choice("arm", arms), "seed": widgets.choice("seed", range(run.seeds)),
        "problem": widgets.choice("problem", run.listed(run.tests)),
    }  # fmt: skip
    return widgets.tabs({
        "variant trees": _trees(run),
        "levels": widgets.explorer(levels, partial(levels_page, run)),
        "TTRL": widgets.explorer(ttrl, partial(ttrl_page, run)),
    })  # fmt: skip


def _trees(run: LadderFolder) -> Explorer:
    tree = widgets.choice("kind", run.trees())
    root = widgets.choice("problem", run.listed(run.roots(tree.value)))
    seed, shown = widgets.choice("seed", range(run.seeds)), widgets.choice("variants", list(SHOWN))

    def prepare() -> None:
        root.options = tuple(run.listed(run.roots(tree.value)))

    every = {"tree": tree, "seed": seed, "root": root, "shown": shown}
    return widgets.explorer(every, partial(tree_page, run), prepare, lambda keys, shown, **kw: picked(run, keys, **kw))
