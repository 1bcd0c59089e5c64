"""The map of questions: places repeat and keep neighbours, circles hold every question, the widget follows its controls
and treats a model's text as text."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from soar_lib.measure import live
from soar_lib.measure.charts import Chart, Panel
from soar_lib.measure.diversity import Embedding, tfidf
from soar_lib.measure.names import COLOURS
from soar_lib.measure.tables import name
from soar_lib.soar import question_map
from soar_lib.soar import report as study_tables
from tools.figures import question_map_on_paper

SUM = "State the final answer to the following arithmetic problem: "
NASTY = 'a < b & "c" </title><script>alert(1)</script>'


def frame(rows, **more) -> pd.DataFrame:
    """Rows of arm, seed, round, dataset, question, answer, reward, topic, label."""
    return pd.DataFrame(rows, columns=study_tables.PROBLEMS).assign(**more)


def written(count: int, arm="grounded", seed=0, rounds=2) -> pd.DataFrame:
    rows = [
        [arm, seed, 1 + i % rounds, i % 2, f"{SUM}{i} + {seed} =", str(i), 0.01 * (i % 3), "chain_sum", "correct"]
        for i in range(count)
    ]
    return frame(rows)


def placed(rows, x, y) -> pd.DataFrame:
    data = frame(rows, x=x, y=y, projection="by hand", trust=math.nan)
    return data.assign(written=data.groupby(["arm", "seed"])["x"].transform("size"))


BY_HAND = placed(
    [
        ["grounded", 0, 1, 0, "first", "1", -0.02, "chain_sum", "correct"],
        ["grounded", 0, 1, 0, "first", "1", -0.02, "chain_sum", "correct"],
        ["grounded", 0, 2, 1, NASTY, "<b>", 0.03, "", "ill_posed"],
        ["grounded", 1, 2, 0, "third", "3", 0.0, "leg_counting", "logic"],
        ["intrinsic", 0, 1, 0, "fourth", "4", 0.6, "leg_counting", "arithmetic"],
    ],
    [0.0, 0.0, 0.001, 0.5, 1.0],
    [0.0, 0.0, 0.001, 0.5, 0.4],
)


def clouds(of: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Three groups of directions, far apart, and the group of each row."""
    draw = np.random.default_rng(1)
    centres = np.eye(3, 6)
    return np.concatenate([c + 0.05 * draw.normal(size=(of, 6)) for c in centres]), np.repeat(range(3), of)


def circles(panel: Panel) -> dict[str, list[tuple[float, str]]]:
    """(area relative to one question's, what pointing says) of each circle in colour, by its class."""
    unit = question_map.SMALL**2
    return {
        re.sub(r" \(\d+\)$", "", mark.name): [(size**2 / unit, said) for size, said in zip(mark.size, mark.hover)]
        for mark in panel.marks
        if mark.name
    }


def drawn(page) -> Panel:
    (chart,) = [part for part in page if isinstance(part, Chart)]
    return chart.panels[0]


# ------------------------------------------------------------------ places


@pytest.mark.parametrize("landmarks", [200, 60])
def test_projection_repeats_fills_the_map_and_keeps_groups_together(landmarks):
    vectors, groups = clouds()
    places = question_map.project(vectors, landmarks, seed=3)
    assert np.array_equal(places, question_map.project(vectors, landmarks, seed=3))
    assert places.shape == (120, 2) and places.min(0).tolist() == [0, 0] and places.max() == 1
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(120)
    assert (groups[apart.argmin(1)] == groups).all()


def test_projection_of_other_landmarks_differs_and_equal_rows_share_a_place():
    vectors, _ = clouds(20)
    vectors[1] = vectors[0]
    places = question_map.project(vectors, 30, seed=0)
    assert not np.allclose(places, question_map.project(vectors, 30, seed=1))
    assert np.allclose(places[0], places[1])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_few_questions_have_places_too(count):
    places = question_map.project(tfidf().encode(["one", "two two", "three", "four of", "5"][:count]))
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert len(np.unique(places.round(6), axis=0)) == count


def test_trust_is_one_where_neighbours_are_kept_and_low_for_a_random_map():
    angles = 1.5 * np.random.default_rng(5).random(40)  # unequal steps: no two neighbours are equally far
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert question_map.trust(vectors, angles[:, None] * [1, 0]) == 1
    shuffled = np.random.default_rng(0).random((40, 2))
    assert question_map.trust(vectors, shuffled) < 0.8
    assert math.isnan(question_map.trust(vectors[:3], shuffled[:3]))


def test_points_keep_the_problems_and_name_the_map():
    problems = pd.concat([written(9), written(6, "intrinsic"), written(6, "intrinsic", 1)])
    data = question_map.points(problems)
    assert data.columns.tolist() == question_map.COLUMNS
    pd.testing.assert_frame_equal(data[study_tables.PROBLEMS], problems.reset_index(drop=True))
    same = data.groupby("question")[["x", "y"]].nunique()  # both arms of seed 0 wrote 0 + 0 to 5 + 0
    assert (same == 1).all().all() and len(same) == 15
    assert set(data["projection"]) == {"t-SNE of character n-grams (1 to 4), from 15 of 15 different questions"}
    assert data["trust"].nunique() == 1 and 0.5 < data["trust"].iloc[0] <= 1
    assert data["written"].tolist() == [9] * 9 + [6] * 12


def test_points_draw_from_large_runs_by_lot_and_each_run_by_itself():
    letters = Embedding("letters", lambda texts: np.array([[t.count(c) for c in "0123456789"] for t in texts]) + 0.1)
    both = pd.concat([written(30), written(30, "intrinsic", 1)])
    data = question_map.points(both, letters, most=8)
    assert data.groupby("arm").size().tolist() == [8, 8] and set(data["written"]) == {30}
    assert data["projection"].iloc[0].startswith("t-SNE of letters")
    alone = question_map.points(written(30), letters, most=8)
    assert alone["question"].tolist() == data.loc[data["arm"] == "grounded", "question"].tolist()
    other = question_map.points(written(30), letters, most=8, seed=1)
    assert other["question"].tolist() != alone["question"].tolist()
    assert question_map.points(both.iloc[:0]).columns.tolist() == question_map.COLUMNS


# ------------------------------------------------------------------ colours and circles


def test_rounds_are_at_most_six_spans_scaled_by_the_part():
    data = pd.concat([written(60, rounds=10), written(60, "intrinsic_long", rounds=60)], ignore_index=True)
    own = (data["arm"] == "grounded").to_numpy()
    kinds, colours = question_map.classes(data, own, "round")
    assert list(colours) == ["1 to 2", "3 to 4", "5 to 6", "7 to 8", "9 to 10"] and len(set(colours.values())) == 5
    assert kinds == [f"{r - (r + 1) % 2} to {r + r % 2}" for r in data.loc[own, "round"]]
    assert list(question_map.classes(data, ~own, "round")[1])[0::5] == ["1 to 10", "51 to 60"]
    assert list(question_map.classes(written(6), np.ones(6, bool), "round")[1]) == ["1", "2"]


def test_rewards_are_spans_that_hold_their_lower_end_scaled_by_the_part():
    data = written(6).assign(reward=[-0.02, -0.011, 0.0, 0.0199, 0.02, 0.9])
    own = np.array([True] * 5 + [False])
    kinds, colours = question_map.classes(data, own, "reward")
    assert list(colours) == ["-2 to -1", "-1 to 0", "0 to +1", "+1 to +2"]
    assert kinds == ["-2 to -1", "-2 to -1", "0 to +1", "+1 to +2", "+1 to +2"]
    assert question_map.classes(data.assign(reward=0.0), own, "reward")[0][0].startswith(("0 ", "-"))


def test_families_keep_their_colour_where_some_are_absent_and_labels_theirs():
    some = (BY_HAND["arm"] == "intrinsic").to_numpy()
    all_rows = np.ones(len(BY_HAND), bool)
    kinds, colours = question_map.classes(BY_HAND, some, "family")
    assert kinds == ["leg_counting"] and colours == question_map.classes(BY_HAND, all_rows, "family")[1]
    absent = BY_HAND.assign(topic=BY_HAND["topic"].replace("", np.nan))  # as a CSV reads back
    assert question_map.classes(absent, all_rows, "family") == question_map.classes(BY_HAND, all_rows, "family")
    assert question_map.classes(absent, all_rows, "family")[0][2] == "no family"
    kinds, colours = question_map.classes(BY_HAND, all_rows, "quality")
    assert kinds == BY_HAND["label"].tolist() and set(kinds) <= set(colours) and set(colours.values()) < set(COLOURS)
    with pytest.raises(ValueError, match="colour by 'size': must be one of round, reward, family, quality"):
        question_map.classes(BY_HAND, all_rows, "size")


def test_circles_hold_every_question_once_and_kinds_of_a_square_apart():
    found = question_map.circles(BY_HAND, ["a", "a", "b", "c", "d"])
    assert found["count"].tolist() == [2, 1, 1, 1] and found["kind"].tolist() == ["a", "b", "c", "d"]
    assert found["rows"].tolist() == [[0, 1], [2], [3], [4]] and found.loc[0, ["x", "y"]].tolist() == [0, 0]
    many = pd.DataFrame(np.random.default_rng(2).random((500, 2)) ** 2, columns=["x", "y"])
    found = question_map.circles(many, ["a", "b"] * 250)
    assert sorted(row for rows in found["rows"] for row in rows) == list(range(500))
    assert found["count"].is_monotonic_decreasing
    spread = [np.ptp(many.to_numpy()[rows], axis=0).max() for rows in found["rows"]]
    assert max(spread) <= 1 / question_map.GRID


def test_a_family_is_named_where_most_of_its_questions_are():
    more = pd.concat([BY_HAND, BY_HAND[3:4]])
    assert question_map.families(more) == {"chain_sum": (0, 0), "leg_counting": (0.5, 0.5)}
    assert question_map.families(BY_HAND[2:3]) == {}


# ------------------------------------------------------------------ the drawing


def test_pointing_at_a_circle_shows_its_questions_and_picking_it_lists_them():
    panel = drawn(question_map.page(BY_HAND, "grounded", "all", (1, 2), "quality"))
    found = circles(panel)
    assert {kind: len(own) for kind, own in found.items()} == {
        "correct": 1, "logic error": 1, "ill-posed": 1, "arithmetic error": 0, "ambiguous": 0, "unjudged": 0,
    }  # fmt: skip
    assert found["correct"][0][1] == "first → 1 (correct; reward -2.0 points; seed 0, round 1, data set 0) (2 times)"
    assert found["ill-posed"][0][1] == f"{NASTY} → <b> (ill-posed; reward +3.0 points; seed 0, round 2, data set 1)"
    (mark,) = [mark for mark in panel.marks if mark.name == "correct (2)"]
    assert mark.keys == [(0, 1)]
    said, table = question_map.picked(BY_HAND, [(0, 1), (2,)])
    assert said.startswith("3 questions picked") and table["question"].tolist() == ["first", "first", NASTY]
    assert table["reward"].tolist() == ["-2.0", "-2.0", "+3.0"] and question_map.picked(BY_HAND, [()]) == []
    hidden = [trace.hovertext for trace in live.figure(Chart([panel])).data if trace.hovertext]
    assert not any("<script" in text for texts in hidden for text in texts)


def test_a_full_circle_quotes_some_questions_and_counts_the_others():
    data = written(9).assign(x=0.0, y=0.0, written=9, projection="by hand", trust=math.nan)
    ((_, text),) = circles(drawn(question_map.page(data, "grounded", 0, (1, 2), "family")))["chain sum"]
    lines = text.splitlines()
    assert len(lines) == 5 and lines[0].startswith(f"{SUM}0 + 0 = → 0") and lines[-1] == "and 5 more"


def test_area_is_the_number_of_questions_and_other_rounds_change_neither_size_nor_colour():
    def of(rounds):
        panel = drawn(question_map.page(BY_HAND, "grounded", "all", rounds, "round"))
        own = circles(panel)
        colours = {mark.name.split(" ")[0]: {*mark.colour} for mark in panel.marks if mark.name and len(mark.x)}
        return {kind: sorted(area for area, _ in found) for kind, found in own.items()}, colours

    (both, colours), (first, some) = of((1, 2)), of((1, 1))
    assert both == {"1": pytest.approx([2]), "2": pytest.approx([1, 1])}
    assert first == {"1": pytest.approx([2]), "2": []} and some["1"] == colours["1"]
    ground = drawn(question_map.page(BY_HAND, "grounded", 1, (1, 2), "round")).marks[0]
    assert len(ground.x) == 3 and not any(ground.hover)  # the squares of all arms


def test_a_page_says_what_is_shown_and_how_the_map_was_made():
    said, _, how = question_map.page(BY_HAND, "grounded", 0, (1, 2), "quality")
    assert said == "3 questions: grounded reward, seed 0, rounds 1 to 2; colours: the judge's label."
    assert how.startswith("Map: by hand. Neighbours are alike") and "trustworthiness" not in how
    assert question_map.page(BY_HAND, "intrinsic", 0, (1, 1), "family")[0].startswith("1 question: intrinsic reward")
    said, _, how = question_map.page(BY_HAND.assign(written=40, trust=0.934), "grounded", "all", (2, 2), "round")
    assert said.startswith("2 questions: grounded reward, all seeds, round 2;") and "trustworthiness 0.93" in how
    assert "Of 80 written in all rounds, 4 were drawn by lot." in said
    (said,) = question_map.page(BY_HAND, "intrinsic", 0, (2, 2), "reward")
    assert said == "No question: intrinsic reward, seed 0, round 2."


@pytest.mark.parametrize("by", question_map.COLOUR_BY)
def test_map_on_paper_has_a_panel_per_arm_with_circles_of_equal_scale(by, tmp_path):
    BY_HAND.to_csv(tmp_path / "map.csv", index=False)
    for data in (BY_HAND, pd.read_csv(tmp_path / "map.csv")):
        chart = question_map_on_paper(data, by)
        titles = [panel.title for panel in chart.panels]
        assert titles == ["grounded reward (4 questions)", "intrinsic reward (1 question)"]
        areas = [area for panel in chart.panels for own in circles(panel).values() for area, _ in own]
        assert sum(areas) == pytest.approx(5) and len(chart.panels[0].marks[0].x) == 3
        kinds = question_map.classes(data, (data["arm"] == "grounded").to_numpy(), by)[1]
        assert {mark.name for mark in chart.panels[0].marks if mark.name} == set(map(name, kinds))
        chart.static().draw_without_rendering()
    assert chart.note.startswith("by hand\n") and chart.heading == by
    assert question_map_on_paper(BY_HAND[:4].assign(trust=0.9)).note.startswith("by hand, trustworthiness 0.90")


# ------------------------------------------------------------------ the widget


def test_explorer_follows_each_control():
    controls, shown, below = question_map.map_explorer(BY_HAND).children
    arm, seed, colour, rounds = controls.children
    assert [text for text, _ in arm.options] == ["grounded reward", "intrinsic reward"]
    assert (seed.options, rounds.value, rounds.min, rounds.max) == (("all", 0, 1), (1, 2), 1, 2)
    for control, value in ((arm, "intrinsic"), (colour, "reward"), (seed, 0), (arm, "grounded"), (rounds, (2, 2))):
        before, control.value = (shown.children[0].value, shown.children[1].to_dict()), value
        assert (shown.children[0].value, shown.children[1].to_dict()) != before
    trace = next(trace for trace in shown.children[1].data if trace.name and len(trace.x))
    trace._dispatch_on_click(type("Points", (), {"point_inds": [0]})(), None)
    assert "&lt;script&gt;" in below.children[1].value and "<script>" not in below.children[1].value
    rounds.value = (1, 2)
    assert not below.children
    seed.value, arm.value = 1, "intrinsic"
    assert shown.children[0].value == "<p>No question: intrinsic reward, seed 1, round 1.</p>" and rounds.max == 1


def study(folder, problems):
    """A study's folder with one SOAR run whose teacher wrote these (round, data set, question, answer)."""
    run = folder / "grounded" / "seed3"
    run.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"arms": ["grounded"], "evaluate": {}}))
    (run / "config.json").write_text(json.dumps({"seed": 3}))
    rows = [
        {"id": str(i), "round": r, "dataset": d, "question": q, "answer": a, "text": "", "reward": 0.25}
        for i, (r, d, q, a) in enumerate(problems)
    ]
    (run / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "rounds.jsonl").write_text("")
    return folder


def test_explorer_reads_a_study_and_judges_its_problems(tmp_path):
    folder = study(tmp_path, [(1, 0, f"{SUM}42 + 9 =", "51"), (1, 1, "How?", "7"), (2, 0, f"{SUM}42 + 9 =", "41")])
    explorer = question_map.question_map(folder)
    found = "\n".join(text for own in circles(drawn(explorer.page())).values() for _, text in own)
    assert "42 + 9 = → 51 (correct; reward +25.0 points; seed 3, round 1" in found
    assert "42 + 9 = → 41 (arithmetic error" in found and "How? → 7 (ill-posed" in found
    explorer.children[0].children[2].value = "family"
    assert {"chain sum (2)", "no family (1)"} <= {mark.name for mark in drawn(explorer.page()).marks}


def test_a_study_without_problems_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="no teacher wrote a problem yet; run the study or resume it"):
        question_map.question_map(study(tmp_path, []))
