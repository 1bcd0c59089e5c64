"""A decoding step recorded once and replayed, so that a GPU need not wait for Python.

Python takes ten times as long to launch a step's thousand kernels as a GPU to run them. A CUDA graph launches them at
once, on the same memory each time: so token and position are copied into fixed tensors, `attention.Decoding` writes at
a column that lies on the device, and the step is recorded anew when rows have left or buffers have grown, both in
larger strides than without (BLOCK, SHRINK). On a CPU the step runs on the same fixed tensors, unrecorded."""

from collections.abc import Callable

import torch

from soar_lib.engine.attention import Decoding
from soar_lib.settings.values import ConfigError, first_line

BLOCK = 256  # columns by which buffers grow: unwritten ones are read too, recording takes some tens of milliseconds
SHRINK = 0.5  # share of unfinished rows at which the others leave

Logits = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (token [N], position [N]) -> [N, V]


class Recorded:
    """A decoding step that replays its CUDA graph, and records it anew where rows have left or buffers have grown."""

    def __init__(self, logits: Logits, layout: Decoding):
        self.logits, self.layout = logits, layout
        self.token = self.position = self.replay = None
        layout.block = BLOCK

    def __call__(self, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Logits [N, V], which the next call overwrites; afterwards the token is part of the layout."""
        if self.layout.prepare() or self.replay is None or len(token) != len(self.token):
            self.replay = None  # frees the former recording's memory
            self.token, self.position = token.clone(), position.clone()
            self.replay = self._record() if _recordable(token) else self._step
        self.token.copy_(token)
        self.position.copy_(position)
        logits = self.replay()
        self.layout.advance()
        return logits

    def _step(self) -> torch.Tensor:
        return self.logits(self.token, self.position)

    def _record(self) -> Callable[[], torch.Tensor]:
        """Once by hand, as libraries allocate at first, and once recorded; the first replay writes the same."""
        by_hand(self._step)
        self.layout.prepare()
        return record(self._step)


def _recordable(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda


def by_hand(step: Callable[[], object]) -> None:
    """Run the step once on a side stream: CUDA asks for a run like this before it records."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        step()
    torch.cuda.current_stream().wait_stream(aside)


def record(step: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """Record the step as a CUDA graph and return its replay. Raises ConfigError for a model that waits for the CPU."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            out = step()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ConfigError(
            f"graphs = True: the model's step cannot be recorded ({first_line(error)}); set graphs = false"
        ) from error

    def replay() -> torch.Tensor:
        graph.replay()
        return out

    return replay
