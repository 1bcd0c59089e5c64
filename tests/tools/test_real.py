"""The tables of the run on a real model, from a run folder and from problems with known answers."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny_world import settings as tiny_world_settings

from soar_lib import files
from soar_lib.engine import base as bases
from soar_lib.measure import diversity
from soar_lib.records import SyntheticProblem
from tools import mix, real


def problems() -> list[SyntheticProblem]:
    """Three rounds of which the first repeats itself, the second less so, the third not."""
    asked = [["1+1", "1+1", "1+1"], ["2+2", "2+2", "sort b a"], ["how many legs", "7*8", "spell sun"]]
    return [
        SyntheticProblem("", question, "1", "", number, 0, 0.1 * number)
        for number, questions in enumerate(asked, 1)
        for question in questions
    ]


def test_embeddings_that_order_the_rounds_alike_agree_and_one_that_reverses_them_does_not():
    words = {question: i for i, question in enumerate(dict.fromkeys(p.question for p in problems()))}
    apart = diversity.Embedding("apart", lambda texts: np.eye(len(words))[[words[text] for text in texts]])
    orders = {"1+1": 0, "2+2": 1, "sort b a": 2}  # the first round apart, the last one together

    def reverse(texts):
        seen = iter(range(len(texts)))
        return np.eye(9)[[next(seen) if orders.get(t) == 0 else 4 + orders[t] if t in orders else 8 for t in texts]]

    table = real.by_round(problems(), [apart, apart, diversity.Embedding("reverse", reverse)])
    agree = table.groupby("embedding", sort=False)["agreement"].first()
    assert agree["apart"] == pytest.approx(1) and agree["reverse"] == pytest.approx(-1)
    assert table[table["embedding"] == "apart"]["vendi"].iloc[:3].is_monotonic_increasing


def test_the_map_holds_every_question_with_its_label():
    data = real.mapped(problems(), ["correct"] * 9)
    assert list(data["question"]) == [p.question for p in problems()] and set(data["label"]) == {"correct"}
    assert data[["x", "y"]].notna().all().all() and list(data["reward"].round(1).unique()) == [0.1, 0.2, 0.3]


def test_the_same_completions_are_read_with_forgiven_tags_and_without(tiny_world):
    config = tiny_world_settings(tiny_world)
    table = real.slips(bases.load(config.model), config, 64).set_index("forgive_tags")
    assert list(table.index) == [False, True] and (table.drop(columns="completions").sum(axis=1) == 64).all()
    assert 0 < table.loc[False, "parse"] <= table.loc[True, "parse"] < 64  # one text in eight is malformed


def test_costs_stand_beside_what_was_predicted(tmp_path):
    values = {
        "predicted": {"rollouts": 480, "tokens": 9, "hours": 0.5, "peak_bytes": 3e9},
        "measured": {"rollouts": 486, "tokens": 1200, "seconds": 600.0, "peak_bytes": 2 * 10**9},
    }
    for part in real.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "cost.json").write_text(json.dumps(values))
    row = real.costs(tmp_path).iloc[1]
    assert (row["minutes"], row["predicted_minutes"], row["tokens_per_second"], row["gb"]) == (10.0, 30.0, 2.0, 2.0)


def test_the_committed_tables_are_those_of_the_committed_run():
    for name, table in (("rounds", real.teachers), ("cost", real.costs), ("peers", real.peers)):
        pd.testing.assert_frame_equal(pd.read_csv(real.ROOT / "data" / f"real_{name}.csv"), table(real.RUN))


def test_a_part_that_counts_less_than_its_metrics_is_marked(tmp_path):
    shutil.copytree(real.RUN, tmp_path / "run")
    path = tmp_path / "run" / "soar" / "cost.json"
    values = json.loads(path.read_text())
    values["measured"]["rollouts"] = 10_000
    marked = list(real.costs(tmp_path / "run")["part"])
    path.write_text(json.dumps(values))
    assert marked == ["filter", "soar, after a kill", "evaluate"]
    assert list(real.costs(tmp_path / "run")["part"]) == list(real.PARTS)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("soar/rounds.jsonl", lambda text: text.replace('"attempts"', '"tries"', 1), ":1: field 'tries' is unknown"),
        ("soar/problems.jsonl", lambda text: text[: len(text) // 2], ":[0-9]+: is not JSON"),
        ("soar/metrics.csv", lambda text: text.replace("length", "size", 1), ": has no column 'length'"),
        ("soar/cost.json", lambda text: text.replace('"rollouts"', '"draws"'), ": measured: field 'draws' is unknown"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, change, message):
    run = tmp_path / "run"
    shutil.copytree(real.RUN, run)
    (run / name).write_text(change(files.text_of(run / name)))
    readers = {"rounds": real.teachers, "problems": real.written, "metrics": real.teachers, "cost": real.costs}
    with pytest.raises(files.RunError, match=f"{name}{message}.*; {files.LOST}"):
        readers[name.split("/")[1].split(".")[0]](run)


def test_a_damaged_run_is_named_where_its_mix_is_read(tmp_path):
    files.append_jsonl(tmp_path / "problems.jsonl", [{"question": "1 + 1", "answer": "2"}])
    with pytest.raises(files.RunError, match="problems.jsonl:1: field 'id' is missing"):
        mix.written(tmp_path)
