"""SvS's tables from folders with planted numbers: means, intervals' sides, verdicts, and what is not there; entropies
stand beside the updates that they follow, shares count what was written."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import svs_folder

from soar_lib import files
from soar_lib.files import RunError
from soar_lib.measure.passk import COLUMNS, pass_at_k
from soar_lib.problems.load import load
from soar_lib.svs import report
from soar_lib.svs.settings import SvsConfig

PROBLEMS = [f"p{i}" for i in range(10)]
ENTROPY = {"base": 0.8, "rlvr": 0.2, "svs": 0.78, "rlvr_equal_rollouts": 0.3, "second_rollout": 0.5}
RIGHT = {"base": 1, "rlvr": 1, "svs": 6, "rlvr_equal_rollouts": 3, "second_rollout": 6}  # of 8, on every hard problem
STEPS, SEEDS = 20, 4


def arm_folder(folder: Path, arm: str, seeds: int) -> None:
    """An arm with its entropy and so many right samples; seeds and problems differ a little."""
    (folder / arm).mkdir(parents=True)
    rng, scores, metrics = np.random.default_rng(len(arm)), [], []
    for seed in range(seeds):
        for step in range(STEPS if arm != "base" else 0):
            metrics.append({"seed": seed, "step": step, "rollouts": 10, "accuracy": 0.5, "entropy": 0.8})
        for problem in PROBLEMS:
            row = {"arm": arm, "run": f"seed{seed}", "student": 0, "problem": problem, "n": 8, "rollouts": 200}
            noisy = RIGHT[arm] + (rng.random() < 0.2)
            scores.append(row | {"c": int(noisy), "set": "hard"})
            if arm in ("rlvr", "svs"):
                scores.append(row | {"c": 6 if arm == "rlvr" else 3, "set": "other"})
    (folder / arm / "scores.jsonl").write_text(files.jsonl(scores))
    files.append_csv(folder / arm / "metrics.csv", metrics)
    entropy = [ENTROPY[arm] + 0.001 * seed for seed in range(seeds)]
    files.write_json(folder / arm / "result.json", {"steps": STEPS, "rollouts": [200] * seeds, "entropy": entropy})


def variant(seed: int, step: int, question: str | None, answer: str, **others) -> dict:
    place = {"seed": seed, "step": step, "problem": "p0", "original": "", "number": 0, "index": 0}
    return place | {"question": question, "answer": answer, "right": 3, "reward": 1.0} | others


def study(folder: Path, arms: list[str], seeds: int = SEEDS) -> Path:
    config = replace(SvsConfig(), arms=tuple(arms), samples=4, hard_samples=8, ks=(1, 4, 8), seeds=seeds)
    folder.mkdir()
    files.write_json(folder / "config.json", asdict(config))
    train = load("nano-middle", size=4)
    (folder / "train.jsonl").write_text(files.jsonl(map(vars, train)))
    for arm in arms:
        arm_folder(folder, arm, seeds)
    rows = []
    for seed in range(seeds):  # per seed: 1 of 2 readable ones valid at step 0, 2 of 3 at step 1
        question, answer = train[0].question, train[0].answer
        rows += [
            variant(seed, 0, question, answer, duplicate="original"), variant(seed, 0, "What?", answer, reward=0.0),
            variant(seed, 0, None, answer, right=None, reward=0.0),
            *[variant(seed, 1, text, answer, leak="answer") for text in (question, question, "What?")],
        ]  # fmt: skip
    (folder / "svs" / "problems.jsonl").write_text(files.jsonl(rows))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = study(tmp_path_factory.mktemp("report") / "svs", list(RIGHT))
    report.write(folder)
    return folder


def row(frame: pd.DataFrame, start: str) -> pd.Series:
    found = frame[frame["claim"].str.startswith(start)]
    assert len(found) == 1, start
    return found.iloc[0]


EXPECTED = {
    "RLVR's entropy falls": ("holds", 0.6),
    "SvS keeps its entropy": ("holds", np.mean([(0.78 + 0.001 * seed) / (0.8 + 0.001 * seed) for seed in range(4)])),
    "SvS ends with more entropy than RLVR (": ("holds", 0.58),
    "SvS ends with more entropy than RLVR with equal rollouts": ("holds", None),
    "SvS beats RLVR at pass@1": ("holds", None),
    "At equal rollouts SvS beats RLVR at pass@1": ("holds", None),
    "SvS beats a second rollout on the same problems at pass@8": ("undecided", 0.0),  # every problem is solved in 8
    "RLVR does not raise pass@8": ("holds", 0.0),
    "SvS over-fits the type of answer": ("holds", 37.5),
    "SvS beats rephrasings": ("undecided", None),  # never measured
    "More than 80 % of SvS's readable variants are valid": ("does not hold", 60.0),  # 3 of 5 in every seed
}


@pytest.mark.parametrize("start", EXPECTED)
def test_a_planted_effect_gets_its_verdict(whole, start):
    frame = pd.read_csv(whole / "claims.csv")
    found, (verdict, value) = row(frame, start), EXPECTED[start]
    assert found["verdict"] == verdict, found
    if value is not None:
        assert found["ours"] == pytest.approx(value, abs=1e-9) and found["seeds"] == SEEDS


def test_claims_name_their_k_and_the_papers_difference(whole):
    frame = pd.read_csv(whole / "claims.csv").set_index("claim")
    assert frame.loc["SvS beats RLVR at pass@1 (points)", "paper"] == pytest.approx(27.9 - 22.5)
    assert frame.loc["At equal rollouts SvS beats RLVR at pass@4 (points)", "paper"] == pytest.approx(53.1 - 46.3)
    assert not frame.index.str.contains("{", regex=False).any()
    missing = frame.loc["SvS beats rephrasings at pass@4 (points)"]
    assert missing["seeds"] == 0 and np.isnan(missing["ours"])


def test_the_table_has_every_arm_and_metric(whole):
    frame = pd.read_csv(whole / "svs.csv")
    assert list(frame.columns) == report.COLUMNS and not frame.duplicated(["arm", "metric"]).any()
    cells = frame.set_index(["arm", "metric"])
    for arm in RIGHT:
        scores = [json.loads(line) for line in (whole / arm / "scores.jsonl").read_text().splitlines()]
        for k in (1, 4, 8):
            by_hand = np.mean([pass_at_k(s["n"], s["c"], k) for s in scores if s["set"] == "hard"])
            assert cells.loc[(arm, f"hard pass@{k}"), "mean"] == pytest.approx(by_hand)
        assert cells.loc[(arm, "hard pass@1"), ["seeds", "rollouts"]].tolist() == [SEEDS, 200]
    assert (frame["low"] <= frame["mean"] + 1e-12).all() and (frame["high"] >= frame["mean"] - 1e-12).all()
    assert cells.loc[("svs", "hard pass@1"), "paper"] == 0.279 and np.isnan(cells.loc[("svs", "hard pass@8"), "paper"])
    assert cells.loc[("svs", "test entropy"), "mean"] == pytest.approx(0.7815)
    shares = {name: cells.loc[("svs", f"variants {name}"), "mean"] for name in report.SHARES}
    assert shares == pytest.approx(
        {"readable": 5 / 6, "valid": 3 / 5, "new": 4 / 6, "valid_new": 2 / 5, "leaking": 3 / 6, "rewarded": 4 / 6}
    )
    assert "variants valid" not in {metric for arm, metric in cells.index if arm != "svs"}


def test_variants_by_step(whole):
    frame = pd.read_csv(whole / "variants.csv")
    assert len(frame) == 2 * SEEDS and set(frame["arm"]) == {"svs"}
    first, second = frame.iloc[0], frame.iloc[1]
    assert first[["written", "readable", "valid", "new"]].tolist() == pytest.approx([3, 2 / 3, 1 / 2, 1 / 3])
    assert second[["written", "readable", "valid", "leaking"]].tolist() == pytest.approx([3, 1, 2 / 3, 1])


def test_other_worlds_have_no_exact_judge(tmp_path):
    folder = study(tmp_path / "svs", ["svs", "base"])
    train = folder / "train.jsonl"
    train.write_text(train.read_text() + json.dumps({"id": "x", "question": "Why?", "answer": "1"}) + "\n")
    report.write(folder)
    assert pd.read_csv(folder / "variants.csv")["valid"].isna().all()
    assert "variants valid" not in pd.read_csv(folder / "svs.csv")["metric"].tolist()
    assert row(pd.read_csv(folder / "claims.csv"), "More than 80 %")["seeds"] == 0


def test_one_seed_has_numbers_but_decides_nothing(tmp_path):
    folder = study(tmp_path / "svs", list(RIGHT), seeds=1)
    frame = report.write(folder)
    assert set(frame["verdict"]) == {"undecided"} and (frame["seeds"] <= 1).all()
    assert row(frame, "RLVR's entropy falls")["ours"] == pytest.approx(0.6)


def test_an_arm_that_has_not_ended_is_left_out(tmp_path):
    folder = study(tmp_path / "svs", ["base", "svs"])
    (folder / "svs" / "result.json").unlink()
    assert report.finished(folder) == ["base"]
    frame = report.write(folder)
    assert (frame["seeds"] == 0).all() and set(pd.read_csv(folder / "svs.csv")["arm"]) == {"base"}


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(RunError, match="is no folder of an SvS run"):
        report.read(tmp_path)


# ------------------------------------------------------------------ steps and variants


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return svs_folder.write(tmp_path_factory.mktemp("tables") / "svs")


def test_steps_count_updates_and_completions_from_the_untrained_policy_on(planted):
    frame = report.steps(planted)
    assert list(frame.columns) == report.STEPS and set(frame["arm"]) == {"rlvr", "svs", "svs_guarded"}
    for arm in ("rlvr", "svs"):
        for seed in (0, 1):
            own = frame[(frame["arm"] == arm) & (frame["seed"] == seed)]
            assert own["step"].tolist() == [0, 1, 2, 3]
            assert own["rollouts"].tolist() == [spent * (seed + 1) for spent in (0, 10, 20, 30)]
            more = 0.02 * seed
            assert own["entropy"].tolist() == pytest.approx([0.5 + more, 0.4 + more, 0.3 + more, math.nan], nan_ok=True)
            ends = [svs_folder.END["base"] + more, math.nan, 0.2 + seed / 10, svs_folder.END[arm] + more]
            assert own["test_entropy"].tolist() == pytest.approx(ends, nan_ok=True)
            assert own["accuracy"].tolist()[:3] == [0.25 * (step + seed) for step in range(3)]


def test_without_the_untrained_arm_the_start_is_unknown(tmp_path):
    folder = svs_folder.write(tmp_path / "svs")
    (folder / "base" / "result.json").unlink()
    frame = report.steps(folder)
    assert frame.loc[frame["step"] == 0, "test_entropy"].isna().all() and len(frame) == 3 * 2 * 4
    for arm in svs_folder.ARMS[1:]:
        (folder / arm / "result.json").unlink()
    assert report.steps(folder).empty and report.written(folder).empty


def test_passes_are_those_of_one_set(planted):
    numbers = report.table(planted)
    hard, test = report.passes(numbers), report.passes(numbers, "test")
    assert list(hard.columns) == COLUMNS and hard["k"].drop_duplicates().tolist() == [1, 4, 8]
    first = hard[hard["k"] == 1].set_index("arm")["mean"].to_dict()
    assert first == pytest.approx({arm: count / 8 for arm, count in svs_folder.RIGHT.items()})
    assert test["k"].drop_duplicates().tolist() == [1, 4] and test["mean"].iloc[0] == 0
    assert report.passes(numbers, "other").empty


def test_steps_together_weigh_by_what_they_wrote(tmp_path):
    folder = study(tmp_path / "svs", ["svs"])
    right = files.read_problems(folder, "train")[0]
    texts = {0: [right.question] * 2 + ["What?"] * 2, 4: [right.question] * 6 + [None] * 6, 5: [None] * 2}
    rows = [
        variant(0, step, text, right.answer, leak="" if i % 4 else "answer", reward=float(step == 0 and i < 2))
        for step, own in texts.items()
        for i, text in enumerate(own)
    ]
    (folder / "svs" / "problems.jsonl").write_text(files.jsonl(rows))
    found = report.variants(folder, 5)
    assert found["step"].tolist() == [0, 5] and found["written"].tolist() == [16, 2]
    expected = {"readable": 10 / 16, "valid": 8 / 10, "leaking": 4 / 16, "new": 10 / 16, "rewarded": 2 / 16}
    assert found.loc[0, list(expected)].to_dict() == pytest.approx(expected)
    assert math.isnan(found.loc[1, "valid"]) and found.loc[1, "readable"] == 0


def test_bins_of_the_folder_agree_with_its_variants(planted):
    frame = report.variants(planted, 5)
    first = frame[(frame["arm"] == "svs") & (frame["seed"] == 0)].iloc[0]
    assert first["written"] == 6
    expected = {"readable": 5 / 6, "valid": 3 / 5, "leaking": 1 / 6, "new": 4 / 6, "rewarded": 3 / 6}
    assert first[list(expected)].to_dict() == pytest.approx(expected, abs=1e-5)


def test_written_has_every_variant_of_every_arm(planted):
    frame = report.written(planted)
    assert list(frame.columns) == report.WRITTEN and len(frame) == sum(map(len, svs_folder.WRITTEN.values()))
    assert (frame["question"] == "").sum() == 1
    assert frame["arm"].value_counts().to_dict() == {"svs": 7, "svs_guarded": 1}


def test_kinds_are_counted_with_how_often_they_are_paid(planted, tmp_path):
    frame = report.kinds(planted).set_index(["arm", "kind"])
    new, near, invalid, unreadable, unjudged = report.KINDS
    assert frame.index.tolist() == [*[("svs", kind) for kind in (new, near, invalid, unreadable)], ("svs_guarded", new)]
    assert frame["variants"].tolist() == [3, 1, 2, 1, 1]
    assert frame["share"].tolist() == pytest.approx([3 / 7, 1 / 7, 2 / 7, 1 / 7, 1], abs=1e-5)
    assert frame["rewarded"].tolist() == pytest.approx([2 / 3, 1, 1 / 2, 0, 0], abs=1e-5)
    other = report.kinds(svs_folder.write(tmp_path / "svs", question="Why?"))
    assert other.loc[other["arm"] == "svs", "kind"].tolist() == [unreadable, unjudged]
