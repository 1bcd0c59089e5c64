"""Settings: what is refused, how presets and changes combine, and the cost worked out by hand."""

import shutil
from dataclasses import asdict

import pytest

from soar_lib.ladder.settings import LadderConfig
from soar_lib.settings.cost import Speed, cost, describe
from soar_lib.settings.memory import KNOWN, shape
from soar_lib.settings.student import PRESETS, FilterConfig, StudentSettings, loader, preset
from soar_lib.settings.values import ConfigError, change, differences
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.svs.settings import SvsConfig

KINDS = (FilterConfig, SoarConfig, EvaluateConfig, LadderConfig, SvsConfig)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in PRESETS for kind in KINDS])
def test_every_preset_is_valid_and_survives_json(name, kind):
    settings = preset(name, kind)
    assert type(settings) is kind
    assert change(kind(), asdict(settings)) == settings


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (SoarConfig, {"round": 3}, "round: SoarConfig has no such setting; it has .*rounds"),
        (SoarConfig, {"student.steeps": 3}, r"student\.steeps: StudentSettings has no such setting"),
        (SoarConfig, {"datasets": 1}, "datasets = 1: must be 2 or more"),
        (SoarConfig, {"seed": "zero"}, "seed = 'zero': must be of type int"),
        (SoarConfig, {"promotion": 1}, "promotion = 1: must be of type bool"),
        (SoarConfig, {"student.optimiser.kl": -1}, r"student\.optimiser\.kl = -1\.0: must be 0 or more"),
        (SoarConfig, {"student": 3}, "student = 3: must be of type StudentSettings"),
        (SoarConfig, {"seed.x": 3}, "seed = .*one value"),
        (SoarConfig, {"dataset_size": 4}, "student.batch = 8: must be at most dataset_size = 4"),
        (SoarConfig, {"student.steps": 100}, "max_steps = 20: must be at least student.steps = 100"),
        (SoarConfig, {"student.optimiser.warmup": 10}, r"student\.optimiser\.warmup = 10: must be below steps = 10"),
        (SoarConfig, {"student.optimiser.schedule": "linear"}, "'cosine' or 'constant'"),
        (SoarConfig, {"rounds": 20}, r"teacher\.optimiser\.warmup = 20: must be below rounds = 20"),
        (SoarConfig, {"reward": "vague"}, "reward = 'vague': must be one of grounded, intrinsic, or a function"),
        (SoarConfig, {"reward": "intrinsic"}, "promotion = True: must be False .* set promotion to false"),
        (SoarConfig, {"teacher.turns": 3}, r"teacher\.turns = 3: must be 1 or 2"),
        (FilterConfig, {"check": "belief"}, "check = 'belief': must be one of answer, integral"),
        (FilterConfig, {"train_fraction": 1}, "train_fraction = 1.0: must be between 0 and 1"),
        (EvaluateConfig, {"arms": ["pq", "magic"]}, "arms = .*some of base, ps, self_answer, hard_only"),
        (EvaluateConfig, {"checkpoint": "best"}, "checkpoint = 'best': must be 'last'"),
        (EvaluateConfig, {"ks": [64]}, "ks = .*between 1 and samples = 32"),
    ],
)
def test_a_bad_setting_is_named(kind, changes, message):
    with pytest.raises(ConfigError, match=message):
        preset("paper", kind, **changes)


def test_an_unknown_preset_names_the_known():
    with pytest.raises(ConfigError, match="'big' is unknown; known presets: smoke, nano, t4, single_gpu, paper"):
        preset("big", SoarConfig)
    assert all(tuple(kind.presets)[: len(PRESETS)] == PRESETS for kind in KINDS)  # nano2 has some only


@pytest.mark.parametrize("kind", [FilterConfig, SoarConfig, EvaluateConfig])
def test_the_preset_laptop_takes_a_local_model_and_knows_its_hours(kind, monkeypatch, tmp_path):
    """One of the same shape is timed as the preset's own, another one not."""
    monkeypatch.delenv("SOAR_REAL_MODEL", raising=False)
    assert preset("laptop", kind).model == "Qwen/Qwen2.5-0.5B-Instruct"
    shutil.copy(KNOWN["Qwen/Qwen2.5-0.5B-Instruct"] / "config.json", tmp_path)
    monkeypatch.setenv("SOAR_REAL_MODEL", str(tmp_path))
    local = preset("laptop", kind)
    assert local.model == str(tmp_path) and preset("nano", kind).model == "nano"
    assert preset("laptop", kind, model="other").model == "other"
    assert cost(local, 20) == cost(preset("laptop", kind, model="Qwen/Qwen2.5-0.5B-Instruct"), 20)
    assert 0 < cost(local, 20).hours < 3
    shutil.copy(KNOWN["meta-llama/Llama-3.2-3B-Instruct"] / "config.json", tmp_path)
    shape.cache_clear()
    assert cost(preset("laptop", kind), 20).hours is None


def test_the_back_end_auto_is_unsloth_only_beside_a_gpu(monkeypatch):
    assert (loader("vllm"), loader("transformers")) == ("vllm", "transformers")
    for gpu, found, expected in ((False, True, "transformers"), (True, False, "transformers"), (True, True, "unsloth")):
        monkeypatch.setattr("torch.cuda.is_available", lambda gpu=gpu: gpu)
        monkeypatch.setattr("soar_lib.settings.student.find_spec", lambda name, found=found: found or None)
        assert loader("auto") == expected


def test_presets_of_gpus_cost_the_share_of_the_papers_that_they_say():
    """soar/settings.py: an eighth of the rollouts on one GPU, half a percent in 16 GB."""
    paper, single, small = (cost(preset(name, SoarConfig)).rollouts for name in ("paper", "single_gpu", "t4"))
    assert 0.12 < single / paper < 0.135 and 0.004 < small / paper < 0.006


def test_changes_reach_inside_and_leave_the_rest():
    plain, changed = preset("nano", SoarConfig), preset("nano", SoarConfig, **{"student.optimiser.kl": 0.01, "seed": 4})
    assert (changed.student.optimiser.kl, changed.seed) == (0.01, 4)
    assert differences(asdict(plain), asdict(changed)) == [
        "seed: 0 -> 4",
        "student.optimiser.kl: 0.0 -> 0.01",
    ]
    whole = preset("nano", SoarConfig, student=StudentSettings(steps=3))
    assert whole.student == StudentSettings(steps=3)


def test_the_defaults_are_the_papers():
    """SOAR Table 3 and B.7."""
    soar = SoarConfig()
    assert (soar.datasets, soar.repeats, soar.dataset_size, soar.window, soar.threshold) == (4, 4, 64, 3, 0.01)
    assert (soar.reward_set, soar.rounds, soar.student.batch, soar.student.group) == (64, 200, 8, 32)
    assert (soar.student.optimiser.learning_rate, soar.student.optimiser.kl) == (1e-5, 0.001)
    assert (soar.student.optimiser.warmup, soar.teacher.optimiser.warmup) == (0, 20)
    assert [soar.inner_steps(promotions) for promotions in range(4)] == [10, 15, 20, 20]


def test_cost_by_hand():
    inner = {"student.steps": 4, "student.group": 2, "teacher.optimiser.warmup": 0}
    soar = preset("paper", SoarConfig, rounds=2, datasets=2, repeats=3, dataset_size=8, reward_set=5, **inner)
    predicted = cost(soar)
    assert predicted.rollouts == 2 * (6 * 4 * 8 * 2 + 7 * 5)
    assert predicted.teacher_samples == 2 * 2 * 8
    assert predicted.tokens == predicted.rollouts * 1024 + predicted.teacher_samples * 512
    assert predicted.hours is None
    timed = cost(soar, speed=Speed(tokens_per_second=100, tokens_per_rollout=50, machine="a laptop"))
    assert timed.hours == pytest.approx((predicted.rollouts + 32) * 50 / 100 / 3600)
    assert cost(preset("paper", FilterConfig), problems=5000).rollouts == 640_000


def test_promotions_lengthen_the_cost_of_the_rounds_after_them():
    changes = {"rounds": 5, "datasets": 2, "repeats": 3, "window": 3, "teacher.optimiser.warmup": 0}
    steps = {"student.steps": 4, "extra_steps": 2, "max_steps": 7}
    promoted = cost(preset("paper", SoarConfig, **changes, **steps))
    assert promoted.most_rollouts - promoted.rollouts == (2 + 3) * 6 * 8 * 32  # rounds 4 and 5: 6 and 7 steps
    never = cost(preset("paper", SoarConfig, **changes, **steps, promotion=False))
    assert never.most_rollouts == never.rollouts == promoted.rollouts
    assert promoted.tokens - never.tokens == 5 * 6 * 8 * 32 * 1024
    assert f"(with promotions up to {promoted.most_rollouts:,})" in describe(promoted, "any")


def test_cost_of_the_intrinsic_reward_and_of_two_turns_by_hand():
    changes = {"rounds": 2, "datasets": 2, "dataset_size": 8, "reward_set": 5, "teacher.optimiser.warmup": 0}
    intrinsic = cost(preset("paper", SoarConfig, **changes, reward="intrinsic", promotion=False, intrinsic_samples=3))
    assert intrinsic.rollouts == 2 * (2 * 8 * 3 + 5)
    once, twice = (cost(preset("paper", SoarConfig, **changes, **{"teacher.turns": turns})) for turns in (1, 2))
    assert twice.tokens - once.tokens == 2 * 2 * 8 * 512 and twice.rollouts == once.rollouts


def test_cost_of_an_evaluation_by_hand():
    changes = {"students": 2, "samples": 4, "ks": [1], "teacher_samples": 7, "synthetic_steps": 0}
    changes |= {"student.steps": 3, "student.batch": 2, "student.group": 5, "student.optimiser.warmup": 0}
    arms = ["base", "hard_only", "hard_only_x4", "grounded_t", "base_t", "self_answer"]
    predicted = cost(preset("paper", EvaluateConfig, arms=arms, **changes), problems=11)
    assert predicted.rollouts == 2 * ((1 + 4 + 1 + 1) * 3 * 2 * 5 + 6 * 11 * 4)
    assert predicted.teacher_samples == 2 * 7
    both = predicted + predicted
    assert (both.rollouts, both.tokens, both.hours) == (2 * predicted.rollouts, 2 * predicted.tokens, None)


def test_an_integer_that_no_float_holds_is_refused_by_name():
    with pytest.raises(ConfigError, match="^threshold = 1000"):
        preset("smoke", SoarConfig, threshold=10**400)
