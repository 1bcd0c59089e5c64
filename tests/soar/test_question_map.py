"""The map of questions: places repeat and keep neighbours, circles hold every question, the widget follows its controls
and treats a model's text as text."""

import json
import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from soar_lib.measure.diversity import Embedding, tfidf
from soar_lib.measure.plots import COLOURS
from soar_lib.soar import question_map, question_points
from soar_lib.soar import report as study_tables

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


def elements(html: str, tag: str) -> list[ElementTree.Element]:
    """Elements of the drawing, which must be well-formed."""
    drawing = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])
    return list(drawing.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def titles(html: str) -> list[str]:
    return [element.text for element in elements(html, "title")]


# ------------------------------------------------------------------ places


@pytest.mark.parametrize("landmarks", [200, 60])
def test_projection_repeats_fills_the_map_and_keeps_groups_together(landmarks):
    vectors, groups = clouds()
    places = question_points.project(vectors, landmarks, seed=3)
    assert np.array_equal(places, question_points.project(vectors, landmarks, seed=3))
    assert places.shape == (120, 2) and places.min(0).tolist() == [0, 0] and places.max() == 1
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(120)
    assert (groups[apart.argmin(1)] == groups).all()


def test_projection_of_other_landmarks_differs_and_equal_rows_share_a_place():
    vectors, _ = clouds(20)
    vectors[1] = vectors[0]
    places = question_points.project(vectors, 30, seed=0)
    assert not np.allclose(places, question_points.project(vectors, 30, seed=1))
    assert np.allclose(places[0], places[1])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_few_questions_have_places_too(count):
    places = question_points.project(tfidf().encode(["one", "two two", "three", "four of", "5"][:count]))
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert len(np.unique(places.round(6), axis=0)) == count


def test_trust_is_one_where_neighbours_are_kept_and_low_for_a_random_map():
    angles = 1.5 * np.random.default_rng(5).random(40)  # unequal steps: no two neighbours are equally far
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert question_points.trust(vectors, angles[:, None] * [1, 0]) == 1
    shuffled = np.random.default_rng(0).random((40, 2))
    assert question_points.trust(vectors, shuffled) < 0.8
    assert math.isnan(question_points.trust(vectors[:3], shuffled[:3]))


def test_points_keep_the_problems_and_name_the_map():
    problems = pd.concat([written(9), written(6, "intrinsic"), written(6, "intrinsic", 1)])
    data = question_points.points(problems)
    assert data.columns.tolist() == question_points.COLUMNS
    pd.testing.assert_frame_equal(data[study_tables.PROBLEMS], problems.reset_index(drop=True))
    same = data.groupby("question")[["x", "y"]].nunique()  # both arms of seed 0 wrote 0 + 0 to 5 + 0
    assert (same == 1).all().all() and len(same) == 15
    assert set(data["projection"]) == {"t-SNE of tfidf char 1-4, from 15 of 15 different questions"}
    assert data["trust"].nunique() == 1 and 0.5 < data["trust"].iloc[0] <= 1
    assert data["written"].tolist() == [9] * 9 + [6] * 12


def test_points_draw_from_large_runs_by_lot_and_each_run_by_itself():
    letters = Embedding("letters", lambda texts: np.array([[t.count(c) for c in "0123456789"] for t in texts]) + 0.1)
    both = pd.concat([written(30), written(30, "intrinsic", 1)])
    data = question_points.points(both, letters, most=8)
    assert data.groupby("arm").size().tolist() == [8, 8] and set(data["written"]) == {30}
    assert data["projection"].iloc[0].startswith("t-SNE of letters")
    alone = question_points.points(written(30), letters, most=8)
    assert alone["question"].tolist() == data.loc[data["arm"] == "grounded", "question"].tolist()
    other = question_points.points(written(30), letters, most=8, seed=1)
    assert other["question"].tolist() != alone["question"].tolist()
    assert question_points.points(both.iloc[:0]).columns.tolist() == question_points.COLUMNS


# ------------------------------------------------------------------ colours and circles


def test_rounds_are_at_most_six_spans_scaled_by_the_part():
    data = pd.concat([written(60, rounds=10), written(60, "intrinsic_long", rounds=60)], ignore_index=True)
    own = (data["arm"] == "grounded").to_numpy()
    kinds, colours = question_points.classes(data, own, "round")
    assert list(colours) == ["1 to 2", "3 to 4", "5 to 6", "7 to 8", "9 to 10"] and len(set(colours.values())) == 5
    assert kinds == [f"{r - (r + 1) % 2} to {r + r % 2}" for r in data.loc[own, "round"]]
    assert list(question_points.classes(data, ~own, "round")[1])[0::5] == ["1 to 10", "51 to 60"]
    assert list(question_points.classes(written(6), np.ones(6, bool), "round")[1]) == ["1", "2"]


def test_rewards_are_spans_that_hold_their_lower_end_scaled_by_the_part():
    data = written(6).assign(reward=[-0.02, -0.011, 0.0, 0.0199, 0.02, 0.9])
    own = np.array([True] * 5 + [False])
    kinds, colours = question_points.classes(data, own, "reward")
    assert list(colours) == ["-2 to -1", "-1 to 0", "0 to +1", "+1 to +2"]
    assert kinds == ["-2 to -1", "-2 to -1", "0 to +1", "+1 to +2", "+1 to +2"]
    assert question_points.classes(data.assign(reward=0.0), own, "reward")[0][0].startswith(("0 ", "-"))


def test_families_keep_their_colour_where_some_are_absent_and_labels_theirs():
    some = (BY_HAND["arm"] == "intrinsic").to_numpy()
    all_rows = np.ones(len(BY_HAND), bool)
    kinds, colours = question_points.classes(BY_HAND, some, "family")
    assert kinds == ["leg_counting"] and colours == question_points.classes(BY_HAND, all_rows, "family")[1]
    absent = BY_HAND.assign(topic=BY_HAND["topic"].replace("", np.nan))  # as a CSV reads back
    assert question_points.classes(absent, all_rows, "family") == question_points.classes(BY_HAND, all_rows, "family")
    assert question_points.classes(absent, all_rows, "family")[0][2] == "no family"
    kinds, colours = question_points.classes(BY_HAND, all_rows, "quality")
    assert kinds == BY_HAND["label"].tolist() and set(kinds) <= set(colours) and set(colours.values()) < set(COLOURS)
    with pytest.raises(ValueError, match="colour by 'size': must be one of round, reward, family, quality"):
        question_points.classes(BY_HAND, all_rows, "size")


def test_circles_hold_every_question_once_and_share_their_area_in_rings():
    first, *rest = question_points.circles(BY_HAND, ["a", "a", "b", "c", "d"])
    assert first.rings == [("a", 3), ("b", 1)] and first.rows.tolist() == [0, 1, 2] and first.count == 3
    assert (first.x, first.y) == pytest.approx((0.001 / 3, 0.001 / 3))
    assert [circle.rings for circle in rest] == [[("c", 1)], [("d", 1)]]
    assert question_points.fullest(BY_HAND) == 3 and question_points.fullest(BY_HAND[:0]) == 1
    many = pd.DataFrame(np.random.default_rng(2).random((500, 2)) ** 2, columns=["x", "y"])
    found = question_points.circles(many, ["a"] * 500)
    assert sorted(row for circle in found for row in circle.rows.tolist()) == list(range(500))
    assert [circle.count for circle in found] == sorted((circle.count for circle in found), reverse=True)
    spread = [np.ptp(many.to_numpy()[circle.rows], axis=0).max() for circle in found]
    assert max(spread) <= 1 / question_points.GRID


def test_a_family_is_named_where_most_of_its_questions_are():
    more = pd.concat([BY_HAND, BY_HAND[3:4]])
    assert question_points.families(more) == {"chain_sum": (0, 0), "leg_counting": (0.5, 0.5)}


# ------------------------------------------------------------------ the drawing


def test_pointing_at_a_circle_shows_its_questions_as_plain_text():
    html = question_map.map_html(BY_HAND, "grounded", "all", (1, 2), "quality")
    assert "<script>" not in html and "<b>" not in html
    several, single = titles(html)
    assert several.splitlines() == [
        "first → 1 (correct; reward -2.0 points; seed 0, round 1, data set 0) (2 times)",
        f"{NASTY} → <b> (ill-posed; reward +3.0 points; seed 0, round 2, data set 1)",
    ]
    assert single == "third → 3 (logic error; reward +0.0 points; seed 1, round 2, data set 0)"


def test_a_full_circle_quotes_some_questions_and_counts_the_others():
    data = written(9).assign(x=0.0, y=0.0, written=9, projection="by hand", trust=math.nan)
    (text,) = titles(question_map.map_html(data, "grounded", 0, (1, 2), "family"))
    lines = text.splitlines()
    assert len(lines) == 5 and lines[0].startswith(f"{SUM}0 + 0 = → 0") and lines[-1] == "and 5 more"


def test_area_is_the_number_of_questions_and_other_rounds_change_neither_size_nor_colour():
    def drawn(rounds):
        html = question_map.map_html(BY_HAND, "grounded", "all", rounds, "round")
        groups = [group.findall("{*}circle") for group in elements(html, "g") if group.find("{*}title") is not None]
        return [[(float(ring.get("r")), ring.get("fill")) for ring in group] for group in groups]

    (outer, inner), (single,) = drawn((1, 2))
    assert outer[0] ** 2 == pytest.approx(3 * inner[0] ** 2, rel=0.01) and inner[0] == single[0]
    assert inner[1] == single[1] != outer[1]
    (two,) = drawn((1, 1))
    assert two == [(pytest.approx(single[0] * 2**0.5, rel=0.01), outer[1])]
    ground = re.search(r'<path d="(.*?)"', question_map.map_html(BY_HAND, "grounded", 1, (1, 2), "round"))[1]
    assert ground.count("M") == 3  # the squares of all arms


def test_caption_and_counts_say_what_is_shown():
    html = question_map.map_html(BY_HAND, "grounded", 0, (1, 2), "quality")
    assert "3 questions: grounded reward, seed 0, rounds 1 to 2; colours: the judge's label." in html
    assert "by hand. Neighbours" in html and "trustworthiness" not in html and "by lot" not in html
    assert {"correct (2)", "ill-posed (1)", "logic error (0)"} <= {text.text for text in elements(html, "text")}
    assert "1 question: intrinsic reward, seed 0, round 1;" in question_map.map_html(
        BY_HAND, "intrinsic", 0, (1, 2), "family"
    )
    some = BY_HAND.assign(written=40, trust=0.934)
    html = question_map.map_html(some, "grounded", "all", (2, 2), "round")
    assert "2 questions: grounded reward, all seeds, round 2;" in html and "trustworthiness 0.93" in html
    assert "Of 80 written in all rounds, 4 were drawn by lot." in html


def test_an_empty_selection_says_so():
    said = "<p>No question: intrinsic reward, seed 0, round 2.</p>"
    assert question_map.map_html(BY_HAND, "intrinsic", 0, (2, 2), "reward") == said
    assert "No question" in question_map.map_html(BY_HAND, "intrinsic", 1, (1, 2), "reward")


# ------------------------------------------------------------------ the widget


def parts(box):
    controls, page = box.children
    return *controls.children, page


def test_widget_follows_each_control():
    arm, seed, colour, rounds, page = parts(question_map.map_widget(BY_HAND))
    assert [text for text, _ in arm.options] == ["grounded reward", "intrinsic reward"]
    assert (seed.options, rounds.value, rounds.min, rounds.max) == (("all", 0, 1), (1, 2), 1, 2)
    assert page.value == question_map.map_html(BY_HAND, "grounded", "all", (1, 2), "round")
    for control, value in ((arm, "intrinsic"), (colour, "reward"), (seed, 0), (arm, "grounded"), (rounds, (2, 2))):
        before, control.value = page.value, value
        assert page.value != before
    assert page.value == question_map.map_html(BY_HAND, "grounded", 0, (2, 2), "reward")
    seed.value, arm.value = 1, "intrinsic"
    assert page.value == "<p>No question: intrinsic reward, seed 1, round 2.</p>"


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


def test_widget_reads_a_study_and_judges_its_problems(tmp_path):
    folder = study(tmp_path, [(1, 0, f"{SUM}42 + 9 =", "51"), (1, 1, "How?", "7"), (2, 0, f"{SUM}42 + 9 =", "41")])
    arm, seed, colour, rounds, page = parts(question_map.question_map(folder))
    assert arm.value == "grounded" and seed.options == ("all", 3) and rounds.max == 2
    found = "\n".join(titles(page.value))
    assert "42 + 9 = → 51 (correct; reward +25.0 points; seed 3, round 1" in found
    assert "42 + 9 = → 41 (arithmetic error" in found and "How? → 7 (ill-posed" in found
    assert len(titles(page.value)) == 2
    colour.value = "family"
    assert {"chain sum (2)", "no family (1)"} <= {text.text for text in elements(page.value, "text")}


def test_a_study_without_problems_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="no teacher wrote a problem yet; run the study or resume it"):
        question_map.question_map(study(tmp_path, []))
