"""A run killed at random instants, for the tests of every method that resumes.

A test module gives `play(*arguments, folder)`, which begins a run or goes on with it and ends it.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# One process imports everything, then forks a child for each attempt and kills it after a while.
SCRIPT = """
import importlib, os, signal, sys, time
module, whole, killed, shares, *arguments = sys.argv[1:]
play = importlib.import_module(module).play

def start(folder):
    pid = os.fork()
    if pid == 0:
        play(*arguments, folder)
        os._exit(0)
    return pid

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

began = time.monotonic()
assert wait(start(whole)) == 0
seconds, kills = time.monotonic() - began, 0
for share in map(float, shares.split(",")):
    pid = start(killed)
    time.sleep(share * seconds)
    os.kill(pid, signal.SIGKILL)
    kills += wait(pid) == -signal.SIGKILL
assert wait(start(killed)) == 0
print(kills)
"""


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def assert_same_after_kills(module: str, folder: Path, *arguments: str, attempts: int = 5) -> Path:
    """Play once undisturbed, once with kills; both folders must end alike. Returns the killed one."""
    here, whole, killed = Path(__file__).parent, folder / "whole", folder / "killed"
    shares = ",".join(str(random.uniform(0.0, 0.6)) for _ in range(attempts))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    command = [sys.executable, "-c", SCRIPT, module, str(whole), str(killed), shares, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1, f"no kill hit a running run: {shares}"
    left, right = files(whole), files(killed)
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == [], shares
    return killed


@contextmanager
def mounted(place: Path, options: str) -> Iterator[bool]:
    """A file system in memory at a folder that is made, as long as it lasts; false where none can be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    good = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield good
    finally:
        if good:
            subprocess.run(["umount", "-l", str(place)], check=True)
