"""More than one GPU or machine: Ray actors, one per GPU, that hold the base and work on slices of a population.

A slice whose actor is lost (a killed process, a machine that went away) is done again, by that actor once Ray has
restarted it or by one that is free; so results depend on how a population is cut, not on who did what and how often.
The driver keeps its own base, for the teacher, and shares a GPU with one of the actors, as one waits while the other
works. Ray is imported only where it is asked for.

A student's random numbers come from its own key (`student.train`), so it is the same in a slice as in the whole;
batches of another size round differently, as with `rows`. The shares of top rewards, which compare all students of a
step, are put together from the slices."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from soar_lib.cluster.joining import check_address, choose_count, connect
from soar_lib.engine.backends import choose_device
from soar_lib.engine.base import Base, load_for
from soar_lib.engine.lora import Adapters, stack
from soar_lib.files import RunError
from soar_lib.problems.checks import ANSWER
from soar_lib.records import count, counting
from soar_lib.settings.student import BaseSettings, loader
from soar_lib.settings.values import SHIPPED, first_line, folder_of, revision
from soar_lib.student import train as student
from soar_lib.student.train import InnerLoop

LOSSES = 3  # actors that one slice may cost before it is to blame
POLL_SECONDS = 1.0
START_SECONDS = 1800.0  # for an actor to find a place and load the base, which may have to be downloaded first

Work = Callable[..., Any]  # (base, adapters, tell, *arguments) -> result; `tell(row)` reports on the way


class Holder:
    """A Ray actor: it holds the base, and what its present work has told so far. `begin` loads the base, since Ray
    keeps no more of a constructor's errors than their text."""

    def __init__(self, config: BaseSettings, device: str, threads: int):
        self.settings, self.threads, self.base = (config, device), threads, None
        self.loading, self.told = Lock(), []

    def begin(self) -> str:
        """Load the base once, with the driver's number of threads, which affects rounding; returns process and host."""
        import ray

        with self.loading:
            if self.base is None:
                torch.set_num_threads(self.threads)
                self.base = load_for(*self.settings)
        return f"pid {os.getpid()} on {ray.util.get_node_ip_address()}"

    def work(self, function: Work, adapters: Adapters | None, arguments: tuple) -> tuple[Any, int, int]:
        """Call the function; returns its result, how many completions and tokens it drew, and what limits cut off."""
        try:
            with counting() as counted:
                adapters = adapters and adapters.to(self.base.device)
                result = function(self.base, adapters, self.told.append, *arguments)
            return result, counted.rollouts, counted.tokens, counted.cut
        finally:
            self.told = []
            torch.cuda.empty_cache()  # the driver's turn on a GPU that it shares

    def heard(self) -> list:
        """What the present work has told so far; answered while that goes on."""
        return self.told


@contextmanager
def opened(
    address: str, config: BaseSettings, students: int, count: int | None = None, say: Callable[[str], None] = print
) -> Iterator[list]:
    """Actors, at most one per student, each with the base of `config`, while the `with` block lasts. `address` is
    HOST:PORT of a cluster that this machine belongs to, or "auto": the cluster that runs here, else a new one on this
    machine. `count` is the number asked for (`choose_count`); `say` is told where the actors are. Raises ConfigError,
    and RunError where actors do not start."""
    check_address(address)
    device, threads = choose_device(None, loader(config.backend), config.four_bit), torch.get_num_threads()
    config = replace(config, revision=revision(config.model, config.revision))  # the actors' too
    if config.model not in SHIPPED and (folder := Path(config.model).expanduser()).is_dir():
        config = replace(config, model=str(folder.absolute()))  # for a process in another folder
    if config.start:
        config = replace(config, start=str(Path(folder_of(config.start)).expanduser().absolute()))
    import ray

    ours, gpu, actors = not ray.is_initialized(), device.type == "cuda", []
    if ours:
        connect(address)
    try:
        number = choose_count(ray.cluster_resources(), gpu, count, students, threads)
        kind = ray.remote(Holder).options(
            num_cpus=1, num_gpus=int(gpu), max_concurrency=2, max_restarts=-1, max_task_retries=LOSSES,
            scheduling_strategy="SPREAD",
        )  # fmt: skip
        actors.extend(kind.remote(config, device.type, threads) for _ in range(number))
        places = [_place(call) for call in _begun([actor.begin.remote() for actor in actors], number)]
        fewer = ", as a student is not shared," if count is not None and number < count else ""
        counts = f"{number} actor{'s' * (number > 1)}{fewer} for {students} student{'s' * (students > 1)}"
        say(f"ray: {counts}: {', '.join(places)}")
        yield actors
    finally:
        for actor in actors:
            ray.kill(actor)
        if ours:
            ray.shutdown()


def _begun(calls: list, count: int) -> list:
    """Those of the calls of `begin` that have ended, once `count` have. Raises RunError."""
    import ray

    ended, _ = ray.wait(calls, num_returns=count, timeout=START_SECONDS)
    if len(ended) < count:
        raise RunError(
            f"--ray: {len(ended)} of {count} actors started within {START_SECONDS / 60:.0f} minutes; free what others "
            "hold of the cluster, or take fewer --actors"
        )
    return ended


def _place(call: Any) -> str:
    """What `begin` returned. Raises RunError, or what kept the actor from loading the base."""
    place, error = _result(call)
    if error is not None:
        raise RunError(
            f"--ray: an actor could not start ({first_line(error)}); see session_latest/logs in Ray's "
            "temporary folder on the cluster's machines, which must have the same soar-lib"
        ) from error
    return place


def run(
    actors: Sequence, function: Work, jobs: Sequence[tuple[Adapters | None, tuple]],
    hear: Callable[[list[list]], None] = lambda told: None,
) -> list:  # fmt: skip
    """`function(base, adapters, tell, *arguments)` of each job (adapters, arguments), by whichever actors are free;
    results in order. `hear(told)` is given what each job has told so far, again and again. Raises what the function
    raises, and RunError where a job costs `LOSSES` actors."""
    import ray

    torch.cuda.empty_cache()  # an actor's turn on a GPU that the driver shares
    waiting, free, results, losses = deque(range(len(jobs))), deque(), {}, Counter()
    beginning, working, told = {actor.begin.remote(): actor for actor in actors}, {}, [[] for _ in jobs]
    while len(results) < len(jobs):
        calls = [*working, *beginning]
        for call in ray.wait(calls, timeout=POLL_SECONDS)[0] if working else _begun(calls, 1):
            if call in beginning:
                free.append((beginning.pop(call), _place(call)))
                continue
            actor, place, number = working.pop(call)
            found, error = _result(call)
            if error is None:
                results[number], *drawn = found
                count(*drawn)
                free.append((actor, place))
                continue
            losses[number] += 1
            if losses[number] >= LOSSES:
                raise RunError(
                    f"--ray: actor {place} was lost ({first_line(error)}), the {LOSSES}. one with slice {number + 1} "
                    f"of {len(jobs)}; if it ran out of memory, lower rows or take fewer --actors per machine, then go "
                    "on with --resume"
                ) from error
            waiting.append(number)
            ray.kill(actor, no_restart=False)  # where only its answer was lost, it is still at work
            beginning[actor.begin.remote()] = actor
        while free and waiting:
            (actor, place), number = free.popleft(), waiting.popleft()
            adapters, arguments = jobs[number]
            work = actor.work.options(max_task_retries=0)  # a free actor need not wait for the lost one's restart
            working[work.remote(function, adapters and adapters.to("cpu"), arguments)] = actor, place, number
        _listen(working, told, hear)
    return [results[number] for number in range(len(jobs))]


def _listen(working: dict, told: list[list], hear: Callable[[list[list]], None]) -> None:
    """Ask the actors at work for what is new; one that does not answer is lost, which its work will say."""
    for actor, _, number in working.values():
        rows, error = _result(actor.heard.options(max_task_retries=0).remote(), POLL_SECONDS)
        if error is None and len(rows) > len(told[number]):  # fewer, from one that does another's work again
            told[number] = rows
            hear(told)


def _result(call: Any, seconds: float | None = None) -> tuple[Any, Exception | None]:
    """What a call returned, or the error by which its actor was lost; an error of the call itself is raised."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(call, timeout=seconds), None
    except RayTaskError as error:
        if isinstance(error.cause, torch.OutOfMemoryError):
            raise RunError(
                f"--ray: an actor ran out of GPU memory ({first_line(error.cause)}); lower rows or "
                "student.optimiser.max_tokens, or use more GPUs"
            ) from error
        if isinstance(error.cause, RayError):
            raise RunError(
                f"--ray: an actor could not read what it was sent ({first_line(error.cause)}); install the same "
                "soar-lib on every machine of the cluster"
            ) from error
        raise error.cause from error
    except RayError as error:
        return None, error


def on(cluster: Sequence) -> InnerLoop:
    """The inner loop on the actors of `opened`; they must hold the base that its functions are given. Rewards and
    checks must pickle (cloudpickle). `watch` sees a step once all actors have taken it, with None for its students."""

    def train(base, adapters, lessons, settings, reward, rows=1024, watch=None) -> tuple[Adapters, list[dict]]:
        parts = _slices(adapters.size, len(cluster))
        jobs = [(adapters.select(part), ([lessons[i] for i in part], settings, reward, rows)) for part in parts]
        history: list[dict] = []

        def hear(told: list[list[dict]]) -> None:
            for row in list(zip(*told))[len(history) :]:  # steps that all slices have taken
                history.append(student.merge(row))
                if watch is not None:
                    watch(len(history) - 1, history[-1], None)

        results = run(cluster, _train_slice, jobs, hear)
        hear([rows for _, rows in results])
        return stack([trained.to(base.device) for trained, _ in results]), history

    def accuracy(base, adapters, problems, draw, samples=0, keys=None, check=ANSWER) -> torch.Tensor:
        alone = adapters is None or adapters.size == 1
        parts = _slices(len(keys or [0]) if alone else adapters.size, len(cluster))
        owned = [(adapters if alone else adapters.select(part), keys and [keys[i] for i in part]) for part in parts]
        jobs = [(own, (list(problems), draw, samples, mine, check)) for own, mine in owned]
        return torch.cat(run(cluster, lambda base, own, tell, *rest: student.accuracy(base, own, *rest), jobs))

    return InnerLoop(train, accuracy)


def _slices(count: int, parts: int) -> list[list[int]]:
    """range(count) in at most `parts` consecutive pieces of like size."""
    return [part.tolist() for part in torch.arange(count).tensor_split(min(count, parts))]


def _train_slice(base: Base, adapters: Adapters, tell: Callable, *arguments) -> tuple[Adapters, list[dict]]:
    trained, history = student.train(base, adapters, *arguments, lambda step, row, students: tell(row))
    return trained.to("cpu"), history
