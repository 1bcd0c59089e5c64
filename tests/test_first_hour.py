"""A beginner's first hour: no mistake on a command line costs more than one line of answer, or anything else.

first_hour.toml has the command lines, first_hour.py makes the place they are typed in."""

import os
import re
import shlex
import signal
import time
import tomllib
from pathlib import Path

import first_hour
import killer
import pytest

from soar_lib.cli import commands

ROOT = Path(__file__).parents[1]
TABLE = tomllib.loads(Path(__file__).with_name("first_hour.toml").read_text(encoding="utf-8"))
EVERY = ("filter", "soar --problems hard", "evaluate --runs done", "study", "ladder --problems hard", "svs")
CASES = [
    (command, line.replace("*", first), message)
    for command, lines in TABLE.items()
    for line, message in lines.items()
    for first in (EVERY if line.startswith("*") else [""])
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The place, with a folder on a file system that cannot be written."""
    folder = first_hour.build(tmp_path_factory.mktemp("first_hour"))
    with killer.mounted(folder / "readonly", "ro,size=1m") as mounted:
        if not mounted:
            (folder / "readonly").chmod(0o500)
        yield folder


@pytest.fixture
def limited():
    """A case that hangs fails: it has a minute of processor time, ten in all. Where no handler is reached, as inside a
    regular expression, the process ends after two."""

    def late(*_):
        pytest.fail("it hangs")

    timers = {signal.ITIMER_PROF: 60, signal.ITIMER_REAL: 600, signal.ITIMER_VIRTUAL: 120}
    before = {kind: signal.signal(kind, late) for kind in (signal.SIGPROF, signal.SIGALRM)}
    for timer, seconds in timers.items():
        signal.setitimer(timer, seconds)
    yield
    for timer in timers:
        signal.setitimer(timer, 0)
    for kind, handler in before.items():
        signal.signal(kind, handler)


def contents(folder: Path) -> dict:
    """Every path, with its size and the time of its last change."""
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def answer(command: str, line: str, capsys) -> tuple[int, str]:
    """(status, what stands on standard error) of a command line, at the size of smoke where it names no preset."""
    words = shlex.split(line.replace("LONG", 300 * "x"))
    if words and "--preset" not in line:
        words[1:1] = ["--preset", "smoke"]
    try:
        status = commands.main(words)
    except SystemExit as ended:  # argparse
        status = ended.code
    return status, capsys.readouterr().err


# What may stand before it: argparse's usage, transformers' and the Hub's own news.
NEWS = re.compile(r"usage: |    +|Loading weights|.*Network is unreachable|Retrying|$")


def test_the_table_is_long_enough():
    assert len(CASES) >= 300


def test_the_page_of_troubles_quotes_what_is_said():
    """Each message that it explains at a command stands in the code, up to what the message fills in."""
    page = (ROOT / "notebooks" / "troubleshooting.md").read_text().split("## At a command")[1].split("\n## ")[0]
    quoted = [text for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for text in re.findall(r"`(.+?)`", row)]
    code = "".join(path.read_text() for path in (ROOT / "soar_lib").rglob("*.py"))
    of_others = {"FILE:3: ..."}
    parts = {text: re.split(r" \(|: field '|'", text)[-1 if ": field" in text else 0] for text in quoted}
    assert len(parts) > 20 and [text for text in {*parts} - of_others if parts[text].strip() not in code] == []


@pytest.mark.network
@pytest.mark.parametrize(("command", "line", "message"), CASES, ids=[line for _, line, _ in CASES])
def test_a_mistake_costs_one_line(place, limited, monkeypatch, capsys, command, line, message):
    if "readonly" in line and os.access(place / "readonly", os.W_OK):
        pytest.skip("nothing is read-only here: root, who may not mount")
    monkeypatch.chdir(place)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts to reach the Hub
    before = contents(place)
    status, said = answer(command, line, capsys)
    *others, last = said.splitlines()
    assert status == 2 and message in last and "Traceback" not in said
    assert [other for other in others if not NEWS.match(other)] == []
    assert contents(place) == before
