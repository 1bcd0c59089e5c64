"""pass@k against brute force over all subsets, the table and the paired test against values worked out by hand."""

from dataclasses import asdict, replace
from fractions import Fraction
from itertools import combinations
from math import comb, nan

import pytest

from soar_lib.files import append_jsonl
from soar_lib.measure.passk import COLUMNS, by_student, compare, pass_at_k, read_scores, table
from soar_lib.records import Score


def brute_force(n: int, c: int, k: int) -> float:
    """The share of all k-subsets of n outcomes, c of them right, that hold a right one."""
    outcomes = [True] * c + [False] * (n - c)
    subsets = list(combinations(outcomes, k))
    return sum(any(subset) for subset in subsets) / len(subsets)


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_equals_brute_force_over_all_subsets(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            assert pass_at_k(n, c, k) == pytest.approx(brute_force(n, c, k), abs=1e-12)


@pytest.mark.parametrize("n, c, k", [(32, 1, 32), (1000, 3, 100), (10_000, 1, 1), (100_000, 17, 5_000)])
def test_pass_at_k_is_stable_for_large_n(n, c, k):
    exact = 1 - Fraction(comb(n - c, k), comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-9)


def test_pass_at_k_is_unbiased():
    # The expectation over binomial counts is 1 - (1 - p)^k exactly.
    n, k, p = 12, 4, 0.3
    mean = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


@pytest.mark.parametrize("n, c, k", [(4, 5, 1), (4, -1, 1), (4, 1, 0), (4, 1, 5)])
def test_pass_at_k_refuses_impossible_counts(n, c, k):
    with pytest.raises(ValueError, match="1 <= k <= n and 0 <= c <= n"):
        pass_at_k(n, c, k)


def scores(arm: str, counts: dict[tuple[str, int], list[int]], rollouts: int = 640) -> list[Score]:
    """Scores of four samples per problem from the right ones by (run, student)."""
    return [
        Score(arm, run, student, f"p{i}", 4, c, rollouts)
        for (run, student), row in counts.items()
        for i, c in enumerate(row)
    ]


def test_table_gives_means_seeds_and_rollouts_in_the_order_asked_for():
    rows = scores("base", {("a", 0): [0, 0], ("b", 0): [0, 0]}, rollouts=0)
    rows += scores("pq", {("a", 0): [4, 1], ("a", 1): [2, 0], ("b", 0): [0, 0], ("b", 1): [4, 4]})
    found = table(rows, ks=(1, 4), arms=("pq", "base", "ps"))
    assert list(found.columns) == COLUMNS
    assert found[["arm", "k", "seeds", "rollouts"]].values.tolist() == [
        ["pq", 1, 4, 640], ["pq", 4, 4, 640], ["base", 1, 2, 0], ["base", 4, 2, 0],
    ]  # fmt: skip
    assert found["mean"].tolist() == pytest.approx([15 / 32, 5 / 8, 0, 0])
    assert (found["low"] <= found["mean"]).all() and (found["mean"] <= found["high"]).all()


def test_table_refuses_students_measured_on_other_problems():
    rows = scores("pq", {("a", 0): [1, 2], ("a", 1): [1]})
    with pytest.raises(ValueError, match="a: not every student was measured"):
        table(rows, ks=(1,), arms=("pq",))


def test_a_comparison_is_paired():
    # Problems differ much, the arms by one sample of four on each: of one run such a difference has no interval.
    rows = scores("pq", {("a", 0): [1, 2, 4], ("a", 1): [2, 3, 4]})
    rows += scores("hard_only", {("a", 0): [0, 1, 3], ("a", 1): [1, 2, 3], ("b", 0): [4, 4, 4]}, rollouts=64)
    found = compare(rows, "pq", "hard_only", 1)
    assert (found.difference, found.low, found.high, found.p) == pytest.approx((0.25, *[nan] * 3), nan_ok=True)
    assert (found.runs, found.rollouts, found.other_rollouts) == (1, 640, 64)
    assert compare(rows, "hard_only", "pq", 1).difference == pytest.approx(-0.25)
    with pytest.raises(ValueError, match="pq and ps share no run"):
        compare(rows, "pq", "ps", 1)


def test_a_comparison_of_equal_arms_finds_nothing():
    rows = [row for arm in ("pq", "ps") for row in scores(arm, {("a", 0): [1, 2, 4], ("b", 0): [0, 3, 4]})]
    found = compare(rows, "pq", "ps", 4)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_comparison_refuses_other_problems_and_other_students():
    rows = scores("pq", {("a", 0): [1, 2], ("b", 0): [1, 2], ("b", 1): [1, 2]})
    with pytest.raises(ValueError, match="other problems or students"):
        compare(rows + scores("ps", {("a", 0): [1, 2, 3]}), "pq", "ps", 1)
    with pytest.raises(ValueError, match="other problems or students"):
        compare(rows + scores("ps", {("b", 0): [1, 2]}), "pq", "ps", 1)


def test_sets_of_problems_keep_apart(tmp_path):
    rows = scores("pq", {("a", 0): [4, 4]})
    rows += [replace(row, set="transfer", c=0) for row in rows]
    assert table(rows, (1,), ("pq",))["mean"].tolist() == [1.0]
    assert table(rows, (1,), ("pq",), set="transfer")["mean"].tolist() == [0.0]
    assert table(rows[:2], (1,), ("pq",), set="transfer").empty
    old = [{name: value for name, value in asdict(row).items() if name != "set"} for row in rows[:2]]
    append_jsonl(tmp_path / "scores.jsonl", old)  # as written before there were two sets
    assert {row.set for row in read_scores([tmp_path])} == {"hard_test"}


def test_problems_of_five_kinds_count_by_kind():
    """Nine problems of one kind and one of each of four others: every kind has a fifth of the mean."""
    rows = scores("base", {("a", 0): [0] * 13, ("b", 0): [0] * 13}) + scores(
        "pq", {("a", 0): [4] * 9 + [0] * 4, ("b", 0): [4] * 9 + [0] * 4}
    )
    kinds = {f"p{i}": f"k{max(0, i - 8)}" for i in range(13)}
    kinded = [replace(score, kind=kinds[score.problem]) for score in rows]
    assert compare(rows, "pq", "base", 1).difference == pytest.approx(9 / 13)
    assert compare(kinded, "pq", "base", 1).difference == pytest.approx(1 / 5)
    assert by_student(kinded, "pq", 1) == {"a": [pytest.approx(1 / 5)], "b": [pytest.approx(1 / 5)]}
    assert by_student(rows, "pq", 1) == {"a": [pytest.approx(9 / 13)], "b": [pytest.approx(9 / 13)]}
    fewer = [replace(score, kind="k1" if score.kind == "k4" else score.kind) for score in kinded]
    assert compare(fewer, "pq", "base", 1).difference == pytest.approx(9 / 13)
    assert table(kinded, [1]).set_index("arm")["mean"].to_dict() == pytest.approx({"base": 0, "pq": 1 / 5})


@pytest.mark.parametrize("mine, theirs, floor", [(0, 9, True), (10, 0, False), (5, 5, False), (5, 4, True)])
def test_a_comparison_says_when_it_stands_on_hardly_any_success(mine, theirs, floor):
    def of(arm, solved):
        return scores(arm, {("a", 0): [4] * solved + [0] * (20 - solved), ("b", 0): [0] * 20})

    assert compare(of("pq", mine) + of("base", theirs), "pq", "base", 1).floor == floor


def test_a_comparison_of_two_low_arms_is_at_the_floor():
    low = {(run, 0): [1] * 4 + [0] * 96 for run in "abcd"}  # sixteen successes in each arm, pass@1 of 1 %
    assert compare(scores("pq", low) + scores("base", low), "pq", "base", 1).floor
    assert not compare(scores("pq", low) + scores("base", low), "pq", "base", 4).floor
