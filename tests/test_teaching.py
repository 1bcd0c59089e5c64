"""The teaching kit in notebooks/teaching: its links, names and times are those of the project."""

import ast
import re
import subprocess
from pathlib import Path
from shutil import which

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from nbconvert import SlidesExporter

from soar_lib.engine.update import advantages
from soar_lib.measure import diversity, passk
from soar_lib.measure.methods import method_rows
from soar_lib.soar import rewards
from soar_lib.svs.settings import SvsConfig

FOLDER = Path(__file__).parents[1] / "notebooks" / "teaching"
CLASS = (FOLDER / "class.md").read_text()
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


def test_the_plans_times_are_the_measured_ones():
    minutes = pd.read_csv(FOLDER / "../../figures/data/notebooks.csv").set_index("notebook")["minutes"]
    rows = re.findall(r"\]\((?:\.\./)?(\w+\.ipynb)\) \| ([\d.]+) minutes \|$", CLASS, re.MULTILINE)
    assert len(rows) == 3 and {name: stated for name, stated in rows if f"{minutes[name]:.1f}" != stated} == {}
    pair = r"Notebooks? (\d)(?: \w+ (\d))?.* \| ([\d.]+)(?: \w+ ([\d.]+))? minutes"
    week = re.findall(rf"^\| \d \| {pair} \|$", CLASS, re.MULTILINE)
    stated = {number: time for *numbers, one, two in week for number, time in zip(numbers, (one, two)) if number}
    assert stated == {name[1]: f"{minutes[name]:.1f}" for name in minutes.index if re.match("0[1-6]", name)}


def test_the_clock_of_the_plans_cells_is_the_measured_one_and_fits_into_the_plan():
    parts = pd.read_csv(FOLDER / "../../figures/data/notebook_sections.csv")
    rows = re.findall(r"^\| (\d+) to (\d+) \| \[(\w+\.ipynb)\]\(\S+\): (.+?) \| (.+) \|$", CLASS, re.MULTILINE)
    assert rows
    slots: dict = {}
    for start, end, name, cells, stated in rows:
        titles = cells.split("; ")
        own = parts[(parts["notebook"].str.rpartition("/")[2] == name) & parts["section"].isin(titles)]
        processor, clock = own["processor_minutes"].sum(), own["minutes"].sum()
        assert len(own) == len(titles) and processor < int(end) - int(start)
        assert stated == f"{processor:.2f} | {clock:.2f} | {own['load'].max():.1f}"
        slots[start, end] = slots.get((start, end), 0) + clock
    plan = dict(re.findall(r"^\| (\d+–\d+) \| (.+) \|$", CLASS, re.MULTILINE))
    slow = [f"{start}–{end}" for (start, end), clock in slots.items() if clock > int(end) - int(start)]
    assert [slot for slot in slow if "before the class" not in plan[slot]] == []


def test_every_timed_section_is_a_heading_of_its_notebook():
    parts = pd.read_csv(FOLDER / "../../figures/data/notebook_sections.csv")
    for name, timed in parts.groupby("notebook")["section"]:
        cells = nbformat.read(FOLDER.parent / name, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert {*timed} - {*re.findall(r"^##? (.+)$", text, re.MULTILINE)} == set(), name


def test_the_overview_shows_the_times_of_the_table():
    cells = nbformat.read(FOLDER / "overview.ipynb", as_version=4).cells
    shown = next(cell.outputs[0].data["text/plain"] for cell in cells if "notebooks.csv" in cell.source)
    times = pd.read_csv(FOLDER / "../../figures/data/notebooks.csv").set_index("notebook")["minutes"]
    found = dict(re.findall(r"^(\S+\.ipynb) +([\d.]+)", shown, re.MULTILINE))
    assert found == {name: str(minutes) for name, minutes in times.items()}


@pytest.mark.parametrize("name", ["slides.ipynb", "overview.ipynb", "../06_svs.ipynb"])
def test_pages_show_the_comparison_of_methods_as_it_is_committed(name):
    cells = nbformat.read(FOLDER / name, as_version=4).cells
    (shown,) = [cell.outputs[0].data["text/plain"] for cell in cells if "\nmethod_rows(" in f"\n{cell.source}"]
    rows = method_rows(pd.read_csv(FOLDER / "../../figures/data/methods.csv"))
    with pd.option_context("display.max_colwidth", None):
        assert shown == rows.to_string(line_width=80)


def test_the_plan_says_which_sections_are_not_timed():
    """From the first one on that has code and no row in the CSV."""
    parts = pd.read_csv(FOLDER / "../../figures/data/notebook_sections.csv")
    stated = CLASS.split("Not timed section by section")[1].split("\n\n")[0] if "Not timed" in CLASS else ""
    for name in dict.fromkeys(re.findall(r"\]\(\.\./(0[123]\w+\.ipynb)\)", CLASS)):
        cells = nbformat.read(FOLDER.parent / name, as_version=4).cells
        found = [re.findall(r"^## (.+)$", cell.source, re.MULTILINE) for cell in cells if cell.cell_type == "markdown"]
        headings = [heading for some in found for heading in some if heading[:8] not in ("What you", "What can")]
        timed = parts[parts["notebook"] == name]["section"].tolist()
        first = next((heading for heading in headings if heading not in timed), "")
        said = f"all of {name}" if not timed else f"{name} from *{first}* on"
        assert said in stated if first else name not in stated, name


def test_the_class_takes_two_hours_without_a_gap():
    times = re.findall(r"^\| (\d+)–(\d+) \|", CLASS, re.MULTILINE)
    ends = [0, *(int(end) for _, end in times)]
    assert [int(start) for start, _ in times] == ends[:-1] and ends[-1] == 120


def test_the_quiz_has_ten_questions_whose_answers_are_the_librarys():
    answers = re.findall(r"^\*\*\d+\.\*\* .+\n\*Answer:\* (.+)$", CLASS, re.MULTILINE)
    assert len(answers) == 10
    shown = [f"{value:.1f}".replace("-", "−") for value in advantages(torch.tensor([120.0, 10.0, 0.0, 10.0])).tolist()]
    config = SvsConfig()
    right = {
        0: f"{0.99**128:.2f}",
        1: str(passk.pass_at_k(4, 1, 2)),
        2: ", ".join(shown),
        4: str(rewards.dataset_rewards([[0.0, 0.25]])[0]),
        6: ", ".join(f"{rewards.intrinsic_reward(s):g}" for s in (0, 0.25)),
        7: f"{diversity.vendi(np.eye(2)[[0, 0, 1, 1]]):g}",
        8: f"{3 * config.variants * (1 + config.group)}.",
    }
    assert {i: text for i, text in right.items() if text not in answers[i]} == {}
    assert not rewards.promote([0.5, 0.5], 3, 0.01)  # the sixth


def test_the_slides_become_a_page():
    notebook = nbformat.read(FOLDER / "slides.ipynb", as_version=4)
    kinds = [cell.metadata.slideshow.slide_type for cell in notebook.cells]
    assert set(kinds) <= {"slide", "fragment", "skip", "-"}
    page, _ = SlidesExporter().from_notebook_node(notebook)
    assert page.count("<section>") >= kinds.count("slide") >= 12


def test_binder_installs_this_checkout_on_the_python_of_the_committed_numbers():
    """By the rules of repo2docker: a folder binder/ is read alone; runtime.txt names the interpreter."""
    binder = FOLDER.parents[1] / "binder"
    assert sorted(path.name for path in binder.iterdir()) == ["requirements.txt", "runtime.txt"]
    version = (binder / "runtime.txt").read_text().strip().removeprefix("python-")
    assert f"python={version} " in (binder.parent / "environment.yml").read_text()
    lines = (binder / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if not line.startswith(("#", "--"))]
    assert wanted == ["."] and (binder.parent / "pyproject.toml").exists()


@pytest.mark.skipif(not which("repo2docker"), reason="repo2docker is not installed: `pip install jupyter-repo2docker`")
def test_repo2docker_plans_an_image_that_installs_the_checkout():
    """It writes the Dockerfile, without a Docker daemon. The project is copied before pip looks for it, and is the
    user's, so that pip can build it there."""
    command = ["repo2docker", "--no-build", "--debug", "--user-id=1000", "--user-name=jovyan", "."]
    found = subprocess.run(command, cwd=FOLDER.parents[1], capture_output=True, text=True)
    planned = found.stdout + found.stderr
    assert found.returncode == 0 and "Building conda environment for python=3.11" in planned
    steps = "COPY --chown=1000:1000 src/ ${REPO_DIR}/", "/bin/pip install"
    copied, installed = map(planned.index, steps)
    assert copied < installed and 'install --no-cache-dir -r "binder/requirements.txt"' in planned[installed:]
