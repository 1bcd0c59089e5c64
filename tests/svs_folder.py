"""An SvS folder with planted numbers: two seeds, three steps, four arms, and variants of every kind."""

from dataclasses import asdict, replace
from pathlib import Path

from soar_lib import files
from soar_lib.svs.settings import SvsConfig
from soar_lib.svs.synthesis import VariationalProblem

SUMS = "State the final answer to the following arithmetic problem: "
ARMS = ("base", "rlvr", "svs", "svs_guarded")
CONFIG = replace(SvsConfig(), arms=ARMS, samples=4, hard_samples=8, ks=(1, 4, 8), seeds=2, steps=3, large_k=ARMS[:3])
RIGHT = {"base": 1, "rlvr": 2, "svs": 3, "svs_guarded": 4}  # right samples of each hard problem; one more of test's
END = {"base": 0.4, "rlvr": 0.1, "svs": 0.35, "svs_guarded": 0.3}  # entropy on test after the last step, of seed 0
STEPS = 3
FIRST = VariationalProblem(0, 0, "p0", SUMS + "42 + 9 =", "51", 0, 0, SUMS + "9 + 42 =", "", "original", "", 3, 1.0)
SECOND = replace(FIRST, problem="p1", original=SUMS + "1 + 1 =", answer="2", question=SUMS + "0 + 2 =", duplicate="")
WRITTEN = {
    "svs": [
        FIRST,
        replace(FIRST, index=1, question=SUMS + "41 + 9 =", duplicate="", right=0, reward=0.0),
        replace(FIRST, number=5, question="<script>51</script>", leak="answer", duplicate="", right=1, reward=1.0),
        replace(FIRST, number=5, index=1, question=None, duplicate="", dropped="unreadable", right=None, reward=0.0),
        replace(SECOND, right=8, reward=0.0),
        replace(SECOND, step=2),
        replace(SECOND, seed=1, step=1),
    ],
    "svs_guarded": [
        replace(FIRST, step=1, duplicate="", leak="hint", dropped="leak", right=None, reward=0.0),
    ],
}


def write(folder: Path, question: str = FIRST.original) -> Path:
    """The folder; `question` is that of the only training problem."""
    folder.mkdir()
    files.write_json(folder / "config.json", asdict(CONFIG))
    train = [{"id": "p0", "question": question, "answer": "51", "topic": "", "level": None}]
    (folder / "train.jsonl").write_text(files.jsonl(train))
    for arm in ARMS:
        _write_arm(folder / arm, arm)
    return folder


def _write_arm(folder: Path, arm: str) -> None:
    folder.mkdir()
    files.write_json(folder / "config.json", asdict(CONFIG.of_arm(arm)))
    if arm != "base":
        files.append_csv(folder / "metrics.csv", [_metrics(step, seed) for step in range(STEPS) for seed in (0, 1)])
        (folder / "problems.jsonl").write_text(files.jsonl(map(asdict, WRITTEN.get(arm, []))))
    (folder / "scores.jsonl").write_text(files.jsonl(_scores(arm)))
    spent = [0, 0] if arm == "base" else [30, 60]
    result = {"steps": STEPS, "rollouts": spent, "entropy": [END[arm], END[arm] + 0.02]}
    files.write_json(folder / "result.json", result)


def _metrics(step: int, seed: int) -> dict:
    """10 or 20 rollouts a step; on test it is measured after the second of three updates."""
    row = {"seed": seed, "step": step, "rollouts": 10 * (seed + 1), "accuracy": 0.25 * (step + seed)}
    return row | {"entropy": 0.5 - 0.1 * step + 0.02 * seed, "test_entropy": 0.2 + seed / 10 if step == 1 else None}


def _scores(arm: str) -> list[dict]:
    return [
        {
            "arm": arm, "run": f"seed{seed}", "student": 0, "problem": f"{set}{number}", "n": 4 if set == "test" else 8,
            "c": RIGHT[arm] - (set == "test"), "rollouts": 30, "set": set,
        }
        for seed in (0, 1)
        for set in ("test", "hard")
        for number in (0, 1)
    ]  # fmt: skip
