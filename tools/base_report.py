"""The base report: what the shipped model can and cannot do, measured (`python -m tools.base_report`).

Every property the world must offer is a row of figures/data/nano_base_report.csv with the number of samples behind it;
accuracy by family and depth is figures/data/nano_base_accuracy.csv. Nothing here is tuned: it is run once on the
weights as they are shipped, on held-out questions where such exist.
"""

import argparse
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas

from soar_lib import randomness
from soar_lib.engine import base as bases
from soar_lib.engine import sampling
from soar_lib.engine.lora import Adapters
from soar_lib.nano import world
from soar_lib.problems import prompts
from soar_lib.problems.rows import hard_sets
from soar_lib.records import Draw, Problem
from soar_lib.settings.student import preset
from soar_lib.soar import rewards
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.student import train as student
from soar_lib.verifier import verify
from tools import documents, gates

SAMPLES = 4  # per problem, temperature 1
MAX_NEW_TOKENS = 160
GUESSES = 200
DEEP = 5
CURRICULUM_STEPS = 40


def depth_of(family: world.Family, content: list) -> int:
    """The world's measure of difficulty: one more for each further term, animal, bit, number or letter."""
    return max(1, family.depth(content))


def completions(base, messages: list[list[dict]], group: int, *key) -> list[str]:
    """`group` sampled completions of each prompt, prompts in order."""
    prompts_ids = [base.encode(m) for m in messages]
    noise = randomness.uniforms((len(messages) * group, MAX_NEW_TOKENS), "report", *key)
    samples = sampling.sample(base, None, prompts_ids, [0] * len(messages), group, noise, Draw(MAX_NEW_TOKENS))
    return sampling.decode(base, samples)


def questions(family: str, depth: int, count: int, seed: int) -> list[str]:
    """`count` questions of one cell; short ones are few, so these may have been seen in pre-training."""
    rng = random.Random(f"report {seed} {family} {depth}")
    held = depth in world.pool_depths(family)
    return [world.draw(family, depth, rng, held) for _ in range(count)]


def accuracy(base, count: int, seed: int) -> pandas.DataFrame:
    """One row per family and depth: mean accuracy at temperature 1 and the best blind guess' hit rate.

    The blind guess is the most frequent answer of GUESSES other problems of the cell.
    """
    rows = []
    for name, family in world.FAMILIES.items():
        for depth in range(1, family.max_depth + 1):
            asked = questions(name, depth, count, seed)
            golds = [world.answer_of(question) for question in asked]
            texts = completions(base, [prompts.student_messages(q) for q in asked], SAMPLES, name, depth)
            verdicts = verify.check_many([(golds[i // SAMPLES], text) for i, text in enumerate(texts)])
            others = Counter(world.answer_of(q) for q in questions(name, depth, GUESSES, seed + 1))
            guess = golds.count(others.most_common(1)[0][0]) / count
            share = verdicts.count("right") / len(verdicts)
            rows.append(dict(family=name, depth=depth, accuracy=share, guess=guess, problems=count, samples=len(texts)))
    return pandas.DataFrame(rows)


def teacher(base, count: int) -> list[dict]:
    """What the untrained teacher writes: shares of malformed, ill-posed, wrong and right; families and depths."""
    texts = completions(base, [prompts.teacher_messages()], count, "teacher")
    outcomes, families, depths = Counter(), Counter(), []
    for text in texts:
        question, answer = prompts.tagged(text, "question"), prompts.tagged(text, "answer")
        known = world.understand(question) if question else None
        if not question or not answer or verify.extract_boxed(answer) is None:
            outcomes["malformed"] += 1
        elif known is None:
            outcomes["ill-posed"] += 1
        else:
            right = verify.check(world.answer_of(question), answer) == "right"
            outcomes["right answer" if right else "wrong answer"] += 1
            families[known[0].name] += 1
            depths.append(depth_of(*known))
    rows = [row("teacher", name, outcomes[name] / count, count) for name in sorted(outcomes)]
    rows += [row("teacher", f"family {name}", families[name] / len(depths), len(depths)) for name in world.FAMILIES]
    deep = sum(depth >= DEEP for depth in depths)
    return rows + [
        row("teacher", "mean depth", sum(depths) / len(depths), len(depths)),
        row("teacher", f"depth {DEEP} or more", deep / len(depths), len(depths)),
    ]


def variants(base, count: int, seed: int) -> list[dict]:
    """Easier variants (LADDER) and reconstructions (SvS): how many are well posed and what was asked for."""
    rng = random.Random(f"variants {seed}")
    asked = [world.draw(rng.choice(world.POOL_FAMILIES), rng.randint(3, 6), rng, held=True) for _ in range(count)]
    known = [world.understand(question) for question in asked]
    written = completions(base, [prompts.easier_messages(q) for q in asked], 1, "easier")
    easier = [prompts.tagged(text, "question") for text in written]
    shallower = [
        (new := world.understand(text or "")) is not None
        and new[0] is old[0] and depth_of(*new) < depth_of(*old)
        for text, old in zip(easier, known)
    ]  # fmt: skip
    solutions = [documents.solution(question) for question in asked]
    rebuilt = completions(base, [prompts.reconstruct_messages(s) for s in solutions], 1, "reconstruct")
    same = [world.answer_of(prompts.tagged(t, "question") or "") == world.answer_of(q) for t, q in zip(rebuilt, asked)]
    return [
        row("easier variant", "well posed and shallower", sum(shallower) / count, count),
        row("reconstruction", "well posed with the same answer", sum(same) / count, count),
    ]


def curriculum(base, hard: str | Path) -> list[dict]:
    """An oracle's stepping stones against hard problems alone: CURRICULUM_STEPS steps on problems with exact answers of
    the given depths, then as many on hard train; accuracy on hard test (8 samples each). Equal rollouts for all rows.
    """
    train, test = hard_sets(hard)
    settings = replace(preset("nano", EvaluateConfig).student, steps=CURRICULUM_STEPS)
    oracle = {f"depth {min(d)} to {max(d)}": stepping_stones(d, 32) for d in (range(1, 4), range(4, 8))}
    arms = oracle | {"hard only": train}
    start = Adapters.create(base.model, 1, settings.rank, settings.alpha, randomness.generator("report", "start"))
    rows = [row("curriculum", "untrained", _mean(base, start, test, settings)[0], 8 * len(test))]
    students = start.select([0] * len(arms))
    for phase, sets in enumerate((list(arms.values()), [train] * len(arms))):
        lessons = [student.Lesson(own, ("report", name, phase)) for own, name in zip(sets, arms, strict=True)]
        students, _ = student.train(base, students, lessons, settings, rewards.student_rewards)
        after = "after the stones" if phase == 0 else "after hard train"
        for name, value in zip(arms, _mean(base, students, test, settings), strict=True):
            rows.append(row("curriculum", f"{name}, {after}", value, 8 * len(test)))
    return rows


def stepping_stones(depths: range, count: int) -> list[Problem]:
    """Problems of the pool's families at these depths, with exact answers."""
    rng = random.Random(f"stones {depths}")
    families = [rng.choice(world.POOL_FAMILIES) for _ in range(count)]
    texts = [world.draw(f, min(rng.choice(depths), world.FAMILIES[f].max_depth), rng, held=False) for f in families]
    return [Problem(f"stone/{i}", text, world.answer_of(text), "nano") for i, text in enumerate(texts)]


def _mean(base, adapters: Adapters, problems: list[Problem], settings) -> list[float]:
    """Accuracy of each slot at temperature 1, 8 samples per problem."""
    keys = [("report", "curriculum")] * adapters.size
    found = student.accuracy(base, adapters, problems, Draw(settings.max_new_tokens), 8, keys)
    return found.mean(1).tolist()


def row(skill: str, measure: str, value: float, samples: int) -> dict:
    """One line of nano_base_report.csv."""
    return dict(skill=skill, measure=measure, value=round(value, 4), samples=samples)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("figures/data"), help="folder of the two CSV files")
    parser.add_argument("--problems", type=int, default=32, help="problems per family and depth")
    parser.add_argument("--world", choices=("nano", "nano2"), default="nano", help="nano2: its gates instead")
    parser.add_argument("--work", type=Path, default=Path("runs/gates"), help="folder of what measures the gates")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--hard", default="runs/reference/study/filter", help="filter run with the hard problems")
    options = parser.parse_args()
    if options.world == "nano2":
        print(gates.measure(options.work, options.out))
        return
    base = bases.load(options.model)
    table = accuracy(base, options.problems, seed=1)
    table.round(4).to_csv(options.out / "nano_base_accuracy.csv", index=False)
    rows = teacher(base, 1000) + variants(base, 200, seed=1) + curriculum(base, options.hard)
    pandas.DataFrame(rows).to_csv(options.out / "nano_base_report.csv", index=False)


if __name__ == "__main__":
    main()
