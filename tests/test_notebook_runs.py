"""Each notebook runs from top to bottom, and once more, in one fresh kernel."""

import re

import nbformat
import pytest
from execute import WIDGET, strip

from tests.lessons import NAMES, play, read


@pytest.mark.parametrize("name", NAMES)
def test_runs_twice_in_one_fresh_kernel_on_the_smoke_preset(name, site, monkeypatch):
    """All cells from top to bottom, and once more, as a reader does who changed something. Under every widget that
    is a cell's result stands what a reader without a kernel sees."""
    notebook = read(name)
    notebook.cells += [nbformat.from_dict(cell) for cell in read(name).cells]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell{number}"
    outputs = play(notebook, (site / "notebooks" / name).parent, monkeypatch)
    results = [output["data"]["text/plain"] for output in outputs if "data" in output]
    checks = [text for text in results if re.search(r"^'\w+: (right|not written yet)'$", text)]
    expected = "right" if name.startswith("solutions/") else "not written yet"
    assert len(checks) == (0 if name.startswith("teaching/") else 6) and all(expected in text for text in checks)
    widgets = [o.data for o in outputs if o.output_type == "execute_result" and WIDGET in o.data]
    assert all({"image/png", "text/html"} & {*data} for data in widgets)
    strip(notebook)
    assert WIDGET not in nbformat.writes(notebook) and "(a widget" not in nbformat.writes(notebook)
