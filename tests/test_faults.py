"""Every command that makes a run folder, killed and out of room at random instants, ends as if nothing had been.

The methods' own tests kill their runs in this process's libraries; here the commands are, at the size of smoke. The
slow run (`pytest -m slow`) meets each with SOAR_FAULTS faults of each kind (50) and writes figures/data/faults.csv.
"""

import os
import shlex
from pathlib import Path

import killer
import pandas as pd
import pytest

TABLE = Path(__file__).parents[1] / "figures" / "data" / "faults.csv"
FAULTS = int(os.environ.get("SOAR_FAULTS", 50))
KINDS = {"kill": "killed (SIGKILL)", "full": "full disk"}
FEW = "--set student.steps=1 --set student.max_new_tokens=32"
PARTS = "--set filter.k=4 --set transfer.k=4 --set soar.student.steps=1 --set soar.student.max_new_tokens=32"
COMMANDS = {  # seconds each
    "filter": "filter --set size=24 --set k=2 --set rows=8 --set max_new_tokens=32",
    "soar": f"soar --problems {{given}}/filter {FEW} --set teacher.max_new_tokens=64",
    "evaluate": f"evaluate --runs {{given}}/soar {FEW} --set synthetic_steps=1 --set samples=1 --set ks=[1]",
    "study": f"study --arms no_promotion --seeds 1 {PARTS}",
    "ladder": f"ladder --problems {{given}}/integrals {FEW} --set seeds=1 --set samples=1 --set most_samples=2",
    "svs": 'svs --set seeds=1 --set samples=2 --set hard_samples=2 --set ks=[1] --set arms=\'["base", "svs"]\'',
}
MADE = {  # what the others are given
    "filter": "filter --set k=4",
    "integrals": "filter --problems nano-integrals --set size=40 --set check=integral --set k=4",
    "soar": COMMANDS["soar"],
}


def play(line: str, folder: str) -> int:
    """Begin or go on with a command in a folder that is made; its exit status."""
    import torch

    from soar_lib.cli import commands
    from soar_lib.ladder import report, run  # noqa: F401  imported once, before this process forks
    from soar_lib.soar import evaluate  # noqa: F401
    from soar_lib.svs import report as svs_report  # noqa: F401

    torch.set_num_threads(1)
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    return commands.main([*shlex.split(line), "--preset", "smoke", "--out", "run", "--resume"])


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Runs that the commands are given."""
    place, here = tmp_path_factory.mktemp("given"), Path.cwd()
    for name, line in MADE.items():
        assert play(line.format(given=place), str(place / "made" / name)) == 0
        (place / "made" / name / "run").rename(place / name)
    os.chdir(here)
    return place


def count(command: str, fault: str, found: list) -> None:
    """Put what was tried and survived into the table."""
    tried, survived = sum(hits for _, hits, _ in found), sum(hits for _, hits, changed in found if not changed)
    row = {"command": command, "fault": KINDS[fault], "tried": tried, "survived": survived}
    old = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=list(row))
    old = old[(old["command"] != command) | (old["fault"] != KINDS[fault])]
    table = pd.concat([old, pd.DataFrame([row])]).sort_values(["command", "fault"])
    table.to_csv(TABLE, index=False, lineterminator="\n")


@pytest.mark.parametrize("command", ["filter", "evaluate"])  # which no other test kills
def test_a_killed_command_ends_like_one_left_alone(given, tmp_path, command):
    killer.assert_same_after_kills("test_faults:play", tmp_path, COMMANDS[command].format(given=given), goal=1)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_faults_of_every_kind_leave_no_trace(given, tmp_path, command):
    disk, line = tmp_path / "disk", COMMANDS[command].format(given=given)
    with killer.mounted(disk, "size=64m") as mounted:
        found = killer.faults("test_faults:play", tmp_path, line, goal=FAULTS, disk=disk if mounted else None)
    for fault, series in found.items():
        count(command, fault, series)
    assert [changed for series in found.values() for *_, changed in series if changed] == []


@pytest.mark.skipif(not TABLE.exists(), reason="the slow run has written no table yet")
def test_no_fault_of_the_committed_slow_run_was_lost():
    table = pd.read_csv(TABLE)
    assert {*table["command"]} <= COMMANDS.keys() and {*table["fault"]} <= {*KINDS.values()}
    assert (table["tried"] >= 1).all() and (table["survived"] == table["tried"]).all()
