"""Why two measures of the second world disagree: planted problems, runs and data sets, and the committed study."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from soar_lib.soar import claims
from tools import coverage, mix

STUDY = Path("runs") / "reference" / "study2"


def problems(*roles: str, skills: str = "", **more) -> pd.DataFrame:
    return pd.DataFrame({"role": roles, "skill": [*skills] or [""] * len(roles)}).assign(**more)


def test_problems_are_counted_by_what_they_are():
    found = coverage.counts(problems(mix.USEFUL, mix.USEFUL, "stone, wrong", "decoy", "easy", skills="aabcd"))
    assert found == {"useful": 2, "wrong": 1, "decoys": 1, "skills": 1.0}
    assert coverage.counts(problems("easy"))["skills"] == 0
    assert coverage.counts(problems(*[mix.USEFUL] * 4, skills="abab"))["skills"] == pytest.approx(2)


def test_a_gap_that_skills_explain_is_gone_at_equal_skills():
    rng, rows = np.random.default_rng(0), []
    for arm, skills in ((coverage.DISAGREEMENT, 4), (coverage.PROGRESS, 3)):
        for seed in range(8):
            own, useful = skills + rng.normal(0, 0.3), rng.uniform(15, 25)
            reached = 0.01 * useful + 0.2 * own - 0.5 + rng.normal(0, 0.02)
            rows.append(dict(arm=arm, seed=seed, student=0, useful=useful, skills=own, **{"pass@32": reached}))
    table = coverage.gaps(pd.DataFrame(rows)).set_index("compared")
    useful, both = table.loc["at equal useful problems"], table.loc["and at equal skills"]
    assert useful["low"] > 5 and useful["ours"] == pytest.approx(20, abs=6)
    assert both["low"] < 0 < both["high"] and abs(both["ours"]) < 5 and list(table["runs"]) == [16] * 3


def test_the_interval_is_that_of_a_regression_without_covariates():
    """Two groups and nothing else: Student's t test with pooled variance."""
    values = {coverage.PROGRESS: [0.1, 0.2, 0.6], coverage.DISAGREEMENT: [0.5, 0.9, 0.7]}
    runs = pd.DataFrame([{"arm": arm, "pass@32": value} for arm, own in values.items() for value in own])
    found = stats.ttest_ind(values[coverage.DISAGREEMENT], values[coverage.PROGRESS])
    interval = found.confidence_interval()
    expected = (40.0, 100 * interval.low, 100 * interval.high)
    assert coverage.difference(runs, ()) == pytest.approx(expected)


def test_rewards_are_averaged_by_what_is_in_data_sets():
    parts = [
        problems(*[mix.USEFUL] * 4, "easy", skills=f"{skills} ", round=number, dataset=0, reward=reward)
        for number, (skills, reward) in enumerate([("aaaa", 0.1), ("aaaa", 0.3), ("abab", 0.4)])
    ]
    parts.append(problems(*[mix.USEFUL] * 3, skills="abc", round=9, dataset=0, reward=9.0))  # too few
    written = {("no_promotion", 0): pd.concat(parts), ("intrinsic", 0): problems(mix.USEFUL)}
    table = coverage.coverage(written)
    assert table[["by", "count", "sets"]].values.tolist() == [
        ["useful", 3, 1], ["useful", 4, 3], ["skills", 1, 2], ["skills", 2, 1],
    ]  # fmt: skip
    assert table["mean"].tolist() == pytest.approx([9.0, 0.8 / 3, 0.2, 0.4], abs=1e-4)
    drawn = coverage.by_content(table.assign(seeds=[1, 8, 8, 8])).panels
    assert [len(panel.marks[0].x) for panel in drawn] == [1, 2] and drawn[1].ticks == {1: "1\n(2)", 2: "2\n(1)"}


def test_what_a_reward_says_after_the_first_promotion_is_told_beside_the_same_rounds_without():
    def wrote(rewards: dict) -> pd.DataFrame:
        sets = [
            problems(*[mix.USEFUL] * useful, "easy", round=number, dataset=useful, reward=reward)
            for number, earned in rewards.items() for useful, reward in earned.items()
        ]  # fmt: skip
        return pd.concat(sets)

    rounds = pd.DataFrame({"seed": 3, "round": [1, 2, 3, 4], "promoted": [False, True, False, True]})
    early = {1: {1: 9.0, 2: 0.0}, 2: {1: 9.0, 2: 0.0}}  # up to the promotion nothing counts
    written = {
        ("promotion", 3): wrote(early | {3: {1: 0.1, 2: -0.1}, 4: {3: -0.3}}),
        ("no_promotion", 3): wrote(early | {3: {1: 0.1, 2: 0.3}, 4: {2: 0.1}}),
    }
    table = coverage.signal(rounds, written).set_index("arm")
    assert table[["seed", "sets"]].values.tolist() == [[3, 3], [3, 3]]
    assert table["mean"].tolist() == pytest.approx([-0.1, 0.1667]) and table["sd"].iloc[0] == pytest.approx(0.2)
    assert table["r"].tolist() == [-1.0, 0.5]


def test_the_committed_tables_are_those_of_the_committed_study():
    data = Path("figures") / "data"
    table = coverage.students(STUDY, claims.read_study(STUDY).scores)
    pd.testing.assert_frame_equal(table, pd.read_csv(data / "world_students.csv"))
    pd.testing.assert_frame_equal(coverage.gaps(table), pd.read_csv(data / "world_gaps.csv"))
    left, right = coverage.by_student(table).panels
    assert sum(len(mark.x) for mark in left.marks) == sum(len(mark.x) for mark in right.marks) == len(table)
