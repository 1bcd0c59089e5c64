"""More than one GPU or machine: Ray actors, one per GPU, that hold the base and work on slices of a population.

`run` hands out slices, each to an actor that is free, and collects the results in order. What an actor does with its
slice is a function that the caller names; adapters travel as arrays on the CPU. A slice whose actor is lost (a killed
process, a machine that went away) is done again, by a new actor or one that is free, and no other slice is; so results
depend on how a population is cut, not on who did what and how often.

The driver keeps its own base, for the teacher, and shares a GPU with one of the actors, as one waits while the other
works. Ray is imported only where it is asked for.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from soar_lib import meter
from soar_lib.cluster.joining import check_address, choose_count, connect
from soar_lib.engine.backends import choose_device
from soar_lib.engine.base import Base, load_for
from soar_lib.engine.lora import Adapters
from soar_lib.runs import RunError
from soar_lib.settings.student import BaseSettings
from soar_lib.settings.values import first_line

LOSSES = 3  # actors that one slice may cost before it is to blame
POLL_SECONDS = 1.0
START_SECONDS = 1800.0  # for an actor to find a place and load the base, which may have to be downloaded first

Packed = tuple[dict, int, float]  # an adapter's tensors as arrays, rank and alpha
# (base, adapters, tell, *arguments) -> result; `tell(row)` reports on the way
Work = Callable[..., Any]


def pack(adapters: Adapters) -> Packed:
    """Adapters as plain arrays on the CPU, to be sent."""
    return {key: t.cpu().numpy() for key, t in adapters.state_dict().items()}, adapters.rank, adapters.alpha


def unpack(packed: Packed, base: Base) -> Adapters:
    """Packed adapters on the base's device."""
    arrays, rank, alpha = packed
    empty = Adapters.create(base.model, 1, rank, alpha, torch.Generator())
    return empty.load({key: torch.tensor(array) for key, array in arrays.items()})


class Holder:
    """What an actor is: it holds the base, and what its present work has told so far."""

    def begin(self, config: BaseSettings, device: str, threads: int) -> str:
        """Load the base; returns where this is. As many threads as the driver, because their number rounds."""
        import ray

        torch.set_num_threads(threads)
        self.base, self.told = load_for(config, device), []
        return f"pid {os.getpid()} on {ray.util.get_node_ip_address()}"

    def work(self, function: Work, packed: Packed | None, arguments: tuple) -> tuple[Any, int, int]:
        """The function's result, and how many completions and tokens it drew."""
        self.told = []
        adapters = None if packed is None else unpack(packed, self.base)
        with meter.counting() as counted:
            result = function(self.base, adapters, self.told.append, *arguments)
        torch.cuda.empty_cache()  # the driver's turn on a GPU that it shares
        return result, counted.rollouts, counted.tokens

    def heard(self, after: int) -> list:
        """What the present work has told, but for the first `after`; answered while it goes on."""
        return self.told[after:]


@dataclass
class Cluster:
    """Actors by where they are, those that are still starting by the reference that ends with it, and into how many
    slices a population is cut."""

    launch: Callable[[], Any]
    begin: tuple
    size: int
    actors: dict[str, Any] = field(default_factory=dict)
    starting: dict[Any, Any] = field(default_factory=dict)


# ------------------------------------------------------------------ beginning and end


@contextmanager
def opened(
    address: str,
    config: BaseSettings,
    students: int,
    count: int | None = None,
    say: Callable[[str], None] = print,
) -> Iterator[Cluster]:
    """Actors for `students` at most, each with the base of `config`, for as long as this lasts.

    `address` is HOST:PORT of a cluster that this machine belongs to, or "auto": the cluster that runs here, else one of
    our own on this machine. `count` as in `choose_count`. `say` is told how many actors there are and where. Raises
    ConfigError, and RunError where actors do not start.
    """
    check_address(address)
    device, threads = choose_device(None, config.backend, config.four_bit), torch.get_num_threads()
    import ray

    ours = not ray.is_initialized()
    if ours:
        connect(address)
    cluster = None
    try:
        gpu = device.type == "cuda"
        number = choose_count(ray.cluster_resources(), gpu, count, students, threads)
        launch = ray.remote(Holder).options(
            num_cpus=1, num_gpus=int(gpu), max_concurrency=2, max_restarts=0, scheduling_strategy="SPREAD"
        ).remote  # fmt: skip
        cluster = Cluster(launch, (_anywhere(config), device.type, threads), number)
        for _ in range(number):
            _start(cluster)
        _await(cluster, number)
        fewer = ", as a student is not shared," if count is not None and number < count else ""
        counts = f"{_several(number, 'actor')}{fewer} for {_several(students, 'student')}"
        say(f"ray: {counts}: {', '.join(cluster.actors)}")
        yield cluster
    finally:
        for actor in [*cluster.actors.values(), *cluster.starting.values()] if cluster else ():
            ray.kill(actor)
        if ours:
            ray.shutdown()


def _anywhere(config: BaseSettings) -> BaseSettings:
    """The settings for a process in another folder."""
    folder = Path(config.model).expanduser()
    return replace(config, model=str(folder.absolute())) if config.model != "nano" and folder.is_dir() else config


def _start(cluster: Cluster) -> None:
    actor = cluster.launch()
    cluster.starting[actor.begin.remote(*cluster.begin)] = actor


def _await(cluster: Cluster, count: int) -> None:
    """Wait until `count` of the starting actors have come. Raises RunError."""
    import ray

    come, _ = ray.wait(list(cluster.starting), num_returns=count, timeout=START_SECONDS)
    for reference in come:
        _arrive(cluster, reference)
    if len(come) < count:
        raise RunError(
            f"--ray: {len(come)} of {count} actors started within {START_SECONDS / 60:.0f} minutes; free what others "
            "hold of the cluster, or take fewer --actors"
        )


def _arrive(cluster: Cluster, reference: Any) -> None:
    """An actor that has started becomes one of the others. Raises RunError, or what kept it from loading the base."""
    actor = cluster.starting.pop(reference)
    where, error = _result(reference)
    if error is not None:
        raise RunError(
            f"--ray: an actor could not start ({first_line(error)}); see session_latest/logs in Ray's "
            "temporary folder on the cluster's machines, which must have the same soar-lib"
        ) from error
    cluster.actors[where] = actor


# ------------------------------------------------------------------ work


def slices(count: int, parts: int) -> list[range]:
    """range(count) in at most `parts` consecutive pieces of like size.

    >>> slices(5, 2), slices(2, 3)
    ([range(0, 2), range(2, 5)], [range(0, 1), range(1, 2)])
    """
    parts = min(count, parts)
    return [range(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def run(
    cluster: Cluster,
    function: Work,
    jobs: Sequence[tuple[Adapters | None, tuple]],
    hear: Callable[[int, list], None] = lambda number, rows: None,
) -> list:
    """`function(base, adapters, tell, *arguments)` of each job (adapters, arguments), by whichever actors are free;
    results in order. `hear(number, rows)` is given all that job `number` has told so far, again and again.

    Function, arguments and results are pickled. Raises what the function raises, and RunError where a job costs
    `LOSSES` actors.
    """
    import ray

    torch.cuda.empty_cache()  # an actor's turn on a GPU that the driver shares
    packed = [(function, adapters and pack(adapters), arguments) for adapters, arguments in jobs]
    waiting, running, results = deque(range(len(jobs))), {}, {}
    losses, told = Counter(), [[] for _ in jobs]
    while len(results) < len(jobs):
        busy = {where for _, where in running.values()}
        for where in [where for where in cluster.actors if where not in busy][: len(waiting)]:
            number = waiting.popleft()
            told[number] = []
            running[cluster.actors[where].work.remote(*packed[number])] = number, where
        if not running:
            _await(cluster, 1)
            continue
        ended, _ = ray.wait([*running, *cluster.starting], timeout=POLL_SECONDS)
        _listen(cluster, running, told, hear)
        for reference in ended:
            if reference in cluster.starting:
                _arrive(cluster, reference)
                continue
            number, where = running.pop(reference)
            found, error = _result(reference)
            if error is None:
                results[number], *drawn = found
                meter.count(*drawn)
            else:
                losses[number] += 1
                waiting.append(number)
                _lose(cluster, where, f"slice {number + 1} of {len(jobs)}", losses[number], error)
    return [results[number] for number in range(len(jobs))]


def _listen(cluster: Cluster, running: dict, told: list[list], hear: Callable[[int, list], None]) -> None:
    """Ask the actors at work for what is new; one that does not answer is lost, which its work will say."""
    for number, where in running.values():
        news, error = _result(cluster.actors[where].heard.remote(len(told[number])), POLL_SECONDS)
        if error is None and news:
            told[number] += news
            hear(number, told[number])


def _lose(cluster: Cluster, where: str, what: str, times: int, error: Exception) -> None:
    """An actor is gone: another begins in its place. Raises RunError for the last of too many."""
    import ray

    ray.kill(cluster.actors.pop(where))
    if times >= LOSSES:
        raise RunError(
            f"--ray: actor {where} was lost ({first_line(error)}), the {times}. one with {what}; if it ran out of "
            "memory, lower rows or take fewer --actors per machine, then go on with --resume"
        ) from error
    _start(cluster)


def _result(reference: Any, seconds: float | None = None) -> tuple[Any, Exception | None]:
    """What a call returned, or the error by which its actor was lost; an error of the call itself is raised."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference, timeout=seconds), None
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


def _several(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else noun + 's'}"
