"""What a copy of PyPA's advisory database knows of the packages that are installed here: an audit without a network.

    git clone https://github.com/pypa/advisory-database build/advisories
    python -m tools.audit build/advisories

pip-audit asks a service for the same records; this reads them from a folder, one YAML file per advisory in the OSV
format (https://ossf.github.io/osv-schema), and prints those whose affected versions hold an installed one.
"""

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version


def findings(database: Path, installed: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(package, advisory, its first line) of each advisory that affects an installed package (name -> version)."""
    for name, version in sorted(installed.items()):
        for path in sorted((database / "vulns" / name).glob("*.yaml")):
            record = yaml.safe_load(path.read_text(encoding="utf-8"))
            ours = [part for part in record["affected"] if canonicalize_name(part["package"]["name"]) == name]
            if not record.get("withdrawn") and any(affects(part, Version(version)) for part in ours):
                yield name, record["id"], record["details"].strip().splitlines()[0]


def affects(part: Mapping, version: Version) -> bool:
    """Whether a version is one of those listed, or lies in a range: from `introduced` on, before `fixed` or up to
    `last_affected`.

    >>> affects({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}]}, Version("2.0"))
    True
    """
    if str(version) in part.get("versions", ()):
        return True
    inside = False
    for found in part.get("ranges", ()):
        for event, text in (pair for step in found["events"] * (found["type"] == "ECOSYSTEM") for pair in step.items()):
            edge = Version(text)
            if event == "introduced" and version >= edge:
                inside = True
            elif version > edge or event == "fixed" and version == edge:
                inside = False
    return inside


def here() -> dict[str, str]:
    """The packages of this environment, versions by canonical name."""
    return {canonicalize_name(one.metadata["Name"]): one.version for one in distributions()}


def main(database: Path) -> None:
    """Print the findings of this environment, and how many packages the database knows."""
    installed, known = here(), [path.name for path in (database / "vulns").iterdir()]
    found = list(findings(database, installed))
    for name, advisory, text in found:
        print(f"{name} {installed[name]}: {advisory}: {text}")
    print(f"{len(found)} findings; of {len(installed)} packages here {len({*known} & {*installed})} have advisories")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
