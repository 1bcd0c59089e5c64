"""The second embedded world: skills, parsers, pools, what its model is trained on, and its tokenizer."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from soar_lib.nano import skills, world2
from soar_lib.problems import load, prompts
from soar_lib.verifier.verify import check, equal
from tools import documents2

DOCUMENTS = [documents2.document(random.Random(f"test {i}")) for i in range(3000)]


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (["house", "backward"], "esuoh"), (["xyz", "shift"], "abc"), (["abz", "mirror"], "zya"),
        (["house", "ends"], "eoush"), (["house", "turn"], "ouseh"), (["dog", "backward", "shift"], "jrg"),
        (["abc", "turn", "mirror", "ends"], "zxy"),
    ],
)  # fmt: skip
def test_what_the_skills_do(content, answer):
    question = skills.write(content)
    assert skills.parse(question) == content and world2.answer_of(question) == f"\\text{{{answer}}}"


@pytest.mark.parametrize("name", skills.SKILLS)
def test_a_slip_changes_one_letter_and_is_not_carried_on(name):
    for word in ("abcdefgh", "zyxwvuts"):
        right = skills.solve([word, name])[0]
        for step in range(1, 9):
            wrong = skills.solve([word, name], slips=[step])[0]
            assert [a != b for a, b in zip(right, wrong)].count(True) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Take the letters house and.", "Take the letters and write them backward.", "Take the letters house.",
        skills.write(["house", "shift"])[:-1], "I think of one of these letters: a. Which one is it?", "",
    ],
)  # fmt: skip
def test_ill_posed_questions_are_not_understood(text):
    assert world2.understand(text) is None and world2.answer_of(text) is None and world2.role(text) == "ill-posed"


@pytest.mark.parametrize("name", [name for name in load.SECOND])
def test_pools_are_reproducible_held_out_distinct_and_right(name):
    problems = load.load(name, seed=3, size=40)
    assert problems == load.load(name, seed=3, size=40) != load.load(name, seed=4, size=40)
    assert len({problem.question for problem in problems}) == 40
    assert all(world2.held_out(problem.question) for problem in problems)
    slipped = []
    for problem in problems[:8]:
        family, content = world2.understand(problem.question)
        assert check(problem.answer, f"\\boxed{{{family.solve(content)[1]}}}") == "right"
        slipped.append(equal(problem.answer, family.solve(content, slips=[1])[1]))
    assert slipped.count("wrong") >= 6  # with two like letters side by side some slips change nothing


def test_hard_problems_are_spread_evenly_and_transfer_pairs_are_new():
    kinds = Counter(problem.topic for problem in world2.pool("nano2", 0, 150))
    assert set(kinds.values()) == {10} and Counter(kind.count(",") for kind in kinds) == {0: 5, 1: 5, 2: 5}
    assert Counter(name for kind in kinds for name in kind.split(", ")) == dict.fromkeys(skills.SKILLS, 6)
    known = {pair for kind in kinds for pair in pairwise(kind.split(", "))}
    assert known.isdisjoint(world2.NEW_PAIRS) and len(known) == len(world2.NEW_PAIRS) + 1 == 10


def test_no_document_solves_a_held_out_question_of_words():
    asked = [m[0]["content"].removeprefix(prompts.SOLVE + "\n").removesuffix(skills.HINT) for m, _ in DOCUMENTS]
    words = [question for question in asked if (known := world2.understand(question)) and known[0].name == "words"]
    assert len(words) > 1000 and not any(map(world2.held_out, words))


def test_mistakes_happen_as_often_as_declared():
    rng = random.Random(0)
    for letters in (2, 4, 8):
        drawn = [documents2.mistakes(rng, ["x" * letters, "shift", "turn"]) for _ in range(3000)]
        for line in (1, 2):
            hasty = [line in one["glances"] for one in drawn]
            assert hasty.count(True) / 3000 == pytest.approx(1 - documents2.care(letters), abs=0.03)
            step = line * letters
            slips = [step in one["slips"] for one, glance in zip(drawn, hasty) if glance]
            assert slips.count(True) / len(slips) == pytest.approx(documents2.SLIP["glance"], abs=0.06)
            careful = [step in one["slips"] for one, glance in zip(drawn, hasty) if not glance]
            assert careful.count(True) <= 0.05 * len(careful) + 1


def test_a_hint_asks_for_care_and_changes_nothing_else():
    question = skills.write(["house", "backward", "shift"])
    assert world2.answer_of(question + skills.HINT) == world2.answer_of(question)
    for i in range(50):
        assert "at a glance" not in documents2.slipped(random.Random(i), question + skills.HINT)


@pytest.mark.parametrize("name", ["nano2", "nano2-plain"])
def test_proposals_are_flawed_as_declared(name):
    prior = documents2.PRIORS[name]
    decoys = prior.families.get("guess", 0)
    rng, roles, right = random.Random(0), Counter(), 0
    for _ in range(2000):
        text = documents2.proposal(rng, prior)
        question, box = prompts.tagged(text, "question"), prompts.tagged(text, "answer")
        if question and box:
            roles[world2.role(question)] += 1
            gold = world2.answer_of(question)
            right += world2.role(question) == "stone" and check(gold, box) == "right"
    total = roles.total()
    assert total / 2000 == pytest.approx(1 - documents2.MALFORMED, abs=0.03)
    assert roles["decoy"] / total == pytest.approx(decoys, abs=0.03)
    assert roles["easy"] / total == pytest.approx(1 - decoys - prior.families["words"], abs=0.04)
    assert right / roles["stone"] == pytest.approx(1 - prior.wrong, abs=0.08)


def test_other_problems_with_the_same_answer_have_it_and_easier_ones_are_easier():
    rng = random.Random(0)
    for family in ("words", "leg_counting", "simple_integration"):
        new = 0
        for _ in range(60):
            question = documents2.ask(rng, family)
            other = documents2.another(question, rng)
            assert equal(world2.answer_of(question), world2.answer_of(other)) == "right"
            new += other != question
            shorter = world2.understand(documents2.easier(question, rng))
            assert shorter and world2.depth_of(*shorter) <= world2.depth_of(*world2.understand(question))
        assert new > 30


def test_the_tokenizer_gives_back_every_text():
    tokens = documents2.tokens()
    for messages, completion in DOCUMENTS[:500]:
        text = tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + completion
        ids = tokens.encode(text)
        assert tokens.decode(ids) == text and tokens.unk_token_id not in ids
