"""Damage done to run folders, two processes on one, the wrong one, and a full disk: each costs one line that names the
place, and no result."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import tiny

from soar_lib import files, runs
from soar_lib.cli import commands as cli
from soar_lib.ladder import explorer as ladder_explorer
from soar_lib.ladder.settings import LadderConfig
from soar_lib.problems import filtering
from soar_lib.records import Problem, Round, Score, SyntheticProblem
from soar_lib.settings.student import FilterConfig, preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar import claims, evaluate, explorer, report, study
from soar_lib.soar import run as soar_run
from soar_lib.soar.arms import Entry
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.svs import explorer as svs_explorer
from soar_lib.svs import report as svs_report
from soar_lib.svs import run as svs_run
from soar_lib.svs.settings import SvsConfig

ROOT = Path(__file__).parents[1]
BUSY = 600  # seconds for what must happen in the end: a busy machine is slow, not wrong
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logs": {"rounds.jsonl": "x"}}, "'logs' is missing or not of type dict"),
        ({"sums": [1]}, "'sums' is missing or not of type dict"),
        ({"tensors": 7}, "'tensors' is missing or not of type list"),
        ({"tensors": [7]}, "'tensors' is missing or not of type list"),
        ({"state": {}}, "'history' is missing or not as a run writes it"),
        ({"state": {"history": "x"}}, "'history' is missing or not as a run writes it"),
    ],
)
def test_a_checkpoint_of_other_types_is_refused_by_name(run, changes, message):
    files.write_json(run / STATE, files.read_json(run / STATE) | changes)
    with pytest.raises(files.RunError, match=f"round_0002(/state.json)?: {message}.*; put it back"):
        files.holding(runs.open_run)(run, SETTINGS, resume=True).load("teacher", history=list[float])


BEGUN = {"history": [0.0], "sources": ["runs/done"], "shared": None, "entropy": None}
RESTORED = {  # what each command asks of a checkpoint, and what goes on from it
    "soar": ("baselines", lambda this: soar_run.restore(tiny.base(), SETTINGS, this)),
    "evaluate": ("students", lambda this: evaluate._students(evaluation(this))),
    "svs": ("adapters", lambda this: svs_run.restored(tiny.base(), KINDS["svs"], this, {})),
}


def evaluation(this: runs.Run) -> evaluate.Evaluation:
    found = evaluate.Evaluation(KINDS["evaluate"], tiny.base(), [], [], this, None)
    found.__dict__["entries"] = [Entry("hard_only", 0, 0)]
    return found


@pytest.mark.parametrize("kind", RESTORED)
def test_a_checkpoint_without_what_a_command_needs_is_named(run, kind):
    lacking, go_on = RESTORED[kind]
    this = files.holding(runs.open_run)(run, SETTINGS, resume=True)
    files.write_json(run / STATE, files.read_json(run / STATE) | {"state": BEGUN})
    named = rf"round_0002: '({lacking}|optimi[sz]er)' is missing or not as a run writes it; put it back"
    with pytest.raises(files.RunError, match=named):
        go_on(this)


OF_A_GROUP = [("model", "nano"), ("template", ["enable_thinking=false"]), ("seed", 0)]


@pytest.mark.parametrize(("setting", "value"), OF_A_GROUP)
def test_a_group_in_the_place_of_a_setting_is_refused_by_name(run, setting, value):
    files.write_json(run / "config.json", files.read_json(run / "config.json") | {setting: {"x": 1}})
    said = f"{setting}: None -> {value!r}; {setting}.x: 1 -> None"
    with pytest.raises(files.RunError, match=re.escape(f"run: began with other settings ({said})")):
        files.holding(runs.open_run)(run, SETTINGS, resume=True)


@pytest.mark.parametrize("name", ["metrics.csv", "rounds.jsonl", STATE, "checkpoint/round_0002/teacher.safetensors"])
def test_a_pipe_in_a_run_folder_is_refused_by_name(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    for read in (lambda: files.read_table(run / "metrics.csv"), lambda: files.read_jsonl(run / "rounds.jsonl"),
                 lambda: files.holding(runs.open_run)(run, SETTINGS, resume=True).load()):  # fmt: skip
        with suppress(files.RunError):
            read()
    with pytest.raises(files.RunError, match=f"{name}: is no regular file; put it back"):
        files.holding(runs.open_run)(run, SETTINGS, resume=True).load()


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


def test_lines_without_a_checkpoint_are_a_loss_and_not_a_new_run(run):
    shutil.rmtree(run / "checkpoint")
    before = contents(run)
    with pytest.raises(files.RunError, match="checkpoint: is missing, though metrics.csv has lines"):
        files.holding(runs.open_run)(run, SETTINGS, resume=True)
    assert contents(run) == before


def test_a_round_killed_before_the_first_checkpoint_is_done_again(tmp_path, monkeypatch):
    made = files.write_checkpoint

    @files.holding
    def killed() -> None:
        this = runs.open_run(tmp_path / "new", SETTINGS)
        monkeypatch.setattr(
            files, "write_checkpoint", lambda folder, *_: made(folder, *_) if this.round == 0 else 1 / 0
        )
        this.commit({}, {}, metrics=[{"round": 1}])

    with pytest.raises(ZeroDivisionError):
        killed()
    assert (tmp_path / "new" / "metrics.csv").read_text() == "round\n1\n"
    assert files.holding(runs.open_run)(tmp_path / "new", SETTINGS, resume=True).round == 0
    assert (tmp_path / "new" / "metrics.csv").read_text() == ""


@pytest.mark.parametrize("name", ["metrics.csv", "problems.jsonl", "rounds.jsonl"])
def test_a_line_changed_in_place_is_refused_by_name(run, name):
    path = run / name
    path.write_text(path.read_text().replace("2", "3"))
    with pytest.raises(files.RunError, match=f"{name}: was changed since the last checkpoint"):
        files.holding(runs.open_run)(run, SETTINGS, resume=True)


def test_packed_logs_are_read_in_place_of_plain_ones_and_damage_is_named(run):
    rows, table = files.read_jsonl(run / "problems.jsonl"), files.read_table(run / "metrics.csv", "round")
    subprocess.run(["gzip", run / "problems.jsonl", run / "metrics.csv"], check=True)
    assert rows == files.read_jsonl(run / "problems.jsonl") != [] and not (run / "problems.jsonl").exists()
    assert table.equals(files.read_table(run / "metrics.csv", "round"))
    assert files.holding(runs.open_run)(run, SETTINGS, resume=True).round == 2
    content, cut = (packed := run / "problems.jsonl.gz").read_bytes(), (run / "metrics.csv.gz").read_bytes()[:-9]
    (run / "metrics.csv.gz").write_bytes(cut)
    with pytest.raises(files.RunError, match="metrics.csv: cannot be read .*; put it back"):
        files.read_table(run / "metrics.csv")
    for damage in (b"", content[:-9], b"no gzip", content[:20] + bytes(9) + content[29:]):
        packed.write_bytes(damage)
        with pytest.raises(files.RunError, match="problems.jsonl.gz: is not text in UTF-8, packed whole; put it back"):
            files.read_jsonl(run / "problems.jsonl")


def test_a_set_of_problems_that_is_gone_or_cut_is_named(run):
    with pytest.raises(files.RunError, match="hard_test.jsonl: is missing"):
        files.read_problems(run, "hard_test")
    files.write_problems(run, {"hard_test": [Problem(str(number), "q", "a") for number in range(3)]})
    files.holding(lambda: runs.open_run(run, SETTINGS, True).commit({}, {}))()
    files.write_problems(run, {"hard_test": [Problem("0", "q", "a")]})
    with pytest.raises(files.RunError, match="hard_test.jsonl: has .* so lines are lost"):
        runs.check_same(run, SETTINGS)


COST = {
    "measured": {"rollouts": 1, "cut": {"64": [3, 1]}},
    "predicted": {"rollouts": 1, "tokens": 9, "hours": None, "peak_bytes": 1},
}
FINISHED = {"steps": 3, "rollouts": [8, 8], "entropy": [0.5, 1]}


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (COST | {"measured": {"rollout": 1}}, "measured: field 'rollout' is unknown"),
        (COST | {"measured": {"cut": {"64": 3}}}, "measured: field 'cut' must be of type dict"),
        (COST | {"predicted": {"hours": "long"}}, "predicted: field 'hours' must be of type float"),
        ({"measured": {}}, " 'predicted' is missing or not of type dict"),
        ([COST], " holds no JSON object"),
    ],
)
def test_a_changed_cost_is_named(tmp_path, kept, message):
    from soar_lib import meter

    files.write_json(tmp_path / "cost.json", COST)
    assert "1 completions (1)" in meter.report(tmp_path)
    files.write_json(tmp_path / "cost.json", kept)
    with pytest.raises(files.RunError, match=f"cost.json: ?{message}"):
        meter.report(tmp_path)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"steps": 3, "rollouts": [8]}, "field 'entropy' is missing"),
        (FINISHED | {"rollouts": [8, "x"]}, "field 'rollouts' must be of type list"),
        (FINISHED | {"more": 1}, "field 'more' is unknown"),
    ],
)
def test_a_changed_result_of_svs_is_named(tmp_path, kept, message):
    files.write_json(tmp_path / "config.json", {"arms": ["svs"], "large_k": []})
    (tmp_path / "svs").mkdir()
    files.write_json(tmp_path / "svs" / "result.json", FINISHED)
    assert svs_report.entropies(tmp_path, "svs") == [0.5, 1]
    files.write_json(tmp_path / "svs" / "result.json", kept)
    with pytest.raises(files.RunError, match=f"result.json: {message}"):
        svs_report.entropies(tmp_path, "svs")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        (b"", "cannot be read"),
        (b"run\nx\n", "has no column 'seed'"),
        (b"run,seed\n1\n1,2,3\n", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, content, message):
    path = tmp_path / "sources.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(files.RunError, match=f"sources.csv: {message}.*; do this"):
        files.read_table(path, "run", "seed", advice="do this")


def test_a_table_of_which_the_header_alone_is_left_is_named(tmp_path):
    (tmp_path / "sources.csv").write_text("run,seed\n")
    with pytest.raises(files.RunError, match="sources.csv: has no rows; do this"):
        files.read_table(tmp_path / "sources.csv", "run", advice="do this", seed=int)


def test_settings_that_no_longer_are_any_are_named(run):
    files.write_json(run / "config.json", files.read_json(run / "config.json") | {"rounds": "many"})
    with pytest.raises(files.RunError, match="config.json: rounds = 'many': must be of type int"):
        files.read_config(run, SoarConfig)


REPORTS = [
    ("study", "evaluate.ks", lambda folder: claims.read_study(folder)),
    ("study", "arms", lambda folder: report.rounds(folder)),
    ("study/grounded/seed1", "seed", lambda folder: report.rounds(folder.parents[1])),
    ("study/grounded/evaluate", "synthetic_steps", lambda folder: report.curves(folder.parents[1])),
    ("study/grounded/evaluate", "label", lambda folder: report.swept(folder.parents[1])),
    ("svs", "ks", lambda folder: svs_report.read(folder)),
    ("svs", "arms", lambda folder: svs_report.curves(folder)),
    ("svs/svs", "group", lambda folder: svs_explorer.read(folder.parent)),
    ("ladder", "seeds", lambda folder: ladder_explorer.read(folder)),
    ("study/filter", "k", lambda folder: filtering.read_filtered(folder)),
]


@pytest.mark.parametrize(("where", "name", "read"), REPORTS, ids=[f"{where}:{name}" for where, name, _ in REPORTS])
def test_a_setting_that_a_report_does_not_find_is_named(tmp_path, where, name, read):
    """The committed runs, each with one setting of one folder missing, and of another type."""
    top = where.partition("/")[0]
    shutil.copytree(ROOT / "runs" / "reference" / top, tmp_path / top, copy_function=os.symlink)
    path = tmp_path / where / "config.json"
    whole, (*groups, last) = path.read_text(), name.split(".")
    read(path.parent)
    path.unlink()
    for damage in ({}, {last: {"x": 1}}, {last: ["x", 1]}):
        values = inner = json.loads(whole)
        for group in groups:
            inner = inner[group]
        del inner[last]
        files.write_json(path, values | damage if inner is values else values | {groups[0]: inner | damage})
        with pytest.raises(files.RunError, match=f"{re.escape(str(path))}: '{name}' is missing or not of type .*; put"):
            read(path.parent)


@pytest.mark.parametrize(("path", "read"), [("study/pass_at_k.csv", explorer.read), ("svs/svs.csv", svs_explorer.read)])
def test_a_derived_table_that_is_damaged_is_named(tmp_path, path, read):
    top = tmp_path / path.partition("/")[0]
    shutil.copytree(ROOT / "runs" / "reference" / top.name, top, copy_function=os.symlink)
    (tmp_path / path).unlink()
    for damage in ("", "arm,k\n"):
        (tmp_path / path).write_text(damage)
        with pytest.raises(files.RunError, match=f"{re.escape(path)}: .*; delete it"):
            read(top)


def test_a_finished_run_that_lost_lines_is_no_longer_read(run):
    files.write_json(run / "result.json", {"accuracies": [0.0], "promoted_student": 0})
    from soar_lib.soar.run import read_result

    assert len(read_result(run).rounds) == 2
    files.write_json(run / "result.json", {"accuracies": [0.0], "promoted_student": 1})
    with pytest.raises(files.RunError, match="result.json: has no student 1"):
        read_result(run)
    (run / "rounds.jsonl").unlink()
    for reading in (lambda: runs.check_same(run, SETTINGS), lambda: read_result(run)):
        with pytest.raises(files.RunError, match="rounds.jsonl: is missing"):
            reading()


# ------------------------------------------------------------------ two processes

HOLDER = """
import sys, time
from soar_lib import files, runs
from soar_lib.settings.student import preset
from soar_lib.soar.evaluate_settings import EvaluateConfig
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


@pytest.mark.parametrize("command", KINDS)
def test_no_command_goes_on_in_a_folder_that_another_process_holds(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    files.holding(runs.open_run)(tmp_path / "run", KINDS[command])
    holder = "import pathlib; from soar_lib import files; files.lock(pathlib.Path('run')); print(flush=True); input()"
    options = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    with subprocess.Popen([sys.executable, "-c", holder], **options) as other:
        try:
            assert other.stdout.readline() == b"\n"
            before = contents(tmp_path)
            done = ["--runs", "done"] if command == "evaluate" else []
            assert cli.main([command, "--preset", "smoke", "--out", "run", "--resume", *done]) == 2
        finally:
            other.kill()
    said = capsys.readouterr()
    assert re.match(f"soar_lib: run: process {other.pid} on .* is at work in it; wait for its end", said.err)
    assert said.err.count("\n") == 1 and said.out == "" and contents(tmp_path) == before


def test_a_file_system_without_locks_is_warned_of(run, monkeypatch):
    monkeypatch.setattr(files.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks")))
    with pytest.warns(UserWarning, match="run: no lock is to be had .No locks.; start no second process in it"):
        assert files.holding(runs.open_run)(run, SETTINGS, resume=True).round == 2


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


FULL = "run: cannot be written (No space left on device); make room, and the same command with --resume goes on"
SHORT = "; free some, and the same command with --resume goes on; or lower rows, in another folder"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (MemoryError(), f"out of memory (MemoryError){SHORT}"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), f"can't allocate memory: 9){SHORT}"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to"), f"memory. Tried to){SHORT}"),
    ],
)
def test_no_room_in_mid_run_is_one_line(tmp_path, monkeypatch, capsys, error, message):
    monkeypatch.chdir(tmp_path)
    append, calls = files.append_jsonl, []

    def second_fails(*given) -> None:
        calls.append(append(*given))
        if len(calls) == 2:
            raise error

    monkeypatch.setattr(files, "append_jsonl", second_fails)
    command = ["filter", "--preset", "smoke", "--out", "run"]
    command += [word for value in ("size=4", "k=2", "rows=4", "max_new_tokens=4") for word in ("--set", value)]
    assert cli.main(command) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("soar_lib: ") and said.endswith(message) and not Path("run", ".lock").exists()
    monkeypatch.setattr(files, "append_jsonl", append)
    assert cli.main([*command, "--resume"]) == 0


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    for error in (RuntimeError("a bug"), IndexError("a bug")):
        monkeypatch.setitem(cli.COMMANDS, "soar", lambda arguments: (_ for _ in ()).throw(error))
        with pytest.raises(type(error), match="a bug"):
            cli.main(["soar"])


SIGNALS = [("filter --set k=4000", signal.SIGTERM, 143, "term"), ("filter --set k=4000", signal.SIGINT, 130, "inter")]
SIGNALS += [("svs --set steps=4000", signal.SIGTERM, 143, "term")]


@pytest.mark.parametrize(("line", "number", "status", "word"), SIGNALS)
def test_a_signal_ends_a_command_with_a_message_and_lets_the_folder_go(tmp_path, line, number, status, word):
    command = [sys.executable, "-m", "soar_lib", *line.split(), "--preset", "smoke", "--out", "run"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    options = dict(cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in a shell's background would ignore it
    with subprocess.Popen(command, preexec_fn=heard, **options) as run:
        try:
            latest = time.monotonic() + BUSY
            while not (tmp_path / "run" / ".lock").exists():  # from then on it is at work in its folder
                assert run.poll() is None and time.monotonic() < latest
                time.sleep(0.1)
            run.send_signal(number)
            said = run.communicate(timeout=BUSY)[1].decode()
        finally:
            run.kill()
    assert run.returncode == status and f"soar_lib: {word}" in said and "Traceback" not in said
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_tilde_is_the_users_folder(monkeypatch, tmp_path):
    from soar_lib.cli.arguments import parser

    monkeypatch.setenv("HOME", str(tmp_path))
    given = parser().parse_args(["filter", "--out", "~/x", "--problems=~/y"])
    assert (given.out, given.problems) == (tmp_path / "x", str(tmp_path / "y"))
    assert parser().parse_args(["filter", "--problems=./y"]).problems == "./y"


# ------------------------------------------------------------------ absurd settings

ABSURD = [
    "temperature=Infinity", "temperature=1e308", "temperature=NaN", "k=1000000000000000000000",
    "max_new_tokens=1000000000", "size=999999", "rows=1000000000000", "train_fraction=NaN", f"seed=1{'0' * 30}",
]  # fmt: skip
OF_SOAR = [
    "student.group=100000000", "teacher.optimiser.learning_rate=Infinity", "student.optimiser.betas=[0.9, NaN]",
    "threshold=Infinity", "rounds=1000000000000", "student.rank=100000000",
]  # fmt: skip


@pytest.mark.parametrize("setting", ABSURD + OF_SOAR)
def test_an_absurd_setting_is_refused_by_name_and_leaves_nothing(tmp_path, monkeypatch, capsys, setting):
    monkeypatch.chdir(tmp_path)
    command = "soar" if setting in OF_SOAR else "filter"
    assert cli.main([command, "--preset", "smoke", "--out", "run", "--set", setting]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"soar_lib: {setting.partition('=')[0]} = ") and output.err.count("\n") == 1
    assert "must be" in output.err and output.out == "" and os.listdir() == []


LONG = {"student.max_new_tokens": 10**5}
MANY = [
    (SoarConfig, LONG | {"student.group": 10**5}, "batch, group"),
    (SoarConfig, LONG | {"reward_samples": 10**6}, "reward_samples"),
    (SoarConfig, LONG | {"intrinsic_samples": 10**6, "reward": "intrinsic", "promotion": False}, "intrinsic_samples"),
    (FilterConfig, {"k": 10**5, "size": 10**5, "max_new_tokens": 10**5, "rows": 10**9}, "rows"),
    (EvaluateConfig, LONG | {"samples": 10**5}, "samples"),
    (LadderConfig, LONG | {"samples": 10**5}, "samples, most_samples"),
    (SvsConfig, {"samples": 10**7, "max_new_tokens": 10**5}, "samples"),
    (SvsConfig, {"hard_samples": 10**7, "max_new_tokens": 10**5}, "hard_samples"),
]


@pytest.mark.parametrize(("kind", "changes", "named"), MANY)
def test_random_numbers_that_alone_do_not_fit_are_refused(kind, changes, named):
    from soar_lib.settings.memory import check_memory

    advice = re.escape(f"lower the completions drawn at a time ({named}) or max_new_tokens")
    with pytest.raises(ConfigError, match=f"nano does not fit: .*{advice}"):
        check_memory(preset("smoke", kind, **changes), 100)


def test_a_filter_run_draws_at_a_time_no_more_than_its_problems_want():
    from soar_lib.settings.memory import check_memory

    check_memory(preset("smoke", FilterConfig, rows=10**9, max_new_tokens=1000), 100)


def test_a_folder_that_could_not_be_made_leaves_no_half_of_one(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        runs.open_run(tmp_path / "run", replace(Settings(), value=float("inf")))
    assert os.listdir(tmp_path) == []


@dataclass(frozen=True)
class Settings:
    value: float = 1.0
