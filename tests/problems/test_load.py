"""Problem sets: counts and answers of the real files, shapes of rows, errors in one line, families that replay."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from reasoning_gym.factory import DATASETS, create_dataset

from soar_lib.problems.likeness import overlap
from soar_lib.problems.load import PLANNED_WHOLE, UNSEEDED, load
from soar_lib.problems.rows import LoadError, boxable, load_file, problem_of, unwrap
from soar_lib.records import Problem
from soar_lib.verifier import integrals
from soar_lib.verifier.verify import check, check_many

FILES = Path(__file__).parents[3] / "shared" / "data"
needs_files = pytest.mark.skipif(not FILES.is_dir(), reason="the benchmark files are not here")
NO_SINGLE_ANSWER = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
FAMILIES = sorted(set(DATASETS) - NO_SINGLE_ANSWER - set(UNSEEDED) - {"composite"})


def written(folder: Path, *rows: dict | str) -> Path:
    path = folder / "set.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def self_verdicts(problems: list[Problem]) -> set[str]:
    return set(check_many([(problem.answer, f"So it is \\boxed{{{problem.answer}}}.") for problem in problems]))


# ------------------------------------------------------------------ real files


@needs_files
@pytest.mark.parametrize(
    "name, rows, levels",
    [
        ("math_train", 7500, {1, 2, 3, 4, 5, None}),
        ("math_test", 5000, {1, 2, 3, 4, 5}),
        ("math500", 500, {1, 2, 3, 4, 5}),
        ("harp", 4780, {1, 2, 3, 4, 5, 6}),
        ("olympiadbench_oe_to_maths_en", 674, {None}),
        ("aime24", 30, {None}),
        ("aime25", 30, {None}),
        ("amc23", 40, {None}),
        ("gsm8k_test", 1319, {None}),
    ],
)
def test_real_files_load_whole_and_their_answers_are_right(name, rows, levels):
    problems = load(FILES / f"{name}.jsonl")
    assert len(problems) == rows == len({problem.id for problem in problems})
    assert {problem.level for problem in problems} == levels
    assert {problem.source for problem in problems} == {name}
    assert all(problem.question and problem.answer for problem in problems)
    assert self_verdicts(problems) == {"right"}


@needs_files
def test_overlap_of_the_real_files():
    sets = {name: load(FILES / f"{name}.jsonl") for name in ("math_train", "math_test", "math500", "harp")}
    olympiad = load(FILES / "olympiadbench_oe_to_maths_en.jsonl")
    found = {name: overlap(sets["harp"], sets[name]) for name in ("math_train", "math_test", "math500")}
    assert {name: len(shared) for name, (shared, _) in found.items()} == {
        "math_train": 431,
        "math_test": 122,
        "math500": 13,
    }
    assert found["math_train"][1] == 325
    assert len(overlap(olympiad, sets["math_train"])[0]) == 2
    assert len(overlap(olympiad, sets["math_test"])[0]) == 1
    assert len(sets["harp"]) == 4780


@needs_files
def test_olympiadbench_answers_and_units():
    problems = {
        problem.id.rpartition("/")[2]: problem for problem in load(FILES / "olympiadbench_oe_to_maths_en.jsonl")
    }
    assert problems["1618"].answer == "(1,8,19), (2,7,13), (4,5,7)"
    assert problems["1664"].answer == "69, 84"
    assert problems["2012"].answer == "2500, 7500"
    assert check(problems["1664"].answer, "\\boxed{84, 69}") == "right"
    assert check(problems["1664"].answer, "\\boxed{84}") == "wrong"
    assert problems["2253"].question.endswith("(Give the answer in minute.)") and problems["2253"].answer == "45"
    assert problems["2592"].question.endswith("(Give the answer in percent.)")


@needs_files
def test_a_part_of_a_file_is_drawn_by_seed():
    path = FILES / "amc23.jsonl"
    part = load(path, size=10, seed=1)
    assert part == load(path, size=10, seed=1) != load(path, size=10, seed=2)
    assert len(set(part)) == 10 and set(part) < set(load(path))
    with pytest.raises(LoadError, match="has 40 problems, 41 were asked for"):
        load(path, size=41)


# ------------------------------------------------------------------ rows


@pytest.mark.parametrize(
    "row, question, answer",
    [
        ({"problem": "1+1?", "answer": "2"}, "1+1?", "2"),
        ({"question": " 1+1? ", "answer": 2.0}, "1+1?", "2"),
        ({"question": "Half?", "answer": 0.5}, "Half?", "0.5"),
        ({"question": "Ducks?", "answer": "9 * 2 = <<9*2=18>>18\n#### 1,018"}, "Ducks?", "1,018"),
        ({"problem": "P", "answer": "$10\\frac{2}{3}$"}, "P", "10\\frac{2}{3}"),
        ({"problem": "P", "answer": "\\boxed{\\frac{1}{2}}"}, "P", "\\frac{1}{2}"),
        ({"problem": "P", "solution": "first $\\boxed{3}$, so $\\boxed{\\frac{1}{2}}$"}, "P", "\\frac{1}{2}"),
        ({"question": "Q", "final_answer": ["$1,3$"], "is_multiple_answer": True}, "Q", "1, 3"),
        ({"question": "Q", "final_answer": ["(1,3)"], "is_multiple_answer": False}, "Q", "(1,3)"),
        ({"question": "Q", "final_answer": ["$4$", "$5$"], "is_multiple_answer": True}, "Q", "4, 5"),
        ({"question": "Q", "context": "Let x be 1.", "answer": "1"}, "Let x be 1.\nQ", "1"),
        ({"question": "Q", "final_answer": ["5"], "unit": "$cm^2$"}, "Q (Give the answer in $cm^2$.)", "5"),
    ],
)
def test_shapes_of_rows(row, question, answer):
    problem = problem_of(row, "set")
    assert (problem.question, problem.answer) == (question, answer)


@pytest.mark.parametrize(
    "answer, bare",
    [
        ("$11$.$", "11"),
        ("$(-\\infty, 0) \\cup\\{1\\}$.", "(-\\infty, 0) \\cup\\{1\\}"),
        ("$f(n)=n$, $g(n)=1$", "f(n)=n, g(n)=1"),
        ("\\(x+1\\)", "x+1"),
        ("\\$425", "\\$425"),
        ("the line $y = x$", "the line $y = x$"),
        ("\\boxed{1} or \\boxed{2}", "\\boxed{1} or \\boxed{2}"),
        ("$221,$8$", "$221,$8$"),
        ("$a$ ,  $b$$c$ .$", "a, b, c"),
    ],
)
def test_unwrap(answer, bare):
    assert unwrap(answer) == bare


def test_ids_come_from_the_source_or_the_question(tmp_path):
    rows = [
        {"id": "a/1", "problem": "P", "answer": "1"},
        {"year": "1950", "contest": "AHSME", "number": 1, "problem": "P", "answer": "1"},
        {"problem": "P", "answer": "1"},
        {"problem": "Q", "answer": "1"},
    ]
    ids = [problem.id for problem in load(written(tmp_path, *rows))]
    assert ids[:2] == ["set/a/1", "set/1950/AHSME/1"] and len(set(ids)) == 4
    assert [problem.id for problem in load(written(tmp_path, *reversed(rows)))] == ids[::-1]


def test_the_same_question_twice_stays_twice(tmp_path):
    row = {"problem": "P", "answer": "1"}
    assert len({problem.id for problem in load(written(tmp_path, row, row))}) == 2
    with pytest.raises(LoadError, match="set.jsonl:2: field 'id': set/7 stands on line 1 too"):
        load(written(tmp_path, {"id": 7} | row, {"id": 7} | row))


@pytest.mark.parametrize(
    "rows, message",
    [
        (["question,answer", "1,2"], r"set\.jsonl:1: not JSONL; every line must be one JSON object"),
        (["[", '{"problem": "P", "answer": "1"}', "]"], r"set\.jsonl:1: not JSONL"),
        (["[1, 2]"], r"set\.jsonl:1: not JSONL; expected an object \{\.\.\.\}, found a list"),
        ([], "holds no problem"),
        ([{"problem": "P", "answer": "1"}, {"answer": "1"}], r"set\.jsonl:2: field 'problem' .* is missing"),
        ([{"problem": "P", "answer": "1"}, {"problem": "P2"}], r"set\.jsonl:2: field 'answer' .* is missing"),
        ([{"problem": " ", "answer": "1"}], r"set\.jsonl:1: field 'problem' must be text that is not empty"),
        ([{"problem": ["P"], "answer": "1"}], r"set\.jsonl:1: field 'problem' must be text"),
        ([{"problem": "P", "answer": ""}], r"set\.jsonl:1: field 'answer': no answer in ''"),
        ([{"problem": "P", "answer": True}], r"set\.jsonl:1: field 'answer' must be text or a number, found True"),
        ([{"problem": "P", "answer": {"x": 1}}], r"set\.jsonl:1: field 'answer' must be text or a number"),
        (['{"problem": "P", "answer": NaN}'], r"set\.jsonl:1: field 'answer' must be text or a number, found nan"),
        ([{"problem": "P", "final_answer": []}], r"set\.jsonl:1: field 'final_answer': no answer"),
        ([{"problem": "P", "final_answer": [None]}], r"set\.jsonl:1: field 'final_answer' must be text or a number"),
        (['{"problem": "P", "answer": 1' + "0" * 400 + "}"], r"set\.jsonl:1: field 'answer' must be text or a number"),
        (['{"problem": "P\\ud800", "answer": "1"}'], r"set\.jsonl:1: not JSONL"),
        (["[" * 100_000], r"set\.jsonl:1: not JSONL"),
        ([{"problem": "P", "answer": "1", "unit": 7}], r"set\.jsonl:1: field 'unit' must be text, found 7"),
        ([{"problem": "P", "answer": "1", "id": [1]}], r"set\.jsonl:1: field 'id' must be text or a number"),
        ([asdict(Problem("1", "P", "1")) | {"topic": [2]}], r"set\.jsonl:1: field 'topic' must be of type str"),
        ([asdict(Problem("1", "P", "1")) | {"level": "<b>"}], r"set\.jsonl:1: field 'level' must be of type int"),
        ([{"problem": "P" * 100_001, "answer": "1"}], r"set\.jsonl:1: field 'problem' has 100,001 characters"),
        ([{"question": "Q", "context": "c" * 10**5, "answer": "1"}], r"field 'question' has 100,002 characters"),
        ([{"question": "Q", "unit": "u" * 10**5, "answer": "1"}], r"field 'question' has 100,\d+ characters"),
        ([{"question": "Q", "answer": "a" * 100_001}], r"set\.jsonl:1: field 'answer' has 100,001 characters"),
        ([{"question": "Q", "answer": "1", "id": "i" * 100_001}], r"set\.jsonl:1: field 'id' has 100,\d+ characters"),
        ([asdict(Problem("1", "P", "1", "s" * 100_001))], r"set\.jsonl:1: field 'source' has 100,001 characters"),
        ([{"problem": "P", "answer": "1", "id": True}], r"field 'id' must be text or a number, found True"),
        (['{"problem": "P", "answer": "1", "id": NaN}'], r"field 'id' must be text or a number, found nan"),
        (
            [{"problem": "P", "answer": "1", "year": [1], "contest": "c", "number": 1}],
            r"set\.jsonl:1: field 'year' must be text or a number, found \[1\]",
        ),
        (['{"problem": "P", "answer": "1", "level": ' + "9" * 5000 + "}"], r"set\.jsonl:1: field 'level' must be text"),
        ([{"problem": "P", "solution": "it is 3"}], r"set\.jsonl:1: field 'solution': no answer in 'it is 3'"),
    ],
)
def test_malformed_rows_name_file_line_and_field(tmp_path, rows, message):
    with pytest.raises(LoadError, match=message) as caught:
        load(written(tmp_path, *rows))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_text(tmp_path):
    (tmp_path / "set.jsonl").write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "set.jsonl", tmp_path):
        with pytest.raises(LoadError, match="cannot be read as UTF-8 text"):
            load(path)


def test_a_mark_of_windows_is_skipped_a_pipe_refused_and_a_long_level_cut(tmp_path):
    row = json.dumps({"problem": "P", "answer": "1", "level": f"Level {'9' * 5000}"})
    (tmp_path / "set.jsonl").write_text(row, encoding="utf-8-sig")
    assert [(problem.question, problem.level) for problem in load_file(tmp_path / "set.jsonl")] == [("P", 999999999)]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LoadError, match="pipe: cannot be read as UTF-8 text"):
        load_file(tmp_path / "pipe")


def test_a_line_separator_inside_a_text_does_not_break_the_line(tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text('{"problem": "a\u2028b", "answer": "1"}\r\n\n{"problem": "c", "answer": "2"}')
    assert [problem.question for problem in load_file(path)] == ["a\u2028b", "c"]


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name, message",
    [
        ("rg:chain_sums", "no such reasoning-gym family; did you mean chain_sum"),
        ("chain_summ", "neither a file nor a reasoning-gym family; did you mean chain_sum"),
        ("nanno", "did you mean nano"),
        ("data/absent.jsonl", "data/absent.jsonl: neither a file nor"),
        ("rg:rubiks_cube", "no single reference answer"),
        ("rg:list_functions", "no seed makes its items the same twice"),
    ],
)
def test_unknown_names_in_one_line(name, message):
    with pytest.raises(LoadError, match=message) as caught:
        load(name, size=2)
    assert "\n" not in str(caught.value)


def test_wrong_parameters_name_the_right_ones(tmp_path):
    with pytest.raises(LoadError, match="parameters are min_terms, max_terms"):
        load("chain_sum", terms=3)
    with pytest.raises(LoadError, match="rg:chain_sum: .*max_terms"):
        load("chain_sum", min_terms=5, max_terms=2)
    with pytest.raises(LoadError, match="are for reasoning-gym families"):
        load(written(tmp_path, {"problem": "P", "answer": "1"}), min_terms=3)
    with pytest.raises(LoadError, match="at least one"):
        load("chain_sum", size=0)


# ------------------------------------------------------------------ families


@pytest.mark.parametrize("family", FAMILIES)
def test_items_replay_alone_and_their_answers_are_right(family):
    problems = load(f"rg:{family}", seed=30, size=3)
    assert problems[1:] == load(family, seed=31, size=2)
    assert self_verdicts(problems) == {"right"}


def test_families_planned_whole_would_not_replay_otherwise():
    for family in PLANNED_WHOLE:
        ahead = [item["question"] for item in create_dataset(family, seed=30, size=20)]
        assert ahead != [problem.question for problem in load(family, seed=30, size=20)]


def test_the_embedded_world_is_a_set_like_any_other():
    problems = load("nano", seed=1, size=30)
    assert problems == load("nano", seed=1, size=40)[:30] != load("nano", seed=2, size=30)
    assert len({problem.id for problem in problems}) == 30 and {problem.source for problem in problems} == {"nano"}
    assert self_verdicts(problems) == {"right"}


def test_the_embedded_worlds_transfer_family_is_in_no_pool():
    far, pool = load("nano-transfer", seed=1, size=12), load("nano", seed=1, size=60)
    assert far == load("nano-transfer", seed=1, size=20)[:12] != load("nano-transfer", seed=2, size=12)
    assert len({problem.topic for problem in far}) == 1 and {problem.source for problem in far} == {"nano-transfer"}
    assert {problem.topic for problem in far}.isdisjoint(problem.topic for problem in pool)
    assert {problem.id for problem in far}.isdisjoint(problem.id for problem in pool)
    assert self_verdicts(far) == {"right"}


def test_the_pool_of_integrals_is_of_one_family_and_no_other_pools():
    drawn = load("nano-integrals", seed=1, size=40)
    assert {problem.topic for problem in drawn} == {"simple_integration"}
    assert {problem.source for problem in drawn} == {"nano-integrals"}
    assert all(integrals.judge(integrals.integrand_of(p.question), p.answer)[0] == "right" for p in drawn)


def test_problems_written_out_are_read_back(tmp_path):
    problems = [*load("nano", size=6), *load("gsm_symbolic", size=2), Problem("x", "a\u2028b ", "the line $y = x$")]
    assert load(written(tmp_path, *map(asdict, problems))) == problems


def test_parameters_reach_the_generator_and_the_id():
    plain, long = load("chain_sum", size=2), load("chain_sum", size=2, min_terms=9, max_terms=9)
    assert all(problem.question.count("+") + problem.question.count(" - ") == 8 for problem in long)
    assert not {problem.id for problem in plain} & {problem.id for problem in long}
    assert long == load("rg:chain_sum", size=2, max_terms=9, min_terms=9)


@pytest.mark.parametrize(
    "family_answer, boxed",
    [
        ("['-94.2', '30.0']", "[-94.2, 30.0]"),
        ("[18, 57, 80]", "[18, 57, 80]"),
        ("$\\frac{131}{319}$", "\\frac{131}{319}"),
        ("7*X**9 - 2*X**6 + C", "7*X**9 - 2*X**6 + C"),
        ("3*sin(2*x) + C", "3*sin(2*x) + C"),
        ("3 × 3 × 71", "3 \\times 3 \\times 71"),
        ("16.91°", "16.91^\\circ"),
        ("grandmother", "\\text{grandmother}"),
        ("True", "\\text{True}"),
        ("1 2\n3 4", "\\text{1 2 3 4}"),
    ],
)
def test_boxable(family_answer, boxed):
    assert boxable(family_answer) == boxed


@pytest.mark.parametrize(
    "gold, response, verdict",
    [
        ("['-9', '30']", "\\boxed{-9, 30}", "right"),
        ("['-9', '30']", "\\boxed{['-9', '30']}", "right"),
        ("['-9', '30']", "\\boxed{30, -9}", "wrong"),
        ("['-9', '30', '41']", "\\boxed{30, -9, 41}", "wrong"),
        ("grandmother", "\\boxed{grandmother}", "right"),
        ("grandmother", "\\boxed{\\text{mother}}", "wrong"),
        ("1 2\n3 4", "\\boxed{\\text{1 2\n3 4}}", "right"),
        ("1 2\n3 4", "\\boxed{\\text{1 2\n3 5}}", "wrong"),
        ("7*x**2 + C", "\\boxed{7x^2 + C}", "right"),
    ],
)
def test_family_answers_against_what_a_model_may_write(gold, response, verdict):
    assert check(boxable(gold), response) == verdict


def test_overlap_ignores_spacing_and_punctuation_but_not_words():
    first = [Problem("a", "Find $x$ if  $x+1=2$.", "1"), Problem("b", "Find y.", "2"), Problem("c", "Find z.", "3")]
    second = [Problem("d", "Find x if $x + 1 = 2$", "1"), Problem("e", "Find\ny.", "2"), Problem("f", "Find Z.", "3")]
    report = overlap(first, second)
    assert report == ({"a": "d", "b": "e"}, 1)
