"""Evaluation of a real (tiny) SOAR run: equal rollouts, resume, arms apart, a test set that chooses nothing."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
import words

from soar_lib import runs, soar, student
from soar_lib.analysis import evaluate
from soar_lib.analysis.evaluate import Entry, phases, plan, read_scores
from soar_lib.analysis.passk import COLUMNS
from soar_lib.analysis.sources import line_rollouts, read_source, spent
from soar_lib.config import EvaluateConfig, SoarConfig, change, from_values, preset
from soar_lib.policy.base import load
from soar_lib.runs import RunError

STUDENT = {
    "steps": 4, "batch": 2, "group": 4, "max_new_tokens": 6, "rank": 2, "alpha": 2.0,
    "optimiser": {"learning_rate": 0.02, "kl": 0.0, "warmup": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a model, a filter run's two files and two finished SOAR runs, the second without promotion."""
    folder = tmp_path_factory.mktemp("evaluate")
    words.save_model(folder / "model")
    (folder / "filter").mkdir()
    for name, count in (("hard_train", 8), ("hard_test", 5)):
        rows = map(asdict, words.problems(count, name))
        (folder / "filter" / f"{name}.jsonl").write_text(runs.jsonl(rows))
    for number, threshold in enumerate((0.0, 1.0)):
        config = change(
            SoarConfig(),
            {
                "model": str(folder / "model"), "problems": str(folder / "filter"), "seed": number, "rounds": 3,
                "datasets": 2, "repeats": 2, "dataset_size": 2, "reward_set": 8, "reward_samples": 4, "window": 1,
                "threshold": threshold, "extra_steps": 1, "max_steps": 6, "student": STUDENT,
                "teacher": {"max_new_tokens": 6, "rank": 2, "alpha": 2.0, "optimiser": {"warmup": 0}},
            },
        )  # fmt: skip
        soar.run(config, folder / f"soar{number}", progress=False)
    return folder


def settings(home: Path, **changes) -> EvaluateConfig:
    values = {
        "model": str(home / "model"), "students": 2, "synthetic_steps": 2, "teacher_samples": 3, "samples": 8,
        "ks": [1, 4, 8], "student": STUDENT,
    }  # fmt: skip
    return change(EvaluateConfig(), values | changes)


def counts(folder: Path) -> dict[tuple, int]:
    return {(s.arm, s.run.partition(": ")[2], s.student, s.problem): s.c for s in read_scores([folder])}


@pytest.fixture(scope="module")
def evaluated(home) -> tuple[Path, pd.DataFrame]:
    folders = [home / "soar0", home / "soar1"]
    return home / "out", evaluate.run(settings(home), folders, home / "out", progress=False)


def test_the_first_run_promotes_and_the_second_does_not(home):
    base = load(str(home / "model"), device="cpu")
    first, second = (read_source(base, home / f"soar{i}", settings(home)) for i in (0, 1))
    assert first.promotions >= 1 and len(first.promotion_questions) == 2 * first.promotions
    assert second.promotions == 0 and second.promotion_questions == []
    # Nobody promoted: PS is the untrained student, whose B is zero.
    assert all(not tensor.any() for tensor in second.promoted.b.values())
    assert any(tensor.any() for tensor in first.promoted.b.values())


def test_rollouts_of_a_run_are_those_in_its_metrics(home):
    for name in ("soar0", "soar1"):
        config = from_values(SoarConfig, runs.read_json(home / name / "config.json"))
        rounds = runs.read_jsonl(home / name / "rounds.jsonl")
        metrics = pd.read_csv(home / name / "metrics.csv")
        training = int((metrics["policy"] == "student").sum()) * 2 * 4
        rewards = len(rounds) * 5 * 8 * 4
        assert spent(config, rounds) == training + rewards


def test_trained_arms_have_equal_rollouts_and_inference_arms_state_theirs(home, evaluated):
    out, frame = evaluated
    rollouts = frame.drop_duplicates("arm").set_index("arm")["rollouts"].to_dict()
    assert rollouts["hard_only"] == rollouts["pq"] == rollouts["grounded_t"] == 4 * 2 * 4
    assert rollouts["base"] == 0
    source = read_source(load(str(home / "model"), device="cpu"), home / "soar0", settings(home))
    assert rollouts["ps"] == round(source.promoted_rollouts / 2) > 0
    metrics = pd.read_csv(out / "metrics.csv")
    assert metrics.groupby(["arm", "source", "student"]).size().unique().tolist() == [4]
    written = pd.read_csv(out / "sources.csv")
    assert written["soar_rollouts"].min() > 0 and written["promotions"].tolist() == [source.promotions, 0]


def test_table_covers_arms_seeds_and_ks(evaluated):
    out, frame = evaluated
    assert list(frame.columns) == COLUMNS
    seeds = frame.groupby("arm")["seeds"].unique().map(list).to_dict()
    assert seeds == {"base": [4], "hard_only": [4], "pq": [2], "ps": [4], "grounded_t": [4]}
    assert frame.groupby("arm")["k"].apply(list).map(tuple).unique().tolist() == [(1, 4, 8)]
    assert ((frame["low"] <= frame["mean"]) & (frame["mean"] <= frame["high"])).all()
    pd.testing.assert_frame_equal(pd.read_csv(out / "pass_at_k.csv"), frame)


def test_training_on_the_hard_problems_shows(evaluated):
    # Test questions equal train questions here, so a working loop must gain on the base.
    mean = evaluated[1].set_index(["arm", "k"])["mean"]
    print(mean)
    assert mean["hard_only", 1] > mean["base", 1]


@pytest.mark.parametrize("calls", [0, 3])
def test_interrupted_and_resumed_equals_uninterrupted(home, evaluated, tmp_path, monkeypatch, calls):
    done, real = [], student.accuracy

    def interrupted(*arguments, **options):
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments, **options)

    folders = [home / "soar0", home / "soar1"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(student, "accuracy", interrupted)
        evaluate.run(settings(home), folders, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "pass_at_k.csv").exists()
    assert len(read_scores([tmp_path / "out"])) == 5 * calls
    frame = evaluate.run(settings(home), folders, tmp_path / "out", resume=True, progress=False)
    pd.testing.assert_frame_equal(frame, evaluated[1])
    assert counts(tmp_path / "out") == counts(evaluated[0])


def test_resume_with_other_runs_is_refused(home, evaluated):
    with pytest.raises(RunError, match="began with the runs .*soar0.*soar1"):
        evaluate.run(settings(home), [home / "soar1"], evaluated[0], resume=True, progress=False)


def test_an_arm_is_the_same_alone_and_among_others(home, evaluated, tmp_path):
    alone = settings(home, arms=["base", "pq"])
    evaluate.run(alone, [home / "soar0", home / "soar1"], tmp_path / "out", progress=False)
    expected = {key: c for key, c in counts(evaluated[0]).items() if key[0] in ("base", "pq")}
    assert counts(tmp_path / "out") == expected


def test_the_test_set_chooses_nothing(home, evaluated, tmp_path):
    shutil.copytree(home / "filter", tmp_path / "other")
    rows = [{**row, "answer": "5"} for row in runs.read_jsonl(home / "filter" / "hard_test.jsonl")]
    (tmp_path / "other" / "hard_test.jsonl").write_text(runs.jsonl(rows))
    changed = settings(home, problems=str(tmp_path / "other"))
    evaluate.run(changed, [home / "soar0", home / "soar1"], tmp_path / "out", progress=False)
    students = [runs.load_checkpoint(runs.latest_checkpoint(out))[0] for out in (evaluated[0], tmp_path / "out")]
    assert all(torch.equal(value, students[1]["students"][name]) for name, value in students[0]["students"].items())
    assert counts(tmp_path / "out") != counts(evaluated[0])


def test_sampled_problems_are_kept_with_their_run(evaluated):
    written = runs.read_jsonl(evaluated[0] / "problems.jsonl")
    assert [row["source"] for row in written] == [0, 0, 0, 1, 1, 1]
    assert all(row["question"] in words.QUESTIONS for row in written)


def test_inference_arms_alone_need_no_training(home, tmp_path):
    inference = settings(home, arms=["base", "ps"])
    frame = evaluate.run(inference, [home / "soar0"], tmp_path / "out", progress=False)
    assert frame["arm"].unique().tolist() == ["base", "ps"]
    assert not (tmp_path / "out" / "metrics.csv").exists()


def test_phases_share_the_steps_and_the_first_one_warms_up():
    config = preset("paper", EvaluateConfig)
    first, second = phases(config)
    assert (first.steps, second.steps) == (64, 1436)
    assert (first.optimiser.warmup, second.optimiser.warmup) == (20, 0)
    only = phases(change(config, {"synthetic_steps": 0}))
    assert only[0] is None and only[1] == config.student
    assert phases(change(config, {"synthetic_steps": 1500}))[1] is None


def test_rollouts_along_the_line_of_promotions():
    config = SoarConfig()
    assert [line_rollouts(config, n) for n in range(5)] == [256 * steps for steps in (0, 10, 25, 45, 65)]


def test_plan_leaves_out_pq_without_promotion(home):
    base = load(str(home / "model"), device="cpu")
    sources = [read_source(base, home / f"soar{i}", settings(home)) for i in (0, 1)]
    entries = plan(settings(home, arms=["pq", "ps"]), sources)
    assert entries == [Entry("pq", 0, 0), Entry("pq", 0, 1), *(Entry("ps", i, j) for i in (0, 1) for j in (0, 1))]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda folder: (folder / "result.json").unlink(), "no finished SOAR run"),
        (lambda folder: (folder / "hard_test.jsonl").write_text(""), "name a filter run"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model": "another"})),
            "its model is another",
        ),
    ],
)
def test_a_run_that_cannot_be_evaluated_is_refused_and_nothing_is_written(home, tmp_path, damage, message):
    shutil.copytree(home / "soar0", tmp_path / "soar")
    damage(tmp_path / "soar")
    with pytest.raises(RunError, match=message):
        evaluate.run(settings(home), [tmp_path / "soar"], tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
