"""The exact judge against tables of questions and against the world's own flaws; tables, agreement, equal sets."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from soar_lib.measure import quality
from soar_lib.measure.bootstrap import bootstrap
from soar_lib.measure.quality import Verdict, exact, exact_verdict, summary
from soar_lib.nano import world, world2
from soar_lib.records import SyntheticProblem
from tools import documents
from tools.real import agreement, is_so

SUM = "State the final answer to the following arithmetic problem: "
LEGS = "Now, how many legs are there in total if you have "
BASE = "Now, convert the base-10 number "
SORT = "Sort these numbers in ascending order: "
ROW = "Take the letters "
SPELL = "Spell this word backward (example: sun -> nus): "
INTEGRAL = "Find the indefinite integral: ∫ "


def verdicts(text: str) -> list[Verdict]:
    """Verdicts from their first letters: c, a, l (well posed), i, m (something missing), u."""
    names = dict(zip("calimu", (*quality.LABELS, quality.UNJUDGED), strict=True))
    return [Verdict(names[letter]) for letter in text]


def drawn(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    families = list(world.FAMILIES)
    return [world.draw(families[i % 6], rng.randint(1, 4), rng, held=False) for i in range(count)]


# ------------------------------------------------------------------ the exact judge

JUDGED = [
    (SUM + "42 - 25 + 67 =", "84", "correct", ""),
    (SUM + "42 - 25 + 67 =", "84.0", "correct", ""),  # by the verifier, not by letters
    (INTEGRAL + "3*x**2 + 4 dx", "4*x + x**3 + C", "correct", ""),
    (SUM + "42 + 25 =", "57", "arithmetic", "a slip at step 1"),
    (SUM + "42 - 25 + 67 + 8 =", "4", "arithmetic", "another value"),
    (SUM + "42 - 25 + 67 =", "17", "logic", "item 3 left out"),
    (SUM + "42 - 25 + 67 =", "59", "logic", "item 2 taken twice"),
    (LEGS + "2 dogs, 3 birds?", "8", "logic", "item 2 left out"),
    (LEGS + "2 dogs, 3 birds?", "\\sqrt{2}", "arithmetic", "another value"),
    (BASE + "6 to binary", "111", "arithmetic", "a slip at step 1"),
    (BASE + "4 to binary", "001", "logic", "the items in reverse order"),
    (SORT + "5, -2, 9", "(-2, 9, 5)", "arithmetic", "a slip at step 2"),
    (SORT + "5, -2, 9", "(9, 5, -2)", "logic", "sorted in the other direction"),
    (SORT + "5, -2, 9", "(-2, 5)", "logic", "item 3 left out"),
    (SPELL + "stone", "\\text{enoxt}", "arithmetic", "another value"),
    (SPELL + "stone", "\\text{stone}", "logic", "the items in reverse order"),
    (SPELL + "stone", "\\text{enotss}", "logic", "item 1 taken twice"),
    (INTEGRAL + "3*x**2 + 4 dx", "3*x**3 + 4*x + C", "arithmetic", "a slip at step 1"),
    (INTEGRAL + "3*x**2 + 4 dx", "x**3 + C", "logic", "item 2 left out"),
    (ROW + "dog and write them backward.", "\\text{god}", "correct", ""),  # of the second world
    (ROW + "dog and write them backward.", "\\text{gxd}", "arithmetic", "another value"),
]


@pytest.mark.parametrize("question, answer, label, reason", JUDGED)
def test_well_posed_problems(question, answer, label, reason):
    verdict = exact_verdict(question, answer)
    assert (verdict.label, verdict.reason) == (label, reason)
    assert verdict.well_posed and verdict.answer == (world.answer_of(question) or world2.answer_of(question))
    assert verdict.correct == (label == "correct")


def test_what_nobody_can_know_is_ambiguous():
    verdict = exact_verdict(world2.GUESS + "dog" + world2.ASKED, "4")
    assert (verdict.label, verdict.answer, verdict.reason) == ("ambiguous", None, "nobody can know its answer")
    assert quality.topic(world2.GUESS + "dog" + world2.ASKED) == "guess"


NOT_WELL_POSED = [
    (SUM + "42 - 25", "ambiguous", "the end is missing"),
    (SUM + "42 - ", "ambiguous", "the end is missing"),
    (SPELL, "ambiguous", "the end is missing"),
    (SORT + "5", "ambiguous", "the end is missing"),
    ("Sort these num", "ambiguous", "the end is missing"),
    (LEGS + "2 prayi", "ambiguous", "the end is missing"),
    (INTEGRAL + "3*x**2 + 4*x**", "ambiguous", "the end is missing"),
    (SUM + "42 - + 25 =", "ambiguous", "a number or item is missing"),
    (BASE + " to binary", "ambiguous", "a number or item is missing"),
    (LEGS + "dogs?", "ambiguous", "a number or item is missing"),
    (LEGS + "3 dogs, ?", "ambiguous", "a number or item is missing"),
    (SORT + "2, 3, , 4", "ambiguous", "a number or item is missing"),
    (INTEGRAL + "3*x**2 + dx", "ambiguous", "a number or item is missing"),
    (INTEGRAL + "3*x** + 5*x**2 dx", "ambiguous", "a number or item is missing"),
    (LEGS + "3 unicorns?", "ill_posed", "no family can read it"),
    (INTEGRAL + "3*x**2/0 dx", "ill_posed", "no family can read it"),
    (INTEGRAL + "3*x**2 + 4*x**2 dx", "ill_posed", "no family can read it"),
    (SUM + "42 x 25 =", "ill_posed", "no family can read it"),
    (SUM + "42 - 25 = =", "ill_posed", "no family can read it"),
    ("What is the meaning of life?", "ill_posed", "no family can read it"),
]


@pytest.mark.parametrize("question, label, reason", NOT_WELL_POSED)
def test_problems_that_are_not_well_posed(question, label, reason):
    assert world.understand(question) is None
    verdict = exact_verdict(question, "84")
    assert verdict == Verdict(label, None, reason) and not verdict.well_posed and not verdict.correct


def test_every_proper_prefix_of_a_well_posed_question_misses_its_end():
    questions = [
        *drawn(18),
        INTEGRAL + "-7*x**3/12 - x**17 + 3/4 - 1234*x dx",
        LEGS + "1 praying mantis, 20 woodlouses?",
    ]
    seen = 0
    for question in questions:
        assert world.understand(question) is not None
        for length in range(len(question)):
            if world.understand(question[:length]) is None:
                assert exact_verdict(question[:length], "1").reason == "the end is missing", question[:length]
                seen += 1
    assert seen > 500


def test_the_worlds_own_flaws_get_their_labels():
    rng, labels = random.Random(3), Counter()
    for question in drawn(60, seed=5):
        family, content = world.understand(question)
        assert exact_verdict(question, family.solve(content)[1]).label == "correct"
        answer = family.solve(content, [1])[1]
        if answer != family.solve(content)[1]:
            labels[exact_verdict(question, answer).label] += 1
            assert exact_verdict(question, answer).reason == "a slip at step 1"
        wrong = family.solve(documents.spoiled(family, content))[1]
        assert exact_verdict(question, wrong).label in ("correct", "arithmetic", "logic")
        cut = documents.without_a_character(question, rng)
        if world.understand(cut) is None:
            labels[exact_verdict(cut, "1").label] += 1
    assert set(labels) == {"arithmetic", "ambiguous"} and min(labels.values()) > 20


def test_the_answer_of_a_shorter_problem_is_a_mistake_of_logic():
    for question in drawn(40, seed=7):
        family, content = world.understand(question)
        if family.name == "leg_counting" and len(content) > 2:
            answer = family.solve(content[:-1])[1]
            if all(family.solve(content, [s])[1] != answer for s in range(9)) and answer != world.answer_of(question):
                assert exact_verdict(question, answer).label == "logic"
                return
    raise AssertionError("no problem of three animals was drawn")


def test_verdicts_come_in_order_and_labels_are_checked():
    problems = [SyntheticProblem(str(i), SUM + f"{i} + 9 =", str(9 + i % 2), "") for i in range(3)]
    assert [v.label for v in exact(problems)] == ["correct", "correct", "arithmetic"]
    with pytest.raises(ValueError, match="label 'fine': must be one of correct"):
        Verdict("fine")


# ------------------------------------------------------------------ tables


def test_summary_gives_percent_interval_and_counts():
    table = summary({"base": [verdicts("caliu" * 20), verdicts("ccccm" * 20)], "pq": [verdicts("ccla" * 5)]}, "exact")
    assert list(table.columns) == quality.COLUMNS and set(table["judge"]) == {"exact"}
    assert table["measure"].tolist() == [*quality.MEASURES] * 2
    base = table[table["arm"] == "base"].set_index("measure")
    # the mean of both runs' shares: 3/4 and 4/5 well posed, 1/4 and 4/5 correct
    assert base["percent"].to_dict() == pytest.approx(
        {"well_posed": 77.5, "correct": 52.5, "arithmetic": 12.5, "logic": 12.5, "ill_posed": 12.5, "ambiguous": 10}
    )
    assert (base[["n", "unjudged", "runs"]] == [180, 20, 2]).all(axis=None)
    assert (base["low"] < base["percent"]).all() and (base["percent"] < base["high"]).all()
    assert base["low"].min() >= 0 and base["high"].max() <= 100
    runs = [np.repeat([[1, 0, 0, 0]], 20, 0).reshape(1, -1), np.repeat([[1, 1, 1, 1, 0]], 20, 0).reshape(1, -1)]
    expected = np.clip([100 * x for x in bootstrap(runs, [0, 1]).interval()], 0, 100)
    assert base.loc["correct", ["low", "high"]].tolist() == pytest.approx(expected)
    assert table.equals(summary({"base": [verdicts("caliu" * 20), verdicts("ccccm" * 20)],
                                 "pq": [verdicts("ccla" * 5)]}, "exact"))  # fmt: skip


def test_summary_of_an_arm_that_nobody_could_judge():
    table = summary({"ps": [verdicts("uu"), []]}, "m")
    assert table["percent"].isna().all() and table["low"].isna().all()
    assert (table[["n", "unjudged", "runs"]] == [0, 2, 0]).all(axis=None)


# ------------------------------------------------------------------ agreement


def test_agreement_counts_pairs_and_matches_scikit_learns_kappa():
    rng = random.Random(1)
    left = verdicts("".join(rng.choices("calimu", k=200)))
    right = [v if rng.random() < 0.6 else verdicts(rng.choice("calimu"))[0] for v in left]
    both = [(a, b) for a, b in zip(left, right) if a.judged and b.judged]
    found = agreement(left, right)
    assert found.n == len(both) < 200 and found.unjudged == 200 - found.n
    assert found.confusion.loc["logic", "correct"] == sum((a.label, b.label) == ("logic", "correct") for a, b in both)
    assert found.confusion.to_numpy().sum() == found.n
    assert found.share == pytest.approx(np.mean([a.label == b.label for a, b in both]))
    theirs = cohen_kappa_score([a.label for a, _ in both], [b.label for _, b in both])
    assert found.kappa == pytest.approx(theirs) and 0.3 < found.kappa < 0.9
    for measure in quality.MEASURES:
        columns = list(zip(*[[is_so(v, measure) for v in pair] for pair in both]))
        assert agreement(left, right, measure).kappa == pytest.approx(cohen_kappa_score(*columns))


def test_agreement_at_its_ends():
    assert agreement(verdicts("calim"), verdicts("calim")).kappa == 1
    assert agreement(verdicts("ci"), verdicts("ic")).kappa == -1
    assert agreement(verdicts("cai"), verdicts("aci"), "well_posed").share == 1
    same = agreement(verdicts("ccc"), verdicts("ccc"))
    assert same.share == 1 and math.isnan(same.kappa)
    nothing = agreement(verdicts("cu"), verdicts("uc"))
    assert (nothing.n, nothing.unjudged) == (0, 2) and math.isnan(nothing.share)


def test_agreement_refuses_what_does_not_belong_together():
    with pytest.raises(ValueError, match="2 and 1 verdicts"):
        agreement(verdicts("cc"), verdicts("c"))
    with pytest.raises(ValueError, match="measure 'nice': must be label or one of"):
        agreement(verdicts("c"), verdicts("c"), "nice")


# ------------------------------------------------------------------ structure against correctness

WRITTEN = [SyntheticProblem(str(i), f"q{i}", "1", "") for i in range(40)]
LETTERS = "ccalim" * 6 + "uuuu"


def test_both_sets_have_one_size_and_come_from_their_pools():
    found = quality.equal_size_sets(WRITTEN, verdicts(LETTERS), 3, "claim")
    assert list(found) == ["correct_only", "well_posed"]
    correct = [problem for problem, letter in zip(WRITTEN, LETTERS) if letter == "c"]
    posed = {problem.id for problem, letter in zip(WRITTEN, LETTERS) if letter in "cal"}
    assert found["correct_only"] == correct and len(found["well_posed"]) == len(correct) == 12
    names = [problem.id for problem in found["well_posed"]]
    assert set(names) < posed and len(set(names)) == 12 and names == sorted(names, key=int)


def test_sets_are_seeded_and_every_well_posed_problem_can_be_drawn():
    draws = [quality.equal_size_sets(WRITTEN, verdicts(LETTERS), seed)["well_posed"] for seed in range(200)]
    again = quality.equal_size_sets(WRITTEN, verdicts(LETTERS), 7)["well_posed"]
    assert draws[7] == again and draws[7] != draws[8]
    counts = Counter(problem.id for draw in draws for problem in draw)
    assert len(counts) == 24 and max(counts.values()) < 2 * min(counts.values())


@pytest.mark.parametrize("letters", ["aim", "ccim", ""])
def test_there_are_no_sets_that_would_show_nothing(letters):
    assert quality.equal_size_sets(WRITTEN[: len(letters)], verdicts(letters), 0) == {}
