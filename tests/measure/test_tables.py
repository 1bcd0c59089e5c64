"""Our numbers beside the paper's, and the README's table read from the same CSV."""

import math
from pathlib import Path

import pandas as pd
import pytest

from soar_lib.ladder import figures as ladder_plots
from soar_lib.ladder.report import COLUMNS as LADDER_COLUMNS
from soar_lib.measure.claims import COLUMNS as CLAIM_COLUMNS
from soar_lib.measure.passk import COLUMNS
from soar_lib.measure.tables import claim_rows
from soar_lib.soar.figures import beside
from soar_lib.svs import figures as svs_plots
from soar_lib.svs.report import COLUMNS as SVS_COLUMNS
from tools.readme import fill, markdown

ROOT = Path(__file__).parents[2]
PAPER = pd.read_csv(ROOT / "figures" / "data" / "soar_paper.csv")
OURS = pd.DataFrame(
    [["hard_only", 1, 0.01, 0.0, 0.025, 6, 2560], ["hard_only", 32, 0.1, 0.05, 0.2, 6, 2560]], columns=COLUMNS
)


def test_ours_stand_beside_the_papers():
    lines = markdown(beside(OURS, PAPER)).split("\n")
    assert lines == [
        "| arm | source | pass@1 | pass@32 |",
        "| --- | --- | --- | --- |",
        "| Hard-Only | nano, 6 students | 1.0 (0.0–2.5) | 10.0 (5.0–20.0) |",
        "| Hard-Only | paper, MATH | 0.5 ± 0.1 | 9.6 ± 2.6 |",
        "| Hard-Only | paper, HARP | 0.4 ± 0.1 | 8.2 ± 1.0 |",
    ]


def test_the_papers_tables_are_complete_and_rise_with_k():
    assert PAPER.groupby(["set", "arm"]).size().unique().tolist() == [5]
    assert PAPER.groupby("set")["arm"].nunique().to_dict() == {"math": 5, "harp": 5}
    assert all(part["mean"].is_monotonic_increasing for _, part in PAPER.groupby(["set", "arm"]))


def test_claims_as_text_and_what_is_missing_as_a_dash():
    untested = [math.nan] * 3
    rows = [["PQ beats Hard-Only", 33.85, 18.97, 49.43, 9.3, 5, *untested, "holds"]]
    rows += [["x", *[math.nan] * 4, 0, *untested, "undecided"]]
    assert markdown(claim_rows(pd.DataFrame(rows, columns=CLAIM_COLUMNS))).split("\n")[2:] == [
        "| PQ beats Hard-Only | 33.9 (19.0 to 49.4) | 9.3 | 5 | holds |",
        "| x | – | – | 0 | undecided |",
    ]


def test_entropies_have_three_digits_and_a_lone_seed_no_interval():
    nan = math.nan
    rows = [["More entropy", 0.0123, -0.001, 0.02, nan, 3, nan, nan, nan, "x"]]
    rows += [["PQ", 1.0, nan, nan, 2.0, 1, nan, nan, nan, "x"]]
    ours = claim_rows(pd.DataFrame(rows, columns=CLAIM_COLUMNS))["ours"]
    assert ours.tolist() == ["0.012 (-0.001 to 0.020)", "1.0"]


def test_a_ladder_runs_numbers_as_text():
    rows = [["ladder", "pass@1", 0.5, 0.25, 0.755, 3, 6554, 6554, 0.82]]
    rows += [["ladder_ttrl", "any step", 0, 0, 0, 3, 526, 13700, math.nan]]
    assert markdown(ladder_plots.rows(pd.DataFrame(rows, columns=LADDER_COLUMNS))).split("\n")[2:] == [
        "| LADDER | pass@1 | 50.0 (25.0–75.5) | 82 | 3 | 6,554 | 6,554 |",
        "| LADDER, then TTRL | any step | 0.0 (0.0–0.0) | – | 3 | 526 | 13,700 |",
    ]


def test_svs_arms_have_the_papers_k_and_the_largest():
    rows = [
        ["base", "test entropy", 0.0926, 0.0885, 0.0997, 3, 0, math.nan],
        ["base", "hard pass@1", 0.0096, 0.0026, 0.0192, 3, 0, 0.112],
        ["base", "hard pass@8", 0.07, 0.02, 0.13, 3, 0, math.nan],
        ["base", "hard pass@64", 0.3437, 0.1619, 0.5382, 3, 0, math.nan],
        ["svs_guarded", "hard pass@1", 0.5, 0.25, 0.75, 3, 11495, math.nan],
        ["svs_guarded", "test entropy", 0.1, math.nan, math.nan, 1, 11495, math.nan],
    ]
    lines = markdown(svs_plots.rows(pd.DataFrame(rows, columns=SVS_COLUMNS))).split("\n")
    assert lines[0] == "| arm | completions | pass@1, % | paper's pass@1 | pass@64, % | entropy on test, nats |"
    assert lines[2:] == [
        "| Base (no training) | 0 | 1.0 (0.3–1.9) | 11.2 | 34.4 (16.2–53.8) | 0.093 (0.088 to 0.100) |",
        "| SvS, guarded | 11,495 | 50.0 (25.0–75.0) | – | – | 0.100 |",
    ]


def test_a_table_goes_between_its_marks_and_nowhere_else():
    text = "a\n<!-- claims -->\nold\n<!-- end of claims -->\nb\n"
    assert fill(text, "| new |", "claims") == "a\n<!-- claims -->\n| new |\n<!-- end of claims -->\nb\n"
    with pytest.raises(ValueError, match="<!-- results -->"):
        fill(text, "| new |")
