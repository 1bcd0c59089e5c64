"""The study: its matrix and settings, and a small one really run, killed, resumed and added to."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import killer
import pandas as pd
import pytest
import words

from soar_lib import files, runs
from soar_lib.files import RunError
from soar_lib.hooks import Hooks
from soar_lib.measure.claims import COLUMNS
from soar_lib.meter import announce
from soar_lib.problems import filtering
from soar_lib.settings.cost import cost, total
from soar_lib.settings.student import PRESETS
from soar_lib.settings.values import ConfigError
from soar_lib.soar import study
from soar_lib.soar.arms import row_name
from soar_lib.soar.evaluate_settings import TRAINED_ARMS
from soar_lib.soar.study import ARMS, StudyConfig, evaluate_config, preset, soar_config

OUT = Path("study")
SMALL = {"steps": 2, "batch": 2, "group": 2, "max_new_tokens": 4, "rank": 2, "alpha": 2.0}
OPTIMISER = {"learning_rate": 0.02, "kl": 0.0, "warmup": 0, "schedule": "constant"}


def small(home: str | Path, **changes) -> StudyConfig:
    """A smoke study of two arms on the words model, in seconds."""
    home, student = Path(home), {**SMALL, "optimiser": OPTIMISER}
    values = {f"{part}.model": str(home / "model") for part in ("filter", "transfer", "soar", "evaluate")}
    for part in ("filter", "transfer"):
        values |= {f"{part}.problems": str(home / f"{part}.jsonl"), f"{part}.size": 0, f"{part}.k": 2}
        values[f"{part}.max_new_tokens"] = 4
    values |= {"soar.student": student, "evaluate.student": student, "evaluate.synthetic_steps": 1}
    values |= {"soar.teacher.max_new_tokens": 4, "soar.teacher.rank": 2, "soar.teacher.alpha": 2.0}
    values |= {"soar.dataset_size": 2, "soar.repeats": 1, "soar.max_steps": 3, "soar.intrinsic_samples": 2}
    values |= {"arms": ["grounded", "intrinsic"], "evaluate.ks": [1, 2], "evaluate.samples": 2}
    return preset("smoke", **values | changes)


def play(home: str | Path, **changes) -> pd.DataFrame:
    return study.run(small(home, **changes), OUT, resume=True, hooks=Hooks(progress=False, say=lambda line: None))


def play_in(home: str, folder: str) -> None:
    """Begin or go on with it in another folder than this, which is made."""
    Path(folder).mkdir(exist_ok=True)
    os.chdir(folder)
    play(home)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a model and two pools."""
    folder = tmp_path_factory.mktemp("study_home")
    words.save_model(folder / "model")
    for name, lead in (("filter", ""), ("transfer", "so so ")):
        pool = [
            {"id": problem.id, "question": lead + problem.question, "answer": problem.answer}
            for problem in words.problems(40, name)
        ]
        (folder / f"{name}.jsonl").write_text(files.jsonl(pool))
    return folder


@pytest.fixture(scope="module")
def killed(home, tmp_path_factory) -> Path:
    """A study that was left alone, and that ended as those that were killed at some instants did."""
    folder = tmp_path_factory.mktemp("killed")
    return killer.assert_same_after_kills("tests.soar.test_study:play_in", folder, str(home)) / OUT


# ------------------------------------------------------------------ a study that really runs


def test_the_folder_holds_every_part(killed):
    out = killed
    tables = {"pass_at_k.csv", "transfer.csv", "comparisons.csv", "claims.csv"}
    top = {path.name for path in out.iterdir()}
    assert top == {"config.json", "versions.json", "filter", "transfer", "grounded", "intrinsic"} | tables
    for arm in ("grounded", "intrinsic"):
        assert {path.name for path in (out / arm).iterdir()} == {"seed0", "seed1", "evaluate", "values.csv"}
        values = pd.read_csv(out / arm / "values.csv")
        assert set(values["teacher"]) == ({"trained", "untrained"} if arm == "grounded" else {"trained"})
        sources = pd.read_csv(out / arm / "evaluate" / "sources.csv")
        assert sources["run"].tolist() == [f"{arm}/seed0", f"{arm}/seed1"] and sources["seed"].tolist() == [0, 1]
        config = files.read_json(out / arm / "seed1" / "config.json")
        assert (config["reward"], config["seed"]) == ("intrinsic" if arm == "intrinsic" else "grounded", 1)
        assert files.read_json(out / arm / "evaluate" / "config.json")["checkpoint"] == "last"


def test_the_tables_hold_all_arms_with_their_rollouts(killed):
    near, far = (pd.read_csv(killed / f"{name}.csv") for name in ("pass_at_k", "transfer"))
    arms = set(near["arm"])
    assert {"base", "hard_only", "hard_only_x4", "ps", "grounded_t", "base_t", "oracle_full", "intrinsic_t"} <= arms
    assert set(far["arm"]) == arms and near.groupby("arm")["k"].apply(list).map(tuple).unique().tolist() == [(1, 2)]
    rollouts = near.drop_duplicates("arm").set_index("arm")["rollouts"]
    equal = [arm for arm in arms if arm in (*TRAINED_ARMS, "intrinsic_t") and arm != "hard_only_x4"]
    assert set(rollouts[equal]) == {2 * 2 * 2} and rollouts["hard_only_x4"] == 4 * 2 * 2 * 2
    compared = pd.read_csv(killed / "comparisons.csv")
    assert set(compared["arm"]) == arms - {"hard_only"} and (compared["other_rollouts"] == 8).all()
    assert compared["p"].between(0, 1).all()


def test_the_claims_are_those_of_the_paper(killed):
    found = pd.read_csv(killed / "claims.csv")
    assert list(found.columns) == COLUMNS and len(found) == 24
    assert set(found["verdict"]) <= {"undecided", "at the floor"}  # two seeds decide nothing
    assert found.loc[found["claim"].str.startswith("Grounded-T beats Hard-Only"), "seeds"].tolist() == [2]


def test_a_finished_study_needs_neither_model_nor_adapters_and_is_not_touched(home, killed, tmp_path, monkeypatch):
    shutil.copytree(killed, tmp_path / OUT)
    for path in [*tmp_path.rglob("checkpoint"), *tmp_path.rglob("adapters")]:
        shutil.rmtree(path)
    for path in tmp_path.rglob("samples.jsonl"):
        path.unlink()
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    for place in ("engine.base.load", "soar.evaluate.load_for", "problems.filtering.load_for"):
        monkeypatch.setattr(f"soar_lib.{place}", lambda name: pytest.fail("nothing is left to do"))
    found = play(home)
    changed = [name for name, value in contents(tmp_path).items() if value != before.get(name)]
    assert sorted(changed) == [f"study/{n}.csv" for n in ("claims", "comparisons", "pass_at_k", "transfer")]
    assert [name for name, value in contents(tmp_path).items() if value[0] != before[name][0]] == []
    assert len(found) == 24


def test_an_arm_can_be_added_and_the_others_stay_as_they_are(home, killed, tmp_path, monkeypatch):
    """The arm stands on the runs of `grounded`, so nothing but its evaluation is new."""
    shutil.copytree(killed, tmp_path / OUT)
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    said = []
    study.run(small(home, arms=["grounded", "samples_half"]), OUT, True, hooks=Hooks(progress=False, say=said.append))
    new = {name: value for name, value in contents(tmp_path).items() if value != before.get(name)}
    tops = {name.split("/")[1] for name in new}
    assert tops == {"samples_half", "config.json", "claims.csv", "comparisons.csv", "pass_at_k.csv", "transfer.csv"}
    assert files.read_json(OUT / "config.json")["arms"] == ["grounded", "intrinsic", "samples_half"]
    frame = pd.read_csv(OUT / "pass_at_k.csv")
    assert {"grounded_t", "intrinsic_t", "grounded_t_samples_half"} <= set(frame["arm"])
    written = files.read_jsonl(OUT / "samples_half" / "evaluate" / "problems.jsonl")
    more = files.read_jsonl(OUT / "grounded" / "evaluate" / "problems.jsonl")
    first = [row["id"] for row in more if row["arm"] == "grounded_t" and row["source"] == 0]
    assert [row["id"] for row in written] == first[:2]  # the first half of the same samples, from one sweep seed
    assert [line for line in said if line.startswith("study: samples_half/evaluate: about ")]
    assert not [line for line in said if line.startswith("study: grounded/")]  # finished parts cost nothing


def test_other_settings_are_refused(home, killed, tmp_path, monkeypatch):
    shutil.copytree(killed, tmp_path / OUT)
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(RunError, match="seeds: 2 -> 3"):
        play(home, seeds=3)
    with pytest.raises(RunError, match="there is a run in it already"):
        study.run(small(home), OUT, hooks=Hooks(progress=False))
    assert contents(tmp_path) == before


def test_mistakes_show_before_anything_is_written(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="nowhere.jsonl: neither a file"):
        play(home, **{"transfer.problems": "nowhere.jsonl"})
    with pytest.raises(ConfigError, match="arm n_half: student.batch = 2: must be at most dataset_size = 1.*leave the"):
        play(home, arms=["grounded", "n_half"])
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ the matrix


@pytest.mark.parametrize("name", PRESETS)
def test_every_arm_of_every_preset_is_valid(name):
    config, names = preset(name, arms=list(ARMS)), set()
    shared = {
        "controls": {"base", "hard_only", "base_t"}, "more_controls": {"hard_only_x4"},
        "promotion": {"pq", "ps", "grounded_t"},
    }  # fmt: skip
    for arm in config.chosen():
        for seed in config.seeds_of(arm):
            assert soar_config(config, arm, seed, OUT).seed == seed
        measured = evaluate_config(config, arm, OUT)
        assert set(measured.arms) <= {*TRAINED_ARMS, "base", "ps", "self_answer"}
        soar = soar_config(config, ARMS[arm.runs or arm.name], 0, OUT)
        rows = {row_name(kind, soar, measured.label) for kind in measured.arms}
        # One table holds all arms, so no two may bear one name, but for those that measure part of what grounded does.
        assert rows & names == shared.get(arm.name, set())
        names |= rows
    assert {"grounded_t", "intrinsic_t", "grounded_t_no_promotion", "grounded_t_multi_turn", "base_t"} <= names
    assert runs.json.loads(runs.json.dumps(asdict(config)))["arms"] == list(ARMS)


def test_arms_change_what_they_say():
    config = preset("paper")
    plain = soar_config(config, ARMS["grounded"], 0, OUT)
    changed = {name: soar_config(config, arm, 0, OUT) for name, arm in ARMS.items() if not arm.runs}
    assert (plain.dataset_size, plain.threshold, plain.repeats, plain.reward_samples) == (64, 0.01, 4, 0)
    assert changed["n_half"].dataset_size == 32 and changed["r_half"].repeats == 2
    assert changed["tau_x1.5"].threshold == pytest.approx(0.015) and changed["tau_x2"].threshold == 0.02
    assert changed["multi_turn"].teacher.turns == 2 and changed["sampled_reward"].reward_samples > 0
    assert (changed["intrinsic"].reward, changed["intrinsic"].promotion) == ("intrinsic", False)
    assert not changed["no_promotion"].promotion and changed["no_promotion"].reward == "grounded"
    sizes = [evaluate_config(config, ARMS[f"samples_{part}"], OUT).teacher_samples for part in ("half", "quarter")]
    assert sizes == [64, 32]
    assert [len(config.seeds_of(ARMS[name])) for name in ("grounded", "n_half", "promotion")] == [5, 2, 4]
    assert {*ARMS} - {*config.arms} == {"controls", "more_controls", "promotion"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["magic"]}, r"arms = \('magic',\): must be some of grounded, intrinsic"),
        ({"arms": []}, "must be some of grounded"),
        ({"arms": ["samples_half"]}, "must be given with grounded, on whose runs samples_half stands; add it"),
        ({"seeds": 0}, "seeds = 0: must be more than 0"),
        ({"soar.model": "other"}, "model = nano and other: all parts"),
        ({"soar.speed": 1}, "soar.speed: SoarConfig has no such setting"),
    ],
)
def test_a_bad_setting_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        preset("smoke", **changes)


def test_the_cost_is_that_of_all_parts():
    config = preset("nano", arms=["grounded", "intrinsic"], seeds=3)
    found = study.left(config, Path("nowhere"))
    names = [f"{arm}/seed{seed}" for arm in ("grounded", "intrinsic") for seed in range(3)]
    assert sorted(found) == sorted([*names, "filter", "transfer", "grounded/evaluate", "intrinsic/evaluate"])
    assert (found["filter"], found["transfer"]) == ((config.filter, 280, 1), (config.transfer, 60, 1))
    assert found["intrinsic/seed2"] == (soar_config(config, ARMS["intrinsic"], 2, Path("nowhere")), 0, 1)
    evaluation = study.evaluate_config(config, ARMS["grounded"], Path("nowhere"))
    assert found["grounded/evaluate"] == (evaluation, 140 + 60, 3)
    once = [cost(settings, problems).rollouts for settings, problems, _ in found.values()]
    assert total(found.values()).rollouts == sum(once) + 2 * sum(once[index] for index in (5, 9))
    said: list[str] = []
    announce("study", found, said.append)
    assert len(said) == 12 and said[-2].startswith("study: in all about ") and "of memory for tensors" in said[-1]


def test_filter_runs_split_the_pools(home, killed):
    near, far = (filtering.read_filtered(killed / name) for name in ("filter", "transfer"))
    assert len(near.outcomes) == len(far.outcomes) == 40 and near.train and near.test and far.train
