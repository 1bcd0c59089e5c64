"""Every command that makes a run folder, killed or out of room at random instants, ends as if nothing had been.

The methods' own tests kill their runs; here the commands are killed, at the size of smoke. The slow run
(`pytest -m slow`) goes on until each has met SOAR_FAULTS (50) kills, and as many full disks where a small file system
can be mounted, and writes figures/data/faults.csv.
"""

import os
import shlex
import shutil
from collections import Counter
from itertools import product
from pathlib import Path

import killer
import pandas as pd
import pytest
import slow_tables
import torch
import transformers.models.llama.modeling_llama  # noqa: F401  like the methods' below: imported once, not in each child

import soar_lib.ladder.report
import soar_lib.ladder.run
import soar_lib.soar.evaluate
import soar_lib.svs.report  # noqa: F401
from soar_lib.cli import commands

TABLE = slow_tables.DATA / "faults.csv"
FAULTS = int(os.environ.get("SOAR_FAULTS", 50))
HOURS = float(os.environ.get("SOAR_HOURS", 2))  # after which the slow run of a command begins nothing new
FEW = "--set student.steps=1 --set student.max_new_tokens=32"
PARTS = "--set filter.k=2 --set filter.size=24 --set transfer.k=2 --set transfer.size=16 --set soar.student.steps=1"
COMMANDS = {  # seconds each; those of braces are given runs of these names
    "filter": "filter --set size=24 --set k=2 --set rows=8 --set max_new_tokens=32",
    "soar": f"soar --problems {{hard}} {FEW} --set teacher.max_new_tokens=64",
    "evaluate": f"evaluate --runs {{taught}} {FEW} --set synthetic_steps=1 --set samples=1 --set ks=[1]",
    "study": f"study --arms no_promotion --seeds 1 {PARTS} --set evaluate.samples=1 --set evaluate.ks=[1]",
    "ladder": f"ladder --problems {{integrals}} {FEW} --set seeds=1 --set samples=1 --set most_samples=2",
    "svs": 'svs --set seeds=1 --set samples=2 --set hard_samples=2 --set ks=[1] --set arms=\'["base", "svs"]\'',
}
GIVEN = {
    "hard": "filter --set k=4",
    "integrals": "filter --problems nano-integrals --set size=40 --set check=integral --set k=4",
    "taught": COMMANDS["soar"],
}


def play(line: str, folder: str) -> int:
    """Begin or go on with a command in a folder that is made; its exit status."""
    torch.set_num_threads(1)
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    return commands.main([*shlex.split(line), "--preset", "smoke", "--out", "run", "--resume"])


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A command's line, with the runs that it is given."""
    place = tmp_path_factory.mktemp("given")

    def filled(line: str) -> str:
        for name in GIVEN:
            if f"{{{name}}}" in line and not (place / name).exists():
                here = Path.cwd()
                assert play(filled(GIVEN[name]), str(place / name)) == 0
                os.chdir(here)
        return line.format(**{name: place / name / "run" for name in GIVEN})

    return lambda command: filled(COMMANDS[command])


@pytest.mark.parametrize("command", ["filter", "evaluate"])  # of the others the methods' tests kill the runs
def test_a_killed_command_ends_like_one_left_alone(line, tmp_path, command):
    killer.assert_same_after_kills("test_faults:play", tmp_path, line(command), goal=1)


@pytest.mark.parametrize("command", ["study", "ladder", "svs"])  # a study holds evaluations
def test_a_derived_table_that_is_gone_is_made_anew(line, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    filled = line(command)
    assert play(filled, tmp_path) == 0
    shutil.copytree("run", "whole")
    tables = [path for path in (tmp_path / "run").rglob("*.csv") if path.name != "metrics.csv"]
    assert len(tables) >= 4 and {"claims.csv"} <= {path.name for path in tables}
    for table in tables:
        table.unlink()
        assert play(filled, tmp_path) == 0
        assert killer.different(Path("whole"), Path("run")) == []


@pytest.mark.parametrize("command", ["evaluate", "ladder"])  # which read a finished run without loading the model
def test_each_file_of_a_finished_run_that_is_gone_or_cut_is_named_or_made_anew(
    line, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)
    filled = line(command)
    assert play(filled, tmp_path) == 0
    os.rename("run", "whole")
    found = [path for path in Path("whole").rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    ends = Counter()
    for path, cut in product(found, (False, True)):  # tensors of a finished run are no longer read
        shutil.copytree("whole", "run")
        damaged = "run" / path.relative_to("whole")
        content = damaged.read_bytes()
        damaged.write_bytes(content[: len(content) // 2]) if cut else damaged.unlink()
        capsys.readouterr()
        status, said = play(filled, tmp_path), capsys.readouterr().err.splitlines()
        assert status in (0, 2), path
        named = status == 2 and said[-1].startswith("soar_lib: run") and "Traceback" not in said[-1]
        assert named or killer.different(Path("whole"), Path("run")) == [], (path, cut, said)
        ends[status] += 1
        shutil.rmtree("run")
    assert ends[2] > 10 and ends[0] > 2


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_faults_of_every_kind_leave_no_trace(line, tmp_path, command):
    with killer.mounted(tmp_path / "disk", "size=64m") as mounted:
        disk = tmp_path / "disk" if mounted else None
        found = killer.faults("test_faults:play", tmp_path, line(command), goal=FAULTS, disk=disk, seconds=HOURS * 3600)
    for fault in sorted({fault for fault, *_ in found}):
        tried, survived = (
            sum(met for kind, met, changed in found if kind == fault and not (only and changed)) for only in (0, 1)
        )
        slow_tables.put(TABLE, {"command": command, "fault": fault}, {"tried": tried, "survived": survived})
    assert [changed for *_, changed in found if changed] == []


@pytest.mark.skipif(not TABLE.exists(), reason="the slow run has written no table yet")
def test_no_fault_of_the_committed_slow_run_was_lost():
    table = pd.read_csv(TABLE)
    assert {*zip(table["command"], table["fault"])} == {*product(COMMANDS, ("kill", "full disk"))}
    assert (table["tried"] >= 50).all() and (table["survived"] == table["tried"]).all()
