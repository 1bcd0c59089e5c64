"""Processes that may hang, fail or eat memory, and the pool that kills and replaces them (design: verifier).

A worker is a plain subprocess that speaks JSON lines over pipes, not a fork and not a `multiprocessing` child: so it
works from threads and from notebooks, and inherits neither torch nor locks.
"""

import atexit
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("verify_worker.py")
MEMORY_BYTES = 2 * 2**30  # address space of one worker; sympy and the grammar alone map about 0.5 GB
START_SECONDS = 120.0
ORPHAN_SECONDS = 600.0  # a worker whose parent died ends itself after this long in one question


class Worker:
    """One process; `ask` answers a question or ends the process."""

    def __init__(self):
        command = [sys.executable, "-P", str(SCRIPT), str(MEMORY_BYTES), str(ORPHAN_SECONDS)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        if self._line(START_SECONDS) != b'"ready"\n':
            self.kill()
            raise RuntimeError(
                "the verifier's worker process did not start: its own message is on standard error; "
                "check that math-verify is installed for this Python"
            )

    def ask(self, question: list, seconds: float) -> bool | None:
        """The answer, or None where the deadline or the memory ran out; the process is dead after None."""
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            line = self._line(seconds)
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            self.kill()
            return None
        return json.loads(line)

    def _line(self, seconds: float) -> bytes:
        """One line of output; an incomplete one where the process ends or the time is over."""
        line, deadline = b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            if not part:
                return line
            line += part
        return line

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


_idle: queue.LifoQueue = queue.LifoQueue()
_started: list[Worker] = []
_lock = threading.Lock()


def ask(question: list, seconds: float) -> bool | None:
    """Put one question to an idle worker, starting one where none is idle; None: out of time or memory."""
    try:
        worker = _idle.get_nowait()
    except queue.Empty:
        worker = _start()
    if not worker.alive():
        _forget(worker)
        worker = _start()
    try:
        answer = worker.ask(question, seconds)
    except BaseException:  # interrupted halfway: its next line would answer the wrong question
        worker.kill()
        _forget(worker)
        raise
    if answer is None:
        _forget(worker)
    else:
        _idle.put(worker)
    return answer


def _start() -> Worker:
    worker = Worker()
    with _lock:
        _started.append(worker)
    return worker


def _forget(worker: Worker) -> None:
    with _lock:
        _started[:] = [other for other in _started if other is not worker]


def stop() -> None:
    """End all workers; the next question starts new ones."""
    with _lock:
        workers, _started[:] = list(_started), []
    while not _idle.empty():
        _idle.get_nowait()
    for worker in workers:
        worker.kill()


def _after_fork() -> None:
    """A forked child must not share the parent's pipes."""
    global _idle, _lock
    _idle, _lock = queue.LifoQueue(), threading.Lock()
    _started.clear()


atexit.register(stop)
os.register_at_fork(after_in_child=_after_fork)
