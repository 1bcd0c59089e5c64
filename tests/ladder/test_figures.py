"""Figures of a LADDER run draw what their tables say."""

import pandas as pd
import pytest

from soar_lib.ladder import figures as ladder_plots
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder.settings import LADDER_ARMS
from soar_lib.measure.names import FATE_LOOKS, LADDER, TIMES
from tests.ladder.test_report import levels, trees, write_measured
from tests.measure.test_charts import assert_labelled, series

TREE = pd.DataFrame(
    [("a", "p", 1, "usable"), ("b", "p", 1, "repeats"), ("c", "p", 1, "usable"), ("d", "a", 2, "unsolvable"),
     ("e", "a", 2, "usable"), ("f", "c", 2, "no_question")],
    columns=["id", "parent", "level", "fate"],
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return write_measured(tmp_path)


def test_every_fate_has_a_name_and_a_colour():
    assert list(FATE_LOOKS) == list(ladder_report.FATES.values())
    assert len({colour for _, colour in FATE_LOOKS.values()}) == len(FATE_LOOKS)


def test_every_arm_has_a_name():
    assert tuple(LADDER) == LADDER_ARMS and not any("_" in each for each in LADDER.values())


def test_arms_stand_beside_the_paper(folder):
    data = ladder_report.table(folder)
    (panel,) = (chart := ladder_plots.arms(data)).panels
    *ours, paper = panel.marks
    assert [mark.x[0] for mark in ours] == pytest.approx(100 * data["mean"])
    assert [mark.y for mark in ours] == [[place] for place in range(len(data))]
    assert list(paper.x) == pytest.approx(100 * data["paper"], nan_ok=True)
    assert len({*panel.rows}) == len(data) and panel.rows[0] == "Base (no training), pass@1 (3)"
    assert_labelled(chart)


def test_levels_before_and_after(folder):
    (panel,) = (chart := ladder_plots.levels(levels(folder))).panels
    drawn = series(panel)
    assert drawn[TIMES["base"]][:, 1].tolist() == [50, 0] and drawn[TIMES["ladder"]][:, 1].tolist() == [100, 75]
    assert panel.ticks == {1: "1\n(3)", 2: "2\n(6)"}
    assert_labelled(chart)


def test_bars_of_variants_are_whole(folder):
    data = trees(folder)
    (panel,) = (chart := ladder_plots.variants(data)).panels
    assert [mark.name for mark in panel.marks] == [text for text, _ in FATE_LOOKS.values()]
    assert list(panel.marks[-1].x) == pytest.approx([100] * len(data)) and list(panel.marks[0].left) == [0, 0]
    assert list(panel.marks[0].x) == pytest.approx([100 * 3 / 9, 100 * 6 / 12])
    for mark, other in zip(panel.marks, panel.marks[1:]):
        assert list(mark.x) == pytest.approx(list(other.left))
    assert panel.rows == ["trees, level 1 (9)", "trees, level 2 (9)"] and data["prompts"].tolist() == [9, 9]
    assert_labelled(chart)


def test_ttrl_over_its_steps(folder):
    data = ladder_report.ttrl(folder)
    chart = ladder_plots.ttrl(data)
    for panel, column, factor in zip(chart.panels, ("right", "solved", "reward"), (100, 100, 1), strict=True):
        for name, arm in (("LADDER, then TTRL", "ladder_ttrl"), ("TTRL without LADDER", "base_ttrl")):
            own = data[data["arm"] == arm]
            assert series(panel)[name] == pytest.approx((own[["step", column]] * [1, factor]).to_numpy(), nan_ok=True)
    own = data[data["arm"] == data["arm"].iloc[0]]
    assert list(chart.panels[1].marks[0].low) == pytest.approx((100 * own["solved_low"]).clip(0, 100))
    assert_labelled(chart)


def test_a_tree_is_drawn_level_by_level_without_two_leaves_on_one_place():
    (panel,) = ladder_plots.tree(TREE.assign(said="said " + TREE["id"])).panels
    edges, *marks = panel.marks
    places = {key: (x, y) for mark in marks for key, x, y in zip(mark.keys, mark.x, mark.y, strict=True)}
    assert {*places} == {"p", *TREE["id"]} and len({*places.values()}) == 7 and places["p"][0] == 0
    assert [places[node][0] for node in TREE["id"]] == TREE["level"].tolist()
    assert places["a"][1] == (places["d"][1] + places["e"][1]) / 2 and places["c"][1] == places["f"][1]
    ends = [(edges.x[i], edges.y[i], edges.x[i + 1], edges.y[i + 1]) for i in range(0, len(edges.x), 3)]
    pairs = zip(TREE["parent"], TREE["id"])
    assert ends == [(*places[parent], *places[node]) for parent, node in pairs]
    named = ["the problem", "usable (3)", "repeats another (1)", "cannot be checked (1)", "no question (1)"]
    assert [mark.name for mark in marks] == named
    assert marks[1].hover == ["said a", "said c", "said e"]


def test_one_problem_step_by_step(folder):
    steps = ladder_report.probes(folder)
    own = steps[(steps["arm"] == "ladder_ttrl") & (steps["seed"] == 0) & (steps["problem"] == "t1")]
    above, below = (chart := ladder_plots.one_problem(own)).panels
    assert list(above.marks[1].y) == [0, 0, 100] and above.marks[1].hover[2].endswith("1 of 1 probes right")
    assert list(below.marks[0].y) == pytest.approx([float("nan"), 0.0, 0.5], nan_ok=True)
    assert_labelled(chart)
