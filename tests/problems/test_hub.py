"""Benchmarks by name: laid out as the Hub's cache lays them out, they are read without network, the same as local
files, and nothing else passes for them."""

import json
import os
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
from datasets.utils.file_utils import hash_url_to_filename

from soar_lib.engine import base
from soar_lib.problems import hub
from soar_lib.problems.load import load
from soar_lib.problems.rows import LoadError, read_rows
from soar_lib.settings.values import ConfigError

FILES = Path(__file__).parents[3] / "shared" / "data"
needs_files = pytest.mark.skipif(not FILES.is_dir(), reason="the benchmark files are not here")
LOCAL = {name: name for name in ("math_test", "harp", "math500")}
LOCAL |= {"olympiadbench": "olympiadbench_oe_to_maths_en", "gsm8k": "gsm8k_test"}
MATH_COLUMNS = ("problem", "level", "type", "solution")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Empty caches, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    monkeypatch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", tmp_path / "downloads" / "extracted")
    return tmp_path


def place(cache: Path, name: str, revision: str = "") -> Path:
    """Where a set's file lies once it has been downloaded."""
    home = hub.SETS[name]
    if home.repository.startswith("https://"):
        path = cache / "downloads" / hash_url_to_filename(f"{home.repository}/raw/{home.revision}/{home.file}")
    else:
        folder = f"datasets--{home.repository.replace('/', '--')}"
        path = cache / "hub" / folder / "snapshots" / (revision or home.revision) / home.file
    path.parent.mkdir(parents=True)
    return path


def publish(cache: Path, name: str) -> None:
    """The local copy of a set in the form of its home."""
    local, path = FILES / f"{LOCAL[name]}.jsonl", place(cache, name)
    if hub.SETS[name].file.endswith(".jsonl"):
        shutil.copy(local, path)
    elif path.suffix == ".parquet":
        rows = [row for _, row in read_rows(local)]
        if name == "math_test":
            rows = [{column: row[column] for column in MATH_COLUMNS} for row in rows]
        datasets.Dataset.from_list(rows).to_parquet(str(path))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__MACOSX/._HARD-Math.jsonl", b"\x00\x05")  # what a Mac leaves in an archive
            archive.write(local, "HARD-Math.jsonl")


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_every_set_names_a_commit_a_licence_and_a_whole_checksum():
    for name, home in hub.SETS.items():
        assert re.fullmatch("[0-9a-f]{40}", home.revision), name
        assert re.fullmatch("([0-9a-f]{64})?", home.sha256), name
        assert home.rows > 0 and home.licence and Path(home.file).suffix in (".jsonl", ".parquet", ".zip"), name


@needs_files
@pytest.mark.parametrize("name", LOCAL)
def test_a_set_is_the_same_from_its_home_as_from_a_file(cache, name):
    """With the pinned checksum, which `load` compares."""
    publish(cache, name)
    found, local = load(f"hub:{name}"), load(FILES / f"{LOCAL[name]}.jsonl")
    if name == "math_test":  # its home does not number the problems
        assert len({problem.id for problem in found}) == len(found)
        found, local = ([replace(problem, id="") for problem in side] for side in (found, local))
    if LOCAL[name] != name:
        local = [replace(p, id=p.id.replace(LOCAL[name], name), source=name) for p in local]
    assert found == local


@needs_files
def test_a_part_of_a_set_is_drawn_as_of_a_file(cache):
    publish(cache, "math500")
    assert load("hub:math500", size=7, seed=3) == load(FILES / "math500.jsonl", size=7, seed=3)


@needs_files
def test_one_changed_answer_is_noticed(cache):
    rows = [row for _, row in read_rows(FILES / "math500.jsonl")]
    rows[200]["answer"] += "1"
    write(place(cache, "math500"), rows)
    with pytest.raises(LoadError, match="holds 500 problems of sha256 [0-9a-f]{12}, not 500 problems of sha256 72d7"):
        load("hub:math500")


def test_records_that_are_not_the_known_ones_are_refused_unless_asked_for_by_revision(cache):
    rows, other = [{"problem": "1+1?", "answer": 2, "id": "0"}], "0123456789" * 4
    write(place(cache, "aime25"), rows)
    with pytest.raises(LoadError, match="holds 1 problems, not 30 problems.*hub:aime25@563bb840") as caught:
        load("hub:aime25")
    assert "\n" not in str(caught.value)
    write(place(cache, "aime25", other), rows)
    (problem,) = load(f"hub:aime25@{other}")
    assert (problem.id, problem.question, problem.answer, problem.source) == ("aime25/0", "1+1?", "2", "aime25")


def test_a_malformed_row_is_named(cache):
    write(place(cache, "aime25"), [{"problem": "1+1?", "answer": 2}, {"problem": "1+1?"}])
    with pytest.raises(LoadError, match="hub:aime25:2: field 'answer'"):
        load("hub:aime25")


def test_the_checksum_is_of_the_problems_not_of_their_order_or_numbers():
    problems = load("nano", size=5)
    renumbered = [replace(problem, id=str(i), level=None) for i, problem in enumerate(problems[::-1])]
    assert hub.checksum(renumbered) == hub.checksum(problems) != hub.checksum(problems[1:])
    assert hub.checksum([replace(problems[0], answer="0"), *problems[1:]]) != hub.checksum(problems)


@pytest.mark.parametrize("name", ["math500", "harp"])
def test_without_network_the_file_route_is_named(name, monkeypatch):
    closed = "https://127.0.0.1:9/nobody/harp"
    monkeypatch.setitem(hub.SETS, "harp", replace(hub.SETS["harp"], repository=closed))
    with pytest.raises(LoadError, match=rf"hub:{name}: .* cannot be had .*--problems FILE.jsonl") as caught:
        load(f"hub:{name}")
    assert "\n" not in str(caught.value)


NETWORK = [
    ("HTTPS_PROXY", "socks5://127.0.0.1:9", "Using SOCKS proxy"),
    ("https_proxy", "http://[::bad", "Invalid port"),
    ("SSL_CERT_FILE", "nowhere.pem", "No such file"),
]


@pytest.mark.network
@pytest.mark.parametrize(("name", "value", "said"), NETWORK)
def test_a_proxy_or_certificate_that_will_not_do_is_named(monkeypatch, name, value, said):
    for other in [other for other in os.environ if other.lower().endswith("_proxy")]:
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()  # the next one reads the environment
    named = f"; check the environment's {name.upper()}, or "
    with pytest.raises(LoadError, match=f"hub:math500: .* cannot be had .*{said}.*{named}connect to the network once"):
        load("hub:math500")
    with pytest.raises(ConfigError, match=f"model 'nobody/model': cannot be loaded .*{named}choose another model"):
        base.load("nobody/model")


@pytest.mark.parametrize(
    "name, message",
    [
        ("hub:math_tset", "did you mean math_test"),
        ("hub:", "no such set; .*known are math_test, harp"),
        ("math_test", "math_test: neither a file nor .*did you mean hub:math_test"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(name, message):
    with pytest.raises(LoadError, match=message) as caught:
        load(name)
    assert "\n" not in str(caught.value)
