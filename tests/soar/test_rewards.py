"""Rewards and the promotion rule against values worked out by hand."""

import pytest
import torch

from soar_lib.settings.student import StudentSettings
from soar_lib.soar import rewards
from soar_lib.student import train as student


@pytest.mark.parametrize(
    ("gold", "response", "reward"),
    [
        ("42", r"6 x 7 = 42, so \boxed{42}", 120),
        (r"\frac{1}{2}", r"\boxed{0.5}", 120),
        ("12", r"first \boxed{7}, no: \boxed{12}", 120),
        ("12", r"\boxed{12} and yet \boxed{7}", 10),
        ("12", r"\boxed{12 or 13}", 20),
        ("12", r"12, that is \boxed{13}", 10),  # outside the box does not count
        ("12", r"\boxed{}", 0),  # an empty box is none
        ("12", "the answer is 12", 0),
        ("12", r"\boxed{12", 0),  # never closed
        ("12", "", 0),
    ],
)
def test_student_reward(gold, response, reward):
    assert rewards.student_rewards([gold], [response]) == [reward]


@pytest.mark.parametrize(
    ("gold", "response", "reward", "within"),
    [
        ("1", r"\boxed{0123456789}", 20, 10),  # the paper's rung, kept
        ("12", r"\boxed{12 or 13}", 20, 20),
        ("1", r"\boxed{0000000001}", 120, 120),  # right, however long
        ("1", r"<think>it is \boxed{1}", 0, 0),  # nothing in a thought that never ends
        ("1", "one", 0, 0),
    ],
)
def test_spraying_earns_the_papers_rung_unless_a_setting_bounds_the_box(gold, response, reward, within):
    settings = StudentSettings(longest_box=9)
    assert rewards.bounded(StudentSettings()) is rewards.student_rewards
    assert rewards.student_rewards([gold], [response]) == [reward]
    assert rewards.bounded(settings)([gold], [response]) == [within]


def test_spraying_is_counted_student_by_student():
    paid = torch.tensor([[[20.0, 120.0], [10.0, 20.0]], [[0.0, 10.0], [10.0, 120.0]]])
    measured = {"learning_rate": torch.ones(1), "grad_norm": torch.ones(2), "kl": torch.zeros(2)}
    assert student.metrics(0, paid, {}, measured)["sprayed"] == [0.5, 0.0]


def test_golds_and_responses_must_match():
    with pytest.raises(ValueError):
        rewards.student_rewards(["1", "2"], [r"\boxed{1}"])


def test_one_round_by_hand():
    gains = rewards.grounded_gains([[3 / 64, 1 / 64, 1 / 64, 2 / 64], [0.0, 0.0, 4 / 64, 0.0]], 1 / 64)
    assert gains == ((2 / 64, 0.0, 0.0, 1 / 64), (-1 / 64, -1 / 64, 3 / 64, -1 / 64))
    assert rewards.dataset_rewards(gains) == [3 / 256, 0.0]
    assert rewards.choose(gains) == (0, 2)  # sorted repeats 0, 0, 1/64, 2/64: the lower of the middle two


def test_promotion_waits_for_a_full_window_and_for_more_than_tau():
    history = [0.04, 0.0, -0.01, 0.02, 0.03]
    assert [rewards.promote(history[: t + 1], 3, 0.01) for t in range(5)] == [False, False, False, False, True]
    assert rewards.moving_average(history, 3) == pytest.approx(0.04 / 3)
    assert not rewards.promote([0.25, 0.25, 0.25], 3, 0.25)  # equal is not more


@pytest.mark.parametrize("repeats", [[0.1], [0.2, 0.1], [0.3, 0.1, 0.2], [0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.1, 0.5]])
def test_the_median_has_as_many_below_as_above(repeats):
    picked = repeats[rewards.median_repeat(repeats)]
    assert picked == sorted(repeats)[(len(repeats) - 1) // 2]
    assert picked in repeats


def test_the_intrinsic_reward_falls_with_success_and_is_nothing_without_any():
    assert [rewards.intrinsic_reward(right / 32) for right in (0, 1, 8, 31, 32)] == [0, 31 / 32, 0.75, 1 / 32, 0]
