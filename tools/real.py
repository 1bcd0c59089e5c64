"""The reference run on a real model: its questions judged, embedded and mapped, and what the run cost.

    python -m tools.real --model FOLDER --embedding FOLDER

reads runs/reference/real (a filter run, a SOAR run and its evaluation in folders of these names; beside them, in
unfinished, a run that did not end) and writes figures/data/real_*.csv, which `make figures` draws. The judge is the
model itself, as no other one is at hand: its agreement with the exact judge, on problems of the shipped model, says
what its verdicts are worth.
"""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from soar_lib.engine import base as bases
from soar_lib.engine.lora import begin
from soar_lib.files import read_jsonl, read_records, read_table, setting
from soar_lib.measure import diversity, judge, quality
from soar_lib.measure.charts import ROOT
from soar_lib.meter import read_cost
from soar_lib.randomness import generator
from soar_lib.records import Round, SyntheticProblem
from soar_lib.settings.student import preset
from soar_lib.soar import question_map, teacher
from soar_lib.soar import report as study_tables
from soar_lib.soar.settings import SoarConfig

RUN = Path("runs") / "reference" / "real"
SPEED = Path("benchmarks") / "results" / "inner_loop_laptop.csv"
STUDY = Path("runs") / "reference" / "study"
PARTS = ("filter", "soar", "evaluate")
JUDGED = 48  # problems of the shipped model on which the judge is compared with the exact one
REPLY = 384  # tokens
DRAWN = 256  # completions of the untrained teacher, read with `forgive_tags` and without


def verdicts(base: bases.Base, problems: list[SyntheticProblem]) -> list[quality.Verdict]:
    """The model's verdict on each problem, greedily, all at once."""
    asked = [judge.messages(problem.question, problem.answer) for problem in problems]
    return [judge.read(reply) for reply in judge.replies(base, asked, REPLY)]


def written(run: Path) -> list[SyntheticProblem]:
    return read_records(run / "soar" / "problems.jsonl", SyntheticProblem)


def mapped(problems: list[SyntheticProblem], labels: list[str]) -> pd.DataFrame:
    """The map of the questions; a real model's have no family to be coloured by."""
    rows = [
        dict(arm="grounded", seed=0, round=p.round, dataset=p.dataset, question=p.question, answer=p.answer,
             reward=p.reward, topic="", label=label)
        for p, label in zip(problems, labels, strict=True)
    ]  # fmt: skip
    return question_map.points(pd.DataFrame(rows))


def by_round(problems: list[SyntheticProblem], embeddings: list[diversity.Embedding]) -> pd.DataFrame:
    """Diversity of each round's problems by each embedding, and how far the embeddings agree: Spearman's rank
    correlation over rounds of the first one's Vendi Scores and each one's own."""
    rounds = sorted({problem.round for problem in problems})
    groups = {number: [problem for problem in problems if problem.round == number] for number in rounds}
    tables = [diversity.per_arm(groups, embed).rename(columns={"arm": "round"}) for embed in embeddings]
    for table in tables:
        table["agreement"] = spearmanr(tables[0]["vendi"], table["vendi"]).statistic
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Agreement:
    """Two judges on the same problems: `confusion` counts reference labels (rows) against the other judge's (columns),
    `share` of equal labels, Cohen's `kappa` (NaN where chance alone gives full agreement), `n` judged by both."""

    confusion: pd.DataFrame
    share: float
    kappa: float
    n: int
    unjudged: int


def is_so(verdict: quality.Verdict, measure: str) -> bool:
    """Whether a verdict counts for a measure of `quality.MEASURES`."""
    return verdict.well_posed if measure == "well_posed" else verdict.label == measure


def agreement(
    reference: Sequence[quality.Verdict], other: Sequence[quality.Verdict], measure: str = "label"
) -> Agreement:
    """How far `other` agrees with `reference` on the labels, or on one measure of `quality.MEASURES` (rows no, yes)."""
    if len(reference) != len(other):
        raise ValueError(f"{len(reference)} and {len(other)} verdicts: both judges must judge the same problems")
    if measure not in ("label", *quality.MEASURES):
        raise ValueError(f"measure {measure!r}: must be label or one of {', '.join(quality.MEASURES)}")
    names = quality.LABELS if measure == "label" else ("no", "yes")
    both = [pair for pair in zip(reference, other) if all(verdict.judged for verdict in pair)]
    said = [[v.label if measure == "label" else names[is_so(v, measure)] for v in pair] for pair in both]
    frame, kappa = pd.DataFrame(said, columns=["reference", "other"]), math.nan
    counts = pd.crosstab(frame["reference"], frame["other"]).reindex(index=names, columns=names, fill_value=0)
    if len({*frame["reference"], *frame["other"]}) > 1:  # else chance alone gives full agreement
        kappa = float(cohen_kappa_score(frame["reference"], frame["other"]))
    share = float((frame["reference"] == frame["other"]).mean())
    return Agreement(counts, share, kappa, len(both), len(reference) - len(both))


def of_the_judge(base: bases.Base) -> pd.DataFrame:
    """The model as judge against the exact one, on problems that the shipped model wrote."""
    frame = study_tables.problems(STUDY)
    frame = frame[frame["label"] != quality.UNJUDGED].reset_index(drop=True)
    chosen = torch.randperm(len(frame), generator=generator(0, "real", "judge"))[:JUDGED].tolist()
    rows = frame.iloc[sorted(chosen)]
    problems = [SyntheticProblem("", row["question"], row["answer"], "") for row in rows.to_dict("records")]
    exact, own = [quality.Verdict(label) for label in rows["label"]], verdicts(base, problems)
    found = {measure: agreement(exact, own, measure) for measure in ("label", "well_posed", "correct")}
    columns = ("share", "kappa", "n", "unjudged")
    return pd.DataFrame({"measure": name} | {key: getattr(a, key) for key in columns} for name, a in found.items())


def teachers(run: Path) -> pd.DataFrame:
    """Round by round how the teachers' completions parse and what they earn, in the run and in the one before it, which
    did not end."""
    rows = []
    for folder in [*sorted(run.glob("unfinished/*")), run / "soar"]:
        rate, kl = (setting(folder, f"teacher.optimiser.{name}", float) for name in ("learning_rate", "kl"))
        metrics = read_table(folder / "metrics.csv", round=int, policy=str, length=float, cut=float)
        for record in read_jsonl(folder / "rounds.jsonl", Round):
            policy = metrics[metrics["round"] == record["round"]].set_index("policy")
            kept, promoted = record["attempts"] - sum(record["rejected"].values()), record["promoted"]
            rows.append({
                "teacher's rate": f"{rate:g}, KL {kl:g}", "round": record["round"],
                "completions": record["attempts"], "parse, %": round(100 * kept / record["attempts"], 1),
                "tokens of one that parses": round(policy.at["teacher", "length"]),
                "students' cut off, %": round(100 * policy.loc["student", "cut"].mean()),
                "reward, points": round(100 * record["mean_reward"], 1), "promoted": "yes" if promoted else "no",
            })  # fmt: skip
    return pd.DataFrame(rows)


def slips(base: bases.Base, settings: SoarConfig, drawn: int) -> pd.DataFrame:
    """Of the same completions of the untrained teacher, how many parse with `forgive_tags` and without, and why the
    others do not (SOAR B.2)."""
    adapters = begin(base, settings.teacher, generator("real", "adapter"))
    _, drafts = teacher.write(base, adapters, settings.teacher, ("real", "tags"), range(drawn))
    rows = []
    for forgive in (False, True):
        found = [teacher.read(draft.text, forgive) for draft in drafts]
        fates = Counter(fate if isinstance(fate, str) else "parse" for fate in found)
        rows.append({"forgive_tags": forgive, "completions": drawn, "parse": 0} | fates)
    return pd.DataFrame(rows).convert_dtypes().fillna(0)


def costs(run: Path) -> pd.DataFrame:
    """What each part took beside what was predicted before it began. A session that is killed leaves no cost: then less
    is measured than the metrics alone tell of, and the table says so."""
    rows = []
    for part in PARTS:
        took, before = read_cost(run / part / "cost.json")
        whole = took.rollouts >= _trained(run / part)
        rows.append(dict(
            part=part if whole else f"{part}, after a kill", minutes=took.seconds / 60,
            predicted_minutes=60 * (before.hours or math.nan),
            completions=took.rollouts, predicted_completions=before.rollouts, tokens=took.tokens,
            tokens_per_second=took.tokens / took.seconds, gb=took.peak_bytes / 1e9,
            predicted_gb=(before.peak_bytes or math.nan) / 1e9,
        ))  # fmt: skip
    return pd.DataFrame(rows).round(2)


def _trained(part: Path) -> int:
    """Completions that students learned from, by the rows of metrics.csv."""
    if not (part / "metrics.csv").is_file():
        return 0
    rows = read_table(part / "metrics.csv")
    steps = (rows["policy"] == "student").sum() if "policy" in rows else len(rows)
    return int(steps) * setting(part, "student.batch", int) * setting(part, "student.group", int)


def peers(run: Path) -> pd.DataFrame:
    """The training of the run's students, all that its metrics.csv files tell of, by our engine and by TRL: hours at
    the speeds of benchmarks/inner_loop.py, which times both on this preset, model and problems."""
    timed = pd.read_csv(SPEED).iloc[0]
    steps = sum(_trained(run / part) for part in PARTS) / (timed["batch"] * timed["group"])
    rows = []
    for name, mark in (("ours", ""), ("TRL and transformers", "trl_")):
        seconds = timed[f"{mark}seconds"] / (timed["students"] * timed["steps"])
        rows.append({
            "students' training": name, "hours": round(steps * seconds / 3600, 2),
            "tokens a second": timed[f"{mark}tokens_per_second"], "peak memory, GB": timed[f"{mark}peak_gb"],
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.real", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="the folder of the model that made the run")
    parser.add_argument("--embedding", required=True, help="a sentence-embedding model, a folder or a Hub id")
    parser.add_argument("--run", type=Path, default=RUN)
    arguments = parser.parse_args()
    teachers(arguments.run).to_csv(ROOT / "data" / "real_rounds.csv", index=False, lineterminator="\n")
    base, problems = bases.load(arguments.model), written(arguments.run)
    judged = verdicts(base, problems)
    sentences = diversity.sentence_model(arguments.embedding)
    embeddings = [diversity.tfidf(), diversity.Embedding("MiniLM", sentences.encode)]
    tables = {
        "real_map": mapped(problems, [verdict.label for verdict in judged]),
        "real_quality": quality.summary({"grounded": [judged]}, "the model itself"),
        "real_diversity": by_round(problems, embeddings).round(4),
        "real_judge": of_the_judge(base).round(4),
        "real_tags": slips(base, preset("laptop", SoarConfig), DRAWN),
        "real_cost": costs(arguments.run),
        "real_peers": peers(arguments.run),
    }
    for name, table in tables.items():
        table.to_csv(ROOT / "data" / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
