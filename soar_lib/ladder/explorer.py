"""The LADDER explorer: trees of variants, accuracy by level, and TTRL on each test problem, by what is chosen.

It reads a run's folder once, loads no model and trains nothing. What is shown comes from pure functions
(`soar_lib.ladder.explorer_views`); here are the controls.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets

from soar_lib.ladder import explorer_views as ladder_views
from soar_lib.ladder.explorer_views import SHOWN, Run, label
from soar_lib.ladder.settings import TTRL_ARMS
from soar_lib.measure.tables import name
from soar_lib.measure.widgets import controlled


def ladder_explorer(folder: str | Path) -> ipywidgets.VBox:
    """Explore the folder of a finished LADDER run. Raises RunError where it holds none."""
    run = ladder_views.read(folder)
    tabs = [_trees(run), _levels(run), _ttrl(run)]
    return ipywidgets.VBox([ipywidgets.Tab(tabs, titles=("variant trees", "levels", "TTRL"))])


def _trees(run: Run) -> ipywidgets.VBox:
    """The trees one by one."""
    tree, seed = _choice("kind", ladder_views.trees_of(run)), _choice("seed", range(run.seeds))
    root, shown = _choice("problem", _problems(run, run.roots(tree.value))), _choice("variants", list(SHOWN))

    def roots(change: dict) -> None:
        root.options = _problems(run, run.roots(tree.value))

    tree.observe(roots, "value")
    show = ladder_views.tree_page
    return _tab([tree, seed, root, shown], lambda: show(run, tree.value, seed.value, root.value, shown.value))


def _levels(run: Run) -> ipywidgets.VBox:
    """Accuracy by level, and what became of the variants."""
    every = tuple(range(run.seeds))
    seeds = ipywidgets.SelectMultiple(options=every, value=every, description="seeds", rows=min(5, run.seeds))
    tree = _choice("kind", ladder_views.trees_of(run))
    return _tab([seeds, tree], lambda: ladder_views.levels_page(run, sorted(seeds.value), tree.value))


def _ttrl(run: Run) -> ipywidgets.VBox:
    """TTRL on each test problem."""
    arms = [(name(arm), arm) for arm in TTRL_ARMS if arm in {*run.probes["arm"]}] or [("none", TTRL_ARMS[0])]
    arm, seed = _choice("arm", arms), _choice("seed", range(run.seeds))
    problem = _choice("problem", _problems(run, run.tests))
    return _tab([arm, seed, problem], lambda: ladder_views.ttrl_page(run, arm.value, seed.value, problem.value))


def _problems(run: Run, problems: Sequence[str]) -> list[tuple[str, str]]:
    return [(label(run, problem), problem) for problem in problems]


def _choice(description: str, options) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=options, description=description)


def _tab(controls: list[ipywidgets.Widget], show: Callable[[], str]) -> ipywidgets.VBox:
    box = controlled(controls, show)
    box.children[0].layout.flex_flow = "row wrap"
    return box
