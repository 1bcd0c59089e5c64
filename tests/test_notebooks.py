"""Notebooks: rules that a reader relies on."""

import ast
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import colab
import execute
import nbformat
import pandas as pd
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager

import soar_lib
from soar_lib import files, runs
from soar_lib.engine.lora import stack
from soar_lib.hooks import Hooks
from soar_lib.measure import plots
from tests.lessons import FOLDER, LESSONS, NAMES, ROOT, SOLUTIONS, code_cells, read
from tools import mix

INSTALL = re.compile(r"""\b(pip3?|uv|conda|mamba|apt|apt-get|npm)([\s"',]+(-\S+|pip))*[\s"',]+(add|install)\b""")
ABSOLUTE = re.compile(
    r"(?<![\w.~])/(home|root|work|tmp|usr|Users|opt|content|kaggle|mnt|media|srv|var|private)/|\b[A-Z]:[\\/]+Users\b"
)
ONE_ROUND = "import soar_lib as soar\n"  # opens the one long cell: a round of SOAR from its parts
PARTS = ["What you will learn", "Setup", "A small example by hand", "What can go wrong", "Exercises"]


def test_every_lesson_has_its_solutions():
    assert LESSONS and sorted(f"solutions/{name}" for name in LESSONS) == SOLUTIONS


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_has_its_parts_in_order_and_no_text_is_unwritten(name):
    texts = [cell.source for cell in read(name).cells if cell.cell_type == "markdown"]
    assert [text for text in texts if len(text.split()) < 2] == []
    text = "\n".join(texts)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    found = [next((i for i, heading in enumerate(headings) if heading == part), None) for part in PARTS]
    assert None not in found and found == sorted(found)
    assert any(heading.startswith("Results") for heading in headings)


@pytest.mark.parametrize("name", LESSONS)
def test_card_states_the_measured_numbers(name):
    measured = pd.read_csv(ROOT / "figures" / "data" / "notebooks.csv").set_index("notebook")
    assert execute.card(measured.at[name, "minutes"], measured.at[name, "memory_mb"]) in read(name).cells[0].source


@pytest.mark.parametrize("name", LESSONS)
def test_preset_is_read_in_one_line_of_the_setup_cell(name):
    sources = [cell.source for cell in code_cells(name)]
    lines = [line for source in sources for line in source.splitlines() if "environ" in line]
    default = {"05": "nano2", "06": "nano2", "07": ""}.get(name[:2], "nano")  # "": by the machine's memory
    assert lines == [f'PRESET = os.environ.get("SOAR_PRESET", "{default}")'] and lines[0] in sources[0]


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_short_and_install_nothing_after_the_setup(name):
    for number, cell in enumerate(code_cells(name)):
        most = 40 if cell.source.startswith(ONE_ROUND) else 12
        assert len(cell.source.splitlines()) <= most, f"cell {number} of {name}"
        assert number == 0 or not INSTALL.search(cell.source)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_committed_from_one_fresh_kernel(name):
    cells = code_cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    # The setup cell, in notebook 7 that of a CPU's smaller sizes, and cells that only define functions.
    silent = 5 if name == "teaching/reward_hacking.ipynb" else 2 if name.startswith("07") else 1
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) - silent
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
def test_logs_that_may_be_packed_are_read_by_the_library(name):
    """gzip may pack a finished run's long logs, as in runs/reference, where pandas does not find them."""
    bare = re.compile(r'pd\.read_\w+\(folder / "(?:metrics\.csv|problems\.jsonl|scores\.jsonl)"')
    assert not [cell.source for cell in code_cells(name) if bare.search(cell.source)]


def bound(source: str) -> set[str]:
    """The names that a cell binds at its top level, magics left out."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", 'if "google.colab"'))]
    found = set()
    for node in ast.parse("\n".join(lines)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.For):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(SOLUTIONS)))
def test_no_cell_takes_a_name_that_another_one_uses(name):
    """So that any cell can be run again. The round by hand is closed in itself, and exercises come last."""
    cells = [cell.source for cell in code_cells(name)]
    lasting = [source for source in cells if not source.startswith(ONE_ROUND) and "# your code" not in source]
    counts = Counter(name for source in lasting for name in bound(source))
    assert {name: count for name, count in counts.items() if count > 1} == {}


def test_the_round_by_hand_is_the_first_round_of_a_run(tmp_path):
    """With a learning rate at which three steps change a student, and a seed with which the second one is promoted."""
    source = next(cell.source for cell in code_cells("02_soar_training.ipynb") if cell.source.startswith(ONE_ROUND))
    changes = {"seed": 8, "threshold": 0.0, "student.optimiser.learning_rate": 0.004, "student.steps": 3}
    plain = 'soar.preset("smoke", soar.SoarConfig, **BASE)'
    assert plain in source
    names = {"RUNS": tmp_path, "NAME": "own", "BASE": {}, "POOL": {}}
    exec(source.replace(plain, f"{plain[:-1]}, **{changes})"), names)
    config = soar_lib.preset("smoke", soar_lib.SoarConfig, problems=str(tmp_path / "own_small"), rounds=1, **changes)
    result = soar_lib.run(config, tmp_path / "run", hooks=Hooks(progress=False))
    first = result.rounds[0]
    assert (first.rewards, first.baseline_accuracy) == (names["gains"], names["before"])
    assert first.promoted and names["promoted"] and first.chosen == (names["k"], names["j"]) == (1, 0)
    tensors, _ = files.load_checkpoint(runs.latest_checkpoint(tmp_path / "run"))
    by_hand = {
        "teacher": names["teacher"].adapters,
        "baselines": stack([names["start"].baselines[0], names["student"]]),
    }
    for name, adapters in by_hand.items():
        same = {key: torch.equal(tensor, tensors[name][key]) for key, tensor in adapters.state_dict().items()}
        assert same and all(same.values()), name


def test_what_a_section_took_is_the_sum_of_its_cells():
    """From clocks (cell, minutes, the processor's minutes) before and after each cell; an introduction counts too."""
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [text("# A\n## B"), code(), text("no heading"), code(), text("## C"), code()]
    clock = [(1, 0, 0), (1, 1, 0.5), (3, 1, 0.5), (3, 4, 1.5), (5, 9, 2), (5, 9.5, 4)]
    found = execute.sections(nbformat.v4.new_notebook(cells=cells), clock)
    assert found[execute.SECTIONS[1:4]].values.tolist() == [["B", 4.0, 1.5], ["C", 0.5, 2.0]]


# ------------------------------------------------------------------ Colab


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_has_the_badge_and_the_setup_lines_of_the_projects_address(name):
    lesson, url = read(name), "https://github.com/owner/soar"
    assert colab.fit(lesson, name, colab.address()) == lesson
    there = colab.fit(lesson, name, url)
    place = f"https://colab.research.google.com/github/owner/soar/blob/main/notebooks/{name}"
    assert re.match(rf"\[!\[Open in Colab\]\(\S+\)\]\({re.escape(place)}\)\n\n# \d", there.cells[0].source)
    setup = next(cell.source for cell in there.cells if cell.cell_type == "code")
    assert setup.count(colab.setup(url)) == 1 and len(setup.splitlines()) <= 12
    assert colab.fit(there, name, "") == colab.fit(lesson, name, "")


def test_the_address_is_the_projects_and_a_badge_needs_github(tmp_path):
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\nname = "x"\n')
    assert colab.address(project) == "" == colab.badge("a.ipynb", "") == colab.badge("a.ipynb", "https://a.org/b/c")
    project.write_text('[project]\nname = "x"\n[project.urls]\nRepository = "https://github.com/owner/soar.git"\n')
    assert colab.address(project) == "https://github.com/owner/soar"
    with pytest.raises(ValueError, match="^a.ipynb: its setup cell lacks 'from pathlib import Path', behind which"):
        colab.fit(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os")]), "a.ipynb", "")


def run_setup(lines: str, shell: str) -> list[str]:
    """The commands that the setup lines give to a shell whose class is of the module `shell`; they are run."""
    asked = []

    def system(_, command: str) -> None:
        asked.append(command)
        subprocess.run(command, shell=True, check=True)

    def magic(_, name: str, line: str, **_options) -> None:
        asked.append(f"%{name} {line}")
        if name == "cd":
            os.chdir(line.split()[-1])

    kernel = type("Shell", (), {"__module__": shell, "system": system, "run_line_magic": magic})()
    exec(TransformerManager().transform_cell(lines), {"get_ipython": lambda: kernel, "Path": Path})
    return asked


@pytest.fixture()
def fresh_machine(tmp_path, monkeypatch) -> Path:
    """An empty working folder, a repository to fetch, and a `pip` that only notes what it is asked."""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(tmp_path / "origin")]
    (tmp_path / "origin" / "notebooks").mkdir(parents=True)
    (tmp_path / "origin" / "notebooks" / "a.ipynb").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n')
    (tmp_path / "bin" / "pip").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return tmp_path


def test_the_setup_lines_fetch_and_install_on_colab_once_and_do_nothing_elsewhere(fresh_machine):
    here, lines = Path.cwd(), colab.setup(str(fresh_machine / "origin"))
    assert run_setup(lines, "ipykernel.zmqshell") == [] == run_setup(colab.setup(""), "ipykernel.zmqshell")
    assert len(run_setup(lines, "google.colab._shell")) == 2
    assert Path.cwd() == here / "soar" / "notebooks" and Path("a.ipynb").exists()
    assert run_setup(lines, "google.colab._shell") == []  # the cell is run again
    os.chdir(here)  # after a restart of the session
    run_setup(lines, "google.colab._shell")
    assert Path.cwd() == here / "soar" / "notebooks"
    assert (fresh_machine / "asked").read_text() == 2 * "install -q ./soar\n"


def test_without_an_address_the_setup_lines_install_the_checkout_around_them():
    assert run_setup(colab.setup(""), "google.colab._shell") == ["%pip install -q .."]


def test_what_the_watched_teacher_wrote_is_counted_as_in_the_study(tmp_path):
    """Notebook 2's cell on a committed run, against tools/mix.py; its text states the shares that it printed."""
    cell = next(cell for cell in read("02_soar_training.ipynb").cells if cell.id == "wrote")
    run = ROOT / "runs" / "reference" / "study2_plain" / "intrinsic" / "seed0"
    (tmp_path / "own_watched").mkdir()
    (tmp_path / "own_watched" / "problems.jsonl").write_text(files.text_of(run / "problems.jsonl"))
    names = {"pd": pd, "plots": plots, "RUNS": tmp_path, "NAME": "own"}
    exec(cell.source, names)
    assert names["shares"]["useful"].tolist() == mix.mix(mix.written(run))[mix.USEFUL].tolist()
    first, last = re.findall(r"(\d+)%", cell.outputs[0].text)
    assert f"from {first} to {last} %" in "".join(cell.source for cell in read("02_soar_training.ipynb").cells)
