"""SvS's tables from its folder: numbers per arm beside the paper's, curves, the variants, and claims with verdicts.

Only files are read. The verdicts follow the rule of `measure.claims`; every interval rests on the seeds (and the
problems, where scores have them). Claims on entropy are of that on the test problems, where all arms compare, before
training (arm base) and after it; curves.csv has it on each step's own problems, as the paper's Fig. 5. Validity is
judged where the training problems are the embedded world's, whose questions have one exact answer: a variant is valid
where that is the original's.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from soar_lib import runs
from soar_lib.measure import claims, passk
from soar_lib.measure.claims import Claim, Estimate, Measure, Measured, gain, over_seeds
from soar_lib.records import HARD, OTHER, TEST, Problem, Score

if TYPE_CHECKING:
    from soar_lib.measure.quality import Verdict

SETS = (TEST, HARD, OTHER)
COLUMNS = ["arm", "metric", "mean", "low", "high", "seeds", "rollouts", "paper"]
SHARES = ("readable", "valid", "leaking", "duplicate", "solved", "rewarded")
# Table 3 (Qwen2.5-32B-Instruct on DAPO-17k, mean of six hard sets, as fractions), and the mean over steps of the shares
# that a language model judged valid (appendix E.5).
PAPER = {
    ("base", "hard pass@1"): 0.112, ("base", "hard pass@32"): 0.352,
    ("rlvr", "hard pass@1"): 0.225, ("rlvr", "hard pass@32"): 0.446,
    ("svs", "hard pass@1"): 0.279, ("svs", "hard pass@32"): 0.531,
    ("rlvr_equal_rollouts", "hard pass@1"): 0.246, ("rlvr_equal_rollouts", "hard pass@32"): 0.463,
    ("second_rollout", "hard pass@1"): 0.217, ("second_rollout", "hard pass@32"): 0.509,
    ("svs_easier_seeds", "hard pass@1"): 0.228, ("svs_easier_seeds", "hard pass@32"): 0.428,
    ("svs", "variants valid"): 0.841,
}  # fmt: skip
KEPT = 0.9  # share of the untrained model's entropy that is left where it is called kept; the paper only plots it
VALID = 80.0  # percent; the lowest of the paper's shares


def read(folder: str | Path) -> Measured:
    """The scores of the arms that are finished. Raises RunError where `folder` is no SvS folder."""
    folder = Path(folder)
    if not (folder / "config.json").is_file() or "large_k" not in runs.read_json(folder / "config.json"):
        raise runs.RunError(f"{folder}: is no folder of an SvS run (no config.json with large_k in it)")
    scores = [Score(**row) for arm in finished(folder) for row in runs.read_jsonl(folder / arm / "scores.jsonl")]
    return Measured(folder, scores, max(runs.read_json(folder / "config.json")["ks"]))


def finished(folder: str | Path) -> list[str]:
    """The arms that have ended, in the order of the settings."""
    arms = runs.read_json(Path(folder) / "config.json")["arms"]
    return [arm for arm in arms if (Path(folder) / arm / "result.json").is_file()]


# ------------------------------------------------------------------ curves and variants


def curves(folder: str | Path) -> pd.DataFrame:
    """Every step of every seed: arm, then the columns of the arms' metrics.csv (`svs.play`)."""
    paths = {arm: Path(folder) / arm / "metrics.csv" for arm in finished(folder)}
    parts = [pd.read_csv(path).assign(arm=arm) for arm, path in paths.items() if path.is_file()]
    if not parts:
        return pd.DataFrame(columns=["arm", "seed", "step", "rollouts", "entropy"])
    frame = pd.concat(parts, ignore_index=True)
    return frame[["arm", *(name for name in frame.columns if name != "arm")]]


def variants(folder: str | Path) -> pd.DataFrame:
    """Shares of the written problems by arm, seed and step: columns arm, seed, step, written, then `SHARES`.

    All are of the problems written, but valid is of the readable ones (and empty where nobody can judge it).
    """
    rows = [
        {
            "arm": arm, "seed": row["seed"], "step": row["step"], "readable": row["question"] is not None,
            "valid": _valid(row, judge), "leaking": row["leak"] != "", "duplicate": row["duplicate"] != "",
            "solved": row["right"] is not None, "rewarded": row["reward"] > 0,
        }
        for judge in [exact_judge(folder)]
        for arm in finished(folder)
        for row in runs.read_jsonl(Path(folder) / arm / "problems.jsonl")
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["arm", "seed", "step", *SHARES]).astype(dict.fromkeys(SHARES, float))
    groups = frame.groupby(["arm", "seed", "step"], sort=False)
    return groups.size().rename("written").to_frame().join(groups[list(SHARES)].mean()).reset_index()


def exact_judge(folder: str | Path) -> Callable[[str, str], "Verdict"] | None:
    """The verdict on a question and the answer that it should have; None where the training problems are of no known
    world."""
    from soar_lib.measure.quality import exact_verdict, topic  # the world's word lists are slow to import

    train = [Problem(**row) for row in runs.read_jsonl(Path(folder) / "train.jsonl")]
    return exact_verdict if train and all(topic(problem.question) for problem in train) else None


def _valid(row: dict, judge: Callable[[str, str], "Verdict"] | None) -> float:
    return float(judge(row["question"], row["answer"]).correct) if judge and row["question"] is not None else np.nan


# ------------------------------------------------------------------ measures


def entropies(folder: str | Path, arm: str) -> list[float]:
    """Entropy per token on the test problems at the end of each seed's run, in nats; empty where nobody measured it."""
    if arm not in finished(folder):
        return []
    return runs.read_json(Path(folder) / arm / "result.json")["entropy"] or []


def entropy(arm: str, other: str, of: Callable[[float, float], float] = operator.sub) -> Measure:
    """Entropy per token after training, `arm`'s less `other`'s, or another function of both, seed by seed."""
    return lambda study: over_seeds(list(map(of, entropies(study.folder, arm), entropies(study.folder, other))))


def share(arm: str, measure: str) -> Measure:
    """A share of an arm's variants over all steps, in percent; one of `SHARES`."""
    return partial(_share, arm, measure)


def _share(arm: str, measure: str, study: Measured) -> Estimate:
    frame = variants(study.folder)
    return _shares_of(frame[frame["arm"] == arm], measure, 100)


def _shares_of(frame: pd.DataFrame, measure: str, unit: float = 1) -> Estimate:
    """Over seeds; steps count by what they wrote (valid: by what was readable)."""
    weights = frame["written"] * (frame["readable"] if measure == "valid" else 1)
    known = frame.assign(weight=weights, sum=frame[measure] * weights).dropna(subset=["sum"])
    sums = known.groupby("seed")[["sum", "weight"]].sum()
    return over_seeds((unit * sums["sum"] / sums["weight"])[sums["weight"] > 0].tolist())


# ------------------------------------------------------------------ the claims


def claims_of(few: int) -> tuple[Claim, ...]:
    """The paper's claims; `few` is the number of samples per problem that all arms have (the paper's 32).

    The paper's numbers are differences of Table 3 (Qwen2.5-32B-Instruct, DAPO-17k, mean of six hard sets), of Table 2
    (pass@1 on MATH-500 after integer answers alone) and the shares of appendix E.5.
    """
    hard = partial(gain, set=HARD)
    return (
        Claim("RLVR's entropy falls (nats per token lost)", entropy("base", "rlvr")),
        Claim(
            "SvS keeps its entropy: more than 0.9 of the untrained model's is left (ratio)",
            entropy("svs", "base", operator.truediv), null=KEPT,
        ),
        Claim("SvS ends with more entropy than RLVR (nats per token)", entropy("svs", "rlvr")),
        Claim(
            "SvS ends with more entropy than RLVR with equal rollouts (nats per token)",
            entropy("svs", "rlvr_equal_rollouts"),
        ),
        Claim(
            "RLVR does not raise pass@{k}: it gains less than 5 points on the untrained model",
            hard("rlvr", "base"), no_effect=True,
        ),
        Claim("SvS raises pass@{k} above the untrained model's (points)", hard("svs", "base")),
        Claim("SvS beats RLVR at pass@{k} (points)", hard("svs", "rlvr")),
        Claim(f"SvS beats RLVR at pass@{few} (points)", hard("svs", "rlvr", k=few), 8.5),
        Claim("SvS beats RLVR at pass@1 (points)", hard("svs", "rlvr", k=1), 5.4),
        Claim("At equal rollouts SvS beats RLVR at pass@{k} (points)", hard("svs", "rlvr_equal_rollouts")),
        Claim(
            f"At equal rollouts SvS beats RLVR at pass@{few} (points)", hard("svs", "rlvr_equal_rollouts", k=few), 6.8
        ),
        Claim("At equal rollouts SvS beats RLVR at pass@1 (points)", hard("svs", "rlvr_equal_rollouts", k=1), 3.3),
        Claim(
            f"At equal rollouts and updates SvS beats RLVR at pass@{few} (points)",
            hard("svs", "rlvr_equal_updates", k=few),
        ),
        Claim(
            "SvS beats a second rollout on the same problems at pass@{k} (points)", hard("svs", "second_rollout")
        ),
        Claim(
            f"SvS beats a second rollout on the same problems at pass@{few} (points)",
            hard("svs", "second_rollout", k=few), 2.2,
        ),
        Claim(f"SvS beats rephrasings at pass@{few} (points)", hard("svs", "rephrasings", k=few)),
        Claim(
            f"Seeds from easier problems are worse at pass@{few} (points)", hard("svs", "svs_easier_seeds", k=few), 10.3
        ),
        Claim(f"The reward for writing helps at pass@{few} (points)", hard("svs", "svs_no_reward", k=few)),
        Claim(
            "SvS over-fits the type of answer: RLVR beats it on another type at pass@1 (points)",
            gain("rlvr", "svs", OTHER, k=1), 11.4,
        ),
        Claim("More than 80 % of SvS's readable variants are valid (percent)", share("svs", "valid"), 84.1, null=VALID),
    )  # fmt: skip


# ------------------------------------------------------------------ the tables


def table(folder: str | Path) -> pd.DataFrame:
    """svs.csv: one row per arm and metric, columns `COLUMNS`; shares and pass@k are fractions, entropy in nats.

    pass@k on each set, entropy per token after training, and shares of the variants. `rollouts` are those that trained
    a seed, on average.
    """
    study, ks = read(folder), runs.read_json(Path(folder) / "config.json")["ks"]
    written, rows = variants(folder), []
    for arm in finished(folder):
        spent = round(np.mean(runs.read_json(study.folder / arm / "result.json")["rollouts"]))
        metrics = [*_passes(study, arm, ks), ("test entropy", over_seeds(entropies(folder, arm)))]
        for metric, found in (*metrics, *_written(written, arm)):
            paper = PAPER.get((arm, metric), np.nan)
            rows.append([arm, metric, found.ours, found.low, found.high, found.seeds, spent, paper])
    return pd.DataFrame(rows, columns=COLUMNS)


def _passes(study: Measured, arm: str, ks: Sequence[int]) -> list[tuple[str, Estimate]]:
    rows = []
    for name in SETS:
        mine = [score for score in study.scores if score.arm == arm and score.set == name]
        within = [k for k in ks if mine and k <= min(score.n for score in mine)]
        for row in passk.table(mine, within, set=name).itertuples(index=False):
            rows.append((f"{name} pass@{row.k}", Estimate(row.mean, row.low, row.high, row.seeds)))
    return rows


def _written(frame: pd.DataFrame, arm: str) -> list[tuple[str, Estimate]]:
    mine = frame[frame["arm"] == arm]
    found = [(f"variants {name}", _shares_of(mine, name)) for name in SHARES] if len(mine) else []
    return [(name, _clipped(estimate)) for name, estimate in found if estimate.seeds]


def _clipped(share: Estimate) -> Estimate:
    return replace(share, low=max(share.low, 0.0), high=min(share.high, 1.0)) if share.seeds > 1 else share


def write(folder: str | Path) -> pd.DataFrame:
    """Write svs.csv, curves.csv, variants.csv and claims.csv into an SvS folder; returns the claims."""
    folder = Path(folder)
    few = runs.read_json(folder / "config.json")["samples"]
    tables = {
        "svs": table(folder),
        "curves": curves(folder),
        "variants": variants(folder),
        "claims": claims.judged(read(folder), claims_of(few)),
    }
    runs.write_tables(folder, tables)
    return tables["claims"]
