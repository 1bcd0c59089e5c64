"""Runs that begin with one's own adapter: it stands for the untrained model everywhere, and belongs to the model."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from tiny_world import settings

from soar_lib import files
from soar_lib.engine.base import load, load_for
from soar_lib.engine.lora import load_peft, save_peft
from soar_lib.engine.sampling import decode, sample
from soar_lib.engine.update import completion_logprobs
from soar_lib.hooks import Hooks
from soar_lib.records import Draw
from soar_lib.settings.student import FilterConfig
from soar_lib.settings.values import ConfigError
from soar_lib.soar import evaluate, teacher
from soar_lib.soar import run as soar
from soar_lib.soar.evaluate_settings import EvaluateConfig

SMALL = {"rounds": 1, "promotion": False, "student.steps": 6, "max_steps": 6, "student.batch": 4}
QUIET = Hooks(progress=False)


@pytest.fixture(scope="module")
def adapter(tiny_world, tmp_path_factory):
    """What a first run has trained."""
    folder = tmp_path_factory.mktemp("start")
    config = settings(tiny_world, **SMALL | {"promotion": True, "window": 1, "threshold": 0.0})
    soar.run(config, folder / "first", hooks=QUIET, teacher_reward=always)
    return folder / "first" / "adapters" / "promoted_student"


def always(step):
    """The grounded reward, an accuracy of one higher, so that a student is promoted."""
    from soar_lib.soar.rewards import grounded

    found = grounded(step)
    return replace(found, gains=tuple(tuple(gain + 1 for gain in row) for row in found.gains))


def tensors(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_the_adapter_stands_for_the_untrained_model_and_what_follows_continues_it(tiny_world, adapter, tmp_path):
    config = settings(tiny_world, **SMALL, start=str(adapter))
    base, bare = load_for(config), load(config.model, dtype="float32")
    mine = load_peft(adapter, bare.model)
    assert any(t.any() for t in mine.b.values())
    prompt, numbers = [base.encode([{"role": "user", "content": "3+4=?"}])], torch.rand(4, 12)
    drawn = sample(base, None, prompt, [0], 4, numbers, Draw(12))
    named = sample(bare, mine, prompt, [0], 4, numbers, Draw(12))
    assert decode(base, drawn) == decode(bare, named)
    torch.testing.assert_close(completion_logprobs(base, None, drawn), completion_logprobs(bare, mine, named))
    assert not torch.allclose(completion_logprobs(base, None, drawn), completion_logprobs(bare, None, drawn), atol=1e-3)

    state = soar.begin(base, config)
    for policy in (state.teacher.adapters, state.baselines[0]):
        assert all(torch.equal(t, mine.state_dict()[name]) for name, t in policy.state_dict().items())
    result = soar.run(config, tmp_path / "run", hooks=QUIET)
    kept = load_peft(result.folder / "adapters" / "promoted_student", bare.model)  # nobody promoted: as it began
    assert all(torch.equal(t, mine.state_dict()[name]) for name, t in kept.state_dict().items())

    measured = EvaluateConfig(
        model=config.model, start=str(adapter), problems="", arms=("base", "hard_only"), students=1, samples=4,
        ks=(1,), synthetic_steps=0, student=replace(config.student, steps=1),
    )  # fmt: skip
    hard = tmp_path / "hard"
    hard.mkdir()
    for part in ("train", "test"):
        shutil.copy(config.problems, hard / f"hard_{part}.jsonl")
    measured = replace(measured, problems=str(hard))
    table = evaluate.run(measured, [result.folder], tmp_path / "measured", hooks=QUIET).set_index("arm")
    assert table.loc["base", "rollouts"] == 0
    refused = "began with start = .*promoted_student, not none; evaluate with --set start="
    with pytest.raises(files.RunError, match=refused):
        evaluate.run(replace(measured, start=""), [result.folder], tmp_path / "other", hooks=QUIET)


def test_the_run_records_the_adapter_and_goes_on_with_no_other(tiny_world, adapter, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(adapter, own)
    config = settings(tiny_world, **SMALL | {"rounds": 2}, start=str(own))
    first = soar.run(config, tmp_path / "run", hooks=QUIET)
    recorded = files.read_json(first.folder / "config.json")["start"]
    assert recorded.startswith(f"{own} sha256:") and len(recorded.rpartition(":")[2]) == 12
    assert soar.run(replace(config, start=recorded), first.folder, resume=True, hooks=QUIET).rounds == first.rounds
    base = load(config.model, dtype="float32")
    changed = load_peft(own, base.model)
    save_peft(changed.load({name: t + 1 for name, t in changed.state_dict().items()}), 0, own, base.name)
    with pytest.raises(files.RunError, match=r"start: '.*sha256:.*' -> '.*sha256:"):
        soar.run(config, first.folder, resume=True, hooks=QUIET)
    shutil.rmtree(own)
    with pytest.raises(files.RunError, match="sha256:absent"):
        soar.run(config, first.folder, resume=True, hooks=QUIET)


def edited(adapter, folder, **changes):
    shutil.copytree(adapter, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"base_model_name_or_path": "other/model-1B"}, "trained on other/model-1B, not on"),
        ({"rank_pattern": {"q_proj": 2}}, "plain LoRA adapters of one rank .* rank_pattern"),
        ({"peft_type": "IA3"}, "plain LoRA adapters .* IA3"),
        ({"r": 8}, "it is one with other ranks"),
        ({"lora_alpha": 2.0}, "the adapter of start has rank 16 and alpha 2"),
    ],
)
def test_an_adapter_that_does_not_belong_is_refused_before_anything_is_written(
    tiny_world, adapter, tmp_path, changes, message
):
    config = settings(tiny_world, **SMALL, start=str(edited(adapter, tmp_path / "edited", **changes)))
    with pytest.raises(ConfigError, match=message):
        soar.run(config, tmp_path / "run", hooks=QUIET)
    assert not (tmp_path / "run").exists()


def test_no_adapter_is_named(tiny_world, adapter, tmp_path):
    damaged = [tmp_path / "absent"]
    for place, text in enumerate(("{", "[]", '{"peft_type": "LORA", "lora_alpha": 16}')):
        damaged.append(shutil.copytree(adapter, tmp_path / str(place)))
        (damaged[-1] / "adapter_config.json").write_text(text)
    for folder in damaged:
        with pytest.raises(ConfigError, match="not a PEFT folder with adapter_config.json and adapter_model"):
            load_for(settings(tiny_world, start=str(folder)))


def test_a_filter_and_a_teacher_draw_from_the_adapter(tiny_world, adapter):
    from soar_lib.problems.filtering import fail_at_k
    from soar_lib.problems.load import load as load_problems

    config = settings(tiny_world, start=str(adapter))
    own, bare = load_for(config), load(config.model, dtype="float32")
    pool = load_problems(config.problems)[:10]
    counts = FilterConfig(model=config.model, problems=config.problems, k=8, max_new_tokens=12)
    found = [[outcome.right for outcome in fail_at_k(base, pool, counts, progress=False)] for base in (own, bare)]
    assert found[0] != found[1]
    written = [teacher.propose(base, None, 4, config.teacher, (0, "start")).problems for base in (own, bare)]
    assert [problem.text for problem in written[0]] != [problem.text for problem in written[1]]
