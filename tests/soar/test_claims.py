"""Claims from run folders with planted effects: the numbers, the verdicts, and what is not there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from soar_lib.files import RunError
from soar_lib.measure.claims import COLUMNS, Estimate, verdict
from soar_lib.soar import claims
from soar_lib.soar.claims import CLAIMS

PROBLEMS = [f"p{i}" for i in range(12)]
WORDS = ["fox", "owl", "elk", "bee", "cat", "dog", "hen", "ant"]
# Right samples of 4 on each problem, on hard test and on the transfer set; seeds shift an arm of any folder alike.
RIGHT = {
    "grounded": {
        "base": 0, "hard_only": 0, "hard_only_x4": 0, "pq": 2, "ps": 1, "grounded_t": 2, "correct_only": 2,
        "well_posed": 1,
    },
    "intrinsic": {"intrinsic_t": 1},
    "no_promotion": {"grounded_t_no_promotion": 2},
    "multi_turn": {"grounded_t_multi_turn": 1},
}  # fmt: skip
FAR = {"hard_only": 2, "pq": 1, "ps": 2, "grounded_t": 3}


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluation(folder: Path, right: dict[str, int], seeds: int, questions: list[str]) -> None:
    """An evaluation of arms with these right samples; noise by problem and arm, so that intervals have a width."""
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(sum(map(ord, folder.parent.name))), []
    for arm, count in right.items():
        for set, c in (("hard_test", count), ("transfer", FAR.get(arm))):
            for seed in range(seeds) if c is not None else ():
                for problem in PROBLEMS:
                    noisy = c + (rng.random() < 0.2) if count else c
                    row = {"arm": arm, "run": f"{folder.parent.name}/seed{seed}", "student": 0, "problem": problem}
                    rows.append({**row, "n": 4, "c": int(noisy), "rollouts": 100, "set": set})
    write(folder / "scores.jsonl", rows)
    runs = [{"run": f"{folder.parent.name}/seed{seed}", "seed": seed} for seed in range(seeds)]
    pd.DataFrame(runs).to_csv(folder / "sources.csv", index=False)
    written = [
        {"source": seed, "arm": "grounded_t", "id": f"{seed}-{i}", "question": text, "answer": "1", "text": text}
        for seed in range(seeds)
        for i, text in enumerate(questions)
    ]
    write(folder / "problems.jsonl", written)
    (folder / "pass_at_k.csv").write_text("arm\n")


def study(folder: Path, arms: list[str], seeds: int = 5) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"arms": arms, "evaluate": {"ks": [1, 2]}}))
    for arm in arms:
        questions = ["one and the same question"] * 8 if arm == "intrinsic" else [word * 9 for word in WORDS]
        evaluation(folder / arm / "evaluate", RIGHT[arm], seeds, questions)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return study(tmp_path_factory.mktemp("claims") / "study", list(RIGHT))


def row(frame: pd.DataFrame, start: str) -> pd.Series:
    found = frame[frame["claim"].str.startswith(start)]
    assert len(found) == 1, start
    return found.iloc[0]


EXPECTED = {
    "Hard-Only plateaus": "holds",
    "Four times the rollouts do not help": "holds",
    "PQ beats Hard-Only": "holds",
    "PS beats Hard-Only": "holds",
    "Grounded-T beats Hard-Only": "holds",
    "Grounded-T beats Intrinsic-T in the mean": "holds",
    "Multi-turn generation is worse": "holds",
    "Vendi Score of Grounded-T": "holds",
    "Structure beats correctness": "does not hold",
    "Transfer: PQ beats Hard-Only": "does not hold",
    "Transfer: Grounded-T beats Hard-Only": "holds",
}


def test_planted_effects_give_their_verdicts(whole):
    frame = claims.claims(whole)
    assert list(frame.columns) == COLUMNS and len(frame) == len(CLAIMS) == 14
    assert (frame["seeds"] == 5).all()
    assert {start: row(frame, start)["verdict"] for start in EXPECTED} == EXPECTED
    assert ((frame["low"] <= frame["ours"]) & (frame["ours"] <= frame["high"])).all()
    assert "pass@2" in row(frame, "PQ beats")["claim"]
    assert row(frame, "PQ beats")["paper"] == 9.3 and np.isnan(row(frame, "Promotion helps")["paper"])


def test_what_two_arms_have_measured_counts_once(whole, tmp_path):
    folder = study(tmp_path / "study", list(RIGHT))
    shutil.copytree(folder / "grounded", folder / "controls")
    (folder / "config.json").write_text(json.dumps({"arms": [*RIGHT, "controls"], "evaluate": {"ks": [1, 2]}}))
    assert claims.claims(folder).equals(claims.claims(whole))


def test_a_gain_is_the_mean_difference_in_points(whole):
    rows = pd.read_json(whole / "grounded" / "evaluate" / "scores.jsonl", lines=True)
    near = rows[rows["set"] == "hard_test"].assign(value=lambda r: r["c"].map({0: 0, 1: 0.5, 2: 5 / 6, 3: 1, 4: 1}))
    mean = near.groupby("arm")["value"].mean()
    assert row(claims.claims(whole), "PQ beats")["ours"] == pytest.approx(100 * (mean["pq"] - mean["hard_only"]))


def test_arms_of_different_folders_are_paired_by_seed(tmp_path):
    """A shift that a seed gives to both arms cancels; only the pairing knows that the numbers of runs differ."""
    folder = study(tmp_path / "study", ["grounded", "intrinsic"])
    for arm in ("grounded", "intrinsic"):
        path, order = folder / arm / "evaluate", [3, 0, 4, 1, 2] if arm == "grounded" else [0, 1, 2, 3, 4]
        rows = [json.loads(line) for line in (path / "scores.jsonl").read_text().splitlines()]
        for item in rows:
            number = int(item["run"][-1])
            if item["arm"] in ("grounded_t", "intrinsic_t"):
                item.update(n=16, c=order[number] + 4 * (arm == "grounded"))
        write(path / "scores.jsonl", rows)
        runs = [{"run": f"{arm}/seed{i}", "seed": order[i]} for i in range(5)]
        pd.DataFrame(runs).to_csv(path / "sources.csv", index=False)
    (folder / "config.json").write_text(json.dumps({"arms": ["grounded", "intrinsic"], "evaluate": {"ks": [1]}}))
    found = row(claims.claims(folder), "Grounded-T beats Intrinsic-T in the mean")
    assert (found["ours"], found["low"], found["high"]) == pytest.approx((25, 25, 25))


def test_spread_is_the_ratio_of_standard_deviations_with_the_interval_of_the_f_test(whole):
    found = row(claims.claims(whole), "Grounded-T beats Intrinsic-T in spread")
    of, deviations = {"grounded": "grounded_t", "intrinsic": "intrinsic_t"}, []
    for folder, arm in of.items():
        rows = pd.read_json(whole / folder / "evaluate" / "scores.jsonl", lines=True)
        own = rows[(rows["set"] == "hard_test") & (rows["arm"] == arm)]
        value = own["c"].map({0: 0, 1: 0.5, 2: 5 / 6, 3: 1, 4: 1})
        deviations.append(value.groupby(own["run"]).mean().std(ddof=1))
    assert found["ours"] == pytest.approx(deviations[1] / deviations[0])
    assert found["high"] / found["ours"] == pytest.approx(stats.f.ppf(0.975, 4, 4) ** 0.5)
    assert found["ours"] / found["low"] == pytest.approx(stats.f.ppf(0.975, 4, 4) ** 0.5)


def test_the_interval_of_the_spread_covers_a_ratio_of_one():
    rng, covered = np.random.default_rng(5), 0
    low, high = stats.f.ppf(0.975, 4, 4) ** 0.5, stats.f.ppf(0.025, 4, 4) ** 0.5
    for _ in range(400):
        ratio = rng.normal(size=5).std(ddof=1) / rng.normal(size=5).std(ddof=1)
        covered += ratio / low <= 1 <= ratio / high
    assert covered / 400 == pytest.approx(0.95, abs=0.033)


def test_the_diversity_of_one_repeated_question_is_one(whole):
    found = row(claims.claims(whole), "Vendi Score")
    assert found["ours"] == pytest.approx(8, rel=0.01)  # eight questions without a common letter pair, against one


def test_a_claim_without_its_arms_stays_without_a_verdict(tmp_path):
    frame = claims.claims(study(tmp_path / "study", ["grounded"]))
    for start in ("Grounded-T beats Intrinsic-T in the mean", "Promotion helps", "Vendi Score", "Multi-turn"):
        missing = row(frame, start)
        assert (missing["seeds"], missing["verdict"]) == (0, "undecided") and np.isnan(missing["ours"])
    assert row(frame, "PQ beats")["verdict"] == "holds"


def test_two_seeds_decide_nothing(tmp_path):
    frame = claims.claims(study(tmp_path / "study", list(RIGHT), seeds=2))
    assert (frame["seeds"] == 2).all() and set(frame["verdict"]) == {"undecided"}
    assert frame["ours"].notna().any()


def test_an_unfinished_evaluation_is_not_read(tmp_path):
    folder = study(tmp_path / "study", ["grounded", "intrinsic"])
    (folder / "intrinsic" / "evaluate" / "pass_at_k.csv").unlink()
    frame = claims.claims(folder)
    assert row(frame, "Grounded-T beats Intrinsic-T in the mean")["seeds"] == row(frame, "Vendi")["seeds"] == 0
    with pytest.raises(RunError, match="is no study's folder"):
        claims.claims(folder / "grounded")


@pytest.mark.parametrize(
    ("interval", "null", "no_effect", "expected"),
    [
        ((0.1, 5.0), 0.0, False, "holds"),
        ((-5.0, -0.1), 0.0, False, "does not hold"),
        ((0.0, 5.0), 0.0, False, "undecided"),
        ((1.9, 5.0), 2.0, False, "undecided"),
        ((2.1, 5.0), 2.0, False, "holds"),
        ((0.5, 1.9), 2.0, False, "does not hold"),
        ((-3.0, 4.9), 0.0, True, "holds"),
        ((-3.0, 5.1), 0.0, True, "undecided"),
        ((0.1, 5.1), 0.0, True, "does not hold"),
        ((float("nan"), 1.0), 0.0, False, "undecided"),
    ],
)
def test_the_rule(interval, null, no_effect, expected):
    assert verdict(Estimate(0.0, *interval, seeds=5), null, no_effect) == expected
    assert verdict(Estimate(0.0, *interval, seeds=2), null, no_effect) == "undecided"


def test_every_arm_is_compared_with_hard_only_on_both_sets(whole):
    frame = claims.comparisons(whole)
    near, far = (frame[frame["set"] == name] for name in ("hard_test", "transfer"))
    assert len(near) == sum(map(len, RIGHT.values())) - 1 and set(far["arm"]) == set(FAR) - {"hard_only"}
    assert (near.loc[near["low"] > 0, "p"] < 0.05).all() and (near.loc[near["low"] <= 0, "p"] >= 0.04).all()


def test_claims_import_no_method():
    code = "import sys, soar_lib.soar.claims; print(*sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    methods = {f"soar_lib.{name}" for name in ("soar.run", "soar.teacher", "student", "soar.study", "soar.rewards")}
    assert "soar_lib.measure.passk" in done.stdout.split() and methods.isdisjoint(done.stdout.split())
