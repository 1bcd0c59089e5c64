"""The inner loop: a student is the same alone and among others, and learns only from its own problems."""

import pytest
import tiny
import torch

from soar_lib.records import Draw, Problem
from soar_lib.settings.student import OptimiserSettings, StudentSettings
from soar_lib.student import train as student
from soar_lib.student.train import Lesson

WORDS = ("abc", "hello", "2+2", "x", "why not", "12*7", "zz")


def problems(count: int, first: int = 0) -> list[Problem]:
    texts = [WORDS[(first + i) % len(WORDS)] + str(i) for i in range(count)]
    return [Problem(f"p{first + i}", text, text[0]) for i, text in enumerate(texts)]


def letters(golds: list[str], responses: list[str]) -> list[float]:
    """A real, graded reward a random model gets some of: 10 per digit, 120 for the gold answer's first letter."""
    return [
        120.0 if gold in response else 10.0 * sum(c.isdigit() for c in response)
        for gold, response in zip(golds, responses, strict=True)
    ]


def settings(kl: float = 0.0, steps: int = 5) -> StudentSettings:
    optimiser = OptimiserSettings(learning_rate=2e-3, kl=kl, warmup=2)
    return StudentSettings(
        steps=steps, batch=2, group=4, max_new_tokens=16, rank=4, alpha=8.0, optimiser=optimiser
    )  # fmt: skip


TWO = [Lesson(problems(4), (key,)) for key in (1, 2)]


@pytest.mark.parametrize("kl", [0.0, 0.01])
def test_students_together_equal_students_alone(kl):
    base = tiny.base()
    population = tiny.adapters(base, 3)
    sets = (problems(5), problems(3, 2), problems(4, 4))
    lessons = [Lesson(own, (0, "inner", i)) for i, own in enumerate(sets)]
    together, history = student.train(base, population, lessons, settings(kl), letters)
    for slot in range(3):
        one = population.select([slot])
        alone, single = student.train(base, one, [lessons[slot]], settings(kl), letters)
        for name, tensor in alone.state_dict().items():
            torch.testing.assert_close(tensor[0], together.state_dict()[name][slot], atol=2e-5, rtol=1e-4)
        assert [row["reward"][0] for row in single] == [row["reward"][slot] for row in history]


def test_training_moves_every_adapter_tensor_and_leaves_the_start_alone():
    base = tiny.base()
    population = tiny.adapters(base, 2)
    before = {name: tensor.clone() for name, tensor in population.state_dict().items()}
    trained, _ = student.train(base, population, TWO, settings(), letters)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(population.state_dict()[name], before[name]), name
        assert all(not torch.equal(tensor[slot], before[name][slot]) for slot in range(2)), name


def test_learning_raises_the_reward():
    base = tiny.base()
    population = tiny.adapters(base, 1).select([0, 0])
    longer = settings(steps=40)
    _, history = student.train(base, population, [Lesson(problems(4), (key,)) for key in (5, 6)], longer, letters)
    for slot in range(2):
        early = sum(row["reward"][slot] for row in history[:10])
        late = sum(row["reward"][slot] for row in history[-10:])
        assert late > early


def test_a_run_repeats_bit_for_bit():
    base = tiny.base()
    runs = [student.train(base, tiny.adapters(base, 2), TWO, settings(), letters) for _ in range(2)]
    (first, history), (second, again) = runs
    assert history == again
    assert all(torch.equal(t, second.state_dict()[name]) for name, t in first.state_dict().items())


def test_problem_order_takes_every_problem_once_per_epoch():
    order = student.problem_order(5, 12, (3,))
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5)) and len(order) == 12
    assert order[:5] != order[5:10]


def test_greedy_accuracy_is_the_verdict_of_the_greedy_answer():
    base = tiny.base()
    result = student.accuracy(base, tiny.adapters(base, 2), problems(3), Draw(12))
    assert result.shape == (2, 3) and not result.any()  # a random model writes no box


def test_wrong_numbers_of_problem_sets_are_refused():
    base = tiny.base()
    with pytest.raises(ValueError, match="2 students, 1 lessons"):
        student.train(base, tiny.adapters(base, 2), TWO[:1], settings(), letters)
