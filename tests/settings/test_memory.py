"""Predicted memory: what can be counted exactly equals real tensors' bytes, the rest what torch was seen to allocate,
and a run that cannot fit is refused with settings that fit."""

import re
from dataclasses import replace
from operator import attrgetter

import pytest
import tiny
import torch
from torch.profiler import ProfilerActivity, profile

from soar_lib import meter
from soar_lib.engine import logprobs, lora, sampling, update
from soar_lib.engine.attention import Decoding, shared_prompts
from soar_lib.engine.sampling import Samples
from soar_lib.ladder.settings import LadderConfig
from soar_lib.records import Draw
from soar_lib.settings import memory
from soar_lib.settings.memory import Machine, predict, shape, shape_of
from soar_lib.settings.student import FilterConfig, OptimiserSettings, Phase, preset
from soar_lib.settings.values import ConfigError, change
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.svs.settings import SvsConfig

LLAMA = "meta-llama/Llama-3.2-3B-Instruct"
HALF = {"dtype": "bfloat16"}  # what "auto" is on a GPU
SIZES = {"t4": 15.6e9, "single_gpu": 79e9}  # what the smaller cards of either kind have free
DTYPES = {"t4": "float32", "single_gpu": "bfloat16"}  # what "auto" is there: a T4 has no bfloat16
PROMPT, TOKENS = 24, 48


def size(*tensors: torch.Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def peak(call) -> int:
    """The highest sum of bytes that torch held at a time of what was allocated inside."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def base(kind: str):
    """A tiny model that never ends a completion."""
    return replace(tiny.base(kind), stop=())


# ------------------------------------------------------------------ exact parts


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_weights_adapters_and_optimiser_are_those_of_the_tensors(kind):
    model, rank, slots = tiny.base(kind).model, 4, 3
    shape = shape_of(model.config)
    assert memory.weight_bytes(shape, 4, False) == size(*model.parameters())
    half = memory.weight_bytes(shape, 2, False)
    assert half == size(*(parameter.half() for parameter in model.parameters()))
    adapters = lora.Adapters.create(model, slots, rank, rank, torch.Generator())
    assert slots * memory.adapter_bytes(shape, rank) == size(*adapters.parameters())
    optimizer = torch.optim.AdamW(adapters.parameters())
    for parameter in adapters.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = [t for state in optimizer.state.values() for name, t in state.items() if name != "step"]
    gradients = [parameter.grad for parameter in adapters.parameters()]
    trained = size(*adapters.parameters(), *gradients, *moments)
    assert 4 * slots * memory.adapter_bytes(shape, rank) == trained


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_keys_and_values_are_those_of_the_buffers(kind):
    on, group = base(kind), 3
    prompts = [[5 + i, *range(10, 9 + PROMPT)] for i in range(2)]
    rows, owner = 2 * group, torch.arange(2).repeat_interleave(group)
    with torch.no_grad(), shared_prompts(on.model):
        prefill = sampling._prefill(on, [tuple(prompt[:-1]) for prompt in prompts])
        layout = Decoding(prefill, torch.full((2,), PROMPT - 1), owner)
        for step in range(TOKENS):
            sampling._forward(on, layout, torch.full((rows,), 7), torch.full((rows,), PROMPT - 1 + step))
    held = [*layout.keys.values(), *layout.values.values(), *prefill.keys.values(), *prefill.values.values()]
    phase = Phase("", 0, rows, 2, TOKENS, prompt=PROMPT)
    assert memory.sampling_bytes(shape_of(on.model.config), 4, phase)["cache"] == size(*held)


def test_the_papers_model_is_known_before_it_is_downloaded():
    known = shape(LLAMA)
    assert known.parameters == 3_212_749_824  # the model card's 3.21 B, the tied embedding once
    layer = 2 * 3072 * 3072 + 2 * 3072 * 1024 + 3 * 3072 * 8192
    assert known.linear_weights == 28 * layer
    four_bit = 28 * layer * 0.516 + 2 * (3_212_749_824 - 28 * layer)
    assert memory.weight_bytes(known, 2, four_bit=True) == pytest.approx(four_bit, rel=1e-3)
    each = 2 * (3072 + 3072) + 2 * (3072 + 1024) + 3 * (3072 + 8192)
    assert memory.adapter_bytes(known, 64) == 28 * each * 64 * 4
    row = memory.sampling_bytes(known, 2, Phase("", 0, rows=1, prompts=0, tokens=32))
    assert row["cache"] == 32 * 28 * 8 * 128 * 2 * 2


# ------------------------------------------------------------------ estimates against allocations


@pytest.mark.parametrize(
    ("kind", "merged", "checkpointing", "at_once"),
    [("llama", False, False, 0), ("qwen", True, False, 0), ("llama", False, True, 0), ("llama", False, False, 2000)],
)
def test_a_learning_step_allocates_what_is_predicted(kind, merged, checkpointing, at_once, monkeypatch):
    if not merged:
        monkeypatch.setattr(lora, "MERGE_LIMIT", 0)
    if at_once:
        monkeypatch.setattr(logprobs, "LOGITS", at_once)
    on, group = replace(tiny.base(kind, layers=6), stop=()), 6
    adapters = tiny.adapters(on, 1)
    ids = torch.randint(5, 90, (group, TOKENS), generator=torch.Generator().manual_seed(0))
    prompt, ones = torch.full((group, PROMPT), 7), torch.ones(group, TOKENS, dtype=torch.long)
    samples = Samples(prompt, torch.ones_like(prompt), ids, ones, ones.float(), torch.zeros_like(ones[:, 0]))
    for parameter in adapters.parameters():
        parameter.grad = torch.zeros_like(parameter)

    def step():
        with logprobs.differentiable(on, adapters, samples, checkpointing=checkpointing) as values:
            weights = update.row_weights(samples.mask, samples.slots)
            losses = update.policy_gradient_loss(values, torch.ones(group), samples.mask, OptimiserSettings(kl=0.0))
            (losses * weights).sum().backward()

    optimiser = OptimiserSettings(gradient_checkpointing=checkpointing)
    phase = Phase("", 0, group, 1, TOKENS, optimiser, prompt=PROMPT)
    told = sum(memory.learning_bytes(shape_of(on.model.config), 4, phase).values())
    assert told == pytest.approx(peak(step), rel=0.1)


@pytest.mark.parametrize("slots", [0, 2])
def test_sampling_allocates_no_more_than_is_predicted(slots, monkeypatch):
    monkeypatch.setattr(lora, "MERGE_LIMIT", 0)
    on, group = base("llama"), 8
    adapters = tiny.adapters(on, slots) if slots else None
    prompts, rows = [[5 + i, *range(10, 9 + PROMPT)] for i in range(4)], 4 * group
    numbers = torch.rand(rows, TOKENS, generator=torch.Generator().manual_seed(0))
    owners = [i % slots if slots else 0 for i in range(4)]
    held = peak(lambda: sampling.sample(on, adapters, prompts, owners, group, numbers, Draw(TOKENS)))
    told = memory.sampling_bytes(shape_of(on.model.config), 4, Phase("", 0, rows, 4, TOKENS, prompt=PROMPT))
    assert sum(told.values()) == pytest.approx(held, rel=0.1)


# ------------------------------------------------------------------ runs


@pytest.mark.parametrize("kind", [FilterConfig, SoarConfig, EvaluateConfig, LadderConfig, SvsConfig])
@pytest.mark.parametrize("name", list(SIZES))
def test_the_presets_of_gpus_fit_them(name, kind):
    config = preset(name, kind, model=LLAMA, dtype=DTYPES[name])
    assert predict(config, problems=360, runs=3).total < 0.95 * SIZES[name]


def test_the_authors_settings_want_more_than_one_gpu_has():
    assert predict(preset("paper", SoarConfig, **HALF)).total > 141e9


def single(**changes) -> memory.Memory:
    return predict(preset("single_gpu", SoarConfig, **changes, **HALF))


def test_each_setting_moves_the_part_it_should():
    now, fewer = single(), single(rows=96)
    parts = now.parts["weights"] + now.parts["adapters"] + now.parts["numbers"]
    assert now.phase.name in ("sampling", "reward") and now.certain == parts < now.total == sum(now.parts.values())
    assert fewer.total < now.total and fewer.phase.name == "learning"
    assert single(**{"student.rank": 32}).parts["adapters"] > 1.8 * now.parts["adapters"]
    assert single(reward="intrinsic", promotion=False).parts["adapters"] < 0.2 * now.parts["adapters"]
    many, few = (predict(preset("paper", EvaluateConfig, together=n, **HALF), 360, 3) for n in (0, 4))
    assert few.total < many.total


def test_a_backward_pass_holds_what_its_settings_say():
    def learned(limit: int, checkpointing: bool) -> dict[str, int]:
        optimiser = OptimiserSettings(max_tokens=limit, gradient_checkpointing=checkpointing)
        return memory.learning_bytes(shape(LLAMA), 2, Phase.learning("", 0, 64, 16, 1024, optimiser, "student."))

    plain, half, again = learned(4096, False), learned(2048, False), learned(4096, True)
    assert plain["activations"] == pytest.approx(2 * half["activations"], rel=0.1)
    assert plain["logits"] == half["logits"] == 20 * logprobs.LOGITS
    assert again["activations"] < 0.2 * plain["activations"]


def test_ladders_phases_are_those_of_its_settings():
    names = [phase.name for phase in LadderConfig().phases(100)]
    assert names[0] == "variants" and names[-1] == "scores" and sum(name.startswith("TTRL: ") for name in names) == 2
    assert not any(phase.name.startswith("TTRL") for phase in LadderConfig(arms=("base", "ladder")).phases(100))
    everyone, few, short = (
        predict(LadderConfig(**changes, **HALF))
        for changes in ({"together": 0}, {"together": 2}, {"together": 2, "rows": 128})
    )
    assert everyone.phase.name.startswith("TTRL") and few.total < 0.2 * everyone.total  # 600 students at a time
    assert everyone.parts["adapters"] > 600 * 5 * memory.adapter_bytes(shape(LLAMA), 64) and short.total < few.total
    small = {"samples": 1, "variant_samples": 0, "tested": 1, "originals": 50, "most_samples": 1}
    wide = LadderConfig(arms=("base", "ladder"), **small, **HALF)
    level = predict(replace(wide, student=replace(wide.student, batch=1)))
    row = 1024 * wide.variants.max_new_tokens * 2 * 2 * 28 * 8 * 128
    assert level.phase.name == "variants" and level.parts["cache"] > row  # 50 trees fill all rows, each with its prompt
    assert [phase.name for phase in replace(wide, check="answer").phases(1)][:2] == ["variants", "votes"]


def test_svs_holds_one_arms_seeds_and_a_part_of_a_large_group():
    one, three = (predict(SvsConfig(model=LLAMA, seeds=n, **HALF)) for n in (1, 3))
    assert three.parts["adapters"] == 3 * one.parts["adapters"] == 3 * 4 * memory.adapter_bytes(shape(LLAMA), 64)
    large = predict(SvsConfig(model=LLAMA, seeds=1, hard_samples=4096, **HALF))
    assert one.parts["cache"] == large.parts["cache"]  # rows bound it
    assert predict(SvsConfig(model=LLAMA, seeds=1, rows=128, **HALF)).total < one.total


# ------------------------------------------------------------------ the check


def with_free(monkeypatch, free: float, gpu: bool = True) -> None:
    """The check sees a machine with so many bytes free, and a GPU that computes in bfloat16."""
    monkeypatch.setattr(memory, "here", lambda: Machine("GPU memory" if gpu else "memory", int(free)))
    if gpu:
        monkeypatch.setattr(memory, "precision", lambda model, dtype: "bfloat16" if dtype == "auto" else dtype)


@pytest.mark.parametrize(
    ("config", "free", "named"),
    [
        (preset("paper", SoarConfig), 141e9, {"rows"}),
        (preset("single_gpu", FilterConfig), 40e9, {"rows"}),
        (preset("single_gpu", SoarConfig), 24e9, {"rows", "student.optimiser.max_tokens"}),
        (preset("single_gpu", SvsConfig, model=LLAMA), 24e9, {"rows", "optimiser.max_tokens"}),
        (preset("single_gpu", SoarConfig, **{"student.max_new_tokens": 64}), 16e9, {"teacher.optimiser.max_tokens"}),
    ],
)
def test_what_cannot_fit_is_refused_until_the_settings_named_are_lowered(config, free, named, monkeypatch):
    with_free(monkeypatch, free)
    seen = set()
    for _ in range(40):
        try:
            memory.check_memory(config)
            break
        except ConfigError as error:
            told = re.fullmatch(f"{LLAMA} does not fit: .* GB of GPU memory needed .* free; lower (\\S+)", str(error))
            seen.add(told[1])
            config = change(config, {told[1]: round(attrgetter(told[1])(config) * 0.8)})
    else:
        pytest.fail("forty refusals")
    assert named <= seen


def test_a_base_in_memory_already_is_not_counted_again(monkeypatch):
    config, found = preset("single_gpu", SoarConfig), single()
    with_free(monkeypatch, found.total - found.parts["weights"] / 2)
    with pytest.raises(ConfigError, match="does not fit"):
        memory.check_memory(config)
    memory.check_memory(config, loaded=True)


@pytest.mark.parametrize(
    ("config", "free", "gpu"),
    [
        (preset("single_gpu", SoarConfig), 1e9, True),  # weights
        (preset("nano", FilterConfig), 1e6, False),
        (LadderConfig(), 141e9, True),  # 600 students in training
    ],
)
def test_where_no_fewer_completions_help_other_ways_are_named(config, free, gpu, monkeypatch):
    with_free(monkeypatch, free, gpu)
    message = "does not fit: .*memory needed .* free; use a smaller model, four_bit = true on a GPU, or adapters"
    with pytest.raises(ConfigError, match=message):
        memory.check_memory(config, 100)


def test_main_memory_refuses_only_what_is_certain(monkeypatch):
    config = preset("nano", SoarConfig)
    found = predict(config)
    with_free(monkeypatch, (found.certain + found.total) / 2, gpu=False)
    memory.check_memory(config)
    with_free(monkeypatch, found.certain - 1, gpu=False)
    with pytest.raises(ConfigError, match="nano does not fit"):
        memory.check_memory(config)


@pytest.mark.network
def test_what_cannot_be_inspected_is_said_and_passes(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for model in ("nobody/never-downloaded", str(tmp_path)):
        config = preset("nano", SoarConfig, model=model)
        said = meter.describe_memory(config)
        assert said.startswith(f"memory not predicted: {model} cannot be inspected on this machine (")
        assert meter.predicted((config, 0, 1))["peak_bytes"] is None
        memory.check_memory(config)
    assert meter.describe_memory(preset("nano", SvsConfig)).startswith("at most ")


def test_this_machine_says_what_it_has():
    config, machine = preset("nano", SoarConfig), memory.here()
    assert machine.free > 10**8
    said, phase = meter.describe_memory(config), predict(config).phase.name
    assert said.startswith(f"at most {memory.size(predict(config).total)} of ") and f" free ({phase}: " in said
    assert (machine.kind == "GPU memory") == torch.cuda.is_available()
