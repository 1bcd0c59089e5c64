"""Predicted memory: what can be counted exactly equals real tensors' bytes, the rest what torch was seen to allocate,
and a run that cannot fit is refused with settings that fit."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch.profiler import ProfilerActivity, profile

from soar_lib.engine import logprobs, lora, sampling, update
from soar_lib.engine.attention import Decoding, shared_prompts
from soar_lib.engine.sampling import Samples
from soar_lib.ladder.settings import LadderConfig
from soar_lib.records import Draw
from soar_lib.settings import fit, memory, phases
from soar_lib.settings.presets import preset
from soar_lib.settings.student import FilterConfig, OptimiserSettings
from soar_lib.settings.values import ConfigError
from soar_lib.soar.settings import EvaluateConfig, SoarConfig
from soar_lib.svs.settings import SvsConfig

LLAMA = "meta-llama/Llama-3.2-3B-Instruct"
GPU = memory.Form(2, gpu=True)
SIZES = {"t4": 15.6e9, "single_gpu": 79e9}  # what the smaller cards of either kind have free
BYTES = {"t4": 4, "single_gpu": 2}  # a number: a T4 has no bfloat16
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


def form(prompt: int = PROMPT) -> memory.Form:
    return memory.Form(4, prompt=prompt)


# ------------------------------------------------------------------ exact parts


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_weights_adapters_and_optimiser_are_those_of_the_tensors(kind):
    model, rank, slots = tiny.base(kind).model, 4, 3
    shape = memory.shape_of(model.config)
    assert memory.weight_bytes(shape, form()) == size(*model.parameters())
    half = memory.weight_bytes(shape, memory.Form(2))
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
    assert memory.cache_bytes(memory.shape_of(on.model.config), form(), rows, TOKENS, prompts=2) == size(*held)


def test_the_papers_model_is_known_before_it_is_downloaded():
    shape = memory.shape(LLAMA)
    assert shape.parameters == 3_212_749_824  # the model card's 3.21 B, the tied embedding once
    layer = 2 * 3072 * 3072 + 2 * 3072 * 1024 + 3 * 3072 * 8192
    assert shape.linear_weights == 28 * layer
    assert memory.weight_bytes(shape, memory.Form(2, four_bit=True)) == pytest.approx(
        28 * layer * 0.516 + 2 * (3_212_749_824 - 28 * layer), rel=1e-3
    )
    each = 2 * (3072 + 3072) + 2 * (3072 + 1024) + 3 * (3072 + 8192)
    assert memory.adapter_bytes(shape, 64) == 28 * each * 64 * 4
    assert memory.cache_bytes(shape, GPU, rows=1, tokens=32, prompts=0) == 32 * 28 * 8 * 128 * 2 * 2


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

    shape = memory.shape_of(on.model.config)
    optimiser = OptimiserSettings(max_tokens=10**6, gradient_checkpointing=checkpointing)
    told = memory.learning(shape, form(), 1, group, group, TOKENS, adapters.rank, optimiser)
    assert told["logits"] + told["activations"] == pytest.approx(peak(step), rel=0.1)


@pytest.mark.parametrize("slots", [0, 2])
def test_sampling_allocates_no_more_than_is_predicted(slots, monkeypatch):
    monkeypatch.setattr(lora, "MERGE_LIMIT", 0)
    on, group = base("llama"), 8
    adapters = tiny.adapters(on, slots) if slots else None
    prompts, rows = [[5 + i, *range(10, 9 + PROMPT)] for i in range(4)], 4 * group
    numbers = torch.rand(rows, TOKENS, generator=torch.Generator().manual_seed(0))
    owners = [i % slots if slots else 0 for i in range(4)]
    held = peak(lambda: sampling.sample(on, adapters, prompts, owners, group, numbers, Draw(TOKENS)))
    shape = memory.shape_of(on.model.config)
    told = sum(memory.sampling(shape, form(), rows, group, TOKENS, rows, rank=4, slots=slots).values())
    assert 0.8 * told <= held <= 1.05 * told


# ------------------------------------------------------------------ runs


@pytest.mark.parametrize("kind", [FilterConfig, SoarConfig, EvaluateConfig, LadderConfig, SvsConfig])
@pytest.mark.parametrize("name", list(SIZES))
def test_the_presets_of_gpus_fit_them(name, kind):
    config = preset(name, kind)
    there = replace(GPU, bytes=BYTES[name], four_bit=config.four_bit)
    assert phases.predict(config, memory.shape(LLAMA), there, problems=360, runs=3).total < 0.95 * SIZES[name]


def test_the_authors_settings_want_more_than_one_gpu_has():
    assert phases.predict(preset("paper"), memory.shape(LLAMA), GPU).total > 141e9


def test_each_setting_moves_the_part_it_should():
    shape, plain = memory.shape(LLAMA), preset("single_gpu")
    now = phases.predict(plain, shape, GPU)
    assert now.phase in ("sampling", "reward") and now.total == now.certain + sum(
        (now.cache, now.logits, now.activations, now.tokens)
    )
    fewer = phases.predict(preset("single_gpu", rows=96), shape, GPU)
    assert fewer.total < now.total and fewer.phase == "learning"
    parts = [
        memory.learning(shape, GPU, 1, 64, 16, 1024, 16, OptimiserSettings(max_tokens=limit, gradient_checkpointing=on))
        for limit, on in ((4096, False), (2048, False), (4096, True))
    ]
    assert parts[0]["activations"] == pytest.approx(2 * parts[1]["activations"], rel=0.1)
    assert parts[0]["logits"] == parts[1]["logits"] == 20 * logprobs.LOGITS
    assert parts[2]["activations"] < 0.2 * parts[0]["activations"]
    ranks = [phases.predict(preset("single_gpu", **{"student.rank": rank}), shape, GPU).adapters for rank in (16, 32)]
    assert ranks[1] > 1.8 * ranks[0]
    alone = preset("single_gpu", reward="intrinsic", promotion=False)
    assert phases.predict(alone, shape, GPU).adapters < 0.2 * now.adapters
    many, few = (phases.predict(preset("paper", EvaluateConfig, together=n), shape, GPU, 360, 3) for n in (0, 4))
    assert few.total < many.total


def test_ladders_phases_are_those_of_its_settings():
    shape = memory.shape(LLAMA)
    names = [name for name, *_ in phases._ladder(LadderConfig(), shape, GPU, 100)]
    assert names[0] == "variants" and names[-1] == "scores" and sum(name.startswith("TTRL: ") for name in names) == 3
    alone = LadderConfig(arms=("base", "ladder"))
    assert not any(name.startswith("TTRL") for name, *_ in phases._ladder(alone, shape, GPU, 100))
    everyone, few = (phases.predict(LadderConfig(together=n), shape, GPU) for n in (0, 2))
    assert everyone.phase.startswith("TTRL") and few.total < 0.2 * everyone.total  # 600 students at a time
    assert everyone.adapters > 600 * 5 * memory.adapter_bytes(shape, 64)
    short, rows = (phases.predict(LadderConfig(together=2, **change), shape, GPU) for change in ({}, {"rows": 128}))
    assert rows.total < short.total
    wide = LadderConfig(arms=("base", "ladder"), samples=1, variant_samples=0, tested=1, originals=50, most_samples=1)
    level = phases.predict(replace(wide, student=replace(wide.student, batch=1)), shape, GPU)
    each = memory.cache_bytes(shape, GPU, 1024, wide.variants.max_new_tokens, 0)
    assert level.phase == "variants" and level.cache > each  # a level of 50 trees fills all rows, each with its prompt
    names = [name for name, *_ in phases._ladder(replace(wide, check="answer"), shape, GPU, 1)]
    assert names[:2] == ["variants", "votes"]


def test_svs_holds_one_arms_seeds_and_a_part_of_a_large_group():
    shape = memory.shape(LLAMA)
    one, three = (phases.predict(SvsConfig(seeds=n), shape, GPU) for n in (1, 3))
    assert three.adapters == 3 * one.adapters == 3 * 4 * memory.adapter_bytes(shape, 64)
    assert one.cache == phases.predict(SvsConfig(seeds=1, hard_samples=4096), shape, GPU).cache  # rows bound it
    assert phases.predict(SvsConfig(seeds=1, rows=128), shape, GPU).total < one.total


# ------------------------------------------------------------------ the check


def machine(monkeypatch, free: float, gpu: bool = True) -> None:
    """The check sees a machine with so many bytes free."""
    there = memory.Form(2 if gpu else 4, gpu=gpu)
    monkeypatch.setattr(fit, "here", lambda config: (replace(there, four_bit=config.four_bit), int(free)))


@pytest.mark.parametrize(
    ("config", "free", "named"),
    [
        (preset("paper"), 141e9, r"rows: 1024 -> 512"),
        (preset("single_gpu", FilterConfig), 40e9, r"rows: 384 -> 192"),
        (preset("single_gpu"), 24e9, r"rows: .*student\.optimiser\.max_tokens: 4096 -> "),
        (preset("t4", four_bit=False), 8e9, r"four_bit: False -> True"),
        (preset("paper", EvaluateConfig), 32e9, r"together: 0 -> 4"),
    ],
)
def test_what_cannot_fit_is_refused_with_settings_that_fit(config, free, named, monkeypatch):
    machine(monkeypatch, free)
    with pytest.raises(ConfigError, match=f"{LLAMA} does not fit: .* GB of GPU memory needed .*with .*{named}"):
        fit.check_memory(config)
    form, _ = fit.here(config)
    changed, least = fit.remedy(config, memory.shape(LLAMA), form, int(free))
    assert least.total <= free and type(changed) is type(config)
    fit.check_memory(changed)


def test_a_base_in_memory_already_is_not_counted_again(monkeypatch):
    config = preset("single_gpu")
    found = phases.predict(config, memory.shape(LLAMA), GPU)
    machine(monkeypatch, found.total - found.weights / 2)
    with pytest.raises(ConfigError, match="does not fit"):
        fit.check_memory(config)
    fit.check_memory(config, loaded=True)


def test_where_no_setting_helps_a_smaller_model_is_named(monkeypatch):
    machine(monkeypatch, 1e9)
    with pytest.raises(ConfigError, match="so use a smaller model too$"):
        fit.check_memory(preset("single_gpu"))
    machine(monkeypatch, 1e6, gpu=False)
    with pytest.raises(ConfigError, match="MB of memory needed .* 1 MB to be had; use a smaller model$"):
        fit.check_memory(preset("nano", FilterConfig))


def test_main_memory_refuses_only_what_is_certain(monkeypatch):
    config = preset("nano", SoarConfig)
    found = phases.predict(config, memory.shape("nano"), memory.Form())
    machine(monkeypatch, (found.certain + found.total) / 2, gpu=False)
    fit.check_memory(config)
    machine(monkeypatch, found.certain - 1, gpu=False)
    with pytest.raises(ConfigError, match="nano does not fit"):
        fit.check_memory(config)


def test_what_cannot_be_inspected_is_said_and_passes(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for model, reason in (("nobody/never-downloaded", "cannot be inspected"), (str(tmp_path), "cannot be inspected")):
        config = preset("nano", model=model)
        assert fit.describe_memory(config).startswith(f"memory not predicted: {model} {reason} on this machine (")
        assert fit.predicted_bytes(config) is None
        fit.check_memory(config)
    assert fit.describe_memory(preset("nano", SvsConfig)).startswith("at most ")


def test_this_machine_says_what_it_has():
    config = preset("nano", SoarConfig)
    form, free = fit.here(config)
    assert free is None or free > 10**8
    said = fit.describe_memory(config)
    phase = phases.predict(config, memory.shape("nano"), form).phase
    assert said.startswith(f"at most {fit.size(fit.predicted_bytes(config))} of ") and f" free ({phase}: " in said
    assert form.gpu == torch.cuda.is_available()
