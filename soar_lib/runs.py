"""A run is a folder: what was set, what happened, and where to go on.

    config.json      the settings          versions.json   the libraries it began with
    metrics.csv      one row per step      rounds.jsonl, problems.jsonl, scores.jsonl   one record per line
    checkpoint/round_0007/                 tensors as safetensors, everything else in state.json

Every file is replaced whole (temporary file, fsync, rename, fsync of the folder), so a reader never sees half a line.
A round counts once its checkpoint is renamed into place; `state.json` remembers length and hash of each log and set of
problems, and `open_run` cuts what a killed round wrote beyond it. Before the first line there is round 0, so that lines
without a checkpoint are a loss. Randomness comes from keys: no generator state needs saving."""

import errno
import json
import os
import platform
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from soar_lib import files
from soar_lib.files import LOST, RunError, digest, lock, read_json, text_of
from soar_lib.settings.student import loader, precision
from soar_lib.settings.values import differences, folder_of, revision

LOGS = {"metrics": "metrics.csv"} | {name: f"{name}.jsonl" for name in ("rounds", "problems", "scores")}
# A setting that only this command has, by which its config.json is known.
MARKS = {
    "filter": "train_fraction", "soar": "reward_set", "evaluate": "synthetic_steps", "study": "sweep_seeds",
    "ladder": "ttrl_steps", "svs": "seed_low",
}  # fmt: skip
VERSIONED = ("soar-lib", "torch", "transformers", "peft", "safetensors", "math-verify", "reasoning-gym")


def check_folder(folder: str | Path, resume: bool, config: Any = None, apart: str = "") -> None:
    """Raise `RunError` where no run can begin in `folder`, or with `resume` go on there (with `config`: under these
    settings, of which `apart` may differ), or another process is at work there; removes a killed process's lock and
    touches nothing else."""
    folder = Path(folder)
    try:
        begun = (folder / "config.json").is_file()
        foreign = not begun and folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise RunError(f"{folder}: cannot be used ({error.strerror}); choose another folder") from error
    if begun and not resume:
        raise RunError(f"{folder}: there is a run in it already; choose another folder or add --resume")
    if foreign:
        raise RunError(f"{folder}: not empty and not a run folder (no config.json); choose another folder")
    there = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not there.is_dir():
        raise RunError(f"{folder}: cannot be written, {there} is not a folder; choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: cannot be written, no permission in {there}; choose another folder")
    if begun:
        lock(folder, probe=True)
    if begun and config is not None:
        _check_settings(folder, config, apart)


def versions() -> dict[str, str]:
    """Versions of Python and libraries, and the kind of machine, on which results depend; "absent": not installed."""
    found = {"python": platform.python_version(), "machine": platform.machine()} | dict.fromkeys(VERSIONED, "absent")
    for name in VERSIONED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass
class Run:
    """An open run folder: its path, the last round that counts (0: none yet), and who is told the rounds' metrics."""

    folder: Path
    round: int = 0
    log: Callable[[Sequence[dict]], None] | None = None

    @property
    def checkpoint(self) -> Path:
        """The folder of the last round's checkpoint."""
        return self.folder / "checkpoint" / f"round_{self.round:04d}"

    def commit(self, tensors: dict[str, dict], state: dict[str, Any], **records: Sequence[dict]) -> None:
        """End a round: `tensors` maps a name to a dictionary of tensors, `state` is JSON, and `records` are rows for
        the logs, by name (`LOGS`). The round counts wholly or not at all."""
        if not self.round and not self.checkpoint.exists():
            files.write_checkpoint(self.checkpoint, {}, {"round": 0, "logs": {}, "sums": {}, "state": {}})
        for name, rows in records.items():
            path = self.folder / LOGS[name]
            (files.append_csv if path.suffix == ".csv" else files.append_jsonl)(path, rows)
        paths = sorted([*self.folder.glob("*.jsonl"), self.folder / LOGS["metrics"]])
        logs, sums = ({path.name: of(text_of(path)) for path in paths} for of in (len, digest))
        previous = self.checkpoint
        self.round += 1
        about = {"round": self.round, "logs": logs, "sums": sums, "state": state}
        files.write_checkpoint(self.checkpoint, tensors, about)
        if previous.exists():
            shutil.rmtree(previous)
        if self.log is not None and records.get("metrics"):
            self.log(records["metrics"])

    def load(self, *names: str, **needed: Any) -> tuple[dict[str, dict], dict[str, Any]]:
        """The tensors and the state of the last round that counts; all else as `files.load_checkpoint`."""
        return files.load_checkpoint(self.checkpoint, *names, **needed)


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The checkpoint of the last round that counts, None before anything was recorded."""
    return max((path for path in (Path(folder) / "checkpoint").glob("round_*") if path.suffix != ".tmp"), default=None)


def open_run(folder: str | Path, config: Any, resume: bool = False) -> Run:
    """Begin a run, or with `resume` go on with the one that is there (or begin, if there is none). Raises `RunError`
    where the folder is in use or not writable, or the run in it began with other settings."""
    folder = Path(folder)
    check_folder(folder, resume)
    try:
        if not (folder / "config.json").is_file():
            with files.replacing(folder) as temporary:
                temporary.mkdir(parents=True)
                files.write_json(temporary / "config.json", recorded(config))
                files.write_json(temporary / "versions.json", versions())
        else:
            check_same(folder, config)
        lock(folder)
        return _reopen(folder)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> RunError:
    """The error that says why a folder cannot be written, and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "make room, and the same command with --resume goes on" if full else "choose another folder"
    return RunError(f"{folder}: cannot be written ({error.strerror}); {advice}")


def open_arms(folder: Path, config: Any, known: Iterable[str]) -> None:
    """Begin a run whose settings name its `arms`, or go on with it and add the arms that it lacks, in the order of
    `known`. Raises `RunError` where the folder is in use or not writable, or settings differ in more than `arms`."""
    if not (folder / "config.json").is_file():
        open_run(folder, config)
        return
    check_folder(folder, True, config, "arms")
    lock(folder)
    _warn_of_versions(folder)
    began = files.setting(folder, "arms", list[str])
    if not {*config.arms} <= {*began}:
        arms = tuple(name for name in known if name in {*began, *config.arms})
        files.write_json(folder / "config.json", recorded(replace(config, arms=arms)))


def recorded(config: Any) -> dict[str, Any]:
    """The settings as config.json holds them: `dtype`, `backend` and `revision` as chosen on this machine, `start` with
    a hash of the adapter's weights, so that a resumed run notices another model or adapter."""

    def pinned(values: dict) -> dict:
        found = {name: pinned(value) if isinstance(value, dict) else value for name, value in values.items()}
        if "dtype" in found:
            found["dtype"] = precision(found["model"], found["dtype"])
            found["backend"] = loader(found["backend"])
            found["revision"] = revision(found["model"], found["revision"])
        if folder := folder_of(found.get("start", "")):
            weights = Path(folder).expanduser() / "adapter_model.safetensors"
            digest = sha256(weights.read_bytes()).hexdigest()[:12] if weights.is_file() else "absent"
            found["start"] = f"{folder} sha256:{digest}"
        return found

    return pinned(asdict(config))


def check_same(folder: Path, config: Any) -> None:
    """Raise `RunError` where the run there began with other settings or lost lines; warn of other library versions."""
    _check_settings(folder, config)
    counted(folder)
    _warn_of_versions(folder)


def _check_settings(folder: Path, config: Any, apart: str = "") -> None:
    """Raise `RunError` where the run there is another command's, or began with settings that differ beside `apart`."""
    began, now = read_json(folder / "config.json"), json.loads(json.dumps(recorded(config)))
    kinds = [kind_of(values) for values in (began, now)]
    if kinds[0] != kinds[1]:
        raise RunError(f"{folder}: holds a run of {kinds[0]}, not of {kinds[1]}; choose another folder")
    began = _defaults(asdict(type(config)()), began, now)
    changed = [line for line in differences(began, now) if line.partition(":")[0] != apart]
    if changed:
        raise RunError(f"{folder}: began with other settings ({'; '.join(changed)}); use those or another folder")


def kind_of(values: Mapping[str, Any]) -> str:
    """The name of the command whose settings these are, or "another kind".

    >>> kind_of({"k": 128, "train_fraction": 0.5})
    'filter'
    """
    return next((name for name, mark in MARKS.items() if mark in values), "another kind")


def _warn_of_versions(folder: Path) -> None:
    if read_json(folder / "versions.json") != versions():
        warnings.warn(f"{folder}: began with other library versions; results may differ in the last bits", stacklevel=4)


def _defaults(values: dict, given: dict, now: dict) -> dict:
    """`given`, with what it lacks taken from `values`, group by group, but dtype and revision from `now`."""
    groups = [name for name, part in given.items() if isinstance(part, dict) and isinstance(values.get(name), dict)]
    inner = {name: _defaults(values[name], given[name], now[name]) for name in groups}
    here = {name: now[name] for name in ("dtype", "revision") if name in now and not given.get(name)}
    return json.loads(json.dumps(values)) | given | inner | here


def _reopen(folder: Path) -> Run:
    """Drop what a killed round left behind: half checkpoints, older checkpoints, lines beyond the last round."""
    last = latest_checkpoint(folder)
    for path in (folder / "checkpoint").glob("round_*"):
        if path != last:
            shutil.rmtree(path)
    number, lengths = counted(folder)
    for name in LOGS.values():
        text, length = text_of(folder / name), lengths.get(name, 0)
        if text and last is None:
            raise RunError(f"{folder / 'checkpoint'}: is missing, though {name} has lines; {LOST}")
        if len(text) > length:
            files.write_text_atomic(folder / name, text[:length])
    return Run(folder, number)


def counted(folder: Path) -> tuple[int, dict[str, int]]:
    """The last round that counts, and the length of each JSONL file and metrics.csv at its end, in characters; (0, {})
    without checkpoints. Raises RunError where a file is shorter now, or its text has changed."""
    last = latest_checkpoint(folder)
    if last is None:
        return 0, {}
    state = read_json(last / "state.json", round=int, logs=dict[str, int], sums=dict[str, str] | None)
    for name, length in state["logs"].items():
        path, text = folder / name, text_of(folder / name)
        if len(text) < length:
            lost = f"has {len(text):,} characters where the last checkpoint counted {length:,}, so lines are lost"
            raise RunError(f"{path}: {lost if path.exists() else 'is missing'}; {LOST}")
        if digest(text[:length]) != (state.get("sums") or {}).get(name, digest(text[:length])):
            raise RunError(f"{path}: was changed since the last checkpoint; {LOST}")
    return state["round"], state["logs"]
