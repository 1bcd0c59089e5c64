"""Arms in a folder: what they share, what equal budgets are, and a run killed at any instant."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import killer
import pandas as pd
import pytest
import torch

from soar_lib import files, runs
from soar_lib.cli import commands as cli
from soar_lib.engine import lora
from soar_lib.engine.base import Base, load
from soar_lib.files import RunError
from soar_lib.hooks import Hooks
from soar_lib.runs import Run
from soar_lib.settings.cost import cost
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError
from soar_lib.svs import report
from soar_lib.svs import run as svs_run
from soar_lib.svs.settings import SVS_ARMS, SvsConfig

ARMS = ("base", "rlvr", "svs", "rlvr_equal_updates")


def settings(*arms: str, **changes) -> SvsConfig:
    small = {"arms": arms, "size": 8, "test_size": 2, "hard_size": 2, "other_size": 1, "max_new_tokens": 32}
    return preset("smoke", SvsConfig, **(small | changes))


QUIET = Hooks(progress=False, say=lambda line: None)


def play(*arguments, base: Base | None = None, **changes) -> None:
    """Begin or go on with the arms named, in the folder named last, and write the tables."""
    torch.set_num_threads(1)
    *arms, folder = arguments
    svs_run.run(settings(*arms, **changes), folder, True, base, QUIET)
    report.write(folder)


def untrained(base: Base, config: SvsConfig, sets: dict, sizes: list[list[int]]) -> svs_run.ArmRun:
    return replace(svs_run.restored(base, config, Run(Path("none")), sets), sizes=sizes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("svs") / "run"
    play(*ARMS, folder)
    return folder


def metrics(folder: Path, arm: str) -> pd.DataFrame:
    return pd.read_csv(folder / arm / "metrics.csv")


def test_a_run_killed_at_random_instants_ends_like_one_left_alone(tmp_path):
    killed = killer.assert_same_after_kills("tests.svs.test_run:play", tmp_path, "svs", "rlvr_equal_rollouts")
    assert (killed / "claims.csv").is_file() and (killed / "rlvr_equal_rollouts" / "result.json").is_file()


def test_every_arm_leaves_a_run_folder(finished):
    config = settings(*ARMS)
    for arm in ARMS:
        result = files.read_json(finished / arm / "result.json")
        assert result["steps"] == (0 if arm == "base" else config.steps)
        assert len(result["entropy"]) == 2 and min(result["entropy"]) > 0
        began = files.read_json(finished / arm / "config.json")
        assert began == json.loads(json.dumps(runs.recorded(config.of_arm(arm))))
        scores = files.read_jsonl(finished / arm / "scores.jsonl")
        sizes = {"test": (2, 4), "hard": (2, 8), "other": (1, 4)}
        for name, (problems, samples) in sizes.items():
            own = [row for row in scores if row["set"] == name]
            assert len(own) == 2 * problems and {row["n"] for row in own} == {samples}
            assert all(0 <= row["c"] <= samples for row in own)
        assert {(row["run"], row["rollouts"]) for row in scores} == {
            (f"seed{seed}", spent) for seed, spent in enumerate(result["rollouts"])
        }
        if arm != "base":
            frame = metrics(finished, arm)
            assert frame.groupby("seed")["rollouts"].sum().tolist() == result["rollouts"]
    rows = files.read_jsonl(finished / "svs" / "problems.jsonl")
    assert len(rows) == metrics(finished, "svs")["variants"].sum() > 0
    assert {"svs.csv", "curves.csv", "variants.csv", "claims.csv"} <= {path.name for path in finished.iterdir()}


def test_arms_of_one_seed_begin_with_the_same_problems_and_solutions(finished):
    frames = {arm: metrics(finished, arm).query("step == 0").set_index("seed") for arm in ("rlvr", "svs")}
    for column in ("accuracy", "entropy", "length", "hard"):
        assert frames["rlvr"][column].tolist() == frames["svs"][column].tolist()
    assert frames["svs"]["accuracy"].nunique() + frames["svs"]["length"].nunique() > 2  # seeds differ


def test_measurements_along_the_way_stand_where_they_are_due(finished):
    frame = metrics(finished, "svs")
    assert frame["test_pass_1"].notna().tolist() == [True, True, False, False]  # two slots; the last step is the end
    assert (frame["test_pass_n"].dropna() >= frame["test_pass_1"].dropna()).all()
    assert frame["test_entropy"].notna().tolist() == [True, True, False, False]


def test_a_measurement_depends_on_policy_and_seed_alone(finished, monkeypatch):
    base, config = load("nano"), settings("base", test_size=5)
    sets = svs_run.problem_sets(config, finished / "nowhere")
    arm = untrained(base, config, sets, [])
    shares, entropy = svs_run.measure(base, arm, "test", 8)
    monkeypatch.setattr(svs_run, "MEASURED_TOGETHER", 32)  # two problems at a time
    again, same = svs_run.measure(base, arm, "test", 8)
    assert torch.equal(shares, again) and entropy == pytest.approx(same, rel=1e-4)
    assert shares.shape == (2, 5) and not torch.equal(shares[0], shares[1])
    assert (shares * 8 == (shares * 8).round()).all() and 0 < shares.mean() < 1
    alone = untrained(base, replace(config, seeds=1, seed=1), sets, [])
    lone, its = svs_run.measure(base, alone, "test", 8)
    assert torch.equal(lone[0], shares[1]) and its[0] == pytest.approx(entropy[1], rel=1e-4)


def test_an_equal_number_of_updates_spends_what_svs_spent_in_each_step(finished):
    spent, mine = (svs_run.rollouts_by_step(finished / arm) for arm in ("svs", "rlvr_equal_updates"))
    group = settings("svs").group
    assert mine == [[round(value / group) * group for value in row] for row in spent]
    assert mine != svs_run.rollouts_by_step(finished / "rlvr")


def test_budgets_by_hand(tmp_path):
    (tmp_path / "svs").mkdir()
    spent = [(0, 0, 80), (1, 0, 48), (0, 1, 64), (1, 1, 16)]  # seed, step, rollouts
    text = "seed,step,rollouts\n" + "".join(f"{seed},{step},{rollouts}\n" for seed, step, rollouts in spent)
    (tmp_path / "svs" / "metrics.csv").write_text(text)
    config = settings("svs", group=8)  # two problems a step
    sizes = {
        arm: svs_run.batch_sizes(config.of_arm(arm), tmp_path / "svs") for arm in ("svs", "base", "rlvr_equal_updates")
    }
    assert sizes == {"svs": [[2, 2], [2, 2]], "base": [], "rlvr_equal_updates": [[10, 6], [8, 2]]}
    longer = svs_run.batch_sizes(config.of_arm("rlvr_equal_rollouts"), tmp_path / "svs")
    assert longer == [[2, 2]] * 6  # 208 rollouts are 26 problems, 6.5 steps of two slots


def test_batches_follow_each_other_through_permutations(finished):
    base, config = load("nano"), settings("svs", steps=4)
    sets = svs_run.problem_sets(config, finished)
    sizes = [[2, 3], [3, 2], [2, 2], [3, 9]]
    arm = untrained(base, config, sets, sizes)
    drawn = [svs_run.batches(arm, step) for step in range(4)]
    for slot in range(2):
        order = [problem.id for row in drawn for problem in row[slot]]
        assert [len(row[slot]) for row in drawn] == [row[slot] for row in sizes]
        whole = len(sets["train"])
        assert len(set(order[:whole])) == whole < len(order)  # each problem once before any comes again
    assert drawn[0][0] != drawn[0][1][:2]


def test_training_problems_that_are_measured_are_left_out(tmp_path):
    rows = [{"id": f"{i}", "problem": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(9)]
    for name, part in (("train", rows), ("test", rows[6:]), ("hard", [rows[0] | {"problem": "0+1=?"}])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    names = {"problems": "train", "test": "test", "hard": "hard"}
    paths = {key: str(tmp_path / f"{name}.jsonl") for key, name in names.items()}
    changes = paths | {"other": "", "size": 0, "test_size": 0, "hard_size": 0}
    sets = svs_run.problem_sets(settings("svs", **changes), tmp_path / "nowhere")
    assert [problem.id for problem in sets["train"]] == [f"train/{i}" for i in range(1, 6)]
    assert (len(sets["test"]), len(sets["hard"]), sets["other"]) == (3, 1, [])
    with pytest.raises(ConfigError, match="batch = 6: must be at most 5, the training problems"):
        play("svs", tmp_path / "run", batch=6, **changes)
    assert not (tmp_path / "run").exists()


def test_finished_arms_are_left_alone_and_others_may_join(finished, tmp_path):
    base, folder = load("nano"), shutil.copytree(finished, tmp_path / "run")
    before = killer.files(folder)
    play(*ARMS, folder, base=base)
    assert killer.files(folder) == before
    play("second_rollout", folder, base=base)
    after = killer.files(folder)
    assert {name for name in before if before[name] != after[name]} == {
        "config.json", "svs.csv", "curves.csv", "claims.csv",
    }  # fmt: skip
    assert files.read_json(folder / "config.json")["arms"] == [
        arm for arm in SVS_ARMS if arm in (*ARMS, "second_rollout")
    ]
    with pytest.raises(RunError, match="batch: 2 -> 3"):
        play("svs", folder, batch=3)
    with pytest.raises(RunError, match="there is a run in it already"):
        svs_run.run(settings("svs"), folder)
    assert killer.files(folder) == after


@pytest.mark.parametrize("name", ["train", "hard"])
def test_problems_that_were_changed_under_an_arm_are_refused(finished, tmp_path, name):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "svs" / "result.json").unlink()
    path = folder / f"{name}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RunError, match="run: train.jsonl, test.jsonl, .* were changed since svs began"):
        play(*ARMS, folder)


def test_other_settings_are_refused_before_a_model_is_loaded(finished, monkeypatch):
    monkeypatch.setattr(svs_run, "load_for", lambda config: pytest.fail("a model is loaded"))
    with pytest.raises(RunError, match="began with other settings .batch: 2 -> 3"):
        svs_run.run(settings(*ARMS, batch=3), finished, resume=True, hooks=QUIET)


def test_the_base_is_loaded_as_the_settings_say(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(svs_run, "load_for", lambda config: loaded.append(config) or exit(7))
    with pytest.raises(SystemExit, match="7"):
        play("base", tmp_path / "run", four_bit=True, backend="unsloth")
    assert [(config.model, config.backend, config.four_bit) for config in loaded] == [("nano", "unsloth", True)]
    assert not (tmp_path / "run").exists()


def test_trained_adapters_are_saved_by_seed(finished):
    base, tensors = load("nano"), files.load_checkpoint(runs.latest_checkpoint(finished / "svs"))[0]
    for slot in range(2):
        saved = lora.load_peft(finished / "svs" / "adapters" / f"seed{slot}", base.model).state_dict()
        assert all(torch.equal(saved[name][0], tensor[slot]) for name, tensor in tensors["adapters"].items())
    assert not (finished / "base" / "adapters").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["magic"]}, "arms = .*some of base, rlvr, svs"),
        ({"arms": []}, "arms = .*some of base"),
        ({"arms": ["rlvr_equal_updates"]}, "with svs: rlvr_equal_updates spend what it did"),
        ({"arms": ["rephrasings"]}, "rephrasings = '': must be a JSONL file of rephrasings"),
        ({"backend": "jax"}, "backend = 'jax': must be one of transformers, unsloth"),
        ({"group": 1}, "group = 1: must be 2 or more"),
        ({"variants": 1}, "variants = 1: must be 2 or more"),
        ({"seed_low": 0.6}, "seed_high = 0.5: must be between seed_low = 0.6 and 1"),
        ({"further": "more"}, "further = 'more': must be one of variants, originals, rephrasings, nothing"),
        ({"budget": "time"}, "budget = 'time': must be one of steps, rollouts, updates"),
        ({"ks": [2, 4]}, "ks = .*1 among them"),
        ({"ks": [1, 2048]}, "ks = .*between 1 and hard_samples = 1024"),
        ({"guards.similarity": 0}, "guards.similarity = 0.0: must be more than 0 and at most 1"),
        ({"guards.rows": -1}, "guards.rows = -1: must be 0 or more"),
        ({"optimiser.warmup": 400}, "optimiser.warmup = 400: must be at most steps = 300"),
    ],
)
def test_a_bad_setting_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        preset("paper", SvsConfig, **changes)


@pytest.mark.parametrize("name", ["smoke", "nano", "paper"])
def test_every_arm_of_every_preset_is_valid(name):
    config = preset(name, SvsConfig)
    for arm in config.arms:
        assert config.of_arm(arm).arms == (arm,)
    assert {"svs", "rlvr", "second_rollout", "rlvr_equal_rollouts"} <= {*config.arms}


def test_the_defaults_are_the_papers():
    config = SvsConfig()
    assert (config.batch, config.group, config.variants, config.steps, config.temperature) == (256, 8, 8, 300, 1.0)
    assert (config.max_prompt_tokens, config.max_new_tokens, config.samples, max(config.ks)) == (4096, 8192, 32, 1024)
    tuned = config.optimiser
    assert (tuned.learning_rate, tuned.weight_decay, tuned.max_grad_norm, tuned.kl) == (1e-6, 0.01, 1.0, 0.0)
    assert (tuned.clip_low, tuned.clip_high, tuned.schedule) == (0.2, 0.28, "constant")
    assert not (config.guards.leaks or config.guards.duplicates or config.guards.solutions or config.guards.rows)


def test_the_cost_by_hand():
    changes = {"steps": 3, "batch": 5, "seeds": 2, "test_size": 4, "hard_size": 2, "samples": 3, "hard_samples": 10}
    small = preset("paper", SvsConfig, ks=[1], large_k=["svs"], max_new_tokens=7, **changes)
    plain = 3 * 5 * 8
    further = 3 * 5 * (1 + 2 + 3 + 4) * (8 + 64) / 9  # if 0 to 8 right solutions are equally likely
    expected = {
        "base": 4 * 3 + 2 * 3,
        "rlvr": plain + 4 * 3 + 2 * 3,
        "second_rollout": plain + 3 * 5 * 4 * 8 / 9 + 4 * 3 + 2 * 3,
        "svs": plain + further + 4 * 3 + 2 * 10,
    }
    for arm, rollouts in expected.items():
        assert cost(preset_of(small, arm)).rollouts == round(2 * rollouts)
    both = cost(preset_of(small, "svs", "rlvr_equal_rollouts"))
    assert both.rollouts == round(2 * (2 * (plain + further) + 2 * 4 * 3 + 2 * 10 + 2 * 3))
    assert cost(preset_of(small, "svs")).tokens == 2 * (3 * 5 * (8 + 4 * 72) + 4 * 3 + 2 * 10) * 7


def preset_of(config: SvsConfig, *arms: str) -> SvsConfig:
    return replace(config, arms=arms)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("svs --preset smoke --out new --problems bad.jsonl", "bad.jsonl:1: not JSONL"),
        ("svs --preset smoke --out new --set arms=[\"rephrasings\"] --set rephrasings=lost.jsonl", "lost.jsonl: can"),
        ("svs --preset smoke --out new --set batch=13", "batch = 13: must be at most"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_touches_nothing(tmp_path, monkeypatch, capsys, command, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text("no\n")
    assert cli.main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("soar_lib: ") and message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]


def test_the_command_says_what_it_costs_and_what_it_has_cost(tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["svs", "--preset", "smoke", "--out", str(out), "--set", 'arms=["base", "svs"]']) == 0
    printed = capsys.readouterr().out
    for part in ("svs: about", "MB of memory for tensors", "svs: svs is finished", "svs: took", str(out)):
        assert part in printed
    assert files.read_json(out / "cost.json")["measured"]["rollouts"] > 100
