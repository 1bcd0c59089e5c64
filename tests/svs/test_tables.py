"""Tables of an SvS folder: entropies stand beside the updates that they follow, shares count what was written."""

import math

import pandas as pd
import pytest
import svs_folder

from soar_lib.measure.passk import COLUMNS
from soar_lib.svs import report as svs_report
from soar_lib.svs import tables as svs_tables
from soar_lib.svs.report import SHARES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return svs_folder.write(tmp_path_factory.mktemp("tables") / "svs")


def test_steps_count_updates_and_completions_from_the_untrained_policy_on(folder):
    frame = svs_tables.steps(folder)
    assert list(frame.columns) == svs_tables.STEPS and set(frame["arm"]) == {"rlvr", "svs", "svs_guarded"}
    for arm in ("rlvr", "svs"):
        for seed in (0, 1):
            own = frame[(frame["arm"] == arm) & (frame["seed"] == seed)]
            assert own["step"].tolist() == [0, 1, 2, 3]
            assert own["rollouts"].tolist() == [spent * (seed + 1) for spent in (0, 10, 20, 30)]
            more = 0.02 * seed
            assert own["entropy"].tolist() == pytest.approx([0.5 + more, 0.4 + more, 0.3 + more, math.nan], nan_ok=True)
            ends = [svs_folder.END["base"] + more, math.nan, 0.2 + seed / 10, svs_folder.END[arm] + more]
            assert own["test_entropy"].tolist() == pytest.approx(ends, nan_ok=True)
            assert own["accuracy"].tolist()[:3] == [0.25 * (step + seed) for step in range(3)]


def test_without_the_untrained_arm_the_start_is_unknown(tmp_path):
    folder = svs_folder.write(tmp_path / "svs")
    (folder / "base" / "result.json").unlink()
    frame = svs_tables.steps(folder)
    assert frame.loc[frame["step"] == 0, "test_entropy"].isna().all() and len(frame) == 3 * 2 * 4
    for arm in svs_folder.ARMS[1:]:
        (folder / arm / "result.json").unlink()
    assert svs_tables.steps(folder).empty and svs_tables.written(folder).empty


def test_passes_are_those_of_one_set(folder):
    numbers = svs_report.table(folder)
    hard, test = svs_tables.passes(numbers), svs_tables.passes(numbers, "test")
    assert list(hard.columns) == COLUMNS and hard["k"].drop_duplicates().tolist() == [1, 4, 8]
    first = hard[hard["k"] == 1].set_index("arm")["mean"].to_dict()
    assert first == pytest.approx({arm: count / 8 for arm, count in svs_folder.RIGHT.items()})
    assert test["k"].drop_duplicates().tolist() == [1, 4] and test["mean"].iloc[0] == 0
    assert svs_tables.passes(numbers, "other").empty


def test_bins_weigh_steps_by_what_was_written():
    rows = [
        ("svs", 0, 0, 4, 1.0, 0.5, 0.25, 1.0, 1.0, 0.5),  # 4 readable, 2 valid
        ("svs", 0, 4, 12, 0.5, 1.0, 0.25, 0.0, 0.5, 0.0),  # 6 readable, all valid
        ("svs", 0, 5, 2, 0.0, math.nan, 0.0, 0.0, 0.0, 0.0),  # nothing readable
    ]
    found = svs_tables.binned(pd.DataFrame(rows, columns=["arm", "seed", "step", "written", *SHARES]))
    assert found["step"].tolist() == [0, 5] and found["written"].tolist() == [16, 2]
    expected = {"readable": 10 / 16, "valid": 8 / 10, "leaking": 4 / 16, "duplicate": 4 / 16, "rewarded": 2 / 16}
    assert found.loc[0, list(expected)].to_dict() == pytest.approx(expected)
    assert math.isnan(found.loc[1, "valid"]) and found.loc[1, "readable"] == 0


def test_bins_of_the_folder_agree_with_its_variants(folder):
    frame = svs_tables.binned(svs_report.variants(folder))
    first = frame[(frame["arm"] == "svs") & (frame["seed"] == 0)].iloc[0]
    expected = {
        "written": 6,
        "readable": 5 / 6,
        "valid": 3 / 5,
        "leaking": 1 / 6,
        "duplicate": 1 / 6,
        "rewarded": 3 / 6,
    }
    assert first[list(expected)].to_dict() == pytest.approx(expected, abs=1e-5)


def test_written_has_every_variant_of_every_arm(folder):
    frame = svs_tables.written(folder)
    assert list(frame.columns) == svs_tables.WRITTEN and len(frame) == sum(map(len, svs_folder.WRITTEN.values()))
    assert (frame["question"] == "").sum() == 1 and frame["arm"].value_counts().to_dict() == {
        "svs": 7,
        "svs_guarded": 1,
    }


def test_kinds_are_counted_with_how_often_they_are_paid(folder, tmp_path):
    frame = svs_tables.kinds(folder).set_index(["arm", "kind"])
    new, near, invalid, unreadable, unjudged = svs_tables.KINDS
    assert frame.index.tolist() == [*[("svs", kind) for kind in (new, near, invalid, unreadable)], ("svs_guarded", new)]
    assert frame["variants"].tolist() == [3, 1, 2, 1, 1]
    assert frame["share"].tolist() == pytest.approx([3 / 7, 1 / 7, 2 / 7, 1 / 7, 1], abs=1e-5)
    assert frame["rewarded"].tolist() == pytest.approx([2 / 3, 1, 1 / 2, 0, 0], abs=1e-5)
    other = svs_tables.kinds(svs_folder.write(tmp_path / "svs", question="Why?"))
    assert other.loc[other["arm"] == "svs", "kind"].tolist() == [unreadable, unjudged]
