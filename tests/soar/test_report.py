"""A study's folder as tables, on the committed reference study: against its own files, read by hand."""

import gzip
import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import pytest

from soar_lib import files
from soar_lib.measure import diversity, quality
from soar_lib.measure.diversity import DiversitySettings
from soar_lib.records import SyntheticProblem
from soar_lib.soar import claims
from soar_lib.soar import report as study_tables

STUDY = Path(__file__).parents[2] / "runs" / "reference" / "study"


def lines(*parts: str) -> list[dict]:
    path = STUDY.joinpath(*parts)
    text = path.read_text() if path.exists() else gzip.open(f"{path}.gz", "rt").read()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def problems() -> pd.DataFrame:
    return study_tables.problems(STUDY)


@pytest.fixture(scope="module")
def sampled() -> pd.DataFrame:
    return study_tables.sampled(STUDY)


def test_arms_on_the_runs_of_another_arm_bear_its_name():
    plain = STUDY.with_name("study2_plain")
    named = {name for name in study_tables.row_names(plain / "more_controls" / "evaluate").values()}
    assert named == {"hard_only_x4", "correct_only_no_promotion", "well_posed_no_promotion"}
    scored = {score.arm for score in claims.read_study(plain).scores}
    assert named <= scored and {*study_tables.curves(plain)["arm"]} <= scored


def test_every_soar_run_is_found_arm_by_arm_and_seed_by_seed():
    found = [(arm, seed) for arm, seed, _ in study_tables.runs_of(STUDY)]
    assert sorted(found) == sorted((p.parent.parent.name, int(p.parent.name[4:])) for p in STUDY.rglob("rounds.jsonl"))
    assert [seed for arm, seed in found if arm == "grounded"] == list(range(5))


def test_rounds_are_those_of_the_run():
    table = study_tables.rounds(STUDY)
    part = table[(table["arm"] == "grounded") & (table["seed"] == 3)]
    for row, record in zip(part.itertuples(), lines("grounded", "seed3", "rounds.jsonl"), strict=True):
        means = [fmean(gains) for gains in record["rewards"]]
        assert (row.round, row.mean_reward, row.promoted) == (
            record["round"],
            record["mean_reward"],
            record["promoted"],
        )
        assert (row.lowest, row.highest) == (min(means), max(means))


def test_curves_run_over_both_phases_and_carry_the_names_of_the_tables():
    curves = study_tables.curves(STUDY)
    one = curves[(curves["arm"] == "hard_only") & (curves["seed"] == 2) & (curves["student"] == 1)]
    assert one["step"].tolist() == list(range(100)) and one["phase"].eq("hard").tolist() == [False] * 40 + [True] * 60
    raw = files.read_table(STUDY / "grounded" / "evaluate" / "metrics.csv")
    raw = raw[(raw["arm"] == "hard_only") & (raw["source"] == 2) & (raw["student"] == 1)]
    assert one["reward"].tolist() == raw["reward"].tolist()
    assert {"intrinsic_t", "grounded_t_no_promotion", "grounded_t_multi_turn"} <= {*curves["arm"]}


def test_scores_swept_and_unswept_arms():
    names, swept = {score.arm for score in claims.read_study(STUDY).scores}, study_tables.swept(STUDY)
    assert set(swept) <= names and not {"grounded_t", "intrinsic_t", "grounded_t_multi_turn"} & set(swept)
    assert all(name.startswith(("grounded_t_", "intrinsic_t_")) for name in swept)


def test_problems_have_their_data_sets_reward_and_the_exact_label(problems):
    part = problems[(problems["arm"] == "grounded") & (problems["seed"] == 0)]
    raw = lines("grounded", "seed0", "problems.jsonl")
    assert part[["question", "answer", "reward"]].values.tolist() == [
        [row["question"], row["answer"], row["reward"]] for row in raw
    ]
    rewards = {(r["round"], k): fmean(gains) for r in lines("grounded", "seed0", "rounds.jsonl")
               for k, gains in enumerate(r["rewards"])}  # fmt: skip
    assert all(rewards[row.round, row.dataset] == pytest.approx(row.reward) for row in part.itertuples())
    for row in part.head(40).itertuples():
        assert row.label == quality.exact_verdict(row.question, row.answer).label
        assert bool(row.topic) == (row.label in (*quality.WELL_POSED, quality.UNJUDGED))


def test_sampled_problems_are_named_by_arm_and_seed(sampled):
    raw = lines("intrinsic", "evaluate", "problems.jsonl")
    seeds = pd.read_csv(STUDY / "intrinsic" / "evaluate" / "sources.csv")["seed"]
    part = sampled[sampled["arm"] == "intrinsic_t"]
    assert part["question"].tolist() == [row["question"] for row in raw]
    assert part["seed"].tolist() == [seeds[row["source"]] for row in raw]


def test_diversity_by_seed_is_that_of_the_seeds_own_problems(sampled):
    few, settings = sampled[sampled["seed"] < 2], DiversitySettings(draws=2)
    identity = diversity.Embedding("bytes", lambda texts: np.array([np.bincount(list(t.encode()), minlength=256)
                                                                    for t in texts], dtype=float))  # fmt: skip
    table = study_tables.diversity_table(few, identity, ("grounded_t", "base_t"), settings)
    assert table[["arm", "seed"]].values.tolist() == [
        ["base_t", 0],
        ["base_t", 1],
        ["grounded_t", 0],
        ["grounded_t", 1],
    ] or set(map(tuple, table[["arm", "seed"]].values)) == {
        ("base_t", 0),
        ("base_t", 1),
        ("grounded_t", 0),
        ("grounded_t", 1),
    }
    row = table[(table["arm"] == "grounded_t") & (table["seed"] == 1)].iloc[0]
    mine = few[(few["arm"] == "grounded_t") & (few["seed"] == 1)]["question"]
    assert row["size"] == len(mine) and row["vendi"] == pytest.approx(diversity.vendi(identity.encode(list(mine))))


def test_quality_by_round_and_by_arm_count_the_labels(problems, sampled):
    table = study_tables.quality_by_round(problems).set_index(["arm", "seed", "round"])
    part = problems[(problems["arm"] == "grounded") & (problems["seed"] == 4) & (problems["round"] == 10)]
    judged = part[part["label"] != quality.UNJUDGED]
    assert table.loc[("grounded", 4, 10), "correct"] == pytest.approx((judged["label"] == "correct").mean())
    by_arm = study_tables.quality_by_arm(sampled).set_index(["arm", "measure"])
    shares = (
        sampled[sampled["arm"] == "base_t"].groupby("seed")["label"].agg(lambda labels: (labels == "correct").mean())
    )
    assert by_arm.loc[("base_t", "correct"), "percent"] == pytest.approx(100 * shares.mean())


def test_any_judge_may_label(problems):
    def harsh(written: list[SyntheticProblem]) -> list[quality.Verdict]:
        return [quality.Verdict("ill_posed")] * len(written)

    assert set(study_tables.sampled(STUDY, harsh)["label"]) == {"ill_posed"} and "correct" in set(problems["label"])
