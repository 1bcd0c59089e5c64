"""The tables of a LADDER run against values worked out by hand, from a folder written here."""

import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from soar_lib import files
from soar_lib.ladder import report
from soar_lib.ladder.settings import TTRL_ARMS, LadderConfig
from soar_lib.ladder.variants import Variant, to_rows
from soar_lib.measure.passk import pass_at_k
from soar_lib.records import Problem, Score
from soar_lib.settings.student import preset

SEEDS, TESTS = 3, ("t0", "t1")
CONFIG = preset(
    "smoke", LadderConfig, seeds=SEEDS, samples=4, most_samples=12, ttrl_steps=2, ttrl_batch=1, originals=0, tested=0,
    **{"student.steps": 5, "student.batch": 2, "student.group": 2, "student.optimiser.warmup": 0},
)  # fmt: skip

# Right samples of each seed on both test problems, and the samples drawn.
RIGHT = {
    ("base", "hard_test"): (12, [(0, 0), (1, 0), (0, 0)]),
    ("base", "voted"): (1, [(0, 0), (1, 0), (0, 0)]),
    ("originals", "hard_test"): (4, [(0, 0), (0, 0), (0, 0)]),
    ("one_level", "hard_test"): (4, [(1, 1), (2, 1), (1, 1)]),
    ("ladder", "hard_test"): (11, [(9, 6), (9, 6), (6, 9)]),
    ("ladder_ttrl", "hard_test"): (4, [(4, 2), (4, 2), (3, 3)]),
    ("ladder_ttrl", "any_step"): (3, [(3, 1), (2, 3), (1, 1)]),
    ("base_ttrl", "any_step"): (3, [(0, 0), (0, 2), (0, 0)]),
    ("majority", "hard_test"): (4, [(0, 0), (0, 0), (0, 1)]),
}
ROLLOUTS = {"base": 0, "ladder": 40, "ladder_ttrl": 100}


def a_score(arm: str, seed: int, problem: str, n: int, c: int, set: str) -> dict:
    return asdict(Score(arm, f"seed{seed}", 0, problem, n, c, ROLLOUTS.get(arm, 20), set))


def some_variants(seed: int) -> list[dict]:
    """A tree of two levels: three variants, one that repeats, one that cannot be checked, one prompt without any."""
    made = [
        Variant("a", "p", "p", 1, 0, "∫ x dx", "easier", 1.0, distance=0.5),
        Variant("b", "p", "p", 1, 1, "∫ x dx", "easier", 1.0, rejected="repeats a", distance=0.5),
        Variant("c", "p", "p", 1, 2, "", "easier", 1.0, rejected="no question"),
        Variant("d", "p", "a", 2, 3, "∫ 1 dx", "easier", 1.0, distance=1.0),
        Variant("e", "p", "a", 2, 3, "∫ 2 dx", "easier", 1.0, distance=0.75),
        Variant("f", "p", "a", 2, 4, "∫ y z dx", "easier", 1.0, rejected="unsolvable: letters"),
        Variant("g", "p", "a", 2, 5, "∫ 3*x dx", "easier", 1.0, rejected="test problem"),
    ]
    return to_rows(made, "ladder", seed)


def some_steps() -> list[dict]:
    """Both steps of TTRL's students: the last probes are the right ones, so that one before the first is right only
    where all three are."""
    return [
        {"arm": arm, "seed": seed, "problem": problem, "step": step, "reward": 0.5 * step, "probe": int(c > 1 - step)}
        for arm in TTRL_ARMS
        for seed, counts in enumerate(RIGHT[arm, "any_step"][1])
        for problem, c in zip(TESTS, counts, strict=True)
        for step in (0, 1)
    ]


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_measured(tmp_path)


def write_measured(tmp_path: Path) -> Path:
    """The folder of a run that has measured everything and not made its tables."""
    files.write_json(tmp_path / "config.json", asdict(CONFIG))
    pd.DataFrame([{"arm": "ladder", "seed": 0, "step": 0, "reward": 1.0}, *some_steps()]).to_csv(
        tmp_path / "metrics.csv", index=False
    )
    for part, names in (("train", ("p",)), ("test", TESTS)):
        rows = (asdict(Problem(name, "∫ x dx", "")) for name in names)
        files.write_text_atomic(tmp_path / f"hard_{part}.jsonl", files.jsonl(rows))
    scores = [
        a_score(arm, seed, problem, n, right[seed][place], set)
        for (arm, set), (n, right) in RIGHT.items()
        for seed in range(SEEDS)
        for place, problem in enumerate(TESTS)
    ]
    solved = {"base": (2, 0, 0), "ladder": (4, 2, 4)}  # of a, d, e, in four samples
    scores += [
        a_score(arm, seed, name, 4, right, "variants")
        for arm, counts in solved.items()
        for seed in range(SEEDS)
        for name, right in zip("ade", counts, strict=True)
    ]
    files.write_text_atomic(tmp_path / "scores.jsonl", files.jsonl(scores))
    rows = [row for seed in range(SEEDS) for row in some_variants(seed)]
    files.write_text_atomic(tmp_path / "problems.jsonl", files.jsonl(rows))
    return tmp_path


def trees(folder: Path) -> pd.DataFrame:
    return report.trees(report.read_variants(folder))


def levels(folder: Path) -> pd.DataFrame:
    return report.levels(report.read_variants(folder), report.read_scores(folder))


def mean_pass(arm: str, k: int) -> float:
    n, right = RIGHT[arm, "hard_test"]
    values = [pass_at_k(n, c, k) for seed in right for c in seed]
    return sum(values) / len(values)


def test_the_papers_table_by_hand(folder):
    table = report.write(folder)
    assert list(table.columns) == report.COLUMNS
    rows = {(row["arm"], row["metric"]): row for row in table.to_dict("records")}
    spread = CONFIG.spread_samples(1, 2)
    assert spread == -(-(CONFIG.written + 5 * 2 * 2) // 2) == 12 and CONFIG.ttrl_samples == 11
    assert list(rows) == [
        ("base", "pass@1"), ("base", "pass@10"), ("base", "pass@11"), ("base", "pass@12"), ("base", "maj@0"),
        ("originals", "pass@1"),
        ("one_level", "pass@1"), ("ladder", "pass@1"), ("ladder", "pass@3"), ("ladder", "pass@11"),
        ("ladder_ttrl", "final step"), ("ladder_ttrl", "any step"), ("base_ttrl", "any step"), ("majority", "pass@1"),
    ]  # fmt: skip
    measured = [("base", k) for k in (1, 10, 11, 12)] + [("ladder", k) for k in (1, 3, 11)] + [("one_level", 1)]
    for arm, k in measured:
        row = rows[arm, f"pass@{k}"]
        assert row["mean"] == pytest.approx(mean_pass(arm, k)) and 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
    assert rows["ladder_ttrl", "final step"]["mean"] == pytest.approx(18 / 24)
    assert rows["ladder_ttrl", "any step"]["mean"] == 1.0
    assert rows["base_ttrl", "any step"]["mean"] == pytest.approx(1 / 6)
    assert {row["seeds"] for row in rows.values()} == {SEEDS}
    spent = {arm: row["rollouts"] for (arm, _), row in rows.items()}
    assert (spent["base"], spent["ladder"], spent["ladder_ttrl"]) == (0, 40, 100)
    in_sum = {arm: row["in_sum"] for (arm, _), row in rows.items()}  # TTRL's own completions for each of two problems
    assert (in_sum["ladder"], in_sum["ladder_ttrl"], in_sum["base_ttrl"]) == (40, 40 + 2 * 60, 2 * 20)
    assert rows["base", "maj@0"]["mean"] == pytest.approx(1 / 6)
    papers = {key: row["paper"] for key, row in rows.items() if not math.isnan(row["paper"])}
    assert papers == {
        ("base", "pass@1"): 0.01, ("base", "pass@10"): 0.02, ("originals", "pass@1"): 0.03, ("ladder", "pass@1"): 0.82,
        ("ladder_ttrl", "any step"): 0.9,
    }  # fmt: skip


def test_the_tables_are_files_and_read_back(folder):
    before = {path.name for path in folder.glob("*.csv")}
    table = report.write(folder)
    made = {path.name for path in folder.glob("*.csv")} - before
    assert made == {"variants.csv", "levels.csv", "claims.csv", "ladder.csv"}
    assert pd.read_csv(folder / "ladder.csv")["mean"].tolist() == pytest.approx(table["mean"].tolist())


def test_the_claims_by_hand(folder):
    table = report.claims(folder)
    assert len(table) == len(report.CLAIMS) and not table["claim"].str.contains("{", regex=False).any()
    found = {row["claim"]: row for row in table.to_dict("records")}

    def one(words: str) -> dict:
        (name,) = [name for name in found if words in name]
        return found[name]

    plain = one("RL without variants does not learn")
    assert plain["ours"] == pytest.approx(-100 * mean_pass("base", 1)) and plain["low"] < 0 < plain["high"]
    learns = one("LADDER learns")
    assert learns["ours"] == pytest.approx(100 * (mean_pass("ladder", 1) - mean_pass("base", 1)))
    assert (learns["paper"], learns["seeds"]) == (81.0, 3) and learns["low"] > 0
    assert learns["verdict"] == "at the floor"  # three seeds, two problems: at most six times is one solved
    any_step = one("TTRL adds to LADDER (")
    assert any_step["ours"] == pytest.approx(100 * (1 - mean_pass("ladder", 1)))
    assert one("without a choice of the step")["ours"] == pytest.approx(100 * (18 / 24 - mean_pass("ladder", 1)))
    assert one("samples of LADDER's student (points: any step minus pass@11)")["ours"] == 0.0  # 12 samples do as well
    assert one("samples of LADDER's")["verdict"] == "undecided"
    assert one("samples of the untrained model")["ours"] == pytest.approx(100 * 5 / 6)
    assert one("TTRL needs LADDER first")["ours"] == pytest.approx(100 * 5 / 6)


def test_a_claim_about_an_arm_that_was_not_run_is_undecided(folder):
    rows = [row for row in files.read_jsonl(folder / "scores.jsonl") if row["arm"] in ("base", "originals")]
    files.write_text_atomic(folder / "scores.jsonl", files.jsonl(rows))
    table = report.claims(folder)
    missing = table[~table["claim"].str.startswith("RL without variants")]
    assert set(missing["verdict"]) == {"undecided"} and set(missing["seeds"]) == {0}
    assert set(report.table(folder)["arm"]) == {"base", "originals"}


def test_what_became_of_the_variants(folder):
    table = trees(folder).to_dict("records")
    assert [{name: row[name] for name in row if name != "distance"} for row in table] == [
        {"tree": "ladder", "level": 1, "prompts": 9, "written": 6, "usable": 3, "repeats": 3, "unsolvable": 0,
         "test_problems": 0, "no_question": 3},
        {"tree": "ladder", "level": 2, "prompts": 9, "written": 12, "usable": 6, "repeats": 0, "unsolvable": 3,
         "test_problems": 3, "no_question": 0},
    ]  # fmt: skip
    assert [row["distance"] for row in table] == [0.5, pytest.approx(0.875)]


def test_the_levels_before_and_after(folder):
    table = levels(folder)
    assert table[["arm", "level", "problems"]].values.tolist() == [
        ["base", 1, 3], ["ladder", 1, 3], ["base", 2, 6], ["ladder", 2, 6],
    ]  # fmt: skip
    assert table["mean"].tolist() == [0.5, 1.0, 0.0, 0.75]


def test_a_folder_without_variants_has_empty_tables(folder):
    (folder / "problems.jsonl").write_text("")
    rows = [row for row in files.read_jsonl(folder / "scores.jsonl") if row["set"] != "variants"]
    files.write_text_atomic(folder / "scores.jsonl", files.jsonl(rows))
    assert trees(folder).empty and levels(folder).empty
    assert "usable" in trees(folder).columns and "mean" in levels(folder).columns


def test_probes_and_what_they_solved_so_far(folder):
    steps = report.probes(folder)
    assert list(steps.columns) == report.PROBES and len(steps) == 2 * SEEDS * len(TESTS) * 3
    counts = steps.groupby(["arm", "seed", "problem"], sort=False)["right"].sum()
    expected = [c for arm in TTRL_ARMS for counts in RIGHT[arm, "any_step"][1] for c in counts]
    assert counts.tolist() == expected
    assert steps.loc[steps["step"] == 0, "reward"].isna().all()
    table = report.ttrl(folder)
    assert list(table.columns) == report.STEPS and table["problems"].eq(SEEDS * len(TESTS)).all()
    mine = table[table["arm"] == "ladder_ttrl"]
    assert mine["right"].tolist() == pytest.approx([2 / 6, 3 / 6, 1])  # those with 3, with 2 or more, with any
    assert mine["solved"].tolist() == mine["right"].tolist() and mine["reward"].tolist()[1:] == [0.0, 0.5]
    last = table.groupby("arm")["solved"].last()
    for row in report.table(folder).query("metric == 'any step'").itertuples():
        assert last[row.arm] == pytest.approx(row.mean)
    assert (table["low"] <= table["right"]).all() and (table["right"] <= table["high"]).all()


def test_a_problem_without_variants_is_probed_once_and_counts_as_solved_ever_after(folder):
    rows = files.read_jsonl(folder / "scores.jsonl")
    for row in rows:
        if (row["arm"], row["set"], row["run"], row["problem"]) == ("ladder_ttrl", "any_step", "seed0", "t0"):
            row |= {"n": 1, "c": 1}
    files.write_text_atomic(folder / "scores.jsonl", files.jsonl(rows))
    metrics = pd.read_csv(folder / "metrics.csv")
    alone = (metrics["arm"] == "ladder_ttrl") & (metrics["seed"] == 0) & (metrics["problem"] == "t0")
    metrics[~alone].to_csv(folder / "metrics.csv", index=False)
    mine = report.ttrl(folder).query("arm == 'ladder_ttrl'")
    assert mine["problems"].tolist() == [6, 5, 5] and mine["solved"].iloc[-1] == 1.0
    assert mine["right"].tolist() == pytest.approx([2 / 6, (0 / 1 + 2 / 2 + 0 / 2) / 3, 1])  # seeds count equally
