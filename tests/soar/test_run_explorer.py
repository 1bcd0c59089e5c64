"""What teachers did: a run's rounds, after it and while it goes on, and the diversity of a study's problems."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from tiny_world import settings

from soar_lib.files import jsonl
from soar_lib.hooks import Hooks
from soar_lib.measure import diversity
from soar_lib.records import SyntheticProblem
from soar_lib.soar import report, run_explorer
from soar_lib.soar.run import run
from tests.measure.test_charts import NASTY, series
from tests.measure.test_widgets import charts, leaves, table


@pytest.fixture
def taught(tmp_path):
    def record(number, chosen):
        return {
            "round": number, "rewards": [[0.125, -0.25], [0.0, 0.5]], "baseline_accuracy": 0.0625, "mean_reward": 0.01,
            "moving_average": 0.02, "promoted": chosen is not None, "chosen": chosen,
        }  # fmt: skip

    def problem(number, dataset, question):
        return asdict(SyntheticProblem(f"{number}/{dataset}", question, "7", question, number, dataset))

    (tmp_path / "rounds.jsonl").write_text(jsonl([record(1, None), record(2, [1, 0])]))
    written = [(1, 0, "first"), (1, 1, "second"), (2, 0, "third"), (2, 1, NASTY), (2, 1, NASTY)]
    (tmp_path / "problems.jsonl").write_text(jsonl([problem(*row) for row in written]))
    return tmp_path


def test_round_browser_follows_its_controls_and_a_click_on_a_round(taught):
    explorer = run_explorer.round_browser(taught, 0.01)
    number, dataset = leaves(explorer.children[0])
    timeline, said, gains, _, written = explorer.page()
    assert series(timeline.panels[0])["promotion"].tolist() == [[2, 2]]
    assert said == "Round 1: baseline 6.2 %, mean reward +1.00, moving average +2.00 points"
    assert gains["gains of its students"].tolist() == ["+12.5, -25.0", "+0.0, +50.0"]
    assert written.values.tolist() == [["first", "7", 1]]
    dataset.value = 1
    assert explorer.page()[-1].values.tolist() == [["second", "7", 1]]
    figure = explorer.children[1].children[0]
    stars = next(trace for trace in figure.data if trace.name == "promotion")
    stars._dispatch_on_click(type("Points", (), {"point_inds": [0]})(), None)
    assert number.value == 2 and timeline.panels[0].marks[0].hover[1].endswith("promoted")
    assert explorer.page()[0].panels[0].rules[1] == ("x", 2, "round shown below")
    gains = explorer.page()[2]
    assert gains["gains of its students"].tolist()[1] == "+0.0 (promoted), +50.0" and gains["reward"][1] == "+25.0"
    assert explorer.page()[-1].values.tolist() == [[NASTY, "7", 2]]
    assert "&lt;script&gt;" in leaves(explorer)[-1].value and "<script>" not in leaves(explorer)[-1].value


def test_round_browser_needs_a_round(tmp_path):
    (tmp_path / "rounds.jsonl").write_text("")
    (tmp_path / "problems.jsonl").write_text("")
    with pytest.raises(ValueError, match="no finished round"):
        run_explorer.round_browser(tmp_path)


def test_the_timeline_grows_while_a_run_goes_on(tiny_world, tmp_path):
    """A real run of a tiny model: after each round, as the hook is told, the widget shows one more."""
    config = settings(tiny_world)
    shown, redraw = run_explorer.live_timeline(tmp_path / "run", config.threshold)
    seen = [rewards(shown)]

    def log(rows):
        redraw(rows)
        seen.append(rewards(shown))

    figure = shown.children[0].children[0]
    result = run(config, tmp_path / "run", hooks=Hooks(progress=False, log=log))
    means = [100 * record.mean_reward for record in result.rounds]
    assert seen[0] == [] and seen[-1] == pytest.approx(means) and len(means) == config.rounds > 1
    assert {len(own) for own in seen} == {*range(config.rounds + 1)}
    assert shown.children[0].children[0] is figure
    again, _ = run_explorer.live_timeline(tmp_path / "run", config.threshold)
    assert rewards(again) == pytest.approx(means) and "image/png" in again._repr_mimebundle_()


def rewards(shown) -> list[float]:
    """What the timeline's widget draws as mean rewards."""
    (figure,) = shown.children[0].children
    return list(next(trace for trace in figure.data if (trace.name or "").startswith("mean reward")).y)


# ------------------------------------------------------------------ diversity


def problems(count: int = 8) -> pd.DataFrame:
    rows = [
        ["grounded", seed, number, 0, f"question {seed} {number} {i % (1 + 3 * (number > 1))}", "1", 0.1, "", "correct"]
        for seed in (0, 1)
        for number in (1, 2, 3, 4)
        for i in range(count)
    ]
    return pd.DataFrame(rows, columns=report.PROBLEMS)


def test_vendi_windows_count_rounds_together_and_leave_out_small_ones():
    data = problems()
    vectors = np.eye(data["question"].nunique())[pd.factorize(data["question"])[0]]
    table = run_explorer.vendi_windows(data, vectors, 1, 1.0, 8)
    assert table[["seed", "round"]].values.tolist() == [[s, r] for s in (0, 1) for r in (1, 2, 3, 4)]
    assert table["vendi"].tolist() == pytest.approx(2 * [1, 4, 4, 4])  # one question eight times, then four twice
    both = run_explorer.vendi_windows(data, vectors, 3, 1.0, 16)
    assert both[["seed", "round"]].values.tolist() == [[0, 1], [1, 1]] and both["vendi"].min() > 4
    assert run_explorer.vendi_windows(data, vectors, 1, 1.0, 9).empty


def test_vendi_explorer_follows_its_controls():
    states = diversity.Embedding("states", lambda texts: np.array([[len(text), 1.0] for text in texts]))
    data = pd.concat([problems(), *(problems().assign(arm=arm) for arm in ("n_half", "rounds_x6"))])
    explorer = run_explorer.vendi_explorer(data, {"n-grams": diversity.tfidf(), "states": states})
    embedding, q, window, size, arms = leaves(explorer.children[0])
    assert [value for _, value in arms.options] == ["grounded", "rounds_x6"]  # the sets of n_half are smaller
    assert arms.value == ("grounded",) and (size.value, size.max, window.max) == (8, 16, 4)

    def drawn():
        (panel,) = charts(explorer.page())[0].panels
        return panel.title, panel.y, series(panel)["grounded reward"].tolist()

    first = drawn()
    assert first[0].startswith("n-grams; 8 problems of one round") and len(first[2]) == 4
    for control, value in ((q, 2.0), (embedding, "states"), (window, 2), (size, 4)):
        before, control.value = drawn(), value
        assert drawn() != before
    assert len(drawn()[2]) == 2 and table(explorer.page())[1][0] == "grounded reward"
    window.value, size.value = 1, 16
    assert explorer.page() == ["No arm wrote 16 problems in one round: choose fewer problems or more rounds."]
