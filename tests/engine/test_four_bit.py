"""A base in 4 bits under stacked adapters, on a CPU: its layers are found, their own forward is used, and adapters
learn on it as on the same numbers in full precision."""

import copy

import pytest
import tiny
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from soar_lib.engine import backends, lora, sampling
from soar_lib.engine import base as bases
from soar_lib.engine.update import completion_logprobs
from soar_lib.records import Draw
from soar_lib.settings.student import BACKENDS
from soar_lib.settings.values import ConfigError
from soar_lib.student import train as student
from tests.engine.test_unsloth import unsloth  # noqa: F401  (a fixture)
from tests.student.test_train import letters, problems, settings

bnb = pytest.importorskip("bitsandbytes", reason='needs bitsandbytes: pip install "soar-lib[four-bit]"')
PROMPTS = ("2+2", "a longer question")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model wide enough for blocks of 64."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("wide")
    shape = dict(
        vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=1, pad_token_id=0, bos_token_id=None,
        initializer_range=0.15, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module", params=BACKENDS)
def base(request, folder):
    if request.param == "unsloth":
        request.getfixturevalue("unsloth")  # or skip
    return bases.load(str(folder), device="cpu", backend=request.param, four_bit=True)


@pytest.fixture(scope="module")
def plain(folder, base):
    """The same numbers in float32: the quantised weights, unpacked."""
    model = LlamaForCausalLM.from_pretrained(folder)
    for name, layer in quantised(base.model).items():
        weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        model.get_submodule(name).weight.data = weight.float()
    return bases.assemble(model, tiny.tokenizer(), "plain")


def quantised(model) -> dict:
    return {
        name.removesuffix(".base"): layer
        for name, layer in model.named_modules()
        if isinstance(layer, bnb.nn.Linear4bit)
    }


def drawn(base, adapters) -> sampling.Samples:
    prompts = [base.encode([{"role": "user", "content": text}]) for text in PROMPTS]
    uniforms = torch.rand(8, 10, generator=torch.Generator().manual_seed(0))
    return sampling.sample(base, adapters, prompts, [0, 1], 4, uniforms, Draw(10))


def test_every_layer_to_adapt_is_in_4_bits_and_found(base):
    layers = lora.wrap(base.model)
    assert len(layers) == 14 and set(quantised(base.model)) == set(layers)
    assert all(layer.base.weight.dtype == torch.uint8 for layer in layers.values())
    assert not any(parameter.requires_grad for parameter in base.model.parameters())


def test_samples_and_gradients_are_those_of_the_unpacked_numbers(base, plain, folder):
    """Sampled first: bitsandbytes repacks for inference on some CPUs, after which gradients would be wrong."""
    results = []
    for on in (base, plain):
        adapters = tiny.adapters(on, 2)
        samples = drawn(on, adapters)
        logprobs = completion_logprobs(on, adapters, samples)
        logprobs.square().sum().backward()
        results.append((samples.completion, logprobs.detach(), [p.grad for p in adapters.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-4, rtol=1e-4)
    for mine, theirs in zip(results[0][2], results[1][2], strict=True):
        assert mine.abs().max() > 0
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
    full = bases.load(str(folder), device="cpu")
    with torch.no_grad():
        ids = torch.tensor([full.encode([{"role": "user", "content": "2+2"}])])
        assert (full.model(ids).logits - base.model(ids).logits).abs().max() > 0.01  # quantising did change the numbers


def test_three_steps_move_every_adapter_tensor_and_not_the_base(base):
    before = copy.deepcopy({name: layer.weight.data for name, layer in quantised(base.model).items()})
    start = tiny.adapters(base, 2)
    lessons = [student.Lesson(problems(4), (0,)), student.Lesson(problems(4, 2), (1,))]
    trained, history = student.train(base, start, lessons, settings(steps=3), letters)
    assert all(torch.isfinite(torch.tensor(row["grad_norm"])).all() for row in history)
    for name, tensor in trained.state_dict().items():
        assert all(not torch.equal(tensor[slot], start.state_dict()[name][slot]) for slot in range(2)), name
    for name, layer in quantised(base.model).items():
        assert torch.equal(layer.weight.data, before[name]), name


def test_a_model_of_which_nothing_can_be_quantised_is_refused(tmp_path):
    model = tiny.model()
    with pytest.raises(ConfigError, match="four_bit = True: no layer of model 'tiny' could be read in 4 bits"):
        backends._check_four_bit(model, "tiny")
