"""Notebooks: rules that a reader relies on, and each one runs from a fresh kernel on the smoke preset."""

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from execute import workplace
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NAMES = sorted(
    str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
LESSONS = [name for name in NAMES if not name.startswith("solutions/")]
INSTALL = re.compile(r"""\b(pip3?|uv|conda|mamba|apt|apt-get|npm)([\s"',]+(-\S+|pip))*[\s"',]+(add|install)\b""")
ABSOLUTE = re.compile(
    r"(?<![\w.~])/(home|root|work|tmp|usr|Users|opt|content|kaggle|mnt|media|srv|var|private)/|\b[A-Z]:[\\/]+Users\b"
)
PARTS = ["What you will learn", "Setup", "A small example by hand", "What can go wrong", "Exercises"]


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def test_every_lesson_has_its_solutions():
    assert LESSONS and sorted(f"solutions/{name}" for name in LESSONS) == sorted(set(NAMES) - set(LESSONS))


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_has_its_parts_in_order(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    found = [next((i for i, heading in enumerate(headings) if heading == part), None) for part in PARTS]
    assert None not in found and found == sorted(found)
    assert any(heading.startswith("Results") for heading in headings)
    assert all(f"| {machine} |" in read(name).cells[0].source for machine in ("CPU, 2 cores", "T4", "H200"))


@pytest.mark.parametrize("name", LESSONS)
def test_card_states_the_measured_numbers_and_no_others(name):
    path = ROOT / "figures" / "data" / "notebooks.csv"
    measured = pd.read_csv(path).set_index("notebook") if path.exists() else pd.DataFrame()
    numbers = "not measured yet | not measured yet"
    if name in measured.index:
        numbers = f"{measured.at[name, 'minutes']:.1f} minutes | {measured.at[name, 'memory_mb']} MB"
    assert f"| CPU, 2 cores | {numbers} |" in read(name).cells[0].source


@pytest.mark.parametrize("name", LESSONS)
def test_preset_is_read_in_one_line_of_the_setup_cell(name):
    sources = [cell.source for cell in code_cells(name)]
    lines = [line for source in sources for line in source.splitlines() if "environ" in line]
    assert lines == ['PRESET = os.environ.get("SOAR_PRESET", "nano")'] and lines[0] in sources[0]


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_short_and_install_nothing_after_the_setup(name):
    for number, cell in enumerate(code_cells(name)):
        assert len(cell.source.splitlines()) <= 12, f"cell {number} of {name}"
        assert number == 0 or not INSTALL.search(cell.source)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_committed_from_one_fresh_kernel(name):
    cells = code_cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) - 1  # the setup cell may say nothing
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


@pytest.mark.parametrize("name", NAMES)
def test_file_is_small_portable_and_without_widget_state(name):
    text = (FOLDER / name).read_text()
    assert (FOLDER / name).stat().st_size < 1_000_000
    assert "vnd.jupyter.widget" not in text and "widgets" not in read(name).metadata
    assert not ABSOLUTE.search(text)


@pytest.mark.parametrize(
    "source",
    ["%pip install x", "!uv pip -q install x", "!apt-get -y install x", "run([python, '-m', 'pip', 'install', 'x'])"],
)
def test_an_install_is_recognised(source):
    assert INSTALL.search(source) and not INSTALL.search("pip and conda can install it")


@pytest.mark.parametrize("path", ['"/home/me/x"', "(/tmp/x)", "/content/drive", r"C:\\Users\\me", "D:/Users/me"])
def test_an_absolute_path_is_recognised(path):
    assert ABSOLUTE.search(path)
    assert not any(map(ABSOLUTE.search, ["../runs/tmp/x", "~/work/x", "https://a.org/home/x", r"\\boxed{1}/usr"]))


@pytest.mark.parametrize("name", NAMES)
def test_runs_from_a_fresh_kernel_on_the_smoke_preset(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SOAR_PRESET", "smoke")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    work, notebook = workplace(tmp_path), read(name)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(work)}}).execute()
    results = [o["data"]["text/plain"] for c in notebook.cells for o in c.get("outputs", []) if "data" in o]
    checks = [text for text in results if re.search(r"^'\w+: (right|not written yet)'$", text)]
    expected = "right" if name.startswith("solutions/") else "not written yet"
    assert len(checks) == 3 and all(expected in text for text in checks)
