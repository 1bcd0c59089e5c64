"""The comparison of methods: one base, one hard test set, every completion counted."""

import pandas as pd
import pytest

from soar_lib import files
from soar_lib.engine.base import load as load_base
from soar_lib.measure import methods as shown
from soar_lib.nano import world2
from soar_lib.problems.likeness import overlap
from soar_lib.problems.rows import hard_sets
from soar_lib.records import HARD_TEST, HARD_TRAIN, Draw
from soar_lib.soar.rewards import OuterStep
from soar_lib.soar.settings import SoarConfig
from tools import methods, rivals

SIZES = methods.Sizes(2, 4, (2, 2), (1, 1), (1,), 4, (2, 1), 2, 1, 5)


@pytest.fixture(scope="module")
def base():
    return load_base("nano2")


@pytest.fixture(scope="module")
def run(tmp_path_factory, base):
    """(folder, rows) of a small comparison on four test problems, with the committed teachers."""
    folder = tmp_path_factory.mktemp("methods")
    train, test = hard_sets(methods.STUDY / "filter")
    (study := folder / "study" / "filter").mkdir(parents=True)
    files.write_problems(study, {HARD_TRAIN: train[:60], HARD_TEST: test[:4]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "STUDY", folder / "study")
        patch.setattr(methods, "SAMPLES", 4)
        out = folder / "run"
        rows = methods.run(out, SIZES, base)
        before = [path.read_bytes() for path in sorted(out.glob("*/*.csv"))]
        assert methods.run(out, SIZES, base).equals(rows)  # all is read
        assert [path.read_bytes() for path in sorted(out.glob("*/*.csv"))] == before
    return out, rows


def test_every_method_is_measured_on_both_kinds_of_problems(run):
    _, rows = run
    everywhere = {"base", "rl", "svs", "ladder", *methods.NAMES.values()}
    for _, own in rows.groupby("problems"):
        assert {*own["method"]} == everywhere
        assert own.groupby("method")["seed"].nunique().eq(2).all()
    assert rows["pass@32"].between(0, 1).all() and (rows["pass@1"] <= rows["pass@32"]).all()


def test_nothing_is_learnt_from_hard_test_and_only_the_pool_has_easier_problems(run):
    out, _ = run
    hard, pool = (hard_sets(out / name) for name in methods.PROBLEMS)
    assert hard[1] == pool[1] and not overlap(pool[0], pool[1])[0]
    assert pool[0][: len(hard[0])] == hard[0] and len(pool[0]) == len(hard[0]) + SIZES.easier


def test_labels_of_ladders_trees_are_judged_by_the_world(run):
    out, _ = run
    found = methods.labels(out)
    assert found[["new", "labelled", "right"]].stack().between(0, 1).all() and {*found["problems"]} == {"hard", "pool"}
    rows = [row for row in files.read_jsonl(out / "pool" / "trees" / "problems.jsonl") if row["answer"]]
    right = [world2.answer_of(row["question"]) == row["answer"] for row in rows if row["level"] == 1]
    (first,) = found.query("problems == 'pool' and level == 1").to_dict("records")
    assert right and first["right"] == pytest.approx(sum(right) / len(right), abs=1e-4)


def test_completions_are_what_the_logs_of_the_parts_add_up_to(run):
    out, rows = run
    ends = rows.groupby(["problems", "method", "seed"])["completions"].max()
    for name in methods.PROBLEMS:
        curves = pd.read_csv(out / name / "svs" / "svs" / "metrics.csv")
        assert ends[name]["svs"].tolist() == curves.groupby("seed")["rollouts"].sum().tolist()
        assert (ends[name]["base"] == 0).all()
    assert abs(ends["pool"]["rl"].mean() - ends["pool"]["svs"].mean()) <= 16 * 8 / 2
    assert (ends["hard"]["rl"] == SIZES.longer * 16 * 8).all()
    run0 = out / "uncertain" / "seed0"
    attempts = sum(row["attempts"] for row in files.read_jsonl(run0 / "rounds.jsonl"))
    asked = 128 * 32  # answers to the questions of a round
    assert ends["hard"]["uncertainty_teacher"][0] == attempts + asked + 3 * 16 * 8
    first = files.read_jsonl(methods.TEACHERS["grounded"] / "seed0" / "rounds.jsonl")[:1]
    students = (8 * 60 * 16 * 8 + 9 * 60 * 8)  # 8 students of 60 steps; they and the baseline on 60 problems
    assert ends["hard"]["progress_teacher"][0] == sum(row["attempts"] for row in first) + students + 3 * 16 * 8


def test_a_method_is_held_against_what_another_had_for_as_many_completions():
    columns = methods.COLUMNS
    rows = [["hard", "ladder", 0, 0, 300, 0.1, 0.5], ["hard", "ladder", 0, 1, 300, 0.1, 0.7]]
    rows += [["hard", "rl", 0, seed, spent, 0.0, spent / 1000] for seed in (0, 1) for spent in (100, 200, 400)]
    found = methods.differences(pd.DataFrame(rows, columns=columns), "hard", "ladder", "rl")
    assert found == pytest.approx([30.0, 50.0])


def test_the_tables_claims_and_chart_are_those_of_the_rows(run):
    _, rows = run
    claims = methods.claims(rows)
    assert list(claims["claim"]) == list(methods.CLAIMS) and claims["holm"].notna().all()
    places = shown.places(rows)
    last = rows[(rows["problems"] == "hard") & (rows["method"] == "svs")].groupby("seed")["pass@32"].last()
    assert places.query("problems == 'hard' and method == 'svs'")["mean"].iloc[-1] == pytest.approx(last.mean())
    assert len(shown.method_rows(rows)) == rows.groupby(["problems", "method"]).ngroups
    left, right = shown.by_completions(rows).panels
    assert {mark.name for mark in left.marks} == {mark.name for mark in right.marks}


def test_a_lone_point_has_whiskers_and_the_untrained_model_is_a_line():
    left, right = shown.by_completions(pd.read_csv(methods.ROOT / "data" / "methods.csv")).panels
    ends = {len(mark.x) == 1: mark.ends for mark in [*left.marks, *right.marks]}
    assert ends == {True: "y", False: "band"} and [name for _, _, name in left.rules] == ["Base (no training)"]


def test_the_majoritys_share_is_that_of_the_answers(base):
    asked = [f"{world2.LAST}house?", f"{world2.GUESS}house{world2.ASKED}"]
    known, guessed = rivals.agreement(base, None, asked, 16, Draw(24, rows=64), (0, "test"))
    assert known > 0.9 and 1 / 16 <= guessed < 0.6


def test_r_zero_pays_for_uncertainty_and_not_for_repeats(base):
    train, _ = hard_sets(methods.STUDY / "filter")
    given = list(methods.sets({"grounded": methods.TEACHERS["grounded"]}, SIZES))[0].problems
    config = methods.preset("nano2", SoarConfig, promotion=False, intrinsic_samples=8, seed=3)
    from soar_lib.soar.run import begin

    baseline = begin(base, config).baselines
    step = OuterStep(base, config, 1, baseline, [given, given[:1] * 4], train[:4])
    (first,), (repeated,) = rivals.uncertain(step).gains
    key = (3, "uncertain", 1)
    texts = [one.question for one in [*given, *given[:1] * 4]]
    shares = rivals.agreement(base, baseline[-1], texts, 8, config.student.draw(config.rows), key)
    paid = [max(0.0, rivals.uncertainty(share) - texts.count(text) / 8) for share, text in zip(shares, texts)]
    assert first == pytest.approx(sum(paid[:4]) / 4) and repeated == pytest.approx(sum(paid[4:]) / 4)
    assert repeated <= 1 - 5 / 8


def test_serl_keeps_what_a_middling_share_agrees_on(base):
    settings = methods.student_settings(SIZES)
    found = list(methods.sets({"grounded": methods.TEACHERS["grounded"]}, methods.Sizes(1, size=16, rounds=(1,))))
    untrained = next(one for one in found if one.method == "untrained")
    kept = methods.middling(base, untrained, settings, 8)
    texts = [one.question for one in untrained.problems]
    shares = rivals.agreement(base, None, texts, 8, settings.draw(1024), (0, "serl"))
    expected = [text for text, share in zip(texts, shares) if 0.2 <= share <= 0.8]
    assert [one.question for one in kept.problems] == expected and 0 < len(expected) < 16
    assert kept.completions == untrained.completions + 8 * 16
    assert methods.voted(["", ""], [r"\boxed{1}", r"\boxed{1}"], 2) == [1.0, 1.0]
