"""The bootstrap against known spreads, and simulated experiments whose truth is known: how often it errs."""

import numpy as np
import pytest

from soar_lib.measure.bootstrap import Spread, bootstrap, sign_flip
from soar_lib.measure.tables import percent


def test_interval_of_problems_alone_has_the_known_width():
    # One run, one student, 400 problems of which a quarter are solved: the standard error is sqrt(.25 * .75 / 400).
    values = np.zeros((1, 400))
    values[:, :100] = 1.0
    low, high = bootstrap([values]).interval()
    assert high - low == pytest.approx(2 * 1.96 * (0.25 * 0.75 / 400) ** 0.5, rel=0.08)
    assert low < 0.25 < high


def test_runs_and_students_add_to_the_interval():
    even = np.full((4, 50), 0.5)
    students = even + np.array([[-0.2], [-0.1], [0.1], [0.2]])
    lone = bootstrap([students]).interval()
    nested = bootstrap([students - 0.2, students + 0.2]).interval()
    assert bootstrap([even, even]).interval() == pytest.approx((0.5, 0.5))
    assert lone[1] - lone[0] > 0.1
    assert nested[1] - nested[0] > 1.5 * (lone[1] - lone[0])


def test_runs_measured_on_the_same_problems_share_the_draw():
    # With other problems their chance averages out; with the same problems it does not.
    rng = np.random.default_rng(0)
    values = np.repeat(rng.integers(0, 2, size=(1, 60)).astype(float), 2, axis=0)
    shared = bootstrap([values] * 4, ["a"] * 4).interval()
    apart = bootstrap([values] * 4, ["a", "b", "c", "d"]).interval()
    assert shared[1] - shared[0] > 1.25 * (apart[1] - apart[0])


def test_interval_is_seeded():
    values = [np.random.default_rng(1).random((3, 20))]
    assert bootstrap(values, seed=1).interval() == bootstrap(values, seed=1).interval()
    assert bootstrap(values, seed=1).interval() != bootstrap(values, seed=2).interval()


def test_few_runs_widen_the_interval_as_students_t_does():
    # Five runs that differ, problems that do not: the interval of a mean of five numbers is known.
    means = np.array([0.1, 0.3, 0.2, 0.25, 0.4])
    low, high = bootstrap([np.full((2, 30), mean) for mean in means]).interval()
    assert high - low == pytest.approx(2 * 2.776 * means.std(ddof=1) / 5**0.5, rel=0.08)


def test_runs_with_problems_of_their_own_need_no_common_shape():
    rng = np.random.default_rng(2)
    runs = [rng.random((1, size)) for size in (4, 9, 6)]
    low, high = bootstrap(runs, range(3)).interval()
    assert low < np.mean([run.mean() for run in runs]) < high


def test_p_and_interval_agree():
    rng = np.random.default_rng(3)
    found = bootstrap([rng.normal(0.3, 0.5, size=(2, 12)) + 0.3 * rng.normal() for _ in range(5)])
    for level in (0.5, 0.9, 0.95, 0.99):
        for bound in found.interval(level):
            assert found.p_value(bound) == pytest.approx(1 - level, rel=0.02)
    assert found.p_value(found.mean) > 0.9
    assert found.p_value(100.0) < 1e-3


ALONE = [((1, 1), 1), ((1, 6), 1), ((4, 1), 1), ((4, 6), 1)]


@pytest.mark.parametrize(
    ("shape", "runs", "lone"), [(*one, True) for one in ALONE] + [((1, 6), 2, False), ((4, 6), 2, False)]
)
def test_one_run_without_spread_has_no_interval(shape, runs, lone):
    found = bootstrap([np.full(shape, 0.25)] * runs)
    assert np.isnan([*found.interval(), found.p_value()]).all() == lone
    assert percent(found.mean, *found.interval()) == ("25.0 (one run)" if lone else "25.0 (25.0–25.0)")
    if shape != (1, 1):
        low, high = bootstrap([np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)]).interval()
        assert low < high


def test_runs_that_each_had_a_problem_of_their_own_are_no_single_problem():
    assert bootstrap([np.ones((1, 1))] * 3, range(3)).interval() == (1.0, 1.0)


def test_without_any_spread_p_is_certain():
    sure = Spread(0.25, np.zeros(10), 1.0)
    assert (sure.p_value(), sure.p_value(0.25), sure.interval()) == (0.0, 1.0, (0.25, 0.25))


# Standard deviations of runs, students, problems, run x problem, and single values.
WORLDS = {
    "runs differ": (1.0, 0.5, 0.5, 0.5, 2.0),
    "problems differ": (0.1, 0.1, 2.0, 0.5, 1.0),
    "all differ": (0.3, 0.3, 1.0, 1.0, 2.0),
    "noise alone": (0.0, 0.0, 0.0, 0.0, 2.0),
}


def experiment(rng: np.random.Generator, spreads: tuple, runs: int, students: int, problems: int) -> np.ndarray:
    """Values [runs, students, problems] whose true mean is 0."""
    shapes = [(runs, 1, 1), (runs, students, 1), (1, 1, problems), (runs, 1, problems), (runs, students, problems)]
    return sum(spread * rng.normal(size=shape) for spread, shape in zip(spreads, shapes, strict=True))


@pytest.mark.parametrize("world", WORLDS)
def test_a_true_null_is_rejected_in_about_one_experiment_of_twenty(world):
    rng, count = np.random.default_rng(7), 300
    p = [bootstrap(list(experiment(rng, WORLDS[world], 5, 2, 30)), draws=400).p_value() for _ in range(count)]
    rejected = np.mean(np.array(p) < 0.05)
    # Three standard errors of a share of 300 about 5 %; noise alone may be rejected less often.
    assert rejected <= 0.05 + 3 * (0.05 * 0.95 / count) ** 0.5
    assert rejected >= (0.0 if world == "noise alone" else 0.01)


def test_the_interval_of_a_pass_rate_covers_it():
    """pass@8 of counts with run, student and problem effects: the truth is the mean over very many of all three."""
    rng, count, covered = np.random.default_rng(11), 200, 0

    def rates(runs: int, students: int, problems: int) -> np.ndarray:
        spreads = (0.8, 0.3, 1.5, 0.5, 0.0)
        solved = 1 / (1 + np.exp(2.5 - experiment(rng, spreads, runs, students, problems)))
        return 1 - (1 - rng.binomial(32, solved) / 32) ** 8

    truth = np.mean([rates(200, 1, 200).mean() for _ in range(20)])
    for _ in range(count):
        low, high = bootstrap(list(rates(5, 2, 40)), draws=400).interval()
        covered += low <= truth <= high
    assert 0.95 - 3 * (0.05 * 0.95 / count) ** 0.5 <= covered / count <= 1.0


def test_a_real_difference_is_found():
    rng = np.random.default_rng(13)
    shifted = [experiment(rng, (0.1, 0.1, 0.3, 0.3, 0.5), 5, 2, 30) + 0.6 for _ in range(40)]
    assert np.mean([bootstrap(list(values), draws=400).p_value() < 0.05 for values in shifted]) > 0.9


def test_the_sign_flip_test_holds_its_level_and_finds_a_real_difference():
    rng = np.random.default_rng(5)
    null = [sign_flip(rng.standard_t(3, size=8)) for _ in range(1000)]
    assert 0.035 < np.mean(np.array(null) < 0.05) < 0.065
    real = [sign_flip(rng.normal(2, 1, size=8)) for _ in range(200)]
    assert np.mean(np.array(real) < 0.05) > 0.95 and min(real) == 2 / 2**8
