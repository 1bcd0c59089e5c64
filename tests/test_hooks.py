"""Loggers: told what counts and when, curves that go on after a resume, clear errors; real ones where installed."""

import importlib.util
import time

import pytest
import torch

from soar_lib import hooks, runs
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar.settings import SoarConfig

CONFIG = preset("smoke", SoarConfig)


def rows(number: int, students: int = 2) -> list[dict]:
    """The metrics of a round: two steps of each student, then the teacher's."""
    learned = [
        {
            "round": number,
            "policy": "student",
            "dataset": k,
            "repeat": 0,
            "step": step,
            "reward": float(10 * number + k),
        }
        for step in range(2)
        for k in range(students)
    ]
    return [*learned, {"round": number, "policy": "teacher", "step": number - 1, "reward": number / 100}]


def play(folder, numbers, log, resume=False) -> runs.Run:
    run = runs.open_run(folder, CONFIG, resume)
    run.log = log
    for number in numbers:
        run.commit({"adapters": {"a": torch.zeros(1)}}, {}, metrics=rows(number))
    return run


def test_a_run_tells_its_log_what_counts_and_when_it_counts(tmp_path):
    told = []

    def log(new):
        assert runs.latest_checkpoint(tmp_path / "run").name == f"round_{new[0]['round']:04d}"
        told.extend(new)

    play(tmp_path / "run", [1, 2], log)
    assert told == [*rows(1), *rows(2)]
    run = runs.open_run(tmp_path / "run", CONFIG, resume=True)
    run.log = log
    run.commit({}, {}, rounds=[{"round": 3}])
    assert len(told) == len(rows(1)) * 2


def test_a_row_is_split_into_whom_it_is_about_and_what_it_says():
    evaluation = {"phase": "hard", "step": 3, "arm": "pq", "source": 0, "student": 2, "reward": 1.5, "signal": 0.25}
    assert hooks.curve_name(evaluation) == "hard/pq/0/2"
    assert hooks.values(evaluation) == {"step": 3.0, "reward": 1.5, "signal": 0.25}
    assert hooks.curve_name({"step": 1, "reward": 2.0}) == "run"
    teacher = rows(1)[-1] | {"dataset": "", "repeat": None}  # as metrics.csv has them
    assert hooks.curve_name(teacher) == "teacher"


def test_places_on_the_curves_go_on_where_metrics_csv_stops(tmp_path):
    play(tmp_path / "run", [1], None)
    path = tmp_path / "run" / "metrics.csv"
    assert hooks._earlier(path, count=0) == {"student/0/0": 2, "student/1/0": 2, "teacher": 1}
    assert hooks._earlier(path, count=len(rows(1))) == {}
    play(tmp_path / "run", [2], None, resume=True)
    assert hooks._earlier(path, count=len(rows(2))) == {"student/0/0": 2, "student/1/0": 2, "teacher": 1}


def test_mistakes_are_told_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--log paper: must be one of tensorboard, wandb, trackio"):
        hooks.check_logger("paper")
    monkeypatch.setitem(hooks.LOGGERS, "wandb", "a_package_that_is_not_there")
    with (
        pytest.raises(ConfigError, match="--log wandb: needs the package .*; pip install a_package_that_is_not_there"),
        hooks.opened("wandb", tmp_path / "run", {}),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_without_a_name_there_is_no_logger_and_without_rows_nothing_is_opened(tmp_path):
    with hooks.opened(None, tmp_path, {}) as log:
        assert log is None
    if importlib.util.find_spec("tensorboard"):
        with hooks.opened("tensorboard", tmp_path, {}):
            pass
    assert not list(tmp_path.iterdir())


def test_tensorboard_shows_the_curves_of_a_run_and_of_its_resumption(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"
    with hooks.opened("tensorboard", folder, {}) as log:
        play(folder, [1, 2], log)
    play(folder, [3], None, resume=True)  # a session without the logger leaves a gap
    with hooks.opened("tensorboard", folder, {}) as log:
        play(folder, [4], log, resume=True)
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"student/0/0/reward", "student/1/0/reward", "teacher/reward"}
    teacher = [(event.step, round(event.value, 6)) for event in events.Scalars("teacher/reward")]
    assert sorted(teacher) == [(0, 0.01), (1, 0.02), (3, 0.04)]
    student = sorted((event.step, event.value) for event in events.Scalars("student/1/0/reward"))
    assert student == [(0, 11.0), (1, 11.0), (2, 21.0), (3, 21.0), (6, 41.0), (7, 41.0)]


def wait_for(folder, text: bytes) -> bool:
    """Whether some file outside the run folder comes to hold the text; wandb writes on in a process of its own."""
    for _ in range(60):
        files = [path for path in folder.rglob("*") if path.is_file() and folder / "run" not in path.parents]
        if any(text in path.read_bytes() for path in files):
            return True
        time.sleep(0.5)
    return False


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_takes_the_rows_of_a_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "TRACKIO_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)  # Trackio reads its own when it is imported
    pytest.importorskip(name, reason=f"needs the package {name}: pip install {name}")
    with hooks.opened(name, tmp_path / "run", {"seed": 3}) as log:
        play(tmp_path / "run", [1, 2], log)
    with hooks.opened(name, tmp_path / "run", {"seed": 3}) as log:
        play(tmp_path / "run", [3], log, resume=True)
    assert wait_for(tmp_path, b"student/1/0/reward")
