"""Shared charts draw what their tables say, in the right order; one function smooths and averages all curves."""

import json
import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from soar_lib.measure import passk, plots
from soar_lib.measure.charts import SHARE
from soar_lib.measure.claims import COLUMNS as CLAIM_COLUMNS
from soar_lib.measure.claims import FAILS, HOLDS, MARGIN, UNDECIDED, Claim
from soar_lib.measure.names import STUDENTS, ordered
from soar_lib.measure.passk import COLUMNS
from soar_lib.measure.tables import name
from soar_lib.problems.filtering import Outcome
from soar_lib.records import Score
from soar_lib.soar.claims import CLAIMS
from soar_lib.soar.study import ARMS as STUDY_ARMS
from tests.measure.test_charts import assert_labelled, series

SWEEPS = [name for name, arm in STUDY_ARMS.items() if arm.sweep]
EVERY = [*STUDENTS, "pq_multi_turn", *(f"grounded_t_{name}" for name in SWEEPS)]


def scored(arms: list[str], ks=(1, 8), seeds: int = 3) -> pd.DataFrame:
    means = {(arm, k): 0.05 + 0.01 * index * k**0.5 for index, arm in enumerate(arms) for k in ks}
    rows = [[arm, k, mean, 0.005 * k, 0.9 + 0.01 * k, seeds, 640] for (arm, k), mean in means.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def curves(values: dict[tuple, list[float]]) -> pd.DataFrame:
    """Rewards by (arm, seed, student), from step 0 on."""
    rows = [[*key, step, value] for key, line in values.items() for step, value in enumerate(line)]
    return pd.DataFrame(rows, columns=["arm", "seed", "student", "step", "reward"])


def test_every_arm_has_a_name_for_readers():
    names = [name(arm) for arm in [*EVERY, *STUDY_ARMS]]
    assert len({*names}) == len(names) and not any("_" in name for name in names)
    assert name("pq_multi_turn") == "PQ, two turns" and name("new_one") == "new one"
    assert ordered(["odd", "pq", "base", "pq", "even"]) == ["base", "pq", "odd", "even"]


# ------------------------------------------------------------------ curves


def test_means_smooth_lines_then_average_students_then_seeds():
    data = curves({("pq", 0, 0): [0, 3, 6], ("pq", 0, 1): [2, 5, 8], ("pq", 1, 0): [4, 4], ("base", 0, 0): [1, 1, 1]})
    plain = plots.means(data, "step", "reward")
    assert plain.columns.tolist() == ["arm", "step", "reward", "sd", "seeds"]
    assert plain[["arm", "step"]].values.tolist() == [[arm, step] for arm in ("pq", "base") for step in (0, 1, 2)]
    assert plain["reward"].tolist() == [2.5, 4, 7, 1, 1, 1] and plain["seeds"].tolist() == [2, 2, 1, 1, 1, 1]
    assert plain["sd"].tolist() == pytest.approx([1.5 * 2**0.5, 0, *[math.nan] * 4], nan_ok=True)
    smooth = plots.means(data, "step", "reward", 3)
    # Seed 0: (2.5, 4, 5.5) after its ends took two points; seed 1 ends at step 1 and is not prolonged.
    assert smooth["reward"].tolist() == [3.25, 4.0, 5.5, 1, 1, 1] and smooth["seeds"].tolist() == [2, 2, 1, 1, 1, 1]
    without = plots.means(data.query("student == 0").drop(columns="student"), "step", "reward")
    assert without["reward"].tolist() == [2, 3.5, 6, 1, 1, 1]
    assert plots.means(data[:0], "step", "reward").empty


def test_nothing_is_smoothed_across_the_border_of_two_phases():
    data = curves({("pq", 0, 0): [8, 8, 8, 0, 0, 0]})
    assert plots.means(data, "step", "reward", 5, border=3)["reward"].tolist() == [8, 8, 8, 0, 0, 0]
    assert plots.means(data, "step", "reward", 5)["reward"].tolist() != [8, 8, 8, 0, 0, 0]
    (panel,) = plots.curves(data, "step", "reward", 5, border=3).panels
    assert panel.rules == [("x", 2.5, "phases meet")]


def test_curves_draw_the_means_and_one_sd_on_each_side_within_what_can_be():
    data = curves({("pq", 0, 0): [0, 0.5, 1], ("pq", 1, 0): [0.2, 0.9, 1], ("hard_only", 0, 0): [1, 1, 1]})
    (panel,) = (chart := plots.curves(data.assign(top_reward=data["reward"]), "step", "top_reward")).panels
    drawn = series(panel)
    assert list(drawn) == ["PQ", "Hard-Only"] and drawn["PQ"] == pytest.approx(np.array([[0, 10], [1, 70], [2, 100]]))
    spread = 20 / 2**0.5, 40 / 2**0.5
    assert list(panel.marks[0].low) == pytest.approx([max(0, 10 - spread[0]), 70 - spread[1], 100])
    assert list(panel.marks[0].high) == pytest.approx([10 + spread[0], 70 + spread[1], 100])
    assert "SD over seeds" in panel.title and "moving average" not in panel.title and "%" in panel.y
    assert "moving average of 3" in plots.curves(data, "step", "reward", 3).panels[0].title
    assert_labelled(chart)


@pytest.mark.parametrize("column", [name for name, (_, _, limits) in plots.QUANTITIES.items() if limits == SHARE])
def test_no_band_of_a_share_leaves_0_to_100(column):
    rows = [("pq", seed, 0, seed / 2) for seed in range(3)] + [("pq", seed, 1, 1 - seed % 2) for seed in range(3)]
    (panel,) = plots.curves(pd.DataFrame(rows, columns=["arm", "seed", "step", column]), "step", column).panels
    assert min(panel.marks[0].low) == 0 and max(panel.marks[0].high) == 100


# ------------------------------------------------------------------ estimates


def test_pass_at_k_draws_means_and_intervals_of_the_table():
    data = scored(["hard_only", "pq"], ks=(1, 4, 16))
    (panel,) = (chart := plots.pass_at_k(data, "the transfer set")).panels
    drawn = series(panel)
    assert list(drawn) == ["Hard-Only (3)", "PQ (3)"] and chart.heading == "arm (students)"
    for (_, part), mark in zip(data.groupby("arm", sort=False), panel.marks, strict=True):
        assert list(mark.x) == pytest.approx(part["k"], rel=0.1) and list(mark.y) == pytest.approx(100 * part["mean"])
        assert list(mark.low) == pytest.approx(100 * part["low"])
        assert list(mark.high) == pytest.approx(100 * part["high"])
    assert "pass@4: 5.0 % (2.0 to 94.0)" in panel.marks[0].hover[1] and "the transfer set" in panel.y
    assert_labelled(chart)


def test_arms_stand_in_the_order_of_the_tables_with_their_intervals():
    data = scored(EVERY[::-1])
    (panel,) = (chart := plots.arms(data, 8, "hard test")).panels
    titles = [row.removesuffix(" (3)") for row in panel.rows]
    assert [title for title in titles if title in STUDENTS.values()] == list(STUDENTS.values())
    values = data.query("k == 8").set_index("arm")["mean"]
    for place, (arm, mark) in enumerate(zip(ordered(EVERY[::-1]), panel.marks, strict=True)):
        assert (mark.x, mark.y) == ([pytest.approx(100 * values[arm])], [place])
        assert (mark.low, mark.high) == ([pytest.approx(4)], [pytest.approx(98)])
    assert panel.x == "pass@8 on hard test (%)" and plots.arms(scored(["pq"])).panels[0].x == "pass@8 (%)"
    assert_labelled(chart)
    with pytest.raises(ValueError, match="k = 3: no arm was measured at it; measured: 1, 8"):
        plots.arms(scored(["pq"]), 3)


def test_sweeps_stand_below_their_arm_and_a_lone_teacher_has_no_interval():
    swept = ["grounded_t_tau_x2", "pq_n_half", "grounded_t", "pq", "grounded_t_n_half"]
    data = scored(swept, seeds=10).assign(seeds=lambda table: [2 if "tau" in arm else 10 for arm in table["arm"]])
    (panel,) = (chart := plots.arms(data, 8)).panels
    names = ["PQ (10)", "PQ, n x 1/2 (10)", "Grounded-T (10)", "Grounded-T, tau x 2 (2)", "Grounded-T, n x 1/2 (10)"]
    assert panel.rows == names
    means = data.query("k == 8").set_index("arm")["mean"]
    assert [mark.x[0] for mark in panel.marks] == pytest.approx([100 * means[swept[i]] for i in (3, 1, 2, 0, 4)])
    assert math.isnan(panel.marks[3].low[0]) and panel.marks[4].low == [pytest.approx(4)]
    assert_labelled(chart)


def test_gaps_are_those_of_the_paired_test():
    scores = [
        Score(arm, run, 0, problem, 4, right, 64)
        for arm, rights in (("pq", (3, 4)), ("hard_only", (1, 3)), ("base", (0, 3)))
        for run in ("seed0", "seed1")[: 1 if arm == "base" else 2]
        for problem, right in zip("ab", rights)
    ]
    table = passk.gaps(scores, ["pq", "base"], "hard_only", 1)
    assert table["mean"].tolist() == pytest.approx([0.375, -0.125]) and table["seeds"].tolist() == [2, 1]
    found = passk.compare(scores, "pq", "hard_only", 1)
    assert table[["low", "high"]].iloc[0].tolist() == pytest.approx([found.low, found.high])
    (panel,) = (chart := plots.gaps(table, "hard_only")).panels
    assert panel.rows == ["PQ (2 seeds)", "Base (no training) (1 seed)"] and panel.rules == [("x", 0, "")]
    assert panel.marks[0].x == [pytest.approx(37.5)] and "Hard-Only" in panel.x
    assert_labelled(chart)
    assert passk.p_text(0.0) == "p < 0.01"


# ------------------------------------------------------------------ claims


def table_of_claims() -> pd.DataFrame:
    rows = []
    for index, claim in enumerate(CLAIMS):
        verdict = (HOLDS, FAILS, UNDECIDED)[index % 3]
        rows.append([claim.text.format(k=32), index, index - 1.5, index + 2, claim.paper, 5, *[math.nan] * 3, verdict])
    rows[2][1:4], rows[2][5] = [math.nan] * 3, 0
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def test_forest_shows_every_claim_with_its_unit_verdict_bound_and_the_papers_number():
    data, chart = table_of_claims(), plots.forest(table_of_claims(), CLAIMS)
    ratios = [index for index, claim in enumerate(CLAIMS) if "(ratio" in claim.text or "SD over" in claim.text]
    points = [index for index in range(len(CLAIMS)) if index not in ratios]
    assert [panel.x.split(",")[0] for panel in chart.panels] == ["points", "ratio"]
    for panel, own in zip(chart.panels, (points, ratios), strict=True):
        said = ["not measured" if index == 2 else f"{data['verdict'][index]} (5 seeds)" for index in own]
        assert panel.rows == [f"{data['claim'][index]}\n{text}" for index, text in zip(own, said, strict=True)]
        drawn = series(panel)
        assert drawn["paper"][:, 0] == pytest.approx(data["paper"].iloc[own], nan_ok=True)
        bounds = [MARGIN if CLAIMS[index].no_effect else CLAIMS[index].null for index in own]
        assert drawn["to be cleared"][:, 0].tolist() == bounds
        refuted = [CLAIMS[index].null if CLAIMS[index].no_effect else math.nan for index in own]
        assert ("refuted above" in drawn) == any(CLAIMS[index].no_effect for index in own)
        if "refuted above" in drawn:
            assert drawn["refuted above"][:, 0] == pytest.approx(refuted, nan_ok=True)
        for mark in (mark for mark in panel.marks if mark.name.startswith("ours")):
            part = data.iloc[[own[place] for place in mark.y]]
            assert mark.name == f"ours: {part['verdict'].iloc[0]}" and part["verdict"].nunique() == 1
            for values, column in ((mark.x, "ours"), (mark.low, "low"), (mark.high, "high")):
                assert list(values) == pytest.approx(part[column], nan_ok=True)
    assert_labelled(chart)


def test_forest_takes_bounds_from_the_claims_that_it_is_given():
    mine = [Claim("Mine gains less than 5 points of pass@{mine}", lambda study: None, no_effect=True)]
    data = table_of_claims()[:1].assign(claim="Mine gains less than 5 points of pass@850")
    drawn = series(plots.forest(data, mine).panels[0])
    assert drawn["to be cleared"].tolist() == [[MARGIN, 0]] and drawn["refuted above"].tolist() == [[0, 0]]
    (panel,) = plots.forest(data.assign(claim="Mine beats yours"), CLAIMS).panels
    assert series(panel)["to be cleared"].tolist() == [[0, 0]] and panel.x.startswith("points")


# ------------------------------------------------------------------ filtering


def test_filtering_counts_what_was_never_solved_and_leaves_empty_cells_empty(tmp_path):
    outcomes = [("Algebra", 1, 3), ("Algebra", 1, 0), ("Algebra", 2, 0), ("Geometry", None, 1)]
    rows = [asdict(Outcome(str(i), *one, 4)) for i, one in enumerate(outcomes)]
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = plots.filtering_table(tmp_path)
    assert table.columns.tolist() == ["topic", "level", "problems", "hard"]
    assert table.values.tolist() == [["Algebra", 1, 2, 1], ["Algebra", 2, 1, 1], ["Geometry", 0, 1, 0]]
    (panel,) = (chart := plots.filtering(table)).panels
    cells = {(x, y): text for mark in panel.marks for x, y, text in zip(mark.x, mark.y, mark.text, strict=True)}
    assert cells == {(1, 0): "50", (2, 0): "100", (0, 1): "0"} and panel.rows == ["Algebra", "Geometry"]
    assert panel.ticks == {0: "0", 1: "1", 2: "2"}
    assert_labelled(chart)
