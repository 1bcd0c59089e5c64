"""Decoding steps on fixed memory: nothing changes, nothing moves between recordings, nothing waits for the CPU."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from soar_lib.engine import graphs as recorded
from soar_lib.engine import sampling
from soar_lib.records import Draw
from tests.engine.test_sampling import SLOTS, numbers, prompts, same


@pytest.fixture(params=["llama", "qwen"])
def base(request):
    return tiny.base(request.param)


@pytest.mark.parametrize("adapted", [True, False])
def test_samples_are_the_same(base, adapted, monkeypatch):
    adapters, slots = (tiny.adapters(base, 3), SLOTS) if adapted else (None, [0] * len(SLOTS))
    usual = sampling.sample(base, adapters, prompts(base), slots, 8, numbers(40, 70), Draw(70))
    monkeypatch.setattr(recorded, "BLOCK", 16)  # so that buffers grow on the way
    again = sampling.sample(replace(base, graphs=True), adapters, prompts(base), slots, 8, numbers(40, 70), Draw(70))
    assert same(again, usual)


def places(recorder) -> list[int]:
    """Where everything lies that a step reads and writes."""
    layout = recorder.layout
    caches = (layout.keys, layout.values, layout.prompt_keys, layout.prompt_values)
    tensors = [recorder.token, recorder.position, layout.column, layout.mask]
    return [tensor.data_ptr() for tensor in [*tensors, *(t for cache in caches for t in cache.values())]]


def test_between_recordings_no_tensor_moves(base, monkeypatch):
    seen, plain = [], recorded.Recorded.__call__

    def watched(recorder, token, position):
        before = recorder.replay
        logits = plain(recorder, token, position)
        seen.append((recorder.replay is not before, places(recorder), len(token)))
        return logits

    monkeypatch.setattr(recorded.Recorded, "__call__", watched)
    monkeypatch.setattr(recorded, "BLOCK", 16)
    monkeypatch.setattr(recorded, "SHRINK", 0.9)
    adapters = tiny.adapters(base, 3)
    sampling.sample(replace(base, graphs=True), adapters, prompts(base), SLOTS, 8, numbers(40, 70), Draw(70))
    recordings = [i for i, (new, *_) in enumerate(seen) if new]
    assert recordings[0] == 0 and 3 < len(recordings) < len(seen) / 2
    pairs = list(zip(seen, seen[1:], strict=False))
    assert all(new or (moved, rows) == before[1:] for before, (new, moved, rows) in pairs)
    assert any(new and rows == before[2] for before, (new, _, rows) in pairs)  # buffers grew
    assert any(new and rows < before[2] for before, (new, _, rows) in pairs)  # rows left


class Recording(TorchDispatchMode):
    """What a CUDA graph does, on a CPU: the operations of a step in order, with the tensors they were called with."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, out))
        return out

    def replay(self, result):
        """Call them again: what one of them made before is what it makes now, all else is the tensor it was."""
        made = {}

        def now(value):
            return made.get(id(value), value) if isinstance(value, torch.Tensor) else value

        for function, args, kwargs, before in self.calls:
            out = function(*tree_map(now, args), **tree_map(now, kwargs))
            for old, new in zip(tree_leaves(before), tree_leaves(out), strict=True):
                made[id(old)] = new
        return now(result)


def test_a_recording_computes_all_that_changes_from_step_to_step(base, monkeypatch):
    """Nothing may be left over from the run by hand, and nothing may be taken from Python at the time of recording."""
    recordings = []

    def record(step):
        recording = Recording()
        with recording:
            out = step()
        recordings.append(recording)
        return lambda: recording.replay(out)

    adapters = tiny.adapters(base, 3)
    usual = sampling.sample(base, adapters, prompts(base), SLOTS, 8, numbers(40, 70), Draw(70))
    monkeypatch.setattr(recorded, "BLOCK", 16)
    monkeypatch.setattr(recorded, "_recordable", lambda tensor: True)
    monkeypatch.setattr(recorded, "by_hand", lambda step: step())
    monkeypatch.setattr(recorded, "record", record)
    again = sampling.sample(replace(base, graphs=True), adapters, prompts(base), SLOTS, 8, numbers(40, 70), Draw(70))
    assert same(again, usual) and len(recordings) > 3
    torch.testing.assert_close(again.logprobs, usual.logprobs, atol=1e-5, rtol=1e-4)


def test_a_step_never_waits_for_the_cpu(base):
    """A value that Python would have to know while a step is recorded raises under fake tensors, which have none."""
    shapes = []

    def faked(recorder, token, position):
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            logits = recorder.logits(mode.from_tensor(token), mode.from_tensor(position))
            with pytest.raises(DataDependentOutputException):
                logits.sum().item()
        shapes.append(tuple(logits.shape))
        raise StopIteration

    adapters = tiny.adapters(base, 3)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(recorded.Recorded, "__call__", faked)
        sampling.sample(replace(base, graphs=True), adapters, prompts(base), SLOTS, 8, numbers(40, 70), Draw(70))
    assert len(shapes) == 1 and 0 < shapes[0][0] <= 40 and shapes[0][1] == 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_replays_are_the_same():
    base = tiny.base()
    on = replace(base, model=base.model.cuda(), device=torch.device("cuda"))
    adapters = tiny.adapters(on, 3)
    both = [
        sampling.sample(replace(on, graphs=graphs), adapters, prompts(on), SLOTS, 8, numbers(40, 70), Draw(70))
        for graphs in (False, True)
    ]
    assert torch.equal(both[0].completion, both[1].completion)
