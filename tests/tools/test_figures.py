"""The project's figures: the committed tables and pictures are those that the committed runs give."""

from pathlib import Path

import pandas as pd
import pytest

from soar_lib.measure import charts, passk
from soar_lib.soar import claims
from tests.measure.test_charts import assert_labelled, series
from tools import diagram, figures

ROOT = Path(__file__).parents[2]
STUDY = ROOT / figures.REFERENCE / "study"
DATA = ROOT / "figures" / "data"


@pytest.fixture(scope="module")
def tables() -> charts.Tables:
    return {key: table for name, of_run in figures.RUNS.items() for key, table in of_run(STUDY.parent / name).items()}


def test_committed_tables_are_computed_anew_from_the_committed_runs(tables, tmp_path):
    charts.save_all({name: (data, None) for name, (data, _) in tables.items()}, tmp_path)
    for name in tables:
        again = pd.read_csv(tmp_path / "data" / f"{name}.csv")
        pd.testing.assert_frame_equal(again, pd.read_csv(DATA / f"{name}.csv"), obj=name)


def test_every_table_with_a_figure_has_its_picture(tables):
    drawn = {name for name, (_, figure) in tables.items() if figure}
    assert {path.stem for path in (ROOT / "figures").glob("*.png")} == drawn | set(figures.FROM_TABLES)


def test_pictures_are_the_same_each_time_and_the_csv_is_what_was_drawn(tables, tmp_path):
    few = {name: tables[name] for name in ("soar_nano", "comparisons", "soar_rounds")}
    first = {path.name: path.read_bytes() for path in charts.save_all(few, tmp_path)}
    assert sorted(first) == ["soar_nano.png", "soar_rounds.png"]
    assert {path.name: path.read_bytes() for path in charts.save_all(few, tmp_path)} == first
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "data" / "comparisons.csv"), few["comparisons"][0])


def test_topics_are_measured_on_their_own_problems(tables):
    data, topics = tables["soar_topics"][0], pd.read_json(STUDY / "filter" / "hard_test.jsonl", lines=True)
    assert data.groupby("topic")["problems"].first().to_dict() == topics["topic"].value_counts().to_dict()
    scores = claims.read_study(STUDY).scores
    ids = set(topics[topics["topic"] == "base_conversion"]["id"])
    own = [s for s in scores if s.problem in ids and s.arm == "pq"]
    mean = data[(data["topic"] == "base_conversion") & (data["arm"] == "pq")]["mean"].iloc[0]
    assert mean == pytest.approx(passk.table(own, [data["k"].iloc[0]])["mean"].iloc[0])


def test_the_diagram_of_the_two_loops_is_drawn_anew(tmp_path):
    assert diagram.draw(tmp_path / "x.svg").read_bytes() == (ROOT / "notebooks" / "two_loops.svg").read_bytes()


def test_without_runs_only_the_tables_of_other_commands_are_drawn(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nano_base_accuracy.csv").write_bytes((DATA / "nano_base_accuracy.csv").read_bytes())
    assert [path.name for path in figures.draw_all(tmp_path, tmp_path / "none")] == ["nano_base_accuracy.png"]


def test_accuracy_of_the_base_is_one_line_per_family():
    data = pd.DataFrame({"family": ["a_b", "a_b", "c", "c"], "depth": [1, 2, 1, 3], "accuracy": [0.9, 0.5, 1, 0.25]})
    (panel,) = (chart := figures.base_accuracy(data)).panels
    drawn = {name: points.tolist() for name, points in series(panel).items()}
    assert drawn == {"a b": [[1, 90], [2, 50]], "c": [[1, 100], [3, 25]]}
    assert_labelled(chart)


def test_every_figure_names_its_axes_and_keeps_shares_within_0_and_100(tables):
    for name, (data, draw) in tables.items():
        for panel in draw(data).panels if draw else ():
            assert (panel.x or panel.bare == "xy") and (panel.y or panel.bare), name
            if "(%)" in panel.y + panel.title and "points" not in panel.y:
                ends = [end for mark in panel.marks if mark.low is not None for end in (*mark.low, *mark.high)]
                assert all(-1e-9 <= end <= 100 + 1e-9 for end in ends if end == end), name
            assert not [title for title in [panel.title] if "/" in title], name
