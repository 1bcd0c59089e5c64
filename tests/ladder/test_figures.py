"""Figures of a LADDER run draw what their tables say."""

import pandas as pd
import pytest

from soar_lib.ladder import figures as ladder_plots
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder.figures import FATE_LOOKS
from soar_lib.ladder.settings import LADDER_ARMS
from soar_lib.measure.names import LADDER, TIMES
from tests.ladder.test_report import levels, trees, write_measured
from tests.measure.test_plots import assert_labelled, lines

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
    (axes,) = ladder_plots.arms(data).axes
    bars = [bar.lines[0].get_xydata()[0].tolist() for bar in axes.containers]
    assert bars == [[pytest.approx(100 * mean), place] for place, mean in enumerate(data["mean"])]
    assert lines(axes)["paper"][:, 0] == pytest.approx(100 * data["paper"], nan_ok=True)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len({*names}) == len(data) and names[0] == "Base (no training), pass@1 (3)"
    assert_labelled(axes.figure)


def test_levels_before_and_after(folder):
    (axes,) = ladder_plots.levels(levels(folder)).axes
    drawn = lines(axes)
    assert drawn[TIMES["base"]][:, 1].tolist() == [50, 0] and drawn[TIMES["ladder"]][:, 1].tolist() == [100, 75]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n(3)", "2\n(6)"]
    assert_labelled(axes.figure)


def test_bars_of_variants_are_whole(folder):
    data = trees(folder)
    (axes,) = ladder_plots.variants(data).axes
    parts = [bar for (bar,) in axes.containers]
    assert len(parts) == len(data) * len(FATE_LOOKS)
    ends = [bar.get_x() + bar.get_width() for bar in parts[len(FATE_LOOKS) - 1 :: len(FATE_LOOKS)]]
    assert ends == pytest.approx([100] * len(data))
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [text for text, _ in FATE_LOOKS.values()]
    usable = [bar.get_width() for bar in parts[:: len(FATE_LOOKS)]]
    assert usable == pytest.approx([100 * 3 / 9, 100 * 6 / 12])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["trees, level 1 (9)", "trees, level 2 (9)"]
    assert axes.get_ylabel() == "kind of tree, level (prompts)" and data["prompts"].tolist() == [9, 9]
    assert_labelled(axes.figure)


def test_ttrl_over_its_steps(folder):
    data = ladder_report.ttrl(folder)
    figure = ladder_plots.ttrl(data)
    for axes, column, factor in zip(figure.axes, ("right", "solved", "reward"), (100, 100, 1), strict=True):
        for name, arm in (("LADDER, then TTRL", "ladder_ttrl"), ("TTRL without LADDER", "base_ttrl")):
            own = data[data["arm"] == arm]
            assert lines(axes)[name] == pytest.approx((own[["step", column]] * [1, factor]).to_numpy(), nan_ok=True)
    assert_labelled(figure)


def test_a_tree_is_drawn_level_by_level_without_two_leaves_on_one_place():
    (axes,) = ladder_plots.tree(TREE).axes
    drawn = lines(axes)
    assert drawn["usable (3)"][:, 0].tolist() == [1, 1, 2] and drawn["the problem"][0, 0] == 0
    places = {one: tuple(row) for one, row in zip("ace", drawn["usable (3)"])}
    places |= {"b": tuple(drawn["repeats another (1)"][0]), "d": tuple(drawn["cannot be checked (1)"][0])}
    places["f"] = tuple(drawn["no question (1)"][0])
    assert len({*places.values()}) == 6
    assert places["a"][1] == (places["d"][1] + places["e"][1]) / 2 and places["c"][1] == places["f"][1]
    edges = [line for line in axes.get_lines() if line.get_label().startswith("_")]
    assert len(edges) == len(TREE)


def test_one_problem_step_by_step(folder):
    steps = ladder_report.probes(folder)
    own = steps[(steps["arm"] == "ladder_ttrl") & (steps["seed"] == 0) & (steps["problem"] == "t1")]
    above, below = (figure := ladder_plots.one_problem(own)).axes
    assert above.collections[1].get_offsets().tolist() == [[0, 0], [1, 0], [2, 1]]
    assert below.get_lines()[0].get_ydata() == pytest.approx([float("nan"), 0.0, 0.5], nan_ok=True)
    assert_labelled(figure)
