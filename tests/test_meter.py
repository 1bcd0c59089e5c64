"""What a run has cost: counted as it is drawn, added up over sessions, kept apart from what resumes bit for bit."""

import pytest
import tiny
import torch

from soar_lib import files, meter, runs
from soar_lib.engine.sampling import sample
from soar_lib.records import Draw
from soar_lib.settings import memory
from soar_lib.settings.student import preset
from soar_lib.soar.settings import SoarConfig

CONFIG = preset("smoke", SoarConfig)
PREDICTED = {"rollouts": 30, "tokens": 900, "hours": None, "peak_bytes": 5_000_000}


def draw(base, rows: int) -> int:
    numbers = torch.rand(rows, 9, generator=torch.Generator().manual_seed(rows))
    return int(sample(base, None, [[2, 20, 3]], [0], rows, numbers, Draw(9)).mask.sum())


def test_sessions_add_up_and_what_was_predicted_first_stays(tmp_path):
    base, folder = tiny.base(), tmp_path / "run"
    runs.open_run(folder, CONFIG)
    with meter.metered(folder, PREDICTED) as first:
        tokens = draw(base, 5) + draw(base, 2)
    assert (first.rollouts, first.tokens, first.sessions) == (7, tokens, 1) and first.seconds > 0
    draw(base, 3)  # outside, so counted nowhere
    with pytest.raises(KeyboardInterrupt), meter.metered(folder, PREDICTED | {"rollouts": 1}):
        tokens += draw(base, 4)
        raise KeyboardInterrupt
    kept = files.read_json(folder / "cost.json")
    assert kept["predicted"] == PREDICTED
    measured = meter.Meter(**kept["measured"])
    assert (measured.rollouts, measured.tokens, measured.sessions) == (11, tokens, 2)
    assert measured.seconds >= first.seconds and measured.peak_bytes >= first.peak_bytes


def test_a_session_that_is_killed_leaves_what_it_had_drawn(tmp_path, monkeypatch):
    base, folder, seen = tiny.base(), tmp_path / "run", []
    runs.open_run(folder, CONFIG)
    with meter.metered(folder, PREDICTED):
        draw(base, 2)
    for every in (0.0, 60.0):
        monkeypatch.setattr(meter, "EVERY", every)
        with meter.metered(folder, PREDICTED):
            draw(base, 4)
            seen.append(files.read_json(folder / "cost.json")["measured"]["rollouts"])
    assert seen == [6, 6]  # a minute has not passed in the last session
    assert files.read_json(folder / "cost.json")["measured"]["rollouts"] == 10


def test_a_session_that_drew_nothing_or_has_no_folder_leaves_nothing(tmp_path):
    folder = tmp_path / "run"
    runs.open_run(folder, CONFIG)
    with meter.metered(folder, PREDICTED):
        pass
    with meter.metered(tmp_path / "none", PREDICTED):
        draw(tiny.base(), 2)
    assert not (folder / "cost.json").exists() and not (tmp_path / "none").exists()
    assert meter.report(folder) == ""


def test_the_report_sets_the_measured_beside_the_predicted(tmp_path):
    measured = meter.Meter(rollouts=25, tokens=500, seconds=7200.0, sessions=1, peak_bytes=4_000_000)
    files.write_json(tmp_path / "cost.json", {"predicted": PREDICTED, "measured": vars(measured)})
    assert meter.report(tmp_path) == (
        "took 2.0 hours, 25 completions (30), 500 tokens (at most 900), 4 MB of memory (tensors at most 5 MB); "
        "in brackets what was predicted"
    )


def test_the_report_names_the_setting_whose_limit_cuts_completions_off(tmp_path):
    runs.open_run(tmp_path, CONFIG)  # the student's limit is 64, the teacher's 128
    measured = meter.Meter(rollouts=40, tokens=900, sessions=1, cut={"64": [30, 12], "128": [10, 1], "9": [5, 0]})
    files.write_json(tmp_path / "cost.json", {"predicted": PREDICTED, "measured": vars(measured)})
    first, *lines = meter.report(tmp_path).splitlines()
    assert first.startswith("took") and lines == [
        "student.max_new_tokens = 64 cut off 40% of 30 completions; what is cut off before its box earns nothing: "
        "raise it",
        "teacher.max_new_tokens = 128 cut off 10% of 10 completions",
    ]


def test_the_prediction_counts_every_soar_run_of_an_evaluation():
    once, thrice = (meter.predicted((preset("nano", SoarConfig), 0, count)) for count in (1, 3))
    assert thrice["rollouts"] == 3 * once["rollouts"] and thrice["tokens"] == 3 * once["tokens"]
    assert once["hours"] > 0 and once["peak_bytes"] == memory.predict(preset("nano", SoarConfig)).total
