"""A run folder holds whole rounds only, says what it is, and refuses what would spoil it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from soar_lib import files, runs
from soar_lib.settings.student import preset
from soar_lib.soar.settings import SoarConfig

SETTINGS = preset("smoke", SoarConfig)

# Commits rounds as fast as it can, so that a kill lands anywhere in the writing.
WRITER = """
import sys, torch
from soar_lib import files, runs
from soar_lib.settings.student import preset
from soar_lib.soar.settings import SoarConfig
run = runs.open_run(sys.argv[1], preset("smoke", SoarConfig), resume=True)
print("go", flush=True)
while True:
    n = run.round + 1
    rows = [{"round": n, "value": n * i} for i in range(3)]
    run.commit({"adapters": {"a": torch.full((500,), float(n))}}, {"n": n},
               metrics=rows, rounds=rows[:1], problems=rows)
"""


def commit(run: runs.Run) -> None:
    n = run.round + 1
    run.commit({"adapters": {"a": torch.full((3,), float(n))}}, {"n": n}, rounds=[{"round": n}])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_round_reads_back_as_it_was_written(tmp_path):
    run = runs.open_run(tmp_path / "run", SETTINGS)
    commit(run)
    commit(run)
    again = runs.open_run(tmp_path / "run", SETTINGS, resume=True)
    tensors, state = again.load()
    assert again.round == 2 and state == {"n": 2}
    assert torch.equal(tensors["adapters"]["a"], torch.full((3,), 2.0))
    assert files.read_jsonl(tmp_path / "run" / "rounds.jsonl") == [{"round": 1}, {"round": 2}]
    assert [path.name for path in (tmp_path / "run" / "checkpoint").iterdir()] == ["round_0002"]


def test_reopening_cuts_what_a_killed_round_left(tmp_path):
    folder = tmp_path / "run"
    run = runs.open_run(folder, SETTINGS)
    commit(run)
    before = contents(folder)
    files.append_jsonl(folder / "rounds.jsonl", [{"round": 2}])
    files.append_csv(folder / "metrics.csv", [{"round": 2}])
    shutil.copytree(folder / "checkpoint" / "round_0001", folder / "checkpoint" / "round_0002.tmp")
    assert runs.open_run(folder, SETTINGS, resume=True).round == 1
    assert {**contents(folder), "metrics.csv": b""} == {**before, "metrics.csv": b""}
    assert not (folder / "metrics.csv").read_text()


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.031, 0.047, 0.071])
def test_killed_at_any_instant_the_folder_holds_whole_rounds(tmp_path, delay):
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"go\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    run = runs.open_run(folder, SETTINGS, resume=True)
    rounds = files.read_jsonl(folder / "rounds.jsonl")
    assert [row["round"] for row in rounds] == list(range(1, run.round + 1))
    assert len(files.read_jsonl(folder / "problems.jsonl")) == 3 * run.round
    if run.round:
        tensors, state = run.load()
        assert state == {"n": run.round} and set(tensors["adapters"]["a"].tolist()) == {float(run.round)}


def test_an_existing_run_needs_resume(tmp_path):
    runs.open_run(tmp_path / "run", SETTINGS)
    before = contents(tmp_path)
    with pytest.raises(files.RunError, match="--resume"):
        runs.open_run(tmp_path / "run", SETTINGS)
    assert contents(tmp_path) == before


def test_resume_names_the_settings_that_differ(tmp_path):
    runs.open_run(tmp_path / "run", SETTINGS)
    other = preset("smoke", SoarConfig, seed=5, **{"student.optimiser.kl": 0.5})
    with pytest.raises(files.RunError, match=r"seed: 0 -> 5; student\.optimiser\.kl: 0\.0 -> 0\.5"):
        runs.open_run(tmp_path / "run", other, resume=True)


def test_a_run_older_than_a_setting_had_its_default(tmp_path):
    runs.open_run(tmp_path / "run", SETTINGS)
    began = files.read_json(tmp_path / "run" / "config.json")
    assert (began.pop("reward"), began["teacher"].pop("turns")) == ("grounded", 1)
    files.write_json(tmp_path / "run" / "config.json", began)
    assert runs.open_run(tmp_path / "run", SETTINGS, resume=True).round == 0
    other = preset("smoke", SoarConfig, promotion=False, reward="intrinsic")
    with pytest.raises(files.RunError, match="reward: 'grounded' -> 'intrinsic'"):
        runs.open_run(tmp_path / "run", other, resume=True)


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(files.RunError, match="not a run folder"):
            runs.open_run(tmp_path, SETTINGS, resume)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_a_path_under_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(files.RunError, match="cannot be written") as caught:
        runs.open_run(tmp_path / "file" / "run", SETTINGS)
    assert "\n" not in str(caught.value) and os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(files.RunError, match="no permission"):
        runs.open_run(tmp_path / "run", SETTINGS)


def test_an_empty_folder_will_do(tmp_path):
    assert runs.open_run(tmp_path, SETTINGS).round == 0
    assert (tmp_path / "config.json").is_file() and (tmp_path / "versions.json").is_file()


def test_a_csv_keeps_its_columns(tmp_path):
    files.append_csv(tmp_path / "m.csv", [{"a": 1, "b": 'two, "three"'}])
    files.append_csv(tmp_path / "m.csv", [{"b": 2, "a": 3}])
    assert (tmp_path / "m.csv").read_text() == 'a,b\n1,"two, ""three"""\n3,2\n'
    with pytest.raises(ValueError):
        files.append_csv(tmp_path / "m.csv", [{"c": 1}])
    files.append_csv(tmp_path / "m.csv", [{"a": 4, "b": 5, "sprayed": 0.5}])  # begun by a version without that column
    assert (tmp_path / "m.csv").read_text().endswith("3,2\n4,5\n")


def test_tables_hold_ten_digits_which_all_processors_share(tmp_path):
    table = pd.DataFrame({"x": [0.1 + 0.2, 1.0, 1e-30 / 3, float("nan")], "n": [1, 2, 3, 4]})
    files.write_tables(tmp_path, {"t": table})
    assert (tmp_path / "t.csv").read_text() == "x,n\n0.3,1\n1.0,2\n3.333333333e-31,3\n,4\n"
