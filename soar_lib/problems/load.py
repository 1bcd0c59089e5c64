"""Problem sets by name, all as one list of `Problem`: JSONL files and benchmarks (rows.py), reasoning-gym families, the
embedded world."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path

import torch
from reasoning_gym.factory import DATASETS, create_dataset

from soar_lib.problems import hub
from soar_lib.problems.rows import LoadError, boxable, load_file, suggest
from soar_lib.randomness import generator
from soar_lib.records import Problem

PLANNED_WHOLE = ("acre", "gsm_symbolic")  # families whose generator plans all items of a set from the set's seed
UNSEEDED = ("list_functions",)  # its generator draws from Python's global random state
KINDS = ("", "-transfer", "-integrals", "-middle", "-deep", "-other")
EMBEDDED = tuple(f"{world}{kind}" for world in ("nano", "nano2") for kind in KINDS)
GENERATED_SIZE = 500  # problems of a family where no size is given


def load(name: str | Path, *, seed: int = 0, size: int | None = None, **parameters) -> list[Problem]:
    """The problems of a JSONL file, of a published benchmark ("hub:math_test"; hub.toml lists them), of an embedded
    world ("nano"; "nano-transfer", the family that no pool holds; "nano-integrals", its integrals alone; more in
    `EMBEDDED`) or of a reasoning-gym family ("rg:chain_sum").

    A file or benchmark gives all rows in order, or `size` of them drawn under `seed`. A family, named with or without
    "rg:", takes generator `parameters` (`min_terms=3`); its item i depends on `seed + i` alone. Raises LoadError for an
    unknown name, a malformed row, a wrong parameter or a size that is not to be had."""
    name = str(name)
    is_family = name.startswith("rg:") or name in DATASETS
    if size is not None and size < 1:
        raise LoadError(f"size {size}: ask for at least one problem")
    if parameters and not is_family:
        raise LoadError(f"{name}: parameters ({', '.join(parameters)}) are for reasoning-gym families; leave them out")
    if name in EMBEDDED:
        from soar_lib.nano import world, world2  # they and their word lists are needed by these names alone

        source, usual = (world2, GENERATED_SIZE) if name.startswith("nano2") else (world, 300)
        return source.pool(name, seed, size or usual)
    if is_family:
        return load_family(name.removeprefix("rg:"), seed, size or GENERATED_SIZE, **parameters)
    if name.startswith("hub:"):
        return _draw(hub.load(name.removeprefix("hub:")), size, seed, name)
    if Path(name).exists():
        return _draw(load_file(name), size, seed, name)
    known = [*EMBEDDED, *DATASETS, *(f"hub:{key}" for key in hub.SETS)]
    raise LoadError(f"{name}: neither a file nor a reasoning-gym family{suggest(name, known)}")


def _draw(problems: list[Problem], size: int | None, seed: int, name: str) -> list[Problem]:
    """`size` problems without replacement, in the order of the file."""
    if size is None:
        return problems
    if size > len(problems):
        raise LoadError(f"{name}: has {len(problems)} problems, {size} were asked for; ask for fewer")
    chosen = torch.randperm(len(problems), generator=generator(seed, "load"))[:size]
    return [problems[i] for i in sorted(chosen.tolist())]


def load_family(family: str, seed: int, size: int, **parameters) -> list[Problem]:
    """Items `seed .. seed + size - 1` of a reasoning-gym family; `parameters` go to its generator. Where several
    answers are right, the reference is the generator's own. Raises LoadError for a family that is unknown, cannot be
    drawn again or has no reference answers, and for wrong parameters."""
    if family not in DATASETS:
        raise LoadError(f"rg:{family}: no such reasoning-gym family{suggest(family, DATASETS)}")
    if family in UNSEEDED:
        raise LoadError(f"rg:{family}: no seed makes its items the same twice; choose another family")
    try:
        if family in PLANNED_WHOLE:
            items = [create_dataset(family, seed=seed + i, size=1, **parameters)[0] for i in range(size)]
        else:
            items = list(create_dataset(family, seed=seed, size=size, **parameters))
    except (TypeError, AssertionError, ValueError) as error:
        known = [field.name for field in fields(DATASETS[family][1]) if field.name not in ("seed", "size")]
        raise LoadError(" ".join(f"rg:{family}: {error}; parameters are {', '.join(known)}".split())) from None
    if any(item["answer"] is None for item in items):
        raise LoadError(f"rg:{family}: has no single reference answer to compare with; choose another family")
    settings = json.dumps(parameters, sort_keys=True, default=str)
    mark = f"-{hashlib.sha256(settings.encode()).hexdigest()[:6]}" if parameters else ""
    return [
        Problem(f"rg/{family}{mark}/{seed + i}", item["question"], boxable(str(item["answer"])), f"rg:{family}", family)
        for i, item in enumerate(items)
    ]
