"""Figures of diversity and quality draw what their tables say; diversity against gain, and its correlations."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from soar_lib.measure import diversity, quality
from soar_lib.measure.diversity import Embedding
from soar_lib.soar import figures as diversity_plots
from soar_lib.soar import report as study_tables
from tests.measure.test_charts import assert_labelled, series

ROOT = Path(__file__).parents[2]
# Each distinct text is a direction of its own.
AXES = Embedding("axes", lambda texts: np.eye(len(set(texts)))[pd.factorize(np.array(texts))[0]])


def measured(rows, by) -> pd.DataFrame:
    """A table of diversity from rows of (*by, vendi)."""
    data = pd.DataFrame(rows, columns=[*by, "vendi"])
    return data.assign(size=64, embedding="letters", q=1.0)[[*by, "size", "embedding", "q", "vendi"]]


ROUNDS = measured(
    [("grounded", s, r, 10 * s + r) for s in (0, 1) for r in (1, 2, 3)] + [("intrinsic", 0, r, 9 - r) for r in (1, 2)],
    ["arm", "seed", "round"],
)
SEEDS = measured(
    [("grounded_t", 0, 20.0), ("grounded_t", 1, 24.0), ("base_t", 0, 30.0), ("base_t", 1, 32.0)], ["arm", "seed"]
)


def problems(sets) -> pd.DataFrame:
    """Rows of (arm, seed, round, dataset, reward, questions) as a table of problems."""
    rows = [
        [arm, seed, round, dataset, question, "1", reward, "", "correct"]
        for arm, seed, round, dataset, reward, questions in sets
        for question in questions
    ]
    return pd.DataFrame(rows, columns=study_tables.PROBLEMS)


# ------------------------------------------------------------------ diversity


def test_vendi_by_round_draws_the_means_over_seeds():
    (panel,) = (chart := diversity_plots.vendi_by_round(ROUNDS)).panels
    drawn = series(panel)
    assert drawn["grounded reward"].tolist() == [[1, 6], [2, 7], [3, 8]]
    assert drawn["intrinsic reward"].tolist() == [[1, 8], [2, 7]]
    assert panel.title.startswith("letters; 64 problems of each round") and panel.y == "Vendi Score (q = 1)"
    long = ROUNDS[ROUNDS["arm"] == "grounded"].assign(arm="rounds_x6", vendi=1.5)
    beside, alone = diversity_plots.vendi_by_round(pd.concat([ROUNDS, long])).panels
    assert [*series(beside)] == [*drawn] and series(alone)["rounds x 6"][:, 1].tolist() == [1.5] * 3
    assert min(panel.marks[0].low) == 1  # a score is never less, whatever its spread
    assert_labelled(chart)


def test_each_embedding_has_a_panel_with_its_own_q():
    other = ROUNDS.assign(embedding="states", vendi=2.0, q=math.inf)
    panels = diversity_plots.vendi_by_round(pd.concat([ROUNDS, other])).panels
    assert [panel.title.split(";")[0] for panel in panels] == ["letters", "states"]
    assert [panel.y for panel in panels] == ["Vendi Score (q = 1)", "Vendi Score (q = inf)"]
    assert set(series(panels[1])["grounded reward"][:, 1]) == {2}
    by_arm = diversity_plots.vendi_by_arm(pd.concat([SEEDS, SEEDS.assign(embedding="states")])).panels
    assert [panel.title.split(";")[0] for panel in by_arm] == ["letters", "states"]


def test_vendi_by_arm_draws_a_point_per_seed_and_their_mean():
    (panel,) = (chart := diversity_plots.vendi_by_arm(SEEDS)).panels
    drawn = [(list(mark.x), list(mark.y)) for mark in panel.marks]
    assert drawn == [([20, 24], [0, 0]), ([22], [0]), ([30, 32], [1, 1]), ([31], [1])]
    assert panel.rows == ["Grounded-T", "Base-T"] and panel.x == "Vendi Score (q = 1)"
    assert panel.marks[0].hover == ["Grounded-T, seed 0: 20.00", "Grounded-T, seed 1: 24.00"]
    assert_labelled(chart)


def test_gain_table_scores_each_data_set_alone():
    data = problems(
        [
            ("grounded", 0, 1, 0, 0.05, ["a", "b", "c", "d"]),
            ("grounded", 0, 1, 1, -0.02, ["a", "a", "a", "a"]),
            ("no_promotion", 2, 7, 0, 0.0, ["a", "a", "b", "b"]),
            ("intrinsic", 0, 1, 0, 0.9, ["a", "b", "c", "d"]),  # its reward is no gain
            ("n_half", 0, 1, 0, 0.9, ["a", "b"]),  # its sets are smaller
        ]
    )
    table = diversity_plots.vendi_gain_table(data, AXES)
    assert table.columns.tolist() == diversity_plots.GAIN_COLUMNS
    assert table[["arm", "seed", "round", "dataset", "reward"]].values.tolist() == [
        ["grounded", 0, 1, 0, 0.05], ["grounded", 0, 1, 1, -0.02], ["no_promotion", 2, 7, 0, 0.0],
    ]  # fmt: skip
    assert table["vendi"].tolist() == pytest.approx([4, 1, 2])
    assert set(table["n"]) == {4} and set(table["embedding"]) == {"axes"} and set(table["q"]) == {1}
    default = diversity_plots.vendi_gain_table(data, q=2)
    assert set(default["embedding"]) == {"character n-grams (1 to 4)"} and set(default["q"]) == {2}
    with pytest.raises(ValueError, match="data sets of grounded: 4; n_half: 2 problems do not compare"):
        diversity_plots.vendi_gain_table(data, AXES, arms=("grounded", "n_half"))
    assert diversity_plots.vendi_gain_table(data, arms=()).columns.tolist() == diversity_plots.GAIN_COLUMNS


def gains(rows) -> pd.DataFrame:
    """A table of (round, vendi, reward) of one run."""
    data = pd.DataFrame(rows, columns=["round", "vendi", "reward"])
    return data.assign(arm="grounded", seed=0, dataset=0, n=4, embedding="axes", q=1.0)


def test_correlation_over_all_sets_and_within_rounds():
    # Within a round the more diverse set gains more, but later rounds have more diverse sets that gain less.
    data = gains([(1, 1.0, 0.30), (1, 2.0, 0.31), (2, 5.0, 0.10), (2, 6.0, 0.12), (3, 8.0, 0.01), (3, 9.5, 0.05)])
    ranks = np.corrcoef([1, 2, 3, 4, 5, 6], [5, 6, 3, 4, 1, 2])[0, 1]
    assert diversity_plots.rank_correlation(data) == pytest.approx(ranks) and ranks < -0.8
    inside = diversity_plots.within_rounds(data)
    assert inside["reward"].tolist() == pytest.approx([-0.005, 0.005, -0.01, 0.01, -0.02, 0.02])
    assert diversity_plots.rank_correlation(inside) > 0.9
    assert math.isnan(diversity_plots.rank_correlation(data.assign(reward=0.0)))


def test_vendi_against_gain_draws_the_table_and_names_rho_and_n():
    data = gains([(1, 1.0, 0.3), (1, 2.0, 0.31), (2, 5.0, 0.1)])
    both = pd.concat([data, data.assign(arm="multi_turn", reward=0.0)])
    (panel,) = (chart := diversity_plots.vendi_against_gain(both)).panels
    drawn = series(panel)
    assert list(drawn) == ["grounded reward: -0.50 (n = 3)", "two turns: undefined (n = 3)"]
    assert next(iter(drawn.values())) == pytest.approx(np.array([[1, 30], [2, 31], [5, 10]]))
    assert "axes\nSpearman's rho " in panel.title and "(n = 6)" in panel.title
    assert panel.x == "Vendi Score (q = 1) of a data set of 4 problems"
    assert "seed 0, round 1, data set 0" in panel.marks[0].hover[0]
    assert_labelled(chart)


# ------------------------------------------------------------------ quality


def shares() -> pd.DataFrame:
    labels = {"grounded_t": ["correct"] * 5 + ["arithmetic"] * 3 + ["logic", "ambiguous"], "base_t": ["ill_posed"] * 4}
    rows = [(arm, seed, label) for arm, own in labels.items() for seed in (0, 1) for label in own]
    return study_tables.quality_by_arm(pd.DataFrame(rows, columns=["arm", "seed", "label"]))


def bars(panel) -> dict[float, list[tuple[float, float]]]:
    """(start, width) of the parts of each row's bar, by the row's place."""
    found: dict = {}
    for mark in (mark for mark in panel.marks if mark.left is not None):
        for place, start, end in zip(mark.y, mark.left, mark.x, strict=True):
            found.setdefault(place, []).append((start, end - start))
    return found


def test_quality_bars_draw_shares_intervals_and_the_papers_numbers():
    data, paper = shares(), pd.read_csv(ROOT / "figures" / "data" / "quality_paper.csv")
    (panel,) = (chart := diversity_plots.quality_bars(data, paper)).panels
    drawn = bars(panel)
    assert np.array(drawn[0]) == pytest.approx(np.array([[0, 50], [50, 30], [80, 10], [90, 0], [90, 10]]))
    assert drawn[1][0] == (0, 36.5) and drawn[1][1][1] == 29.0 and drawn[2][3] == (0, 100)
    assert drawn[3][-1][1] == pytest.approx(42.4) and panel.xlim == (0, 100)  # the paper's add up to 101
    names = ["Grounded-T (n = 20)", "Grounded-T, paper (n = 375)", "Base-T (n = 8)", "Base-T, paper (n = 384)"]
    assert panel.rows == names
    wanted = data.set_index(["measure", "arm"])[["low", "high"]]
    for mark, measure in zip(panel.marks[-2:], ("correct", "well_posed"), strict=True):
        ends = np.column_stack([mark.low, mark.high])
        assert ends == pytest.approx(wanted.loc[measure].loc[["grounded_t", "base_t"]].to_numpy())
    legend = [text.get_text() for text in chart.static().legends[0].get_texts()]
    assert legend == ["correct", "arithmetic error", "logic error", "ill-posed", "ambiguous"]
    assert_labelled(chart)
    assert len(bars(diversity_plots.quality_bars(data).panels[0])) == 2


def test_the_papers_table_has_every_measure_of_its_four_arms():
    paper = pd.read_csv(ROOT / "figures" / "data" / "quality_paper.csv")
    assert paper.groupby("arm")["measure"].apply(list).map(tuple).to_dict() == {
        arm: quality.MEASURES for arm in ("base_t", "grounded_t", "intrinsic_t", "pq")
    }
    assert set(paper["judge"]) == {"Claude-4.5-Sonnet"}
    assert paper[paper["measure"] == "correct"].set_index("arm")["percent"].to_dict() == {
        "base_t": 23.2, "intrinsic_t": 55.5, "grounded_t": 36.5, "pq": 32.8,
    }  # fmt: skip


def test_tables_of_a_study_can_be_drawn():
    texts = ["one two", "three", "four five six", "seven", "eight nine"]
    sets = [("grounded", 0, r, d, 0.01 * r * d, texts[d : d + 3]) for r in (1, 2) for d in (0, 1)]
    table = study_tables.diversity_table(problems(sets))
    (panel,) = diversity_plots.vendi_by_round(table).panels
    assert series(panel)["grounded reward"][:, 1] == pytest.approx(table["vendi"])
    assert table["embedding"].iloc[0] in panel.title and table["size"].iloc[0] == 6
    assert diversity.tfidf().name in panel.title
