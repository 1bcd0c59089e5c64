"""SvS's figures draw what their tables say, and an arm looks the same in all of them."""

import math

import pandas as pd
import pytest
import svs_folder
from matplotlib.text import Text

from soar_lib.measure import plots
from soar_lib.measure.names import SVS
from soar_lib.measure.tables import name
from soar_lib.svs import figures as svs_plots
from soar_lib.svs import report as svs_report
from soar_lib.svs.settings import SVS_ARMS
from tests.soar.test_figures import assert_apart, legend, lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return svs_folder.write(tmp_path_factory.mktemp("plots") / "svs")


@pytest.fixture(scope="module")
def numbers(folder):
    return svs_report.table(folder)


def test_every_arm_has_an_own_name_and_look():
    assert list(SVS) == list(SVS_ARMS)
    names = [name(arm) for arm in SVS_ARMS]
    assert len({*names}) == len(SVS_ARMS) and not any("_" in each for each in names)
    assert len({(look["color"], look["ls"]) for look in svs_plots.LOOK.values()}) == len(SVS_ARMS)


def test_curves_are_means_over_seeds_beside_what_they_spent(folder):
    steps = svs_report.steps(folder)
    frame = svs_plots.along(steps[steps["arm"] != "svs_guarded"], "entropy")
    own = frame[frame["arm"] == "svs"]
    assert own["step"].tolist() == [0, 1, 2] and own["rollouts"].tolist() == [0, 15, 30]
    assert own["entropy"].tolist() == pytest.approx([0.51, 0.41, 0.31]) and own["seeds"].tolist() == [2, 2, 2]
    smooth = svs_plots.along(steps, "entropy", 3)
    assert smooth["entropy"].iloc[0] == pytest.approx(0.46)
    for x, places in (("step", [0, 1, 2]), ("rollouts", [0, 15, 30])):
        figure = svs_plots.curve(frame, x, "entropy")
        assert legend(figure) == ["RLVR", "SvS"] and figure.axes[0].get_xlabel() == svs_plots.AXES[x]
        assert lines(figure.axes[0])["SvS"].ravel() == pytest.approx([0, 0.51, places[1], 0.41, places[2], 0.31])
    percent = svs_plots.curve(svs_plots.along(steps, "accuracy"), "step", "accuracy")
    assert lines(percent.axes[0])["RLVR"][:, 1].tolist() == [12.5, 37.5, 62.5]


def test_entropy_compares_updates_as_far_as_svs_has_them_and_completions_in_full(folder):
    steps = svs_report.steps(folder)
    risen = {"entropy": lambda own: own["entropy"] + own["step"], "step": lambda own: 2 * own["step"]}
    longer = steps[steps["arm"] == "rlvr"].assign(arm="rlvr_equal_rollouts", **risen)
    figure = svs_plots.entropy(pd.concat([steps, longer]), smoothing=1)
    above, spent, below, _ = map(lines, figure.axes)
    assert list(above) == ["RLVR", "SvS", "RLVR, equal rollouts"] == legend(figure)
    assert above["RLVR, equal rollouts"][:, 0].tolist() == [0, 2] and above["SvS"][:, 0].tolist() == [0, 1, 2]
    assert spent["RLVR, equal rollouts"][:, 0].tolist() == [0, 15, 30]
    assert below["SvS"].ravel() == pytest.approx([0, 0.41, 2, 0.25, 3, 0.36])
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)
    bands = [[path.vertices for band in axes.collections for path in band.get_paths()] for axes in figure.axes]
    highest = [max(corners[:, 1].max() for corners in own) for own in bands]
    assert highest[1] > highest[0] and all(axes.get_ylim()[1] >= top for axes, top in zip(figure.axes, highest))
    figure.draw_without_rendering()
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.findobj(Text) if text.get_text())]
    heading = next(text for text in texts if text.get_text().startswith("Mean over seeds"))
    assert heading.get_window_extent().x1 <= figure.legends[0].get_window_extent().x0


def test_arms_stand_beside_the_paper(numbers):
    figure = svs_plots.beside_paper(numbers)
    first, second = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == [name(arm) for arm in svs_folder.ARMS]
    assert first.get_xlabel() == "pass@1 on the hard set (%)" and second.get_xlabel() == "pass@8 on the hard set (%)"
    drawn = [bars.lines[0].get_xydata().ravel().tolist() for bars in first.containers]
    assert drawn == [[pytest.approx(100 * count / 8), place] for place, count in enumerate(svs_folder.RIGHT.values())]
    assert [bars.lines[0].get_color() for bars in first.containers] == [
        svs_plots.LOOK[arm]["color"] for arm in svs_folder.ARMS
    ]
    paper = next(line for line in first.get_lines() if line.get_label().startswith("paper"))
    assert paper.get_xdata() == pytest.approx([11.2, 22.5, 27.9, math.nan], nan_ok=True)
    assert {text.split(",")[0].split(" (")[0] for text in legend(figure)} == {"ours", "paper"}


def test_the_papers_k_comes_first_and_then_the_one_that_all_arms_share(numbers):
    known = numbers.assign(paper=numbers["paper"].where(numbers["metric"] != "hard pass@4", 0.3))
    assert svs_plots.beside_paper(known).axes[1].get_xlabel() == "pass@4 on the hard set (%)"
    fewer = numbers[(numbers["arm"] != "svs_guarded") | ~numbers["metric"].isin(["hard pass@8"])]
    assert svs_plots.beside_paper(fewer).axes[1].get_xlabel() == "pass@4 on the hard set (%)"


def test_pass_at_k_keeps_the_arms_looks(numbers):
    figure = svs_plots.pass_at_k(svs_report.passes(numbers))
    for arm, bars in zip(svs_folder.ARMS, figure.axes[0].containers, strict=True):
        assert bars.lines[0].get_color() == svs_plots.LOOK[arm]["color"]
    assert legend(figure)[1] == "RLVR (2)" and figure.legends[0].get_title().get_text() == "arm (seeds)"
    assert "the hard set" in figure.axes[0].get_ylabel()


def with_ticks(figure) -> list[bool]:
    """Whether each panel names its ticks on x."""
    figure.draw_without_rendering()
    return [any(label.get_visible() and label.get_text() for label in axes.get_xticklabels()) for axes in figure.axes]


def test_shares_have_a_panel_for_each_measure_that_is_known(folder):
    data = svs_report.variants(folder, 5).round(5)
    figure = svs_plots.shares(data)
    assert [axes.get_title() for axes in figure.axes] == list(svs_plots.MEASURES.values())
    valid = lines(figure.axes[1])["SvS"]
    assert valid.tolist() == [[0, pytest.approx((60 + 100) / 2)]]
    assert legend(figure) == ["SvS", "SvS, guarded"]
    assert with_ticks(figure) == [False, False, True, True, True]
    unjudged = svs_plots.shares(data.assign(valid=math.nan))
    assert "valid" not in " ".join(axes.get_title() for axes in unjudged.axes) and len(unjudged.axes) == 4
    assert with_ticks(unjudged) == [False, True, True, True]


def test_claims_have_a_panel_for_each_unit(folder):
    of = svs_report.claims_of(4)
    figure = plots.forest(svs_report.claims.judged(svs_report.read(folder), of), of)
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes] == ["points", "ratio", "percent", "nats per token"]
    assert [len(axes.get_yticklabels()) for axes in figure.axes] == [15, 1, 1, 3]
    bounds = [lines(axes)["to be cleared"][:, 0].tolist() for axes in figure.axes[1:]]
    assert bounds == [[svs_report.KEPT], [svs_report.VALID], [0, 0, 0]]
    assert_apart(figure)
