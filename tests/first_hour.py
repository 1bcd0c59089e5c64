"""The place in which a beginner's mistakes are made: folders and files of every wrong kind."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import tiny

from soar_lib import files, runs
from soar_lib.records import Problem
from soar_lib.settings.student import FilterConfig, preset
from soar_lib.soar.settings import SoarConfig

GOOD = {"question": "1 + 1 = ?", "answer": "2"}
ROWS = {
    "half": '{"question": "1 + 1 = ?", "ans',
    "noanswer": {"question": "1 + 1 = ?"},
    "noquestion": {"answer": "2"},
    "misspelt": {"questoin": "1 + 1 = ?", "answer": "2"},
    "nulls": {"question": None, "answer": None},
    "number": {"question": 7, "answer": "2"},
    "list": {"question": "1 + 1 = ?", "answer": ["2"]},
    "bool": {"question": "1 + 1 = ?", "answer": True},
    "nobox": {"question": "1 + 1 = ?", "solution": "It is 2."},
    "small": {"question": "3 + 4 = ?", "answer": "7"},
}


def build(place: Path) -> Path:
    """Fill the folder."""
    _runs(place)
    _texts(place)
    _models(place / "models")
    (place / "folder").mkdir()
    (place / "foreign").mkdir()
    (place / "foreign" / "mine.txt").write_text("mine\n")
    os.mkfifo(place / "pipe")
    return place


@files.holding
def _runs(place: Path) -> None:
    """A SOAR run that has begun, one said to be finished, a filter run, and one whose settings are damaged."""
    for name in ("used", "done"):
        runs.open_run(place / name, preset("smoke", SoarConfig))
    files.write_json(place / "done" / "result.json", {"accuracies": [0.0], "promoted_student": 0})
    for name in ("hard", "broken"):
        runs.open_run(place / name, preset("smoke", FilterConfig))
    problems = [Problem(f"p{i}", f"{i} + 1 = ?", str(i + 1)) for i in range(8)]
    files.write_problems(place / "hard", {"hard_train": problems[:4], "hard_test": problems[4:]})
    (place / "broken" / "config.json").write_text('{"k": 8')


def _texts(place: Path) -> None:
    (place / "file").write_text("a file\n")
    (place / "empty.jsonl").write_text("")
    (place / "blank.jsonl").write_text("\n \n\n")
    (place / "array.json").write_text(json.dumps([GOOD, GOOD]))
    (place / "pretty.json").write_text(json.dumps(GOOD, indent=2))
    (place / "table.csv").write_text("question,answer\n1 + 1 = ?,2\n")
    (place / "utf16.jsonl").write_text(json.dumps(GOOD), encoding="utf-16")
    (place / "latin1.jsonl").write_bytes('{"question": "Größe?", "answer": "2"}'.encode("latin-1"))
    with zipfile.ZipFile(place / "zip.jsonl", "w") as archive:
        archive.writestr("a.jsonl", json.dumps(GOOD))
    (place / "twice.jsonl").write_text(2 * (json.dumps(GOOD | {"id": "a"}) + "\n"))
    for name, row in ROWS.items():
        text = row if isinstance(row, str) else json.dumps(row)
        (place / f"{name}.jsonl").write_text(json.dumps(GOOD) + "\n" + text + "\n")


def _models(place: Path) -> None:
    """A model that works, and copies of which one thing is wrong."""
    good = Path(tiny.writer(place / "good"))
    content, weights = (good / "model.safetensors").read_bytes(), "model.safetensors"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    for name, whole in {"pointer": pointer, "cut": content[: len(content) // 2], "nonsense": b"{}"}.items():
        shutil.copytree(good, place / name)
        (place / name / weights).write_bytes(whole)
    for name in ("piped", "pickled", "no_weights", "no_tokenizer", "untemplated", "remote_code"):
        shutil.copytree(good, place / name)
    (place / "pickled" / weights).rename(place / "pickled" / "pytorch_model.bin")
    (place / "no_weights" / weights).unlink()
    for path in (place / "no_tokenizer").glob("*token*"):
        path.unlink()
    (place / "untemplated" / "chat_template.jinja").unlink()
    (place / "piped" / "config.json").unlink()
    os.mkfifo(place / "piped" / "config.json")
    config = json.loads((place / "remote_code" / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (place / "remote_code" / "config.json").write_text(json.dumps(config))
    (place / "remote_code" / "own.py").write_text("open('ran', 'w')\n")
