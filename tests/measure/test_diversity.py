"""Vendi Score against our own eigenvalues and known cases; embeddings, subsamples, duplicates, tables."""

import math
import sys
import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from soar_lib.measure import diversity
from soar_lib.measure.diversity import DiversitySettings, Embedding
from soar_lib.records import SyntheticProblem
from soar_lib.settings.values import ConfigError

ROOT = Path(__file__).parents[2]


def eigenvalue_score(points: np.ndarray, q: float) -> float:
    """The definition: exp of the Renyi entropy of the eigenvalues of K / N, by numpy alone."""
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(points @ points.T / len(points))
    values = values[values > 1e-12]
    if q == 1:
        return float(np.exp(-(values * np.log(values)).sum()))
    if math.isinf(q):
        return float(1 / values.max())
    return float((values**q).sum() ** (1 / (1 - q)))


def problems(questions, round=None):
    return [SyntheticProblem(f"p{round}-{i}", text, "1", "", round) for i, text in enumerate(questions)]


def words(count: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return ["".join(draw.choice(list("abcdefghijklmnop"), 12)) for _ in range(count)]


def axes(texts):
    """Each distinct text is a direction of its own."""
    known = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return np.eye(len(known))[[known[text] for text in texts]]


AXES = Embedding("axes", axes)


# ------------------------------------------------------------------ one set


@pytest.mark.parametrize("q", [0.5, 1, 2, 5, math.inf])
@pytest.mark.parametrize("shape", [(30, 5), (12, 40)])  # fewer and more dimensions than texts
def test_vendi_is_the_entropy_of_the_eigenvalues(q, shape):
    points = np.random.default_rng(3).normal(size=shape)
    assert diversity.vendi(points, q) == pytest.approx(eigenvalue_score(points, q), rel=1e-5)


@pytest.mark.parametrize("q", [0.5, 1, 2, math.inf])
def test_vendi_of_identical_and_of_orthogonal_texts(q):
    assert diversity.vendi(np.tile([[3.0, 4.0]], (20, 1)), q) == pytest.approx(1, rel=1e-5)
    assert diversity.vendi(np.tile([[3.0] * 50], (20, 1)), q) == pytest.approx(1, rel=1e-5)
    assert diversity.vendi(np.eye(20) * 7, q) == pytest.approx(20)


def test_vendi_minds_q_on_uneven_kinds():
    points = np.eye(4)[[0] * 7 + [1, 2, 3]]
    scores = [diversity.vendi(points, q) for q in (0.5, 1, 2, math.inf)]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1] + 1
    assert scores[-1] == pytest.approx(10 / 7)


def test_vendi_of_sparse_vectors_is_that_of_dense_ones():
    vectors = diversity.tfidf().encode(words(15))
    assert diversity.vendi(vectors) == pytest.approx(eigenvalue_score(vectors.toarray(), 1))
    assert diversity.distance(vectors) == pytest.approx(diversity.distance(vectors.toarray()))


def test_distance_is_the_mean_over_all_pairs():
    points = np.random.default_rng(5).normal(size=(9, 4))
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in combinations(points, 2)]
    assert diversity.distance(points) == pytest.approx(1 - np.mean(cosines))
    assert math.isnan(diversity.distance(points[:1]))


def test_near_duplicates_have_an_earlier_row_that_is_close():
    angles = np.radians([0, 90, 20, 95, 180])
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    # 20 is near 0 at cosine 0.94, 95 near 90 at 0.996; the first of each pair has no earlier one
    assert diversity.near_duplicates(points, 0.9) == pytest.approx(2 / 5)
    assert diversity.near_duplicates(points, 0.99) == pytest.approx(1 / 5)
    assert diversity.near_duplicates(np.ones((4, 3)), 1.0) == pytest.approx(3 / 4)


def test_a_text_without_direction_is_refused_by_number():
    with pytest.raises(ValueError, match="text 1: its embedding is zero"):
        diversity.vendi(np.array([[1.0, 0.0], [0.0, 0.0]]))


# ------------------------------------------------------------------ subsamples


def test_subsamples_are_seeded_distinct_and_independent_of_their_number():
    draws = diversity.subsamples(50, 20, 30, 7, "arm")
    assert draws == diversity.subsamples(50, 20, 30, 7, "arm")
    assert draws[:10] == diversity.subsamples(50, 20, 10, 7, "arm")
    assert draws != diversity.subsamples(50, 20, 30, 8, "arm")
    assert len({tuple(draw) for draw in draws}) == 30
    assert all(len(set(draw)) == 20 and draw == sorted(draw) and max(draw) < 50 for draw in draws)


def test_subsamples_take_every_problem_equally_often():
    counts = np.bincount(np.concatenate(diversity.subsamples(20, 5, 2000, 0)), minlength=20)
    assert counts.sum() == 10_000 and abs(counts - 500).max() < 5 * (500 * 0.75) ** 0.5


def test_a_set_no_larger_than_a_subsample_is_taken_whole():
    assert diversity.subsamples(5, 5, 100, 0) == diversity.subsamples(5, 9, 100, 0) == [[0, 1, 2, 3, 4]]


# ------------------------------------------------------------------ tables


def test_table_per_arm_has_the_mean_and_deviation_of_the_subsamples():
    arms = {"wide": problems(words(60)), "narrow": problems(words(6) * 10)}
    settings = DiversitySettings(size=30, draws=25, seed=4)
    table = diversity.per_arm(arms, AXES, settings)
    assert list(table.columns) == ["arm", *diversity.COLUMNS] and table["arm"].tolist() == ["wide", "narrow"]
    wide, narrow = table.to_dict("records")
    assert wide["vendi"] == pytest.approx(30) and wide["vendi_sd"] == pytest.approx(0, abs=1e-9)
    draws = diversity.subsamples(60, 30, 25, 4, "diversity", "arm", "narrow")
    scores = [eigenvalue_score(axes([f"{i % 6}" for i in draw]), 1) for draw in draws]
    assert narrow["vendi"] == pytest.approx(np.mean(scores)) and narrow["vendi"] < 6
    assert narrow["vendi_sd"] == pytest.approx(np.std(scores, ddof=1)) and narrow["vendi_sd"] > 0
    assert narrow["duplicates"] == narrow["near_duplicates"] == pytest.approx(1 - 6 / 30, abs=0.01)
    assert wide["duplicates"] == wide["near_duplicates"] == 0
    assert narrow["distance"] == pytest.approx(1 - 9 / 59)  # each text has nine copies among the other 59
    assert {"n": 60, "size": 30, "draws": 25, "q": 1.0, "near": 0.9, "embedding": "axes"}.items() <= narrow.items()


def test_tables_repeat_and_a_group_does_not_depend_on_the_others():
    arms = {name: problems(words(40, seed)) for seed, name in enumerate("abc")}
    settings = DiversitySettings(size=20, draws=10)
    characters = Embedding("letters", lambda texts: np.array([[t.count(c) for c in "abcdefghijklmnop"] for t in texts]))
    table = diversity.per_arm(arms, characters, settings)
    assert table.equals(diversity.per_arm(arms, characters, settings))
    measures = ["vendi", "vendi_sd", "distance"]
    alone = diversity.per_arm({"b": arms["b"]}, characters, settings)
    assert alone[measures].values.tolist() == table[table["arm"] == "b"][measures].values.tolist()
    other = diversity.per_arm(arms, characters, DiversitySettings(size=20, draws=10, seed=1))
    assert (other["vendi"] != table["vendi"]).all()


def test_all_groups_come_to_the_size_of_the_smallest():
    arms = {"many": problems(words(40)), "few": problems(words(9, 1))}
    many, few = diversity.per_arm(arms, AXES).to_dict("records")
    assert many["size"] == few["size"] == 9 and (many["n"], few["n"]) == (40, 9)
    assert many["vendi"] == pytest.approx(9) == few["vendi"]
    assert (many["draws"], few["draws"]) == (100, 1)
    assert math.isnan(few["vendi_sd"])


def test_near_duplicates_of_a_table_are_those_of_the_texts_whatever_the_embedding():
    long = "How many apples are left when Ann eats three of her twelve apples and gives four to Bob"
    arms = {"a": problems([long + "?", words(1)[0], long + " ?"])}
    table = diversity.per_arm(arms, AXES)
    assert table["duplicates"].item() == 0 and table["near_duplicates"].item() == pytest.approx(1 / 3)


def test_too_small_a_group_and_no_group():
    with pytest.raises(ValueError, match="arm pq: has 1 problems"):
        diversity.per_arm({"base": problems(words(5)), "pq": problems(words(1))}, AXES)
    assert diversity.per_arm({}, AXES).empty


@pytest.mark.parametrize("change", [{"q": 0.2}, {"q": math.nan}, {"size": 1}, {"draws": 0}, {"near": 1.5}])
def test_settings_out_of_range_are_refused_by_name(change):
    with pytest.raises(ConfigError, match=f"{next(iter(change))} = .*must be"):
        DiversitySettings(**change)


# ------------------------------------------------------------------ embeddings


def test_hidden_states_are_the_mean_over_a_texts_own_tokens():
    base, texts = tiny.base(), ["12+34=?", "a much longer question about 7 apples", "x"]
    found = diversity.hidden_states(base, rows=2).encode(texts)
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([base.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            alone = base.model.base_model(input_ids=ids).last_hidden_state[0].mean(0)
        assert vector == pytest.approx(alone.numpy(), abs=1e-5)
    assert diversity.hidden_states(base).name == "mean hidden state of tiny"
    assert np.allclose(diversity.hidden_states(base, rows=1).encode(texts), found, atol=1e-5)


def test_hidden_states_serve_the_tables():
    table = diversity.per_arm({"a": problems(words(6) + words(6))}, diversity.hidden_states(tiny.base()))
    assert 1 < table["vendi"].item() <= 6 + 1e-6 and table["embedding"].item() == "mean hidden state of tiny"


def test_tfidf_sees_characters_and_case():
    vectors = diversity.tfidf(1, 2).encode(["ab", "AB", "ab"]).toarray()
    assert vectors[0] @ vectors[2] == pytest.approx(1) and vectors[0] @ vectors[1] == 0


def test_a_missing_sentence_transformers_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"'some/model': needs sentence-transformers; pip install 'soar-lib\[embedd"):
        diversity.sentence_model("some/model")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(line.startswith("sentence-transformers") for line in extras["embeddings"])


def test_a_sentence_model_from_a_folder(tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs the extra: pip install 'soar-lib[embeddings]'")
    torch.manual_seed(0)
    tiny.model().save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    embed = diversity.sentence_model(str(tmp_path), device="cpu")
    vectors = embed.encode(["one two", "two", "one two"])
    assert vectors.shape == (3, 32) and np.allclose(vectors[0], vectors[2]) and not np.allclose(vectors[0], vectors[1])
    table = diversity.per_arm({"a": problems(["one two", "two", "one"])}, embed)
    assert table["embedding"].item() == str(tmp_path)
