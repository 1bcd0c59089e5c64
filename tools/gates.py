"""The gates of the second world: what must hold before a study of it can decide anything, and what was measured.

`python -m tools.base_report --world nano2` writes figures/data/world_gates.csv. A gate is a number that is demanded,
written down here before anything was measured, but for three that changed after a first look: W1 base was asked of the
whole pool (its worst kind has .0031 there) and now of hard test, the interval of W1 hard only is over students, and W5
loved takes 4,000 problems where 400 left it open.
Nothing is tuned on what is measured here: problems, students and random keys of the gates are their own.
"""

from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import pandas as pd

from soar_lib import files
from soar_lib.engine import base as bases
from soar_lib.hooks import Hooks
from soar_lib.problems import filtering
from soar_lib.problems.rows import hard_sets
from soar_lib.settings.student import FilterConfig, preset
from soar_lib.soar import run as soar
from soar_lib.soar.settings import SoarConfig
from tools import mix
from tools.gates_students import attraction, decoys_of, icc, of_families, of_students, of_the_base, signal, untrained
from tools.gates_variants import integrals, variants


@dataclass(frozen=True)
class Gate:
    """What is demanded of one number."""

    what: str
    low: float = -inf
    high: float = inf

    @property
    def demanded(self) -> str:
        if self.high == inf:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.low == -inf else f"{self.low:g} to {self.high:g}"


POINTS = 0.01
PILOT = 100  # the pilot's seed, which no study has
GATES = {
    "W1 problems": Gate("problems in hard test", low=60),
    "W1 kinds": Gate("kinds of problems in hard test", low=5),
    "W1 share": Gate("largest share of a kind in hard test", high=0.25),
    "W1 base": Gate("largest pass@1 of the base on a kind of hard test", high=1e-3),
    "W1 hard only": Gate("gain in pass@32 from hard problems alone, upper end of its 95 % interval", high=5 * POINTS),
    "W2 oracle": Gate("smallest gain in pass@32 on a kind from an oracle's mix of short problems", low=15 * POINTS),
    "W3 one skill": Gate("largest share of the oracle's gain that stones of one skill alone give", high=0.5),
    "W3 shares": Gate("largest distance from a third of the hard test problems of one, two, three skills", high=0.1),
    "W4 untrained": Gate("share of the oracle's gain that the untrained teacher's problems give", high=0.4),
    "W2 alone": Gate("as W2 oracle, measured before the steps on hard train", low=15 * POINTS),
    "W3 alone": Gate("as W3 one skill, measured before the steps on hard train", high=0.5),
    "W4 alone": Gate("as W4 untrained, measured before the steps on hard train", high=0.4),
    "W4 ICC": Gate("ICC of the rewards of a data set's students before a promotion", low=0.5),
    "W5 loved": Gate("mean intrinsic reward of decoys, minus that of useful problems rightly answered", low=0.0),
    "W5 useless": Gate("gain in pass@32 from decoys alone", high=5 * POINTS),
    "W5 plain": Gate("share of decoys among the second prior's proposals", high=0.02),
    "W6 transfer": Gate("pass@32 of the base on new pairings", low=3 * POINTS, high=10 * POINTS),
    "W7 correlation": Gate("correlation within rounds of reward and share of useful problems", low=0.5),
    "W7 before": Gate("share of useful problems rightly answered, first five rounds of a run of 40", high=0.15),
    "W7 after": Gate("share of useful problems rightly answered, last five rounds", low=0.30),
    "W8 easier": Gate("different easier variants of a hard integral that are valid, in 1,000 completions", low=200),
    "W8 integrals": Gate("integrals of 120 that fail 0 of 2,048", low=120),
    "W8 another": Gate("share of problems from a solution that are new and have its answer", low=0.30),
    "W9 short": Gate("smallest gain in pass@1 on a skill's short problems by 16 steps on such", low=20 * POINTS),
    "W9 hard": Gate("largest gain there by 16 steps on the skill's hard problems", high=3 * POINTS),
}


# ------------------------------------------------------------------ W7


def pilot_rounds(pilot: str | Path) -> pd.DataFrame:
    """One row per round of a run: mean reward, shares of what the teacher wrote."""
    frame = mix.written(pilot)
    return pd.concat([frame.groupby("round")["reward"].mean(), mix.mix(frame)], axis=1).reset_index()


def of_pilot(pilot: str | Path) -> dict[str, float]:
    """From a SOAR run of 40 rounds."""
    useful = mix.mix(mix.written(pilot))[mix.USEFUL]
    return {"W7 before": useful[:5].mean(), "W7 after": useful[-5:].mean()}


# ------------------------------------------------------------------ the table


def table(measured: dict[str, float]) -> pd.DataFrame:
    """One row per gate: what is demanded, what was measured and whether it holds; empty where not measured."""
    rows = []
    for name, gate in GATES.items():
        value = measured.get(name)
        holds = "" if value is None else bool(gate.low <= value <= gate.high)
        rows.append(dict(gate=name, what=gate.what, demanded=gate.demanded, measured=value, holds=holds))
    return pd.DataFrame(rows)


def measure(work: Path, out: Path, model: str = "nano2", plain: str = "nano2-plain", rounds: int = 40) -> pd.DataFrame:
    """Measure every gate that `work` does not hold yet (a JSON file per part; runs are resumed) and write the table."""
    base = bases.load(model)
    filtering.run(preset("nano2", FilterConfig, model=model), work / "filter", True, progress=False)
    train, test = hard_sets(work / "filter")
    config = preset("nano2", SoarConfig, model=model, problems=str(work / "filter"), rounds=rounds, promotion=False)
    config = replace(config, seed=PILOT)
    parts = {
        "base": lambda: of_the_base(base, test),
        "students": lambda: of_students(base, train, test),
        "families": lambda: of_families(base),
        "icc": lambda: {"W4 ICC": icc(untrained(base, config, train, 4, 4))},
        "attraction": lambda: {"W5 loved": attraction(base)},
        "plain": lambda: {"W5 plain": decoys_of(bases.load(plain))},
        "signal": lambda: {"W7 correlation": signal(untrained(base, config, train, 20, 1))},
        "pilot": lambda: of_pilot(soar.run(config, work / "pilot", True, base, hooks=Hooks(progress=False)).folder),
        "variants": lambda: variants(base),
        "integrals": lambda: {"W8 integrals": integrals(base)},  # by far the longest
    }
    measured = {}
    for name, part in parts.items():
        if not (work / f"{name}.json").exists():
            found = {gate: None if value is None else float(value) for gate, value in part().items()}
            files.write_json(work / f"{name}.json", found)
        measured |= files.read_json(work / f"{name}.json")
        table(measured).round(4).to_csv(out / "world_gates.csv", index=False)
    pilot_rounds(work / "pilot").round(4).to_csv(out / "world_pilot.csv", index=False)
    return table(measured)
