"""Rephrasings keep the answer; a file of them must name every problem."""

import json

import pytest

from soar_lib.nano import world
from soar_lib.problems.load import LoadError, load
from soar_lib.records import Problem
from soar_lib.svs.rephrasings import rephraser

OTHERS = [Problem("a", "1 + 1 = ?", "2"), Problem("b", "2 + 2 = ?", "4")]


def test_nanos_rephrasings_are_well_posed_and_keep_the_answer():
    problems = [*load("nano", size=60), *load("nano-middle", size=30)]
    rephrase = rephraser("nano", problems)
    for problem in problems:
        written = rephrase(problem, 4, (0, problem.id))
        assert written == rephrase(problem, 4, (0, problem.id)) and len(written) == 4
        if problem.topic != "simple_integration":  # whose terms may be in another order
            assert {world.answer_of(text) for text in written} == {problem.answer}
        assert all(world.understand(text)[0].name == problem.topic for text in written)
        one_wording = problem.topic in ("spell_backward", "base_conversion")
        assert (set(written) == {problem.question}) if one_wording else (len({*written, problem.question}) > 1)
        known = [sorted(map(str, world.understand(text)[1][1:])) for text in (problem.question, *written)]
        if problem.topic == "simple_integration":
            assert all(terms == known[0] for terms in known)


def test_nano_rephrases_its_own_world_only():
    with pytest.raises(LoadError, match="nano: cannot rephrase a, which is not of its world"):
        rephraser("nano", OTHERS)


def test_a_file_gives_the_rephrasings_of_each_problem(tmp_path):
    rows = [{"id": "a", "question": "one and one"}, {"id": "a", "question": "1 plus 1"}, {"id": "b", "question": "2+2"}]
    path = tmp_path / "rephrased.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rephrase = rephraser(str(path), OTHERS)
    assert set(rephrase(OTHERS[0], 20, (0,))) == {"one and one", "1 plus 1"}
    assert rephrase(OTHERS[1], 2, (0,)) == ["2+2", "2+2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "question": "x"}\n', "has no rephrasing of b .1 problems lack one.; add them"),
        ('{"id": "a", "question": "x"}\n{"id": "b"}\n', "r.jsonl:2: expected an object with id and question"),
        ("nothing\n", "r.jsonl:1: expected an object"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(LoadError, match=message):
        rephraser(str(tmp_path / "r.jsonl"), OTHERS)


def test_a_missing_file_is_named():
    with pytest.raises(LoadError, match="nowhere.jsonl: cannot be read .* name a JSONL file of rephrasings"):
        rephraser("nowhere.jsonl", OTHERS)
