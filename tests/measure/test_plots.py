"""Figures: what is drawn is what the CSV says; every axis has its label; one command draws them all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from soar_lib.measure import plots
from soar_lib.measure.passk import COLUMNS

ARMS = pd.DataFrame(
    [
        ["hard_only", 1, 0.01, 0.0, 0.02, 6, 2560],
        ["hard_only", 4, 0.03, 0.01, 0.05, 6, 2560],
        ["hard_only", 16, 0.08, 0.04, 0.12, 6, 2560],
        ["pq", 1, 0.1, 0.05, 0.15, 6, 2560],
        ["pq", 4, 0.2, 0.12, 0.25, 6, 2560],
        ["pq", 16, 0.4, 0.3, 0.55, 6, 2560],
    ],
    columns=COLUMNS,
)
FILTER = pd.DataFrame(
    [["Algebra", 1, 10, 1], ["Algebra", 2, 8, 4], ["Geometry", 1, 5, 5]],
    columns=["topic", "level", "problems", "hard"],
)


def rounds(folder: Path, values: list[float], promoted: int) -> Path:
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


def lines(axes) -> dict[str, np.ndarray]:
    """The plotted (x, y) pairs by label, those of error bars included."""
    found = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    bars = {bar.get_label(): bar.lines[0].get_xydata() for bar in axes.containers}
    return {label: values for label, values in (found | bars).items() if not label.startswith("_")}


def assert_labelled(figure) -> None:
    """Every panel names its y axis, and the lowest one (panels share it) the x axis; a colour bar names its scale."""
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert all(axes.get_ylabel() for axes in figure.axes)
    assert panels[-1].get_xlabel()


def test_saved_csv_is_what_was_drawn_and_reads_back_equal(tmp_path):
    path = plots.save(plots.pass_at_k(ARMS), "soar_nano", ARMS, tmp_path)
    assert path == tmp_path / "soar_nano.png" and path.read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "data" / "soar_nano.csv"), ARMS)


def test_pass_at_k_draws_means_and_intervals_of_the_table():
    figure = plots.pass_at_k(ARMS)
    drawn = lines(figure.axes[0])
    assert list(drawn) == ["Hard-Only (6 seeds)", "PQ (6 seeds)"]
    for (_, part), values in zip(ARMS.groupby("arm", sort=False), drawn.values(), strict=True):
        assert values[:, 0] == pytest.approx(part["k"], rel=0.1)
        assert values[:, 1] == pytest.approx(100 * part["mean"])
    ends = [bar.lines[2][0].get_segments() for bar in figure.axes[0].containers]
    assert [y for segments in ends for (_, y), _ in segments] == pytest.approx(100 * ARMS["low"])
    assert [y for segments in ends for _, (_, y) in segments] == pytest.approx(100 * ARMS["high"])
    assert_labelled(figure)


def test_filtering_table_counts_what_was_never_solved(tmp_path):
    outcomes = [("Algebra", 1, 3), ("Algebra", 1, 0), ("Algebra", 2, 0), ("Geometry", None, 1)]
    rows = [{"id": str(i), "topic": t, "level": n, "right": r, "wrong": 4} for i, (t, n, r) in enumerate(outcomes)]
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = plots.filtering_table(tmp_path)
    assert table.columns.tolist() == FILTER.columns.tolist()
    assert table.values.tolist() == [["Algebra", 1, 2, 1], ["Algebra", 2, 1, 1], ["Geometry", 0, 1, 0]]


def test_filtering_shows_the_share_of_each_cell_and_leaves_empty_cells_empty():
    figure = plots.filtering(FILTER)
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["10", "100", "50"]
    image = figure.axes[0].images[0].get_array()
    assert image[0].tolist() == [0.1, 0.5] and image[1, 0] == 1.0
    assert np.ma.is_masked(image[1, 1]) or np.isnan(image[1, 1])
    assert_labelled(figure)


def test_timeline_draws_rewards_promotions_and_threshold(tmp_path):
    folders = [rounds(tmp_path / "a", [0.0, 0.03, -0.01], 2), rounds(tmp_path / "b", [0.01, 0.02, 0.05], 3)]
    data = plots.rounds_table(folders)
    assert data["lowest"].tolist() == pytest.approx([-0.01, 0.02, -0.02, 0.0, 0.01, 0.04])
    figure = plots.timeline(data, 0.01)
    for axes, (_, part) in zip(figure.axes, data.groupby("run"), strict=True):
        drawn = lines(axes)
        assert drawn["mean reward"].tolist() == pytest.approx(part[["round", "mean_reward"]].values * [1, 100])
        promoted = part[part["promoted"]]
        assert drawn["promotion"].tolist() == pytest.approx(promoted[["round", "moving_average"]].values * [1, 100])
        assert drawn["promotion threshold"][0, 1] == 1.0
    assert_labelled(figure)
