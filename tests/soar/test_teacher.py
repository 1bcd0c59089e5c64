r"""The teacher: what it may write, what is dropped, and that its step is leave-one-out over data sets."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from tiny_world import settings

from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import decode
from soar_lib.engine.update import completion_logprobs, make_learner
from soar_lib.soar import teacher
from soar_lib.soar.settings import SoarConfig

KEY = (0, "teacher", 1)


@pytest.fixture(scope="module")
def base(tiny_world):
    return load(settings(tiny_world).model, dtype="float32")


@pytest.fixture(scope="module")
def adapters(base):
    return Adapters.create(base.model, 1, 4, 4.0, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def proposal(base, adapters, tiny_world):
    return teacher.propose(base, adapters, 12, settings(tiny_world).teacher, KEY)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"<question>A?</question> so <answer>it is \boxed{\frac{1}{2}}</answer> done", ("A?", r"\frac{1}{2}")),
        ("<question>\nTwo\nlines?\n</question>\n<answer>\\boxed{x+1}</answer>", ("Two\nlines?", "x+1")),
        (r"<question>A?</question><answer>\boxed{1}</answer><answer>\boxed{2}</answer>", ("A?", "1")),
        (r"<question>A?<question><answer>\boxed{1}</answer>", "question tags"),
        (r"<question> </question><answer>\boxed{1}</answer>", "question tags"),
        (r"<question>A?</question> \boxed{1}", "answer tags"),
        (r"<question>A?</question><answer>\boxed{1}", "answer tags"),
        ("<question>A?</question><answer>1</answer>", "box"),
        (r"<question>A?</question>\boxed{1}<answer>1</answer>", "box"),  # the box belongs inside the tags
        (r"<question>A?</question><answer>\boxed{</answer>", "box"),
        (r"<question>A?</question><answer>\boxed{}</answer>", "box"),
        (r"<question>A?</question><answer>\boxed{\frac{1}}</answer>", "answer does not parse"),
        ("", "question tags"),
        (r"<question>A?<question>B?</question><answer>\boxed{1}</answer>", "tags in the question"),
        (r"<question>A? <answer>1</answer></question><answer>\boxed{1}</answer>", "tags in the question"),
        (r"<question>A? It is \boxed{1}</question><answer>\boxed{1}</answer>", "answer in the question"),
        (r"<question>Fill in \boxed{?}</question><answer>\boxed{1}</answer>", (r"Fill in \boxed{?}", "1")),
    ],
)
def test_the_format_filter(text, found):
    assert teacher.read(text) == found


def test_a_second_opening_tag_closes_the_first_only_where_the_setting_says_so(base, adapters, tiny_world):
    text = r"<question>A?<question> <answer>\boxed{1}<answer>"
    assert teacher.read(text) == "question tags"
    assert teacher.read(text, forgive_tags=True) == ("A?", "1")
    assert teacher.read(text.replace("<answer>", "</answer>"), forgive_tags=True) == "answer tags"
    paper, forgiving = (replace(settings(tiny_world).teacher, forgive_tags=value) for value in (False, True))
    strict, mild = (teacher.propose(base, adapters, 12, values, KEY) for values in (paper, forgiving))
    assert mild.attempts <= strict.attempts and SoarConfig().teacher.forgive_tags is False


def test_what_was_cut_off_is_counted(base, adapters, tiny_world):
    values = settings(tiny_world).teacher
    whole, short = (
        teacher.propose(base, adapters, 3, replace(values, max_new_tokens=limit), KEY) for limit in (256, 64)
    )
    assert 0 <= whole.cut < short.cut <= short.attempts


def test_problems_and_tokens_belong_together(base, proposal):
    assert len(proposal.problems) == len(proposal.samples) == 12
    assert decode(base, proposal.samples) == [problem.text for problem in proposal.problems]
    assert [teacher.read(problem.text) for problem in proposal.problems] == [
        (problem.question, problem.answer) for problem in proposal.problems
    ]
    assert proposal.attempts == 12 + sum(proposal.rejected.values())
    assert sum(proposal.rejected.values()) > 0  # else this world would not test the filter


@pytest.mark.parametrize("draw", [1, 5, 64])
def test_the_number_drawn_at_a_time_does_not_matter(base, adapters, proposal, tiny_world, draw):
    other = teacher.propose(base, adapters, 12, replace(settings(tiny_world).teacher, draw=draw), KEY)
    assert (other.problems, other.attempts, other.rejected) == (
        proposal.problems,
        proposal.attempts,
        proposal.rejected,
    )


def test_more_problems_begin_with_the_same_ones_and_rounds_differ(base, adapters, proposal, tiny_world):
    values = settings(tiny_world).teacher
    assert teacher.propose(base, adapters, 5, values, KEY).problems == proposal.problems[:5]
    other = teacher.propose(base, adapters, 5, values, (0, "teacher", 2))
    assert [problem.text for problem in other.problems] != [problem.text for problem in proposal.problems[:5]]


def test_a_teacher_that_never_writes_a_problem_is_an_error():
    base = tiny.base()  # random weights
    values = settings(Path()).teacher
    adapters = tiny.adapters(base, 1)
    with pytest.raises(teacher.TeacherError, match=r"only 0 of 10 completions parse \(0\.0%.*question tags 10\)"):
        teacher.propose(base, adapters, 2, replace(values, max_attempts=5, max_new_tokens=8), KEY)


def test_data_sets_are_cut_in_order(proposal):
    sets = teacher.datasets(proposal.problems, 4, round=7)
    assert [problem.id for part in sets for problem in part] == [problem.id for problem in proposal.problems]
    assert [[(problem.round, problem.dataset) for problem in part] for part in sets] == [[(7, k)] * 4 for k in range(3)]


def change(base, adapters, proposal, rewards, tiny_world) -> torch.Tensor:
    """How the log-probability of each data set changes in one step on the rewards."""
    optimiser = replace(settings(tiny_world).teacher.optimiser, learning_rate=1e-3, kl=0.0, schedule="constant")
    learner = make_learner(adapters.select([0]), optimiser, 10)
    before = completion_logprobs(base, learner.adapters, proposal.samples).sum(1)
    measured = teacher.learn(base, learner, proposal.samples, rewards, step=0)
    assert set(measured) == {"grad_norm", "kl", "learning_rate"}
    after = completion_logprobs(base, learner.adapters, proposal.samples).sum(1)
    return (after - before).detach().view(len(rewards), -1).sum(1)


def test_a_rewarded_data_set_becomes_likelier_than_the_others(base, adapters, proposal, tiny_world):
    moved = change(base, adapters, proposal, [0.0, 0.25, 0.0], tiny_world)
    assert moved[1] > max(moved[0], moved[2]) and moved[1] > 0


def test_equal_rewards_teach_nothing(base, adapters, proposal, tiny_world):
    assert change(base, adapters, proposal, [0.1, 0.1, 0.1], tiny_world).abs().max() == 0
