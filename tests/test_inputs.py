"""Whatever stands in a file, a setting or a completion, a reader returns or refuses with one line; it never breaks.

CI tries FEW inputs of each kind, the slow run (`pytest -m slow`) 100,000 in all, and writes figures/data/inputs.csv.
"""

import argparse
import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
import pytest
import slow_tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soar_lib import files, runs
from soar_lib.cli import arguments
from soar_lib.measure import judge
from soar_lib.problems import prompts, rows
from soar_lib.records import Problem, Round, Score, SyntheticProblem
from soar_lib.settings.student import FilterConfig, preset
from soar_lib.settings.values import ConfigError, LoadError, change, first_line, flat
from soar_lib.soar import teacher
from soar_lib.soar.settings import SoarConfig
from soar_lib.verifier import integrals, verify

TABLE = slow_tables.DATA / "inputs.csv"
FEW, ALL = 40, int(os.environ.get("SOAR_INPUTS", 100_000))
REFUSALS = (LoadError, files.RunError, ConfigError)
SECONDS = 0.5  # of a verifier's worker for one question

# ------------------------------------------------------------------ inputs

PIECES = (
    "\\boxed{", "\\frac{", "\\sqrt[", "\\left(", "\\int", "\\", "$", "{", "}", "(", ")", "[", "]", "|", ",",
    ".", "-", "^", "_", "=", "/", "+", "*", "<", ">", "0", "1", "27", "0.5", "1e9", "9" * 500, "10**400", "x", "e",
    "pi", "dx", "\\text{", "Integral(", "sin(", "sqrt(", "%", "\n", " ", "\x00", "\ud800", "∫", "−", "²", "½", "٣",
    "é", "<question>", "</question>", "<answer>", "</answer>", "<think>", "</think>", "<|im_end|>", "####",
    "```", '{"is_correct": true, "is_well_posed": true, "error_type": "None", "verified_answer": 4}',
)  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=24).map("".join)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(10**400)
KEYS = st.sampled_from(
    ["id", "unique_id", "problem", "question", "answer", "final_answer", "solution", "unit", "level", "topic", "source",
     "subject", "year", "contest", "number", "context", "is_multiple_answer"]
)  # fmt: skip


def values(keys: st.SearchStrategy) -> st.SearchStrategy:
    return st.recursive(
        SCALARS, lambda of: st.lists(of, max_size=4) | st.dictionaries(keys, of, max_size=4), max_leaves=6
    )


def encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


DAMAGE = st.tuples(st.sampled_from(["none", "none", "cut", "byte", "whole"]), st.floats(0, 1), st.binary(max_size=40))


def damaged(content: bytes, damage: tuple[str, float, bytes]) -> bytes:
    """A file's content as it is, cut, with other bytes inside, or replaced."""
    kind, share, other = damage
    at = int(share * len(content))
    return {
        "none": content, "cut": content[:at], "byte": content[:at] + other + content[at + len(other) :], "whole": other,
    }[kind]  # fmt: skip


GOOD = [
    {"question": "1 + 1 = ?", "answer": "2"}, {"problem": "p", "solution": "so \\boxed{2}", "level": "Level 5"},
    {"question": "q", "final_answer": ["$2$", "3"], "is_multiple_answer": True, "unit": "cm", "subfield": "s"}, {},
]  # fmt: skip


def changed(good: list[dict], keys: st.SearchStrategy) -> st.SearchStrategy:
    """One of the good rows with up to two fields of another value."""
    return st.builds(lambda row, new: row | new, st.sampled_from(good), st.dictionaries(keys, values(keys), max_size=2))


LINES = st.lists(changed(GOOD, KEYS).map(encoded), min_size=1, max_size=3).map(b"\n".join)
PROBLEM_FILES = st.tuples(st.sampled_from([b"", b"\xef\xbb\xbf"]), LINES, DAMAGE)
RECORDS = (
    Problem("1", "q", "a"), Score("a", "r", 0, "p", 4, 1, 8), SyntheticProblem("1", "q", "a", "t"),
    Round(1, ((0.5,),), 0.1, 0.5, 0.5, True, (0, 0)),
)  # fmt: skip
FILES = ("config.json", "versions.json", "problems.jsonl", "rounds.jsonl", "metrics.csv", "state.json", "a.safetensors")
KINDS = arguments.KINDS
NAMES = sorted({name for kind in KINDS.values() for name in flat(asdict(kind()))} | {"student", "teacher", "x", ""})

# ------------------------------------------------------------------ readers


def run_of(folder: Path) -> Path:
    """A run of one round, let go."""
    import torch

    @files.holding
    def write() -> None:
        this = runs.open_run(folder / "run", preset("smoke", SoarConfig))
        rows = [asdict(SyntheticProblem("1", "1 + 1", "2", "text", 1, 0, 0.5))]
        rounds = [asdict(Round(1, ((0.5,), (0.0,)), 0.1, 0.25, 0.25, False))]
        tensors = {"a": {"a": torch.ones(3)}}
        this.commit(tensors, {"history": []}, problems=rows, rounds=rounds, metrics=[{"round": 1}])

    write()
    return folder / "run"


def problem_file(folder: Path, given: tuple) -> None:
    mark, content, damage = given
    (folder / "mine.jsonl").write_bytes(mark + damaged(content, damage))
    rows.load_file(folder / "mine.jsonl")


def record_file(folder: Path, given: tuple) -> None:
    kind, row = given
    (folder / "records.jsonl").write_bytes(encoded(row) + b"\n")
    files.read_records(folder / "records.jsonl", kind)


def run_folder(folder: Path, given: tuple) -> None:
    """Everything that is read of a run before it goes on, with one file damaged."""
    name, damage, instead = given
    run = folder / "run" if (folder / "run").exists() else run_of(folder)
    path = run / name if (run / name).exists() else run / "checkpoint" / "round_0001" / name
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, damage) if instead is None else encoded(instead))
    try:
        runs.check_same(run, preset("smoke", SoarConfig))
        runs.counted(run)
        files.load_checkpoint(run / "checkpoint" / "round_0001")
        files.read_records(run / "problems.jsonl", SyntheticProblem)
        files.read_records(run / "rounds.jsonl", Round)
    finally:
        path.write_bytes(whole)


def proposal(_: Path, text: str) -> None:
    teacher.read(text)
    teacher.read(text, forgive_tags=True)
    prompts.questions_in(text, 5)
    judge.read(text)


def verdict(_: Path, given: tuple[str, str]) -> None:
    gold, text = given
    assert verify.check(gold, text, SECONDS) in ("right", "wrong", "unparsed", "timeout")


def antiderivative(_: Path, given: tuple[str, str]) -> None:
    assert integrals.judge(*given, SECONDS)[0] in ("right", "wrong", "unparsed", "timeout")
    integrals.integrand_of(given[1])


def config(_: Path, given: tuple[str, dict]) -> None:
    kind, changes = given
    json.dumps(asdict(change(KINDS[kind](), changes)))


def options(_: Path, given: list[str]) -> None:
    words = argparse.Namespace(preset="smoke", seed=0, set=given)
    arguments.settings(words, FilterConfig)


BOXED = st.tuples(TEXT, TEXT.map(lambda text: f"so \\boxed{{{text}}}") | TEXT)
RECORD_KEYS = st.sampled_from([field.name for kind in RECORDS for field in fields(kind)])
STATE = {"round": 1, "logs": {"problems.jsonl": 0}, "sums": {}, "state": {}, "tensors": ["a.safetensors"]}
STATES = changed([STATE], st.sampled_from([*STATE, "problems.jsonl"]))
ROWS = st.sampled_from(RECORDS).flatmap(
    lambda good: st.tuples(st.just(type(good)), changed([asdict(good)], RECORD_KEYS))
)
OPTIONS = st.lists(st.tuples(st.sampled_from(NAMES), TEXT).map("=".join) | TEXT, max_size=3)
# reader: (inputs, what reads one, its share of the slow run's inputs)
READERS: dict[str, tuple[st.SearchStrategy, Callable, float]] = {
    "problem files": (PROBLEM_FILES, problem_file, 0.2),
    "records of a run": (ROWS, record_file, 0.1),
    "run folders": (
        st.tuples(st.sampled_from(FILES), DAMAGE, st.none() | values(KEYS))
        | st.tuples(st.just("state.json"), st.just(()), STATES),
        run_folder,
        0.1,
    ),
    "a teacher's completion": (TEXT, proposal, 0.25),
    "an answer": (BOXED, verdict, 0.03),
    "an antiderivative": (st.tuples(TEXT, TEXT), antiderivative, 0.02),
    "settings": (
        st.tuples(
            st.sampled_from(sorted(KINDS)),
            st.dictionaries(st.sampled_from(NAMES), SCALARS | values(st.sampled_from(NAMES)), max_size=2),
        ),
        config,
        0.2,
    ),
    "--set": (OPTIONS, options, 0.1),
}


def read_many(name: str, folder: Path, number: int, repeatable: bool, ends: Counter[str]) -> None:
    """Count how so many inputs end: "read", or what refuses them. Anything else is raised, with the shortest such
    input."""
    strategy, read, _ = READERS[name]
    quiet = settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=repeatable,
        suppress_health_check=list(HealthCheck),
    )

    @quiet
    @given(strategy)
    def one(value: object) -> None:
        try:
            read(folder, value)
            ends["read"] += 1
        except REFUSALS as error:
            assert first_line(error) != type(error).__name__  # it says something; commands show its first line
            ends[type(error).__name__] += 1
        except Exception:
            ends["tracebacks"] += 1
            raise

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            one()
        finally:
            shutil.rmtree(folder / "run", ignore_errors=True)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_returns_or_refuses(tmp_path, name):
    ends = Counter()
    read_many(name, tmp_path, FEW, repeatable=True, ends=ends)
    assert sum(ends.values()) >= FEW // 2  # some kinds of input have fewer different ones


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_inputs_break_no_reader(tmp_path, name):
    ends = Counter()
    try:
        read_many(name, tmp_path, round(ALL * READERS[name][2]), repeatable=False, ends=ends)
    finally:
        kept = ["read", *(error.__name__ for error in REFUSALS), "tracebacks"]
        slow_tables.put(TABLE, {"reader": name}, {"inputs": ends.total()} | {column: ends[column] for column in kept})


@pytest.mark.skipif(not TABLE.exists(), reason="the slow run has written no table yet")
def test_no_input_of_the_committed_slow_run_broke_a_reader():
    table = pd.read_csv(TABLE)
    assert {*table["reader"]} == READERS.keys() and (table["tracebacks"] == 0).all()
    assert table["inputs"].sum() == 100_000
