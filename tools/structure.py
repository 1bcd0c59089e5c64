"""Does a problem teach by what it asks, or by its right answer? Structure against correctness (SOAR appendix C.5) as
two factors, on the second world:

    the question   coherent (as the teacher wrote it), or shuffled (the same words in random order)
    the answer     exact, or corrupted (that of another question of the set)

`python -m tools.structure` takes, of each of five trained teachers of the committed study, well-posed questions of the
last rounds, makes the four sets, trains fresh students on each (and then on hard train, as an evaluation does), and
writes figures/data/structure.csv: pass@32 on hard test by seed, question, answer and student. The paper compared the
correct with the well-posed problems of its runs: other questions, in sets of other sizes.
"""

import argparse
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pandas as pd

from soar_lib.engine import base as bases
from soar_lib.files import read_jsonl, write_tables
from soar_lib.measure.charts import ROOT, Chart, Mark, Panel, row_size
from soar_lib.measure.claims import Estimate, over_seeds
from soar_lib.measure.names import COLOURS
from soar_lib.nano import world2
from soar_lib.problems.rows import hard_sets
from soar_lib.records import Problem, SyntheticProblem
from soar_lib.verifier.verify import equal
from tools.gates_students import SAMPLES, STEPS, passed, solved, taught
from tools.mix import role

STUDY = Path("runs") / "reference" / "study2"
SEEDS, SIZE, ROUNDS = range(5), 64, 10  # SOAR runs (draws), questions of a set, rounds that they are of
QUESTIONS, ANSWERS = ("coherent", "shuffled"), ("exact", "corrupted")


def questions(run: Path, rng: random.Random) -> list[str]:
    """SIZE different well-posed stepping stones that a run's teacher wrote in its last rounds."""
    rows = read_jsonl(run / "problems.jsonl", SyntheticProblem)
    late = max(row["round"] for row in rows) - ROUNDS
    found = {row["question"] for row in rows if row["round"] > late and role(row["question"]) == "stone"}
    return rng.sample(sorted(found), SIZE)


def corrupted(answers: list[str], rng: random.Random) -> list[str]:
    """For each answer one of the others that is not equal to it, each used as often as it stands there (a derangement
    by exchanges). Raises ValueError where one answer is that of more than half."""
    order = rng.sample(range(len(answers)), len(answers))
    for _ in range(100):
        bad = [i for i, j in enumerate(order) if equal(answers[i], answers[j]) == "right"]
        if not bad:
            return [answers[j] for j in order]
        for i in bad:
            k = rng.randrange(len(order))
            order[i], order[k] = order[k], order[i]
    raise ValueError("too many of the questions have one answer; take others")


def shuffled(question: str, rng: random.Random) -> str:
    words = question.split()
    return " ".join(rng.sample(words, len(words)))


def sets(run: Path, seed: int) -> dict[str, list[Problem]]:
    """The four sets of one run, by "question answer"."""
    rng = random.Random(f"structure {seed}")
    asked = questions(run, rng)
    exact = [world2.answer_of(question) for question in asked]
    texts = {"coherent": asked, "shuffled": [shuffled(question, rng) for question in asked]}
    answers = {"exact": exact, "corrupted": corrupted(exact, rng)}
    return {
        f"{q} {a}": [Problem(f"structure/{i}", *pair, "structure") for i, pair in enumerate(zip(texts[q], answers[a]))]
        for q, a in product(QUESTIONS, ANSWERS)
    }


def measured(study: Path) -> Iterator[dict]:
    """One row per SOAR run, set and student."""
    base, (train, test) = bases.load("nano2"), hard_sets(study / "filter")
    for seed in SEEDS:
        chosen = sets(study / "no_promotion" / f"seed{seed}", seed)
        *_, everyone = taught(base, chosen, train, STEPS)
        for name, shares in zip(chosen, passed(solved(base, everyone, test, SAMPLES)).mean(-1)):
            row = dict(zip(("question", "answer"), name.split()))
            yield from ({"seed": seed, **row, "student": j, "pass@32": share} for j, share in enumerate(shares))


def effects(data: pd.DataFrame) -> dict[str, Estimate]:
    """In points of pass@32, over SOAR runs: what the coherent question adds, what the exact answer adds (each the mean
    over the other factor), and how much more the exact answer adds to a coherent question than to a shuffled one."""
    cell = 100 * data.groupby(["seed", "question", "answer"])["pass@32"].mean().unstack(["question", "answer"])
    told = {q: cell[q, "exact"] - cell[q, "corrupted"] for q in QUESTIONS}
    asked = {a: cell["coherent", a] - cell["shuffled", a] for a in ANSWERS}
    return {
        "coherent question": over_seeds((sum(asked.values()) / 2).tolist()),
        "exact answer": over_seeds((sum(told.values()) / 2).tolist()),
        "both together": over_seeds((told["coherent"] - told["shuffled"]).tolist()),
    }


def chart(data: pd.DataFrame) -> Chart:
    """pass@32 after each of the four sets: the mean over runs with its 95 % interval."""
    rows, marks = [], []
    for place, (question, answer) in enumerate(product(QUESTIONS, ANSWERS)):
        own = data[(data["question"] == question) & (data["answer"] == answer)].groupby("seed")["pass@32"].mean()
        found = over_seeds((100 * own).tolist(), difference=False)
        ends = {"low": [max(0.0, found.low)], "high": [min(100.0, found.high)], "ends": "x"}
        marks.append(Mark([found.ours], [place], colour=COLOURS[1], marker="o", size=6, **ends))
        rows.append(f"{question} question, {answer} answer")
    label = "pass@32 on hard test (%)"
    panel = Panel(marks, label, "what students learned from", "Mean and 95 % intervals", xlim=(-2, 102), rows=rows)
    return Chart([panel], **row_size([len(rows)]), legend="")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.structure", description="Structure against correctness.")
    parser.add_argument("--study", type=Path, default=STUDY, help="folder of the study")
    parser.add_argument("--out", type=Path, default=ROOT / "data", help="folder of structure.csv")
    arguments = parser.parse_args()
    table = pd.DataFrame(measured(arguments.study)).round(5)
    write_tables(arguments.out, {"structure": table})
    for name, found in effects(table).items():
        print(f"{name}: {found.ours:+.1f} points ({found.low:+.1f} to {found.high:+.1f}), {found.seeds} runs")


if __name__ == "__main__":
    main()
