"""The teaching kit in notebooks/teaching: its links, names and times are those of the project."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks" / "teaching"
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#\s]+)\)")
NAME = re.compile(r"`(\w+)`$")


def links(path: Path) -> list[tuple[str, str]]:
    """(text, target) of each link to a file, in a page or in a notebook's source."""
    return LINK.findall(path.read_text())


def defined(path: Path) -> set[str]:
    """The functions and classes of a module."""
    tree = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("path", sorted([*FOLDER.glob("*.md"), *FOLDER.glob("*.ipynb")]), ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path):
    assert {target for _, target in links(path) if not (FOLDER / target).exists()} == set()


def test_every_function_of_the_equations_stands_where_its_link_leads():
    named = [(match[1], target) for text, target in links(FOLDER / "equations.md") if (match := NAME.match(text))]
    assert len(named) >= 40
    missing = [(name, target) for name, target in named if name not in defined((FOLDER / target).resolve())]
    assert missing == []


def test_a_name_that_is_not_there_is_noticed():
    assert "advantages" in defined(FOLDER / "../../soar_lib/engine/update.py")
    assert "advantage" not in defined(FOLDER / "../../soar_lib/engine/update.py")


def test_every_file_of_the_glossary_holds_the_name_beside_it():
    rows = [line for line in (FOLDER / "glossary.md").read_text().splitlines() if "](../" in line]
    assert len(rows) >= 30
    for row in rows:
        *_, names, where, _ = row.split("|")
        text = "".join((FOLDER / target).read_text() for _, target in LINK.findall(where))
        words = re.findall(r"\w{2,}", " ".join(re.findall(r"`([^`]+)`", names)))
        assert words and all(word in text for word in words), row
