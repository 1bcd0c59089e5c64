"""The table of claims names arms, sets and measures that there are; a word that nobody knows is an error."""

import math
from pathlib import Path

import pytest

from soar_lib import records
from soar_lib.ladder import report as ladder
from soar_lib.ladder.report import SOLVED
from soar_lib.ladder.settings import LADDER_ARMS
from soar_lib.measure import claims
from soar_lib.measure.names import STUDENTS
from soar_lib.soar import claims as soar
from soar_lib.soar.study import ARMS
from soar_lib.svs import report as svs
from soar_lib.svs.settings import SVS_ARMS

KNOWN = [((*soar.CLAIMS, *soar.VALUES), STUDENTS), (ladder.CLAIMS, LADDER_ARMS), (svs.CLAIMS, SVS_ARMS)]
SETS = {records.HARD_TEST, records.TRANSFER, records.ANY_STEP, records.HARD, records.OTHER, SOLVED}


@pytest.mark.parametrize("of, arms", KNOWN, ids=["soar", "ladder", "svs"])
def test_claims_are_about_arms_and_sets_that_there_are(of, arms):
    gains = [claim.measure for claim in of if claim.measure.func is claims.gain]
    named = {arm for measure in gains for arm in measure.args}
    assert len(gains) > 7 and named <= {*arms} | {f"{arm}_no_promotion" for arm in arms}
    assert {value for measure in gains for key, value in measure.keywords.items() if "set" in key} <= SETS
    assert all(math.isnan(claim.paper) or claim.paper > 0 for claim in of)
    assert len({claim.text for claim in of}) == len(of)


def test_the_other_measures_are_of_arms_and_students_that_there_are():
    others = [claim.measure for claim in (*soar.CLAIMS, *soar.VALUES) if claim.measure.func is not claims.gain]
    assert {measure.func for measure in others} == {soar.spread, soar.value_gain, soar.diversity_ratio}
    for measure in others:
        students = measure.func is soar.spread
        assert {*measure.args} <= ({*STUDENTS} if students else {*ARMS, "untrained"})


@pytest.mark.parametrize("more", [{"papers": 1.0}, {"measure": "luck"}])
def test_a_row_with_an_unknown_word_is_an_error(more, monkeypatch):
    row = {"text": "More is better (points)", "of": ["pq", "base"]}
    monkeypatch.setitem(claims._CLAIMS, "soar", [row])
    assert claims.listed("soar")[0].text == row["text"]
    monkeypatch.setitem(claims._CLAIMS, "soar", [row | more])
    with pytest.raises((TypeError, KeyError), match="papers|luck"):
        claims.listed("soar")


def test_primary_claims_are_corrected_for_each_other_and_others_are_not():
    def claim(p, primary):
        return claims.Claim(f"{p} {primary}", lambda _: claims.Estimate(3, 1, 5, 8, p), primary=primary)

    of = [claim(0.02, True), claim(0.04, True), claim(0.04, False), claim(0.01, True)]
    found = claims.judged(claims.Evidence(Path(), [], 1), of)
    assert found["holm"].fillna(-1).tolist() == [0.04, 0.04, -1, 0.03] and set(found["verdict"]) == {"holds"}
    found = claims.judged(claims.Evidence(Path(), [], 1), [*of[:2], claim(0.03, True)])
    assert found["verdict"].tolist() == ["undecided"] * 3 and found["holm"].tolist() == [0.06] * 3


def test_at_most_five_claims_of_a_method_are_primary():
    assert all(sum(claim.primary for claim in of) <= 5 for of, _ in KNOWN)
