"""Many LoRA adapters on one frozen base (LoRA: Hu et al. 2021, arXiv 2106.09685), applied in one pass.

A policy is a slot of stacked tensors A[S, r, in] and B[S, out, r] for every linear layer of attention and MLP. Rows of
a batch belong to slots; inside `use(model, adapters, rows)` each linear layer computes x W^T + (alpha / r) x A^T B^T
with its own row's A and B, all rows in one batched product. Where S copies of the base's linear weights are small
(MERGE_LIMIT), W + (alpha / r) B A is formed once per `use` instead: thin products of rank r cost a CPU as much as the
base itself. Larger and quantised bases take the thin products. Query, key and value as one merged product, or gate and
up as one, were tried and are no faster on a CPU."""

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from soar_lib.files import RunError, read_json, stored
from soar_lib.settings.values import ConfigError, LoadError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
MERGE_LIMIT = 2**26  # elements of all merged weights together: 256 MB in float32


class StackedLinear(nn.Module):
    """A base linear layer that adds the active adapters' deltas; without active adapters it is the base layer."""

    def __init__(self, base: nn.Module):
        super().__init__()
        self.base = base
        self.active = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer of x, with the deltas of the adapters that are active."""
        return self.base(x) if self.active is None else self.active(x)


def wrap(model: nn.Module) -> dict[str, StackedLinear]:
    """Wrap every target linear layer (by the last part of its name) once; returns layer by name, in model order."""
    layers = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, StackedLinear):
            layers[name] = module
        elif name.rpartition(".")[2] in TARGETS and isinstance(module, nn.Linear):
            layers[name] = StackedLinear(module)
            model.set_submodule(name, layers[name])
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear layer named {', '.join(TARGETS)}: cannot add adapters")
    return layers


@dataclass(frozen=True)
class Adapters:
    """S adapters: `a[name]` is [S, r, in], `b[name]` is [S, out, r], float32 leaves that require gradients."""

    a: dict[str, torch.Tensor]
    b: dict[str, torch.Tensor]
    rank: int
    alpha: float

    def __post_init__(self) -> None:
        for tensor in self.parameters():
            tensor.requires_grad_(True)

    @staticmethod
    def create(
        model: nn.Module, size: int, rank: int, alpha: float, generator: torch.Generator, same: bool = True
    ) -> "Adapters":
        """New adapters that leave the base unchanged: A uniform as PEFT draws it (Kaiming with a = sqrt 5), B zero.
        With `same` every slot starts from the same A (students are copies of one baseline)."""
        a, b = {}, {}
        for name, layer in wrap(model).items():
            inputs, outputs, device = layer.base.in_features, layer.base.out_features, layer.base.weight.device
            drawn = torch.rand(1 if same else size, rank, inputs, generator=generator)
            a[name] = ((2 * drawn - 1) * inputs**-0.5).expand(size, -1, -1).clone().to(device)
            b[name] = torch.zeros(size, outputs, rank, device=device)
        return Adapters(a, b, rank, alpha)

    @property
    def size(self) -> int:
        """The number S of adapters."""
        return len(next(iter(self.a.values())))

    @property
    def scale(self) -> float:
        """The factor alpha / rank of the product of A and B."""
        return self.alpha / self.rank

    def parameters(self) -> list[torch.Tensor]:
        """All tensors that train: every A, then every B."""
        return [*self.a.values(), *self.b.values()]

    def select(self, indices: list[int]) -> "Adapters":
        """A copy of the given slots, in the given order; a slot may be taken more than once."""
        index = torch.as_tensor(indices, dtype=torch.long)
        if index.numel() == 0 or index.min() < 0 or index.max() >= self.size:
            raise IndexError(f"slots {list(indices)} do not exist among {self.size} adapters")
        pick = {key: value.detach()[index.to(value.device)] for key, value in self.state_dict().items()}
        return self.load(pick)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Detached tensors by name, for safetensors; `load` takes them back."""
        halves = {"a": self.a, "b": self.b}
        return {f"{name}.{half}": t.detach() for half, part in halves.items() for name, t in part.items()}

    def load(self, state: dict[str, torch.Tensor]) -> "Adapters":
        """New adapters of the same layers, rank and scale with the values of `state` (copied; any number of slots)."""
        if differing := self.state_dict().keys() ^ state.keys():
            raise ValueError(f"adapter tensors differ from the model's: {sorted(differing)[:4]}")
        a = {name: state[f"{name}.a"].to(t.device, copy=True) for name, t in self.a.items()}
        b = {name: state[f"{name}.b"].to(t.device, copy=True) for name, t in self.b.items()}
        return replace(self, a=a, b=b)

    def to(self, device: str | torch.device) -> "Adapters":
        """A copy on a device."""
        a, b = ({name: t.detach().to(device, copy=True) for name, t in half.items()} for half in (self.a, self.b))
        return replace(self, a=a, b=b)


def stack(parts: list[Adapters]) -> Adapters:
    """The slots of all the parts in one Adapters, in order; tensors are copied."""
    states = [part.state_dict() for part in parts]
    return parts[0].load({key: torch.cat([state[key] for state in states]) for key in states[0]})


class Population:
    """What `use` yields: the active adapters. `assign(rows)` changes which slot each row of the batch belongs to."""

    def __init__(self, layers: dict[str, StackedLinear], adapters: Adapters, rows: torch.Tensor, dtype: torch.dtype):
        self.layers, self.adapters = layers, adapters
        self.slots = torch.unique(rows)
        elements = sum(layer.base.weight.numel() for layer in layers.values())
        plain = all(type(layer.base) is nn.Linear for layer in layers.values())
        self.merge = plain and elements * len(self.slots) <= MERGE_LIMIT
        self.weights = {name: self._weights(name, layer.base, dtype) for name, layer in layers.items()}
        self.assign(rows)

    def _weights(self, name: str, base: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        """(merged weight [S', out, in],), or the factors ([S', in, r], [S', r, out]), the second scaled."""
        slots = self.slots.to(self.adapters.a[name].device)
        every = len(slots) == self.adapters.size
        a, b = (t if every else t.index_select(0, slots) for t in (self.adapters.a[name], self.adapters.b[name]))
        if not self.merge:
            return a.mT.to(dtype).contiguous(), (b.mT * self.adapters.scale).to(dtype).contiguous()
        frozen = base.weight.to(a.dtype).expand(len(slots), -1, -1)
        return (torch.baddbmm(frozen, b, a, alpha=self.adapters.scale).to(base.weight.dtype),)

    def assign(self, rows: torch.Tensor) -> None:
        """Give each row of the batch its slot, one of those that were given at the start."""
        slots, counts = torch.unique(rows, return_counts=True)
        subset = None if torch.equal(slots, self.slots) else torch.searchsorted(self.slots, slots)
        order = torch.argsort(rows, stable=True) if (rows[1:] < rows[:-1]).any() else None
        counts = counts.tolist()
        places = None if order is None else (order, torch.argsort(order))  # to rows sorted by slot, and back
        for name, layer in self.layers.items():
            weights = self.weights[name]
            if subset is not None:
                weights = tuple(w.index_select(0, subset.to(w.device)) for w in weights)
            layer.active = partial(_adapted, layer.base, weights, counts, places)


@contextmanager
def use(model: nn.Module, adapters: Adapters | None, rows: torch.Tensor):
    """Activate adapters for a batch whose row i belongs to slot rows[i] (LongTensor [N]); None is the plain base.
    Yields the Population: `assign(rows)` regroups a batch that changes (only slots named at first). Never nest it."""
    layers = wrap(model)
    try:
        yield Population(layers, adapters, rows, model.dtype) if adapters is not None else None
    finally:
        for layer in layers.values():
            layer.active = None


def _adapted(base: nn.Module, weights: tuple[torch.Tensor, ...], counts: list[int], places: tuple | None, x):
    """One layer of x [N, ..., in] -> [N, ..., out]; the first slot has the first counts[0] sorted rows."""
    if places is not None:
        x = x.index_select(0, places[0])
    y = _merged(x, weights[0], base.bias, counts) if len(weights) == 1 else _thin(base(x), x, *weights, counts)
    return y if places is None else y.index_select(0, places[1])


def _merged(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, counts: list[int]) -> torch.Tensor:
    """x W^T + bias with each slot's own W [S', out, in]."""
    if len(weight) == 1:
        return nn.functional.linear(x, weight[0], bias)
    if min(counts) < max(counts):  # a product per slot: on a CPU nearly as fast as a batched one, and without padding
        parts = zip(x.split(counts), weight.unbind(), strict=True)
        return torch.cat([nn.functional.linear(part, w, bias) for part, w in parts])
    flat = x.reshape(len(weight), -1, x.shape[-1])
    y = torch.bmm(flat, weight.mT) if bias is None else torch.baddbmm(bias, flat, weight.mT)
    return y.view(*x.shape[:-1], -1)


def _thin(y: torch.Tensor, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """y + x A B with each slot's A [S', in, r] and B [S', r, out]; for one batched product slots are padded."""
    if min(counts) == max(counts):
        wide, narrow = (t.reshape(len(a), -1, t.shape[-1]) for t in (y, x))
        return torch.baddbmm(wide, torch.bmm(narrow, a), b).view_as(y)
    padded = nn.utils.rnn.pad_sequence(x.split(counts), batch_first=True)
    delta = torch.bmm(torch.bmm(padded.reshape(len(a), -1, x.shape[-1]), a), b)
    delta = delta.view(len(a), -1, *x.shape[1:-1], y.shape[-1])
    return y + torch.cat([delta[slot, :count] for slot, count in enumerate(counts)])


def peft_name(name: str, inside: str = "") -> str:
    """PEFT's name of a tensor of `Adapters.state_dict`; `inside` names the layer of a wrapped one.

    >>> peft_name("model.layers.0.self_attn.q_proj.a", ".base")
    'base_model.model.model.layers.0.self_attn.q_proj.base.lora_A.weight'
    """
    layer, _, half = name.rpartition(".")
    return f"base_model.model.{layer}{inside}.lora_{half.upper()}.weight"


def save_peft(adapters: Adapters, slot: int, folder: str | Path, base_name: str) -> None:
    """Write one slot as a LoRA folder that PEFT loads (adapter_config.json, adapter_model.safetensors)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {peft_name(name): tensor[slot].cpu().contiguous() for name, tensor in adapters.state_dict().items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = sorted({name.rpartition(".")[2] for name in adapters.a})
    config = dict(
        peft_type="LORA", task_type="CAUSAL_LM", base_model_name_or_path=base_name, r=adapters.rank,
        lora_alpha=adapters.alpha, lora_dropout=0.0, bias="none", target_modules=targets, inference_mode=True,
        use_rslora=False, use_dora=False, fan_in_fan_out=False,
    )  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_peft(folder: str | Path, model: nn.Module) -> Adapters:
    """A PEFT LoRA folder as Adapters of one slot on `model`. Raises LoadError for another kind of adapter or layers."""
    folder = Path(folder)
    try:
        config = read_json(folder / "adapter_config.json", r=int, lora_alpha=float, base_model_name_or_path=str | None)
        tensors = load_file(stored(folder / "adapter_model.safetensors"))
    except (OSError, RunError, SafetensorError) as error:
        raise LoadError(
            f"{folder}: not a PEFT folder with adapter_config.json and adapter_model.safetensors ({error})"
        ) from error
    special = [key for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern") if config.get(key)]
    special += ["other ranks"] * ({t.shape[0] for key, t in tensors.items() if "lora_A" in key} != {config["r"]})
    if config.get("peft_type") != "LORA" or special:
        kind = ", ".join(special) or config.get("peft_type")
        raise LoadError(f"{folder}: only plain LoRA adapters of one rank can be loaded, and it is one with {kind}")
    empty = Adapters.create(model, 1, config["r"], config["lora_alpha"], torch.Generator())
    names = {peft_name(name): name for name in empty.state_dict()}
    state = {names.get(key, key): tensor.float()[None] for key, tensor in tensors.items()}
    expected, found = ({key: tuple(t.shape) for key, t in part.items()} for part in (empty.state_dict(), state))
    if differing := sorted(name for name in expected | found if expected.get(name) != found.get(name)):
        name = differing[0]
        raise LoadError(
            f"{folder}: the adapter's layers differ from {type(model).__name__}'s linear layers ({name} is "
            f"{found.get(name, 'absent')} in it and {expected.get(name, 'absent')} here)"
        )
    return empty.load(state)


def load_start(folder: Path, base_name: str, model: nn.Module) -> Adapters:
    """The adapter in `folder`, a run's setting `start`, on `model`. Raises ConfigError where it is another model's."""
    try:
        found = load_peft(folder, model)
    except LoadError as error:
        raise ConfigError(f"start = {error}; name an adapter of this model, or leave start empty") from error
    trained = read_json(folder / "adapter_config.json").get("base_model_name_or_path") or base_name
    if Path(trained).name.lower() != Path(base_name).name.lower():
        raise ConfigError(
            f"start = {folder}: trained on {trained}, not on {base_name}; name an adapter of this model, or correct "
            "base_model_name_or_path in its adapter_config.json"
        )
    return found


def begin(base, settings, draw: torch.Generator) -> Adapters:
    """Adapters of one slot with which a policy begins: a copy of `base.start`, or else ones that change nothing, with
    A drawn from `draw`. Raises ConfigError where rank or alpha of `base.start` differ from those of `settings`."""
    if base.start is None:
        return Adapters.create(base.model, 1, settings.rank, settings.alpha, draw)
    if (base.start.rank, base.start.alpha) != (settings.rank, settings.alpha):
        raise ConfigError(
            f"rank = {settings.rank}, alpha = {settings.alpha:g}: the adapter of start has rank {base.start.rank} and "
            f"alpha {base.start.alpha:g}; set those"
        )
    return base.start.select([0])
