"""A chart is drawn alike on paper and on a screen, says what its table says, and takes a model's text for text."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from soar_lib.measure import charts, live
from soar_lib.measure.charts import Chart, Mark, Panel
from soar_lib.measure.names import ARM_COLOURS, COLOURS, LADDER, RUNS, STUDENTS, SVS, look
from soar_lib.soar.study import ARMS
from tools.methods import NAMES

NASTY = "<script>alert(1)</script> <img src=x onerror=alert(2)> $$\\frac{1}{2}$$ &amp; %{x}"
WHOLE = Chart(
    [
        Panel(
            [
                Mark([1, 2, 3], [10, 20, 30], "first", "#0072B2", "-", "o", low=[5, 15, 25], high=[15, 25, 35],
                     ends="band"),
                Mark([1, 3], [12, 31], "second", "#D55E00", marker="s", low=[10, 30], high=[13, 40]),
                Mark([2], [3], "", ["#000000"], marker="o", size=[9], hover=[NASTY], keys=["key"], text=["said"]),
            ],
            "x of it", "y of it", NASTY, ylim=(0, 50), rules=[("x", 2.5, "border")],
        ),
        Panel([Mark([30, 100], [0, 0], "bar", "#009E73", left=[0, 30])], "share", rows=["row of it"], xlim=(0, 100)),
    ],
    note="below",
)  # fmt: skip


def series(panel: Panel) -> dict[str, np.ndarray]:
    """The points of a panel's named marks."""
    return {mark.name: np.column_stack([mark.x, mark.y]).astype(float) for mark in panel.marks if mark.name}


def assert_labelled(chart: Chart) -> None:
    """Every panel names its axes; on paper no two names of rows overlap, and all lie inside the figure."""
    assert all((panel.x or panel.bare == "xy") and (panel.y or panel.bare) for panel in chart.panels)
    figure = chart.static()
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
        places = sorted((box.y0, box.y1) for box in boxes)
        assert all(above[0] >= below[1] for below, above in zip(places, places[1:]))
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


# ------------------------------------------------------------------ paper and screen


def test_paper_shows_every_mark_with_its_interval_and_the_legend_each_name_once():
    figure = WHOLE.static()
    above, below = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in above.get_lines()}
    assert lines["first"] == [[1, 10], [2, 20], [3, 30]] and lines["border"][0][0] == 2.5
    band = above.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (5, 35)
    (bars,) = above.containers
    assert bars.lines[2][0].get_segments()[1].tolist() == [[3, 30], [3, 40]]
    assert [patch.get_width() for patch in below.patches] == [30, 70]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["bar", "border", "first", "second"]
    assert above.get_ylim() == (0, 50) and below.get_yticklabels()[0].get_text() == "row of it"
    assert WHOLE.png().startswith(b"\x89PNG")


def test_the_screen_shows_the_same_points_intervals_and_names():
    drawn = live.figure(WHOLE)
    named = {trace.name: trace for trace in drawn.data if trace.showlegend}
    assert {*named} == {"first", "second", "bar"} and drawn.layout.shapes[0].x0 == 2.5
    assert list(named["first"].x) == [1, 2, 3] and list(named["first"].y) == [10, 20, 30]
    (band,) = [trace for trace in drawn.data if trace.type == "scatter" and trace.fill]
    assert (min(band.y), max(band.y)) == (5, 35) and band.legendgroup == "first"
    assert list(named["second"].error_y.array) == [1, 9] and list(named["second"].error_y.arrayminus) == [2, 1]
    assert (list(named["bar"].base), list(named["bar"].x)) == ([0, 30], [30, 70])
    assert "second<br>x of it: 3<br>y of it: 31 (30 to 40)" in named["second"].hovertext
    assert drawn.layout.yaxis.range == (0, 50) and drawn.layout.yaxis2.ticktext == ("row of it",)


def test_pointing_names_the_axis_that_stands_below():
    above = Chart([Panel([Mark([1], [2], "a", marker="o")], "round", "gain")] * 2, shared="x")
    assert [trace.hovertext for trace in live.figure(above).data] == [("a<br>round: 1<br>gain: 2",)] * 2


def test_a_name_stands_in_the_legend_once_for_all_panels():
    twice = Chart([Panel([Mark([1], [1], "a", marker="o")])] * 2)
    assert [trace.showlegend for trace in live.figure(twice).data] == [True, False]
    assert len(twice.static().legends[0].get_texts()) == 1


def test_text_of_a_model_stays_text():
    mark = Mark([1], [1], NASTY, marker="o", hover=[NASTY], text=[NASTY])
    shown = live.figure(Chart([Panel([mark], NASTY, NASTY, NASTY)]))
    (trace,), layout = shown.data, shown.layout
    texts = [trace.hovertext[0], trace.name, trace.text[0], layout.xaxis.title.text, layout.annotations[0].text]
    for text in texts:
        assert "<" not in text.replace("<br>", "") and "$" not in text and "&lt;script&gt;" in text
        assert "&#36;&#36;\\frac{1}{2}&#36;&#36;" in text and "&amp;amp;" in text
    assert trace.hovertemplate == "%{hovertext}<extra></extra>"  # so that %{x} is no template either
    axes = Chart([Panel([Mark([1], [1], NASTY, marker="o")], NASTY, title=NASTY)]).static().axes[0]
    assert "$$" not in axes.get_title().replace(r"\$", "")
    axes.figure.draw_without_rendering()  # no formula that matplotlib cannot read


def test_a_widget_is_redrawn_in_place_where_it_can_be_and_tells_what_is_picked():
    told: list = []
    widget = live.shown(WHOLE, None, told.append)
    assert [trace.name for trace in widget.data if trace.showlegend] == ["first", "second", "bar"]
    trace = next(trace for trace in widget.data if list(trace.customdata or []) == ["key"])
    trace._dispatch_on_click(type("Points", (), {"point_inds": [0]})(), None)
    trace._dispatch_on_selection(type("Points", (), {"point_inds": []})(), None)
    assert told == [["key"]]
    assert live.shown(WHOLE, widget, told.append) is widget and widget.data
    first, second = (Chart([Panel([Mark([1], [2], name, marker="o")], axis)]) for name, axis in ("ab", "cd"))
    other = live.shown(first, widget, told.append)  # fewer traces
    assert other is not widget and live.shown(second, other, told.append) is other
    assert [trace.name for trace in other.data] == ["c"] and other.layout.xaxis.title.text == "d"


def test_saved_csv_is_what_was_drawn_and_reads_back_equal(tmp_path):
    data = pd.DataFrame({"arm": ["pq"], "mean": [0.25]})
    (path,) = charts.save_all({"drawn": (data, lambda data: WHOLE)}, tmp_path)
    assert path == tmp_path / "drawn.png" and path.read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "data" / "drawn.csv"), data)


# ------------------------------------------------------------------ looks

# Machado, Oliveira and Fernandes 2009: linear RGB as seen with each form of dichromacy, and with none.
SEEN = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}


def lab(colour: str, seen: list) -> np.ndarray:
    """CIELAB (D65) of a colour."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(seen) @ linear, 0, 1)
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ linear / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("form", SEEN)
def test_colours_are_told_apart_with_any_colour_vision(form):
    for one, other in combinations(COLOURS, 2):
        assert np.linalg.norm(lab(one, SEEN[form]) - lab(other, SEEN[form])) > 16, (one, other)


def test_arms_that_meet_in_a_figure_differ_in_colour_and_an_arm_has_one():
    assert len({arm for arms in ARM_COLOURS.values() for arm in arms}) == sum(map(len, ARM_COLOURS.values()))
    teachers = ["untrained", *(name for name, arm in ARMS.items() if not arm.runs)]
    assert len(teachers) > 10
    methods = ["base", "svs", "ladder", *NAMES.values()]
    for arms in (STUDENTS, LADDER, SVS, methods, teachers):
        assert len({look(arm)["colour"] for arm in arms}) == len([*arms])
    own = look("grounded_t")["colour"]
    sweeps = [f"grounded_t_{run}" for run in RUNS if look(f"grounded_t_{run}")["colour"] == own]
    assert len({str(look(arm)) for arm in ["grounded_t", *sweeps]}) == len(sweeps) + 1 > 6
    for mine, teacher in (("grounded_t", "grounded"), ("intrinsic_t", "intrinsic")):
        assert look(mine)["colour"] == look(teacher)["colour"]
