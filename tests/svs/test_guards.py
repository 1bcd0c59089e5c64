"""Leaks and near duplicates: tables of texts with what must be found."""

import pytest

from soar_lib.svs.guards import leak, near_duplicate

SUM = "What is 21 + 21?"
WORK = "21+21=42, and half of 84 is 42 too"
SORT = "Sort these numbers in ascending order: "


@pytest.mark.parametrize(
    ("question", "answer", "original", "expected"),
    [
        ("What is 20 + 22?", "42", SUM, ""),
        ("What is 20 + 22? It is 42.", "42", SUM, "answer"),
        ("What is 20 + 22? Not 420 nor 142 nor 42.5.", "42", SUM, ""),
        (r"Write \boxed{x}.", "42", SUM, "answer"),
        ("What is 21 + 21 - 42 + 42?", "42", "What is 42 - 42 + 42?", ""),  # the original states the number too
        (SORT + "9, 1, 5", "(1, 5, 9)", SORT + "5, 9, 1", ""),
        (SORT + "1, 5, 9", "(1, 5, 9)", SORT + "5, 9, 1", "answer"),  # in order already
        (SORT + "1, 5, 9", "(1, 5, 9)", SORT + "1, 5, 9", ""),
        ("Spell nus backward", r"\text{nus}", "Spell sun backward", "answer"),
        ("Spell sun backward", r"\text{nus}", "Spell sun backward", ""),
        ("Note that 21 + 21 = 42, and half of 84 is even. What is it?", "7", SUM, "hint"),
        ("Note that 21 + 21 = 42. What is half of 84?", "7", SUM, ""),
        ("What is it?", "", SUM, ""),
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
