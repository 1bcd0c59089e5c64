"""Random numbers as arguments: every draw comes from a generator named by what it is for.

A key such as (seed, "inner", round, student, step) gives the same numbers in every run, alone or beside others,
so one student, one step or one sample can be replayed by itself.
"""

import hashlib

import torch

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
