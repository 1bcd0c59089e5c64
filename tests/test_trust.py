"""Damage done to run folders, two processes on one, the wrong one, and a full disk: each costs one line that names the
place, and no result."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from soar_lib import files, runs
from soar_lib.cli import commands as cli
from soar_lib.ladder.settings import LadderConfig
from soar_lib.records import Problem, Round, Score, SyntheticProblem
from soar_lib.settings.student import FilterConfig, preset
from soar_lib.soar import study
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.svs.settings import SvsConfig

ROOT = Path(__file__).parents[1]
SETTINGS = preset("smoke", SoarConfig)
KINDS = {
    kind: preset("smoke", of)
    for kind, of in {"filter": FilterConfig, "soar": SoarConfig, "evaluate": EvaluateConfig, "svs": SvsConfig}.items()
} | {"ladder": preset("smoke", LadderConfig), "study": study.preset("smoke")}


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of two rounds, let go."""
    import torch

    @files.holding
    def write() -> None:
        this = runs.open_run(tmp_path / "run", SETTINGS)
        for number in (1, 2):
            round = asdict(Round(number, ((0.5,), (0.0,)), 0.1, 0.25, 0.25, False))
            rows = [asdict(SyntheticProblem(f"{number}", "1 + 1", "2", "text", number, 0, 0.5))]
            tensors = {"teacher": {"a": torch.full((3,), float(number))}}
            this.commit(tensors, {"history": []}, rounds=[round], problems=rows, metrics=[{"round": number}])

    write()
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


DAMAGE = {"deleted": None, "empty": b"", "cut": 0.5, "no JSON": b"\xff\xfe\x00 {", "a list": b"[1, 2]\n"}
STATE = "checkpoint/round_0002/state.json"
RECORDS = (
    "problems.jsonl", "rounds.jsonl", "metrics.csv", "config.json", STATE, "checkpoint/round_0002/teacher.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_is_refused_by_name_and_nothing_is_touched(run, name, damage):
    path, content = run / name, DAMAGE[damage]
    whole = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else content)
    before = contents(run)

    @files.holding
    def resume() -> None:
        runs.open_run(run, SETTINGS, resume=True).load()

    with pytest.raises(files.RunError) as caught:
        resume()
    named = str(run) if name == "config.json" and content is None else str(path)
    assert str(caught.value).startswith(named) and "\n" not in str(caught.value)
    assert contents(run) == before


@pytest.mark.parametrize("kind", [Problem, Score, Round, SyntheticProblem])
@pytest.mark.parametrize(
    ("change", "message"),
    [({"surprise": 1}, "field 'surprise' is unknown"), ("first", "is missing"), ("other", "must be of type")],
)
def test_a_row_that_is_no_record_is_named_with_its_line(tmp_path, kind, change, message):
    rows = {
        Problem: asdict(Problem("1", "q", "a")), Score: asdict(Score("a", "r", 0, "p", 4, 1, 8)),
        Round: asdict(Round(1, ((0.5,),), 0.1, 0.5, 0.5, True, (0, 0))),
        SyntheticProblem: asdict(SyntheticProblem("1", "q", "a", "t")),
    }  # fmt: skip
    good, path = rows[kind], tmp_path / "records.jsonl"
    files.append_jsonl(path, [good])
    assert [asdict(record) for record in files.read_records(path, kind)] == [good]
    first = next(iter(good))
    bad = {k: v for k, v in good.items() if k != first} if change == "first" else good | {first: [{}]}
    files.append_jsonl(path, [good | change if isinstance(change, dict) else bad])
    with pytest.raises(files.RunError, match=f"records.jsonl:2: .*{message}"):
        files.read_records(path, kind)


def test_a_finished_run_that_lost_lines_is_no_longer_read(run):
    files.write_json(run / "result.json", {"accuracies": [0.0], "promoted_student": 0})
    (run / "rounds.jsonl").unlink()
    with pytest.raises(files.RunError, match="rounds.jsonl: is missing"):
        runs.check_same(run, SETTINGS)


# ------------------------------------------------------------------ two processes

HOLDER = """
import sys, time
from soar_lib import files, runs
from soar_lib.settings.student import preset
from soar_lib.soar.settings import SoarConfig
runs.open_run(sys.argv[1], preset("smoke", SoarConfig), resume=True)
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(run):
    command = [sys.executable, "-c", HOLDER, str(run)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as holder:
        try:
            assert holder.stdout.readline() == b"held\n"
            for refused in (runs.check_folder, lambda *_: runs.open_run(run, SETTINGS, resume=True)):
                with pytest.raises(files.RunError, match=f"process {holder.pid} on .* is at work in it"):
                    refused(run, True)
        finally:
            holder.send_signal(signal.SIGKILL)
    before = contents(run)
    files.holding(runs.open_run)(run, SETTINGS, resume=True)
    assert contents(run).keys() == before.keys() - {".lock"}


# ------------------------------------------------------------------ the wrong folder


@pytest.mark.parametrize("command", ["filter", "soar", "evaluate --runs done", "ladder", "svs", "study"])
@pytest.mark.parametrize("there", KINDS)
def test_another_commands_folder_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys, command, there):
    asked = command.split()[0]
    monkeypatch.chdir(tmp_path)
    files.holding(runs.open_run)(tmp_path / "run", KINDS[there])
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "result.json").write_text("{}")
    other = ["--set", "rows=7"] if asked != "study" else ["--seeds", "1"]
    if asked == "svs":
        other = ["--seed", "7"]
    before = contents(tmp_path)
    assert cli.main([*command.split(), "--preset", "smoke", "--out", "run", "--resume", *other]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1 and contents(tmp_path) == before
    wanted = " -> " if asked == there else f"holds a run of {there}, not of {asked}"
    assert wanted in output.err


# ------------------------------------------------------------------ a full disk, a termination


@pytest.fixture
def full(tmp_path):
    """A file system of one megabyte, with little room left."""
    place = tmp_path / "full"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(folder: Path) -> None:
    """Leave no room in a file system."""
    with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room(full, run):
    shutil.copytree(run, full / "run")
    before = contents(full / "run")
    fill(full)
    rows = [{"id": "3", "text": "x" * 10_000}]
    append = files.holding(lambda: runs.open_run(full / "run", SETTINGS, True).commit({}, {}, problems=rows))
    with pytest.raises((OSError, files.RunError), match="[Nn]o space left"):
        append()
    assert {name: text for name, text in contents(full / "run").items() if name in before} == before
    assert not list(full.rglob("*.tmp"))
    (full / "filler").unlink()
    append()
    assert len(files.read_jsonl(full / "run" / "problems.jsonl")) == 3


def test_a_full_disk_is_said_with_the_folder_and_what_to_do(full):
    fill(full)
    with pytest.raises(files.RunError, match="run: cannot be written .No space left on device.; make room"):
        runs.open_run(full / "run", SETTINGS)
    assert os.listdir(full) == ["filler"]


@pytest.mark.parametrize(("number", "status", "word"), [(signal.SIGTERM, 143, "term"), (signal.SIGINT, 130, "inter")])
def test_a_signal_ends_a_command_with_a_message_and_lets_the_folder_go(tmp_path, number, status, word):
    command = [sys.executable, "-m", "soar_lib", "filter", "--preset", "smoke", "--out", "run", "--set", "k=4000"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as run:
        run.stdout.readline()  # its cost: it has begun
        run.send_signal(number)
        said = run.communicate(timeout=120)[1].decode()
    assert run.returncode == status and f"soar_lib: {word}" in said and "Traceback" not in said
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_tilde_is_the_users_folder(monkeypatch, tmp_path):
    from soar_lib.cli.arguments import parser

    monkeypatch.setenv("HOME", str(tmp_path))
    assert parser().parse_args(["filter", "--out", "~/x"]).out == tmp_path / "x"
