"""A run that meets faults at random instants, for the tests of every method and command that resumes: killed, or out of
room on its disk. It must go on afterwards and end as one left alone.

A test module gives `play(*arguments, folder)`, which begins a run or goes on with it and ends it; what it returns as a
number is its exit status.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEASURED = {"cost.json", ".lock"}  # of each session its own
# One process imports everything, then forks a child for each attempt. Faults come in series, each on a folder of its
# own that is then played to its end.
SCRIPT = """
import importlib, os, pathlib, random, signal, sys, time
where, whole, goal, most, seed, faults, *arguments = sys.argv[1:]
module, _, function = where.partition(":")
play, draw, goal = getattr(importlib.import_module(module), function), random.Random(int(seed)), int(goal)
faults = dict(fault.split("=") for fault in faults.split(","))

def start(folder):
    pid = os.fork()
    if pid == 0:
        status = play(*arguments, folder)
        os._exit(status if isinstance(status, int) else 0)
    return pid

def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def size(folder):
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())

def kill(folder, _):
    pid = start(folder)
    time.sleep(draw.uniform(0, float(most)) * seconds)
    os.kill(pid, signal.SIGKILL)
    return wait(pid)

def full(folder, place):
    filler = pathlib.Path(place, "filler")
    room = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    filler.write_bytes(bytes(room - int(draw.random() * max(size(whole) - size(folder), 8192))))
    try:
        return wait(start(folder))
    finally:
        filler.unlink()

began = time.monotonic()
assert wait(start(whole)) == 0
seconds = time.monotonic() - began
for fault, place in faults.items():
    (strike, struck), hits = {"kill": (kill, -signal.SIGKILL), "full": (full, 2)}[fault], []
    while sum(hits) < goal:
        folder, codes = f"{place}/{fault}{len(hits)}", []
        while len(codes) < min(6, goal - sum(hits)) and 0 not in codes:
            codes.append(strike(folder, place))
            assert codes[-1] in (struck, 0), (fault, codes)
        assert wait(start(folder)) == 0
        hits.append(len(codes) - codes.count(0))
    print(fault, *hits)
"""


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder that another run like it has too."""
    found = (path for path in Path(folder).rglob("*") if path.is_file() and path.name not in MEASURED)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def faults(play: str, folder: Path, *arguments: str, goal: int = 3, disk: Path | None = None) -> dict[str, list]:
    """Play once undisturbed in folder/whole, then in series with at least `goal` faults of each kind: "kill", and where
    a small file system is mounted at `disk` "full". For each series: (its folder, its number of faults, the files that
    differ in the end)."""
    here, whole, seed = Path(__file__).parent, folder / "whole", random.randrange(10**6)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    kinds = {"kill": folder} | ({"full": disk} if disk else {})
    words = [play, str(whole), str(goal), "0.6", str(seed), ",".join(f"{k}={v}" for k, v in kinds.items()), *arguments]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr, f"seed {seed}: {done.stderr[-5000:]}"
    lines = [line.split() for line in done.stdout.splitlines()[-len(kinds) :]]
    return {
        kind: [_series(whole, kinds[kind] / f"{kind}{i}", int(n)) for i, n in enumerate(hits)] for kind, *hits in lines
    }


def _series(whole: Path, folder: Path, count: int) -> tuple[Path, int, list[str]]:
    left, right = files(whole), files(folder)
    return folder, count, sorted(name for name in left | right if left.get(name) != right.get(name))


def assert_same_after_kills(play: str, folder: Path, *arguments: str, goal: int = 3) -> Path:
    """Kills at some instants change nothing in the end. Returns a run that was killed."""
    found = faults(play, folder, *arguments, goal=goal)["kill"]
    assert [changed for *_, changed in found if changed] == []
    return found[0][0]


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
