"""Figures of diversity and quality draw what their tables say; diversity against gain, and its correlations."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from soar_lib.measure import diversity, quality
from soar_lib.measure.diversity import Embedding
from soar_lib.soar import diversity_figures as diversity_plots
from soar_lib.soar import question_points
from soar_lib.soar import report as study_tables
from tests.measure.test_plots import assert_labelled, lines
from tests.soar.test_question_map import BY_HAND

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
    figure = diversity_plots.vendi_by_round(ROUNDS)
    (axes,) = figure.axes
    drawn = lines(axes)
    assert drawn["grounded reward"].tolist() == [[1, 6], [2, 7], [3, 8]]
    assert drawn["intrinsic reward"].tolist() == [[1, 8], [2, 7]]
    assert axes.get_title().startswith("letters; 64 problems of each round")
    assert axes.get_ylabel() == "Vendi Score (q = 1)"
    assert_labelled(figure)


def test_each_embedding_has_a_panel_with_its_own_q():
    other = ROUNDS.assign(embedding="states", vendi=2.0, q=math.inf)
    figure = diversity_plots.vendi_by_round(pd.concat([ROUNDS, other]))
    assert [axes.get_title().split(";")[0] for axes in figure.axes] == ["letters", "states"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["Vendi Score (q = 1)", "Vendi Score (q = inf)"]
    assert set(lines(figure.axes[1])["grounded reward"][:, 1]) == {2}
    by_arm = diversity_plots.vendi_by_arm(pd.concat([SEEDS, SEEDS.assign(embedding="states")]))
    assert [axes.get_title().split(";")[0] for axes in by_arm.axes] == ["letters", "states"]


def test_vendi_by_arm_draws_a_point_per_seed_and_their_mean():
    figure = diversity_plots.vendi_by_arm(SEEDS)
    (axes,) = figure.axes
    drawn = lines(axes)
    assert drawn["Grounded-T"].tolist() == [[0, 20], [0, 24]] and drawn["Base-T"].tolist() == [[1, 30], [1, 32]]
    bars = [set(line.get_ydata()) for line in axes.get_lines() if line.get_label().startswith("_")]
    assert bars == [{22}, {31}]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["Grounded-T", "Base-T"]
    assert "Vendi Score (q = 1)" == axes.get_ylabel()
    assert_labelled(figure)


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
    assert set(default["embedding"]) == {"tfidf char 1-4"} and set(default["q"]) == {2}
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
    figure = diversity_plots.vendi_against_gain(both)
    drawn = lines(figure.axes[0])
    assert list(drawn) == ["grounded reward: -0.50 (n = 3)", "two turns: undefined (n = 3)"]
    points = next(iter(drawn.values()))
    assert points == pytest.approx(np.array([[1, 30], [2, 31], [5, 10]]))
    assert "axes; Spearman's rho " in figure.axes[0].get_title() and "(n = 6)" in figure.axes[0].get_title()
    assert figure.axes[0].get_xlabel() == "Vendi Score (q = 1) of a data set of 4 problems"
    assert_labelled(figure)


# ------------------------------------------------------------------ quality


def shares() -> pd.DataFrame:
    labels = {"grounded_t": ["correct"] * 5 + ["arithmetic"] * 3 + ["logic", "ambiguous"], "base_t": ["ill_posed"] * 4}
    rows = [(arm, seed, label) for arm, own in labels.items() for seed in (0, 1) for label in own]
    return study_tables.quality_by_arm(pd.DataFrame(rows, columns=["arm", "seed", "label"]))


def bars(axes) -> dict[float, list[tuple[float, float]]]:
    """(start, width) of the parts of each row's bar, by the row's place."""
    found = {}
    for part in axes.patches:
        found.setdefault(round(part.get_y() + part.get_height() / 2), []).append((part.get_x(), part.get_width()))
    return found


def test_quality_bars_draw_shares_intervals_and_the_papers_numbers():
    data, paper = shares(), pd.read_csv(ROOT / "figures" / "data" / "quality_paper.csv")
    figure = diversity_plots.quality_bars(data, paper)
    (axes,) = figure.axes
    drawn = bars(axes)
    assert np.array(drawn[0]) == pytest.approx(np.array([[0, 50], [50, 30], [80, 10], [90, 0], [90, 10]]))
    assert drawn[1][0] == (0, 36.5) and drawn[1][1][1] == 29.0 and drawn[2][3] == (0, 100)
    assert drawn[3][-1][1] == 42.4
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["Grounded-T (n = 20)", "paper (n = 375)", "Base-T (n = 8)", "paper (n = 384)"]
    intervals = [bar for bar in axes.containers if isinstance(bar, ErrorbarContainer)]
    ends = [bar.lines[2][0].get_segments()[0][:, 0].tolist() for bar in intervals]
    wanted = data[data["measure"].isin(["correct", "well_posed"])].set_index(["arm", "measure"])[["low", "high"]]
    order = [(arm, measure) for arm in ("grounded_t", "base_t") for measure in ("correct", "well_posed")]
    assert np.array(ends) == pytest.approx(wanted.loc[order].to_numpy())
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["correct", "arithmetic error", "logic error", "ill-posed", "ambiguous"]
    assert_labelled(figure)
    assert len(bars(diversity_plots.quality_bars(data).axes[0])) == 2


def test_the_papers_table_has_every_measure_of_its_four_arms():
    paper = pd.read_csv(ROOT / "figures" / "data" / "quality_paper.csv")
    assert paper.groupby("arm")["measure"].apply(list).map(tuple).to_dict() == {
        arm: quality.MEASURES for arm in ("base_t", "grounded_t", "intrinsic_t", "pq")
    }
    assert set(paper["judge"]) == {"Claude-4.5-Sonnet"}
    assert paper[paper["measure"] == "correct"].set_index("arm")["percent"].to_dict() == {
        "base_t": 23.2, "intrinsic_t": 55.5, "grounded_t": 36.5, "pq": 32.8,
    }  # fmt: skip


def test_quality_by_round_draws_both_shares_in_percent():
    rows = [("grounded", s, r, 0.5 + 0.1 * s, 0.25) for s in (0, 1) for r in (1, 2)]
    data = pd.DataFrame(rows, columns=["arm", "seed", "round", "well_posed", "correct"])
    figure = diversity_plots.quality_by_round(data)
    posed, correct = (lines(axes)["grounded reward"] for axes in figure.axes)
    assert posed == pytest.approx(np.array([[1, 55], [2, 55]])) and correct[:, 1].tolist() == [25, 25]
    assert [axes.get_ylabel() for axes in figure.axes] == ["well-posed problems (%)", "correct problems (%)"]
    assert_labelled(figure)


# ------------------------------------------------------------------ the map


@pytest.mark.parametrize("by", question_points.COLOUR_BY)
def test_map_figure_has_a_panel_per_arm_with_circles_of_equal_scale(by, tmp_path):
    BY_HAND.to_csv(tmp_path / "map.csv", index=False)
    for data in (BY_HAND, pd.read_csv(tmp_path / "map.csv")):
        figure = diversity_plots.question_map_figure(data, by)
        titles = [axes.get_title() for axes in figure.axes]
        assert titles == ["grounded reward (4 questions)", "intrinsic reward (1 question)"]
        ground, circles = figure.axes[0].collections
        assert len(ground.get_offsets()) == 5
        places, sizes = circles.get_offsets().tolist(), circles.get_sizes()
        outer = {tuple(place): max(s for p, s in zip(places, sizes) if p == place) for place in places}
        assert sorted(outer.values()) == pytest.approx([8, 24]) and (0.5, 0.5) in outer
        _, colours = question_points.classes(data, (data["arm"] == "grounded").to_numpy(), by)
        legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert legend == [question_points.named(kind) for kind in colours]
    assert figure.get_supxlabel().startswith("by hand") and f"coloured by {by}" in figure.get_supxlabel()


def test_map_figure_of_one_arm_or_three_has_no_empty_panel():
    assert len(diversity_plots.question_map_figure(BY_HAND[:4]).axes) == 1
    third = BY_HAND.iloc[[4]].assign(arm="multi_turn", trust=0.9)
    figure = diversity_plots.question_map_figure(pd.concat([BY_HAND.assign(trust=0.9), third], ignore_index=True))
    assert len(figure.axes) == 3 and "trustworthiness 0.90" in figure.get_supxlabel()


def test_tables_of_a_study_can_be_drawn():
    texts = ["one two", "three", "four five six", "seven", "eight nine"]
    sets = [("grounded", 0, r, d, 0.01 * r * d, texts[d : d + 3]) for r in (1, 2) for d in (0, 1)]
    table = study_tables.diversity_by_round(problems(sets))
    (axes,) = diversity_plots.vendi_by_round(table).axes
    assert lines(axes)["grounded reward"][:, 1] == pytest.approx(table["vendi"])
    assert table["embedding"].iloc[0] in axes.get_title() and table["size"].iloc[0] == 6
    assert diversity.tfidf().name in axes.get_title()
