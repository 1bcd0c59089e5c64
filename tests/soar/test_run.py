"""Algorithm 1 as a whole: what a round records, the promotion, the order of things, and a run killed at any instant."""

import dataclasses
import json
from pathlib import Path

import killer
import pandas as pd
import pytest
import tiny
import torch
from tiny_world import settings

from soar_lib import files, runs
from soar_lib.engine import lora
from soar_lib.engine.base import load
from soar_lib.hooks import Hooks
from soar_lib.settings.values import ConfigError
from soar_lib.soar import rewards
from soar_lib.soar import run as soar
from soar_lib.soar.rewards import Measured, OuterStep, grounded


def generous(step: OuterStep) -> Measured:
    """The grounded reward and half an accuracy more, so that promotions happen as soon as the window is full."""
    found = grounded(step)
    return dataclasses.replace(found, gains=tuple(tuple(gain + 0.5 for gain in row) for row in found.gains))


def play(world: str | Path, folder: str | Path, **changes) -> soar.Result:
    torch.set_num_threads(1)
    config = settings(Path(world), **changes)
    return soar.run(config, folder, resume=True, teacher_reward=generous, hooks=Hooks(progress=False))


@pytest.fixture(scope="module")
def finished(tiny_world, tmp_path_factory) -> soar.Result:
    return play(tiny_world, tmp_path_factory.mktemp("soar") / "run")


def test_a_run_killed_at_random_instants_ends_like_one_left_alone(tiny_world, tmp_path):
    killed = killer.assert_same_after_kills("tests.soar.test_run:play", tmp_path, str(tiny_world))
    assert any(record.promoted for record in soar.read_rounds(killed))


def test_rounds_say_what_happened(finished, tiny_world):
    config = settings(tiny_world)
    assert [record.round for record in finished.rounds] == list(range(1, config.rounds + 1))
    history = []
    for record in finished.rounds:
        assert len(record.rewards) == config.datasets and {len(row) for row in record.rewards} == {config.repeats}
        history.append(sum(rewards.dataset_rewards(record.rewards)) / config.datasets)
        assert record.mean_reward == pytest.approx(history[-1])
        assert record.moving_average == pytest.approx(rewards.moving_average(history, config.window))
        assert record.promoted == rewards.promote(history, config.window, config.threshold)
        assert record.chosen == (rewards.choose(record.rewards) if record.promoted else None)
        assert record.attempts == config.datasets * config.dataset_size + sum(record.rejected.values())
    assert sum(record.promoted for record in finished.rounds) == config.rounds - config.window + 1


def test_spraying_is_shown_at_the_end(finished):
    frame = pd.read_csv(finished.folder / "metrics.csv").query("policy == 'student'")
    assert 0 < finished.sprayed < 1 and finished.sprayed == pytest.approx(frame["sprayed"].mean())
    assert f"{finished.sprayed:.1%} of completions boxed the answer among others (student.longest_box" in str(finished)


def test_problems_carry_the_reward_of_their_data_set(finished, tiny_world):
    config = settings(tiny_world)
    rows = files.read_jsonl(finished.folder / "problems.jsonl")
    assert len(rows) == config.rounds * config.datasets * config.dataset_size
    assert len({row["id"] for row in rows}) == len(rows)
    for record in finished.rounds:
        for k, repeats in enumerate(record.rewards):
            mine = [row for row in rows if (row["round"], row["dataset"]) == (record.round, k)]
            assert len(mine) == config.dataset_size
            assert {row["reward"] for row in mine} == {sum(repeats) / len(repeats)}


def test_promotion_questions_are_the_chosen_data_sets_in_order(finished, tiny_world):
    chosen = [(record.round, record.chosen[0]) for record in finished.rounds if record.promoted]
    best = soar.promotion_questions(finished.folder)
    size = settings(tiny_world).dataset_size
    assert [(problem.round, problem.dataset) for problem in best] == [place for place in chosen for _ in range(size)]
    written = (finished.folder / "promotion_questions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in written] == [problem.id for problem in best]


def test_inner_runs_grow_with_promotions(finished, tiny_world):
    config = settings(tiny_world)
    lines = (finished.folder / "metrics.csv").read_text().splitlines()[1:]
    promotions = 0
    for record in finished.rounds:
        steps = {line.split(",")[4] for line in lines if line.startswith(f"{record.round},student,")}
        assert len(steps) == config.inner_steps(promotions)
        promotions += record.promoted


def test_the_promoted_student_is_the_best_promoted_baseline(finished, tiny_world):
    base = load(settings(tiny_world).model, dtype="float32")
    tensors, _ = files.load_checkpoint(runs.latest_checkpoint(finished.folder))
    assert len(finished.accuracies) == 1 + sum(record.promoted for record in finished.rounds)
    assert finished.accuracies[finished.promoted_student] == max(finished.accuracies[1:])
    saved = lora.load_peft(finished.folder / "adapters" / "promoted_student", base.model).state_dict()
    for name, stacked in tensors["baselines"].items():
        assert torch.equal(saved[name][0], stacked[finished.promoted_student])
    learned = lora.load_peft(finished.folder / "adapters" / "teacher", base.model).state_dict()
    assert all(torch.equal(learned[name], tensor) for name, tensor in tensors["teacher"].items())
    assert any(tensor.abs().sum() > 0 for name, tensor in learned.items() if name.endswith(".b"))


def test_without_promotion_the_baseline_stays(tiny_world, tmp_path):
    result = play(tiny_world, tmp_path / "run", promotion=False, rounds=3)
    assert not any(record.promoted for record in result.rounds)
    assert len(result.accuracies) == 1 and result.promoted_student == 0
    assert soar.promotion_questions(tmp_path / "run") == []


def test_a_promotion_can_train_the_chosen_data_set_anew(tiny_world, tmp_path):
    seen = []

    def watched(step: OuterStep) -> Measured:
        seen.append((step.number, [[problem.id for problem in problems] for problems in step.datasets]))
        return generous(step)

    config = settings(tiny_world, promotion_repeats=3, repeats=1)
    result = soar.run(config, tmp_path / "run", teacher_reward=watched, hooks=Hooks(progress=False))
    played, anew = [s for s in seen if len(s[1]) > 1], [s for s in seen if len(s[1]) == 1]
    promoted = [record for record in result.rounds if record.promoted]
    assert len(played) == config.rounds and [number for number, _ in anew] == [record.round for record in promoted]
    for (number, (chosen,)), record in zip(anew, promoted, strict=True):
        assert chosen == dict(played)[number][record.chosen[0]]
    tensors, _ = files.load_checkpoint(runs.latest_checkpoint(result.folder))
    assert {len(stacked) for stacked in tensors["baselines"].values()} == {1 + len(promoted)}


def test_the_first_round_comes_before_any_learning_of_the_teachers(tiny_world, tmp_path, finished):
    changes = {"rounds": 1, "teacher.optimiser.learning_rate": 0.5}
    other = play(tiny_world, tmp_path / "run", **changes)
    assert dataclasses.replace(other.rounds[0], promoted=False) == finished.rounds[0]


def test_the_reward_set_is_drawn_anew_without_repetition(tiny_world):
    config = settings(tiny_world)
    train, test = soar.problems(config, tiny_world / "nowhere")
    draws = [[problem.id for problem in soar.reward_set(train, config, number)] for number in (1, 2, 1)]
    assert draws[0] == draws[2] != draws[1] and test == []
    assert all(len(set(draw)) == config.reward_set for draw in draws)


def test_too_few_hard_problems_are_refused_before_anything_is_written(tiny_world, tmp_path):
    with pytest.raises(ConfigError, match="reward_set = 41: must be at most 40"):
        soar.run(settings(tiny_world, reward_set=41), tmp_path / "run", base=tiny.base())
    with pytest.raises(ConfigError, match="problems = ''"):
        soar.run(settings(tiny_world, problems=""), tmp_path / "run", base=tiny.base())
    assert not list(tmp_path.iterdir())
