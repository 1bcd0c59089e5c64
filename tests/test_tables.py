"""Our numbers beside the paper's, and the README's table read from the same CSV."""

from pathlib import Path

import pandas as pd

from soar_lib.analysis.passk import COLUMNS
from soar_lib.analysis.tables import beside, markdown

ROOT = Path(__file__).parents[1]
PAPER = pd.read_csv(ROOT / "figures" / "data" / "soar_paper.csv")
OURS = pd.DataFrame(
    [["hard_only", 1, 0.01, 0.0, 0.025, 6, 2560], ["hard_only", 32, 0.1, 0.05, 0.2, 6, 2560]], columns=COLUMNS
)


def test_ours_stand_beside_the_papers():
    lines = markdown(beside(OURS, PAPER)).split("\n")
    assert lines == [
        "| arm | source | pass@1 | pass@32 |",
        "| --- | --- | --- | --- |",
        "| Hard-Only | nano, 6 seeds | 1.0 (0.0–2.5) | 10.0 (5.0–20.0) |",
        "| Hard-Only | paper, MATH | 0.5 ± 0.1 | 9.6 ± 2.6 |",
        "| Hard-Only | paper, HARP | 0.4 ± 0.1 | 8.2 ± 1.0 |",
    ]


def test_the_papers_tables_are_complete_and_rise_with_k():
    assert PAPER.groupby(["set", "arm"]).size().unique().tolist() == [5]
    assert PAPER.groupby("set")["arm"].nunique().to_dict() == {"math": 5, "harp": 5}
    assert all(part["mean"].is_monotonic_increasing for _, part in PAPER.groupby(["set", "arm"]))
