"""The least work of sampling and learning, counted step by step, and the machine's ceilings."""

import ceilings
import tiny
import torch

from soar_lib.settings.memory import shape_of


def test_the_least_work_of_decoding_is_the_sum_over_its_steps():
    of = shape_of(tiny.model().config)
    rows, prompts, prompt, tokens, slots, rank, at_once, number = 12, 4, 5, 3, 4, 2, 6, 2
    moved = 0
    for _ in range(rows // at_once):  # two prompts of different slots in each chunk
        for step in range(tokens):
            moved += number * of.parameters + 2 * 4 * rank * of.linears
            cached = at_once * (step + 1) + prompts // 2 * prompt
            moved += cached * number * of.layers * 2 * of.keys
    work = ceilings.decoding(of, number, rows, prompts, prompt, tokens, slots, rank, at_once)
    products = of.linear_weights + of.vocabulary * of.hidden
    assert work == ceilings.Work(moved, 2 * products * rows * tokens)
    assert ceilings.learning(of, 7, True).operations == 3 / 2 * ceilings.learning(of, 7, False).operations
    assert ceilings.Work(8, 6).share(2.0, ceilings.Rates(copy=4, product=2)) == 3 / 2  # operations are the tighter


def test_the_machine_is_measured():
    rates = ceilings.measure(torch.device("cpu"))
    assert rates.copy > 0 and rates.product > 0
