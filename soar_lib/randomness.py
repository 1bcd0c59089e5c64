"""Random numbers as arguments: every draw comes from a generator named by what it is for.

A key such as (seed, "inner", round, student, step) gives the same numbers in every run, alone or beside others,
so one student, one step or one sample can be replayed by itself."""

import hashlib

import torch

CDF_BLOCK = 512  # tokens whose probabilities are added up first

Key = tuple[int | str, ...]


def derive(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and strings; different keys give independent seeds."""
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in key).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator for one purpose, for example `generator(seed, "inner", round, student, step)`."""
    return torch.Generator().manual_seed(derive(*key))


def uniforms(shape: tuple[int, ...], *key: int | str) -> torch.Tensor:
    """Uniform numbers in [0, 1), float32 on CPU, of the given shape."""
    return torch.rand(shape, generator=generator(*key))


def choose_tokens(
    logits: torch.Tensor, uniforms: torch.Tensor | None, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [N], log-probabilities [N] of logits [N, V]: by inverse CDF of uniforms [N], or for None the likeliest."""
    if temperature != 1.0:
        logits = logits.float() / temperature
    probability = torch.softmax(logits, -1, dtype=torch.float32)
    token = logits.argmax(-1) if uniforms is None else _inverse_cdf(probability, uniforms.to(probability))
    return token, probability.gather(-1, token[:, None])[:, 0].log()


def _inverse_cdf(probability: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The first token [N] at which the cumulative probability [N, V] exceeds u: the block of CDF_BLOCK tokens first, by
    the blocks' sums, so that a vocabulary of 150,000 is added up but once."""
    size = probability.shape[-1]
    if size <= CDF_BLOCK:
        return _first_above(probability.cumsum(-1), uniforms[:, None])[0][:, 0]
    whole = size - size % CDF_BLOCK
    sums = probability[:, :whole].unflatten(1, (-1, CDF_BLOCK)).sum(-1)
    sums = torch.cat([sums, probability[:, whole:].sum(-1, keepdim=True)], 1)
    total = sums.cumsum(-1)
    block, sought = _first_above(total, uniforms[:, None])
    own = sums.gather(1, block)
    column = block * CDF_BLOCK + torch.arange(CDF_BLOCK, device=block.device)
    within = probability.gather(1, column.clamp(max=size - 1)).masked_fill_(column >= size, 0.0)
    place, _ = _first_above(within.cumsum(-1), ((sought - (total.gather(1, block) - own)) / own).clamp(min=0))
    return (block * CDF_BLOCK + place)[:, 0]


def _first_above(total: torch.Tensor, share: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first place [N, 1] where a running total [N, K] exceeds a share [N, 1] of its end, and that value: below the
    end, so that rounding can neither miss it nor reach a place that adds nothing."""
    end = total[:, -1:]
    sought = torch.minimum(share * end, end.nextafter(torch.zeros_like(end)))
    return torch.searchsorted(total, sought, right=True), sought
