"""The learning rate of RLVR is chosen by a rule that knows training problems alone."""

import pandas as pd
import pytest

from soar_lib.measure.charts import ROOT
from soar_lib.settings.student import preset
from soar_lib.svs.settings import SvsConfig
from tools import methods, tune


def test_the_highest_end_above_its_start_is_chosen():
    columns = ["learning_rate", "kl", "start", "end"]
    table = pd.DataFrame([[1e-3, 0.0, 0.1, 0.5], [2e-3, 0.0, 0.7, 0.6], [5e-4, 0.01, 0.1, 0.3]], columns=columns)
    assert tune.chosen(table)["learning_rate"] == 1e-3
    with pytest.raises(ValueError, match="no pair ends above its start"):
        tune.chosen(table.assign(end=0.0))


def test_the_arms_of_svs_and_the_methods_have_the_pair_that_was_chosen():
    pair = tune.chosen(pd.read_csv(ROOT / "data" / "tuning.csv"))
    config = preset("nano2", SvsConfig)
    assert (config.optimiser.learning_rate, config.optimiser.kl) == (pair["learning_rate"], pair["kl"])
    assert methods.Sizes().rate == pair["learning_rate"]


def test_no_problem_that_is_measured_is_trained_on():
    config = tune.settings(1e-3, 0.0)
    assert (config.test, config.hard, config.other) == ("", "", "") and config.seed >= tune.FIRST_SEED
