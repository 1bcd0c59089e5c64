"""When training the teacher pays: the reward of our own on a real (tiny) base, a resumed arm, the priors, the map."""

import random
import re
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
import torch
from tiny_world import settings

from soar_lib.engine.base import load
from soar_lib.engine.update import advantages
from soar_lib.hooks import Hooks
from soar_lib.soar import rewards, teacher
from soar_lib.soar import run as soar
from soar_lib.soar.rewards import OuterStep
from tests.measure.test_charts import assert_labelled
from tools import documents2, mix, payoff


def test_the_annealed_reward_begins_as_the_cheap_one_and_ends_as_the_true_one(tiny_world):
    torch.set_num_threads(1)
    config = settings(tiny_world, rounds=3, datasets=6, repeats=1, dataset_size=3, intrinsic_samples=16)
    base, (train, _) = load(config.model, dtype="float32"), soar.problems(config, tiny_world / "nowhere")
    written = teacher.propose(base, None, 18, config.teacher, (0, "test")).problems
    baselines = soar.begin(base, config).baselines
    step = OuterStep(base, config, 1, baselines, teacher.datasets(written, 3, 1), soar.reward_set(train, config, 1))
    spread = set()
    for number in (1, 2, 3):
        now = replace(step, number=number)
        found = [one for (one,) in payoff.annealed(now).gains]
        parts = [rewards.dataset_rewards(reward(now).gains) for reward in (rewards.intrinsic, rewards.grounded)]
        cheap, true = (advantages(torch.tensor(part, dtype=torch.double), "grpo") for part in parts)
        weight = (number - 1) / 2
        assert found == pytest.approx(((1 - weight) * cheap + weight * true).tolist())
        spread |= {number} if len(set(found)) > 1 else set()
    assert spread == {1, 2, 3}


def test_a_run_with_the_annealed_reward_goes_on_under_its_name_alone(tiny_world, tmp_path):
    config = settings(tiny_world, rounds=1, promotion=False, repeats=1)
    run = dict(base=load(config.model, dtype="float32"), hooks=Hooks(progress=False))
    soar.run(config, tmp_path / "run", True, teacher_reward=payoff.annealed, **run)
    again = soar.run(config, tmp_path / "run", True, teacher_reward=payoff.annealed, **run)
    assert len(again.rounds) == 1
    payoff.value.write(run["base"], [tmp_path / "run"], 1, tmp_path / "values.csv", untrained=True)
    assert pd.read_csv(tmp_path / "values.csv")["teacher"].tolist() == ["trained", "untrained"]


def test_a_map_is_made_run_by_run_and_goes_on(tiny_world, tmp_path, monkeypatch):
    few, knobs = settings(tiny_world, rounds=1, promotion=False, repeats=1), (0.4, 0.0)
    monkeypatch.setattr(payoff, "KNOBS", [knobs])
    monkeypatch.setattr(payoff, "SETS", 1)
    monkeypatch.setattr(payoff, "settings", lambda model, seed: replace(few, model=model, seed=seed))
    payoff.model(tmp_path / "out", knobs).parent.mkdir(parents=True)
    payoff.model(tmp_path / "out", knobs).symlink_to(few.model)
    table = tmp_path / "data" / "payoff.csv"
    payoff.measure(tmp_path, tmp_path / "out", [1], table)
    first = pd.read_csv(table)
    assert first["arm"].tolist() == ["annealed", "grounded", "intrinsic", "untrained"]
    assert first["seed"].eq(1).all() and first["useful"].eq(0.4).all() and first["value"].notna().all()
    before = table.stat().st_mtime_ns
    payoff.measure(tmp_path, tmp_path / "out", [1], table)
    assert table.stat().st_mtime_ns == before
    first.query("arm != 'intrinsic'").to_csv(table, index=False)
    payoff.measure(tmp_path, tmp_path / "out", [1], table)  # a run that is finished is only measured again
    pd.testing.assert_frame_equal(pd.read_csv(table), first)


@pytest.mark.parametrize("knobs", documents2.KNOBS)
def test_priors_write_what_the_knobs_say(knobs):
    useful, decoys = knobs
    prior, rng = documents2.PRIORS[documents2.cell(*knobs)], random.Random(0)
    assert sum(prior.families.values()) == pytest.approx(1) and min(prior.families.values()) >= 0
    drawn = Counter(documents2.choice(rng, prior.families) for _ in range(20_000))
    assert drawn["guess"] / 20_000 == pytest.approx(decoys, abs=0.01)
    assert drawn["words"] * documents2.USEFUL / 20_000 == pytest.approx(useful, abs=0.01)
    # what the documents themselves hold: problems on words that are rightly answered and well formed
    texts = [documents2.proposal(random.Random(f"{knobs} {i}"), prior) for i in range(4000)]
    whole = re.compile(r"<question>(.*)</question>.*<answer>\\boxed\{(.*)\}</answer>", re.DOTALL)
    read = [found.groups() for found in map(whole.search, texts) if found]
    held = sum(mix.described(*pair)["role"] == mix.USEFUL for pair in read) / len(texts)
    right = (1 - prior.wrong) * (1 - documents2.MALFORMED)
    assert held == pytest.approx(prior.families["words"] * right, abs=0.012)


def test_the_map_has_the_gaps_planted():
    planted = {"untrained": 0.02, "intrinsic": 0.05, "grounded": 0.10, "annealed": 0.13}
    rows = [
        dict(useful=useful, decoys=decoys, arm=arm, seed=seed, value=value + 0.01 * seed + decoys * (arm == "grounded"),
             wrote_useful=useful - 0.01 + 0.01 * seed)
        for useful, decoys in documents2.KNOBS for arm, value in planted.items() for seed in payoff.RUNS
    ]  # fmt: skip
    found = payoff.gaps(pd.DataFrame(rows)).set_index(["useful", "decoys", "compared"])
    assert found["seeds"].eq(3).all() and len(found) == 18
    assert found["wrote"].tolist() == pytest.approx(found.index.get_level_values("useful").tolist())
    assert found.loc[(0.05, 0.0), "ours"].round(6).to_dict() == {
        "progress minus untrained": 8, "progress minus disagreement": 5, "annealed minus progress": 3,
    }  # fmt: skip
    assert found.loc[(0.4, 0.2, "progress minus untrained"), "ours"] == pytest.approx(28)
    chart = payoff.figure(pd.DataFrame(rows))
    assert len(chart.panels) == 3 and all(len(panel.marks) == 2 for panel in chart.panels)
    assert_labelled(chart)
    assert chart.note.startswith("SOAR runs a cell: 3;")
    assert len(payoff.gaps(pd.DataFrame(rows).query("arm != 'annealed'"))) == 12
