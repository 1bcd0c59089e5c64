"""What a machine can do at most, measured, and the least work that sampling and learning take.

`measure` times a copy of a large tensor and a large matrix product. `decoding` and `learning` count the bytes that must
be moved and the operations of the matrix products, and nothing else: no attention scores, norms or softmax, no prompts
read, no intermediate results. So the share of a ceiling that a part reaches is never flattered.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from soar_lib.settings.memory import Shape, adapter_bytes
from soar_lib.settings.student import precision

LARGE = {"cuda": (2**30, 8192), "cpu": (2**28, 512)}  # bytes to copy, beyond any cache; rows of the square matrices
WARM_UP, REPEATS = 3, 10


@dataclass(frozen=True)
class Rates:
    """Bytes read and written per second, and floating-point operations per second."""

    copy: float
    product: float


@dataclass(frozen=True)
class Work:
    """Bytes to move and operations of matrix products, at least."""

    bytes: float
    operations: float

    def share(self, seconds: float, rates: Rates) -> float:
        """The part of the tighter ceiling that was reached in `seconds`."""
        return max(self.bytes / rates.copy, self.operations / rates.product) / seconds


def measure(device: torch.device) -> Rates:
    """The two ceilings of this machine, in the number format that a base has on it."""
    dtype, (size, rows) = getattr(torch, precision("", "auto", device.type == "cuda")), LARGE[device.type]
    source, target = torch.zeros(2, size // dtype.itemsize, dtype=dtype, device=device)
    copy = 2 * size / _seconds(lambda: target.copy_(source))
    left, right = torch.randn(2, rows, rows, dtype=dtype, device=device)
    return Rates(copy, 2 * rows**3 / _seconds(lambda: left @ right))


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _seconds(run: Callable[[], object]) -> float:
    for _ in range(WARM_UP):
        run()
    synchronize()
    began = time.perf_counter()
    for _ in range(REPEATS):
        run()
    synchronize()
    return (time.perf_counter() - began) / REPEATS


def decoding(
    shape: Shape, number: int, rows: int, prompts: int, prompt: int, tokens: int, slots: int, rank: int, at_once: int
) -> Work:
    """`rows` completions of `tokens` on `prompts` prompts of `prompt` tokens, `at_once` together, by `slots` adapters.

    Each step reads the weights (`number` bytes each) and the adapters (float32) once, each prompt's keys and values
    once, and each row's own keys and values so far.
    """
    chunks = -(-rows // at_once)
    active = min(slots, -(-prompts // chunks))
    each = number * shape.parameters + active * adapter_bytes(shape, rank)
    cache = 2 * number * shape.layers * shape.keys  # of one token
    own, shared = rows * tokens * (tokens + 1) // 2, prompts * prompt * tokens
    return Work(chunks * tokens * each + cache * (own + shared), 2 * _products(shape) * rows * tokens)


def learning(shape: Shape, tokens: int, reference: bool) -> Work:
    """A step on `tokens` completion tokens: forward, backward to the inputs of frozen weights, and one more forward for
    the `reference` of the KL term."""
    return Work(0, 2 * _products(shape) * tokens * (3 if reference else 2))


def _products(shape: Shape) -> int:
    """Weights that a token is multiplied with."""
    return shape.linear_weights + shape.vocabulary * shape.hidden
