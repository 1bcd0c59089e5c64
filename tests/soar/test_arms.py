"""The arms are settings of one run: the intrinsic reward against samples counted by hand, two turns token by token."""

import csv
import functools
from dataclasses import replace

import pytest
import tiny
import torch
from tiny_world import settings

from soar_lib import files, runs
from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import decode, sample
from soar_lib.engine.update import completion_logprobs, make_learner
from soar_lib.hooks import Hooks
from soar_lib.problems.prompts import student_messages, tagged, teacher_messages
from soar_lib.randomness import uniforms
from soar_lib.records import Draw
from soar_lib.settings.values import ConfigError, change, chosen, described
from soar_lib.soar import run as soar
from soar_lib.soar import teacher
from soar_lib.soar.rewards import Measured, OuterStep
from soar_lib.soar.settings import STUDENT_REWARDS, TEACHER_REWARDS, SoarConfig
from soar_lib.verifier.verify import check

QUIET = Hooks(progress=False)
KEY = (0, "teacher", 1)
INTRINSIC = {"reward": "intrinsic", "promotion": False, "intrinsic_samples": 3, "rounds": 2}


@pytest.fixture(scope="module")
def base(tiny_world):
    return load(settings(tiny_world).model, dtype="float32")


@pytest.fixture(scope="module")
def adapters(base):
    return Adapters.create(base.model, 1, 4, 4.0, torch.Generator().manual_seed(0))


# ------------------------------------------------------------------ the intrinsic reward


@pytest.fixture(scope="module")
def intrinsic(tiny_world, tmp_path_factory) -> soar.Result:
    folder = tmp_path_factory.mktemp("intrinsic") / "run"
    return soar.run(settings(tiny_world, **INTRINSIC), folder, hooks=QUIET)


def test_every_reward_of_the_settings_has_its_function():
    for name in TEACHER_REWARDS:
        config, function = chosen(SoarConfig(promotion=False), "reward", name, TEACHER_REWARDS)
        assert config.reward == name and function.__name__ == name
    for name in STUDENT_REWARDS:
        config, function = chosen(SoarConfig(), "student_reward", name, STUDENT_REWARDS)
        assert config.student_reward == name and function(["7"], [r"\boxed{7}"]) > function(["7"], [r"\boxed{8}"])


def test_the_intrinsic_reward_is_the_samples_counted_by_hand(intrinsic, base, tiny_world):
    """Nothing trains the student, so its samples are the base's, drawn here one question at a time."""
    config, count = settings(tiny_world, **INTRINSIC), 3
    limit = config.student.max_new_tokens
    written = [row for row in files.read_jsonl(intrinsic.folder / "problems.jsonl") if row["round"] == 1]
    numbers = uniforms((len(written) * count, limit), config.seed, "intrinsic", 1, "accuracy")
    rewards = []
    for i, row in enumerate(written):
        prompt = base.encode(student_messages(row["question"]))
        drawn = sample(base, None, [prompt], [0], count, numbers[i * count : (i + 1) * count], Draw(limit))
        share = sum(check(row["answer"], text) == "right" for text in decode(base, drawn)) / count
        rewards.append(1 - share if share else 0.0)
    half = config.dataset_size
    expected = [sum(part) / half for part in (rewards[:half], rewards[half:])]
    assert [row for (row,) in intrinsic.rounds[0].rewards] == pytest.approx(expected)
    assert 0 < sum(expected) < config.datasets  # else this world would not tell the rewards apart
    assert [row["reward"] for row in written] == pytest.approx([expected[0]] * half + [expected[1]] * half)


def test_with_the_intrinsic_reward_only_the_teacher_learns(intrinsic, tiny_world):
    assert [record.promoted for record in intrinsic.rounds] == [False, False]
    assert len(intrinsic.accuracies) == 1 and intrinsic.promoted_student == 0
    lines = (intrinsic.folder / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["teacher", "teacher"]
    tensors, _ = files.load_checkpoint(runs.latest_checkpoint(intrinsic.folder))
    assert not any(tensor.any() for name, tensor in tensors["baselines"].items() if name.endswith(".b"))
    assert any(tensor.any() for name, tensor in tensors["teacher"].items() if name.endswith(".b"))


def constant(step: OuterStep) -> Measured:
    """Pays the first data set, whatever is in it, and trains nobody."""
    return Measured(((1.0,), (0.0,)), 0.5)


def test_rewards_of_the_callers_own_are_used_and_recorded(tiny_world, tmp_path):
    heard = []
    rewards = {"teacher_reward": constant, "student_reward": lambda golds, responses: heard.append(golds)}
    config = settings(tiny_world, rounds=1, promotion=False)
    result = soar.run(config, tmp_path / "run", **rewards, hooks=QUIET)
    assert result.rounds[0].rewards == ((1.0,), (0.0,)) and heard == []  # no student was trained
    recorded = files.read_json(tmp_path / "run" / "config.json")
    assert recorded["reward"] == described(constant)
    assert recorded["reward"].startswith("tests.soar.test_arms.constant sha256:")
    assert "<lambda> sha256:" in recorded["student_reward"]


def test_students_are_paid_by_a_reward_of_the_callers_own(tiny_world, tmp_path):
    def length(golds: list[str], responses: list[str]) -> list[float]:
        return [float(len(response)) for response in responses]

    soar.run(settings(tiny_world, rounds=1), tmp_path / "run", student_reward=length, hooks=QUIET)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        paid = [float(row["reward"]) for row in csv.DictReader(file) if row["policy"] == "student"]
    assert len(set(paid)) > 1 and not all(value % 1 == 0 and value <= 120 and value % 10 == 0 for value in paid)


def test_a_run_is_not_resumed_with_another_reward(tiny_world, tmp_path):
    config = settings(tiny_world, rounds=1, promotion=False)
    soar.run(config, tmp_path / "run", teacher_reward=constant, hooks=QUIET)
    again = functools.partial(soar.run, folder=tmp_path / "run", resume=True, hooks=QUIET)
    assert again(config, teacher_reward=constant).rounds[0].rewards == ((1.0,), (0.0,))
    for other in (None, "intrinsic", lambda step: constant(step)):
        with pytest.raises(files.RunError, match="began with other settings .*reward"):
            again(config, teacher_reward=other)
    recorded = change(SoarConfig(), files.read_json(tmp_path / "run" / "config.json"))
    with pytest.raises(ConfigError, match="was a function; give it to run"):
        again(recorded)


def test_a_reward_that_trains_nobody_promotes_nobody(tiny_world, tmp_path):
    config = settings(tiny_world, rounds=1, window=1, threshold=0.0)
    with pytest.raises(ConfigError, match="constant .* trains no students; set promotion to false"):
        soar.run(config, tmp_path / "run", teacher_reward=constant, hooks=QUIET)


def test_a_finished_run_is_only_read(intrinsic, tiny_world, tmp_path):
    """Published runs lack checkpoint and adapters; going on with one must not empty its logs."""
    folder = tmp_path / "published"
    folder.mkdir()
    for path in intrinsic.folder.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    again = soar.run(settings(tiny_world, **INTRINSIC), folder, resume=True, hooks=QUIET)
    assert again.rounds == intrinsic.rounds
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    with pytest.raises(files.RunError, match="seed: 0 -> 1"):
        soar.run(settings(tiny_world, **INTRINSIC, seed=1), folder, resume=True, hooks=QUIET)


# ------------------------------------------------------------------ two turns


@pytest.fixture(scope="module")
def two_turns(tiny_world):
    return replace(settings(tiny_world).teacher, turns=2)


@pytest.fixture(scope="module")
def proposal(base, adapters, two_turns):
    return teacher.propose(base, adapters, 8, two_turns, KEY)


def test_the_first_turn_ends_with_the_question_and_the_second_answers_it(base, proposal):
    assert len(proposal.samples) == 2 * len(proposal.problems) == 16
    texts = decode(base, proposal.samples)
    prompts = [
        [token for token, real in zip(ids, mask, strict=True) if real]
        for ids, mask in zip(proposal.samples.prompt.tolist(), proposal.samples.prompt_mask.tolist(), strict=True)
    ]
    for i, problem in enumerate(proposal.problems):
        question, answer = texts[2 * i], texts[2 * i + 1]
        assert question.endswith("</question>") and question.count("</question>") == 1
        assert tagged(question, "question") == problem.question
        assert f"\\boxed{{{problem.answer}}}" in answer and problem.text == f"{question}\n{answer}"
        assert prompts[2 * i] == base.encode(teacher_messages())
        assert prompts[2 * i + 1] == base.encode(student_messages(problem.question))
    assert proposal.attempts == 8 + sum(proposal.rejected.values())
    assert set(proposal.rejected) <= {"question tags", "box", "answer does not parse"}


def test_log_probabilities_of_both_turns_are_the_teachers(base, adapters, proposal):
    again = completion_logprobs(base, adapters, proposal.samples)
    assert torch.allclose(again, proposal.samples.logprobs, atol=1e-4)
    assert (proposal.samples.logprobs.sum(1) < 0).all()


def test_the_first_turn_is_the_beginning_of_what_one_turn_writes(base, adapters, two_turns, tiny_world):
    """Same key, same prompt: only where the completion is cut differs, and what fails only later is not dropped."""
    once = teacher.propose(base, adapters, 8, settings(tiny_world).teacher, KEY)
    twice = teacher.propose(base, adapters, 8, two_turns, KEY)
    begun = {problem.id: problem.text.split("\n")[0] for problem in twice.problems}
    shared = [problem for problem in once.problems if problem.id in begun]
    assert shared and all(problem.text.startswith(begun[problem.id]) for problem in shared)


@pytest.mark.parametrize("draw", [1, 3, 64])
def test_the_number_drawn_at_a_time_does_not_matter(base, adapters, two_turns, proposal, draw):
    other = teacher.propose(base, adapters, 8, replace(two_turns, draw=draw), KEY)
    assert (other.problems, other.attempts, other.rejected) == (
        proposal.problems, proposal.attempts, proposal.rejected,
    )  # fmt: skip


def test_both_turns_learn_from_the_reward_of_their_data_set(base, adapters, two_turns, proposal):
    optimiser = replace(two_turns.optimiser, learning_rate=1e-3, kl=0.0, schedule="constant", warmup=0)
    learner = make_learner(adapters.select([0]), optimiser, 10)
    before = completion_logprobs(base, learner.adapters, proposal.samples).sum(1)
    teacher.learn(base, learner, proposal.samples, [1.0, 0.0], 0)
    after = completion_logprobs(base, learner.adapters, proposal.samples).sum(1)
    moved = (after - before).detach().view(2, 4, 2).sum(1)
    assert (moved[0] > moved[1]).all() and moved[0].sum() > 0  # [data set, turn]


def test_a_teacher_that_asks_nothing_is_an_error(two_turns):
    base = tiny.base()  # random weights
    values = replace(two_turns, max_attempts=5, max_new_tokens=8)
    with pytest.raises(teacher.TeacherError, match=r"only 0 of 10 completions parse \(0\.0%.*question tags 10\)"):
        teacher.propose(base, tiny.adapters(base, 1), 2, values, KEY)


def test_a_run_with_two_turns_goes_its_rounds(tiny_world, tmp_path):
    changes = {"teacher.turns": 2, "rounds": 2, "repeats": 1}
    result = soar.run(settings(tiny_world, **changes), tmp_path / "run", hooks=QUIET)
    written = files.read_jsonl(result.folder / "problems.jsonl")
    assert len(written) == 2 * 2 * 4 and all("</question>\n" in row["text"] for row in written)
