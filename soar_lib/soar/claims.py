"""SOAR's claims (measure/claims.toml) against a study's folder; the rule for a verdict is in measure/claims.py.

Only run folders are read. A study holds one folder per arm with `evaluate/` in it; its SOAR runs of one seed are
comparable across arms, since all share one filter run, so arms are compared pairwise by seed, student and problem."""

import math
from dataclasses import asdict, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from soar_lib.files import RunError, read_json, read_jsonl, read_table, setting
from soar_lib.measure import claims as measures
from soar_lib.measure.claims import Estimate, Evidence, over_seeds
from soar_lib.measure.passk import Comparison, by_student, compare
from soar_lib.records import HARD_TEST, TRANSFER, Score, SyntheticProblem
from soar_lib.soar.settings import OWNER, VALUED


def read_study(folder: str | Path) -> Evidence:
    """The evaluations that a study's folder holds. Raises RunError where it is none."""
    folder = Path(folder)
    if not (folder / "config.json").is_file() or "evaluate" not in read_json(folder / "config.json"):
        raise RunError(f"{folder}: is no study's folder (no config.json with evaluate in it)")
    scores: dict[tuple, Score] = {}  # what two arms have measured alike counts once
    for path in evaluations(folder):
        sources = read_table(path / "sources.csv", run=str, seed=int)
        seeds = dict(zip(sources["run"], sources["seed"], strict=True))
        for row in read_jsonl(path / "scores.jsonl", Score, run=seeds):
            score = Score(**row | {"run": f"seed{seeds[row['run']]}"})
            scores[score.arm, score.run, score.student, score.problem, score.set] = score
    return Evidence(folder, [*scores.values()], max(setting(folder, "evaluate.ks", list[int])))


def evaluations(folder: str | Path) -> list[Path]:
    """The finished evaluations of a study, arm by arm as they are listed in its settings."""
    paths = (Path(folder) / arm / "evaluate" for arm in setting(folder, "arms", list[str]))
    return [path for path in paths if (path / "pass_at_k.csv").is_file()]


def seeds_of(evaluation: Path) -> list[int]:
    """The seeds of an evaluation's SOAR runs, in the order of their numbers there."""
    return read_table(evaluation / "sources.csv", seed=int)["seed"].tolist()


def written(evaluation: Path, arms: Any = str) -> list[dict]:
    """Rows of the problems that teachers wrote for these arms of an evaluation, with the seed of their SOAR run."""
    seeds = seeds_of(evaluation)
    owner = OWNER | {"source": range(len(seeds)), "arm": arms}
    rows = read_jsonl(evaluation / "problems.jsonl", SyntheticProblem, **owner)
    return [row | {"seed": seeds[row["source"]]} for row in rows]


def problem_of(row: dict) -> SyntheticProblem:
    """The problem of a row of a log or a table, of which only question and answer must be there."""
    return SyntheticProblem(row.get("id", ""), row["question"], row["answer"], row.get("text", ""))


def spread(arm: str, other: str, study: Evidence) -> Estimate:
    """The standard deviation over seeds of `other`'s pass@k over that of `arm`, with the interval of the F test, which
    takes pass@k to be normal, and the p of Brown and Forsythe's test (1974), which does not."""
    mine, theirs = ([fmean(run) for run in by_student(study.scores, name, study.k).values()] for name in (arm, other))
    seeds = min(len(mine), len(theirs))
    if seeds < 2 or np.std(mine) == 0:
        return Estimate(seeds=seeds)
    ratio = float(np.std(theirs, ddof=1) / np.std(mine, ddof=1))
    low, high = (stats.f.ppf(tail, len(theirs) - 1, len(mine) - 1) for tail in (0.975, 0.025))
    p = float(stats.levene(mine, theirs, center="median").pvalue) if seeds >= measures.LEAST_SEEDS else math.nan
    return Estimate(ratio, float(ratio / low**0.5), float(ratio / high**0.5), seeds, p)


def value_gain(arm: str, other: str, study: Evidence) -> Estimate:
    """A study arm's trained teachers' values (soar/value.py) minus those of `other`, an arm or "untrained", in points,
    paired by seed; no numbers where one was not measured."""
    found = {path.parent.name: read_table(path, **VALUED) for path in sorted(study.folder.glob("*/values.csv"))}
    values = {name: table[table["teacher"] == "trained"].set_index("seed")["value"] for name, table in found.items()}
    first = [table for table in found.values() if "untrained" in {*table["teacher"]}]
    values |= {"untrained": table[table["teacher"] == "untrained"].set_index("seed")["value"] for table in first}
    if not {arm, other} <= values.keys():
        return Estimate()
    return over_seeds((100 * (values[arm] - values[other])).dropna().tolist())


def diversity_ratio(arm: str, other: str, study: Evidence) -> Estimate:
    """The Vendi Score of `arm`'s sampled problems over that of `other`'s, each a study arm's folder: the geometric mean
    over seeds. Embedding: character n-grams, which need no model."""
    from soar_lib.measure import diversity  # scikit-learn is slow to import

    texts = {name: _sampled(study.folder / name / "evaluate") for name in (arm, other)}
    seeds = sorted(texts[arm].keys() & texts[other].keys())
    groups = {f"{name} {seed}": texts[name][seed] for name in (arm, other) for seed in seeds}
    scores = diversity.per_arm(groups, diversity.tfidf()).set_index("arm")["vendi"]
    found = over_seeds([math.log(scores[f"{arm} {seed}"] / scores[f"{other} {seed}"]) for seed in seeds])
    return Estimate(*map(math.exp, (found.ours, found.low, found.high)), found.seeds, found.p, found.sign_flip)


def _sampled(evaluation: Path) -> dict[int, list]:
    found: dict[int, list] = {}
    for row in written(evaluation) if (evaluation / "pass_at_k.csv").is_file() else ():
        if row["arm"] == "grounded_t":
            found.setdefault(row["seed"], []).append(problem_of(row))
    return found


CLAIMS = measures.listed("soar", spread, diversity_ratio)
VALUES = measures.listed("values", value_gain, spread, diversity_ratio)


def claims(folder: str | Path) -> pd.DataFrame:
    """`measure.claims.judged` of `CLAIMS`, and of `VALUES` where the study valued its teachers. Raises RunError."""
    study = read_study(folder)
    valued = read_json(study.folder / "config.json").get("value_sets", 0)
    return measures.judged(study, (*CLAIMS, *VALUES) if valued else CLAIMS)


def comparisons(folder: str | Path, other: str = "hard_only") -> pd.DataFrame:
    """Every arm of a study against `other` on each set of problems: columns set and those of `passk.Comparison`."""
    study = read_study(folder)
    rows = [
        {"set": name, **asdict(compare(study.scores, arm, other, study.k, set=name))}
        for name in (HARD_TEST, TRANSFER)
        for arm in study.arms(name)
        if arm != other and other in study.arms(name)
    ]
    return pd.DataFrame(rows, columns=["set", *(field.name for field in fields(Comparison))])
