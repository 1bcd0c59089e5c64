"""The second embedded world: skills, parsers, pools, what its model is trained on, and its tokenizer."""

import random
from collections import Counter
from itertools import pairwise, product

import pytest

from soar_lib.engine import base as bases
from soar_lib.nano import skills, world2
from soar_lib.problems import load, prompts
from soar_lib.problems.checks import CHECKS
from soar_lib.records import Draw, Problem
from soar_lib.student.train import accuracy
from soar_lib.verifier.verify import check, equal
from tools import documents2
from tools.mix import role

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
def test_a_slip_changes_one_letter_and_its_sign_and_is_not_carried_on(name):
    care, haste = skills.SKILLS[name].signs
    for word in ("abcdefgh", "zyxwvuts", "aaaaaaaa"):
        right = skills.solve([word, name])[0]
        assert right.count(care) == 8 and haste not in right
        for step in range(1, 9):
            wrong = skills.solve([word, name], slips=[step])[0]
            place = len(name) + 2 * step
            assert [i for i, pair in enumerate(zip(right, wrong)) if pair[0] != pair[1]] == [place, place + 1]
            assert wrong[place] == haste


def test_no_skill_has_the_signs_of_another():
    assert len(set("".join(skill.signs for skill in skills.SKILLS.values()))) == 2 * len(skills.SKILLS)


@pytest.mark.parametrize("kind", [*world2.PAIRS, *world2.TRIPLES, *world2.NEW_PAIRS])
def test_mistakes_of_several_skills_never_cancel(kind):
    gold = skills.solve(["mnop", *kind])[1]
    for hasty in product((0, 1), repeat=len(kind)):
        slips = [4 * line + place for line, slip in enumerate(hasty) if slip for place in range(1, 5)]
        assert (skills.solve(["mnop", *kind], slips)[1] == gold) == (not any(hasty))


@pytest.mark.parametrize(
    "text",
    [
        "Take the letters house and.", "Take the letters and write them backward.", "Take the letters house.",
        skills.write(["house", "shift"])[:-1], "I think of a digit and of the word a. Which digit is it?", "",
    ],
)  # fmt: skip
def test_ill_posed_questions_are_not_understood(text):
    assert world2.understand(text) is None and world2.answer_of(text) is None and role(text) == "ill-posed"


@pytest.mark.parametrize("name", [name for name in load.EMBEDDED if name.startswith("nano2")])
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
    assert slipped.count("wrong") == len(slipped)


def test_hard_problems_are_spread_evenly_and_transfer_pairs_are_new():
    kinds = Counter(problem.topic for problem in world2.pool("nano2", 0, 150))
    assert set(kinds.values()) == {10} and Counter(kind.count(",") for kind in kinds) == {0: 5, 1: 5, 2: 5}
    assert Counter(name for kind in kinds for name in kind.split(", ")) == dict.fromkeys(skills.SKILLS, 6)
    known = {pair for kind in kinds for pair in pairwise(kind.split(", "))}
    assert known.isdisjoint(world2.NEW_PAIRS) and len(known) == len(world2.NEW_PAIRS) == 10


def test_no_document_solves_a_held_out_question_of_words():
    asked = [m[0]["content"].removeprefix(prompts.SOLVE + "\n") for m, _ in DOCUMENTS]
    words = [question for question in asked if (known := world2.understand(question)) and known[0].name == "words"]
    assert len(words) > 1000 and not any(map(world2.held_out, words))


@pytest.mark.parametrize("letters", [2, 12])
def test_every_skill_slips_as_often_as_declared_at_every_length(letters):
    rng = random.Random(0)
    for name, skill in skills.SKILLS.items():
        question = skills.write(["x" * letters, name])
        text = "".join(documents2.slipped(rng, question, documents2.PRIORS["nano2"]) for _ in range(3000 // letters))
        signs = [text.count(sign) for sign in skill.signs]
        assert signs[1] / sum(signs) == pytest.approx(documents2.SLIP, abs=0.04)


@pytest.mark.parametrize("name", ["nano2", "nano2-plain"])
def test_proposals_are_flawed_as_declared(name):
    prior = documents2.PRIORS[name]
    decoys = prior.families.get("guess", 0)
    rng, roles, right = random.Random(0), Counter(), 0
    for _ in range(2000):
        text = documents2.proposal(rng, prior)
        question, box = prompts.tagged(text, "question"), prompts.tagged(text, "answer")
        if question and box:
            roles[role(question)] += 1
            gold = world2.answer_of(question)
            right += role(question) == "stone" and check(gold, box) == "right"
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
            kind, content = world2.understand(question)
            assert shorter and shorter[0].depth(shorter[1]) <= kind.depth(content)
        assert new > 30


def test_the_tokenizer_gives_back_every_text():
    tokens = documents2.tokens()
    for messages, completion in DOCUMENTS[:500]:
        text = tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + completion
        ids = tokens.encode(text)
        assert tokens.decode(ids) == text and tokens.unk_token_id not in ids


def test_the_model_for_ladder_signs_each_term_and_is_seldom_right():
    rng, prior, right = random.Random(1), documents2.PRIORS["nano2-calculus"], []
    for _ in range(600):
        question = documents2.ask(rng, "simple_integration", size=2)
        text = documents2.slipped(rng, question, prior)
        verdict = check(world2.answer_of(question), text)
        assert verdict == "right" or "~" in text  # a constant's antiderivative needs no division
        right.append(verdict == "right")
    assert 0.35**2 - 0.05 < sum(right) / len(right) < 0.25
    base = bases.load("nano2-calculus")
    short = [Problem(str(i), documents2.ask(rng, "simple_integration", size=1), "") for i in range(24)]
    found = accuracy(base, None, short, Draw(64, rows=512), 16, [("test",)], CHECKS["integral"]).mean().item()
    assert 0.2 < found < 0.6
    hard = load.load("nano2-integrals", size=8)
    assert accuracy(base, None, hard, Draw(128, rows=512), 16, [("test",)], CHECKS["integral"]).max() == 0
