"""Figures of SOAR's runs: what is drawn is what the table says."""

import json
from pathlib import Path

import pandas as pd
import pytest

from soar_lib.measure import plots
from soar_lib.soar import figures as study_plots
from tests.measure.test_charts import assert_labelled, series
from tools.figures import by_topic


def run_folder(folder: Path, values: list[float], promoted: int) -> Path:
    """A run folder with the rounds of a run, two data sets of two repeats each."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"threshold": 0.01}))
    with (folder / "rounds.jsonl").open("w") as file:
        for index, value in enumerate(values, 1):
            record = {
                "round": index, "rewards": [[value - 0.02, value], [value, value + 0.02]], "baseline_accuracy": 0.125,
                "mean_reward": value, "moving_average": value, "promoted": index == promoted, "chosen": None,
            }  # fmt: skip
            file.write(json.dumps(record) + "\n")
    return folder


def test_timeline_draws_rewards_promotions_and_threshold(tmp_path):
    folders = [run_folder(tmp_path / "grounded" / f"seed{i}", [0.0, 0.03, -0.01][i:], 3 - i) for i in (0, 1)]
    data = study_plots.rounds_table(folders)
    assert data["lowest"].tolist() == pytest.approx([-0.01, 0.02, -0.02, 0.02, -0.02])
    chart = study_plots.timeline(data, 0.01)
    for panel, (_, part) in zip(chart.panels, data.groupby("run"), strict=True):
        rewards, average, promotion = panel.marks
        assert list(rewards.y) == pytest.approx(100 * part["mean_reward"])
        assert (list(rewards.low), list(rewards.high)) == (list(100 * part["lowest"]), list(100 * part["highest"]))
        assert list(average.y) == pytest.approx(100 * part["moving_average"])
        promoted = part[part["promoted"]]
        assert series(panel)["promotion"].tolist() == (promoted[["round", "moving_average"]] * [1, 100]).values.tolist()
        assert panel.rules == [("y", 1.0, "promotion threshold")]
    assert [panel.title for panel in chart.panels] == ["Grounded reward, seed 0", "Grounded reward, seed 1"]
    assert "baseline 12.5 %" in chart.panels[0].marks[0].hover[0]
    assert_labelled(chart)


def test_no_title_is_a_folders_name_and_a_run_without_rounds_can_be_drawn(tmp_path):
    (panel,) = study_plots.timeline(study_plots.rounds_table([run_folder(tmp_path / "my_run", [0.01], 1)])).panels
    assert "my_run" not in panel.title and panel.title
    assert_labelled(study_plots.timeline(study_plots.rounds_table([]), 0.01))


def test_teachers_show_rewards_and_promotions_so_far():
    rows = [
        ("grounded", seed, number, reward, promoted)
        for seed, line in ((0, [(0.02, True), (0.04, True)]), (1, [(0.0, False), (-0.02, True)]))
        for number, (reward, promoted) in enumerate(line, 1)
    ]
    rounds = pd.DataFrame(rows, columns=["arm", "seed", "round", "mean_reward", "promoted"])
    frame = study_plots.teacher_means(rounds[::-1])  # whatever order the rows have
    assert frame[["round", "mean_reward", "promotions"]].values.tolist() == [[1, 0.01, 0.5], [2, 0.01, 1.5]]
    assert study_plots.teacher_means(rounds, 3)["mean_reward"].tolist() == pytest.approx([0.01, 0.01])
    chart = study_plots.teachers(frame)
    above, below = (series(panel)["grounded reward"] for panel in chart.panels)
    assert above.tolist() == [[1, 1], [2, 1]] and below.tolist() == [[1, 0.5], [2, 1.5]]
    assert_labelled(chart)
    assert study_plots.teacher_means(rounds[:0]).empty


def test_topics_stand_beside_each_other_with_intervals():
    topics = {"a_b": 2, "c": 3}
    rows = [(topic, count, arm, 32, 0.5, 0.2, 1.0, 5, 64) for topic, count in topics.items() for arm in ("pq", "base")]
    columns = ["topic", "problems", "arm", "k", "mean", "low", "high", "seeds", "rollouts"]
    (panel,) = (chart := by_topic(pd.DataFrame(rows, columns=columns))).panels
    assert panel.ticks == {0: "a\nb\n(2)", 1: "c\n(3)"} and panel.ylim == (-2, 102)
    assert series(panel)["PQ"][:, 1].tolist() == [50, 50] and list(panel.marks[0].high) == [100, 100]
    assert len({x for points in series(panel).values() for x in points[:, 0]}) == 4
    assert_labelled(chart)


def test_a_border_is_where_the_second_phase_begins():
    from soar_lib.soar.report import border

    phases = {"pq": ["synthetic"] * 2 + ["hard"] * 2, "hard_only": ["hard"] * 4}
    rows = [(arm, step, phase) for arm, own in phases.items() for step, phase in enumerate(own)]
    curves = pd.DataFrame(rows, columns=["arm", "step", "phase"])
    assert border(curves) == 2 and border(curves[curves["arm"] == "hard_only"]) is None and border(curves[:0]) is None
    assert plots.curves(curves.assign(seed=0, reward=1.0), "step", "reward", border=2).panels[0].rules
