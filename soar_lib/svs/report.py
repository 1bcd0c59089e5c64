"""SvS's tables from its folder: numbers per arm beside the paper's, curves, the variants, and claims with verdicts.

Claims on entropy use the test problems, where all arms compare, before training (arm base) and after it; curves.csv has
the entropy on each step's own problems, as the paper's Fig. 5 does. Validity is judged where the training problems are
the embedded world's, whose questions have one exact answer: a variant is valid where that is the original's."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from statistics import mean

import pandas as pd

from soar_lib import files
from soar_lib.measure import claims, passk
from soar_lib.measure.claims import Estimate, Evidence, listed, over_seeds, published
from soar_lib.measure.quality import Verdict, exact_verdict, topic
from soar_lib.records import HARD, OTHER, TEST, TRAIN, Score
from soar_lib.svs.settings import ArmResult
from soar_lib.svs.synthesis import VariationalProblem

AnswerJudge = Callable[[str, str], Verdict]  # a question and the answer that it should have
COLUMNS = ["arm", "metric", "mean", "low", "high", "seeds", "rollouts", "paper"]
STEPS = ["arm", "seed", "step", "rollouts", "accuracy", "entropy", "test_entropy", "test_pass_n"]
WRITTEN = ["arm", *(field.name for field in fields(VariationalProblem))]
SHARES = ["readable", "valid", "new", "valid_new", "leaking", "rewarded"]
KINDS = NEW, NEAR, INVALID, UNREADABLE, UNJUDGED = (
    "valid, new", "valid, near duplicate", "another answer or none", "unreadable", "not judged",
)  # fmt: skip


def read(folder: str | Path) -> Evidence:
    """The scores of the arms that are finished. Raises RunError where `folder` is no SvS folder."""
    folder = Path(folder)
    if not (folder / "config.json").is_file() or "large_k" not in files.read_json(folder / "config.json"):
        raise files.RunError(f"{folder}: is no folder of an SvS run (no config.json with large_k in it)")
    scores = [score for arm in finished(folder) for score in files.read_records(folder / arm / "scores.jsonl", Score)]
    ks, samples = files.setting(folder, "ks", list[int]), files.setting(folder, "samples", int)
    return Evidence(folder, scores, max(ks), {"few": samples})


def finished(folder: str | Path) -> list[str]:
    """The arms that have ended, in the order of the settings."""
    return [arm for arm in files.setting(folder, "arms", list[str]) if (Path(folder) / arm / "result.json").is_file()]


def curves(folder: str | Path) -> pd.DataFrame:
    """A row per finished arm, seed and step: the column arm, then those of the arm's metrics.csv (`svs.step.play`)."""
    paths = {arm: Path(folder) / arm / "metrics.csv" for arm in finished(folder)}
    typed = {"seed": int, "step": int, "rollouts": int, "accuracy": float, "entropy": float}
    parts = {arm: files.read_table(path, **typed) for arm, path in paths.items() if files.text_of(path)}
    if not parts:
        return pd.DataFrame(columns=["arm", "seed", "step"])
    return pd.concat(parts, names=["arm"]).reset_index("arm").reset_index(drop=True)


def steps(folder: str | Path) -> pd.DataFrame:
    """The policy of each trained arm and seed after `step` updates and `rollouts` completions, columns `STEPS`:
    accuracy (a fraction) and entropy (nats per token) of the solutions from which it learns next (none after the last
    update), and on the test problems, where it was measured, test_entropy and test_pass_n, the share of problems that
    any of all samples solved."""
    parts, scores = [pd.DataFrame(columns=STEPS)], [score for score in read(folder).scores if score.set == TEST]
    ends = {"test_entropy": partial(entropies, folder), "test_pass_n": partial(solved, scores)}
    for arm, frame in curves(folder).reindex(columns=STEPS).groupby("arm", sort=False):
        for place, (seed, own) in enumerate(frame.groupby("seed")):
            columns = {"rollouts": [0, *own["rollouts"].cumsum()]}
            columns |= {name: [*own[name], math.nan] for name in ("accuracy", "entropy")}
            for name, at in ends.items():  # a row's is after its update
                first, last = (at(which)[place : place + 1] or [math.nan] for which in ("base", arm))
                columns[name] = [*first, *own[name][:-1], *last]
            parts.append(pd.DataFrame({"arm": arm, "seed": seed, "step": range(len(own) + 1), **columns}))
    return pd.concat(parts[1:] or parts, ignore_index=True).round(5)


def entropies(folder: str | Path, arm: str) -> list[float]:
    """Entropy per token on the test problems at the end of each seed's run, in nats; empty where nobody measured it."""
    return list(_result(folder, arm).entropy or ()) if arm in finished(folder) else []


def solved(scores: Sequence[Score], arm: str) -> list[float]:
    """Each seed's share of problems that any sample solved at the end; empty where nobody measured the arm."""
    rows = [(score.run, score.c > 0) for score in scores if score.arm == arm]
    return [mean(right for name, right in rows if name == run) for run in dict.fromkeys(name for name, _ in rows)]


def _result(folder: str | Path, arm: str) -> ArmResult:
    return files.read_record(Path(folder) / arm / "result.json", ArmResult)


def written(folder: str | Path) -> pd.DataFrame:
    """Every problem that the finished arms wrote, columns `WRITTEN`; the question of an unreadable one is ""."""
    rows = [
        row | {"arm": arm, "question": row["question"] or ""}
        for arm in finished(folder)
        for row in files.read_jsonl(Path(folder) / arm / "problems.jsonl", VariationalProblem)
    ]
    return pd.DataFrame(rows, columns=WRITTEN)


def exact_judge(folder: str | Path) -> AnswerJudge | None:
    """The exact judge of variants where the training problems are an embedded world's, else None."""
    train = files.read_problems(Path(folder), TRAIN)
    return exact_verdict if train and all(topic(problem.question) for problem in train) else None


def by_kind(folder: str | Path) -> pd.DataFrame:
    """Every problem that the finished arms wrote (`written`), with a further column kind, one of `KINDS`."""
    frame, judge = written(folder), exact_judge(folder)

    def kind(row: tuple) -> str:
        if not row.question or judge is None:
            return UNJUDGED if row.question else UNREADABLE
        if not judge(row.question, row.answer).correct:
            return INVALID
        return NEAR if row.duplicate else NEW

    return frame.assign(kind=list(map(kind, frame.itertuples(index=False))))


def variants(folder: str | Path, width: int = 1) -> pd.DataFrame:
    """Shares of the written problems by arm, seed and block of `width` steps: columns arm, seed, step (the block's
    first), written (their number) and `SHARES`. valid and valid_new (valid, and no near duplicate) are shares of the
    readable ones, and NaN where nobody can judge them."""
    frame = by_kind(folder)
    shares = {
        "readable": frame["kind"] != UNREADABLE, "valid": frame["kind"].map({NEW: 1, NEAR: 1, INVALID: 0}),
        "new": (frame["kind"] != UNREADABLE) & (frame["duplicate"] == ""),
        "valid_new": frame["kind"].map({NEW: 1, NEAR: 0, INVALID: 0}), "leaking": frame["leak"] != "",
        "rewarded": frame["reward"] > 0,
    }  # fmt: skip
    frame = frame[["arm", "seed"]].assign(step=frame["step"] // width * width, **shares)
    groups = frame.astype(dict.fromkeys(SHARES, float)).groupby(["arm", "seed", "step"], sort=False)
    return groups.size().rename("written").to_frame().join(groups[SHARES].mean()).reset_index()


def kinds(folder: str | Path) -> pd.DataFrame:
    """What each arm wrote, by kind: columns arm, kind (`KINDS`), variants (their number), share (of the arm's) and
    rewarded (share of the kind's). A near duplicate repeats the original or an earlier variant of it in that step."""
    frame = by_kind(folder)
    groups = frame.assign(rewarded=frame["reward"] > 0).groupby(["arm", "kind"], sort=False)["rewarded"]
    found = groups.agg(variants="size", rewarded="mean").astype({"rewarded": float}).reset_index()
    found["share"] = found["variants"] / found.groupby("arm")["variants"].transform("sum")
    place = {name: i for i, name in enumerate((*frame["arm"].unique(), *KINDS))}
    found = found.sort_values(["arm", "kind"], key=lambda names: names.map(place), ignore_index=True)
    return found[["arm", "kind", "variants", "share", "rewarded"]].round(5)


def entropy(arm: str, other: str, measured: Evidence) -> Estimate:
    """Entropy per token after training, in nats: `arm`'s minus `other`'s, paired by seed."""
    return over_seeds(list(map(operator.sub, *(entropies(measured.folder, name) for name in (arm, other)))))


def entropy_left(arm: str, other: str, measured: Evidence) -> Estimate:
    """The mean over seeds of `arm`'s entropy on the test problems as a share of `other`'s."""
    ratios = list(map(operator.truediv, *(entropies(measured.folder, name) for name in (arm, other))))
    return over_seeds(ratios, difference=False)


def share(arm: str, measure: str, measured: Evidence) -> Estimate:
    """The share of an arm's variants over all steps that `measure` (of `SHARES`) names, in percent; mean over seeds."""
    return _share(variants(measured.folder), arm, measure, 100)


def _share(frame: pd.DataFrame, arm: str, measure: str, unit: float = 1) -> Estimate:
    """Over seeds; steps count by what they wrote (valid, valid_new: by what was readable)."""
    own = frame[frame["arm"] == arm]
    weights = own["written"] * (own["readable"] if measure.startswith("valid") else 1)
    known = own.assign(weight=weights, sum=own[measure] * weights).dropna(subset=["sum"])
    sums = known.groupby("seed")[["sum", "weight"]].sum()
    return over_seeds((unit * sums["sum"] / sums["weight"])[sums["weight"] > 0].tolist(), difference=False)


CLAIMS = listed("svs", entropy, entropy_left, share)


def table(folder: str | Path) -> pd.DataFrame:
    """svs.csv: one row per arm and metric, columns `COLUMNS`; pass@k on each set and shares of the variants are
    fractions, entropy per token after training is in nats. `rollouts` are those that trained a seed, on average."""
    measured, ks = read(folder), files.setting(folder, "ks", list[int])
    frame, rows = variants(folder), []
    for arm in finished(folder):
        spent = round(mean(_result(folder, arm).rollouts))
        found = _passes([score for score in measured.scores if score.arm == arm], ks)
        found |= {"test entropy": over_seeds(entropies(folder, arm))} | _shares(frame, arm)
        for name, its in found.items():
            rows.append([arm, name, its.ours, its.low, its.high, its.seeds, spent, published("svs", arm, name)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _passes(scores: Sequence[Score], ks: Sequence[int]) -> dict[str, Estimate]:
    found = {}
    for name in (TEST, HARD, OTHER):
        most = min((score.n for score in scores if score.set == name), default=0)
        for row in passk.table(scores, [k for k in ks if k <= most], set=name).itertuples(index=False):
            found[f"{name} pass@{row.k}"] = Estimate(row.mean, row.low, row.high, row.seeds)
    return found


def _shares(frame: pd.DataFrame, arm: str) -> dict[str, Estimate]:
    """The shares that are known, their intervals clipped to [0, 1]."""
    found = {f"variants {name}": _share(frame, arm, name) for name in SHARES}
    return {name: replace(e, low=max(e.low, 0.0), high=min(e.high, 1.0)) for name, e in found.items() if e.seeds}


def passes(table: pd.DataFrame, set: str = HARD) -> pd.DataFrame:
    """The pass@k of a table of arms (`table`) on one set of problems, columns `passk.COLUMNS`."""
    found = table["metric"].str.extract(rf"^{set} pass@(\d+)$")[0]
    return table.assign(k=found)[found.notna()].astype({"k": int})[passk.COLUMNS].reset_index(drop=True)


def write(folder: str | Path) -> pd.DataFrame:
    """Write svs.csv, curves.csv, variants.csv and claims.csv into an SvS folder; returns the claims."""
    tables = {"svs": table(folder), "curves": curves(folder), "variants": variants(folder)}
    tables["claims"] = claims.judged(read(folder), CLAIMS)
    files.write_tables(Path(folder), tables)
    return tables["claims"]
