"""SvS's figures draw what their tables say, with names, units and all panels that are known."""

import math

import numpy as np
import pytest
import svs_folder

from soar_lib.measure import plots
from soar_lib.measure.names import SVS
from soar_lib.measure.tables import name
from soar_lib.svs import figures as svs_plots
from soar_lib.svs import report as svs_report
from soar_lib.svs.settings import SVS_ARMS
from tests.measure.test_charts import assert_labelled, series


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return svs_folder.write(tmp_path_factory.mktemp("plots") / "svs")


@pytest.fixture(scope="module")
def numbers(folder):
    return svs_report.table(folder)


def test_every_arm_has_an_own_name():
    assert list(SVS) == list(SVS_ARMS)
    names = [name(arm) for arm in SVS_ARMS]
    assert len({*names}) == len(SVS_ARMS) and not any("_" in each for each in names)


def test_curves_are_means_over_seeds_beside_what_they_spent(folder):
    steps = svs_report.steps(folder)
    frame = svs_plots.along(steps[steps["arm"] != "svs_guarded"], "entropy")
    own = frame[frame["arm"] == "svs"]
    assert own["step"].tolist() == [0, 1, 2] and own["rollouts"].tolist() == [0, 15, 30]
    assert own["entropy"].tolist() == pytest.approx([0.51, 0.41, 0.31]) and own["seeds"].tolist() == [2, 2, 2]
    smooth = svs_plots.along(steps, "entropy", 3)
    assert smooth["entropy"].iloc[0] == pytest.approx(0.46)
    for x, places in (("step", [0, 1, 2]), ("rollouts", [0, 15, 30])):
        (panel,) = (chart := svs_plots.curve(frame, x, "entropy")).panels
        drawn = series(panel)
        assert list(drawn) == ["RLVR", "SvS"] and panel.x == svs_plots.AXES[x]
        assert drawn["SvS"].ravel() == pytest.approx([0, 0.51, places[1], 0.41, places[2], 0.31])
        assert_labelled(chart)
    percent = svs_plots.curve(svs_plots.along(steps, "accuracy"), "step", "accuracy")
    assert series(percent.panels[0])["RLVR"][:, 1].tolist() == [12.5, 37.5, 62.5]


def test_entropy_and_what_is_solved_stand_against_completions_and_each_other(folder):
    steps = svs_report.steps(folder)
    start, end = ([s.c > 0 for s in svs_report.read(folder).scores if (s.arm, s.set) == (arm, "test")]
                  for arm in ("base", "svs"))  # fmt: skip
    known = steps[steps["arm"] == "svs"].groupby("step")["test_pass_n"].mean()
    assert known.tolist() == pytest.approx([np.mean(start), math.nan, math.nan, np.mean(end)], nan_ok=True)
    steps.loc[(steps["arm"] == "svs") & (steps["step"] == 2), "test_pass_n"] = 0.5
    chart = svs_plots.entropy(steps)
    spent, solved, across = map(series, chart.panels)
    assert spent["SvS"][:, 0].tolist() == [0, 30, 45]
    assert solved["SvS"].tolist() == [[0, 100 * np.mean(start)], [30, 50], [45, 100 * np.mean(end)]]
    assert across["SvS"].tolist() == np.stack([spent["SvS"][:, 1], solved["SvS"][:, 1]], 1).tolist()
    assert_labelled(chart)


def test_pass_at_k_names_seeds_and_set(numbers):
    (panel,) = (chart := svs_plots.pass_at_k(svs_report.passes(numbers))).panels
    assert [mark.name for mark in panel.marks][1] == "RLVR (2)" and chart.heading == "arm (seeds)"
    assert "the hard set" in panel.y


def with_ticks(chart) -> list[bool]:
    """Whether each panel names its ticks on x."""
    figure = chart.static()
    figure.draw_without_rendering()
    return [any(label.get_visible() and label.get_text() for label in axes.get_xticklabels()) for axes in figure.axes]


def test_shares_have_a_panel_for_each_measure_that_is_known(folder):
    data = svs_report.variants(folder, 5).round(5)
    chart = svs_plots.shares(data)
    assert [panel.title for panel in chart.panels] == list(svs_plots.MEASURES.values())
    assert series(chart.panels[0])["SvS"].tolist() == [[0, pytest.approx((60 + 100) / 2)]]
    assert list(series(chart.panels[1])) == ["SvS", "SvS, guarded"]
    assert with_ticks(chart) == [False, False, True, True]
    unjudged = svs_plots.shares(data.assign(valid=math.nan, valid_new=math.nan))
    assert "valid" not in " ".join(panel.title for panel in unjudged.panels) and len(unjudged.panels) == 2
    assert with_ticks(unjudged) == [True, True]


def test_claims_have_a_panel_for_each_unit(folder):
    of = svs_report.CLAIMS
    chart = plots.forest(svs_report.claims.judged(svs_report.read(folder), of), of)
    assert [panel.x.split(",")[0] for panel in chart.panels] == ["points", "ratio", "percent", "nats per token"]
    assert [len(panel.rows) for panel in chart.panels] == [15, 1, 1, 3]
    bounds = [series(panel)["to be cleared"][:, 0].tolist() for panel in chart.panels[1:]]
    assert bounds == [[0.9], [80], [0, 0, 0]]
    assert_labelled(chart)
