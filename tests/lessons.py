"""The notebooks: where they are, what kinds there are, and a run of one on the smoke preset."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NAMES = sorted(
    str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
LESSONS = [name for name in NAMES if "/" not in name]
SOLUTIONS = [name for name in NAMES if name.startswith("solutions/")]


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def play(notebook: nbformat.NotebookNode, place: Path, monkeypatch) -> list[nbformat.NotebookNode]:
    """Run all cells in a fresh kernel in `place` on the smoke preset; their outputs."""
    monkeypatch.setenv("SOAR_PRESET", "smoke")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}}).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]
