"""Each lesson runs on a model and problems that are not the shipped ones."""

import json

import execute
import pytest
import tiny

from tests.lessons import play, read

SUMS = {"problems": "sums.jsonl", "size": 0}
STUDY = {"filter.problems": "sums.jsonl", "filter.size": 0, "transfer.problems": "longer.jsonl", "transfer.size": 0}
ELSEWHERE = {  # by notebook: the problems that its settings cell names, and what it says of those it cannot know
    "01_filtering.ipynb": (SUMS, ""),
    "02_soar_training.ipynb": (SUMS, ""),
    "03_ablations.ipynb": (STUDY, ""),
    "04_diversity.ipynb": (STUDY, ""),  # goes on with the study of notebook 3
    "05_ladder.ipynb": (
        {"pool": "sums.jsonl", "pool_size": 0, "variants.votes": 2, "variants.prompts": 6},
        "a variant is checked by the answer that most samples give",
    ),
    "06_svs.ipynb": (SUMS | {"test": "longer.jsonl", "hard": "longer.jsonl"}, ""),
}
WATCHED = "smoke_watched"  # the run of notebook 2 that is of the second embedded world whatever the settings cell names


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A workplace beside a random Llama with a tokenizer of its own, and files of sums: nothing there is shipped."""
    home, pairs = tmp_path_factory.mktemp("elsewhere"), [(a, b) for a in range(5) for b in range(5)]
    for file, more in (("sums", ""), ("longer", "+1")):
        rows = [{"question": f"{a}+{b}{more}", "answer": str(a + b + len(more) // 2)} for a, b in pairs]
        (home / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny.writer(home / "tiny")
    execute.workplace(home / "site")
    return home


@pytest.mark.parametrize("name", ELSEWHERE)
def test_it_runs_on_a_model_and_problems_that_are_not_the_shipped_ones(name, elsewhere, monkeypatch):
    """A random Llama and sums, from a folder and files that the settings cell names."""
    named, said = ELSEWHERE[name]
    pool = {key: str(elsewhere / value) if str(value).endswith(".jsonl") else value for key, value in named.items()}
    notebook = read(name)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    line, model = "BASE, POOL = {}, {}", {"model": str(elsewhere / "tiny")}
    assert setup.source.count(line) == 1
    setup.source = setup.source.replace(line, f"BASE, POOL = {model!r}, {pool!r}")
    outputs = play(notebook, elsewhere / "site" / "notebooks", monkeypatch)
    texts = [output.text for output in outputs if output.output_type == "stream"]
    assert any(said in text for text in texts)
    found = (elsewhere / "site" / "runs").glob("smoke*/**/config.json")
    settings = "".join(path.read_text() for path in found if path.parent.name != WATCHED)
    assert str(elsewhere / "tiny") in settings and "nano" not in settings
