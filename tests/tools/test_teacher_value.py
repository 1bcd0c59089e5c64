"""Teacher value on a real (tiny) base: teachers differ in what they write alone."""

import torch
from tiny_world import settings

from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.soar import run as soar
from tools.teacher_value import values


def test_teachers_are_compared_with_the_same_random_numbers(tiny_world):
    torch.set_num_threads(1)
    config = settings(tiny_world, rounds=2)
    base, (train, _) = load(config.model, dtype=torch.float32), soar.problems(config, tiny_world / "nowhere")
    unchanged = Adapters.create(base.model, 1, 2, 2.0, torch.Generator())
    moved = unchanged.load({name: tensor + 0.01 for name, tensor in unchanged.state_dict().items()})
    untrained, same, other = (list(values(base, one, config, train, 3)) for one in (None, unchanged, moved))
    assert untrained == same and len(same) == 2 * config.datasets >= 3
    rounds = [problem.round for _, problems in same for problem in problems]
    assert min(rounds) == config.rounds + 1 and all(len(problems) == config.dataset_size for _, problems in same)
    assert [problems for _, problems in other] != [problems for _, problems in same]
