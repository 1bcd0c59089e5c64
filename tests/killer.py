"""Runs that meet faults at random instants, killed or out of room on their disk; each must go on afterwards and end as
one left alone.

A test names a function, MODULE:NAME, of some words and a folder, which begins a run there or goes on with it and ends
it; a number that it returns is its exit status. It is played in children of one process with one thread (`main` here),
which has imported everything.
"""

import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

COST = "cost.json"  # of each session its own
LONGEST = 1800  # seconds of one play, even on a busy machine; what takes longer hangs, and its alarm ends it
TOGETHER = 10  # faults that a folder meets before its run is played to its end
Play = Callable[[Path], object]


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def faults(play: str, folder: Path, *words: str, goal: int = 3, disk: Path | None = None, seconds: float = 300) -> list:
    """Play once undisturbed in folder/whole, then until `goal` kills have hit, and with a small file system at `disk`
    until as many plays have run out of room there; nothing new begins after `seconds`. For each folder played in: its
    fault, how many it met, the files that differ in the end."""
    seed, here = str(random.randrange(10**6)), Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    command = [sys.executable, __file__, play, str(folder), str(disk or ""), str(goal), str(seconds), seed, *words]
    longest = seconds + (TOGETHER + 2) * LONGEST
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=longest)
    said = f"seed {seed}: {done.stderr[-5000:]}"
    assert done.returncode == 0 and "Traceback" not in done.stderr, said
    return json.loads((folder / "faults.json").read_text())


def assert_same_after_kills(play: str, folder: Path, *words: str, goal: int = 3) -> Path:
    """Kills at some instants change nothing in the end. Returns the run left alone."""
    found = faults(play, folder, *words, goal=goal)
    assert sum(met for _, met, _ in found) >= 1 and [changed for *_, changed in found if changed] == []
    return folder / "whole"


def main(name: str, place: str, disk: str, goal: str, seconds: str, seed: str, *words: str) -> None:
    module, _, function = name.partition(":")
    play, draw = partial(getattr(importlib.import_module(module), function), *words), random.Random(int(seed))
    folder, began = Path(place), time.monotonic()
    assert ended(start(play, folder / "whole")) == 0
    took, until = time.monotonic() - began, began + float(seconds)
    kinds = {"kill": (folder, partial(killed, 2.5 * took / TOGETHER))}
    if disk:
        kinds["full disk"] = (Path(disk), partial(out_of_room, size(folder / "whole")))
    found = []
    for number in range(int(goal) + TOGETHER):
        for kind, (home, strike) in kinds.items():  # in turn, so that a run that ends early has met both
            left = int(goal) - sum(met for fault, met, _ in found if fault == kind)
            if left > 0 and time.monotonic() < until:
                met = meet(play, home / f"met{number}", lambda where: strike(play, where, draw), min(left, TOGETHER))
                changed = different(folder / "whole", home / f"met{number}")
                found.append((kind, met, changed))
                if not changed:
                    shutil.rmtree(home / f"met{number}")
    (folder / "faults.json").write_text(json.dumps(found))


def meet(play: Play, folder: Path, strike: Callable[[Path], bool], most: int) -> int:
    """Let a run meet faults until one comes too late, at most so many, and play it to its end. How many it met."""
    met = 0
    while met < most and strike(folder):
        met += 1
    assert ended(start(play, folder)) == 0, f"{folder} could not go on after {met} faults"
    return met


def different(whole: Path, folder: Path) -> list[str]:
    """The files that two folders do not share, except for what a session cost."""
    left, right = files(whole), files(folder)
    return [name for name in sorted(left | right) if left.get(name) != right.get(name) and COST not in name]


def killed(longest: float, play: Play, folder: Path, draw: random.Random) -> bool:
    """Kill a play after a random time; whether it was still at work."""
    pid = start(play, folder)
    time.sleep(draw.uniform(0, longest))
    os.kill(pid, signal.SIGKILL)
    status = ended(pid)
    assert status in (0, -signal.SIGKILL), f"{folder}: status {status}"
    return status != 0


def out_of_room(whole: int, play: Play, folder: Path, draw: random.Random) -> bool:
    """Play where the disk has room for a random part of what the run still lacks; whether it was not enough."""
    filler, disk = folder.with_name("filler"), os.statvfs(folder.parent)
    room = draw.randrange(max(whole - size(folder), 8192))
    filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - room))
    try:
        status = ended(start(play, folder))
    finally:
        filler.unlink()
    assert status in (0, 2), f"{folder}: status {status}"
    return status != 0


def start(play: Play, folder: Path) -> int:
    """A child that plays; its process."""
    if pid := os.fork():
        return pid
    signal.alarm(LONGEST)
    try:
        status = play(str(folder))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(status if isinstance(status, int) else 0)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def size(folder: Path) -> int:
    """Bytes of a folder in whole blocks, as a file system counts them."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


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


if __name__ == "__main__":
    main(*sys.argv[1:])
