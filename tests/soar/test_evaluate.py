"""Evaluation of a real (tiny) SOAR run: equal rollouts, resume, arms apart, a test set that chooses nothing."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import words

from soar_lib import files, runs
from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.files import RunError
from soar_lib.hooks import Hooks
from soar_lib.measure.passk import COLUMNS
from soar_lib.measure.quality import Verdict
from soar_lib.settings.student import preset
from soar_lib.settings.values import change
from soar_lib.soar import arms, evaluate
from soar_lib.soar import run as soar
from soar_lib.soar.arms import Entry, line_rollouts, plan, read_source, row_name, spent
from soar_lib.soar.evaluate import parts, phases, read_scores
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import InnerLoop

QUIET = Hooks(progress=False)
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
        (folder / "filter" / f"{name}.jsonl").write_text(files.jsonl(rows))
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
        soar.run(config, folder / f"soar{number}", hooks=QUIET)
    return folder


def settings(home: Path, **changes) -> EvaluateConfig:
    values = {
        "model": str(home / "model"), "dtype": "float32", "students": 2, "synthetic_steps": 2,
        "teacher_samples": 3, "samples": 8, "ks": [1, 4, 8], "student": STUDENT,
    }  # fmt: skip
    return change(EvaluateConfig(), values | changes)


def counts(folder: Path) -> dict[tuple, int]:
    return {(s.arm, s.run.partition(": ")[2], s.student, s.problem): s.c for s in read_scores([folder])}


@pytest.fixture(scope="module")
def evaluated(home) -> tuple[Path, pd.DataFrame]:
    folders = [home / "soar0", home / "soar1"]
    return home / "out", evaluate.run(settings(home), folders, home / "out", hooks=QUIET)


def test_the_first_run_promotes_and_the_second_does_not(home):
    base = load(str(home / "model"), device="cpu", dtype="float32")
    first, second = (read_source(base, home / f"soar{i}", settings(home)) for i in (0, 1))
    assert first.promotions >= 1 and len(first.promotion_questions) == 2 * first.promotions
    assert second.promotions == 0 and second.promotion_questions == []
    # Nobody promoted: PS is the untrained student, whose B is zero.
    assert all(not tensor.any() for tensor in second.promoted.b.values())
    assert any(tensor.any() for tensor in first.promoted.b.values())


@pytest.mark.parametrize("taught", [True, False])
def test_adapters_are_measured_on_the_base_that_they_were_trained_on(home, tmp_path, taught):
    shutil.copytree(home / "soar0", tmp_path / "soar")
    values = files.read_json(tmp_path / "soar" / "config.json")
    files.write_json(tmp_path / "soar" / "config.json", values | {"four_bit": taught})
    message = f"soar: began with four_bit = {taught}, not {not taught}; evaluate with "
    with pytest.raises(RunError, match=f"{message}--set four_bit={'true' if taught else 'false'}"):
        read_source(
            load(str(home / "model"), device="cpu", dtype="float32"),
            tmp_path / "soar",
            settings(home, four_bit=not taught),
        )
    files.write_json(tmp_path / "soar" / "config.json", values | {"revision": "sha256:0"})
    with pytest.raises(RunError, match="soar: began with revision = sha256:0, not sha256:.*--set revision=sha256:0"):
        read_source(load(str(home / "model"), device="cpu", dtype="float32"), tmp_path / "soar", settings(home))


def test_rollouts_of_a_run_are_those_in_its_metrics(home):
    for name in ("soar0", "soar1"):
        config = change(SoarConfig(), files.read_json(home / name / "config.json"))
        rounds = files.read_jsonl(home / name / "rounds.jsonl")
        metrics = pd.read_csv(home / name / "metrics.csv")
        training = int((metrics["policy"] == "student").sum()) * 2 * 4
        rewards = len(rounds) * 5 * 8 * 4
        assert spent(config, rounds) == training + rewards


def test_trained_arms_have_equal_rollouts_and_inference_arms_state_theirs(home, evaluated):
    out, frame = evaluated
    rollouts = frame.drop_duplicates("arm").set_index("arm")["rollouts"].to_dict()
    assert rollouts["hard_only"] == rollouts["pq"] == rollouts["grounded_t"] == 4 * 2 * 4
    assert rollouts["base"] == 0
    source = read_source(load(str(home / "model"), device="cpu", dtype="float32"), home / "soar0", settings(home))
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


@pytest.mark.parametrize(("calls", "kept"), [(0, 0), (3, 2 * 2 * 5)])  # in the second arm's second SOAR run
def test_interrupted_and_resumed_equals_uninterrupted(home, evaluated, tmp_path, calls, kept):
    done, real = [], student.accuracy

    def interrupted(*arguments, **options):
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments, **options)

    folders = [home / "soar0", home / "soar1"]
    with pytest.raises(KeyboardInterrupt):
        loop = InnerLoop(accuracy=interrupted)
        evaluate.run(settings(home), folders, tmp_path / "out", hooks=Hooks(progress=False, inner_loop=loop))
    assert not (tmp_path / "out" / "pass_at_k.csv").exists()
    assert len(read_scores([tmp_path / "out"])) == kept
    frame = evaluate.run(settings(home), folders, tmp_path / "out", resume=True, hooks=QUIET)
    pd.testing.assert_frame_equal(frame, evaluated[1])
    assert counts(tmp_path / "out") == counts(evaluated[0])


def test_resume_with_other_runs_is_refused(home, evaluated):
    with pytest.raises(RunError, match="began with the runs .*soar0.*soar1"):
        evaluate.run(settings(home), [home / "soar1"], evaluated[0], resume=True, hooks=QUIET)


def test_an_arm_is_the_same_alone_and_among_others(home, evaluated, tmp_path):
    alone = settings(home, arms=["base", "pq"])
    evaluate.run(alone, [home / "soar0", home / "soar1"], tmp_path / "out", hooks=QUIET)
    expected = {key: c for key, c in counts(evaluated[0]).items() if key[0] in ("base", "pq")}
    assert counts(tmp_path / "out") == expected


def test_the_test_set_chooses_nothing(home, evaluated, tmp_path):
    shutil.copytree(home / "filter", tmp_path / "other")
    rows = [{**row, "answer": "5"} for row in files.read_jsonl(home / "filter" / "hard_test.jsonl")]
    (tmp_path / "other" / "hard_test.jsonl").write_text(files.jsonl(rows))
    changed = settings(home, problems=str(tmp_path / "other"))
    evaluate.run(changed, [home / "soar0", home / "soar1"], tmp_path / "out", hooks=QUIET)
    students = [files.load_checkpoint(runs.latest_checkpoint(out))[0] for out in (evaluated[0], tmp_path / "out")]
    assert all(torch.equal(value, students[1]["students"][name]) for name, value in students[0]["students"].items())
    assert counts(tmp_path / "out") != counts(evaluated[0])


def test_sampled_problems_are_kept_with_their_run(evaluated):
    written = files.read_jsonl(evaluated[0] / "problems.jsonl")
    assert [(row["source"], row["arm"]) for row in written] == [(i, "grounded_t") for i in (0, 0, 0, 1, 1, 1)]
    assert all(row["question"] in words.QUESTIONS for row in written)


def test_inference_arms_alone_need_no_training(home, tmp_path):
    inference = settings(home, arms=["base", "ps"])
    frame = evaluate.run(inference, [home / "soar0"], tmp_path / "out", hooks=QUIET)
    assert frame["arm"].unique().tolist() == ["base", "ps"]
    assert not (tmp_path / "out" / "metrics.csv").exists()


def test_phases_share_the_steps_and_the_first_one_warms_up():
    config = preset("paper", EvaluateConfig)
    first, second = phases(config).values()
    assert (first.steps, second.steps) == (64, 1436)
    assert (first.optimiser.warmup, second.optimiser.warmup) == (20, 0)
    only = phases(change(config, {"synthetic_steps": 0}))
    assert only == {"synthetic": None, "hard": config.student}
    assert phases(change(config, {"synthetic_steps": 1500}))["hard"] is None


def test_rollouts_along_the_line_of_promotions():
    config = SoarConfig()
    assert [line_rollouts(config, n) for n in range(5)] == [256 * steps for steps in (0, 10, 25, 45, 65)]


def test_plan_leaves_out_pq_without_promotion(home):
    base = load(str(home / "model"), device="cpu", dtype="float32")
    sources = [read_source(base, home / f"soar{i}", settings(home)) for i in (0, 1)]
    entries = plan(settings(home, arms=["pq", "ps"]), sources, [])
    assert entries == [Entry("pq", 0, 0), Entry("pq", 0, 1), *(Entry("ps", i, j) for i in (0, 1) for j in (0, 1))]


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda folder: (folder / "result.json").unlink(), "no finished SOAR run"),
        (lambda folder: (folder / "hard_test.jsonl").write_text(""), "hard_test.jsonl: has 0 characters"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model": "another"})),
            "began with model = another, not .*; evaluate with --set model=another",
        ),
    ],
)
def test_a_run_that_cannot_be_evaluated_is_refused_and_nothing_is_written(home, tmp_path, damage, message):
    shutil.copytree(home / "soar0", tmp_path / "soar")
    damage(tmp_path / "soar")
    with pytest.raises(RunError, match=message):
        evaluate.run(settings(home), [tmp_path / "soar"], tmp_path / "out", hooks=QUIET)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ further arms and the transfer set

ARMS = [
    "base", "hard_only", "hard_only_x4", "grounded_t", "base_t", "correct_only", "well_posed", "oracle_small",
    "oracle_full", "self_answer",
]  # fmt: skip


def judge(problems) -> list[Verdict]:
    """Even questions are answered right; any rule will do that is not the same for all."""
    return [Verdict("correct" if int(problem.question[1]) % 2 == 0 else "arithmetic") for problem in problems]


@pytest.fixture(scope="module")
def widely(home) -> Path:
    """All further arms on one SOAR run, with real problems of a file and a transfer set."""
    rows = [asdict(problem) for problem in words.problems(10, "real")]
    rows = [{**row, "question": f"so {row['question']}"} for row in rows]
    rows[0]["question"] = "q0"  # as in hard test
    (home / "real.jsonl").write_text(files.jsonl(rows))
    (home / "far").mkdir()
    for name, count in (("hard_train", 2), ("hard_test", 1)):
        far = [{**asdict(problem), "question": f"far {name}"} for problem in words.problems(count, f"far {name}")]
        (home / "far" / f"{name}.jsonl").write_text(files.jsonl(far))
    evaluate.run(wide(home), [home / "soar0"], home / "wide", hooks=QUIET, judge=judge)
    return home / "wide"


def wide(home: Path, **changes) -> EvaluateConfig:
    further = {"oracle": str(home / "real.jsonl"), "transfer": str(home / "far"), "teacher_samples": 8, "arms": ARMS}
    return settings(home, **further | changes)


def test_every_row_states_its_rollouts(widely):
    rollouts = pd.read_csv(widely / "pass_at_k.csv").drop_duplicates("arm").set_index("arm")["rollouts"].to_dict()
    assert list(rollouts) == ARMS
    assert (rollouts.pop("base"), rollouts.pop("self_answer"), rollouts.pop("hard_only_x4")) == (0, 3 * 2 * 2, 128)
    assert set(rollouts.values()) == {32}


def test_each_arm_trains_on_its_own_problems_then_on_hard_train(home, tmp_path, widely):
    seen, real = [], student.train

    def record(base, adapters, lessons, settings, *rest):
        seen.extend((own.key[3], own.key[2], settings.group, tuple(own.problems)) for own in lessons)
        return real(base, adapters, lessons, settings, *rest)

    loop, config = InnerLoop(train=record), wide(home, students=1)
    evaluate.run(config, [home / "soar0"], tmp_path / "out", judge=judge, hooks=Hooks(progress=False, inner_loop=loop))
    found = {(arm, phase): problems for arm, phase, _, problems in seen}
    written = files.read_jsonl(tmp_path / "out" / "problems.jsonl")
    hard = found["hard_only", "hard"]
    assert len(hard) == 8 and all(problems == hard for (_, phase), problems in found.items() if phase == "hard")
    assert {group for arm, _, group, _ in seen if arm == "hard_only_x4"} == {16}
    assert {group for arm, _, group, _ in seen if arm != "hard_only_x4"} == {4}
    assert found["hard_only", "synthetic"] == found["hard_only_x4", "synthetic"] == hard
    for arm in ("grounded_t", "base_t", "correct_only", "well_posed"):
        assert [p.id for p in found[arm, "synthetic"]] == [row["id"] for row in written if row["arm"] == arm]
    full, small = found["oracle_full", "synthetic"], found["oracle_small", "synthetic"]
    assert [p.id for p in full] == [f"real{i}" for i in range(1, 10)]  # the first is measured too, so it is left out
    assert len(small) == 8 and {*small} < {*full}


def test_correct_and_well_posed_problems_come_in_equal_numbers(widely):
    by_arm = {arm: [] for arm in ARMS}
    for row in files.read_jsonl(widely / "problems.jsonl"):
        by_arm[row["arm"]].append(row)
    correct, posed, all_of_them = (by_arm[arm] for arm in ("correct_only", "well_posed", "grounded_t"))
    assert 0 < len(correct) == len(posed) < len(all_of_them) == len(by_arm["base_t"]) == 8
    assert all(int(row["question"][1]) % 2 == 0 for row in correct)
    ids = {row["id"] for row in all_of_them}
    assert {row["id"] for row in correct + posed} <= ids


def test_each_student_can_have_its_own_draw_and_both_teachers_draw_with_the_same_numbers(home, tmp_path):
    config = wide(home, arms=["grounded_t", "base_t"], own_draws=True, transfer="")
    base = load(config.model, dtype="float32")
    source = read_source(base, home / "soar0", config)
    unchanged = replace(source, teacher=Adapters.create(base.model, 1, 2, 2.0, torch.Generator()))
    rows = arms.write(base, config, [unchanged], judge)
    mine = {
        (arm, student): [row["question"] for row in rows if (row["arm"], row["student"]) == (arm, student)]
        for arm in config.arms
        for student in range(2)
    }
    assert all(mine["grounded_t", student] == mine["base_t", student] for student in range(2))
    assert mine["base_t", 0] != mine["base_t", 1] and len(mine["base_t", 0]) == config.teacher_samples
    entries = plan(config, [unchanged], rows)
    assert [entry.student for entry in entries] == [0, 1, 0, 1]
    for entry in entries:
        own = arms.own_problems(entry, config, unchanged, rows)
        assert [problem.question for problem in own] == mine[entry.arm, entry.student]


def test_without_wrong_answers_there_is_no_such_pair(home, tmp_path):
    config = wide(home, arms=["base", "correct_only", "well_posed"])
    frame = evaluate.run(
        config,
        [home / "soar0"],
        tmp_path / "out",
        hooks=QUIET,
        judge=lambda some: [Verdict("correct") for _ in some],
    )
    assert frame["arm"].unique().tolist() == ["base"]


def test_the_transfer_set_is_measured_and_changes_nothing_else(home, tmp_path, widely):
    scores = read_scores([widely])
    far = {score.problem for score in scores if score.set == "transfer"}
    assert far == {"far hard_train0", "far hard_train1", "far hard_test0"}
    assert list(pd.read_csv(widely / "transfer.csv")["arm"].unique()) == ARMS
    inference = {"arms": ["base", "hard_only"]}
    evaluate.run(wide(home, transfer="", **inference), [home / "soar0"], tmp_path / "out", hooks=QUIET)
    assert not (tmp_path / "out" / "transfer.csv").exists()
    near = {(s.arm, s.student, s.problem): s.c for s in scores if s.set == "hard_test" and s.arm in inference["arms"]}
    assert {(s.arm, s.student, s.problem): s.c for s in read_scores([tmp_path / "out"])} == near


def test_a_transfer_set_that_was_trained_on_is_refused(home, tmp_path, widely):
    with pytest.raises(RunError, match="hard_train0 is a hard train problem of .*soar0; name another"):
        evaluate.run(wide(home, transfer=str(home / "filter")), [home / "soar0"], tmp_path / "out", hooks=QUIET)
    with pytest.raises(RunError, match="transfer must name the folder of a filter run"):
        evaluate.run(wide(home, transfer=str(home / "model")), [home / "soar0"], tmp_path / "out", hooks=QUIET)
    with pytest.raises(RunError, match="no outcomes.jsonl.*need a set: --set oracle=SET"):
        evaluate.run(wide(home, oracle=""), [home / "soar0"], tmp_path / "out", hooks=QUIET)
    assert not (tmp_path / "out").exists()


def test_students_train_alike_in_parts(home, tmp_path, widely):
    config = wide(home, together=3)
    evaluate.run(config, [home / "soar0"], tmp_path / "out", hooks=QUIET, judge=judge)
    one, two = (files.load_checkpoint(runs.latest_checkpoint(out))[0]["students"] for out in (widely, tmp_path / "out"))
    assert all(torch.allclose(value, two[name], atol=1e-4) for name, value in one.items())
    source = read_source(load(str(home / "model"), device="cpu", dtype="float32"), home / "soar0", settings(home))
    entries = plan(config, [source], files.read_jsonl(tmp_path / "out" / "problems.jsonl"))
    trained = [entry for entry in entries if entry.arm not in ("base", "self_answer")]
    cut = parts(trained, 3)
    assert sorted(map(len, cut)) == [2, 2, 3, 3, 3, 3]
    assert sorted(sum(cut, []), key=trained.index) == trained
    assert [part for part in cut if any(entry.arm == "hard_only_x4" for entry in part)] == [cut[-1]]


def test_a_finished_evaluation_is_only_read(home, tmp_path, widely):
    shutil.copytree(widely, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "checkpoint")  # published folders have none
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()}
    frame = evaluate.run(wide(home), [home / "soar0"], tmp_path / "out", resume=True, hooks=QUIET)
    pd.testing.assert_frame_equal(frame, pd.read_csv(widely / "pass_at_k.csv"))
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("name", ["sources", "transfer", "pass_at_k"])
def test_a_table_that_is_gone_is_made_anew_and_an_empty_one_is_named(home, tmp_path, widely, name):
    shutil.copytree(widely, tmp_path / "out")
    path = tmp_path / "out" / f"{name}.csv"
    before = path.read_bytes()
    path.write_text("")
    again = lambda: evaluate.run(wide(home), [home / "soar0"], tmp_path / "out", resume=True, hooks=QUIET)  # noqa: E731
    with pytest.raises(RunError, match=f"{name}.csv: cannot be read .*; delete it, and the same command"):
        again()
    path.unlink()
    again()
    assert path.read_bytes() == before


def test_an_arm_is_named_after_its_run(home, tmp_path):
    intrinsic = change(
        change(SoarConfig(), files.read_json(home / "soar0" / "config.json")),
        {"reward": "intrinsic", "promotion": False, "intrinsic_samples": 4, "rounds": 1},
    )
    soar.run(intrinsic, tmp_path / "soar", hooks=QUIET)
    named = settings(home, arms=["base", "ps", "grounded_t"], students=1)
    frame = evaluate.run(named, [tmp_path / "soar"], tmp_path / "out", hooks=QUIET)
    assert frame["arm"].unique().tolist() == ["base", "ps_intrinsic", "intrinsic_t"]
    turned = change(intrinsic, {"reward": "grounded", "teacher.turns": 2})
    assert row_name("grounded_t", turned, "n_half") == "grounded_t_no_promotion_multi_turn_n_half"
    assert row_name("base_t", turned, "n_half") == "base_t_multi_turn"
