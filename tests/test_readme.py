"""The README's numbers, commands and links are those of the project."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from soar_lib.analysis.claims import CLAIMS
from soar_lib.analysis.ladder_report import CLAIMS as LADDER_CLAIMS
from soar_lib.analysis.svs_report import claims_of
from soar_lib.analysis.tables import MARKED, beside, fill, fill_times, markdown
from soar_lib.arguments import GROUPED, HELP, KINDS, METHODS, grouped_settings, parser, settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DATA = ROOT / "figures" / "data"
EMPTY = "| arm | source | pass@1 | pass@4 | pass@8 | pass@16 | pass@32 |\n| --- | --- | --- | --- | --- | --- | --- |"


def test_the_results_are_those_of_the_csv_and_none_without_it():
    measured = DATA / "soar_nano.csv"
    paper = pd.read_csv(DATA / "soar_paper.csv")
    table = markdown(beside(pd.read_csv(measured), paper)) if measured.exists() else EMPTY
    assert fill(README, table) == README


@pytest.mark.parametrize("mark", MARKED)
def test_every_marked_table_is_that_of_its_csv(mark):
    name, rows = MARKED[mark]
    assert fill(README, markdown(rows(pd.read_csv(DATA / f"{name}.csv"))), mark) == README


def test_no_claim_is_left_out():
    counts = {"claims": CLAIMS, "ladder_claims": LADDER_CLAIMS, "svs_claims": claims_of(32)}
    assert {name: len(pd.read_csv(DATA / f"{name}.csv")) for name in counts} == {n: len(c) for n, c in counts.items()}


def test_fill_needs_its_marks():
    with pytest.raises(ValueError, match="needs the marks"):
        fill("no table", "| a |")


def test_every_link_leads_somewhere():
    targets = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
    made = {"figures/soar_nano.png", "figures/data/soar_nano.csv"}  # one command makes both
    assert len(targets) >= 6
    missing = {target for target in targets if not (ROOT / target).exists()}
    assert missing in (set(), made)


def test_notebook_times_are_the_measured_ones():
    measured = pd.read_csv(DATA / "notebooks.csv") if (DATA / "notebooks.csv").exists() else None
    found = dict(re.findall(r"^\| \[\w+\]\(notebooks/(\w+\.ipynb)\) \|.*\|(.*)\|$", README, re.MULTILINE))
    assert sorted(found) == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert fill_times(README, measured) == README
    if measured is None:
        assert set(found.values()) == {" "}


def test_times_are_filled_in_by_notebook():
    measured = pd.DataFrame({"notebook": ["01_filtering.ipynb"], "minutes": [3.6]})
    changed = [new for old, new in zip(README.split("\n"), fill_times(README, measured).split("\n")) if old != new]
    assert len(changed) == 1 and "01_filtering.ipynb" in changed[0] and changed[0].endswith("| 4 minutes |")


def test_commands_are_accepted():
    commands = re.findall(r"^python -m soar_lib (.+)$", README, re.MULTILINE)
    assert {command.split()[0] for command in commands} == HELP.keys() - {"demo"}
    for command in commands:
        arguments = parser().parse_args(shlex.split(command))
        if arguments.command in GROUPED:
            assert grouped_settings(arguments).soar.model == "nano"
        else:
            assert settings(arguments, (KINDS | METHODS)[arguments.command]).model == "nano"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in set(re.findall(r"`?make (\w+)", README)) - {"the"})


def test_the_example_uses_settings_that_exist():
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    before_running = "\n".join(line for line in code.splitlines() if ".run(" not in line)
    names: dict = {}
    exec(before_running, names)
    assert names["run"].problems == "runs/mine_hard" and names["pool"].model == names["run"].model
