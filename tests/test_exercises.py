"""The exercises' definitions agree with the library, and the checks tell right from wrong."""

import pytest
import torch

from soar_lib import rewards
from soar_lib.exercises import EXERCISES, check
from soar_lib.policy.update import advantages
from soar_lib.problems.filtering import Outcome


@pytest.mark.parametrize("name", EXERCISES)
def test_the_definition_passes_and_a_spoiled_one_fails(name):
    answer = EXERCISES[name].answer
    assert check(name, answer) == f"{name}: right"
    assert check(name, lambda *arguments: None) == f"{name}: not written yet"
    last = EXERCISES[name].cases[-1]
    wrong = check(name, lambda *arguments: "no" if arguments == last else answer(*arguments))
    assert wrong.startswith(f"{name}: for ") and wrong.endswith("found 'no'")


def test_leave_one_out_is_the_librarys():
    for (values,) in EXERCISES["leave_one_out"].cases:
        expected = advantages(torch.tensor(values)).tolist()
        assert EXERCISES["leave_one_out"].answer(values) == pytest.approx(expected)


def test_promotion_is_the_librarys():
    for case in EXERCISES["promoted"].cases:
        assert EXERCISES["promoted"].answer(*case) == rewards.promote(*case)


def test_hard_is_the_librarys():
    for outcomes, k in EXERCISES["hard"].cases:
        right = sum(outcomes[:k])
        assert EXERCISES["hard"].answer(outcomes, k) == Outcome("p", "t", 1, right, k - right).hard


def test_samples_drawn_agree_with_a_simulation():
    rate, k = EXERCISES["samples"].cases[-1]
    first = torch.distributions.Geometric(torch.tensor(rate))
    torch.manual_seed(0)
    drawn = (first.sample((200_000,)) + 1).clamp(max=k)
    assert EXERCISES["samples"].answer(rate, k) == pytest.approx(drawn.mean().item(), rel=0.01)
