"""What a caller hooks into a run (progress bars, TensorBoard, Weights & Biases or Trackio), and the loop over a run's
stages that calls them.

The run folder stays the truth: a logger is told rows of metrics.csv once they count, and decides nothing. A row belongs
to a curve named by who it is about (`student/0/1`, `hard/pq/0/2`), and its place there is how many rows of that name
metrics.csv holds before it, so a resumed run goes on where its curves stopped."""

import csv
import hashlib
import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from soar_lib.files import read_json
from soar_lib.runs import Run
from soar_lib.settings.values import ConfigError

Log = Callable[[Sequence[dict]], None]  # told the rows of one commit, in order
Write = Callable[[str, int, dict[str, float]], None]  # (curve, place, values)
LOGGERS = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}  # name -> package
# Columns that name a curve.
WHO = ("policy", "dataset", "repeat", "phase", "arm", "source", "student", "seed", "problem")
WHEN = ("round", "step")


def check_logger(name: "str | Log | None") -> None:
    """Raise ConfigError for an unknown logger, or one whose package is not installed; imports nothing."""
    if not isinstance(name, str):
        return
    if name not in LOGGERS:
        raise ConfigError(f"--log {name}: must be one of {', '.join(LOGGERS)}")
    if importlib.util.find_spec(LOGGERS[name]) is None:
        raise ConfigError(f"--log {name}: needs the package {LOGGERS[name]}; pip install {LOGGERS[name]}")


@contextmanager
def opened(name: str | Log | None, folder: str | Path, settings: dict[str, Any]) -> Iterator[Log | None]:
    """The logger of a run folder: None without a name, a function as it is. TensorBoard writes into FOLDER/tensorboard.
    Weights & Biases and Trackio get a project "soar-lib" with a run named by the last two parts of the folder's path,
    which a resumed run continues; key or offline mode come from the environment. Raises ConfigError."""
    check_logger(name)
    if not isinstance(name, str):
        yield name
        return
    folder, writers = Path(folder), []

    def log(rows: Sequence[dict]) -> None:
        if not writers:  # the folder is the run's to make, so nothing is opened before it has rows
            writers.append(_tensorboard(folder) if name == "tensorboard" else _tracker(name, folder, settings))
        places = _earlier(folder / "metrics.csv", len(rows))
        for row in rows:
            curve = curve_name(row)
            writers[0][0](curve, places[curve], values(row))
            places[curve] += 1

    try:
        yield log
    finally:
        for _, close in writers:
            close()


def curve_name(row: dict) -> str:
    """The name of the curve that a row of metrics.csv belongs to: whom the row is about.

    >>> curve_name({"round": 3, "policy": "student", "dataset": 0, "repeat": 1, "step": 9, "reward": 10.0})
    'student/0/1'
    """
    return "/".join(str(row[name]) for name in WHO if row.get(name) not in (None, "")) or "run"


def values(row: dict) -> dict[str, float]:
    """The row's numbers, without those that say whom it is about.

    >>> values({"round": 3, "policy": "teacher", "step": 2, "reward": 0.25, "note": "text"})
    {'round': 3.0, 'step': 2.0, 'reward': 0.25}
    """
    return {name: float(value) for name, value in row.items() if isinstance(value, int | float) and name not in WHO}


def _earlier(path: Path, count: int) -> Counter[str]:
    """How many rows each curve has in a metrics.csv whose last `count` rows are not counted."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Counter(map(curve_name, rows[: len(rows) - count]))


def _tensorboard(folder: Path) -> tuple[Write, Callable[[], None]]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(curve: str, place: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            if name not in WHEN:
                writer.add_scalar(f"{curve}/{name}", value, place)

    return write, writer.close


def _tracker(name: str, folder: Path, settings: dict[str, Any]) -> tuple[Write, Callable[[], None]]:
    """wandb or Trackio, by the same three calls. A curve's place is a number of its own, as their step must grow."""
    tracker, path = importlib.import_module(LOGGERS[name]), folder.resolve()
    key = {"id": hashlib.sha256(str(path).encode()).hexdigest()[:16]} if name == "wandb" else {}  # Trackio goes by name
    tracker.init(project="soar-lib", name="/".join(path.parts[-2:]), config=settings, resume="allow", **key)

    def write(curve: str, place: int, numbers: dict[str, float]) -> None:
        tracker.log({f"{curve}/{key}": value for key, value in numbers.items()} | {f"{curve}/place": place})

    return write, tracker.finish


@dataclass(frozen=True)
class Hooks:
    """What a caller hooks into a run: progress bars, a logger (of `LOGGERS`, or a function), who hears lines of text,
    who trains SOAR's students (a `student.train.InnerLoop`; None: this process)."""

    progress: bool = True
    log: str | Log | None = None
    say: Callable[[str], None] = print
    inner_loop: Any = None

    def __post_init__(self) -> None:
        check_logger(self.log)


Commit = tuple[dict[str, dict], dict[str, Any], dict[str, Sequence[dict]]]  # tensors, state, rows for each log
Stage = Callable[[], Commit]


def run_stages(
    this: Run, stages: Sequence[Stage], hooks: Hooks, title: str, unit: str = "stage", note: Callable[[], dict] = dict
) -> None:
    """Do the stages of a run that are left and commit what each returns; the progress bar shows what `note` returns."""
    bar = tqdm(total=len(stages), initial=this.round, desc=title, unit=unit, disable=not hooks.progress)
    with bar, opened(hooks.log, this.folder, read_json(this.folder / "config.json")) as this.log:
        for stage in stages[this.round :]:
            tensors, state, records = stage()
            this.commit(tensors, state, **records)
            bar.set_postfix(note(), refresh=False)
            bar.update()
