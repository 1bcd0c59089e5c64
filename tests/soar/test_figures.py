"""Figures of a study: what is drawn is what the table says, in the right order, and nothing hides anything."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from soar_lib.measure import drawing, plots
from soar_lib.measure.claims import COLUMNS as CLAIM_COLUMNS
from soar_lib.measure.claims import FAILS, HOLDS, MARGIN, UNDECIDED, Claim
from soar_lib.measure.names import STUDENTS, ordered
from soar_lib.measure.passk import COLUMNS
from soar_lib.measure.tables import name
from soar_lib.soar import figures as study_plots
from soar_lib.soar.claims import CLAIMS
from soar_lib.soar.study import ARMS as STUDY_ARMS
from tests.measure.test_plots import assert_labelled
from tests.measure.test_plots import lines as drawn_lines

SWEEPS = [name for name, arm in STUDY_ARMS.items() if arm.sweep]
EVERY = [*STUDENTS, "pq_multi_turn", *(f"grounded_t_{name}" for name in SWEEPS)]
FEW = pd.DataFrame(
    [
        ["hard_only", 1, 0.01, 0.0, 0.02, 6, 2560],
        ["hard_only", 4, 0.03, 0.01, 0.05, 6, 2560],
        ["hard_only", 16, 0.08, 0.04, 0.12, 6, 2560],
        ["pq", 1, 0.1, 0.05, 0.15, 6, 2560],
        ["pq", 4, 0.2, 0.12, 0.25, 6, 2560],
        ["pq", 16, 0.4, 0.3, 0.55, 6, 2560],
    ],
    columns=COLUMNS,
)


def run_folder(folder: Path, values: list[float], promoted: int) -> Path:
    """A run folder with the rounds of a run, two data sets of two repeats each."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"threshold": 0.01}))
    with (folder / "rounds.jsonl").open("w") as file:
        for index, value in enumerate(values, 1):
            record = {
                "round": index, "rewards": [[value - 0.02, value], [value, value + 0.02]], "baseline_accuracy": 0.125,
                "mean_reward": value, "moving_average": value, "promoted": index == promoted, "chosen": None,
            }  # fmt: skip
            file.write(json.dumps(record) + "\n")
    return folder


def scored(arms: list[str], ks=(1, 8)) -> pd.DataFrame:
    means = {(arm, k): 0.05 + 0.01 * index * k**0.5 for index, arm in enumerate(arms) for k in ks}
    rows = [[arm, k, mean, 0.005 * k, 0.9 + 0.01 * k, 3, 640] for (arm, k), mean in means.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def curves(values: dict[tuple, list[float]]) -> pd.DataFrame:
    """Rewards by (arm, seed, student), from step 0 on."""
    rows = [[*key, step, value] for key, line in values.items() for step, value in enumerate(line)]
    return pd.DataFrame(rows, columns=["arm", "seed", "student", "step", "reward"])


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in axes.get_lines() if not line.get_label().startswith("_")}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def assert_apart(figure: Figure) -> None:
    """No two rows' names overlap, all lie inside the figure, and every panel names its axes."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
        places = sorted((box.y0, box.y1) for box in boxes)
        assert all(above[0] >= below[1] for below, above in zip(places, places[1:]))
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert axes.get_ylabel()
    assert figure.axes[-1].get_xlabel()


# ------------------------------------------------------------------ names and looks


def test_every_arm_has_a_name_for_readers_and_an_own_look():
    names = [name(arm) for arm in [*EVERY, *STUDY_ARMS]]
    assert len({*names}) == len(names) and not any("_" in name for name in names)
    assert name("pq_multi_turn") == "PQ, two turns" and name("new_one") == "new one"
    looks = drawing.looks(EVERY).values()
    assert len({(look["color"], look["ls"]) for look in looks}) == len(EVERY)


def test_arms_are_ordered_as_in_the_tables():
    assert ordered(["odd", "pq", "base", "pq", "even"]) == ["base", "pq", "odd", "even"]


# ------------------------------------------------------------------ lines


def test_means_smooth_lines_then_average_students_then_seeds():
    data = curves({("pq", 0, 0): [0, 3, 6], ("pq", 0, 1): [2, 5, 8], ("pq", 1, 0): [4, 4], ("base", 0, 0): [1, 1, 1]})
    plain = drawing.means(data, "step", "reward")
    assert plain.columns.tolist() == ["arm", "step", "reward", "sd", "seeds"]
    assert plain[["arm", "step"]].values.tolist() == [[arm, step] for arm in ("pq", "base") for step in (0, 1, 2)]
    assert plain["reward"].tolist() == [2.5, 4, 7, 1, 1, 1] and plain["seeds"].tolist() == [2, 2, 1, 1, 1, 1]
    assert plain["sd"].tolist() == pytest.approx([1.5 * 2**0.5, 0, *[math.nan] * 4], nan_ok=True)
    smooth = drawing.means(data, "step", "reward", 3)
    # Seed 0: (2.5, 4, 5.5) after its ends took two points; seed 1 ends at step 1 and is not prolonged.
    assert smooth["reward"].tolist() == [3.25, 4.0, 5.5, 1, 1, 1] and smooth["seeds"].tolist() == [2, 2, 1, 1, 1, 1]
    without = drawing.means(data.query("student == 0").drop(columns="student"), "step", "reward")
    assert without["reward"].tolist() == [2, 3.5, 6, 1, 1, 1]
    assert drawing.means(data[:0], "step", "reward").empty


def test_bands_draw_the_means_and_one_sd_on_each_side():
    data = curves({("pq", 0, 0): [0, 2, 4], ("pq", 1, 0): [2, 4, 6], ("hard_only", 0, 0): [1, 1, 1]})
    figure = study_plots.bands(data, "step", "reward", 3)
    (axes,) = figure.axes
    drawn = lines(axes)
    assert list(drawn) == ["PQ", "Hard-Only"] == legend(figure)
    assert drawn["PQ"].tolist() == [[0, 2], [1, 3], [2, 4]]
    corners = axes.collections[0].get_paths()[0].vertices
    assert {corners[:, 1].min(), corners[:, 1].max()} == {2 - 2**0.5, 4 + 2**0.5}
    assert axes.get_xlabel() and axes.get_ylabel() and "SD over seeds; moving average of 3" in axes.get_title()
    share = study_plots.bands(data.rename(columns={"reward": "top_reward"}), "step", "top_reward")
    assert lines(share.axes[0])["PQ"][:, 1].tolist() == [100, 300, 500] and "%" in share.axes[0].get_ylabel()
    assert "moving average" not in share.axes[0].get_title()


def test_teachers_show_rewards_and_promotions_so_far():
    rows = [
        ("grounded", seed, number, reward, promoted)
        for seed, line in ((0, [(0.02, True), (0.04, True)]), (1, [(0.0, False), (-0.02, True)]))
        for number, (reward, promoted) in enumerate(line, 1)
    ]
    rounds = pd.DataFrame(rows, columns=["arm", "seed", "round", "mean_reward", "promoted"])
    frame = study_plots.teacher_means(rounds[::-1])  # whatever order the rows have
    assert frame[["round", "mean_reward", "promotions"]].values.tolist() == [[1, 0.01, 0.5], [2, 0.01, 1.5]]
    assert study_plots.teacher_means(rounds, 3)["mean_reward"].tolist() == pytest.approx([0.01, 0.01])
    figure = study_plots.teachers(frame)
    above, below = (lines(axes)["grounded reward"] for axes in figure.axes)
    assert above.tolist() == [[1, 1], [2, 1]] and below.tolist() == [[1, 0.5], [2, 1.5]]
    assert all(axes.get_ylabel() for axes in figure.axes) and legend(figure) == ["grounded reward"]
    assert study_plots.teacher_means(rounds[:0]).empty
    (lone, _) = study_plots.teachers(frame[:1]).axes
    assert [tick for tick in lone.get_xticks() if tick % 1] == []


# ------------------------------------------------------------------ rounds of a run


def test_timeline_draws_rewards_promotions_and_threshold(tmp_path):
    folders = [run_folder(tmp_path / "a", [0.0, 0.03, -0.01], 2), run_folder(tmp_path / "b", [0.01, 0.02, 0.05], 3)]
    data = study_plots.rounds_table(folders)
    assert data["lowest"].tolist() == pytest.approx([-0.01, 0.02, -0.02, 0.0, 0.01, 0.04])
    figure = study_plots.timeline(data, 0.01)
    for axes, (_, part) in zip(figure.axes, data.groupby("run"), strict=True):
        drawn = drawn_lines(axes)
        assert drawn["mean reward"].tolist() == pytest.approx(part[["round", "mean_reward"]].values * [1, 100])
        promoted = part[part["promoted"]]
        assert drawn["promotion"].tolist() == pytest.approx(promoted[["round", "moving_average"]].values * [1, 100])
        assert drawn["promotion threshold"][0, 1] == 1.0
    assert_labelled(figure)


# ------------------------------------------------------------------ pass@k


def test_pass_at_k_draws_means_and_intervals_of_the_table():
    figure = study_plots.main_pass_at_k(FEW)
    drawn = drawn_lines(figure.axes[0])
    assert list(drawn) == ["Hard-Only (6 seeds)", "PQ (6 seeds)"]
    for (_, part), values in zip(FEW.groupby("arm", sort=False), drawn.values(), strict=True):
        assert values[:, 0] == pytest.approx(part["k"], rel=0.1)
        assert values[:, 1] == pytest.approx(100 * part["mean"])
    ends = [bar.lines[2][0].get_segments() for bar in figure.axes[0].containers]
    assert [y for segments in ends for (_, y), _ in segments] == pytest.approx(100 * FEW["low"])
    assert [y for segments in ends for _, (_, y) in segments] == pytest.approx(100 * FEW["high"])
    assert_labelled(figure)


def test_pass_at_k_gives_each_arm_its_look_and_a_legend_beside_the_panel():
    data, look = scored(EVERY), drawing.looks(EVERY[::-1])
    figure = plots.pass_at_k(data, "the transfer set", look)
    (axes,) = figure.axes
    assert legend(figure) == [f"{name(arm)} (3)" for arm in EVERY] and axes.get_legend() is None
    for arm, bars in zip(EVERY, axes.containers, strict=True):
        line, caps, (ends,) = bars.lines
        assert {cap.get_markeredgecolor() for cap in caps} == {look[arm]["color"]}
        assert line.get_ydata() == pytest.approx(100 * data[data["arm"] == arm]["mean"])
        assert line.get_color() == look[arm]["color"] and line.get_linestyle() == look[arm]["ls"]
        heights = [height for segment in ends.get_segments() for _, height in segment]
        assert heights == pytest.approx([0.5, 91, 4, 98])
    assert "the transfer set" in axes.get_ylabel()
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x0 >= axes.get_window_extent().x1


def test_arms_stand_in_the_order_of_the_tables_with_their_intervals():
    figure = study_plots.arms(scored(EVERY[::-1]), 8, "hard test")
    (axes,) = figure.axes
    known = [f"{title} (3)" for title in STUDENTS.values()]
    assert [label.get_text() for label in axes.get_yticklabels()][: len(known)] == known
    assert len(axes.containers) == len(EVERY) and axes.yaxis.get_inverted()
    values = scored(EVERY[::-1]).query("k == 8").set_index("arm")["mean"]
    for place, (arm, bars) in enumerate(zip(STUDENTS, axes.containers)):
        assert bars.lines[0].get_xydata().tolist() == [pytest.approx([100 * values[arm], place])]
        assert bars.lines[2][0].get_segments()[0][:, 0].tolist() == pytest.approx([4, 98])
    assert axes.get_xlabel() == "pass@8 on hard test (%)"
    assert_apart(figure)
    assert study_plots.arms(scored(["pq"])).axes[0].get_xlabel() == "pass@8 (%)"
    with pytest.raises(ValueError, match="k = 3: no arm was measured at it; measured: 1, 8"):
        study_plots.arms(scored(["pq"]), 3)


def test_sweeps_stand_below_their_unswept_setting():
    swept = ["grounded_t_tau_x2", "pq_n_half", "grounded_t", "pq", "grounded_t_n_half"]
    figure = study_plots.sweeps(scored(swept), 8)
    assert [axes.get_title() for axes in figure.axes] == ["PQ", "Grounded-T"]
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes]
    assert names == [
        ["PQ (3)", "PQ, n x 1/2 (3)"],
        ["Grounded-T (3)", "Grounded-T, tau x 2 (3)", "Grounded-T, n x 1/2 (3)"],
    ]
    means = scored(swept).query("k == 8").set_index("arm")["mean"]
    drawn = [bars.lines[0].get_xdata()[0] for bars in figure.axes[1].containers]
    assert drawn == pytest.approx([100 * means[arm] for arm in ("grounded_t", swept[0], swept[4])])
    looks = [bars.lines[0].get_color() for bars in figure.axes[1].containers]
    assert looks[0] != looks[1] == looks[2]
    assert_apart(figure)


# ------------------------------------------------------------------ claims


def table_of_claims() -> pd.DataFrame:
    rows = []
    for index, claim in enumerate(CLAIMS):
        verdict = (HOLDS, FAILS, UNDECIDED)[index % 3]
        rows.append([claim.text.format(k=32), index, index - 1.5, index + 2, claim.paper, 5, verdict])
    rows[2][1:4], rows[2][5] = [math.nan] * 3, 0
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def test_forest_shows_every_claim_with_its_unit_verdict_bound_and_the_papers_number():
    data = table_of_claims()
    figure = plots.forest(data, CLAIMS)
    ratios = [index for index, claim in enumerate(CLAIMS) if "(ratio" in claim.text or "SD over" in claim.text]
    points = [index for index in range(len(CLAIMS)) if index not in ratios]
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes] == ["points", "ratio"]
    for axes, own in zip(figure.axes, (points, ratios), strict=True):
        found = [" ".join(label.get_text().split()) for label in axes.get_yticklabels()]
        assert found == data["claim"].iloc[own].tolist()
        drawn = lines(axes)
        assert drawn["paper"][:, 0] == pytest.approx(data["paper"].iloc[own], nan_ok=True)
        bounds = [MARGIN if CLAIMS[index].no_effect else CLAIMS[index].null for index in own]
        assert drawn["to be cleared"][:, 0].tolist() == bounds
        refuted = [CLAIMS[index].null if CLAIMS[index].no_effect else math.nan for index in own]
        if any(CLAIMS[index].no_effect for index in own):
            assert drawn["refuted above"][:, 0] == pytest.approx(refuted, nan_ok=True)
        else:
            assert "refuted above" not in drawn
        for bars in axes.containers:
            places = bars.lines[0].get_ydata().astype(int)
            part = data.iloc[[own[place] for place in places]]
            assert bars.get_label() == f"ours: {part['verdict'].iloc[0]}" and part["verdict"].nunique() == 1
            assert bars.lines[0].get_xdata() == pytest.approx(part["ours"], nan_ok=True)
            ends = [segment[:, 0].tolist() for segment in bars.lines[2][0].get_segments() if len(segment)]
            limits = part.dropna(subset="ours")[["low", "high"]].values.tolist()
            assert [end for end in ends if not np.isnan(end).any()] == limits
        said = [text.get_text() for text in axes.texts]
        assert said == ["not measured" if index == 2 else f"{data['verdict'][index]} (5 seeds)" for index in own]
    bars = {"to be cleared", "refuted above"}
    assert {*legend(figure)} == {"paper", *bars, *(f"ours: {name}" for name in (HOLDS, FAILS, UNDECIDED))}
    assert_apart(figure)


def test_forest_takes_bounds_from_the_claims_that_it_is_given():
    mine = [Claim("Mine gains less than 5 points of pass@{mine}", lambda study: None, no_effect=True)]
    data = table_of_claims()[:1].assign(claim="Mine gains less than 5 points of pass@850")
    (axes,) = plots.forest(data, mine).axes
    assert lines(axes)["to be cleared"].tolist() == [[MARGIN, 0]]
    assert lines(axes)["refuted above"].tolist() == [[0, 0]]


def test_forest_of_claims_of_another_list_has_one_panel():
    data = table_of_claims()[:1].assign(claim="Mine beats yours")
    (axes,) = plots.forest(data, CLAIMS).axes
    assert lines(axes)["to be cleared"].tolist() == [[0, 0]] and axes.get_xlabel().startswith("points")
    assert "refuted above" not in lines(axes)
