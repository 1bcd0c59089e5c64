"""What SvS draws: every rule against values worked out by hand; guards by tables of texts; rephrasings keep answers."""

import json
from dataclasses import replace

import pytest
import tiny

from soar_lib.problems.load import LoadError
from soar_lib.problems.prompts import reconstruct_messages
from soar_lib.records import Problem
from soar_lib.settings.student import preset
from soar_lib.svs.settings import SvsConfig
from soar_lib.svs.synthesis import (
    Seed,
    Solved,
    Task,
    VariationalProblem,
    judge,
    leak,
    near_duplicate,
    paid,
    rephraser,
    seeds,
    synthesis_reward,
    synthesise,
    variant_tasks,
)

PAPER = SvsConfig()
SUM = Problem("p", "What is 21 + 21?", "42")
WORK = "21+21=42, and half of 84 is 42 too"
SORT = "Sort these numbers in ascending order: "
OTHERS = [Problem("a", "1 + 1 = ?", "2"), Problem("b", "2 + 2 = ?", "4")]


def solved(counts: list[int], of: int = 8) -> Solved:
    """Tasks with so many right solutions each; wrong ones come first."""
    tasks = [Task(0, replace(SUM, id=f"p{count}"), (0, 0, place)) for place, count in enumerate(counts)]
    right = [[False] * (of - count) + [True] * count for count in counts]
    return Solved(tasks, None, [f"{task.problem.id}/{i}" for task in tasks for i in range(of)], right)


# ------------------------------------------------------------------ bands, seeds, rewards


def test_bands_are_the_papers_with_both_ends():
    assert list(PAPER.seed_counts) == [1, 2, 3, 4] and list(PAPER.reward_counts) == [1, 2, 3, 4, 5]
    assert list(PAPER.of_arm("svs_easier_seeds").seed_counts) == [3, 4, 5, 6]
    assert list(PAPER.of_arm("svs_any_correct").reward_counts) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(preset("paper", SvsConfig, group=10, seed_low=0.3, seed_high=0.7).seed_counts) == [3, 4, 5, 6, 7]


def test_every_correct_solution_of_an_under_performing_problem_is_a_seed():
    found = seeds(solved([0, 1, 4, 5, 8]), PAPER)
    assert [(seed.task.problem.id, seed.number) for seed in found] == [
        ("p1", 7), ("p4", 4), ("p4", 5), ("p4", 6), ("p4", 7),
    ]  # fmt: skip
    assert [seed.solution for seed in found] == ["p1/7", "p4/4", "p4/5", "p4/6", "p4/7"]


def test_the_cap_keeps_the_first_solutions_of_each_problem():
    found = seeds(solved([1, 4, 3]), preset("paper", SvsConfig, **{"guards.solutions": 2}))
    assert [(seed.task.problem.id, seed.number) for seed in found] == [
        ("p1", 7), ("p4", 4), ("p4", 5), ("p3", 5), ("p3", 6),
    ]  # fmt: skip


def test_writing_is_paid_where_one_to_five_of_eight_agree():
    rewards = [synthesis_reward(right, PAPER.reward_counts) for right in (None, *range(9))]
    assert rewards == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def written(*dropped: str) -> list[VariationalProblem]:
    """Variants of one solution; the empty string is one that is solved."""
    return [
        VariationalProblem(0, 0, "p", SUM.question, SUM.answer, 2, i, f"question {i}", dropped=why)
        for i, why in enumerate(dropped)
    ]


def test_variants_are_solved_against_the_original_answer():
    seed = Seed(Task(1, SUM, (5, 0, 3)), 2, "21+21=42")
    tasks = variant_tasks([seed], written("", "unreadable", ""))
    assert [(task.slot, task.problem.question, task.problem.answer) for task in tasks] == [
        (1, "question 0", "42"), (1, "question 2", "42"),
    ]  # fmt: skip
    assert len({task.key for task in tasks} | {seed.task.key}) == 3


def test_variants_of_several_solutions_keep_their_own():
    found = [Seed(Task(slot, replace(SUM, answer=str(slot)), (slot, 0, 0)), 0, "") for slot in range(3)]
    tasks = variant_tasks(found, [v for _ in found for v in written("", "leak")])
    assert [(task.slot, task.problem.answer) for task in tasks] == [(0, "0"), (1, "1"), (2, "2")]


def test_rewards_go_to_the_variants_that_earned_them():
    again = Solved([], None, [], [[True] * count + [False] * (8 - count) for count in (5, 0, 6)])
    found = paid(written("", "unreadable", "", ""), again, PAPER)
    assert [(v.right, v.reward) for v in found] == [(5, 1.0), (None, 0.0), (0, 0.0), (6, 0.0)]
    with pytest.raises(ValueError, match="zip"):
        paid(found[:2], again, PAPER)


# ------------------------------------------------------------------ guards


def judged(question: str | None, earlier: list[str], base, **guards) -> VariationalProblem:
    config = preset("paper", SvsConfig, **{f"guards.{name}": value for name, value in guards.items()})
    return judge(base, Seed(Task(0, SUM, (7, 0, 0)), 1, "21+21=42"), 3, question, earlier, config, 9)


@pytest.mark.parametrize(
    ("question", "earlier", "leak", "duplicate"),
    [
        ("What is twice 21?", [], "", ""),
        ("Twice 21 is 42. What is it?", [], "answer", ""),
        ("What is 21 + 21", [], "", "original"),
        ("What is twice 21?", ["is what twice 21"], "", "sibling"),
        ("What is twice 21?", ["What is twice 22?"], "", ""),
    ],
)
def test_guards_note_and_act_only_where_they_are_on(question, earlier, leak, duplicate):
    base = tiny.base()
    noted = judged(question, earlier, base)
    assert (noted.leak, noted.duplicate, noted.dropped) == (leak, duplicate, "")
    assert (noted.step, noted.seed, noted.problem, noted.number, noted.index) == (9, 7, "p", 1, 3)
    assert judged(question, earlier, base, leaks=True).dropped == ("leak" if leak else "")
    assert judged(question, earlier, base, duplicates=True).dropped == ("duplicate" if duplicate else "")


def test_an_unreadable_or_long_variant_is_not_solved():
    assert judged(None, [], tiny.base()).dropped == "unreadable"
    config = preset("paper", SvsConfig, max_prompt_tokens=120)
    seed = Seed(Task(0, SUM, (0, 0, 0)), 0, "")
    assert [judge(tiny.base(), seed, 0, "x" * n, [], config, 0).dropped for n in (1, 120)] == ["", "long"]


def test_a_seed_with_a_long_prompt_is_dropped():
    base = tiny.base()
    limit = len(base.encode(reconstruct_messages(""))) + 50
    found = [Seed(Task(0, SUM, (0, 0, 0)), number, "x" * length) for number, length in enumerate((60, 10))]
    config = preset("paper", SvsConfig, max_prompt_tokens=limit, max_new_tokens=3)
    writers, samples, variants = synthesise(base, tiny.adapters(base, 1), found, config, 0)
    assert writers == found[1:] and len(samples) == len(variants) == 8
    assert synthesise(base, tiny.adapters(base, 1), found[:1], config, 0) == ([], None, [])


@pytest.mark.parametrize(
    ("question", "answer", "original", "expected"),
    [
        ("What is 20 + 22?", "42", SUM.question, ""),
        ("What is 20 + 22? It is 42.", "42", SUM.question, "answer"),
        ("What is 20 + 22? Not 420 nor 142 nor 42.5.", "42", SUM.question, ""),
        (r"Write \boxed{x}.", "42", SUM.question, "answer"),
        ("What is 21 + 21 - 42 + 42?", "42", "What is 42 - 42 + 42?", ""),  # the original states the number too
        (SORT + "9, 1, 5", "(1, 5, 9)", SORT + "5, 9, 1", ""),
        (SORT + "1, 5, 9", "(1, 5, 9)", SORT + "5, 9, 1", "answer"),  # in order already
        (SORT + "1, 5, 9", "(1, 5, 9)", SORT + "1, 5, 9", ""),
        ("Spell nus backward", r"\text{nus}", "Spell sun backward", "answer"),
        ("Spell sun backward", r"\text{nus}", "Spell sun backward", ""),
        ("Note that 21 + 21 = 42, and half of 84 is even. What is it?", "7", SUM.question, "hint"),
        ("Note that 21 + 21 = 42. What is half of 84?", "7", SUM.question, ""),
        ("What is it?", "", SUM.question, ""),
    ],
)
def test_a_leak_is_found(question, answer, original, expected):
    assert leak(question, answer, WORK, original) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("Add 3 and 4.", "add  4 and 3", True),
        ("Add 3 and 4.", "Add 3 and 44.", False),
        ("Add 3 and 3.", "Add 3 and 4.", False),
        ("Add 3 and 3.", "Add 3.", False),
        (SORT + "5, 9, 1", SORT + "1, 5, 9", True),
        ("Count the legs of 3 dogs", "Count the wheels of 3 cars", False),  # 3 of 7 words in common
        ("Count the legs of 3 dogs", "Count all the legs of 3 dogs", True),  # 5 of 6
    ],
)
def test_near_duplicates_have_the_same_numbers_and_most_words(first, second, expected):
    assert near_duplicate(first, second) is near_duplicate(second, first) is expected


def test_similarity_is_the_share_of_common_words():
    pair = ("Count the legs of 3 dogs", "Count all the legs of 3 dogs")
    assert near_duplicate(*pair, similarity=5 / 6) and not near_duplicate(*pair, similarity=0.85)


# ------------------------------------------------------------------ rephrasings


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
        ("nothing\n", "r.jsonl:1: not JSONL; every line must be one JSON object"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(LoadError, match=message):
        rephraser(str(tmp_path / "r.jsonl"), OTHERS)


def test_a_missing_file_is_named():
    with pytest.raises(LoadError, match="nowhere.jsonl: cannot be read .* give a JSONL file"):
        rephraser("nowhere.jsonl", OTHERS)
