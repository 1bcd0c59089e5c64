"""The GPU benchmark, run on a CPU with tiny models: its rows, its arithmetic, and where it may not write."""

import sys
from argparse import Namespace

import gpu
import gpu_parts
import pandas as pd
import pytest
import torch

from soar_lib.files import read_jsonl
from soar_lib.settings.cost import cost
from soar_lib.settings.memory import KNOWN, shape, shape_of
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar.settings import SoarConfig

PARTS = ["sampling", "learning", "evaluation", "verifying", "teacher sampling", "teacher learning"]
TINY = ["--tokens", "4", "--rows", "32", "--prompt", "20", "--pairs", "40"]
PAPER = preset("paper", SoarConfig)
TRAINING = 16 * 10 * 8 * 32  # completions of an outer step

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="checks what a machine without a GPU does")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("gpu") / "deep" / "cost.csv"
    gpu.main(["--model", "tiny-llama", "--variants", "plain,trl,unsloth", "--out", str(path), *TINY])
    return pd.read_csv(path).set_index(["variant", "part"])


def test_every_part_has_a_row_with_positive_numbers(table):
    assert list(table.loc["plain"].index) == [*PARTS, "outer step", "run of 200 outer steps"]
    positive = ["seconds", "measured_seconds", "scale"]
    assert (table.loc["plain"].loc[PARTS, positive] > 0).all(axis=None)
    computed = [part for part in PARTS if part != "verifying"]
    numbers = ["tokens_per_second", "tflop_per_second", "share_of_ceiling"]
    assert (table.loc["plain"].loc[computed, numbers] > 0).all(axis=None)
    assert table["peak_gb"].isna().all()  # the GPU's alone
    assert table.loc[("machine", "copy"), "tb_per_second"] > 0
    assert table.loc[("machine", "matrix product"), "tflop_per_second"] > 0
    assert set(table["machine"]) == {"CPU"} and set(table["torch"]) == {torch.__version__}


def test_a_part_is_scaled_by_its_share_of_the_work(table):
    plain = table.loc["plain"]
    tokens = {"sampling": 16 * 32 * 4, "evaluation": 17 * 4, "teacher learning": 32 * 4}
    whole = {"sampling": TRAINING * 1024, "evaluation": 17 * 64 * 1024, "teacher learning": 256 * 512}
    for part, measured in tokens.items():
        assert plain.loc[part, "scale"] == pytest.approx(whole[part] / measured, rel=1e-5)
        speed = measured / plain.loc[part, "measured_seconds"]
        assert plain.loc[part, "tokens_per_second"] == pytest.approx(speed, rel=1e-4)
    assert plain.loc["learning", "scale"] == plain.loc["sampling", "scale"]
    assert plain.loc["verifying", "scale"] == pytest.approx((TRAINING + 17 * 64) / 40)
    assert plain.loc["teacher sampling", "scale"] == 2 * 256 * 512 / (32 * 4)  # a second batch, as some do not parse
    known = plain.loc[PARTS]
    assert known["seconds"].tolist() == pytest.approx((known["measured_seconds"] * known["scale"]).tolist(), rel=1e-4)


def test_the_whole_is_what_the_settings_cost():
    tokens = (gpu_parts.training(PAPER) + gpu_parts.measuring(PAPER)) * 1024 + 256 * 512
    assert PAPER.rounds * tokens == cost(preset("paper", SoarConfig, promotion=False)).tokens


def test_the_projection_is_the_sum_times_the_rounds(table):
    plain = table.loc["plain"]
    step, run = plain.loc["outer step"], plain.loc["run of 200 outer steps"]
    assert step["seconds"] == pytest.approx(plain.loc[PARTS, "seconds"].sum(), rel=1e-4)
    assert run["seconds"] == pytest.approx(200 * step["seconds"], rel=1e-4) and run["scale"] == 200
    assert run["note"].startswith(f"{run['seconds'] / 3600:,.1f} hours on this machine, goal at most 96; ")


def test_trl_is_scaled_from_one_student_and_compared(table):
    trl, plain = table.loc[("trl", "TRL")], table.loc["plain"]
    assert trl["seconds"] == pytest.approx(trl["scale"] * trl["measured_seconds"], rel=1e-4)
    assert TRAINING * 1024 / (32 * 4) <= trl["scale"] < TRAINING * 1024 / (32 * 1)  # random end tokens shorten some
    times = trl["seconds"] / plain.loc[["sampling", "learning"], "seconds"].sum()
    assert trl["note"].endswith(f"; {times:.1f} times plain's") and "scaled to 16 students" in trl["note"]


def test_what_cannot_be_measured_says_why(table, tmp_path, monkeypatch):
    unsloth = table.loc["unsloth"]
    assert list(unsloth.index) == ["all parts"] and unsloth[list(gpu.NUMBERS)].isna().all(axis=None)
    assert unsloth.loc["all parts", "note"].startswith("not measured: backend = 'unsloth': needs a GPU")
    monkeypatch.setitem(sys.modules, "trl", None)
    gpu.main(["--model", "tiny-llama", "--variants", "trl", "--out", str(tmp_path / "cost.csv"), *TINY])
    (line,) = pd.read_csv(tmp_path / "cost.csv").query("variant == 'trl'").itertuples()
    assert line.note.startswith("not measured: student.trainer = 'trl': trl cannot be imported")
    monkeypatch.setattr(gpu_parts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="math-verify is not installed"):
        gpu_parts.verifying(None, PAPER, Namespace(pairs=1), gpu_parts.Clock())


def test_a_spent_budget_and_other_variants_rows(tmp_path):
    path = tmp_path / "cost.csv"
    options = ["--model", "tiny-qwen", "--budget-seconds", "0", "--out", str(path), *TINY]
    for variants in ("plain", "graphs+no_kl", "plain"):
        gpu.main([*options, "--variants", variants])
    found = pd.read_csv(path)
    assert sorted(found["variant"]) == ["graphs+no_kl", "machine", "machine", "plain"]
    notes = found[found["variant"] != "machine"]["note"]
    assert notes.str.startswith("not measured: --budget-seconds = 0: all spent").all()


def test_a_missing_part_leaves_no_projection():
    rows = [gpu.row("plain", "sampling", "", seconds=2.0), gpu.row("plain", "learning", "not measured: x")]
    assert [line["note"] for line in gpu.whole_rows("plain", rows, PAPER)] == ["not known: no learning"] * 2
    assert all(line["seconds"] is None for line in gpu.whole_rows("plain", rows, PAPER))


@pytest.mark.parametrize("variant", ["checkpointing", "graphs+no_kl"])
def test_variants_change_settings_and_base_on_another_model_too(variant):
    options = Namespace(model="tiny-qwen", rows=32, tokens=4, steps=2, prompt=20, budget_seconds=60)
    config, on = gpu.prepare(variant, options, float("inf"))
    assert on.graphs == ("graphs" in variant) and on.stop == (-1,) and on.model.config.model_type == "qwen2"
    assert config.student.optimiser.gradient_checkpointing == (variant == "checkpointing")
    clock = gpu_parts.Clock()
    done = gpu_parts.students(on, config, options, clock)
    assert done["sampling"].amount == 2 * 16 * 32 * 4 and clock.total("learning").seconds > 0
    assert ("no group is left out" in done["learning"].note) == (config.student.optimiser.kl > 0)
    if not config.student.optimiser.kl:
        assert f"of real groups {1 - gpu_parts.reference()[0]:.0%} had equal ones" in done["learning"].note


def test_the_shares_are_those_of_the_committed_runs():
    unequal, parsed = gpu_parts.reference()
    folders = list(gpu_parts.REFERENCE.glob("seed*"))
    written = sum(len(read_jsonl(folder / "problems.jsonl")) for folder in folders)
    drawn = [pd.read_json(folder / "rounds.jsonl", lines=True)["attempts"].sum() for folder in folders]
    assert len(folders) == 5 and parsed == pytest.approx(written / sum(drawn)) and 0 < unequal < 1


@pytest.mark.parametrize("arguments", [[], ["--out", "figures/data/../data/gpu_cost.csv"], ["--model", "tiny-llama"]])
def test_the_table_of_gpu_numbers_is_for_the_gpu_alone(arguments, monkeypatch, capsys):
    monkeypatch.chdir(gpu_parts.ROOT)
    before = gpu.TABLE.read_bytes() if gpu.TABLE.exists() else None
    with pytest.raises(SystemExit) as stopped:
        gpu.main(arguments)
    assert stopped.value.code == 2 and "gpu_cost.csv is for llama-3.2-3b on a GPU" in capsys.readouterr().err
    assert before == (gpu.TABLE.read_bytes() if gpu.TABLE.exists() else None)


def test_a_gpu_does_not_let_another_model_into_the_table(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu.parse([]).out == gpu.TABLE
    with pytest.raises(SystemExit):
        gpu.parse(["--model", "tiny-llama"])
    assert "name another file by --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "fast"], "'fast' is unknown; known are plain, no_kl"),
        (["--variants", "trl+no_kl"], "'trl+no_kl' is unknown"),
        (["--rows", "0"], "--rows: must be 1 or more"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, capsys):
    with pytest.raises(SystemExit):
        gpu.parse(["--model", "tiny-llama", "--out", "none.csv", *arguments])
    assert message in capsys.readouterr().err


def test_the_large_model_has_the_shape_of_llama():
    values = dict(gpu_parts.MODELS[gpu_parts.LLAMA])
    config = gpu_parts.AutoConfig.for_model(values.pop("model_type"), **values)
    assert shape_of(config) == shape(next(iter(KNOWN))) and config.rope_parameters["rope_type"] == "llama3"
    assert shape_of(config).parameters == 3_212_749_824
