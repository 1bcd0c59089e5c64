"""The exercises' solutions agree with the library, and the checks tell right from wrong."""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from exercises import EXERCISES, HINTS, check

from soar_lib.engine.lora import Adapters
from soar_lib.engine.update import advantages
from soar_lib.files import read_jsonl
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder.settings import VariantSettings
from soar_lib.measure import bootstrap, diversity
from soar_lib.records import ANY_STEP, Round, Score
from soar_lib.settings.student import preset
from soar_lib.soar import rewards
from soar_lib.soar.settings import SoarConfig

ROOT = Path(__file__).parents[1]
SOLUTIONS = ROOT / "notebooks" / "solutions"
CASES = {name: [arguments for arguments, _ in pairs] for name, pairs in EXERCISES.items()}


@functools.cache
def answers() -> dict[str, Callable]:
    """The functions that the solutions define, by the name of the exercise that each is given to."""
    found: dict[str, Callable] = {}
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        names: dict = {}
        for source in (cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"):
            exec("\n".join(line for line in source.splitlines() if not line.startswith(("check", "%"))), names)
            given = re.findall(r"^check\w*\(\"(\w+)\", (\w+)\)$", source, re.MULTILINE)
            found |= {exercise: names[function] for exercise, function in given}
    return found


def test_every_exercise_has_its_solution():
    assert answers().keys() == EXERCISES.keys()


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_and_a_spoiled_one_fails(name):
    answer = answers()[name]
    assert check(name, answer) == f"{name}: right"
    assert check(name, lambda *arguments: None) == f"{name}: not written yet"
    last = CASES[name][-1]
    wrong = check(name, lambda *arguments: "no" if arguments == last else answer(*arguments))
    assert wrong.startswith(f"{name}: for ") and wrong.endswith(f"found 'no'. {HINTS[name]}")


def test_promotions_are_the_librarys_and_those_of_a_committed_run():
    rows = read_jsonl(ROOT / "runs" / "reference" / "study" / "grounded" / "seed0" / "rounds.jsonl", Round)
    run = [row["mean_reward"] for row in rows], 3, preset("nano", SoarConfig).threshold
    assert answers()["promotions"](*run)[0] == [row["round"] for row in rows if row["promoted"]] != []
    for history, *rule in [*CASES["promotions"], run]:
        ends, start, anew = range(1, len(history) + 1), 0, 0
        for end in ends:
            if rewards.promote(history[start:end], *rule):
                start, anew = end, anew + 1
        found = [end for end in ends if rewards.promote(history[:end], *rule)]
        assert answers()["promotions"](history, *rule) == (found, anew)


def test_samples_drawn_agree_with_a_simulation():
    rate, k = CASES["samples"][-1]
    first = torch.distributions.Geometric(torch.tensor(rate))
    torch.manual_seed(0)
    drawn = (first.sample((200_000,)) + 1).clamp(max=k)
    assert answers()["samples"](rate, k) == pytest.approx(drawn.mean().item(), rel=0.01)


def test_the_claims_that_survive_are_those_of_holms_correction():
    for ps, level in CASES["surviving"]:
        corrected = dict(zip(ps, bootstrap.holm([*ps.values()])))
        small = sorted((name for name in ps if corrected[name] <= level), key=ps.get)
        assert answers()["surviving"](ps, level) == small


def test_the_largest_rank_is_that_of_the_engines_adapters():
    for layers, share in CASES["largest_rank"]:
        linear = {name: torch.nn.Linear(*layer) for name, layer in zip(("q_proj", "k_proj"), layers)}
        model, most = torch.nn.ModuleDict(linear), share * sum(layer.weight.numel() for layer in linear.values())
        rank = answers()["largest_rank"](layers, share)
        larger = Adapters.create(model, 1, rank + 1, 1.0, torch.Generator()).parameters()
        counts = sum(half.numel() for half in larger) * rank // (rank + 1), sum(half.numel() for half in larger)
        assert counts[0] <= most < counts[1]


def test_measures_of_diversity_are_the_librarys():
    for similarities, near in CASES["near_duplicates"]:
        values, directions = np.linalg.eigh(np.array(similarities))
        vectors = directions * np.sqrt(values.clip(0))  # rows whose products are the similarities
        assert answers()["near_duplicates"](similarities, near) == diversity.near_duplicates(vectors, near)
        assert answers()["mean_distance"](similarities) == pytest.approx(diversity.distance(vectors))


def test_the_advantage_of_a_paid_variant_is_the_librarys():
    for paid, group in CASES["paid_advantage"]:
        rewards_of_group = torch.tensor([1.0] * paid + [0.0] * (group - paid), dtype=torch.float64)
        expected = advantages(rewards_of_group, "grpo")[0].item()
        assert answers()["paid_advantage"](paid, group) == pytest.approx(expected, rel=1e-3)  # the library adds 1e-4


def test_the_rate_is_the_inverse_of_surviving_the_filter():
    draws = np.random.default_rng(0)
    chance, k = CASES["rate"][0]
    survived = draws.binomial(k, answers()["rate"](chance, k), 200_000) == 0
    assert survived.mean() == pytest.approx(chance, abs=0.005)


def test_so_many_seeds_give_such_an_interval():
    draws = np.random.default_rng(0)
    for sd, half_width in CASES["seeds_needed"]:
        for seeds, reached in ((answers()["seeds_needed"](sd, half_width), True), (1, False)):
            errors = draws.normal(0, sd, (20_000, seeds)).mean(1)
            assert (np.quantile(np.abs(errors), 0.95) <= 1.02 * half_width) == reached


def test_prompts_of_a_tree_are_those_of_the_settings():
    for depth, prompts, parents in CASES["prompts"]:
        settings = VariantSettings("plain", depth, 1, prompts, parents, equivalent=0.0)
        assert answers()["prompts"](depth, prompts, parents) == settings.most_prompts


def test_what_ttrl_solved_is_the_reports():
    for (probes,) in CASES["ttrl"]:
        scores = [
            Score("ladder_ttrl", "seed0", 0, str(i), len(own), sum(own), 0, ANY_STEP) for i, own in enumerate(probes)
        ]
        found = [score.c for score in ladder_report.outcomes(scores)]
        assert answers()["ttrl"](probes)[1] == pytest.approx(np.mean(found))


def test_the_entropy_of_samples_is_that_of_their_distribution_also_where_lengths_differ():
    """Texts of one token, or of two: the mean is over tokens, not over texts."""
    draws, first, second = np.random.default_rng(0), np.log([0.75, 0.25]), np.log([0.5, 0.5])
    picks = draws.choice(2, 100_000, p=np.exp(first))
    texts = [[first[0]] if pick == 0 else [first[1], second[0]] for pick in picks]
    entropies = -(np.exp(first) * first).sum(), -(np.exp(second) * second).sum()
    exact = (entropies[0] + 0.25 * entropies[1]) / 1.25
    assert answers()["token_entropy"](texts) == pytest.approx(exact, abs=0.005)
