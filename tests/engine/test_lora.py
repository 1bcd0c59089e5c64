"""Stacked adapters: each row sees its own slot, as PEFT computes it; copies are copies; the PEFT format goes round."""

import json

import peft
import pytest
import tiny
import torch

from soar_lib.engine import lora
from soar_lib.settings.values import LoadError

IDS = torch.randint(4, 90, (6, 9), generator=torch.Generator().manual_seed(1))


def logits(base, adapters, rows, ids=IDS):
    with torch.no_grad(), lora.use(base.model, adapters, torch.as_tensor(rows)):
        return base.model(input_ids=ids).logits


@pytest.fixture(params=["merged", "thin"])
def path(request, monkeypatch):
    """Both ways of computing the same: merged weights for small bases, thin products for large ones."""
    monkeypatch.setattr(lora, "MERGE_LIMIT", 0 if request.param == "thin" else 2**26)


@pytest.mark.parametrize("rows", [[0, 0, 1, 1, 2, 2], [2, 0, 1, 0, 2, 2], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 2]])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])  # Qwen2's projections have biases
def test_a_row_sees_its_own_slot_only(path, kind, rows):
    base = tiny.base(kind)
    adapters = tiny.adapters(base, 3)
    together = logits(base, adapters, rows)
    for row, slot in enumerate(rows):
        alone = logits(base, adapters.select([slot]), [0], IDS[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=2e-5, rtol=1e-4)


def test_merged_and_thin_products_have_the_same_gradients(monkeypatch):
    base, gradients = tiny.base(), []
    for limit in (0, 2**26):
        monkeypatch.setattr(lora, "MERGE_LIMIT", limit)
        adapters = tiny.adapters(base, 3)
        with lora.use(base.model, adapters, torch.tensor([2, 0, 0, 1, 1, 1])):
            base.model(input_ids=IDS).logits.square().mean().backward()
        gradients.append([parameter.grad for parameter in adapters.parameters()])
    for thin, merged in zip(*gradients, strict=True):
        assert thin.flatten(1).norm(dim=1).min() > 0
        torch.testing.assert_close(thin, merged, atol=1e-5, rtol=1e-4)


def test_new_adapters_leave_the_base_as_it_is():
    base = tiny.base()
    plain = logits(base, None, [0] * 6)
    fresh = lora.Adapters.create(base.model, 2, 4, 8.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(logits(base, fresh, [0, 0, 0, 1, 1, 1]), plain)
    assert all(torch.equal(a[0], a[1]) for a in fresh.a.values())
    torch.testing.assert_close(logits(base, None, [0] * 6), plain)  # and nothing stays active
    assert all(p.grad is None and not p.requires_grad for p in base.model.parameters())


def test_adapters_are_drawn_as_peft_draws_them():
    fresh = lora.Adapters.create(tiny.model(), 400, 4, 8.0, torch.Generator().manual_seed(0), same=False)
    for a in fresh.a.values():
        bound = a.shape[-1] ** -0.5  # torch's kaiming_uniform_(a=sqrt(5))
        assert a.abs().max() <= bound and a.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_select_and_stack_copy():
    adapters = tiny.adapters(tiny.base(), 3)
    picked = adapters.select([2, 0, 2])
    both = lora.stack([picked, adapters.select([1])])
    assert both.size == 4 and both.rank == adapters.rank
    for name, tensor in adapters.state_dict().items():
        assert torch.equal(both.state_dict()[name], tensor[[2, 0, 2, 1]])
    with torch.no_grad():
        for parameter in picked.parameters():
            parameter.zero_()
    assert all(parameter.abs().max() > 0 for parameter in adapters.parameters())
    with pytest.raises(IndexError, match="3 adapters"):
        adapters.select([3])


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_peft_round_trip(tmp_path, kind):
    base = tiny.base(kind)
    adapters = tiny.adapters(base, 2)
    lora.save_peft(adapters, 1, tmp_path, "tiny")
    theirs = peft.PeftModel.from_pretrained(tiny.model(kind), tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=IDS).logits, logits(base, adapters, [1] * 6), atol=2e-5, rtol=1e-4)
    back = lora.load_peft(tmp_path, base.model)
    assert back.size == 1 and back.scale == adapters.scale
    for name, tensor in adapters.state_dict().items():
        assert torch.equal(back.state_dict()[name][0], tensor[1])


def test_an_adapter_of_another_shape_is_refused(tmp_path):
    lora.save_peft(tiny.adapters(tiny.base(), 1), 0, tmp_path, "tiny")
    with pytest.raises(ValueError, match="layers differ"):
        lora.load_peft(tmp_path, tiny.model(layers=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": "8"}, "adapter_config.json: 'r' is missing or not of type int"),
        ({"r": 10**9}, "one with other ranks"),
        ({"lora_alpha": None}, "'lora_alpha' is missing or not of type float"),
        ({"base_model_name_or_path": 7}, "'base_model_name_or_path' is missing or not of type str"),
        ({"peft_type": ["LORA"]}, "only plain LoRA adapters"),
        ([], "holds no JSON object"),
        ({}, "adapter_model.safetensors"),
    ],
)
def test_a_damaged_adapter_is_named(tmp_path, changes, message):
    base = tiny.base()
    lora.save_peft(tiny.adapters(base, 1), 0, tmp_path, "tiny")
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes if isinstance(changes, dict) else changes))
    if changes == {}:
        (tmp_path / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(LoadError, match=f"{tmp_path}: .*{message}"):
        lora.load_peft(tmp_path, base.model)


def test_a_model_without_linear_layers_to_adapt_is_refused():
    with pytest.raises(ValueError, match="no linear layer named"):
        lora.wrap(torch.nn.Sequential(torch.nn.Linear(2, 2)))
