"""Widgets show what the run folder says, follow their controls, and treat a model's text as text."""

import base64
import io
import json
import re
from html import unescape

import ipywidgets
import pandas as pd
import pytest
from matplotlib.image import imread

from soar_lib.measure import widgets


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def leaves(box):
    return [
        leaf for child in box.children for leaf in (leaves(child) if isinstance(child, ipywidgets.Box) else [child])
    ]


def cells(page):
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def drawn(page):
    """The size of the picture on a page; fails where there is none."""
    (data,) = re.findall(r'<img alt="[^"]+" [^>]*src="data:image/png;base64,([^"]+)">', page)
    return imread(io.BytesIO(base64.b64decode(data))).shape[1::-1]


@pytest.fixture
def filtered(tmp_path):
    def problem(number, topic):
        return {"id": f"p{number}", "question": f"{number} < {number}?", "answer": "<b>", "topic": topic, "level": 3}

    write(tmp_path / "hard_train.jsonl", [problem(0, "Algebra"), problem(1, "Geometry"), problem(2, "Geometry")])
    write(tmp_path / "hard_test.jsonl", [problem(3, "Algebra")])
    outcome = {"right": 0, "wrong": 5, "unparsed": 2, "timeout": 1}
    write(tmp_path / "outcomes.jsonl", [{"id": f"p{i}", **outcome} for i in range(4)])
    return tmp_path


@pytest.fixture
def taught(tmp_path):
    def record(number, chosen):
        return {
            "round": number, "rewards": [[0.125, -0.25], [0.0, 0.5]], "baseline_accuracy": 0.0625, "mean_reward": 0.01,
            "moving_average": 0.02, "promoted": chosen is not None, "chosen": chosen,
        }  # fmt: skip

    def problem(number, dataset, question):
        return {"round": number, "dataset": dataset, "question": question, "answer": "7"}

    write(tmp_path / "rounds.jsonl", [record(1, None), record(2, [1, 0])])
    written = [(1, 0, "first"), (1, 1, "second"), (2, 0, "third"), (2, 1, "<script>"), (2, 1, "<script>")]
    write(tmp_path / "problems.jsonl", [problem(*row) for row in written])
    return tmp_path


def parts(box):
    controls, page = box.children
    return *controls.children, page


def test_problem_browser_follows_its_controls(filtered):
    part, topic, number, page = parts(widgets.problem_browser(filtered))
    assert "0 &lt; 0?" in page.value and "5 wrong, 2 unparsed, 1 timeout" in page.value and number.max == 3
    topic.value = "Geometry"
    number.value = 2
    assert "2 &lt; 2?" in page.value and "one of 2" in page.value
    part.value = "hard_test"
    assert "No hard problem" in page.value
    topic.value = "all"
    assert "3 &lt; 3?" in page.value and number.value == 1


def test_round_browser_follows_its_controls(taught):
    number, dataset, page = parts(widgets.round_browser(taught))
    assert "first" in page.value and "promoted" not in page.value and "baseline 6.2 %" in page.value
    dataset.value = 1
    assert "second" in page.value and "first" not in page.value
    number.value = 2
    assert "<b>+0.0 promoted</b>, +50.0" in page.value and "+25.0" in page.value
    assert "&lt;script&gt;" in page.value and "(2 times)" in page.value and "<script>" not in page.value


def test_round_browser_needs_a_round(tmp_path):
    with pytest.raises(ValueError, match="no finished round"):
        widgets.round_browser(tmp_path)


def test_text_of_tables_is_escaped():
    frame = pd.DataFrame([["<i>&", "50 % ± 1_a"], ["[x] ~^", r"\{$#}"]], columns=["a<b", 'q"'])
    page = widgets.table(frame)
    assert cells(page) == [["a<b", 'q"'], *frame.values.tolist()] and "<i>" not in page and "a<b" not in page
    assert widgets.latex(frame).splitlines()[2:6] == [
        r'a\textless{}b & q" \\', r"\midrule", r"\textless{}i\textgreater{}\& & 50 \% $\pm$ 1\_a \\",
        r"{[}x{]} \textasciitilde \textasciicircum  & \textbackslash \{\$\#\} \\",
    ]  # fmt: skip


def test_controls_say_by_name_what_the_page_shows_and_may_hide_others():
    controls = {
        "first": widgets.choice("a", [("<b>", 1), ("two", 2)]),
        "more": widgets.several("b", [("x", 7), ("y", 8)]),
    }
    hide = lambda: widgets.show_only(controls, ["first"] + ["more"] * (controls["first"].value == 2))  # noqa: E731
    box = widgets.controlled(controls, lambda first, more: widgets.para(f"<{first}> {more}"), hide)
    page = leaves(box)[-1]
    assert page.value == "<p>&lt;1&gt; (7, 8)</p>" and controls["more"].layout.display == "none"
    controls["first"].value, controls["more"].value = 2, (8,)
    assert page.value == "<p>&lt;2&gt; (8,)</p>" and controls["more"].layout.display is None
