"""Trees of variants: what is asked, what is kept, and what must never be trained on."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from soar_lib.engine.base import load
from soar_lib.files import append_jsonl
from soar_lib.ladder import variants
from soar_lib.ladder.settings import LadderConfig, VariantSettings
from soar_lib.nano import world
from soar_lib.problems import checks, prompts
from soar_lib.problems.likeness import Known, canonical, distance
from soar_lib.problems.rows import LoadError
from soar_lib.records import Problem
from soar_lib.settings.student import preset
from tools.base_report import depth_of

KEY = (3, "test")
NOTHING = Known({})


@pytest.fixture(scope="module")
def nano():
    return load("nano")


def integral(number: int, depth: int = 6) -> Problem:
    text = world.draw("simple_integration", depth, random.Random(number), held=True)
    return Problem(f"p{number}", text, "")


def settings(**changes) -> LadderConfig:
    small = {"variants.depth": 3, "variants.prompts": 4, "variants.parents": 2}
    return preset("nano", LadderConfig, **small | changes)


# ------------------------------------------------------------------ canonical forms


SAME = [
    ("Compute: ∫ 2*x + x**2 dx", r"Find $\int x^2 + 2x\,dx$."),
    ("Calculate the antiderivative: ∫ 2*x**3/4 dx", "Evaluate the indefinite integral: ∫ 0.5*x**3 dx"),
    ("Find: ∫ (x + 1)**2 dx", "Find: ∫ t**2 + 2*t + 1 dt"),
    ("Find: ∫ x*sin(2*x) dx", r"Find: ∫ \sin(2x) x dx"),
    ("Find: ∫ exp(x) + log(x) dx", "Find: ∫ log(x) + exp(x) dx"),
    ("What is $1 + 2$?", "What is 1+2?"),
]
DIFFERENT = [
    ("Find: ∫ 2*x dx", "Find: ∫ 2*x**2 dx"),
    ("Find: ∫ sin(x) dx", "Find: ∫ cos(x) dx"),
    ("Find: ∫ x - 1 dx", "Find: ∫ x + 1 dx"),
    ("What is 42 - 25 + 3 =", "What is 42 + 25 - 3 ="),
    ("Find: ∫ exp(x)**2 dx", "Find: ∫ exp(x)**3 dx"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_the_same_question_in_other_words_has_the_same_form(first, second):
    assert canonical(first) == canonical(second) and distance(canonical(first), canonical(second)) == 0


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_another_question_has_another_form(first, second):
    assert canonical(first) != canonical(second)
    assert 0 < distance(canonical(first), canonical(second)) <= 1


def test_the_nearest_problem_is_the_one_with_the_smallest_distance():
    questions = ["Find: ∫ 5*x**4 + 2*x dx", "Find: ∫ sin(x) dx", "Find: ∫ 7*x**9 dx"]
    known = Known.of([Problem(str(i), text, "") for i, text in enumerate(questions)])
    asked = "Find: ∫ 5*x**4 + 3*x dx"
    gaps = [distance(canonical(asked), canonical(text)) for text in questions]
    assert known.nearest(asked) == (str(gaps.index(min(gaps))), min(gaps)) and min(gaps) < 0.9
    assert known.nearest("∫ 2*x + 5*x**4 dx") == ("0", 0.0)
    assert NOTHING.nearest(asked) == ("", 1.0)


# ------------------------------------------------------------------ what can be checked


UNSOLVABLE = [
    ("Find: ∫ 3*x**2 - 1/2 dx", ""),
    ("Find: ∫ 0 dx", ""),
    ("Find: ∫ sin(x)/x dx", ""),
    ("Find the integral.", "no integral"),
    ("Find: ∫ gamma(x) dx", "outside the whitelist"),
    ("Find: ∫ a*x + b dx", "holds the letters a, b, x"),
    ("Find: ∫ 3*x**2 + dx", "no operand"),
    ("Find: ∫ sqrt(-1 - x**2) dx", "too few points"),
]


@pytest.mark.parametrize(("question", "reason"), UNSOLVABLE)
def test_what_no_answer_could_be_checked_against_is_unsolvable(question, reason):
    found = checks.INTEGRAL.unsolvable(question)
    assert (found == "") == (reason == "") and reason in found
    assert checks.ANSWER.unsolvable(question) == ""


def test_a_check_says_what_responses_are_held_against():
    problem = Problem("p", "Find: ∫ 2*x dx", "known")
    assert checks.ANSWER.reference(problem) == "known" and checks.INTEGRAL.reference(problem) == "2*x"
    pairs = [("2*x", text) for text in (r"\boxed{x**2}", r"\boxed{2*x}", "x**2", r"\boxed{Integral(2*x)}")]
    assert checks.INTEGRAL.verdicts(pairs) == ["right", "wrong", "unparsed", "unparsed"]
    with pytest.raises(LoadError, match="p: states no indefinite integral .* take check = 'answer'"):
        checks.INTEGRAL.reference(replace(problem, question="1 + 1?"))


# ------------------------------------------------------------------ prompts


ROOT = variants.Variant("p0", "p0", "", 0, 0, "Find: ∫ x dx", "", 0.0)


def asked(count: int, **changes) -> list[variants.Variant]:
    """The first prompts of one root."""
    return [variants._prompt(ROOT, number, VariantSettings(**changes), KEY) for number in range(count)]


def test_temperatures_and_personas_take_turns_and_each_prompt_names_one():
    made = asked(4 * len(prompts.PERSONAS))
    assert [prompt.temperature for prompt in made[:5]] == [0.8, 1.0, 1.2, 1.4, 0.8]
    pairs = {(prompt.temperature, prompt.persona) for prompt in made}
    assert len(pairs) == len(made)
    for prompt in made:
        text = variants._messages(prompt, VariantSettings())[0]["content"]
        assert [name for name in prompts.PERSONAS if name in text] == [prompt.persona]
        assert prompt.question in text and all(idea in text for idea in prompt.suggestions) and "10 variants" in text


def test_three_to_five_transformations_of_the_right_effect_are_drawn():
    made = asked(300)
    effect_of = {text: effect for effect, texts in prompts.TRANSFORMATIONS.items() for text in texts}
    assert len(effect_of) == sum(map(len, prompts.TRANSFORMATIONS.values()))
    assert {len(prompt.suggestions) for prompt in made} == {3, 4, 5}
    for prompt in made:
        assert {effect_of[text] for text in prompt.suggestions} == {prompt.effect}
        assert len(set(prompt.suggestions)) == len(prompt.suggestions)
    share = sum(prompt.effect == "equivalent" for prompt in made) / len(made)
    assert 0.2 < share < 0.4  # 0.3 asked for
    assert {text for prompt in made for text in prompt.suggestions} == set(effect_of)


def test_the_plain_prompt_is_the_one_that_nano_was_taught():
    plain = {"prompt": "plain", "per_prompt": 1, "equivalent": 0.0}
    (prompt,) = asked(1, **plain)
    assert variants._messages(prompt, VariantSettings(**plain)) == prompts.easier_messages(prompt.question)
    assert (prompt.effect, prompt.persona, prompt.suggestions) == ("easier", "", ())


def test_a_prompt_is_that_of_its_root_and_number():
    made = asked(20)
    assert made == asked(20) and len({prompt.suggestions for prompt in made}) > 10


def test_parents_are_drawn_at_random_from_the_usable_variants_of_their_level():
    kept = variants.Variant("", "p0", "p0", 1, 0, "q", "easier", 1.0)
    written = [replace(kept, id=str(i)) for i in range(8)]
    written[3] = replace(written[3], rejected="repeats 0")
    written.append(replace(kept, id="other level", level=2))
    draws = [[parent.id for parent in variants._parents(written, ["p0"], 1, 2, (i,))] for i in range(60)]
    assert {name for draw in draws for name in draw} == {"0", "1", "2", "4", "5", "6", "7"}
    assert all(len(draw) == 2 and draw == sorted(draw) for draw in draws)


# ------------------------------------------------------------------ trees


@pytest.fixture(scope="module")
def tree(nano) -> list[variants.Variant]:
    return variants.grow(nano, [integral(0), integral(1)], settings(), KEY, NOTHING)


def test_a_tree_hangs_together(tree):
    config, by_id = settings(), {variant.id: variant for variant in tree}
    assert len(by_id) == len(tree) and {variant.level for variant in tree} == {1, 2, 3}
    for variant in tree:
        if variant.level == 1:
            assert variant.parent == variant.root
        else:
            parent = by_id[variant.parent]
            assert parent.level == variant.level - 1 and parent.root == variant.root and not parent.rejected
    for root in ("p0", "p1"):
        mine = [variant for variant in tree if variant.root == root]
        assert [*dict.fromkeys(v.prompt for v in mine)] == [*range(max(v.prompt for v in mine) + 1)]  # over all levels
        assert len({variant.prompt for variant in mine}) <= config.variants.most_prompts == 4 * (1 + 2 * 2)
        for level in (2, 3):
            assert 1 <= len({variant.parent for variant in mine if variant.level == level}) <= 2
    assert variants.drawn(tree, config) == len({(variant.root, variant.prompt) for variant in tree})


def test_a_variant_counts_once_and_the_problem_itself_never(tree):
    roots = {canonical(integral(0).question), canonical(integral(1).question)}
    forms = Counter(canonical(variant.question) for variant in tree if not variant.rejected)
    assert set(forms.values()) == {1} and roots.isdisjoint(forms)
    for variant in tree:
        if variant.rejected.startswith("repeats"):
            assert canonical(variant.question) in {*forms, *roots}
    assert [problem.question for problem in variants.usable(tree)] == [v.question for v in tree if not v.rejected]
    assert len(variants.usable(tree)) > 8


def test_most_variants_are_easier_and_of_the_same_kind(tree):
    """What the untrained model was taught to write: fewer terms, hence fewer steps."""
    shallower = 0
    for variant in (v for v in tree if not v.rejected and v.level == 1):
        known = world.understand(variant.question)
        shallower += known is not None and depth_of(*known) < 6
    assert shallower >= 0.6 * sum(not v.rejected and v.level == 1 for v in tree)


def test_a_test_problem_is_never_trained_on_and_has_no_children(nano, tree):
    """In another wording too: the variant that had children becomes a test problem."""
    parent = next(v for v in tree if v.id in {child.parent for child in tree})
    integrand = checks.INTEGRAL.reference(Problem("", parent.question, ""))
    secret = Problem("secret", rf"Determine \int {integrand.replace('**', '^')} \, dx", "")
    grown = variants.grow(nano, [integral(0), integral(1)], settings(), KEY, Known.of([secret]))
    same = [v for v in grown if v.question and canonical(v.question) == canonical(secret.question)]
    assert same and all(v.rejected == "test problem" for v in same)
    assert {v.id for v in same}.isdisjoint(v.parent for v in grown)
    assert all((v.nearest, v.distance) == ("secret", 0.0) for v in same)
    others = [v for v in grown if v not in same and v.question]
    assert all(v.nearest == "secret" and 0 < v.distance <= 1 for v in others)


def test_trees_that_are_apart_grow_as_if_alone(nano):
    config = settings(**{"variants.depth": 2})
    roots = [integral(0), integral(1)]
    together = variants.grow(nano, roots, config, KEY, NOTHING, apart=True)
    for root in roots:
        alone = variants.grow(nano, [root], config, KEY, NOTHING, apart=True)
        assert alone == [variant for variant in together if variant.root == root.id]


def test_the_temperature_reaches_the_sampler(nano):
    """In the released generator it did not."""
    one = {"variants.depth": 1, "variants.prompts": 8}
    configs = [settings(**one, **{"variants.temperatures": [temperature]}) for temperature in (0.01, 1.3)]
    cold, hot = (variants.grow(nano, [integral(2)], config, KEY, NOTHING) for config in configs)
    assert len({variant.question for variant in cold}) == 1  # greedy, whatever the random numbers
    assert len({variant.question for variant in hot}) > 1


def test_one_level_takes_as_many_prompts_as_a_tree_has_at_most(nano):
    config = settings()
    flat = variants.grow(nano, [integral(0)], config.one_level(), KEY, NOTHING)
    assert {variant.level for variant in flat} == {1}
    assert variants.drawn(flat, config) == config.variants.most_prompts
    assert config.one_level().written == config.written


def test_unsolvable_variants_are_marked_and_the_others_left():
    made = [
        variants.Variant(str(i), "p0", "p0", 1, i, question, "easier", 1.0)
        for i, question in enumerate(["Find: ∫ x dx", "Find: ∫ gamma(x) dx", "Find the sum."])
    ]
    made.append(replace(made[0], id="3", rejected="repeats 0"))
    found = variants._solvable(None, made, settings(), KEY)
    assert [v.rejected.partition(":")[0] for v in found] == ["", "unsolvable", "unsolvable", "repeats 0"]
    assert found[0] == made[0] and [problem.id for problem in variants.usable(found)] == ["0"]


def test_without_a_verifier_the_most_frequent_answer_counts(nano):
    root = Problem("sum", world.draw("chain_sum", 4, random.Random(1), held=True), "")
    config = settings(check="answer", **{"variants.depth": 1, "variants.votes": 8, "variants.agreement": 0.5})
    unanimous = replace(config, variants=replace(config.variants, agreement=1.0))
    grown, strict = (variants.grow(nano, [root], each, KEY, NOTHING) for each in (config, unanimous))
    kept = variants.usable(grown)
    assert kept and all(problem.answer.lstrip("-").isdigit() for problem in kept)
    assert {p.id for p in variants.usable(strict)} < {v.id for v in grown if not v.rejected}
    undecided = [variant for variant in strict if variant.rejected == variants.UNDECIDED]
    assert undecided and all(not variant.answer for variant in undecided)
    judged = sum(v.rejected in ("", variants.UNDECIDED) for v in strict)
    assert variants.drawn(strict, config) == len({v.prompt for v in strict}) + 8 * judged


def test_variants_survive_their_lines(tree, tmp_path):
    suggested = [replace(variant, suggestions=("leave out one or more of the terms",)) for variant in tree[:3]]
    rows = variants.to_rows(tree, "ladder", 1) + variants.to_rows(suggested, "ttrl", 1)
    append_jsonl(tmp_path / "problems.jsonl", rows)
    assert variants.read(tmp_path, "ladder", 1) == tree and variants.read(tmp_path, "ttrl", 1) == suggested
    assert variants.read(tmp_path, "ladder", 0) == []
