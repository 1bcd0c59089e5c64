"""Figures: what is drawn is what the CSV says; every axis has its label; one command draws them all."""

import json

import numpy as np
import pandas as pd

from soar_lib.measure import drawing, plots

FILTER = pd.DataFrame(
    [["Algebra", 1, 10, 1], ["Algebra", 2, 8, 4], ["Geometry", 1, 5, 5]],
    columns=["topic", "level", "problems", "hard"],
)


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
    path = drawing.save(plots.filtering(FILTER), "drawn", FILTER, tmp_path)
    assert path == tmp_path / "drawn.png" and path.read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "data" / "drawn.csv"), FILTER)


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
