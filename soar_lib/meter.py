"""What a run will cost and what it has cost: wall time, completions, tokens and peak memory.

Both stand in the run folder's cost.json, apart from the files that a resumed run reproduces bit for bit. Sessions add
up, and the file is written every minute: a session that is killed loses no more than its last minute."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from soar_lib.files import read_json, read_record, write_json
from soar_lib.records import Meter, add_cut, counting
from soar_lib.settings.cost import Part, describe, duration, total
from soar_lib.settings.memory import check_memory, here, predict, size
from soar_lib.settings.student import BaseSettings
from soar_lib.settings.values import ConfigError, flat

EVERY = 60.0  # seconds after which cost.json is written anew
TOO_MANY = 1 / 3  # of all completions cut off at their limit


@contextmanager
def metered(folder: str | Path, predicted: dict[str, Any]) -> Iterator[Meter]:
    """Measure what happens inside the `with` block and add it to the run folder's cost.json, beside `predicted` (values
    by the fields of `Predicted`; the first session's stay). A session that drew nothing, or has no run folder, adds
    nothing. Peak memory is what torch allocated on the GPU, or without one what the process grew by. Completions of a
    cluster's actors count, their memory does not."""
    began, before, path = time.perf_counter(), _start(), Path(folder) / "cost.json"
    kept = read_cost(path) if path.is_file() else (Meter(), Predicted(**predicted))

    def keep(meter: Meter, at_once: bool = False) -> None:
        seconds = time.perf_counter() - began
        if not at_once and seconds - meter.seconds < EVERY:
            return
        meter.seconds, meter.peak_bytes = seconds, _peak() - before
        if meter.rollouts and path.with_name("config.json").is_file():
            _write(path, *kept, meter)

    with counting(keep) as meter:
        try:
            yield meter
        finally:
            keep(meter, at_once=True)


@dataclass(frozen=True)
class Predicted:
    """What a run was predicted to cost, as its cost.json has it; None where unknown."""

    rollouts: int | None = None  # the teacher's too
    tokens: int | None = None  # at most
    hours: float | None = None
    peak_bytes: float | None = None


def read_cost(path: Path) -> tuple[Meter, Predicted]:
    """The measured and the predicted cost in a cost.json. Raises RunError where the file is missing or damaged."""
    return read_record(path, Meter, "measured"), read_record(path, Predicted, "predicted")


def _write(path: Path, old: Meter, predicted: Predicted, meter: Meter) -> None:
    measured = Meter(
        old.rollouts + meter.rollouts, old.tokens + meter.tokens, round(old.seconds + meter.seconds, 3),
        old.sessions + meter.sessions, max(old.peak_bytes, meter.peak_bytes), add_cut(old.cut, meter.cut),
    )  # fmt: skip
    write_json(path, {"predicted": asdict(predicted), "measured": asdict(measured)})


def _start() -> int:
    """Bytes that count for nothing: none on a GPU, whose peak begins anew, else what the process has now."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return 0
    return psutil.Process().memory_info().rss


def _peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def report(folder: str | Path) -> str:
    """The lines that a command prints at its end: what was measured, in brackets what was predicted, and what each
    limit of tokens cut off; "" without a cost.json. Raises RunError where it is damaged."""
    path = Path(folder) / "cost.json"
    if not path.is_file():
        return ""
    found, before = read_cost(path)
    shown = {
        "hours": (duration(found.seconds / 3600), duration),
        "rollouts": (f"{found.rollouts:,} completions", "{:,}".format),
        "tokens": (f"{found.tokens:,} tokens", "at most {:,}".format),
        "peak_bytes": (f"{size(found.peak_bytes)} of memory", lambda count: f"tensors at most {size(count)}"),
    }
    known = {name: f" ({say(value)})" for name, (_, say) in shown.items() if (value := vars(before)[name]) is not None}
    parts = [text + known.get(name, "") for name, (text, _) in shown.items()]
    return "\n".join([f"took {', '.join(parts)}; in brackets what was predicted", *_cut_lines(found, path.parent)])


def _cut_lines(found: Meter, folder: Path) -> Iterator[str]:
    """What each limit of tokens cut off, with the settings that are this limit, and what to do above TOO_MANY."""
    settings = flat(read_json(folder / "config.json")) if (folder / "config.json").is_file() else {}
    for limit, (drawn, cut) in found.cut.items():
        names = [name for name, value in settings.items() if name.endswith("max_new_tokens") and str(value) == limit]
        name = " and ".join(names) or "max_new_tokens"
        advice = "; what is cut off before its box earns nothing: raise it" if cut > TOO_MANY * drawn else ""
        if cut:
            yield f"{name} = {limit} cut off {cut / drawn:.0%} of {drawn:,} completions{advice}"


def describe_memory(config: BaseSettings, problems: int = 0, runs: int = 1) -> str:
    """The predicted peak of memory as part of a line, or why there is none; arguments of `settings.memory.predict`."""
    machine = here()
    try:
        found = predict(config, problems, runs)
    except ConfigError as error:
        return str(error)
    return f"at most {size(found.total)} of {machine.kind} for tensors, of {size(machine.free)} free ({found})"


def predicted(*parts: Part) -> dict[str, Any]:
    """The predicted cost of all parts (memory: of the largest part), as plain values by the fields of `Predicted`."""
    whole, peaks = total(parts), [0]
    for part in parts:
        with suppress(ConfigError):
            peaks.append(predict(*part).total)
    return asdict(Predicted(whole.rollouts + whole.teacher_samples, whole.tokens, whole.hours, max(peaks) or None))


def announce(name: str, parts: dict[str, Part], say: Callable[[str], None]) -> None:
    """Say what each part will cost, then all, and the largest one's memory. Raises ConfigError if one cannot fit."""
    for part in parts.values():
        check_memory(*part)
    for part, settings in parts.items():
        say(f"{name}: {part}: {describe(total([settings]), settings[0].model)}")
    if parts:
        largest = max(parts.values(), key=lambda part: predicted(part)["peak_bytes"] or 0)
        say(f"{name}: in all {describe(total(parts.values()), largest[0].model)}")
        say(f"{name}: its largest part: {describe_memory(*largest)}")
