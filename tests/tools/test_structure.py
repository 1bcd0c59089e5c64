"""Structure against correctness as two factors: the sets share what they should, and the effects are those planted."""

import random
from collections import Counter

import pandas as pd
import pytest

from soar_lib import files
from soar_lib.nano import world2
from soar_lib.verifier.verify import equal
from tools import structure
from tools.gates_students import stones

ROUNDS = structure.ROUNDS + 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A SOAR run's problems: 20 stepping stones and a decoy in every round, the early rounds' of one skill only."""
    plain = {"id": "", "answer": "", "text": ""}
    rows = [plain | {"round": r, "question": world2.LAST + "abc?"} for r in range(1, ROUNDS + 1)]
    for number in range(1, ROUNDS + 1):
        names = world2.NAMES if number > 3 else world2.NAMES[:1]
        rows += [plain | {"round": number, "question": p.question} for p in stones(f"round {number}", names, 20)]
    folder = tmp_path_factory.mktemp("run")
    (folder / "problems.jsonl").write_text(files.jsonl(rows))
    return folder


def test_the_four_sets_differ_in_one_factor_at_a_time(run):
    sets = {name: [(p.question, p.answer) for p in problems] for name, problems in structure.sets(run, 0).items()}
    assert {len(pairs) for pairs in sets.values()} == {structure.SIZE} and len(sets) == 4
    late = {row["question"] for row in files.read_jsonl(run / "problems.jsonl") if row["round"] > 3}
    for question, answer in sets["coherent exact"]:
        assert question in late and equal(world2.answer_of(question), answer) == "right"
    columns = {name: list(zip(*pairs)) for name, pairs in sets.items()}
    for question in structure.QUESTIONS:
        assert columns[f"{question} exact"][0] == columns[f"{question} corrupted"][0]
    for answer in structure.ANSWERS:
        assert columns[f"coherent {answer}"][1] == columns[f"shuffled {answer}"][1]
    wrong = zip(columns["coherent corrupted"][1], columns["coherent exact"][1])
    assert "right" not in {equal(gold, answer) for answer, gold in wrong}
    assert Counter(columns["coherent corrupted"][1]) == Counter(columns["coherent exact"][1])
    for mixed, asked in zip(columns["shuffled exact"][0], columns["coherent exact"][0]):
        assert Counter(mixed.split()) == Counter(asked.split()) and world2.understand(mixed) is None


def test_the_draw_depends_on_the_seed_alone(run):
    assert structure.sets(run, 1) == structure.sets(run, 1) != structure.sets(run, 2)


def test_answers_that_are_mostly_one_cannot_be_corrupted():
    with pytest.raises(ValueError, match="one answer; take others"):
        structure.corrupted(["1"] * 5 + ["2"], random.Random(0))


def test_effects_are_those_planted():
    rows = [
        {"seed": seed, "question": q, "answer": a, "student": j,
         "pass@32": 0.1 + 0.2 * (q == "coherent") + 0.1 * (a == "exact") + 0.04 * (q == "coherent") * (a == "exact")
         + 0.01 * seed + 0.001 * j}
        for seed in range(5) for q in structure.QUESTIONS for a in structure.ANSWERS for j in range(3)
    ]  # fmt: skip
    found = structure.effects(pd.DataFrame(rows))
    assert {name: round(e.ours, 6) for name, e in found.items()} == {
        "coherent question": 22.0, "exact answer": 12.0, "both together": 4.0,
    }  # fmt: skip
    assert {e.seeds for e in found.values()} == {5}
