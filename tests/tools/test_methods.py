"""The comparison of methods: one budget, one pool, one hard test set, and every completion counted."""

import json

import pandas as pd
import pytest

from soar_lib import files, runs
from soar_lib.engine.base import load as load_base
from soar_lib.hooks import Hooks
from soar_lib.problems.likeness import overlap
from soar_lib.problems.rows import load_file
from soar_lib.records import Problem
from soar_lib.settings.values import ConfigError
from tools import methods, methods_report

QUIET = Hooks(progress=False, say=lambda text: None)


def smoke(**changes) -> methods.MethodsConfig:
    return methods.preset("smoke", **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(folder, table, what was said) of a smoke run."""
    out, said = tmp_path_factory.mktemp("methods") / "run", []
    frame = methods.run(smoke(), out, base=load_base("nano"), hooks=Hooks(progress=False, say=said.append))
    return out, frame, said


def test_no_method_spends_more_than_svs_did(run):
    out, frame, said = run
    budget = methods_report.spent_by_svs(out)
    spent = frame.groupby("arm")["rollouts"].first()
    assert spent["base"] == 0 and spent["svs"] == budget > 100
    step = 4 * 4  # of RLVR, which is rounded to the nearest
    assert abs(spent["rlvr"] - budget) <= step / 2
    assert (spent.drop(["rlvr"]) <= budget).all()
    assert spent["hard_only"] > budget - 2 * 4  # and Hard-Only leaves less than a step of its own
    trees = [files.read_jsonl(out / folder / "problems.jsonl") for folder in ("trees", "ladder")]
    assert trees[0] == trees[1]
    scores = [row for row in files.read_jsonl(out / "ladder" / "scores.jsonl") if row["arm"] == "ladder"]
    assert budget - 2 * 4 < max(row["rollouts"] for row in scores) <= budget
    assert any(f"{budget:,} rollouts" in line for line in said)


def test_rollouts_are_what_the_logs_of_the_parts_add_up_to(run):
    out, frame, _ = run
    spent = frame.groupby("arm")["rollouts"].first()
    metrics = pd.read_csv(out / "svs" / "svs" / "metrics.csv")
    assert spent["svs"] == round(metrics.groupby("seed")["rollouts"].sum().mean())
    variants = files.read_jsonl(out / "ladder" / "problems.jsonl")
    prompts = {(row["seed"], row["root"], row["prompt"]) for row in variants}
    votes = 2 * sum(row["question"] != "" and not row["rejected"].startswith(("repeats", "test")) for row in variants)
    settings = files.read_json(out / "ladder" / "config.json")["student"]
    training = settings["steps"] * settings["batch"] * settings["group"]
    assert spent["ladder"] == pytest.approx(training + (len(prompts) + votes) / 2, abs=2)
    assert spent["ps"] == round(sum(map(methods_report.spent_by_soar, (out / "soar").iterdir())) / 2)
    fresh = files.read_json(out / "fresh" / "config.json")["student"]["steps"] * 2 * 4
    assert spent["grounded_t"] == spent["ps"] + fresh + 4  # and the problems that the teacher wrote for it


def test_a_soar_run_is_counted_whole(run):
    """Two data sets of four problems, a student of 2 steps x 2 x 4 on each, and Q_R of 8 for both and the baseline."""
    out, _, _ = run
    folder = out / "soar" / "seed0"
    attempts = json.loads((folder / "rounds.jsonl").read_text().splitlines()[0])["attempts"]
    hard = len((folder / "hard_train.jsonl").read_text().splitlines())
    baselines = len(files.read_json(folder / "result.json")["accuracies"])
    assert attempts >= 8
    assert methods_report.spent_by_soar(folder) == 2 * 2 * 2 * 4 + 3 * 8 + attempts + baselines * hard


def test_all_are_measured_on_hard_test_and_learn_from_nothing_of_it(run):
    out, frame, _ = run
    test = [Problem(**row) for row in files.read_jsonl(out / "filter" / "hard_test.jsonl")]
    scores = pd.DataFrame(files.read_jsonl(out / "scores.jsonl"))
    for _, mine in scores.groupby(["arm", "run", "student"]):
        assert sorted(mine["problem"]) == sorted(problem.id for problem in test)
    assert set(scores["n"]) == {4} and set(scores["run"]) == {"seed0", "seed1"}
    learned = [Problem(**row) for row in files.read_jsonl(out / "svs" / "train.jsonl")]
    assert not overlap(learned, test).shared and len(learned) > 40
    hard = {problem.id for problem in load_file(out / "filter" / "hard_train.jsonl")}
    assert hard <= {problem.id for problem in learned}
    assert {row["root"] for row in files.read_jsonl(out / "ladder" / "problems.jsonl")} <= hard


def test_gains_are_paired_with_hard_only(run):
    _, frame, _ = run
    means = frame.pivot(index="arm", columns="k", values="mean")
    gains = frame.pivot(index="arm", columns="k", values="gain")
    arms = frame[frame["seeds"] == 2]["arm"].unique()
    assert set(arms) >= set(methods_report.ARMS) - {"pq"}
    expected = means.loc[arms] - means.loc["hard_only"]
    pd.testing.assert_frame_equal(gains.loc[arms], expected, check_names=False, atol=1e-9)
    assert ((frame["gain_low"] <= frame["gain"]) & (frame["gain"] <= frame["gain_high"])).all()


def test_a_resumed_comparison_ends_in_the_same_table(run):
    out, _, _ = run
    before = (out / "methods.csv").read_bytes()
    (out / "methods.csv").unlink()
    (out / "ladder" / "ladder.csv").unlink()
    with pytest.raises(files.RunError, match="--resume"):
        methods.run(smoke(), out)
    with pytest.raises(files.RunError, match=r"svs.steps: 8 -> 9"):
        methods.run(smoke(**{"svs.steps": 9}), out, resume=True)
    methods.run(smoke(), out, resume=True, base=load_base("nano"), hooks=QUIET)
    assert (out / "methods.csv").read_bytes() == before


def test_a_budget_that_is_too_small_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"svs\.steps: .* 12 rollouts, .* 2 steps of 2 x 4; .* lower soar\.rounds"):
        methods.evaluate_config(smoke(), tmp_path, ("pq",), 12)
    with pytest.raises(ConfigError, match=r"svs\.steps: .* votes .* 0 rollouts, .*variants\.prompts"):
        methods.ladder_config(smoke(), tmp_path, budget=40, spent=42)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds = 0"),
        ({"synthetic": 1.0}, r"synthetic = 1\.0: must be between 0 and 1"),
        ({"svs.model": "other"}, "model = nano and other: all methods must start from one base"),
    ],
)
def test_mistakes_in_the_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        smoke(**changes)


def test_presets_without_a_comparison_are_named():
    with pytest.raises(ConfigError, match="'t4' has no comparison of methods; presets that have: smoke, nano, paper"):
        methods.preset("t4")


def test_a_budget_that_soar_cannot_live_on_is_found_before_soar_begins(tmp_path):
    with pytest.raises(ConfigError, match=r"svs\.steps: .* lower soar\.rounds, in another folder"):
        methods.run(smoke(seeds=1, **{"svs.steps": 2}), tmp_path / "run", hooks=QUIET)
    assert not (tmp_path / "run" / "soar").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--preset t4 --out new", "preset 't4' has no comparison of methods"),
        ("--out new --seeds 0", "seeds = 0: must be 1 or more"),
        ("--out new --set svs.speed=3", "svs.speed: SvsConfig has no such setting"),
        ("--out used", "used: there is a run in it already; choose another folder or add --resume"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_touches_nothing(line, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs.open_run(tmp_path / "used", smoke())
    assert methods.main(line.split()) == 2
    output = capsys.readouterr()
    assert output.out == "" and message in output.err and output.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_the_command_resumes_a_run_and_says_its_cost_first(run, capsys):
    out, frame, _ = run
    assert methods.main(["--preset", "smoke", "--out", str(out), "--resume"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("methods: about ") and f"everything is in {out}" in lines
    assert all(any(line.split()[:1] == [arm] for line in lines) for arm in frame["arm"])


def test_help_lists_its_own_presets_and_the_settings_of_the_parts(capsys):
    with pytest.raises(SystemExit):
        methods.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "smoke, nano, paper (default: nano)" in text and "--seeds" in text and "--seed " not in text
    assert "svs.steps = " in text and "soar.student.optimiser.learning_rate = " in text


def test_the_cost_is_said_before_anything_is_drawn():
    said = []
    noted = methods.announce(smoke(), said.append)
    assert len(said) == 1 and said[0].startswith("methods: about ") and "MB of memory for tensors" in said[0]
    assert noted["rollouts"] > 60 * 8 and noted["peak_bytes"] > 1e6
