"""The exercises' solutions agree with the library, and the checks tell right from wrong."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from soar_lib.engine.update import advantages
from soar_lib.exercises import EXERCISES, check
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder.settings import VariantSettings
from soar_lib.measure import claims, diversity, passk
from soar_lib.problems.filtering import Outcome
from soar_lib.records import ANY_STEP, Problem, Score
from soar_lib.soar import rewards
from soar_lib.svs.settings import SvsConfig
from soar_lib.svs.synthesis import Solved, Task, seeds

SOLUTIONS = Path(__file__).parents[1] / "notebooks" / "solutions"
CASES = {name: [arguments for arguments, _ in pairs] for name, pairs in EXERCISES.items()}


def answers() -> dict[str, Callable]:
    """The functions that the solutions define, by the name of the exercise that each is given to."""
    found = {}
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        names: dict = {}
        for source in cells:
            for exercise, function in re.findall(r"^check\w*\(\"(\w+)\", (\w+)\)$", source, re.MULTILINE):
                exec("\n".join(line for line in source.splitlines() if not line.startswith(("check", "%"))), names)
                found[exercise] = names[function]
    return found


ANSWERS = answers()


def test_every_exercise_has_its_solution():
    assert ANSWERS.keys() == EXERCISES.keys()


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_and_a_spoiled_one_fails(name):
    answer = ANSWERS[name]
    assert check(name, answer) == f"{name}: right"
    assert check(name, lambda *arguments: None) == f"{name}: not written yet"
    last = CASES[name][-1]
    wrong = check(name, lambda *arguments: "no" if arguments == last else answer(*arguments))
    assert wrong.startswith(f"{name}: for ") and wrong.endswith("found 'no'")


def test_leave_one_out_is_the_librarys():
    for (values,) in CASES["leave_one_out"]:
        expected = advantages(torch.tensor(values)).tolist()
        assert ANSWERS["leave_one_out"](values) == pytest.approx(expected)


def test_promotion_is_the_librarys():
    for case in CASES["promoted"]:
        assert ANSWERS["promoted"](*case) == rewards.promote(*case)


def test_hard_is_the_librarys():
    for outcomes, k in CASES["hard"]:
        right = sum(outcomes[:k])
        assert ANSWERS["hard"](outcomes, k) == Outcome("p", "t", 1, right, k - right).hard


def test_samples_drawn_agree_with_a_simulation():
    rate, k = CASES["samples"][-1]
    first = torch.distributions.Geometric(torch.tensor(rate))
    torch.manual_seed(0)
    drawn = (first.sample((200_000,)) + 1).clamp(max=k)
    assert ANSWERS["samples"](rate, k) == pytest.approx(drawn.mean().item(), rel=0.01)


def test_pass_at_k_and_the_paired_gap_are_the_librarys():
    for case in CASES["pass_at_k"]:
        assert ANSWERS["pass_at_k"](*case) == pytest.approx(passk.pass_at_k(*case))
    for ours, theirs in CASES["paired"]:
        scores = [
            Score(arm, "seed0", 0, str(i), 4, round(4 * share), 1)
            for arm, shares in (("pq", ours), ("hard_only", theirs))
            for i, share in enumerate(shares)
        ]
        mean, error = ANSWERS["paired"](ours, theirs)
        assert mean == pytest.approx(passk.compare(scores, "pq", "hard_only", 1).difference)
        assert error == pytest.approx(np.std(np.subtract(ours, theirs), ddof=1) / len(ours) ** 0.5)


def test_the_verdict_is_the_rule_of_the_claims():
    for low, high, null in CASES["verdict"]:
        estimate = claims.Estimate((low + high) / 2, low, high, claims.LEAST_SEEDS)
        assert ANSWERS["verdict"](low, high, null) == claims.verdict(estimate, null)


def test_measures_of_diversity_are_the_librarys():
    for (eigenvalues,) in CASES["vendi"]:  # one cluster of equal texts for each eigenvalue, 20 texts in all
        counts = [round(20 * value) for value in eigenvalues]
        texts = np.repeat(np.eye(len(counts)), counts, axis=0)
        assert ANSWERS["vendi"](eigenvalues) == pytest.approx(diversity.vendi(texts))
    for similarities, near in CASES["near_duplicates"]:
        values, directions = np.linalg.eigh(np.array(similarities))
        vectors = directions * np.sqrt(values.clip(0))  # rows whose products are the similarities
        assert ANSWERS["near_duplicates"](similarities, near) == diversity.near_duplicates(vectors, near)
        assert ANSWERS["mean_distance"](similarities) == pytest.approx(diversity.distance(vectors))


def test_advantages_of_grpo_are_the_librarys():
    for (values,) in CASES["grpo"]:
        expected = advantages(torch.tensor(values, dtype=torch.float64), "grpo").tolist()
        assert ANSWERS["grpo"](values) == pytest.approx(expected, rel=1e-3)  # the library adds 1e-4 to the SD


def test_prompts_of_a_tree_are_those_of_the_settings():
    for depth, prompts, parents in CASES["prompts"]:
        settings = VariantSettings("plain", depth, 1, prompts, parents, equivalent=0.0)
        assert ANSWERS["prompts"](depth, prompts, parents) == settings.most_prompts


def test_what_ttrl_solved_is_the_reports():
    for (probes,) in CASES["ttrl"]:
        scores = [
            Score("ladder_ttrl", "seed0", 0, str(i), len(own), sum(own), 0, ANY_STEP) for i, own in enumerate(probes)
        ]
        found = [score.c for score in ladder_report.outcomes(scores)]
        assert ANSWERS["ttrl"](probes)[1] == pytest.approx(np.mean(found))


def test_the_chance_to_be_paid_is_that_of_the_bands_and_of_draws():
    config = SvsConfig()
    draws = np.random.default_rng(0)
    for case in CASES["paid_chance"]:
        rate, group, low, high = case
        paid = replace(config, group=group, reward_low=low, reward_high=high).reward_counts
        share = np.isin(draws.binomial(group, rate, 200_000), list(paid)).mean()
        assert ANSWERS["paid_chance"](*case) == pytest.approx(share, abs=0.005)


def test_further_rollouts_are_those_of_the_seeds_that_the_library_finds():
    for counts, group, variants in CASES["further_rollouts"]:
        config = replace(SvsConfig(), group=group, variants=variants)
        right = [[i < count for i in range(group)] for count in counts]
        tasks = [Task(0, Problem(f"p{place}", "q", "1"), (0, 0, place)) for place in range(len(counts))]
        found = seeds(Solved(tasks, None, [""] * group * len(counts), right), config)
        expected = len(found) * config.variants + len(found) * config.variants * config.group
        assert ANSWERS["further_rollouts"](counts, group, variants) == expected


def test_the_entropy_of_samples_is_that_of_their_distribution_also_where_lengths_differ():
    """Texts of one token, or of two: the mean is over tokens, not over texts."""
    draws, first, second = np.random.default_rng(0), np.log([0.75, 0.25]), np.log([0.5, 0.5])
    picks = draws.choice(2, 100_000, p=np.exp(first))
    texts = [[first[0]] if pick == 0 else [first[1], second[0]] for pick in picks]
    entropies = -(np.exp(first) * first).sum(), -(np.exp(second) * second).sum()
    exact = (entropies[0] + 0.25 * entropies[1]) / 1.25
    assert ANSWERS["token_entropy"](texts) == pytest.approx(exact, abs=0.005)
