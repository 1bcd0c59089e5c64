"""Explorers show what their page says, follow their controls, and treat a model's text as text."""

import base64
import json
import re
from html import unescape

import ipywidgets
import pandas as pd
import plotly.graph_objects as go
import pytest

from soar_lib.measure import widgets
from soar_lib.measure.charts import Chart, Mark, Panel
from tests.measure.test_charts import NASTY


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def leaves(box):
    return [
        leaf for child in box.children for leaf in (leaves(child) if isinstance(child, ipywidgets.Box) else [child])
    ]


def cells(page):
    rows = re.findall(r"<tr.*?>(.*?)</tr>", page, re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def table(page) -> list[list[str]]:
    """The only table of a page as text, its header first."""
    (frame,) = [part for part in page if isinstance(part, pd.DataFrame)]
    return [list(frame.columns), *frame.astype(str).values.tolist()]


def charts(page) -> list[Chart]:
    return [part for part in page if isinstance(part, Chart)]


def chart(*values: float) -> Chart:
    keys = [f"key {value}" for value in values]
    return Chart([Panel([Mark([0] * len(values), values, "series", marker="o", keys=keys)], "x")])


@pytest.fixture
def filtered(tmp_path):
    def problem(number, topic):
        return {"id": f"p{number}", "question": f"{number} < {number}?", "answer": "<b>", "topic": topic, "level": 3}

    write(tmp_path / "hard_train.jsonl", [problem(0, "Algebra"), problem(1, "Geometry"), problem(2, "Geometry")])
    write(tmp_path / "hard_test.jsonl", [problem(3, "Algebra")])
    outcome = {"right": 0, "wrong": 5, "unparsed": 2, "timeout": 1}
    write(tmp_path / "outcomes.jsonl", [{"id": f"p{i}", "topic": "Algebra", "level": 3, **outcome} for i in range(4)])
    write(tmp_path / "config.json", [{"k": 8}])
    return tmp_path


def test_problem_browser_follows_its_controls(filtered):
    explorer = widgets.problem_browser(filtered)
    part, topic, number, shown = leaves(explorer)
    rows = cells(shown.value)
    assert rows[0][1] == "one of 3 problems (p0)" and ["question", "0 < 0?"] in rows and number.max == 3
    assert ["samples", "0 right, 5 wrong, 2 unparsed, 1 timeout"] in rows and "<b>" not in shown.value
    topic.value = "Geometry"
    number.value = 2
    assert ["question", "2 < 2?"] in cells(leaves(explorer)[-1].value)
    part.value = "hard_test"
    assert explorer.page() == ["No hard problem of this topic in this part."]
    topic.value = "all"
    assert "3 &lt; 3?" in leaves(explorer)[-1].value and number.value == 1


def test_a_problems_html_stays_text_wherever_it_stands(tmp_path):
    problem = dict.fromkeys(("id", "question", "answer", "topic"), NASTY)
    outcome = {"id": NASTY, "topic": NASTY, "level": None, "right": 0, "wrong": 5, "unparsed": 0, "timeout": 0}
    for name, rows in {"hard_train": [problem], "hard_test": [], "outcomes": [outcome]}.items():
        write(tmp_path / f"{name}.jsonl", rows)
    write(tmp_path / "config.json", [{"k": 8}])
    explorer = widgets.problem_browser(tmp_path)
    _, topic, _, shown = leaves(explorer)
    topic.value = NASTY
    wanted = [["", f"one of 1 problems ({NASTY})"], ["topic", NASTY], ["question", NASTY], ["answer", NASTY]]
    for page in (shown.value, explorer._repr_mimebundle_()["text/html"]):
        assert cells(page) == [*wanted, ["samples", "0 right, 5 wrong, 0 unparsed, 0 timeout"]]
        assert "<script" not in page and "<img" not in page


def test_controls_say_by_name_what_the_page_shows_and_may_hide_others():
    controls = {
        "first": widgets.choice("a", [("<b>", 1), ("two", 2)]),
        "more": widgets.several("b", [("x", 7), ("y", 8)]),
    }
    hide = lambda: widgets.show_only(controls, ["first"] + ["more"] * (controls["first"].value == 2))  # noqa: E731
    explorer = widgets.explorer(controls, lambda first, more: [f"<{first}> {more}"], hide)
    assert leaves(explorer)[-1].value == "<p>&lt;1&gt; (7, 8)</p>" and controls["more"].layout.display == "none"
    controls["first"].value, controls["more"].value = 2, (8,)
    assert leaves(explorer)[-1].value == "<p>&lt;2&gt; (8,)</p>" and controls["more"].layout.display is None


def test_a_chart_keeps_its_widget_and_what_is_picked_stands_below():
    number = widgets.slider("n", 1, 5)
    drawn = []

    def page(n):
        drawn.append(n)
        return [chart(n, n + 1), f"{n} is shown"] if n < 4 else ["no chart"]

    explorer = widgets.explorer({"n": number}, page, detail=lambda keys, n: [f"{keys} of {n}"])
    shown, below = explorer.children[1:]
    figure = shown.children[0]
    assert isinstance(figure, go.FigureWidget) and list(figure.data[0].y) == [1, 2]
    number.value = 2
    assert shown.children[0] is figure and list(figure.data[0].y) == [2, 3] and drawn == [1, 2]
    figure.data[0]._dispatch_on_selection(type("Points", (), {"point_inds": [0, 1]})(), None)
    assert below.children[0].value == "<p>[&#x27;key 2&#x27;, &#x27;key 3&#x27;] of 2</p>"
    number.value = 4
    assert not below.children and [child.value for child in shown.children] == ["<p>no chart</p>"]


def test_a_control_that_another_changes_draws_once():
    drawn, second = [], widgets.choice("b", [1, 2])
    first = widgets.choice("a", [1, 2])
    prepare = lambda: setattr(second, "value", first.value)  # noqa: E731
    widgets.explorer({"a": first, "b": second}, lambda a, b: drawn.append((a, b)) or [], prepare)
    first.value = 2
    assert drawn == [(1, 1), (2, 2)]


def test_without_a_kernel_a_reader_sees_a_picture_or_the_table_escaped():
    data = widgets.explorer({}, lambda: ["said", chart(1), chart(2)])._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")  # beside the widget
    assert "application/vnd.jupyter.widget-view+json" in data
    page = [f"said {NASTY}", pd.DataFrame({"column": [NASTY]})]
    found = widgets.on_paper(page)["text/html"]
    assert "<script>" not in found and "<img" not in found and "tex2jax_ignore" in found
    tabs = widgets.tabs({said: widgets.explorer({}, lambda said=said: [said]) for said in ("first", "second")})
    assert tabs.page() == ["first"]
    tabs.children[0].selected_index = 1
    assert tabs.page() == ["second"]


def test_text_of_tables_is_escaped():
    frame = pd.DataFrame([["<i>&", "50 % ± 1_a"], ["[x] ~^", r"\{$#}" + 90 * "long"]], columns=["a<b", 'q"'])
    page = widgets.html(frame)
    assert cells(page) == [["a<b", 'q"'], *frame.values.tolist()] and "<i>" not in page and "a<b" not in page
    assert "<script>" not in widgets.html(NASTY) and "<img" not in widgets.html(NASTY)
    frame.iloc[1, 1] = r"\{$#}"
    assert widgets.latex(frame).splitlines()[2:6] == [
        r'a\textless{}b & q" \\', r"\midrule", r"\textless{}i\textgreater{}\& & 50 \% $\pm$ 1\_a \\",
        r"{[}x{]} \textasciitilde \textasciicircum  & \textbackslash \{\$\#\} \\",
    ]  # fmt: skip
