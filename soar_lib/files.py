"""Files of a run folder: written whole or not at all, and read with one line that names what is wrong with them; and
the lock that keeps a folder to one process."""

import csv
import fcntl
import functools
import io
import json
import os
import shutil
import socket
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from soar_lib.records import TYPES, Problem, fault, fits, layout, named, record
from soar_lib.settings.values import ConfigError, change, first_line, flat

if TYPE_CHECKING:  # the command line's checks need not wait for it
    import pandas as pd

T = TypeVar("T")
LATER = {"sprayed"}  # columns of metrics.csv that a run begun by an older version goes on without
LOST = "put it back from a copy, or begin again in another folder"


class RunError(RuntimeError):
    """A run folder that cannot be used; the message is one line with the folder and what to do."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a new file or folder, which then takes the place of `path` as a whole: after a kill or a power cut
    there is the old one or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a folder, what a killed process left; a file is written over
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:  # a full disk keeps no half of it
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write bytes to a file, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to disk (fsync): only then does a renamed file survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomic(path: Path, text: str) -> None:
    """Write a text in UTF-8 to a file, whole or not at all."""
    write_bytes_atomic(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all; NaN and infinities raise ValueError."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, kind: type = dict, **needed: type) -> Any:
    """The object (or list) in a JSON file. Raises RunError where it is damaged or lacks a field of `needed`."""
    return _parsed(path, text_of(path), str(path), kind, needed)


def _parsed(path: Path, text: str, place: str, kind: type, needed: Mapping[str, type]) -> Any:
    """The JSON value of a file or a line. Raises RunError that names the place, the cause and what to do."""
    try:
        value = json.loads(text)
        wrong = "" if isinstance(value, kind) else f"holds no JSON {'object' if kind is dict else 'list'}"
        if not wrong and (bad := [name for name, of in needed.items() if not fits(value.get(name), of)]):
            wrong = f"{bad[0]!r} is missing or not {named(needed[bad[0]])}"
    except (ValueError, RecursionError) as error:
        wrong = f"is not JSON ({first_line(error)})" if text.strip() else "is empty" if path.exists() else "is missing"
    if wrong:
        raise RunError(f"{place}: {wrong}; {LOST}")
    return value


def jsonl(records: Iterable[dict]) -> str:
    """The records as text, one JSON object per line; NaN and infinities raise ValueError."""
    return "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)


def append_jsonl(path: Path, records: Iterable[dict]) -> None:
    """Add records to a file of one JSON object per line, all of them at once."""
    write_text_atomic(path, text_of(path) + jsonl(records))


def read_jsonl(path: Path, kind: type | None = None, **more: Any) -> list[dict]:
    """The rows of a JSONL file, none where there is no file yet; with `kind`, defaults fill what a row leaves out.
    Raises RunError naming the line that is not JSON, or no record of `kind` with `more` fields (`records.fault`)."""
    rows, given = [], layout(kind)[1] if kind else {}
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line:
            row = _parsed(path, line, f"{path}:{number}", dict, {})
            if kind and (wrong := fault(kind, row, more)):
                raise RunError(f"{path}:{number}: {wrong}; {LOST}")
            rows.append(given | row)
    return rows


def read_records(path: Path, kind: type[T], **more: Any) -> list[T]:
    """The rows of a JSONL file as records of `kind`, none without a file. Raises RunError where a row is damaged."""
    return [record(kind, row) for row in read_jsonl(path, kind, **more)]


def read_record(path: Path, kind: type[T], part: str = "") -> T:
    """The object in a JSON file, or its field `part`, as a record of `kind`. Raises RunError where it is damaged."""
    values = read_json(path, **{part: dict} if part else {})
    row = values[part] if part else values
    if wrong := fault(kind, row):
        raise RunError(f"{path}: {f'{part}: ' * bool(part)}{wrong}; {LOST}")
    return record(kind, row)


def read_config(folder: str | Path, kind: type[T]) -> T:
    """The settings that a run folder began with. Raises RunError where they are damaged or another command's."""
    path = Path(folder) / "config.json"
    try:
        return change(kind(), read_json(path))
    except ConfigError as error:
        raise RunError(f"{path}: {error}; {LOST}") from None


def setting(folder: str | Path, name: str, kind: type[T]) -> T:
    """One setting that a run began with (`group.name` in a group). Raises RunError: missing, or not of type `kind`."""
    path = Path(folder) / "config.json"
    if fits(value := flat(read_json(path)).get(name), kind):
        return value
    raise RunError(f"{path}: {name!r} is missing or not of type {kind.__name__}; {LOST}")


def append_csv(path: Path, rows: Sequence[dict]) -> None:
    """Add rows to a CSV file, all of them at once; a new file takes its header from the first row."""
    if not rows:
        return
    old, buffer = text_of(path), io.StringIO()
    columns = next(csv.reader(io.StringIO(old))) if old else list(rows[0])
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    if not old:
        writer.writeheader()
    left_out = LATER - {*columns}
    writer.writerows({name: value for name, value in row.items() if name not in left_out} for row in rows)
    write_text_atomic(path, old + buffer.getvalue())


def read_problems(folder: Path, name: str) -> list[Problem]:
    """The problems of a run folder's NAME.jsonl. Raises RunError where the file is missing or damaged."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        raise RunError(f"{path}: is missing; {LOST}")
    return read_records(path, Problem)


def write_problems(folder: Path, sets: Mapping[str, Iterable[Problem]]) -> None:
    """Write each set of problems as NAME.jsonl into a folder."""
    for name, problems in sets.items():
        write_text_atomic(folder / f"{name}.jsonl", jsonl(map(asdict, problems)))


def write_tables(folder: Path, tables: "Mapping[str, pd.DataFrame]") -> None:
    """Write each table as NAME.csv, the last one last; to ten digits, as processors do not agree on further ones."""
    for name, table in tables.items():
        text = table.to_csv(index=False, lineterminator="\n", float_format=lambda x: repr(float(f"{x:.10g}")))
        write_text_atomic(folder / f"{name}.csv", text)


def read_table(path: Path, *columns: str, advice: str = LOST, **more: Any) -> "pd.DataFrame":
    """A CSV table with the given columns and those in `more`, by type (float: cells may be empty; float | None: the
    column may be missing too) or allowed values. Raises RunError with file, line, cause and `advice`."""
    import pandas as pd

    try:
        table = pd.read_csv(stored(path))
        absent = [name for name in (*columns, *more) if name not in table and more.get(name) != float | None]
        cells = (_bad_cell(table[name], more[name]) for name in more if name in table)
        wrong = f": has no column {absent[0]!r}" if absent else next(filter(None, cells), "")
    except (OSError, ValueError, EOFError) as error:  # pandas' errors of empty and malformed files are ValueErrors
        wrong = ": is missing" if isinstance(error, FileNotFoundError) else f": cannot be read ({first_line(error)})"
    if wrong:
        raise RunError(f"{path}{wrong}; {advice}")
    return table


def _bad_cell(column: "pd.Series", hint: Any) -> str:
    """The first cell of a column that is not as its hint says, with its line; else ""."""
    import pandas as pd

    if column.empty:
        return ": has no rows"
    numbers = pd.to_numeric(column, errors="coerce")
    good = numbers.notna() | column.isna() if isinstance(hint, TYPES) else column.isin(list(hint))
    good = column.notna() if hint is str else numbers % 1 == 0 if hint is int else good
    line = int(good.argmin())
    found = f":{line + 2}: field {column.name!r} must be {named(hint)}, found {str(column[line])!r:.40}"
    return "" if good.all() else found


def stored(path: Path) -> Path:
    """The file's path, or NAME.gz's in its place (`gzip` may pack long logs). Raises RunError for what is no file."""
    packed = path.with_name(f"{path.name}.gz")
    found = packed if packed.exists() and not path.exists() else path
    if found.exists() and not found.is_file():
        raise RunError(f"{found}: is no regular file; {LOST}")
    return found


def text_of(path: Path) -> str:
    """The text of a file or its packed NAME.gz, empty where there is neither. Raises RunError where it is damaged."""
    path = stored(path)
    try:
        content = path.read_bytes() if path.exists() else b""
        return (zlib.decompress(content, wbits=31) if path.suffix == ".gz" else content).decode()
    except (UnicodeDecodeError, zlib.error):
        raise RunError(f"{path}: is not text in UTF-8{', packed whole' * (path.suffix == '.gz')}; {LOST}") from None


def digest(text: str) -> str:
    """The first 12 hexadecimal digits of a text's SHA-256."""
    return sha256(text.encode()).hexdigest()[:12]


def load_checkpoint(folder: Path, *names: str, **needed: Any) -> tuple[dict[str, dict], dict[str, Any]]:
    """Read (tensors by name, state) from a folder that `Run.commit` wrote. Raises RunError where it is damaged, has no
    tensors of one of `names`, or a field of the state, `needed` with a type, is missing or of another one."""
    from safetensors import SafetensorError
    from safetensors.torch import load  # here, so that the command line's checks need not wait for torch

    tensors, about = {}, read_json(folder / "state.json", state=dict, tensors=list[str] | None)
    for path in sorted({*folder.glob("*.safetensors"), *(folder / name for name in about.get("tensors") or ())}):
        try:
            tensors[path.stem] = load(stored(path).read_bytes())
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read ({first_line(error)}); {LOST}") from None
    state = about["state"]
    if bad := [*({*names} - tensors.keys()), *(name for name, of in needed.items() if not fits(state.get(name), of))]:
        raise RunError(f"{folder}: {bad[0]!r} is missing or not as a run writes it; {LOST}")
    return tensors, state


def write_checkpoint(folder: Path, tensors: Mapping[str, dict], state: dict) -> None:
    """Write tensors and state into a checkpoint's folder, which appears whole or not at all."""
    from safetensors.torch import save

    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        for name, values in tensors.items():
            content = save({key: value.detach().cpu().contiguous() for key, value in values.items()})
            write_bytes_atomic(temporary / f"{name}.safetensors", content)
        write_json(temporary / "state.json", state | {"tensors": [f"{name}.safetensors" for name in tensors]})
    sync_folder(folder.parent.parent)


_held: dict[Path, Any] = {}  # the open lock files of this process, by folder


def lock(folder: Path, probe: bool = False) -> None:
    """Take the run folder for this process, or with `probe` check that no other has it. Raises RunError naming who has.

    The lock is the kernel's (flock, on network file systems a lock of their server): it ends with the process, however
    that ends. Where the file system has no locks, it warns and goes on."""
    path, key = folder / ".lock", folder.resolve()
    if key in _held or (probe and not path.exists()):
        return
    file = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise RunError(f"{folder}: {holder} is at work in it; wait for its end, or choose another folder") from None
    except OSError as error:
        warnings.warn(f"{folder}: no lock is to be had ({error.strerror}); start no second process in it", stacklevel=4)
    if probe:  # free: what a killed process left is cleared away
        path.unlink(missing_ok=True)
        file.close()
    elif not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:  # its last holder has just ended
        file.close()
        lock(folder)
    else:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        _held[key] = file


def holding(run: Callable[..., T]) -> Callable[..., T]:
    """Decorate a function so that it lets go of the run folders it has locked, however it ends."""

    @functools.wraps(run)
    def released(*args: Any, **kwargs: Any) -> T:
        before = {*_held}
        try:
            return run(*args, **kwargs)
        finally:
            for folder in {*_held} - before:
                (folder / ".lock").unlink(missing_ok=True)
                _held.pop(folder).close()

    return released
