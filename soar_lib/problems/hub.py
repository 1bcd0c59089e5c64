"""Benchmarks from their public homes: `hub:math_test` and the other names in `SETS`, wherever a problem set is named.

A set is one file at a pinned revision. It is downloaded once, into the cache of huggingface_hub or datasets, and read
as a local copy of it would be (rows.py). Then the number of problems and, where it is known, their checksum are
compared; so a run names its problems exactly. `hub:NAME@REVISION` takes another revision as it is. The sets overlap
(`likeness.overlap`): HARP holds problems of MATH and all of AIME 2024."""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from soar_lib.problems.rows import LoadError, problems_of, read_rows, suggest
from soar_lib.records import Problem
from soar_lib.settings.values import first_line, network


@dataclass(frozen=True)
class HubSet:
    """The file of one benchmark: where it is published, at which revision, and what it must hold."""

    repository: str  # a dataset on the Hub; with https://, a repository elsewhere
    revision: str
    file: str
    rows: int
    licence: str  # as the repository states it
    sha256: str = ""  # `checksum`, of a file with the repository's own records; "": no such file was at hand


_TABLE = tomllib.loads(Path(__file__).with_name("hub.toml").read_text(encoding="utf-8"))
SETS = {name: HubSet(**row) for name, row in _TABLE.items()}


def find(name: str) -> HubSet | None:
    """The set with this name (a key of `SETS`, or KEY@REVISION), at the revision named; None for an unknown key."""
    key, _, revision = name.partition("@")
    return replace(SETS[key], revision=revision or SETS[key].revision) if key in SETS else None


def load(name: str) -> list[Problem]:
    """The problems of a set, in the order of its file; `name` is a key of `SETS`, KEY@REVISION for an unpinned
    revision. Raises LoadError: an unknown name, no network and no copy, other records than the pinned ones."""
    key, _, revision = name.partition("@")
    home = find(name)
    if home is None:
        raise LoadError(f"hub:{key}: no such set{suggest(key, SETS)}; known are {', '.join(SETS)}")
    path = _download(key, home)
    if path.suffix == ".parquet":
        from datasets import Dataset

        rows = enumerate(Dataset.from_parquet(str(path), keep_in_memory=True), 1)
    else:
        rows = read_rows(path)  # JSONL, whatever its name
    problems = problems_of(rows, key, f"hub:{name}")
    if not revision:
        _check(key, home, problems)
    return problems


def checksum(problems: Sequence[Problem]) -> str:
    """The sha256 of questions and answers as sorted lines of JSONL, whatever a copy's order, numbering and format."""
    lines = (json.dumps({"question": p.question, "answer": p.answer}, ensure_ascii=False) + "\n" for p in problems)
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _check(key: str, home: HubSet, problems: Sequence[Problem]) -> None:
    found, known = f"{len(problems)} problems", f"{home.rows} problems"
    if home.sha256:
        found, known = f"{found} of sha256 {checksum(problems)[:12]}", f"{known} of sha256 {home.sha256[:12]}"
    if found != known:
        raise LoadError(
            f"hub:{key}: {home.file} of {home.repository} holds {found}, not {known}; download it again, or take it as "
            f"it is by its revision: hub:{key}@{home.revision}"
        )


def _download(key: str, home: HubSet) -> Path:
    """The set's file on this machine, from the cache where it is there already."""
    try:
        if home.repository.startswith("https://"):
            return _from_elsewhere(home)
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(home.repository, home.file, repo_type="dataset", revision=home.revision))
    except Exception as error:  # whatever a proxy or its setting makes the Hub's clients raise
        reason = f"{type(error).__name__}: {first_line(error):.120}"
        raise LoadError(
            f"hub:{key}: {home.file} of {home.repository} cannot be had ({reason}); {network()}connect to the network "
            "once, or give a file of it: --problems FILE.jsonl"
        ) from error


def _from_elsewhere(home: HubSet) -> Path:
    """The file, or the one in a zip archive, which has its name."""
    from datasets import DownloadConfig, DownloadManager

    manager = DownloadManager(download_config=DownloadConfig(use_etag=False))  # a revision never changes
    found = Path(manager.download_and_extract(f"{home.repository}/raw/{home.revision}/{home.file}"))
    return next(found.rglob(Path(home.file).stem)) if found.is_dir() else found
