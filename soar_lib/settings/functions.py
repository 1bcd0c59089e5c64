"""Settings that are functions: a name out of a table, or a function of the caller's, recorded by name and source.

A run folder must say which function it used, and a resumed run must notice another one. So a function given in place
of a name becomes the setting `module.qualname sha256:...`, the hash of its source (also of a lambda's or a notebook's).
The hash covers plain values that the function has captured, but not what it calls nor the global variables it reads.
"""

import hashlib
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from soar_lib.settings.values import ConfigError

RECORDED = re.compile(r"\S+ sha256:[0-9a-f]{12}")
PLAIN = (bool, int, float, str, type(None))


def describe(function: Callable) -> str:
    """What a run folder records of a function: `module.qualname sha256:` and twelve digits of its source's hash.

    Raises ConfigError for what has no source of its own, such as a `functools.partial`.
    """
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
    """The short name of such a setting, for tables.

    >>> label("grounded"), label("__main__.shorter sha256:0123456789ab")
    ('grounded', 'shorter')
    """
    return setting.split(" ")[0].split(".")[-1]


def chosen(config: Any, field: str, given: str | Callable | None, table: Mapping[str, str]) -> tuple[Any, Callable]:
    """(settings that record it, the function): `given`, a name of `table` or a function, else what `config` names.

    `table` maps a name to "module:function". Raises ConfigError where the settings record a function that is not given.
    """
    if callable(given):
        return replace(config, **{field: describe(given)}), given
    config = config if given is None else replace(config, **{field: given})
    name = getattr(config, field)
    if name not in table:
        raise ConfigError(f"{field} = {name!r}: was a function; give it to run() again, or name {', '.join(table)}")
    module, function = table[name].split(":")
    return config, getattr(importlib.import_module(module), function)
