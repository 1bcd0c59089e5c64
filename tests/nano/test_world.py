"""The embedded world: parsers, solvers, held-out questions, documents and tokenizer."""

import random
import re
from collections import Counter

import pytest
import reasoning_gym

from soar_lib.nano import antiderivatives, world, world2
from soar_lib.problems import prompts
from soar_lib.verifier.verify import check
from tools import documents, tokenizer
from tools.base_report import depth_of

SHORT = [(name, depth) for name, family in world.FAMILIES.items() for depth in (1, 2, 4)]


@pytest.mark.parametrize(("name", "depth"), SHORT)
def test_a_question_is_understood_and_written_again(name, depth):
    rng = random.Random(1)
    for _ in range(10):
        text = world.draw(name, depth, rng, held=False)
        family, content = world.understand(text)
        assert family.name == name and family.write(content) == text
        assert depth_of(family, content) == depth


@pytest.mark.parametrize("name", world.FAMILIES)
def test_our_answers_are_those_of_the_generator(name):
    """An independent recomputation: reasoning-gym's own answer to the same item."""
    family = world.FAMILIES[name]
    items = reasoning_gym.create_dataset(name, seed=3000, size=2**31, **family.settings(3))
    compared = 0
    for index in range(150):
        text = world2.question(family, 3, index)
        if text is None:
            continue
        theirs = items[index]["answer"]
        if name == "number_sorting":
            theirs = f"({theirs.strip('[]')})".replace("'", "").replace(".0", "")
            theirs = re.sub(r"-0\b", "0", theirs)  # the generator can write minus zero
        if name == "spell_backward":
            theirs = f"\\text{{{theirs}}}"
        assert world.answer_of(text) == theirs
        compared += 1
    assert compared > 0


@pytest.mark.parametrize("depth", range(1, 8))
def test_integrals_are_stated_as_the_generator_states_them(depth):
    """Without sympy, and so that each item is refused or accepted as the generator's own text would be."""
    settings = world.FAMILIES["simple_integration"].settings(depth)
    generator = world2.generator("simple_integration", depth, **settings)
    stated = {index: antiderivatives.stated(generator, index) for index in range(80)}
    written = {index: text for index, text in stated.items() if text}
    for index in [*list(written)[:12], *sorted(stated.keys() - written)[:3]]:
        theirs = generator[index]["question"].splitlines()[0]
        known = world.understand(theirs)
        assert stated[index] == (theirs if known and len(known[1]) == depth + 1 else None)
    assert written


ILL_POSED = [
    "State the final answer to the following arithmetic problem: 42 - - 25 =",
    "State the final answer to the following arithmetic problem: 42 - 25",
    "Now, how many legs are there in total if you have 3 unicorns?",
    "Now, how many legs are there in total if you have 3 dogs, ?",
    "Now, convert the base-10 number  to binary",
    "Sort these numbers in ascending order: 5",
    "Spell this word backward (example: sun -> nus): ",
    "Find the indefinite integral: ∫ 3*x**2 + dx",
    "Find the indefinite integral: ∫ 3*x**2 + 4*x**2 dx",
    "Find the indefinite integral: ∫ 3*x**2/0 dx",
    "",
]


@pytest.mark.parametrize("text", ILL_POSED)
def test_ill_posed_questions_are_not_understood(text):
    assert world.understand(text) is None and world.answer_of(text) is None


SOLVED = [
    ("State the final answer to the following arithmetic problem: 42 - 25 + 67 =", "42-25=17+67=84", "84"),
    ("Now, how many legs are there in total if you have 2 dogs, 1 ant?", "8+6=14", "14"),
    ("Now, convert the base-10 number 6 to binary", "6r0,3r1,1r1", "110"),
    ("Sort these numbers in descending order: -3, 12, 4", "", "(12, 4, -3)"),
    ("Spell this word backward (example: sun -> nus): abc", "", "\\text{cba}"),
    ("Find the indefinite integral: ∫ -9*x**5/4 + x - 2 dx", "", "-3*x**6/8 + x**2/2 - 2*x + C"),
]


@pytest.mark.parametrize(("question", "steps", "answer"), SOLVED)
def test_worked_solutions(question, steps, answer):
    family, content = world.understand(question)
    assert family.solve(content) == (steps, answer)
    assert check(answer, documents.solution(question)) == "right"


def test_pools_are_reproducible_held_out_and_distinct():
    pool = world.pool(seed=4, size=20)
    assert pool == world.pool(seed=4, size=20)
    assert len({problem.question for problem in pool}) == 20
    assert all(world2.held_out(problem.question) for problem in pool)
    assert {problem.topic for problem in pool} == set(world.POOL_FAMILIES)
    assert pool[:7] == world.pool(seed=4, size=7)


def test_no_document_contains_a_held_out_question():
    rng = random.Random(0)
    for _ in range(200):
        messages, _ = documents.document(rng)
        question = messages[0]["content"].removeprefix(prompts.SOLVE + "\n")
        if world.understand(question):
            assert not world2.held_out(question)


def test_teacher_documents_are_flawed_as_declared():
    rng = random.Random(0)
    question = "State the final answer to the following arithmetic problem: 42 - 25 + 67 ="
    counts = Counter()
    for _ in range(600):
        text = documents.proposal(question, rng)
        asked, answer = prompts.tagged(text, "question"), prompts.tagged(text, "answer")
        if asked is None or answer is None or "\\boxed{" not in answer:
            counts["malformed"] += 1
        elif world.understand(asked) is None:
            counts["ill_posed"] += 1
        else:
            counts["none" if check(world.answer_of(asked), answer) == "right" else "wrong"] += 1
    for flaw in ("malformed", "ill_posed"):
        assert abs(counts[flaw] / 600 - documents.FLAWS[flaw]) < 0.06
    rates = [documents.CARE * documents.slip_rate(step, world.FAMILIES["chain_sum"].max_depth) for step in (1, 2)]
    careful = (1 - rates[0]) * (1 - rates[1])
    assert abs(counts["none"] / 600 - documents.FLAWS["none"] * careful) < 0.06


@pytest.mark.parametrize("name", world.FAMILIES)
def test_a_slip_spoils_the_answer_and_no_slip_does_not(name):
    rng = random.Random(3)
    for _ in range(20):
        text = world.draw(name, 5, rng, held=False)
        family, content = world.understand(text)
        steps, answer = family.solve(content, [2])
        assert check(answer, documents.solution(text)) == ("right" if answer == world.answer_of(text) else "wrong")
        assert family.solve(content, []) == family.solve(content)
    assert any(
        family.solve(content, [2])[1] != family.solve(content)[1]
        for family, content in (world.understand(world.draw(name, 5, rng, held=False)) for _ in range(5))
    )


@pytest.mark.parametrize("name", ["chain_sum", "simple_integration"])
def test_slips_happen_as_often_as_declared(name):
    rng, family = random.Random(0), world.FAMILIES[name]
    drawn = [documents.slips(rng, family) for _ in range(4000)]
    for step in (1, 5, family.max_depth):
        share = sum(step in steps for steps in drawn) / len(drawn)
        assert abs(share - documents.slip_rate(step, family.max_depth)) < 0.03


def test_two_slips_of_a_running_sum_do_not_cancel():
    family, content = world.understand(f"{world.CHAIN}42 - 25 + 67 - 13 =")
    right = family.solve(content)[1]
    assert all(family.solve(content, pair)[1] != right for pair in ([1, 2], [2, 3], [1, 3], [1, 2, 3]))


def test_easier_variants_are_shallower():
    rng = random.Random(0)
    for name in world.FAMILIES:
        text = world.draw(name, 4, rng, held=False)
        family, content = world.understand(documents.easier(text, rng))
        assert family.name == name and depth_of(family, content) < 4


def test_tokenizer_gives_back_every_text():
    tok, rng = tokenizer.build(), random.Random(2)
    for _ in range(100):
        messages, completion = documents.document(rng)
        text = tok.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + completion
        assert tok.decode(tok.encode(text)) == text
    assert len(tok.encode(prompts.TEACHER)) == 1
    assert len(tok.encode("1234")) == 4 and len(tok.encode("word")) == 4
