"""The second world's study as tables, from planted run folders."""

import json
from dataclasses import asdict

import pandas as pd
import pytest

from soar_lib import files
from soar_lib.nano import world2
from soar_lib.records import SyntheticProblem
from tools import world_study
from tools.gates_students import stones


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two arms of one seed: of a round's four problems `useful` are stones, rightly answered, the others decoys."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.json").write_text(json.dumps({"arms": ["intrinsic", "no_promotion"]}))
    for arm, useful in (("no_promotion", (1, 3)), ("intrinsic", (0, 0))):
        run, rows, rounds = folder / arm / "seed4", [], []
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"seed": 4}))
        for number, count in enumerate(useful, 1):
            good = stones(f"{arm} {number}", world2.NAMES, count)
            decoys = [(f"{world2.GUESS}abc{world2.ASKED}", "3")] * (4 - count)
            problems = [(p.question, p.answer) for p in good] + decoys
            rows += [asdict(SyntheticProblem("x", q, a, "", number, 0, 0.1)) for q, a in problems]
            rounds.append({
                "round": number, "rewards": [[0.1 * number]], "mean_reward": 0.1 * number, "moving_average": 0.1,
                "baseline_accuracy": 0.0, "promoted": False,
            })  # fmt: skip
        (run / "problems.jsonl").write_text(files.jsonl(rows))
        (run / "rounds.jsonl").write_text(files.jsonl(rounds))
    return folder


def test_rounds_have_the_shares_of_what_was_written(folder):
    table = world_study.rounds(folder, world_study.written_by(folder)).set_index(["arm", "seed", "round"])
    one, three = (table.loc[("no_promotion", 4, number)].to_dict() for number in (1, 2))
    assert one == {"mean_reward": 0.1, "useful": 0.25, "decoy": 0.75, "skills": 1}
    assert three == {"mean_reward": 0.2, "useful": 0.75, "decoy": 0.25, "skills": 3}
    assert table.loc["intrinsic"]["useful"].tolist() == [0, 0] and table.loc["intrinsic"]["decoy"].tolist() == [1, 1]
    assert table.loc["intrinsic"]["skills"].isna().all()
    earned, useful, decoys, _ = world_study.by_round(table.reset_index()).panels
    assert {mark.name for mark in useful.marks if mark.name} == {mark.name for mark in decoys.marks if mark.name}
    assert len(earned.marks) < len(useful.marks)  # an intrinsic reward has another unit
    assert len(world_study.by_round(table.loc[["intrinsic"]].reset_index()).panels) == 3


def test_diversity_is_that_of_the_first_round_and_of_every_fifth(folder):
    found = world_study.diversity(folder)
    assert {*found["round"]} == {1}
    vendi = found.set_index("arm")["vendi"]
    assert vendi["intrinsic"] == pytest.approx(1) and 1.1 < vendi["no_promotion"] < 4  # one decoy again and again


def test_values_are_those_of_every_teacher(folder):
    rows = [{"seed": s, "teacher": t, "value": v, "sets": 8} for s, t, v in
            ((0, "trained", 0.3), (0, "untrained", 0.1), (1, "trained", 0.5), (1, "untrained", 0.1))]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "no_promotion" / "values.csv", index=False)
    pd.DataFrame(rows[::2]).assign(value=0.2).to_csv(folder / "intrinsic" / "values.csv", index=False)
    table = world_study.values(folder)
    assert table.groupby("arm")["value"].mean().round(6).to_dict() == {
        "intrinsic": 0.2, "no_promotion": 0.4, "untrained": 0.1,
    }  # fmt: skip
    panel = world_study.by_value(table).panels[0]
    assert panel.rows == ["untrained (2)", "paid by disagreement (2)", "paid by progress (2)"]
    assert [mark.x[0] for mark in panel.marks] == pytest.approx([10, 20, 40])
