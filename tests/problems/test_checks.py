"""The check as an argument of filtering, accuracy and training: the reference answer, or the question's integral."""

import json
import random
from dataclasses import replace

import pytest
import tiny
import torch

from soar_lib.engine.base import load
from soar_lib.engine.update import advantages
from soar_lib.files import read_jsonl
from soar_lib.ladder import reward
from soar_lib.nano import world
from soar_lib.problems import filtering
from soar_lib.problems.checks import ANSWER, CHECKS, INTEGRAL, Check, with_references
from soar_lib.problems.rows import LoadError
from soar_lib.records import Draw, Problem
from soar_lib.settings import student as shared_settings
from soar_lib.settings.student import FilterConfig, StudentSettings, preset
from soar_lib.student import train as student


@pytest.fixture(scope="module")
def nano():
    return load("nano")


def easy_integrals(count: int, answer: str) -> list[Problem]:
    rng = random.Random(5)
    texts = [world.draw("simple_integration", 1, rng, held=False) for _ in range(count)]
    return [Problem(f"i{i}", text, answer) for i, text in enumerate(texts)]


def test_the_settings_know_the_checks():
    assert shared_settings.CHECKS == tuple(CHECKS)


def test_accuracy_by_the_integral_needs_no_answer(nano):
    """An easy integral is solved, whatever stands in the answer's place; by that answer it is not."""
    problems, keys = easy_integrals(4, "17"), [(1, "accuracy")]
    by_integral = student.accuracy(nano, None, problems, Draw(64), 4, keys, INTEGRAL)
    by_answer = student.accuracy(nano, None, problems, Draw(64), 4, keys)
    known = [replace(problem, answer=world.answer_of(problem.question)) for problem in problems]
    assert by_integral.mean() > 0.3 and not by_answer.any()
    assert torch.equal(student.accuracy(nano, None, known, Draw(64), 4, keys, ANSWER), by_integral)


def test_own_accuracy_is_each_slot_on_its_own_problem():
    base = tiny.base()
    population = tiny.adapters(base, 3)
    asked = [Problem(str(i), text, "") for i, text in enumerate(("abc", "hello", "2+2"))]
    keys = [(7, slot) for slot in range(3)]
    letters = replace(ANSWER, verdicts=lambda pairs: ["right" if "e" in text else "wrong" for _, text in pairs])
    own = student.own_accuracy(base, population, asked, Draw(12), 8, keys, letters)
    for slot, problem in enumerate(asked):
        alone = student.accuracy(base, population.select([slot]), [problem], Draw(12), 8, [keys[slot]], letters)
        assert own[slot] == alone[0, 0]
    assert 0 < own.sum() < 3


def test_filtering_by_the_integral_needs_no_answer(tmp_path):
    pool = tmp_path / "pool.jsonl"
    rows = [{"id": p.id, "question": p.question, "answer": p.answer} for p in easy_integrals(3, "17")]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {}
    for check in CHECKS:
        settings = preset("smoke", FilterConfig, problems=str(pool), size=0, check=check, k=6)
        filtering.run(settings, tmp_path / check, progress=False)
        found[check] = [row["hard"] for row in read_jsonl(tmp_path / check / "outcomes.jsonl")]
    assert all(found["answer"]) and not any(found["integral"])


def test_a_pool_that_states_no_integral_is_refused_before_anything_is_written(tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text(json.dumps({"id": "sum", "question": "1 + 1?", "answer": "2"}) + "\n")
    settings = preset("smoke", FilterConfig, problems=str(pool), size=0, check="integral")
    with pytest.raises(LoadError, match="sum: states no indefinite integral"):
        filtering.run(settings, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def trained(monkeypatch, advantage: str, check: Check = ANSWER):
    """Three steps of two tiny students; what the reward saw, what was learned from, and when it was watched."""
    base, seen, learned, watched = tiny.base(), [], [], []
    settings = StudentSettings(steps=3, batch=2, group=4, max_new_tokens=12, rank=4, alpha=8.0, advantage=advantage)
    asked = [Problem(f"p{i}", f"∫ {i + 2}*x dx", "answer") for i in range(3)]
    real = student.update

    def update(base, learner, samples, advantage, *rest):
        learned.append(advantage)
        return real(base, learner, samples, advantage, *rest)

    def reward(golds: list[str], responses: list[str]) -> list[float]:
        seen.append((golds, [float(sum(c.isdigit() for c in text)) for text in responses]))
        return seen[-1][1]

    monkeypatch.setattr(student, "update", update)
    lessons = [student.Lesson(with_references(asked, check), (slot,)) for slot in (1, 2)]
    student.train(
        base, tiny.adapters(base, 2), lessons, settings, reward,
        watch=lambda step, metrics, students: watched.append((step, metrics["step"], students.size)),
    )  # fmt: skip
    return seen, learned, watched


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
def test_advantages_are_of_the_kind_that_the_settings_name(monkeypatch, kind):
    seen, learned, _ = trained(monkeypatch, kind)
    for (_, values), found in zip(seen, learned, strict=True):
        expected = advantages(torch.tensor(values).view(-1, 4), kind).flatten()
        assert torch.equal(found, expected) and found.any()


def test_the_reward_sees_what_the_check_refers_to(monkeypatch):
    golds = [gold for step, _ in trained(monkeypatch, "grpo", check=INTEGRAL)[0] for gold in step]
    assert set(golds) == {"2*x", "3*x", "4*x"}
    assert all(len(set(golds[i : i + 4])) == 1 for i in range(0, len(golds), 4))
    assert {gold for step, _ in trained(monkeypatch, "rloo")[0] for gold in step} == {"answer"}


def test_students_may_be_watched_after_each_step(monkeypatch):
    _, _, watched = trained(monkeypatch, "rloo")
    assert watched == [(step, step, 2) for step in range(3)]


REWARDED = [
    ("2*x", r"so \boxed{x**2 + C}", 1.05),
    ("2*x", r"\boxed{x**2 + x}", 0.05),
    ("2*x", "x**2", 0.0),
    ("2*x", r"\boxed{\int 2x dx}", 0.0),
    ("1/x", r"\boxed{log(x)}", 1.05),
]


def test_ladders_reward_is_accuracy_and_format():
    integrands, responses, expected = zip(*REWARDED, strict=True)
    assert reward.verified_rewards(INTEGRAL)(integrands, responses) == list(expected)
    assert reward.verified_rewards(ANSWER)(["7"] * 3, [r"\boxed{7}", r"\boxed{8}", "7"]) == [1.05, 0.05, 0.0]


MAJORITIES = [
    (["3", "4", "3"], ("3", 2 / 3)),
    (["x + 1", None, "x+1", "y"], ("x + 1", 0.5)),
    (["4", "3"], ("4", 0.5)),
    ([None, None], ("", 0.0)),
    ([r"\frac12", r"\frac{1}{2}", "0.3"], (r"\frac12", 2 / 3)),
]


@pytest.mark.parametrize(("answers", "expected"), MAJORITIES)
def test_the_majority_is_the_most_frequent_answer(answers, expected):
    assert reward.majority(answers) == expected


def test_the_majoritys_reward_knows_no_answer():
    responses = [r"\boxed{5}", r"\boxed{5}", r"\boxed{1/2}", r"\boxed{0.5}", r"\boxed{\frac12}", r"\boxed{7}"]
    assert reward.majority_rewards(responses, 3) == [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    assert reward.majority_rewards(["5", "6"], 2) == [0.0, 0.0]
    assert reward.majority_rewards([r"\boxed{1}", "none", "none"], 3) == [1.0, 0.0, 0.0]
