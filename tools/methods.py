"""Five methods, and four teachers, by what they reach and what they take: one base, one hard test set, every completion
counted. No paper compares them.

Each method learns twice: from the hard problems alone (`hard`), and from these with as many again of its one-skill
problems of four and five letters (`pool`), whose answers are known too.

    base        no training
    rlvr        RL on the problems, measured on the way
    svs         the same with variants written from the policy's own solutions, measured on the way
    ladder      RL on trees of variants; nothing checks these, so the untrained model's most frequent answer stands for
                the right one
    untrained   a fresh student on what the untrained teacher writes, then on the problems
    grounded    on what a teacher writes after ROUNDS rounds of SOAR, paid by progress, then on the problems
    intrinsic   paid by disagreement (SOAR's Intrinsic-T)
    uncertain   paid by uncertainty (R-Zero; tools/rivals.py)
    serl        what the untrained teacher writes, of middling difficulty, paid by the majority's vote (SeRL)

The teachers `grounded` and `intrinsic` are those of the committed study. Completions count that were drawn on the way
to the measured student, of whatever policy: of teachers, of students that were thrown away, for rewards, of variants
and votes; not those by which we measure. All measured students learn at the rate that tools/tune.py chose, with LoRA
of one rank; each method keeps its own loss. There is no common budget: `rlvr` spends what SvS does and `ladder` no
more, teachers what their rounds take. On the hard problems `rlvr` goes on until it has spent what the cheaper teachers
have after their last round.

`python -m tools.methods --out runs/methods2` makes all runs, or goes on with them, and writes figures/data/methods.csv
(and of LADDER's trees methods_labels.csv). The claims of `CLAIMS` were named before the runs. A method is held against
another at the last place where the other had spent no more completions.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from soar_lib import files
from soar_lib.engine import base as bases
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, begin, stack
from soar_lib.hooks import Hooks
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder import run as ladder
from soar_lib.ladder import variants
from soar_lib.ladder.reward import majority_rewards
from soar_lib.ladder.settings import LadderConfig
from soar_lib.measure.charts import ROOT
from soar_lib.measure.claims import Claim, Estimate, Evidence, judged, over_seeds
from soar_lib.measure.methods import method_rows
from soar_lib.problems.load import load
from soar_lib.problems.rows import hard_sets
from soar_lib.randomness import Key, generator
from soar_lib.records import HARD_TEST, HARD_TRAIN, Problem, Round, Score, SyntheticProblem
from soar_lib.settings.student import StudentSettings, preset
from soar_lib.soar import run as soar
from soar_lib.soar.arms import spent
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.rewards import as_problems, student_rewards
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import Lesson, StudentReward
from soar_lib.svs import report as svs_report
from soar_lib.svs import run as svs
from soar_lib.svs.settings import SvsConfig
from tools import rivals
from tools.mix import described

STUDY = Path("runs") / "reference" / "study2"
PROBLEMS = ("hard", "pool")
TEACHERS = {"grounded": STUDY / "no_promotion", "intrinsic": STUDY / "intrinsic", "uncertain": None}
NAMES = {  # what readers call them (names.toml)
    "rlvr": "rl", "untrained": "untrained_teacher", "grounded": "progress_teacher", "intrinsic": "disagreement_teacher",
    "uncertain": "uncertainty_teacher", "serl": "majority_student",
}  # fmt: skip
COLUMNS = ["problems", "method", "round", "seed", "completions", "pass@1", "pass@32"]
SAMPLES = 32
CLAIMS = {  # problems, and two methods of which the first is said to reach more pass@32
    "SOAR beats RL on the hard problems": ("hard", "progress_teacher", "rl"),
    "LADDER beats RL on the hard problems": ("hard", "ladder", "rl"),
    "SOAR beats R-Zero's reward": ("hard", "progress_teacher", "uncertainty_teacher"),
    "SvS beats RL where easier problems are at hand": ("pool", "svs", "rl"),
    "SOAR adds to easier problems": ("pool", "progress_teacher", "rl"),
}


@dataclass(frozen=True)
class Sizes:
    """How large the comparison is."""

    seeds: int = 8
    easier: int = 75  # problems of the pool that are not hard
    svs_steps: tuple[int, int] = (200, 80)  # on the hard problems, on the pool: about as many completions
    every: tuple[int, int] = (50, 20)  # steps between measurements
    rounds: tuple[int, ...] = (1, 5, 10, 20, 40)  # whose teachers are measured; with easier problems the last alone
    size: int = 64  # problems of a fresh student, of the 128 of a round
    steps: tuple[int, int] = (40, 16)  # of a fresh student, as in the study
    votes: int = 8
    levels: int = 3  # of LADDER's trees
    longer: int = 1375  # steps of RLVR on the hard problems, until it has spent what most teachers' rounds take
    rate: float = 1e-3


def write_problems(out: Path, sizes: Sizes) -> None:
    """The folders `hard` and `pool`, each with what is learned from (hard_train.jsonl) and measured on."""
    train, test = hard_sets(STUDY / "filter")
    easier = load("nano2-middle", seed=1, size=sizes.easier)
    for name, own in zip(PROBLEMS, (train, [*train, *easier])):
        if not (out / name / f"{HARD_TRAIN}.jsonl").is_file():
            (out / name).mkdir(parents=True, exist_ok=True)
            files.write_problems(out / name, {HARD_TEST: test, HARD_TRAIN: own})


# ------------------------------------------------------------------ RLVR, SvS, LADDER


def svs_config(folder: Path, sizes: Sizes) -> SvsConfig:
    steps, every = (both[PROBLEMS.index(folder.name)] for both in (sizes.svs_steps, sizes.every))
    return preset(
        "nano2", SvsConfig, problems=str(folder / f"{HARD_TRAIN}.jsonl"), size=0, hard="", other="",
        test=str(folder / f"{HARD_TEST}.jsonl"), test_size=0, arms=("svs", "rlvr_equal_rollouts"), large_k=("svs",),
        seeds=sizes.seeds, steps=steps, measure_every=every, samples=SAMPLES, hard_samples=SAMPLES, ks=(1, SAMPLES),
        batch=16, **{"optimiser.learning_rate": sizes.rate},
    )  # fmt: skip


def by_rl(base: Base, folder: Path, sizes: Sizes) -> pd.DataFrame:
    """RLVR and SvS, and the untrained model, along their way."""
    svs.run(svs_config(folder, sizes), folder / "svs", True, base, Hooks(progress=False))
    return along(folder / "svs", {"svs": "svs", "rlvr_equal_rollouts": "rlvr"})


def by_longer_rl(base: Base, folder: Path, sizes: Sizes) -> pd.DataFrame:
    """RLVR alone, again and for longer."""
    config = replace(svs_config(folder, sizes), steps=sizes.longer, measure_every=sizes.longer // 5)
    config = replace(config, arms=("rlvr",), large_k=("rlvr",))
    svs.run(config, folder / "longer", True, base, Hooks(progress=False))
    return along(folder / "longer", {"rlvr": "rlvr"})


def along(run: Path, arms: dict[str, str]) -> pd.DataFrame:
    """The measurements of these arms of a run of `soar_lib.svs`, and what they are called, by completions."""
    rows = []
    for arm, name in arms.items():
        for seed, own in svs_report.curves(run).query("arm == @arm").groupby("seed"):
            own = own.assign(completions=own["rollouts"].cumsum()).dropna(subset="test_pass_1")
            rows += [[name, seed, *row] for row in own[["completions", "test_pass_1", "test_pass_n"]].values.tolist()]
    for score in svs_report.read(run).scores:
        seed, share = int(score.run.removeprefix("seed")), score.c / score.n
        rows.append([arms[score.arm], seed, score.rollouts, share, share > 0])
    found = pd.DataFrame(rows, columns=["method", "seed", *COLUMNS[4:]]).astype({"pass@32": float})
    return found.groupby(["method", "seed", "completions"], as_index=False).mean()


def ladder_trees(base: Base, folder: Path, sizes: Sizes) -> LadderConfig:
    """The settings of LADDER there, whose trees are grown first, to see what they cost."""
    config = preset(
        "nano2", LadderConfig, model="nano2", problems=str(folder), check="answer", arms=("base", "ladder"),
        originals=0, tested=0, seeds=sizes.seeds, samples=SAMPLES, most_samples=SAMPLES, variant_samples=0,
        variants={"depth": sizes.levels, "prompts": 3, "parents": 3, "votes": sizes.votes}, student={"batch": 16},
        **{"student.max_new_tokens": 64, "student.optimiser.learning_rate": sizes.rate},
    )  # fmt: skip
    grown = replace(config, samples=1, most_samples=1, student=replace(config.student, steps=1))
    ladder.run(grown, folder / "trees", True, base, Hooks(progress=False))
    return config


def labels(out: Path) -> pd.DataFrame:
    """LADDER's trees by level: the variants written, and the shares of these that are new, of the new ones that have a
    label (an answer on which the untrained model's samples agree), and of the labels that are right."""
    rows = []
    for name in PROBLEMS:
        for level, own in ladder_report.read_variants(out / name / "trees").groupby("level"):
            written = own[own["fate"] != "no_question"]
            new = written[written["fate"].isin(["usable", "unsolvable"])]
            known = new[new["fate"] == "usable"]
            right = sum(described(*pair)["right"] for pair in zip(known["question"], known["answer"]))
            parts = zip((len(new), len(known), right), (len(written), len(new), len(known)))
            rows.append([name, level, len(written), *(part / max(1, whole) for part, whole in parts)])
    return pd.DataFrame(rows, columns=["problems", "level", "written", "new", "labelled", "right"]).round(5)


def by_ladder(base: Base, folder: Path, sizes: Sizes, budget: int) -> pd.DataFrame:
    """LADDER with what its trees leave of the budget."""
    config = ladder_trees(base, folder, sizes)
    trees = max(variants.drawn(variants.read(folder / "trees", "ladder", seed), config) for seed in range(sizes.seeds))
    steps = max(1, (budget - trees) // (config.student.batch * config.student.group))
    config = replace(config, student=replace(config.student, steps=steps))
    ladder.run(config, folder / "ladder", True, base, Hooks(progress=False))
    rows = pd.DataFrame(files.read_jsonl(folder / "ladder" / "scores.jsonl", Score)).query("set == @HARD_TEST").copy()
    rows["pass@1"], rows["pass@32"] = rows["c"] / rows["n"], (rows["c"] > 0).astype(float)
    rows["seed"] = rows["run"].str.removeprefix("seed").astype(int)
    rows = rows.rename(columns={"arm": "method", "rollouts": "completions"})
    return rows.groupby(["method", "seed"], as_index=False)[COLUMNS[4:]].mean()


# ------------------------------------------------------------------ teachers


def teachers(base: Base, out: Path, sizes: Sizes) -> dict[str, Path]:
    """The folders of the teachers' runs; R-Zero's are made here."""
    for seed in range(sizes.seeds):
        config = preset(
            "nano2", SoarConfig, problems=str(STUDY / "filter"), seed=seed, rounds=max(sizes.rounds), promotion=False
        )
        soar.run(config, out / "uncertain" / f"seed{seed}", True, base, rivals.uncertain, hooks=Hooks(progress=False))
    return {name: folder or out / name for name, folder in TEACHERS.items()}


@dataclass(frozen=True)
class Set:
    """The problems that a teacher of a run wrote in a round, and the completions that led to them."""

    method: str
    round: int
    seed: int
    problems: list[SyntheticProblem]
    completions: int


def sets(folders: dict[str, Path], sizes: Sizes) -> Iterator[Set]:
    """What each teacher wrote in each round of ROUNDS; of the untrained one, a run's first round."""
    for (name, folder), seed in product(folders.items(), range(sizes.seeds)):
        run = folder / f"seed{seed}"
        config, rounds = files.read_config(run, SoarConfig), files.read_jsonl(run / "rounds.jsonl", Round)
        written = files.read_jsonl(run / "problems.jsonl", SyntheticProblem)
        students = 0 if name == "grounded" else config.datasets * config.dataset_size * config.intrinsic_samples
        for number in sizes.rounds:
            own = [SyntheticProblem(**row) for row in written if row["round"] == number]
            chosen = random.Random(f"{seed} {number}").sample(own, sizes.size)
            attempts = sum(row["attempts"] for row in rounds[:number])
            paid = number * students if students else spent(config, rounds[:number])
            yield Set(name, number, seed, chosen, attempts + paid)
            if name == "grounded" and number == 1:
                yield Set("untrained", 0, seed, chosen, rounds[0]["attempts"])


def middling(base: Base, found: Set, settings: StudentSettings, samples: int = 32) -> Set:
    """SeRL's choice among an untrained teacher's problems: those on whose answer a middling share agrees."""
    texts, low, high = [problem.question for problem in found.problems], *rivals.BAND
    shares = rivals.agreement(base, None, texts, samples, settings.draw(1024), (found.seed, "serl"))
    kept = [problem for problem, share in zip(found.problems, shares) if low <= share <= high] or found.problems
    return replace(found, method="serl", problems=kept, completions=found.completions + samples * len(texts))


def fresh(
    base: Base, given: Sequence[Set], then: list[Problem], sizes: Sizes, reward: StudentReward, start: Adapters
) -> Adapters:
    """A fresh student of each set, `steps[0]` steps on it with this reward and `steps[1]` on the problems."""
    settings, students = student_settings(sizes), stack([start] * len(given))
    for steps, part, paid in zip(sizes.steps, ("synthetic", "real"), (reward, student_rewards)):
        lessons = [
            Lesson(
                then if part == "real" else as_problems(one.problems),
                (one.seed, "methods", one.method, one.round, part),
            )
            for one in given
        ]
        students, _ = student.train(base, students, lessons, replace(settings, steps=steps), paid, 4096)
    return students


def student_settings(sizes: Sizes) -> StudentSettings:
    settings = preset("nano2", EvaluateConfig).student
    return replace(settings, optimiser=replace(settings.optimiser, learning_rate=sizes.rate))


def by_teachers(base: Base, given: Sequence[Set], folder: Path, sizes: Sizes, reward: StudentReward) -> pd.DataFrame:
    """One row per set: its student on hard test."""
    settings, (then, test) = student_settings(sizes), hard_sets(folder)
    start = begin(base, settings, generator("methods", "adapter"))
    students = fresh(base, given, then, sizes, reward, start)
    keys: list[Key] = [(one.seed, "methods", "measured") for one in given]
    shares = student.accuracy(base, students, test, settings.draw(4096), SAMPLES, keys)
    own = sum(sizes.steps) * settings.batch * settings.group
    values = zip(shares.mean(1).tolist(), (shares > 0).double().mean(1).tolist())
    rows = [[one.method, one.round, one.seed, one.completions + own, *pair] for one, pair in zip(given, values)]
    return pd.DataFrame(rows, columns=COLUMNS[1:])


# ------------------------------------------------------------------ all together


def run(out: Path, sizes: Sizes, base: Base) -> pd.DataFrame:
    """All methods, part by part; a finished part is only read. Returns the rows so far, columns COLUMNS."""
    write_problems(out, sizes)
    given, settings = list(sets(teachers(base, out, sizes), sizes)), student_settings(sizes)
    chosen = [middling(base, one, settings) for one in given if one.method == "untrained"]
    vote = partial(voted, group=settings.group)
    for name in PROBLEMS:
        folder = out / name
        some = [one for one in given if name == "hard" or one.round in (0, max(sizes.rounds))]
        once(folder / "teachers.csv", lambda: by_teachers(base, some, folder, sizes, student_rewards))
        once(folder / "serl.csv", lambda: by_teachers(base, chosen, folder, sizes, vote))
        once(folder / "rl.csv", lambda: by_rl(base, folder, sizes))
        if name == "hard":
            once(folder / "longer.csv", lambda: by_longer_rl(base, folder, sizes))
        svs_rows = files.read_table(folder / "rl.csv", "method", "seed", "completions").query("method == 'svs'")
        budget = int(svs_rows.groupby("seed")["completions"].max().mean())
        once(folder / "ladder.csv", lambda: by_ladder(base, folder, sizes, budget))
    return table(out)


def voted(golds: Sequence[str], responses: Sequence[str], group: int) -> list[float]:
    """SeRL's reward of the student: the majority's answer, whatever the teacher's."""
    return majority_rewards(responses, group)


def once(path: Path, make) -> None:
    if not path.is_file():
        files.write_text_atomic(path, make().to_csv(index=False, lineterminator="\n"))


def table(out: Path) -> pd.DataFrame:
    """The rows of all finished parts."""
    parts = [files.read_table(path).assign(problems=path.parent.name) for path in sorted(out.glob("*/*.csv"))]
    found = pd.concat(parts).fillna({"round": 0}).astype({"round": int, "completions": int})
    found["method"] = found["method"].replace(NAMES)
    return found.drop_duplicates(COLUMNS[:5])[COLUMNS].sort_values(COLUMNS[:5], ignore_index=True).round(5)


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """CLAIMS in points of pass@32, columns as those of the papers' claims: a method at its end, the other at as many
    completions. All are primary."""
    of = [Claim(text, partial(lead, rows, *of), primary=True) for text, of in CLAIMS.items()]
    return judged(Evidence(Path(), [], SAMPLES), of)


def lead(rows: pd.DataFrame, problems: str, method: str, other: str, evidence: Evidence) -> Estimate:
    return over_seeds(differences(rows, problems, method, other))


def differences(rows: pd.DataFrame, problems: str, method: str, other: str) -> list[float]:
    """Seed by seed: pass@32 of a method at its end, minus the other's where that had spent no more, in points."""
    own = rows[rows["problems"] == problems].sort_values("completions").groupby("method")
    found = []
    for seed, mine in own.get_group(method).groupby("seed"):
        last, theirs = mine.iloc[-1], own.get_group(other).query("seed == @seed")
        within = theirs[theirs["completions"] <= last["completions"]]
        found.append(100 * (last["pass@32"] - within.iloc[-1]["pass@32"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.methods", description="Methods by completions.")
    parser.add_argument("--out", type=Path, default=Path("runs") / "methods2", help="folder of the runs")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rows = run(out, Sizes(), bases.load("nano2"))
    tables = {"methods": rows, "methods_claims": claims(rows), "methods_labels": labels(out)}
    files.write_tables(ROOT / "data", tables)
    print(f"{method_rows(rows).to_string()}\n{claims(rows).to_string()}")


if __name__ == "__main__":
    main()
