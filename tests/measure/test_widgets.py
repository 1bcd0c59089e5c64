"""Widgets show what the run folder says, follow their controls, and treat a model's text as text."""

import json

import pytest

from soar_lib.measure import widgets


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


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
