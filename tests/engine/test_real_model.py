"""The engine on a real model: `SOAR_REAL_MODEL` names the folder of a chat model; skipped without it."""

import os
from dataclasses import replace

import pytest
import torch

from soar_lib.engine import base as bases
from soar_lib.engine import logprobs, sampling
from soar_lib.engine.lora import Adapters
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import generator
from soar_lib.records import Draw, Problem
from soar_lib.settings.student import OptimiserSettings, StudentSettings
from soar_lib.student import train as student
from soar_lib.student.train import Lesson

FOLDER = os.environ.get("SOAR_REAL_MODEL")
pytestmark = pytest.mark.skipif(not FOLDER, reason="SOAR_REAL_MODEL names no folder")
SUMS = [Problem(f"{a}", f"What is {a} + 5?", str(a + 5)) for a in (2, 3, 4, 12)]
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.05}


@pytest.fixture(scope="module")
def base():
    return bases.load(FOLDER)


def test_it_answers_and_its_chosen_tokens_are_likely(base):
    asked = [[{"role": "user", "content": f"{problem.question} Answer with the number alone."}] for problem in SUMS]
    drawn = sampling.complete(base, None, asked, [0] * 4, 1, None, Draw(6))
    texts = sampling.decode(base, drawn)
    assert sum(problem.answer in text for problem, text in zip(SUMS, texts, strict=True)) >= 2, texts
    assert drawn.logprobs[drawn.mask.bool()].exp().mean() > 0.5


def every_other(golds: list[str], responses: list[str]) -> list[float]:
    """Unequal rewards in every group, whatever the model writes."""
    return [float(number % 2) for number in range(len(responses))]


def test_a_student_is_the_same_alone_and_among_others_and_learns(base):
    optimiser = OptimiserSettings(learning_rate=1e-3, warmup=0)
    settings = StudentSettings(steps=1, batch=1, group=2, max_new_tokens=16, rank=8, alpha=8.0, optimiser=optimiser)
    start = Adapters.create(base.model, 2, 8, 8.0, generator(0, "real"))
    lessons = [Lesson(SUMS, (0, "real", number)) for number in range(2)]
    trained, history = student.train(base, start, lessons, settings, every_other)
    assert history[0]["signal"] == [1, 1]
    assert all(bool(tensor[slot].any()) for tensor in trained.b.values() for slot in range(2))  # B began at 0
    asked = [base.encode(student_messages(problem.question)) for problem in SUMS[:2]]
    numbers = torch.rand(4, 12, generator=generator(0, "numbers"))
    samples = sampling.sample(base, trained, asked, [0, 1], 2, numbers, Draw(12))
    with torch.no_grad():
        together = logprobs.completion_logprobs(base, trained, samples)
        for slot in range(2):
            rows = samples.slots == slot
            own = replace(samples.select(rows), slots=torch.zeros(int(rows.sum()), dtype=torch.long))
            alone = logprobs.completion_logprobs(base, trained.select([slot]), own)
            gap = (alone - together[rows])[own.mask.bool()].abs().mean()
            assert gap <= TOLERANCE[base.model.dtype]
