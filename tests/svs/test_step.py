"""The step of SvS: every rule against values worked out by hand, every row its own, and the controls."""

from dataclasses import replace

import pytest
import tiny
import torch

from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import decode, sample
from soar_lib.engine.update import Learner, completion_logprobs, make_learner
from soar_lib.problems.load import load as load_problems
from soar_lib.problems.prompts import reconstruct_messages, tagged
from soar_lib.records import Draw, Problem
from soar_lib.settings.presets import preset
from soar_lib.svs import step as svs
from soar_lib.svs.rephrasings import rephraser
from soar_lib.svs.settings import SvsConfig
from soar_lib.svs.step import FURTHER, ORIGINAL, SYNTHESIS, Group, truncate
from soar_lib.svs.synthesis import (
    Seed,
    Solved,
    Task,
    Variant,
    judge,
    paid,
    seeds,
    synthesis_reward,
    synthesise,
    variant_tasks,
)
from soar_lib.verifier.verify import check

PAPER = SvsConfig()
SUM = Problem("p", "What is 21 + 21?", "42")


def small(**changes) -> SvsConfig:
    return preset("smoke", SvsConfig, **({"max_new_tokens": 48, "batch": 4} | changes))


@pytest.fixture(scope="module")
def nano():
    return load("nano")


@pytest.fixture(scope="module")
def problems():
    return load_problems("nano-middle", seed=3, size=8)


@pytest.fixture(scope="module")
def drawn(nano, problems):
    """The rollouts of one step of two slots, hot enough that some texts are unreadable."""
    config = small(temperature=1.6, variants=8)
    return svs.rollouts(nano, fresh(nano, 2), [problems[:4], problems[4:]], config, [0, 1], 0), config


def fresh(base, size: int) -> Adapters:
    return Adapters.create(base.model, size, 4, 4.0, torch.Generator().manual_seed(0))


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


def written(*dropped: str) -> list[Variant]:
    """Variants of one solution; the empty string is one that is solved."""
    return [
        Variant(0, 0, "p", SUM.question, SUM.answer, 2, i, f"question {i}", dropped=why)
        for i, why in enumerate(dropped)
    ]


def test_variants_are_solved_against_the_original_answer():
    seed = Seed(Task(1, SUM, (5, 0, 3)), 2, "21+21=42")
    tasks, places = variant_tasks([seed], written("", "unreadable", ""))
    assert places == [0, 2]
    assert [(task.slot, task.problem.question, task.problem.answer) for task in tasks] == [
        (1, "question 0", "42"), (1, "question 2", "42"),
    ]  # fmt: skip
    assert len({task.key for task in tasks} | {seed.task.key}) == 3


def test_variants_of_several_solutions_keep_their_own():
    found = [Seed(Task(slot, replace(SUM, answer=str(slot)), (slot, 0, 0)), 0, "") for slot in range(3)]
    tasks, _ = variant_tasks(found, [v for _ in found for v in written("", "leak")])
    assert [(task.slot, task.problem.answer) for task in tasks] == [(0, "0"), (1, "1"), (2, "2")]


def test_rewards_go_to_the_variants_that_earned_them():
    again = Solved([], None, [], [[True] * count + [False] * (8 - count) for count in (5, 0, 6)])
    found = paid(written("", "unreadable", "", ""), [0, 2, 3], again, PAPER)
    assert [(v.right, v.reward) for v in found] == [(5, 1.0), (None, 0.0), (0, 0.0), (6, 0.0)]
    with pytest.raises(ValueError, match="zip"):
        paid(found, [0], again, PAPER)


# ------------------------------------------------------------------ guards


def judged(question: str | None, earlier: list[str], base, **guards) -> Variant:
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


def test_truncation_takes_whole_groups_at_random():
    groups = [Group(ORIGINAL, 0, 8 * i, (0.0,) * 7 + (1.0,)) for i in range(10)]
    kept = [truncate(groups, 30, (seed,)) for seed in range(8)]
    assert all(len(part) == 3 and part == sorted(part, key=lambda group: group.start) for part in kept)
    assert kept[0] == truncate(groups, 30, (0,)) and len({tuple(part) for part in kept}) > 1
    assert truncate(groups, 0, (0,)) == truncate(groups, 80, (0,)) == groups


# ------------------------------------------------------------------ real rollouts


def test_a_seeds_prompt_is_the_solution_alone(drawn, nano):
    rollouts, config = drawn
    assert rollouts.writers == rollouts.found != []
    prompts = nano.tokenizer.batch_decode(rollouts.synthesis.prompt)
    for row, prompt in enumerate(prompts):
        seed = rollouts.writers[row // config.variants]
        assert seed.solution in prompt and seed.task.problem.question not in prompt
        assert check(seed.task.problem.answer, seed.solution) == "right"


def test_every_variant_is_read_from_its_own_completion(drawn, nano):
    """The released code gives a text without a problem the one before it."""
    rollouts, config = drawn
    texts = decode(nano, rollouts.synthesis)
    assert [variant.question for variant in rollouts.written] == [tagged(text, "question") for text in texts]
    bad = [i for i, variant in enumerate(rollouts.written) if variant.question is None]
    assert any(i and rollouts.written[i - 1].question for i in bad), "no unreadable text after a readable one"
    for i in bad:
        assert (rollouts.written[i].dropped, rollouts.written[i].right, rollouts.written[i].reward) == (
            "unreadable", None, 0.0,
        )  # fmt: skip
    assert len(rollouts.again.tasks) == sum(not variant.dropped for variant in rollouts.written)


def test_every_row_has_the_mask_of_its_own_completion(drawn, nano):
    """The released code gives variants and their solutions the mask of the seed's solution."""
    rollouts, config = drawn
    samples, stop = rollouts.samples(), set(nano.stop)
    lengths = samples.mask.sum(1).tolist()
    for ids, mask, length in zip(samples.completion.tolist(), samples.mask.tolist(), lengths, strict=True):
        ends = [i + 1 for i, token in enumerate(ids[:length]) if token in stop]
        assert mask == [1] * length + [0] * (len(mask) - length)
        assert ends == [length] if length < config.max_new_tokens else ends in ([], [length])
    first, count = len(rollouts.solved.texts), len(rollouts.written)
    of_seed = {
        (seed.task.key, seed.number): lengths[rollouts.solved.tasks.index(seed.task) * config.group + seed.number]
        for seed in rollouts.writers
    }
    mine = [of_seed[s.task.key, s.number] for s in rollouts.writers for _ in range(config.variants)]
    assert any(own > seed for own, seed in zip(lengths[first : first + count], mine, strict=True))


def test_variants_accuracy_is_counted_against_the_original_answer(drawn):
    rollouts, config = drawn
    texts = iter(rollouts.again.texts)
    for variant in rollouts.written:
        if not variant.dropped:
            own = [next(texts) for _ in range(config.group)]
            assert variant.right == sum(check(variant.answer, text) == "right" for text in own)
            assert variant.reward == float(variant.right in config.reward_counts)
    assert next(texts, None) is None


def test_groups_are_the_rows_of_one_prompt(drawn):
    rollouts, config = drawn
    samples, groups = rollouts.samples(), rollouts.groups()
    assert [group.kind for group in groups] == (
        [ORIGINAL] * len(rollouts.solved.tasks)
        + [SYNTHESIS] * len(rollouts.writers)
        + [FURTHER] * len(rollouts.again.tasks)
    )
    rows = [group.start + i for group in groups for i in range(len(group.rewards))]
    assert rows == list(range(len(samples)))
    for group in groups:
        own = slice(group.start, group.start + len(group.rewards))
        assert set(samples.slots[own].tolist()) == {group.slot}
        assert len({tuple(row) for row in samples.prompt[own].tolist()}) == 1
    of_kind = {kind: [r for group in groups if group.kind == kind for r in group.rewards] for kind in svs.KINDS}
    assert of_kind[ORIGINAL] == [float(r) for right in rollouts.solved.right for r in right]
    assert of_kind[SYNTHESIS] == [variant.reward for variant in rollouts.written]
    assert of_kind[FURTHER] == [float(r) for right in rollouts.again.right for r in right]


# ------------------------------------------------------------------ the controls


def under_performing(rollouts: svs.Rollouts, config: SvsConfig) -> list[Task]:
    pairs = zip(rollouts.solved.tasks, rollouts.solved.right, strict=True)
    return [task for task, right in pairs if sum(right) in config.seed_counts]


def test_controls_spend_their_further_rollouts_as_they_say(nano, problems):
    config, slots = small(max_new_tokens=32), fresh(nano, 1)
    rephrase = rephraser("nano", problems)
    found = {
        name: svs.rollouts(nano, slots, [problems], config.of_arm(name), [0], 0, rephrase)
        for name in ("rlvr", "second_rollout", "rephrasings")
    }
    first = found["rlvr"]
    hard = under_performing(first, config)
    assert hard and all(rollouts.solved.texts == first.solved.texts for rollouts in found.values())
    assert all(rollouts.synthesis is None and rollouts.written == [] for rollouts in found.values())
    assert first.again.tasks == []
    again = found["second_rollout"].again
    assert [task.problem for task in again.tasks] == [task.problem for task in hard]
    place = first.solved.tasks.index(hard[0]) * config.group
    assert again.texts[: config.group] != first.solved.texts[place : place + config.group]
    other = found["rephrasings"].again.tasks
    right = dict(zip([task.key for task in first.solved.tasks], map(sum, first.solved.right)))
    assert len(other) == config.variants * sum(right[task.key] for task in hard)
    assert {task.problem.id for task in other} == {task.problem.id for task in hard}
    assert {(t.problem.id, t.problem.answer) for t in other} == {(t.problem.id, t.problem.answer) for t in hard}


def test_without_its_reward_writing_is_not_learned(nano, problems):
    learned = {}
    for name in ("svs", "svs_no_reward"):
        config = small(max_new_tokens=32, variants=4).of_arm(name)
        slots = fresh(nano, 1)
        rows, _ = svs.play(nano, slots, sgd(slots), [problems], config, [0], 0, 1)
        learned[name] = [rows[0][f"learned_{kind}"] for kind in svs.KINDS]
    assert learned["svs"][1] > 0 and learned["svs_no_reward"] == [learned["svs"][0], 0, learned["svs"][2]]


# ------------------------------------------------------------------ the update


def sgd(adapters: Adapters, config: SvsConfig, steps: int = 1) -> Learner:
    """Plain steps, so that a step is the gradient."""
    return Learner(adapters, torch.optim.SGD(adapters.parameters(), lr=1.0), config.optimiser, steps)


def test_the_update_is_grpo_token_mean_over_the_mixture():
    base = tiny.base()
    slots = tiny.adapters(base, 2)
    prompts = [[2, 40, 41, 3], [2, 50, 3], [2, 60, 61, 62, 3]]
    numbers = torch.rand(12, 9, generator=torch.Generator().manual_seed(1))
    samples = sample(base, slots, prompts, [0, 0, 1], 4, numbers, Draw(9))
    groups = [Group(ORIGINAL, 0, 0, (1.0, 0.0, 0.0, 0.0)), Group(SYNTHESIS, 1, 8, (1.0, 1.0, 0.0, 0.0))]
    config = preset("paper", SvsConfig, **{"optimiser.max_grad_norm": 1e9, "optimiser.learning_rate": 0.5})

    copy = slots.select([0, 1])
    logprobs = completion_logprobs(base, copy, samples)
    by_hand = 0
    for rows, rewards in ((range(0, 4), [1, 0, 0, 0]), (range(8, 12), [1, 1, 0, 0])):
        tensor = torch.tensor(rewards).float()
        advantage = (tensor - tensor.mean()) / (tensor.std() + 1e-4)
        tokens = sum(samples.mask[row].sum() for row in rows)
        by_hand = by_hand - sum(a * logprobs[row].sum() for a, row in zip(advantage, rows, strict=True)) / tokens
    by_hand.backward()

    before = [parameter.detach().clone() for parameter in slots.parameters()]
    measured = svs.learn(base, sgd(slots, config), samples, groups, config, 0)
    for old, new, expected in zip(before, slots.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(old - new.detach(), 0.5 * expected.grad, atol=1e-5, rtol=1e-3)
    assert (measured["grad_norm"] > 0).all() and measured["learning_rate"].tolist() == [0.5, 0.5]


def test_a_step_without_signal_changes_nothing():
    base = tiny.base()
    slots = tiny.adapters(base, 2)
    before = {name: tensor.clone() for name, tensor in slots.state_dict().items()}
    config = preset("paper", SvsConfig, group=2, max_new_tokens=4, max_prompt_tokens=4000)
    rows, found = svs.play(base, sgd(slots, config), [[SUM], [SUM, SUM]], config, [3, 4], 0)
    assert found == [] and [row["learned_original"] for row in rows] == [0, 0]
    assert [(row["seed"], row["problems"], row["rollouts"], row["grad_norm"]) for row in rows] == [
        (3, 1, 2, 0.0), (4, 2, 4, 0.0),
    ]  # fmt: skip
    assert all(torch.equal(before[name], tensor) for name, tensor in slots.state_dict().items())


def test_a_seed_is_the_same_alone_and_among_others(nano, problems):
    config, results = small(max_new_tokens=32), []
    for keys in ([5, 6], [6]):
        slots = fresh(nano, len(keys))
        batches = [problems[:2], problems[2:5]][-len(keys) :]
        rows, found = svs.play(nano, sgd(slots, config, 5), batches, config, keys, 4)
        own = {name: tensor[-1] for name, tensor in slots.state_dict().items()}
        results.append((rows[-1], [variant for variant in found if variant.seed == 6], own))
    (row, variants, among), (lone_row, lone_variants, alone) = results
    assert variants == lone_variants and row.keys() == lone_row.keys()
    assert {name: row[name] for name in row} == pytest.approx(lone_row, rel=1e-3, abs=1e-5)
    for name, tensor in among.items():
        torch.testing.assert_close(tensor, alone[name], atol=1e-5, rtol=1e-3)


def test_the_measures_are_those_of_the_slots_own_rollouts(nano, problems):
    config = small(max_new_tokens=32)
    slots = fresh(nano, 2)
    learner = make_learner(slots, config.optimiser, 3)
    rollouts = svs.rollouts(nano, slots, [problems[:3], problems[3:]], config, [0, 1], 2)
    rows, found = svs.play(nano, learner, [problems[:3], problems[3:]], config, [0, 1], 2)
    assert found == rollouts.written
    for slot, row in enumerate(rows):
        own = [right for task, right in zip(rollouts.solved.tasks, rollouts.solved.right) if task.slot == slot]
        solutions = rollouts.solved.samples.select(rollouts.solved.samples.slots == slot)
        entropy = -solutions.logprobs[solutions.mask.bool()].mean().item()
        variants = [variant for variant in found if variant.seed == slot]
        solved_again = [variant for variant in variants if not variant.dropped]
        assert row["accuracy"] == pytest.approx(sum(map(sum, own)) / (len(own) * config.group))
        assert row["entropy"] == pytest.approx(entropy, rel=1e-4) and row["entropy"] > 0
        assert row["hard"] == sum(sum(right) in config.seed_counts for right in own)
        assert row["seeds"] == sum(sum(right) for right in own if sum(right) in config.seed_counts)
        assert row["variants"] == len(variants) == row["seeds"] * config.variants
        assert row["further"] == len(solved_again)
        assert row["rewarded"] == sum(variant.reward for variant in variants)
        assert row["rollouts"] == config.group * (len(own) + len(solved_again)) + len(variants)
