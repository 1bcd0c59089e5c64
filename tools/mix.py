"""What a teacher writes, round by round: the shares of the second world's roles, skills and word lengths in a SOAR run.

A problem is useful to a student where it is a stepping stone (`role`) with the right answer.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import entropy

from soar_lib.files import read_jsonl
from soar_lib.nano import world2
from soar_lib.records import SyntheticProblem
from soar_lib.verifier.verify import equal

USEFUL = "stone, right"
STONE_STEPS = 6  # at most: where practice still begins


def role(question: str) -> str:
    """What a question is to a student of this world's hard problems: "stone" (a short problem of its skills), "long",
    "easy", "decoy" or "ill-posed"."""
    known = world2.understand(question)
    if known is None:
        return "ill-posed"
    family, content = known
    if family.name == "words":
        return "stone" if family.depth(content) <= STONE_STEPS else "long"
    if family.name == "guess":
        return "decoy"
    return "easy" if family.name == "last_letter" or family.depth(content) == 1 else "decoy"


def described(question: str, answer: str) -> dict:
    """What a written problem is: `role` (with whether its answer is right, for a stepping stone), `skill` and `letters`
    (of the words' problems alone) and `right`."""
    known, gold = world2.understand(question), world2.answer_of(question)
    right = gold is not None and equal(gold, answer) == "right"
    kind, skill, letters = role(question), "", 0
    if known and known[0].name == "words":
        word, *names = known[1]
        skill, letters = ", ".join(names), len(word)
    return {
        "role": f"{kind}, {'right' if right else 'wrong'}" if kind == "stone" else kind,
        "skill": skill, "letters": letters, "right": right,
    }  # fmt: skip


def written(folder: str | Path) -> pd.DataFrame:
    """One row per problem of a SOAR run: round, dataset, reward and what it is."""
    rows = read_jsonl(Path(folder) / "problems.jsonl", SyntheticProblem)
    kept = ("round", "dataset", "reward")
    return pd.DataFrame({name: r[name] for name in kept} | described(r["question"], r["answer"]) for r in rows)


def mix(frame: pd.DataFrame, by: str = "role") -> pd.DataFrame:
    """Shares [round, value of column `by`] of the problems that `written` describes."""
    return pd.crosstab(frame["round"], frame[by], normalize="index")


def effective(names: pd.Series) -> float:
    """How many names there would be, were all as frequent: exp of the entropy of their shares."""
    return float(np.exp(entropy(names.value_counts())))


def within_rounds(frame: pd.DataFrame) -> float:
    """Correlation of a data set's reward with its share of useful problems, both less their round's mean."""
    useful = frame.assign(useful=frame["role"] == USEFUL)
    sets = useful.groupby(["round", "dataset"])[["reward", "useful"]].mean()
    return float((sets - sets.groupby("round").transform("mean")).corr().loc["reward", "useful"])
