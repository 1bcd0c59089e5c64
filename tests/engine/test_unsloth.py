"""A base loaded by Unsloth under our adapters: the numbers are those of the base that transformers loads.

Unsloth runs without a GPU from 2026.10.9 on, beside a CPU build of torch and without torchvision; elsewhere the tests
skip. Everything but its own back end must work beside a torchvision that cannot be imported, which its extra brings to
a machine without a GPU.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from soar_lib.engine import base as bases
from soar_lib.engine import lora, sampling
from soar_lib.engine.update import completion_logprobs
from soar_lib.records import Draw
from soar_lib.student import train as student
from soar_lib.student.train import Lesson
from tests.student.test_train import letters, problems, settings

GET = 'pip install --no-deps "unsloth==2026.10.9" "unsloth_zoo==2026.10.9" and what they import, but no torchvision'
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unsloth():
    """Unsloth imported as backends.py imports it, or a skip that says how to get it."""
    if importlib.util.find_spec("unsloth") is None:
        pytest.skip(f"needs Unsloth: {GET}")
    if not torch.cuda.is_available():
        os.environ["UNSLOTH_FORCE_CPU"] = "1"
    os.environ["UNSLOTH_COMPILE_DISABLE"] = "1"
    try:
        return importlib.import_module("unsloth")
    except Exception as error:  # whatever an installation for another machine raises
        pytest.skip(f"Unsloth does not import here ({type(error).__name__}: {str(error)[:80]}): {GET}")


@pytest.fixture(scope="module", params=["tiny", "nano"])
def pair(request, unsloth, tmp_path_factory):
    """The same model by both back ends, in float32 on one device."""
    name, device = request.param, "cuda" if torch.cuda.is_available() else "cpu"
    if name == "tiny":
        folder = tmp_path_factory.mktemp("tiny")
        tiny.model().save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
        name = str(folder)
    return [bases.load(name, device, dtype="float32", backend=backend) for backend in ("transformers", "unsloth")]


def test_prompts_logits_and_samples_are_those_of_the_transformers_base(pair):
    theirs, ours = pair
    assert (ours.pad, ours.stop, ours.device) == (theirs.pad, theirs.stop, theirs.device)
    prompts = [base.encode([{"role": "user", "content": "12 + 7"}]) for base in pair]
    assert prompts[0] == prompts[1]
    ids = torch.tensor(prompts[:1], device=ours.device)
    uniforms = torch.rand(6, 12, generator=torch.Generator().manual_seed(0))
    found = []
    for base in pair:
        assert not base.model.training and not any(p.requires_grad for p in base.model.parameters())
        adapters = tiny.adapters(base, 2)
        with torch.no_grad():
            plain = base.model(input_ids=ids).logits
            with lora.use(base.model, adapters, torch.tensor([1], device=base.device)):
                adapted = base.model(input_ids=ids).logits
        drawn = sampling.sample(base, adapters, [prompts[0]] * 2, [0, 1], 3, uniforms, Draw(12))
        found.append((plain, adapted, completion_logprobs(base, adapters, drawn), drawn.completion))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found[0][0], found[0][1])


def test_three_steps_are_those_on_the_transformers_base(pair):
    """Loss finite, every adapter tensor moved, by the same amount; the base stays as it is."""
    lessons, trained = [Lesson(problems(4), (0,)), Lesson(problems(4, 2), (1,))], []
    for base in pair:
        frozen = {name: parameter.clone() for name, parameter in base.model.named_parameters()}
        start = tiny.adapters(base, 2)
        after, history = student.train(base, start, lessons, settings(steps=3), letters)
        assert all(torch.isfinite(torch.tensor(row["grad_norm"])).all() for row in history)
        trained.append((start.state_dict(), after.state_dict(), history))
        for name, parameter in base.model.named_parameters():
            assert torch.equal(parameter, frozen[name]), name
    start, moved, history = trained[1]
    for name, tensor in moved.items():
        assert all(not torch.equal(tensor[slot], start[name][slot]) for slot in range(2)), name
        torch.testing.assert_close(tensor, trained[0][1][name], atol=1e-4, rtol=1e-3)
    assert [row["reward"] for row in history] == [row["reward"] for row in trained[0][2]]


def test_trl_trains_as_on_the_transformers_base(pair):
    found = []
    for base in pair:
        chosen = replace(settings(kl=0.01, steps=2), trainer="trl")
        found.append(student.train(base, tiny.adapters(base, 1), [Lesson(problems(4), (0,))], chosen, letters))
    (one, first), (other, second) = found
    assert [row["reward"] for row in first] == [row["reward"] for row in second]
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name], atol=1e-4, rtol=1e-3)


def test_beside_a_torchvision_that_cannot_be_imported_the_rest_works(tmp_path):
    package, about = tmp_path / "torchvision", tmp_path / "torchvision-0.28.0.dist-info"
    package.mkdir()
    about.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    (about / "RECORD").write_text("torchvision/__init__.py,,\n")
    code = (
        "import soar_lib.soar\n"
        "from soar_lib.engine import base, sampling\n"
        "from soar_lib.records import Draw\n"
        "nano = base.load('nano', device='cpu')\n"
        "prompt = nano.encode([{'role': 'user', 'content': '1 + 1'}])\n"
        "print(len(sampling.decode(nano, sampling.sample(nano, None, [prompt], [0], 1, None, Draw(4)))))\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
