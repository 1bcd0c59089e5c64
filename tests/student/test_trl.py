"""student.trainer = "trl": TRL's trainers step as our loop does, and whole runs have the same folder."""

import sys
from dataclasses import asdict, replace
from pathlib import Path

import killer
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from transformers import LlamaForCausalLM

from soar_lib import files, runs
from soar_lib.cli import commands as cli
from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples
from soar_lib.hooks import Hooks
from soar_lib.ladder import run as ladder
from soar_lib.ladder.settings import LadderConfig
from soar_lib.meter import describe_memory
from soar_lib.problems.load import load as load_problems
from soar_lib.problems.prompts import student_messages
from soar_lib.settings.cost import describe_cost
from soar_lib.settings.memory import check_memory
from soar_lib.settings.student import OptimiserSettings, StudentSettings, check_trainer, preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar import evaluate
from soar_lib.soar import run as soar
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.rewards import student_rewards
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student import trl as trl_student
from soar_lib.student.train import Lesson, train
from tests.student.test_train import TWO, letters, problems

pytestmark = pytest.mark.network  # TRL asks the Hub about the model that it trains

ARMS = ("base", "hard_only", "grounded_t")


def settings(advantage: str, kl: float, trainer: str = "trl", **changes) -> StudentSettings:
    """Gradients are clipped, a step is several backward passes, the rate warms up and falls."""
    optimiser = OptimiserSettings(
        learning_rate=2e-3, kl=kl, warmup=1, weight_decay=0.01, max_grad_norm=0.5, max_tokens=40
    )
    values = dict(steps=3, batch=2, group=4, max_new_tokens=16, rank=4, alpha=8.0, optimiser=optimiser)
    return StudentSettings(**values | changes, advantage=advantage, trainer=trainer)


# ------------------------------------------------------------------ the step


class Script:
    """Plays what our loop drew back to TRL, student by student, and keeps what TRL asked for."""

    def __init__(self, monkeypatch):
        self.drawn: list[Samples] = []
        self.prompts: list[list[int]] = []
        rollouts = student.complete

        def keep(*arguments) -> Samples:
            self.drawn.append(rollouts(*arguments))
            return self.drawn[-1]

        monkeypatch.setattr(student, "complete", keep)

    def play(self, monkeypatch, slots: int) -> None:
        steps = iter([step.select(step.slots == slot) for slot in range(slots) for step in self.drawn])

        def generate(model, input_ids, attention_mask, **_) -> torch.Tensor:
            self.prompts += [row[mask.bool()].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]
            return torch.cat([input_ids, next(steps).completion], 1)

        monkeypatch.setattr(LlamaForCausalLM, "generate", generate)


@pytest.mark.parametrize(("advantage", "kl"), [("rloo", 0.0), ("grpo", 0.0), ("grpo", 5.0)])
def test_on_the_same_completions_trl_steps_as_we_do(monkeypatch, advantage, kl):
    base, script = tiny.base(), Script(monkeypatch)
    start, lessons = tiny.adapters(base, 2), [Lesson(problems(5), (7, 0)), Lesson(problems(3, 2), (7, 1))]
    ours, history = train(base, start, lessons, settings(advantage, kl, "stack"), letters)
    script.play(monkeypatch, 2)
    theirs, told = train(base, start, lessons, settings(advantage, kl), letters)

    asked = [
        base.encode(student_messages(lesson.problems[i].question))
        for lesson in lessons
        for i in student.problem_order(len(lesson.problems), 3 * 2, lesson.key)
        for _ in range(4)
    ]
    assert script.prompts == asked
    before = start.state_dict()
    for name, tensor in ours.state_dict().items():
        moved = (tensor - before[name]).flatten(1)
        other = (theirs.state_dict()[name] - before[name]).flatten(1)
        assert moved.norm(dim=1).min() > 0
        assert ((moved - other).norm(dim=1) < 1e-4 * moved.norm(dim=1)).all(), name
    for mine, its in zip(history, told, strict=True):
        assert mine.keys() == its.keys()
        for name in mine:  # TRL's KL is a mean over backward passes, not over all tokens
            assert mine[name] == pytest.approx(its[name], rel=0.05 if name == "kl" else 1e-3, abs=1e-5), name
    assert max(history[-1]["grad_norm"]) > 0.5 and (min(history[-1]["kl"]) > 0) == (kl > 0)


def test_rloo_of_trl_pays_for_leaving_the_start_and_the_base_comes_back_as_it_was(monkeypatch):
    base = tiny.base()
    start = tiny.adapters(base, 1)
    ids = torch.tensor([base.encode(student_messages("why"))])
    before = [dict(vars(part)) for part in (base.model.config, base.model.generation_config)]
    logits, pad, numbers = base.model(ids).logits, base.tokenizer.pad_token, np.random.get_state()[1].copy()
    assert base.model.config.use_cache is True
    seen, free = [], settings("rloo", 0.0, max_new_tokens=8)
    for kl in (0.0, 5.0):
        chosen = replace(free, optimiser=replace(free.optimiser, kl=kl, gradient_checkpointing=kl > 0))
        torch.manual_seed(3)
        trained, history = train(
            base, start, [Lesson(problems(4), (1,))], chosen, letters, watch=lambda *told: seen.append(told)
        )
        assert torch.initial_seed() == 3 and torch.equal(torch.rand(2), torch.rand(2, generator=_seeded(3)))
        assert seen == [(step, row, None) for step, row in enumerate(history)] and len(seen) == 3
        assert (history[-1]["kl"][0] != 0) == (kl > 0)
        seen.clear()
        if kl == 0.0:
            untied = trained
    assert any(not torch.equal(t, untied.state_dict()[name]) for name, t in trained.state_dict().items())
    assert [dict(vars(part)) for part in (base.model.config, base.model.generation_config)] == before
    assert base.tokenizer.pad_token == pad and not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert torch.equal(base.model(ids).logits, logits) and (np.random.get_state()[1] == numbers).all()
    assert not any("lora" in name for name, _ in base.model.named_modules())
    assert not base.model.is_gradient_checkpointing and not base.model.get_input_embeddings()._forward_hooks


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_student_repeats_bit_for_bit_and_is_the_same_beside_another():
    base = tiny.base()
    start, chosen = tiny.adapters(base, 2), settings("rloo", 0.0, steps=2)
    both, history = train(base, start, TWO, chosen, letters)
    alone, single = train(base, start.select([1]), TWO[1:], chosen, letters)
    assert all(torch.equal(t[0], both.state_dict()[name][1]) for name, t in alone.state_dict().items())
    assert [row["reward"][1] for row in history] == [row["reward"][0] for row in single]


# ------------------------------------------------------------------ whole runs on nano


@pytest.fixture(scope="module")
def nano():
    torch.set_num_threads(1)
    return load("nano", device="cpu")


def hard(folder: Path, name: str, train: int, test: int) -> Path:
    """A filter run's two files."""
    folder.mkdir()
    found = load_problems(name, seed=0, size=train + test)
    for part, chosen in (("train", found[:train]), ("test", found[train:])):
        (folder / f"hard_{part}.jsonl").write_text(files.jsonl(map(asdict, chosen)))
    return folder


@pytest.fixture(scope="module")
def taught(nano, tmp_path_factory) -> Path:
    """A SOAR run on the shipped model, as short as can be."""
    folder = tmp_path_factory.mktemp("trl")
    small = {
        "problems": str(hard(folder / "hard", "nano", 6, 3)), "rounds": 1, "dataset_size": 2, "reward_set": 2,
        "student.steps": 1, "student.group": 2, "student.max_new_tokens": 8, "teacher.draw": 8,
    }  # fmt: skip
    soar.run(preset("smoke", SoarConfig, **small), folder / "soar", base=nano, hooks=Hooks(progress=False))
    return folder / "soar"


def evaluation(**changes) -> EvaluateConfig:
    small = {
        "arms": ARMS, "teacher_samples": 2, "synthetic_steps": 1, "student.steps": 2, "student.max_new_tokens": 32,
        "samples": 2, "ks": (1, 2), "student.trainer": "trl",
    }  # fmt: skip
    return preset("smoke", EvaluateConfig, **small | changes)


def test_an_evaluation_by_trl_has_the_same_folder_our_rewards_and_resumes(nano, taught, tmp_path, monkeypatch):
    told, real = [], student_rewards

    def rewards(golds, responses):
        told.append((golds, real(golds, responses)))
        return told[-1][1]

    def run(out: str, resume: bool = False, **changes) -> pd.DataFrame:
        return evaluate.run(evaluation(**changes), [taught], tmp_path / out, resume, nano, hooks=Hooks(progress=False))

    monkeypatch.setattr(evaluate, "bounded", lambda settings: rewards)
    table = run("whole")
    metrics = pd.read_csv(tmp_path / "whole" / "metrics.csv")
    assert metrics["reward"].tolist() == pytest.approx([sum(values) / len(values) for _, values in told])
    assert metrics["cut"].between(0, 1).all() and metrics["cut"].max() > 0
    answers = {row["answer"] for row in files.read_jsonl(taught.parent / "hard" / "hard_train.jsonl")}
    assert set(told[1][0]) <= answers  # hard_only has its own problems in both phases
    tensors, _ = files.load_checkpoint(runs.latest_checkpoint(tmp_path / "whole"))
    assert any(tensor[slot].any() for name, tensor in tensors["students"].items() if name.endswith(".b")
               for slot in (0, 1))  # fmt: skip

    run("stack", **{"student.trainer": "stack"})
    assert pd.read_csv(tmp_path / "stack" / "metrics.csv").columns.tolist() == metrics.columns.tolist()
    names = [{path.name for path in (tmp_path / out).iterdir()} for out in ("whole", "stack")]
    assert names[0] == names[1] and files.read_json(tmp_path / "whole" / "config.json")["student"]["trainer"] == "trl"

    calls = []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:  # the second student's first phase
            raise KeyboardInterrupt
        return learn(*arguments)

    learn = trl_student.learn
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trl_student, "learn", interrupted)
        run("killed")
    assert len(pd.read_csv(tmp_path / "killed" / "metrics.csv")) == 2
    pd.testing.assert_frame_equal(run("killed", resume=True), table)
    assert killer.files(tmp_path / "killed") == killer.files(tmp_path / "whole")


def test_ladder_by_grpo_of_trl_on_integrals(nano, tmp_path):
    """The smoke preset has KL, so TRL keeps a reference."""
    where = {"problems": str(hard(tmp_path / "hard", "nano-integrals", 2, 2)), "seeds": 1}
    arms = {"arms": ("base", "originals", "ladder"), "student.trainer": "trl", "student.steps": 3}
    config = preset("smoke", LadderConfig, **where | arms)
    assert config.student.optimiser.kl > 0 and config.student.advantage == "grpo"
    ladder.run(config, tmp_path / "run", base=nano, hooks=Hooks(progress=False))
    scores = files.read_jsonl(tmp_path / "run" / "scores.jsonl")
    assert {score["arm"] for score in scores} == {"base", "originals", "ladder"}
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics.groupby("arm").size().to_dict() == {"originals": 3, "ladder": 3}
    assert ((metrics["reward"] >= 0) & (metrics["reward"] <= 1.05)).all() and (metrics["length"] > 0).all()
    tensors, _ = files.load_checkpoint(runs.latest_checkpoint(tmp_path / "run"))
    fresh = Adapters.create(nano.model, 1, config.student.rank, config.student.alpha, _seeded(0))
    assert {name: tuple(t.shape[1:]) for name, t in tensors["students"].items()} == {
        name: tuple(t.shape[1:]) for name, t in fresh.state_dict().items()
    }
    assert metrics["signal"].any() and metrics["kl"].max() > 0
    assert any(tensor.any() for name, tensor in tensors["students"].items() if name.endswith(".b"))


# ------------------------------------------------------------------ settings and errors


WRONG = [
    (SoarConfig, {}, "student.trainer = 'trl': must be 'stack' in a SOAR run, where datasets x repeats students"),
    (LadderConfig, {}, "student.trainer = 'trl': must be 'stack' with the arms ladder_ttrl, base_ttrl"),
    (EvaluateConfig, {"student.trainer": "rllib"}, r"student\.trainer = 'rllib': must be one of stack, trl"),
]


@pytest.mark.parametrize(("kind", "changes", "message"), WRONG)
def test_where_trl_does_not_belong_is_said(kind, changes, message):
    with pytest.raises(ConfigError, match=message):
        preset("paper", kind, **{"student.trainer": "trl"} | changes)


def test_without_trl_an_evaluation_says_so_before_anything_is_written(taught, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trl", None)
    out, command = tmp_path / "out", ["evaluate", "--preset", "smoke", "--runs", str(taught)]
    assert cli.main([*command, "--out", str(out), "--set", "student.trainer=trl"]) == 2
    error = capsys.readouterr().err
    assert "trl cannot be imported (ModuleNotFoundError" in error and 'student.trainer = "stack"' in error
    assert not out.exists()


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="4 processes would write one run folder; start one"):
        check_trainer(settings("rloo", 0.0))
    check_trainer(settings("rloo", 0.0, "stack"))


def test_prediction_says_what_it_does_not_know():
    ours, theirs = evaluation(**{"student.trainer": "stack"}), evaluation()
    assert describe_cost(theirs, 10).endswith("students trained one after another by TRL")
    assert "CPU cores" in describe_cost(ours, 10) and "CPU cores" not in describe_cost(theirs, 10)
    assert describe_memory(theirs) == "memory not predicted: not worked out for student.trainer = 'trl'"
    check_memory(preset("paper", EvaluateConfig, **{"model": "nano", "rows": 10**9, "student.trainer": "trl"}))


def test_backward_passes_keep_to_max_tokens_and_add_up():
    chosen = replace(settings("rloo", 0.0), batch=3, group=8)
    found = trl_student.arguments(chosen, (1,), torch.device("cpu"), "build/trl")
    assert found.per_device_train_batch_size == 2 and found.gradient_accumulation_steps == 12
    assert found.generation_batch_size == 24 and found.steps_per_generation == 12
