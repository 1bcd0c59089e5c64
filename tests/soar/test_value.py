"""Teacher value on a real (tiny) base: teachers differ in what they write alone."""

import pandas as pd
import torch
from tiny_world import settings

from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.hooks import Hooks
from soar_lib.measure.claims import Evidence
from soar_lib.soar import rewards, value
from soar_lib.soar import run as soar
from soar_lib.soar.claims import value_gain
from soar_lib.soar.value import values


def test_teachers_are_compared_with_the_same_random_numbers(tiny_world):
    torch.set_num_threads(1)
    config = settings(tiny_world, rounds=2)
    base, (train, _) = load(config.model, dtype="float32"), soar.problems(config, tiny_world / "nowhere")
    unchanged = Adapters.create(base.model, 1, 2, 2.0, torch.Generator())
    moved = unchanged.load({name: tensor + 0.01 for name, tensor in unchanged.state_dict().items()})
    untrained, same, other = (list(values(base, one, config, train, 3)) for one in (None, unchanged, moved))
    assert untrained == same and len(same) == 2 * config.datasets >= 3
    rounds = [problem.round for _, problems in same for problem in problems]
    assert min(rounds) == config.rounds + 1 and all(len(problems) == config.dataset_size for _, problems in same)
    assert [problems for _, problems in other] != [problems for _, problems in same]


def test_students_behind_a_value_are_paid_with_the_runs_longest_box(tiny_world, monkeypatch):
    torch.set_num_threads(1)
    config, steps = settings(tiny_world, rounds=1, **{"student.longest_box": 3}), []
    base, (train, _) = load(config.model, dtype="float32"), soar.problems(config, tiny_world / "nowhere")
    monkeypatch.setattr(value, "grounded", lambda step: steps.append(step) or rewards.grounded(step))
    list(values(base, None, config, train, 1))
    assert steps[0].student_reward(["7"] * 2, [r"\boxed{7}", r"\boxed{7 or 8}"]) == [120, 10]


def test_values_are_written_run_by_run_and_go_on_where_they_ended(tiny_world, tmp_path):
    torch.set_num_threads(1)
    configs = [settings(tiny_world, rounds=1, seed=seed) for seed in (0, 1)]
    base, folders, out = load(configs[0].model, dtype="float32"), [], tmp_path / "values.csv"
    for config in configs:
        folders.append(soar.run(config, tmp_path / str(config.seed), base=base, hooks=Hooks(progress=False)).folder)
        assert value.seeds(out) == config.seed
        value.write(base, folders, 2, out, untrained=True)
    found = pd.read_csv(out)
    assert list(found["seed"]) == [0, 0, 1, 1] and list(found["teacher"]) == ["trained", "untrained"] * 2
    value.write(base, folders[1:], 2, tmp_path / "alone.csv", untrained=False)
    assert pd.read_csv(tmp_path / "alone.csv")["value"].tolist() == found.loc[[2], "value"].tolist()


def test_the_claims_pair_values_by_seed(tmp_path):
    for arm, of in (("no_promotion", {0: 0.05, 1: 0.07, 2: 0.09}), ("intrinsic", {0: 0.02, 1: 0.02})):
        rows = [{"seed": seed, "teacher": "trained", "value": one, "sets": 32} for seed, one in of.items()]
        if arm == "no_promotion":
            rows += [{"seed": seed, "teacher": "untrained", "value": 0.01, "sets": 32} for seed in of]
        (tmp_path / arm).mkdir()
        pd.DataFrame(rows).to_csv(tmp_path / arm / "values.csv", index=False)
    study = Evidence(tmp_path, [], 32)
    found = value_gain("no_promotion", "untrained", study)
    assert (round(found.ours, 9), found.seeds) == (6.0, 3) and found.low > 0
    assert value_gain("no_promotion", "intrinsic", study).seeds == 2  # the seeds that both have
    assert value_gain("grounded", "untrained", study).seeds == 0
