"""A LADDER run's folder as tables: the paper's numbers beside ours, its claims with verdicts, the trees, the levels.

Each seed is a run with one student: intervals are those of `passk` over seeds and problems. pass@k takes as many
samples as TTRL has probes or spends on a test problem, or as LADDER and TTRL spend (LADDER's training divided by the
number of test problems): what they give without learning. TTRL's "any step" is the paper's success, a right answer at
any time during training, which only a verifier can pick out, as with pass@k. The paper's numbers are those of
Llama-3.2-3B-Instruct on its 100 integrals and, for TTRL, of the 7B model on 20 of the MIT integration bee."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from statistics import fmean

import pandas as pd

from soar_lib.files import LOST, RunError, read_config, read_problems, read_records, read_table, setting, write_tables
from soar_lib.ladder.settings import LADDER_ARMS, TTRL_ARMS, LadderConfig
from soar_lib.ladder.variants import Variant, read_lines
from soar_lib.measure.claims import Claim, Evidence, judged, listed, published
from soar_lib.measure.passk import table as pass_table
from soar_lib.records import ANY_STEP, HARD_TEST, HARD_TRAIN, VARIANTS, VOTED, Score

COLUMNS = ["arm", "metric", "mean", "low", "high", "seeds", "rollouts", "in_sum", "paper"]
SOLVED = "solved"  # a virtual set: whether any of all samples was right
FEW = 10  # section 4.1 gives the base's pass@10
# What may become of a variant, by the first word of why it was rejected.
FATES = {"": "usable", "repeats": "repeats", "unsolvable:": "unsolvable", "test": "test_problems", "no": "no_question"}
WRITTEN = ["tree", "seed", *(field.name for field in fields(Variant)), "fate"]
PROBES = ["arm", "seed", "problem", "step", "right", "probes", "reward"]
STEPS = ["arm", "step", "problems", "right", "low", "high", "solved", "solved_low", "solved_high", "reward"]


def write(folder: str | Path) -> pd.DataFrame:
    """Write the tables of a LADDER run into its folder, ladder.csv last; returns that table."""
    variants, scores = read_variants(folder), read_scores(folder)
    tables = {"variants": trees(variants), "levels": levels(variants, scores)}
    tables |= {"claims": claims(folder), "ladder": table(folder)}
    write_tables(Path(folder), tables)
    return tables["ladder"]


def read_scores(folder: str | Path) -> list[Score]:
    """The scores of one LADDER run; `Score.run` is seed0, seed1, ... Raises RunError where scores.jsonl is damaged."""
    runs = [f"seed{seed}" for seed in range(setting(folder, "seeds", int))]
    return read_records(Path(folder) / "scores.jsonl", Score, run=runs)


def table(folder: str | Path) -> pd.DataFrame:
    """ladder.csv: a row per arm and metric, columns `COLUMNS`; mean, low and high (95 %) are fractions. `rollouts`
    counts the completions behind one measured student: variants, rollouts and, for any step, the answers tried; for the
    vote (maj@n) its samples. `in_sum` counts those for all test problems: TTRL and the vote spend theirs on each."""
    scores, rows, tested = read_scores(folder), [], settings(folder)[2]
    for arm in LADDER_ARMS:
        mine = [score for score in scores if score.arm == arm]
        one = "final step" if arm in TTRL_ARMS else "pass@1"
        sampled = pass_table(mine, [1, *_ks(folder, arm, mine)]).to_dict("records")
        named = [(one if row["k"] == 1 else f"pass@{row['k']}", row) for row in sampled]
        named += [("any step", row) for row in pass_table(outcomes(mine), [1], set=ANY_STEP).to_dict("records")]
        named += [(f"maj@{row['rollouts']}", row) for row in pass_table(mine, [1], set=VOTED).to_dict("records")]
        for name, row in named:
            once = next((other["rollouts"] for other in rows if other["arm"] == arm.removesuffix("_ttrl")), 0)
            each = tested if arm in TTRL_ARMS or name.startswith("maj@") else 1
            row["in_sum"] = once + each * (row["rollouts"] - once)
            rows.append(row | {"metric": name, "paper": published("ladder", arm, name)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _ks(folder: str | Path, arm: str, scores: Sequence[Score]) -> list[int]:
    """The k beside 1: as many samples as other arms take, as TTRL has probes, and as the paper draws from its base."""
    most = min((score.n for score in scores if score.set == HARD_TEST), default=0)
    config, originals, tested = settings(folder)
    draws, ttrl = config.draws(arm, originals, tested), config.ttrl_samples
    probes = config.probes * (config.ttrl_steps + 1) if ttrl else 0
    own = {"base": {FEW, config.spread_samples(originals, tested), ttrl}, "ladder": {probes}}.get(arm, set())
    return sorted(k for k in own | ({draws} if draws > config.samples else set()) if 1 < k <= most)


def settings(folder: str | Path) -> tuple[LadderConfig, int, int]:
    """The run's settings, and how many problems it learned from and was tested on."""
    counts = (len(read_problems(Path(folder), name)) for name in (HARD_TRAIN, HARD_TEST))
    return read_config(folder, LadderConfig), *counts


def outcomes(scores: Sequence[Score]) -> list[Score]:
    """One sample per score: whether any of its samples was right. Hard test becomes the set `SOLVED`."""
    named = {HARD_TEST: SOLVED, ANY_STEP: ANY_STEP}
    return [replace(s, n=1, c=int(s.c > 0), set=named[s.set]) for s in scores if s.set in named]


CLAIMS = listed("ladder")


def claims(folder: str | Path, of: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """One row per claim, columns `measure.claims.COLUMNS`; claims about arms that were not run stay, undecided."""
    scores = read_scores(folder)
    sampled = [score for score in scores if score.set == HARD_TEST]
    peers = {"base": "k", "ladder": "k"} | {score.arm: score.n for score in sampled}
    return judged(Evidence(Path(folder), sampled + outcomes(scores), 1, peers), of)


def read_variants(folder: str | Path) -> pd.DataFrame:
    """Every variant of one run, columns `WRITTEN`; fate is a value of `FATES`. Raises RunError for a damaged row."""
    known = [problem.id for name in (HARD_TRAIN, HARD_TEST) for problem in read_problems(Path(folder), name)]
    rows = read_lines(Path(folder), root=known, nearest=["", *known])
    fates = [FATES.get(row["rejected"].partition(" ")[0], "") for row in rows]
    if "" in fates:
        wrong = f"field 'rejected' gives no known reason: {rows[fates.index('')]['rejected']!r:.40}"
        raise RunError(f"{Path(folder) / 'problems.jsonl'}:{fates.index('') + 1}: {wrong}; {LOST}")
    return pd.DataFrame(rows, columns=WRITTEN[:-1]).assign(fate=fates)


def trees(variants: pd.DataFrame) -> pd.DataFrame:
    """What became of the variants: columns tree, level, prompts, written (variants), usable, repeats, unsolvable,
    test_problems, no_question (prompts that gave none), distance (mean of usable ones to the nearest test problem)."""
    rows = []
    for place, part in variants.groupby(["tree", "level"]):
        counts = [int((part["fate"] == fate).sum()) for fate in FATES.values()]
        far = part.loc[part["fate"] == "usable", "distance"]
        prompts = part.groupby(["seed", "root", "prompt"]).ngroups
        written = int((part["fate"] != "no_question").sum())
        rows.append([*place, prompts, written, *counts, fmean(far) if len(far) else math.nan])
    return pd.DataFrame(rows, columns=["tree", "level", "prompts", "written", *FATES.values(), "distance"])


def levels(variants: pd.DataFrame, scores: Sequence[Score]) -> pd.DataFrame:
    """Accuracy on the usable variants of LADDER's trees by level, before and after it: columns arm (base, ladder),
    level, problems (of all seeds), mean, low, high (fractions, 95 %). Raises RunError for unknown variants."""
    own = variants[variants["tree"] == "ladder"]
    level = {(f"seed{row.seed}", row.id): row.level for row in own.itertuples()}
    scores = [score for score in scores if score.set == VARIANTS]
    rows = []
    if lost := [score.problem for score in scores if (score.run, score.problem) not in level]:
        raise RunError(f"scores.jsonl: field 'problem' names {lost[0]!r:.80}, no variant of problems.jsonl; {LOST}")
    for depth in sorted({level[score.run, score.problem] for score in scores}):
        mine = [score for score in scores if level[score.run, score.problem] == depth]
        counts, found = Counter(score.arm for score in mine), pass_table(mine, [1], set=VARIANTS)
        rows += [[row.arm, depth, counts[row.arm], row.mean, row.low, row.high] for row in found.itertuples()]
    return pd.DataFrame(rows, columns=["arm", "level", "problems", "mean", "low", "high"])


def probes(folder: str | Path) -> pd.DataFrame:
    """TTRL's probes, columns `PROBES`: for each arm, seed, test problem and step (0: before the first) how many of the
    `probes` answers were right, and its mean reward (NaN at step 0, the only step of a problem without variants)."""
    folder = Path(folder)
    count = settings(folder)[0].probes
    metrics = read_table(folder / "metrics.csv", "problem", arm=str, seed=int, step=int, probe=float, reward=float)
    by_slot = {key: part for key, part in metrics.groupby(["arm", "seed", "problem"], sort=False)}
    rows = []
    for score in read_scores(folder):
        if score.set == ANY_STEP:
            slot = score.arm, int(score.run.removeprefix("seed")), score.problem
            part = by_slot.get(slot, metrics[:0])
            after = list(zip(part["step"] + 1, part["probe"].astype(int), part["reward"], strict=True))
            first = score.c - sum(right for _, right, _ in after)  # the file of steps has none before them
            rows += [[*slot, step, right, count, reward] for step, right, reward in [(0, first, math.nan), *after]]
    return pd.DataFrame(rows, columns=PROBES)


def ttrl(folder: str | Path) -> pd.DataFrame:
    """TTRL over its steps, columns `STEPS`: the share of right probes, the share of all test problems with a right
    probe so far, both with 95 % intervals, and the mean reward."""
    rows = []
    for arm, own in probes(folder).groupby("arm", sort=False):
        wide = own.pivot(index=["seed", "problem"], columns="step", values="right")
        solved = wide.fillna(0).cumsum(axis=1) > 0
        for step, part in own.groupby("step"):
            right = [_probe(row.seed, row.problem, row.probes, row.right) for row in part.itertuples()]
            so_far = [_probe(*place, 1, int(found)) for place, found in solved[step].items()]
            shares = pd.concat([pass_table(scores, [1])[["mean", "low", "high"]] for scores in (right, so_far)])
            rows.append([arm, step, len(part), *shares.to_numpy().flatten(), part["reward"].mean()])
    return pd.DataFrame(rows, columns=STEPS)


def _probe(seed: int, problem: str, n: int, c: int) -> Score:
    return Score("", f"seed{seed}", 0, problem, n, c, 0)
