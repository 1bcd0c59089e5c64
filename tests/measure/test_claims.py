"""The table of claims names arms, sets and measures that there are; a word that nobody knows is an error."""

import math

import pytest

from soar_lib import records
from soar_lib.ladder import report as ladder
from soar_lib.ladder.report import SOLVED
from soar_lib.ladder.settings import LADDER_ARMS
from soar_lib.measure import claims
from soar_lib.measure.names import STUDENTS
from soar_lib.soar import claims as soar
from soar_lib.svs import report as svs
from soar_lib.svs.settings import SVS_ARMS

KNOWN = [(soar.CLAIMS, STUDENTS), (ladder.CLAIMS, LADDER_ARMS), (svs.CLAIMS, SVS_ARMS)]
SETS = {records.HARD_TEST, records.TRANSFER, records.ANY_STEP, records.HARD, records.OTHER, SOLVED}


@pytest.mark.parametrize("of, arms", KNOWN, ids=["soar", "ladder", "svs"])
def test_claims_are_about_arms_and_sets_that_there_are(of, arms):
    gains = [claim.measure for claim in of if claim.measure.func is claims.gain]
    named = {arm for measure in gains for arm in measure.args}
    assert len(gains) > 7 and {arm for arm in named if not arm.startswith(tuple(arms))} == set()
    assert {value for measure in gains for key, value in measure.keywords.items() if "set" in key} <= SETS
    assert all(math.isnan(claim.paper) or claim.paper > 0 for claim in of)
    assert len({claim.text for claim in of}) == len(of)


@pytest.mark.parametrize("more", [{"papers": 1.0}, {"measure": "luck"}])
def test_a_row_with_an_unknown_word_is_an_error(more, monkeypatch):
    row = {"text": "More is better (points)", "of": ["pq", "base"]}
    monkeypatch.setitem(claims._CLAIMS, "soar", [row])
    assert claims.listed("soar")[0].text == row["text"]
    monkeypatch.setitem(claims._CLAIMS, "soar", [row | more])
    with pytest.raises((TypeError, KeyError), match="papers|luck"):
        claims.listed("soar")
