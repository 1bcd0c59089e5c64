"""Processes that may hang, fail or eat memory, and the pool that replaces them (design: verifier).

A worker is a plain subprocess that speaks JSON lines over pipes, not a fork and not a `multiprocessing` child: so it
works from threads and from notebooks, and inherits neither torch nor locks. It runs `worker.answer`. Its limits are the
kernel's: timers of processor time and of the clock whose signals end the process, whatever it is doing, and an address
space. It ends with its parent too, whose pipe closes."""

import contextlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

ROOT = str(Path(__file__).parents[2])  # last on the path, for a package that is not installed
MAX_WORKERS = 8
MEMORY_BYTES = 2 * 2**30  # address space of one worker; sympy and the grammar alone map about 0.5 GB
START_SECONDS = 120
START = (
    f"import signal, sys; signal.pthread_sigmask(signal.SIG_SETMASK, []); signal.alarm({START_SECONDS}); "
    f"sys.path.append({ROOT!r}); from soar_lib.verifier import worker, workers; workers.serve(worker.answer)"
)
PATIENCE = 10  # a deadline of processor time ends after so many times as long by the clock
GRACE = 60  # seconds beyond, after which the parent ends a worker that cannot end itself: a stopped one


class Worker:
    """One process that answers questions; one that takes too long or too much memory ends it."""

    def __init__(self):
        command = [sys.executable, "-P", "-c", START]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._line(START_SECONDS) != b'"ready"\n':
            self.kill()
            raise RuntimeError(
                "the verifier's worker process did not start: its own message is on standard error; "
                "check that math-verify and mpmath are installed for this Python"
            )
        _started.add(self)

    def ask(self, question: list, seconds: float) -> Any:
        """The answer, or None where the deadline or the memory ran out: then the process is dead. `seconds` are of the
        worker's own processor time, so that a busy machine changes no verdict; by the clock PATIENCE times as many."""
        line = b""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps([seconds, question]).encode() + b"\n")
            self.process.stdin.flush()
            line = self._line(PATIENCE * seconds)
        return json.loads(line) if line.endswith(b"\n") else None

    def _line(self, seconds: float) -> bytes:
        """The next line, empty where the process ended or wrote none within `seconds` and GRACE."""
        return self.process.stdout.readline() if wait([self.process.stdout], seconds + GRACE) else b""

    def status(self) -> int | None:
        """How the process ended, None while it runs; its pipe closes a moment before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.1)
        return self.process.returncode

    def kill(self) -> None:
        """End the process, and wait until it has ended."""
        self.process.kill()
        self.process.communicate()  # closes its pipes, and waits
        _started.discard(self)


_started: set[Worker] = set()
_idle: list[Worker] = []  # appending and popping are safe in threads


def ask(question: list, seconds: float, again: bool = True) -> Any:
    """Put one question to an idle worker, starting one where none is idle; None: out of time or memory. A worker that
    something else has killed answers nothing: then another is asked, once."""
    worker = answer = None
    with contextlib.suppress(IndexError):
        worker = _idle.pop()
    if worker and worker.process.poll() is not None:
        worker = worker.kill()
    worker = worker or Worker()
    try:
        answer = worker.ask(question, seconds)
        killed = answer is None and worker.status() == -signal.SIGKILL
    finally:  # also where it was interrupted halfway: its next line would answer the wrong question
        worker.kill() if answer is None else _idle.append(worker)
    return ask(question, seconds, again=False) if again and answer is None and killed else answer


def side_by_side(questions: Iterable[tuple], decide: Callable, asked: Callable, name: str, progress: bool) -> dict:
    """What `decide` says of each question, or where that is None what `asked` says, which may ask workers. It runs in
    as many threads as CPU cores (at most 8), and so as many workers."""
    verdicts = {question: decide(*question) for question in questions}
    hard = [question for question, verdict in verdicts.items() if verdict is None]
    with ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda question: asked(*question), hard)
        found = tqdm(found, total=len(hard), desc=name, disable=not progress or not hard)
        return verdicts | dict(zip(hard, found))


def stop() -> None:
    """End all workers; the next question starts new ones."""
    for worker in list(_started):
        worker.kill()
    _forget()


def _forget() -> None:
    """A forked child must not share the parent's pipes."""
    _started.clear()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)


def serve(answer: Callable[[list], Any]) -> None:
    """A worker's side: answer questions until the pipe closes, within the limits of memory and time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)  # the process ends
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library's print must not enter the channel
    logging.disable(logging.CRITICAL)
    if sys.platform == "linux":  # macOS refuses this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.alarm(0)
    with contextlib.suppress(BrokenPipeError):  # the parent was killed
        channel.write('"ready"\n')
        for line in sys.stdin:
            seconds, question = json.loads(line)
            _limit(seconds)
            reply = json.dumps(answer(question))
            _limit(0)
            channel.write(reply + "\n")


def _limit(seconds: float) -> None:
    """The process ends after so many seconds of processor time, or PATIENCE times as many; 0 lifts the limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)
