"""The comparison of methods as one table from its folder: pass@k, all rollouts that were drawn, gains on Hard-Only.

Only files are read. Each seed is a run with one student per arm; arms are compared on the same seeds and problems.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import pandas as pd

from soar_lib import files
from soar_lib.ladder import report as ladder_report
from soar_lib.measure import passk
from soar_lib.records import HARD_TEST, Score
from soar_lib.soar.arms import spent
from soar_lib.soar.settings import SoarConfig

ARMS = ("base", "hard_only", "rlvr", "svs", "ladder", "ps", "pq", "grounded_t")
FRESH = ("ps", "pq", "grounded_t")  # what stands on SOAR's runs
# The folders of the parts, with the arms in them and their names here.
PARTS = {
    "hard_only": {"base": "base", "hard_only": "hard_only"},
    "svs/rlvr_equal_rollouts": {"rlvr_equal_rollouts": "rlvr"},
    "svs/svs": {"svs": "svs"},
    "ladder": {"ladder": "ladder"},
    "fresh": {name: name for name in FRESH},
}


def write(out: str | Path) -> pd.DataFrame:
    """Write scores.jsonl and methods.csv from the folders of the parts; returns the table."""
    out = Path(out)
    files.write_text_atomic(out / "scores.jsonl", files.jsonl(map(asdict, collected(out))))
    frame = table(out)
    files.write_text_atomic(out / "methods.csv", frame.to_csv(index=False, lineterminator="\n"))
    return frame


def table(out: str | Path) -> pd.DataFrame:
    """pass@k of each arm on hard test with its 95 % interval (columns of `passk.table`, fractions; `rollouts` are all
    that were drawn on the way), and its difference from Hard-Only: columns gain, gain_low, gain_high."""
    out = Path(out)
    scores = [Score(**row) for row in files.read_jsonl(out / "scores.jsonl")]
    frame = passk.table(scores, files.setting(out, "evaluate.ks", list[int]), ARMS)
    gains = [_gain(scores, row.arm, row.k) for row in frame.itertuples(index=False)]
    return frame.assign(**{name: column for name, column in zip(("gain", "gain_low", "gain_high"), zip(*gains))})


def _gain(scores: Sequence[Score], arm: str, k: int) -> tuple[float, float, float]:
    if arm == "hard_only":
        return 0.0, 0.0, 0.0
    found = passk.compare(scores, arm, "hard_only", k)
    return found.difference, found.low, found.high


def collected(out: Path) -> list[Score]:
    """Every arm's scores with all rollouts that led to the measured student; runs are named by seed."""
    soar = {folder.name: spent_by_soar(folder) for folder in sorted((out / "soar").iterdir())}
    sampled = files.setting(out, "evaluate.teacher_samples", int)
    found = []
    for part, names in PARTS.items():
        for row in files.read_jsonl(out / part / "scores.jsonl"):
            if row["arm"] in names:
                score = Score(**row | {"run": row["run"].rpartition("/")[2], "set": HARD_TEST})
                total = _total(score, soar[score.run], sampled) if part == "fresh" else score.rollouts
                found.append(replace(score, arm=names[score.arm], rollouts=total))
    return found


def _total(score: Score, soar: int, sampled: int) -> int:
    """A SOAR arm's rollouts with those of its whole SOAR run, in which the promoted student's are included."""
    own = 0 if score.arm == "ps" else score.rollouts
    return soar + own + (sampled if score.arm == "grounded_t" else 0)


def spent_by_svs(out: Path) -> int:
    """Completions that SvS drew for each seed, on average."""
    return round(fmean(files.read_json(out / "svs" / "svs" / "result.json")["rollouts"]))


def spent_by_soar(folder: Path) -> int:
    """All completions of a finished SOAR run: the teacher's, its students', and those by which rewards and the best
    promoted student were found."""
    config = files.read_config(folder, SoarConfig)
    rounds, train = (files.read_jsonl(folder / f"{name}.jsonl") for name in ("rounds", "hard_train"))
    chosen = len(files.read_json(folder / "result.json")["accuracies"]) * len(train)
    return spent(config, rounds) + config.teacher.turns * sum(row["attempts"] for row in rounds) + chosen


def spent_on_trees(folder: Path) -> int:
    """Most completions that any seed of a LADDER run took for variants and votes."""
    config, _, _ = ladder_report.settings(folder)
    rows = files.read_jsonl(folder / "scores.jsonl")
    training = config.student.steps * config.student.batch * config.student.group
    return max(row["rollouts"] for row in rows if row["arm"] == "ladder") - training
