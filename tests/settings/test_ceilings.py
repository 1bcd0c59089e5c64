"""The least work of a run, counted step by step, and the time that follows from it."""

import pytest
import tiny
import torch

from soar_lib.ladder.settings import LadderConfig
from soar_lib.settings import ceilings, memory
from soar_lib.settings.memory import shape_of
from soar_lib.settings.presets import preset
from soar_lib.settings.student import FilterConfig
from soar_lib.soar.settings import EvaluateConfig, SoarConfig
from soar_lib.svs.settings import SvsConfig

LLAMA = "meta-llama/Llama-3.2-3B-Instruct"
FAST = ceilings.Rates(copy=4.8e12, product=9.9e14)  # an H200 as it is sold


def test_the_least_work_of_decoding_is_the_sum_over_its_steps():
    of = shape_of(tiny.model().config)
    rows, prompts, prompt, tokens, slots, rank, at_once, number = 12, 4, 5, 3, 4, 2, 6, 2
    moved = 0
    for _ in range(rows // at_once):  # two prompts of different slots in each chunk
        for step in range(tokens):
            moved += number * of.parameters + 2 * 4 * rank * sum(i + o for i, o in of.linears)
            cached = at_once * (step + 1) + prompts // 2 * prompt
            moved += cached * number * of.layers * 2 * of.kv_heads * of.head_dim
    work = ceilings.decoding(of, number, rows, prompts, prompt, tokens, slots, rank, at_once)
    products = sum(i * o for i, o in of.linears) + of.vocabulary * of.hidden
    assert work == ceilings.Work(moved, 2 * products * rows * tokens)
    assert ceilings.learning(of, 7, True).operations == 3 / 2 * ceilings.learning(of, 7, False).operations
    assert ceilings.Work(8, 6).share(2.0, ceilings.Rates(copy=4, product=2)) == 3 / 2  # operations are the tighter


def test_a_run_takes_as_long_as_the_tighter_ceiling_asks():
    config, shape = preset("single_gpu", FilterConfig), memory.shape(LLAMA)
    work = ceilings.decoding(shape, 2, 5000 * 128, 0, memory.PROMPT, 1024, 0, 0, config.rows)
    hours = ceilings.least_hours(config, shape, FAST, 2, problems=5000)
    assert hours == pytest.approx(work.bytes / FAST.copy / 3600)
    slow = ceilings.Rates(FAST.copy, FAST.product / 1e3)
    assert ceilings.least_hours(config, shape, slow, 2, 5000) == pytest.approx(work.operations / slow.product / 3600)
    assert ceilings.least_hours(config, shape, FAST, 2, problems=2500) == pytest.approx(hours / 2, rel=1e-3)


@pytest.mark.parametrize("kind", [FilterConfig, SoarConfig, EvaluateConfig, LadderConfig, SvsConfig])
def test_every_command_on_a_gpu_has_a_least_time(kind, monkeypatch):
    monkeypatch.setattr(ceilings, "measure", lambda device: FAST)
    for name in ("t4", "single_gpu", "paper"):
        text = ceilings.describe_least_time(preset(name, kind, model=LLAMA), 100)
        assert text.startswith("at least ") and text.endswith("if all completions were of full length")


def test_nothing_is_said_of_a_model_that_was_timed_or_is_unknown():
    assert ceilings.describe_least_time(preset("nano")) == ""
    assert ceilings.describe_least_time(preset("nano", model="owner/unknown")) == ""


def test_a_machine_that_is_too_full_to_be_measured_says_nothing(monkeypatch):
    def full(device):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(ceilings, "measure", full)
    assert ceilings.describe_least_time(preset("paper", FilterConfig, model=LLAMA), 100) == ""


def test_the_machine_is_measured():
    rates = ceilings.measure(torch.device("cpu"))
    assert rates.copy > 0 and rates.product > 0
