"""Execute the notebooks from fresh kernels, save their outputs, and note time and memory in figures/data: notebooks.csv,
and by section, with the processor's own minutes and the load, notebook_sections.csv.

    python notebooks/execute.py                     all of them, on the default preset
    python notebooks/execute.py 01_filtering.ipynb  some of them

Time and memory are noted on the default preset alone (SOAR_PRESET unset). Each notebook runs in an empty working folder, so
nothing is resumed and the time is that of a first run. Widget state and progress bars are left out of the saved outputs:
they do not render on GitHub.
"""

import argparse
import os
import platform
import re
import shutil
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
WIDGET = "application/vnd.jupyter.widget-view+json"
STILL = "(a widget: run the notebook to use it)"
COLUMNS = ["notebook", "cores", "machine", "minutes", "memory_mb", "load"]
SECTIONS = ["notebook", "section", "minutes", "processor_minutes", "load"]  # load: the machine's, of fifteen minutes
MEMORY = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"  # KiB on Linux


def execute(path: Path) -> tuple[nbformat.NotebookNode, float, float, pd.DataFrame]:
    """(executed notebook, minutes, peak memory of its kernel in MB, its sections' times), from a fresh kernel in an
    empty folder; times as in notebook_sections.csv."""
    notebook, clock = nbformat.read(path, as_version=4), []
    notebook.cells.append(nbformat.v4.new_code_cell(MEMORY))

    def tick(cell: nbformat.NotebookNode, cell_index: int, **_) -> None:
        used = psutil.Process(client.km.provisioner.pid).cpu_times()
        clock.append((cell_index, time.monotonic() / 60, (used.user + used.system) / 60))

    with tempfile.TemporaryDirectory() as home:
        place = workplace(Path(home)) / path.relative_to(FOLDER).parent
        client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(place)}})
        client.on_cell_execute = client.on_cell_executed = tick
        start = time.monotonic()
        client.execute()
        minutes = (time.monotonic() - start) / 60
    memory = int(notebook.cells.pop().outputs[0]["text"]) / 1024
    return notebook, minutes, memory, sections(notebook, clock[:-2])


def sections(notebook: nbformat.NotebookNode, clock: list[tuple[int, float, float]]) -> pd.DataFrame:
    """What the cells under each heading took, from the clock before and after each: columns `SECTIONS` without the
    notebook."""
    rows = []
    for (cell, *before), (_, *after) in zip(clock[::2], clock[1::2], strict=True):
        text = "\n".join(part.source for part in notebook.cells[:cell] if part.cell_type == "markdown")
        rows.append([re.findall(r"^##? (.+)$", text, re.MULTILINE)[-1], *np.subtract(after, before)])
    frame = pd.DataFrame(rows, columns=SECTIONS[1:4]).groupby("section", sort=False).sum().round(2).reset_index()
    return frame.assign(load=round(os.getloadavg()[2], 1))


def workplace(home: Path) -> Path:
    """A notebooks/ in `home` with their pictures and exercises, beside what they read: figures/ and runs/reference/."""
    for folder in ("solutions", "teaching"):
        (home / "notebooks" / folder).mkdir(parents=True)
    for file in (*FOLDER.glob("*.svg"), *FOLDER.glob("exercises.*")):
        shutil.copy(file, home / "notebooks")
    (home / "runs").mkdir()
    (home / "figures").symlink_to(ROOT / "figures")
    (home / "runs" / "reference").symlink_to(ROOT / "runs" / "reference")
    return home / "notebooks"


def strip(notebook: nbformat.NotebookNode) -> None:
    """Leave out widget state, progress bars, timings of cells, and libraries' warnings, which name this machine's paths."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [_still(output) for output in cell.outputs if not (_is_progress(output) or _is_foreign(output))]


def _is_progress(output: nbformat.NotebookNode) -> bool:
    shown = output.output_type == "display_data" and WIDGET in output.data
    return shown or (output.output_type == "stream" and output.name == "stderr" and "%|" in output.text)


def _is_foreign(output: nbformat.NotebookNode) -> bool:
    return output.output_type == "stream" and output.name == "stderr" and "site-packages" in output.text


def _still(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Of a widget that is a cell's result stays what it shows without a kernel, or a word in its place."""
    if output.output_type == "execute_result" and output.data.pop(WIDGET, None):
        output.data["text/plain"] = "an explorer: run the notebook to use it" if len(output.data) > 1 else STILL
    return output


def fill_card(notebook: nbformat.NotebookNode, minutes: float, memory: float) -> None:
    """Write the measured numbers into the notebook's card."""
    notebook.cells[0].source = re.sub(r"\*\*It took\*\*[^\n]*", card(minutes, memory), notebook.cells[0].source)


def card(minutes: float, memory: float) -> str:
    """What a notebook took, in a sentence, and where it has not been run."""
    spent = f"{minutes:.1f} minutes and {memory:.0f} MB of memory on two CPU cores"
    return f"**It took** {spent}. It has not been run on a GPU yet."


def note(name: str, new: pd.DataFrame, file: str) -> None:
    """Replace the notebook's rows in a CSV of figures/data."""
    path = ROOT / "figures" / "data" / file
    old = pd.read_csv(path) if path.exists() else new.iloc[:0]
    rows = [frame for frame in (old[old["notebook"] != name], new) if len(frame)]
    pd.concat(rows).sort_values("notebook", kind="stable").to_csv(path, index=False, lineterminator="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="notebooks, relative to notebooks/ (default: all, solutions included)")
    found = [path for at in ("", "solutions/", "teaching/") for path in sorted(FOLDER.glob(f"{at}*.ipynb"))]
    for name in parser.parse_args().names or [str(path.relative_to(FOLDER)) for path in found]:
        notebook, minutes, memory, parts = execute(FOLDER / name)
        strip(notebook)
        if "/" not in name and "SOAR_PRESET" not in os.environ:
            fill_card(notebook, minutes, memory)
        if not name.startswith("solutions") and "SOAR_PRESET" not in os.environ:
            row = [name, os.cpu_count(), platform.machine(), round(minutes, 1), round(memory), parts["load"].iloc[0]]
            note(name, pd.DataFrame([row], columns=COLUMNS), "notebooks.csv")
            note(name, parts.assign(notebook=name)[SECTIONS], "notebook_sections.csv")
        nbformat.write(notebook, FOLDER / name)
        print(f"{name}: {minutes:.1f} minutes, {memory:.0f} MB")


if __name__ == "__main__":
    main()
