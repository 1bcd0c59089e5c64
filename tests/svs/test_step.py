"""The step of SvS: every rule against values worked out by hand, every row its own, and the controls."""

import json

import pytest
import tiny
import torch

from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import decode, sample
from soar_lib.engine.update import Learner, completion_logprobs, make_learner
from soar_lib.problems.load import load as load_problems
from soar_lib.problems.prompts import tagged
from soar_lib.records import Draw, Problem
from soar_lib.settings.student import preset
from soar_lib.svs import step as svs
from soar_lib.svs.settings import SvsConfig
from soar_lib.svs.step import FURTHER, ORIGINAL, SYNTHESIS, Group, truncate
from soar_lib.svs.synthesis import Task, rephraser
from soar_lib.verifier.verify import check

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
    return svs.rollouts(nano, fresh(nano, 2), {0: problems[:4], 1: problems[4:]}, config, 0), config


def fresh(base, size: int) -> Adapters:
    return Adapters.create(base.model, size, 4, 4.0, torch.Generator().manual_seed(0))


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


def test_controls_spend_their_further_rollouts_as_they_say(nano, problems, tmp_path):
    slots, path = fresh(nano, 1), tmp_path / "reworded.jsonl"
    config = small(max_new_tokens=32, rephrasings=str(path))
    rows = [{"id": problem.id, "question": f"Please: {problem.question}"} for problem in problems]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rephrase = rephraser(str(path), problems)
    found = {
        name: svs.rollouts(nano, slots, {0: problems}, config.of_arm(name), 0, rephrase)
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
        rows, _ = svs.play(nano, sgd(slots, config), {0: problems}, config, 0)
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
    config = preset("paper", SvsConfig, **{"optimiser.max_grad_norm": 1e6, "optimiser.learning_rate": 0.5})

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
    rows, found = svs.play(base, sgd(slots, config), {3: [SUM], 4: [SUM, SUM]}, config, 0)
    assert found == [] and [row["learned_original"] for row in rows] == [0, 0]
    assert [(row["seed"], row["problems"], row["rollouts"], row["grad_norm"]) for row in rows] == [
        (3, 1, 2, 0.0), (4, 2, 4, 0.0),
    ]  # fmt: skip
    assert all(torch.equal(before[name], tensor) for name, tensor in slots.state_dict().items())


def test_a_seed_is_the_same_alone_and_among_others(nano, problems):
    config, results = small(max_new_tokens=32), []
    for batches in ({5: problems[:2], 6: problems[2:5]}, {6: problems[2:5]}):
        slots = fresh(nano, len(batches))
        rows, found = svs.play(nano, sgd(slots, config, 5), batches, config, 4)
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
    batches = {0: problems[:3], 1: problems[3:]}
    rollouts = svs.rollouts(nano, slots, batches, config, 2)
    rows, found = svs.play(nano, learner, batches, config, 2)
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
