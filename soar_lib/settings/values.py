"""Settings as plain values: checks, changes by dotted names, and differences, for any frozen dataclass of settings."""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import attrgetter
from os import getenv
from pathlib import Path
from typing import Any

NANO = Path(__file__).parents[1] / "nano"  # where the models are that the package ships, SHIPPED
SHIPPED = {f"nano{kind}": NANO / f"weights{kind}".replace("-", "_") for kind in ("", "2", "2-plain", "2-calculus")}


class ConfigError(ValueError):
    """A setting is unknown, out of range or contradicts another one; the message names it and the fix."""


class LoadError(ValueError):
    """A problem set that cannot be read; the message is one line and says what to do."""


def require(settings: Any, name: str, good: bool, rule: str) -> None:
    """Raise ConfigError for the setting `name`, dotted where nested, unless `good`; `rule` says what it must be."""
    if not good:
        raise ConfigError(f"{name} = {attrgetter(name)(settings)!r}: must be {rule}")


# The most that a number may be; beyond it is no time, no room or no sense. Others: LARGEST.
LARGEST = 10**7
MOST = {"temperature": 100, "temperatures": 100, "seed": 2**63 - 1, "max_tokens": 10**9, "rows": 10**9} | dict.fromkeys(
    ("group", "batch", "k", "size", "pool_size", "variants", "votes", "max_new_tokens", "dataset_size"), 10**5
)


def require_all(
    settings: Any, positive: Sequence[str] = (), from_zero: Sequence[str] = (), **among: Iterable[str]
) -> None:
    """Raise ConfigError unless these numbers are positive, those 0 or more, the others among their choices, and all
    numbers of the settings finite and at most `MOST`."""
    for item in dataclasses.fields(settings):
        value, most = getattr(settings, item.name), MOST.get(item.name, LARGEST)
        numbers = [one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, int | float)]
        require(settings, item.name, all(-most <= one <= most for one in numbers), f"a number of at most {most:,}")
    for names, least, rule in ((positive, math.ulp(0.0), "more than 0"), (from_zero, 0, "0 or more")):
        for name in names:
            require(settings, name, getattr(settings, name) >= least, rule)
    for name, known in among.items():
        require(settings, name, getattr(settings, name) in known, f"one of {', '.join(known)}")


def revision(model: str, asked: str = "") -> str:
    """Which copy of a model is on this machine: of a folder or a SHIPPED one the hash of its files; of a Hub id the
    commit that `asked` (a branch, tag or commit; "": the newest) was when it was downloaded, else `asked`. Raises
    ConfigError for a folder that is not as `asked`."""
    if (folder := Path(SHIPPED.get(model, model)).expanduser()).is_dir():
        if odd := [path.name for path in folder.glob("*") if path.exists() and not (path.is_file() or path.is_dir())]:
            raise ConfigError(f"model {model!r}: its {odd[0]} is no regular file; take another copy of the model")
        parts = [path for path in sorted(folder.glob("*")) if path.suffix in (".safetensors", ".json", ".jinja")]
        found = _hash(*((path, path.stat().st_size, path.stat().st_mtime_ns) for path in parts))
        if asked not in ("", found):
            raise ConfigError(f"revision = {asked!r}: the files of {model} are {found}; take those of that hash")
        return found
    from huggingface_hub import try_to_load_from_cache

    with suppress(ValueError):  # no Hub id: whoever loads it says so
        if isinstance(path := try_to_load_from_cache(model, "config.json", revision=asked or None), str):
            return Path(path).parent.name
    return asked


@functools.cache
def _hash(*parts: tuple[Path, int, int]) -> str:
    """Of files' names and contents; their sizes and times of change tell when they must be read again."""
    whole = hashlib.sha256()
    for path, *_ in parts:
        with path.open("rb") as file:
            whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{whole.hexdigest()[:12]}"


def network() -> str:
    """What to check before the network is blamed, for a message: proxies that are set, certificates that are absent."""
    proxies = [name for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") if getenv(name) or getenv(name.lower())]
    absent = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if getenv(name) and not Path(getenv(name)).exists()]
    return f"check the environment's {', '.join(proxies + absent)}, or " if proxies + absent else ""


def folder_of(start: str) -> str:
    """The folder of a setting `start`, as given or as recorded with the hash of its adapter."""
    return start.partition(" sha256:")[0]


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


@contextmanager
def explained(what: str, advice: str) -> Iterator[None]:
    """Whatever a library raises inside, as a ConfigError of one line: `what`, the error's kind and text, `advice`."""
    try:
        yield
    except Exception as error:
        raise ConfigError(f"{what} ({type(error).__name__}: {first_line(error)}); {advice}") from error


def change(settings: Any, values: dict[str, Any], prefix: str = "") -> Any:
    """A copy of `settings` with other values; keys may be dotted, nested groups may be dictionaries, lists become
    tuples. Unknown names and values of the wrong type raise `ConfigError`."""
    plain: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    known = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if head not in known:
            message = f"{type(settings).__name__} has no such setting; it has {', '.join(known)}"
            raise ConfigError(f"{prefix}{name}: {message}")
        if rest:
            groups.setdefault(head, {})[rest] = value
        elif isinstance(value, dict):
            groups.setdefault(head, {}).update(value)
        else:
            groups.pop(head, None)
            plain[head] = _typed(known[head], value, prefix + head)
    for head, inner in groups.items():
        if not dataclasses.is_dataclass(known[head]):
            raise ConfigError(f"{prefix}{head} = {inner!r}: must be one value, not a group of settings")
        plain[head] = change(plain.get(head, known[head]), inner, f"{prefix}{head}.")
    try:
        return dataclasses.replace(settings, **plain)
    except ConfigError as error:
        raise ConfigError(prefix + str(error)) from None


def _typed(current: Any, value: Any, name: str) -> Any:
    """`value` if it is of the type of the setting's present value; integers serve as floats, lists as tuples."""
    if isinstance(current, tuple) and isinstance(value, list | tuple):
        return tuple(_typed(current[0], item, name) for item in value)
    if isinstance(current, float) and type(value) is int and abs(value) < 1e300:  # beyond, no float holds it
        return float(value)
    if type(value) is not type(current):
        raise ConfigError(f"{name} = {value!r}: must be of type {type(current).__name__}")
    return value


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names.

    >>> flat({"seed": 0, "student": {"steps": 3}})
    {'seed': 0, 'student.steps': 3}
    """
    found = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The settings in which two configurations differ, as "name: old -> new".

    >>> differences({"seed": 0, "student": {"steps": 3}}, {"seed": 0, "student": {"steps": 4}})
    ['student.steps: 3 -> 4']
    """
    left, right = flat(old), flat(new)
    names = sorted(name for name in left | right if left.get(name) != right.get(name))
    return [f"{name}: {left.get(name)!r} -> {right.get(name)!r}" for name in names]


# A run folder must say which function it used, and a resumed run must notice another one. So a function given in place
# of a name becomes the setting `module.qualname sha256:...`, the hash of its source (also a lambda's or a notebook's).
# The hash covers plain values that the function has captured, but not what it calls nor the global variables it reads.
RECORDED = re.compile(r"\S+ sha256:[0-9a-f]{12}")
PLAIN = (bool, int, float, str, type(None))


def described(function: Callable) -> str:
    """A function as run folders record it: `module.qualname sha256:...`. Raises ConfigError where it has no source."""
    if not inspect.isfunction(function):
        raise ConfigError(f"{function!r} is not a plain function, whose source could be recorded; wrap it in a def")
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):  # typed where no source is kept, as with `python -c`
        source = repr((function.__code__.co_code, function.__code__.co_consts, function.__code__.co_names))
    captured = [cell.cell_contents for cell in function.__closure__ or () if isinstance(cell.cell_contents, PLAIN)]
    digest = hashlib.sha256(f"{source}{captured}{function.__defaults__}".encode()).hexdigest()
    return f"{function.__module__}.{function.__qualname__} sha256:{digest[:12]}"


def label(setting: str) -> str:
    """The short name, for tables, of a setting that may be a function as `described` records it.

    >>> label("grounded"), label("__main__.shorter sha256:0123456789ab")
    ('grounded', 'shorter')
    """
    return setting.split(" ")[0].split(".")[-1]


def chosen(config: Any, field: str, given: str | Callable | None, table: Mapping[str, str]) -> tuple[Any, Callable]:
    """(settings that record it, the function): `given`, a name of `table` or a function, else what `config` names.
    `table` maps a name to "module:function". Raises ConfigError where the settings' function is not given."""
    if callable(given):
        return dataclasses.replace(config, **{field: described(given)}), given
    config = config if given is None else dataclasses.replace(config, **{field: given})
    name = getattr(config, field)
    if name not in table:
        raise ConfigError(f"{field} = {name!r}: was a function; give it to run() again, or name {', '.join(table)}")
    module, function = table[name].split(":")
    return config, getattr(importlib.import_module(module), function)
