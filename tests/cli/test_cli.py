"""The command line: mistakes cost one line and exit status 2 and touch nothing; real commands leave run folders."""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from soar_lib import runs
from soar_lib.cli import arguments
from soar_lib.cli import commands as cli
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar.evaluate_settings import EvaluateConfig

ROOT = Path(__file__).parents[2]


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "soar_lib", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with an existing run, an evaluation-less run, a file and a text that is not JSONL."""
    runs.open_run(tmp_path / "used", cli.SoarConfig())
    (tmp_path / "file").write_text("a file\n")
    (tmp_path / "bad.jsonl").write_text('{"problem": "1+1?", "answer": "2"}\nnot json\n')
    return tmp_path


LIGHT = [
    ("soar --out used", "used: there is a run in it already; choose another folder or add --resume"),
    ("filter --out used", "used: there is a run in it already"),
    ("soar --preset huge --out new", "preset 'huge' is unknown; known presets: smoke, nano, t4, single_gpu, paper"),
    ("demo --preset huge --out new", "preset 'huge' is unknown"),
    ("soar --out file/new", "file/new: cannot be written"),
    ("filter --out file", "file: cannot be written"),
    ("demo --out file/new", "cannot be written"),
    ("soar --out new --set rounds", "--set rounds: write it as FIELD=VALUE"),
    ("soar --out new --set rounds=0", "rounds = 0: must be more than 0"),
    ("soar --out new --set student.speed=3", "student.speed: StudentSettings has no such setting"),
    ("evaluate --out new --runs used", "used: holds no finished SOAR run"),
    ("study --preset huge --out new", "preset 'huge' has no study; presets that have: smoke, nano, t4, single_gpu"),
    ("soar --out new --log paper", "--log paper: must be one of tensorboard, wandb, trackio"),
    ("soar --out new --actors 2", "--actors 2: must be 1 or more, and beside --ray"),
    ("study --out new --log paper", "--log paper: must be one of tensorboard, wandb, trackio"),
    ("study --out new --arms grounded,magic", "arms = ('grounded', 'magic'): must be some of grounded"),
    ("study --out new --seeds 0", "seeds = 0: must be more than 0"),
    ("study --out new --threads 0", "--threads 0: must be 1 or more"),
    ("study --out new --set soar.reward=intrinsic", "soar.promotion = True: must be False where reward"),
    ("study --out used", "used: there is a run in it already"),
    ("ladder --out used", "used: there is a run in it already"),
    ("ladder --out new --set variants.depth=0", "variants.depth = 0: must be more than 0"),
    ("svs --out used", "used: there is a run in it already"),
    ("svs --out new --set group=1", "group = 1: must be 2 or more"),
]


@pytest.mark.parametrize(("command", "message"), LIGHT, ids=[command for command, _ in LIGHT])
def test_a_mistake_is_one_line_and_touches_nothing(place, command, message):
    before = snapshot(place)
    done = call(*command.split(), cwd=place)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("soar_lib: ") and message in done.stderr
    assert done.stderr.count("\n") == 1
    assert snapshot(place) == before


HEAVY = [
    ("filter --out new --problems bad.jsonl", "bad.jsonl:2: not JSONL"),
    ("soar --out new --problems bad.jsonl", "bad.jsonl:2: not JSONL"),
    ("filter --out new --problems rg:chain_summ", "rg:chain_summ: no such reasoning-gym family; did you mean"),
    ("soar --out new --problems nowhere", "nowhere: neither a file nor a reasoning-gym family"),
    ("ladder --out new --problems nowhere", "nowhere: no folder of a finished filter run (no hard_train.jsonl)"),
]


@pytest.mark.parametrize(("command", "message"), HEAVY, ids=[command for command, _ in HEAVY])
def test_a_bad_problem_set_is_one_line_and_touches_nothing(place, monkeypatch, capsys, command, message):
    monkeypatch.chdir(place)
    before = snapshot(place)
    assert cli.main(command.split()) == 2
    output = capsys.readouterr()
    assert output.out == "" and message in output.err and output.err.count("\n") == 1
    assert snapshot(place) == before


@pytest.mark.parametrize("command", ["soar --problems bad.jsonl", "evaluate --runs used", "study"])
def test_a_cluster_without_ray_is_one_line_and_touches_nothing(place, monkeypatch, capsys, command):
    monkeypatch.chdir(place)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    before = snapshot(place)
    assert cli.main([*command.split(), "--out", "new", "--ray", "auto"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
    assert '--ray auto: needs ray, which is not installed; pip install "soar-lib[ray]"' in output.err
    assert snapshot(place) == before


def test_errors_and_help_import_nothing_heavy():
    code = "import sys; from soar_lib.__main__ import main; main(['soar', '--preset', 'huge']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert {"torch", "transformers", "reasoning_gym", "pandas"}.isdisjoint(done.stdout.split())
    assert "soar_lib.settings.student" in done.stdout


KNOWN = {
    "filter": {"train_fraction", "rows", "k"},
    "soar": {"threshold", "student.optimiser.learning_rate", "teacher.max_attempts"},
    "evaluate": {"synthetic_steps", "student.steps", "--runs"},
    "ladder": {"ttrl_steps", "variants.temperatures", "student.optimiser.kl"},
    "study": {"sweep_seeds", "soar.student.steps", "--seeds", "--arms", "--threads", "tau_x1.5"},
}


@pytest.mark.parametrize("command", ["filter", "soar", "evaluate", "study", "ladder", "demo"])
def test_help_names_every_option(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    options = {"--preset", "--out", "--resume", "--model"}
    if command != "demo":
        options |= {"--set", *KNOWN[command]}
    if command != "study":
        options |= {"--seed"}
    if command not in ("demo", "study"):
        options |= {"--problems"}
    if command in arguments.OPTIONS["log"]["of"]:
        options |= {"--log"}
    if command in arguments.OPTIONS["ray"]["of"]:
        options |= {"--ray", "--actors"}
    assert [option for option in options if option not in text] == []


def test_a_soar_run_says_its_cost_first_and_resumes(tiny_world, tmp_path, capsys):
    command = ["soar", "--preset", "smoke", "--out", str(tmp_path / "run"), "--model", str(tiny_world / "model")]
    command += ["--problems", str(tiny_world / "sums.jsonl"), "--seed", "3", "--set", "student.max_new_tokens=12"]
    assert cli.main(command) == 0
    cost, result, measured, *cut = capsys.readouterr().out.splitlines()
    assert cost.startswith("soar: about ") and "student completions" in cost and "; at most " in cost
    assert measured.startswith("soar: took ") and "tokens (at most " in measured
    assert all(" = 12 cut off " in line for line in cut) and cut
    assert result.startswith("2 rounds, ") and str(tmp_path / "run") in result
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (kept["seed"], kept["student"]["max_new_tokens"], kept["rounds"]) == (3, 12, 2)
    assert cli.main(command) == 2
    assert "add --resume" in capsys.readouterr().err
    before = snapshot(tmp_path)
    assert cli.main([*command, "--resume"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [result, measured, *cut] and snapshot(tmp_path) == before
    assert cli.main([*command, "--resume", "--seed", "4"]) == 2
    assert "seed: 3 -> 4" in capsys.readouterr().err


def test_the_demo_filters_teaches_evaluates_and_draws(tiny_world, tmp_path, capsys):
    out = tmp_path / "demo"
    command = ["demo", "--preset", "smoke", "--model", str(tiny_world / "model"), "--out", str(out)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    for part in ("filter: about", "soar: about", "evaluate: about", "hard_only", str(out / "figures")):
        assert part in printed
    assert {path.name for path in (out / "figures").glob("*.png")} == {
        "filtering_nano.png",
        "soar_rounds.png",
        "soar_nano.png",
    }
    assert (out / "evaluate" / "pass_at_k.csv").read_text().startswith("arm,")
    assert cli.main([*command, "--resume"]) == 0


def test_a_cluster_has_nothing_to_share_where_trl_trains():
    given = argparse.Namespace(ray="auto", actors=None, log=None)
    config = preset("smoke", EvaluateConfig, **{"student.trainer": "trl"})
    with pytest.raises(ConfigError, match="trains one student at a time"), cli._hooks(given, config, 3):
        pass
