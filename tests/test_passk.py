"""pass@k against brute force over all subsets, the bootstrap against known spreads, the table against both."""

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest

from soar_lib.analysis.passk import COLUMNS, Score, bootstrap_interval, difference, pass_at_k, table


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


def test_interval_of_problems_alone_has_the_known_width():
    # One run, one student, 400 problems of which a quarter are solved: the standard error is sqrt(.25 * .75 / 400).
    values = np.zeros((1, 400))
    values[:, :100] = 1.0
    low, high = bootstrap_interval([values])
    assert high - low == pytest.approx(2 * 1.96 * (0.25 * 0.75 / 400) ** 0.5, rel=0.08)
    assert low < 0.25 < high


def test_runs_and_students_add_to_the_interval():
    even = np.full((4, 50), 0.5)
    students = even + np.array([[-0.2], [-0.1], [0.1], [0.2]])
    lone = bootstrap_interval([students])
    nested = bootstrap_interval([students - 0.2, students + 0.2])
    assert bootstrap_interval([even, even]) == pytest.approx((0.5, 0.5))
    assert lone[1] - lone[0] > 0.1
    assert nested[1] - nested[0] > 1.5 * (lone[1] - lone[0])


def test_runs_measured_on_the_same_problems_share_the_draw():
    # With other problems their chance averages out; with the same problems it does not.
    rng = np.random.default_rng(0)
    values = np.repeat(rng.integers(0, 2, size=(1, 60)).astype(float), 2, axis=0)
    shared = bootstrap_interval([values] * 4, ["a"] * 4)
    apart = bootstrap_interval([values] * 4, ["a", "b", "c", "d"])
    assert shared[1] - shared[0] > 1.25 * (apart[1] - apart[0])


def test_interval_is_seeded():
    values = [np.random.default_rng(1).random((3, 20))]
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


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


def test_difference_is_paired():
    # Problems differ much, the arms by one sample of four on each: the interval of the difference has no width.
    rows = scores("pq", {("a", 0): [1, 2, 4], ("a", 1): [2, 3, 4]})
    rows += scores("hard_only", {("a", 0): [0, 1, 3], ("a", 1): [1, 2, 3], ("b", 0): [4, 4, 4]})
    assert difference(rows, "pq", "hard_only", 1) == pytest.approx((0.25, 0.25, 0.25))
    assert difference(rows, "hard_only", "pq", 1)[0] == pytest.approx(-0.25)
    with pytest.raises(ValueError, match="pq and ps share no run"):
        difference(rows, "pq", "ps", 1)
