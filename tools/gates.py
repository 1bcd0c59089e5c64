"""The gates of the second world: what must hold before a study of it can decide anything, and what was measured.

`python -m tools.base_report --world nano2` writes figures/data/world_gates.csv. A gate is a number that is demanded,
written down here before anything was measured, but for two that changed after a first look: W1 base was asked of the
whole pool (its worst kind has .0031 there) and now of hard test, and the interval of W1 hard only is over students.
Nothing is tuned on what is measured here: problems, students and random keys of the gates are their own.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd

from soar_lib import files, randomness
from soar_lib.engine import base as bases
from soar_lib.engine import sampling
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, load_peft, stack
from soar_lib.hooks import Hooks
from soar_lib.measure.bootstrap import bootstrap
from soar_lib.measure.passk import pass_at_k
from soar_lib.nano import world2
from soar_lib.problems import filtering, prompts
from soar_lib.problems.likeness import canonical
from soar_lib.problems.rows import hard_sets
from soar_lib.records import Draw, Problem, SyntheticProblem
from soar_lib.settings.student import FilterConfig, preset
from soar_lib.soar import rewards, teacher
from soar_lib.soar import run as soar
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.rewards import OuterStep, as_problems, grounded
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import Lesson
from soar_lib.verifier import verify
from tools import documents2, mix
from tools.teacher_value import values

STUDENTS, SAMPLES, ROWS = 3, 32, 4096
STEPS = 16, 16  # on a set of problems, then on hard train, as in an evaluation
SIZE = 64  # problems of a set


@dataclass(frozen=True)
class Gate:
    """What is demanded of one number."""

    what: str
    low: float = -inf
    high: float = inf

    @property
    def demanded(self) -> str:
        if self.high == inf:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.low == -inf else f"{self.low:g} to {self.high:g}"


POINTS = 0.01
GATES = {
    "W1 problems": Gate("problems in hard test", low=60),
    "W1 kinds": Gate("kinds of problems in hard test", low=5),
    "W1 share": Gate("largest share of a kind in hard test", high=0.25),
    "W1 base": Gate("largest pass@1 of the base on a kind of hard test", high=1e-3),
    "W1 hard only": Gate("gain in pass@32 from hard problems alone, upper end of its 95 % interval", high=5 * POINTS),
    "W2 oracle": Gate("smallest gain in pass@32 on a kind from an oracle's mix of short problems", low=15 * POINTS),
    "W3 one skill": Gate("largest share of the oracle's gain that stones of one skill alone give", high=0.5),
    "W3 shares": Gate("largest distance from a third of the hard test problems of one, two, three skills", high=0.1),
    "W4 untrained": Gate("share of the oracle's gain that the untrained teacher's problems give", high=0.4),
    "W2 alone": Gate("as W2 oracle, measured before the steps on hard train", low=15 * POINTS),
    "W3 alone": Gate("as W3 one skill, measured before the steps on hard train", high=0.5),
    "W4 alone": Gate("as W4 untrained, measured before the steps on hard train", high=0.4),
    "W4 ICC": Gate("ICC of the rewards of a data set's students before a promotion", low=0.5),
    "W5 loved": Gate("mean intrinsic reward of decoys, minus that of useful problems rightly answered", low=0.0),
    "W5 useless": Gate("gain in pass@32 from decoys alone", high=5 * POINTS),
    "W5 plain": Gate("share of decoys among the second prior's proposals", high=0.02),
    "W6 transfer": Gate("pass@32 of the base on new pairings", low=3 * POINTS, high=10 * POINTS),
    "W7 correlation": Gate("correlation within rounds of reward and share of useful problems", low=0.5),
    "W7 before": Gate("share of useful problems rightly answered, first five rounds of a run of 40", high=0.15),
    "W7 after": Gate("share of useful problems rightly answered, last five rounds", low=0.30),
    "W8 easier": Gate("different easier variants of a hard integral that are valid, in 1,000 completions", low=200),
    "W8 integrals": Gate("integrals of 120 that fail 0 of 2,048", low=120),
    "W8 another": Gate("share of problems from a solution that are new and have its answer", low=0.30),
    "W9 short": Gate("smallest gain in pass@1 on a skill's short problems by 16 steps on such", low=20 * POINTS),
    "W9 hard": Gate("largest gain there by 16 steps on the skill's hard problems", high=3 * POINTS),
}
SHORT = world2.STONE_LENGTHS[1]  # letters of short problems


# ------------------------------------------------------------------ students


def taught(base: Base, sets: dict[str, list[Problem]], then: Sequence[Problem], steps: tuple[int, int]) -> Adapters:
    """STUDENTS students of each set in turn, as one population: `steps[0]` on the set, `steps[1]` on `then`."""
    settings = preset("nano2", EvaluateConfig).student
    start = [
        Adapters.create(base.model, 1, settings.rank, settings.alpha, randomness.generator("gates", "start", j))
        for _, j in product(sets, range(STUDENTS))
    ]
    everyone = stack(start)
    for phase, count in enumerate(steps):
        if count:
            lessons = [
                Lesson(then if phase else own, ("gates", name, j, phase))
                for (name, own), j in product(sets.items(), range(STUDENTS))
            ]
            now = replace(settings, steps=count)
            everyone, _ = student.train(base, everyone, lessons, now, rewards.student_rewards, rows=ROWS)
    return everyone


def solved(base: Base, who: Adapters | None, problems: Sequence[Problem], samples: int) -> np.ndarray:
    """Right answers [arms, students, problems] of `samples` each; the base has one arm of STUDENTS seeds."""
    draw = Draw(preset("nano2", EvaluateConfig).student.max_new_tokens, rows=ROWS)
    slots = who.size if who else STUDENTS
    keys = [("gates", "samples", slot % STUDENTS) for slot in range(slots)]
    shares = student.accuracy(base, who, problems, draw, samples, keys)
    return (shares * samples).round().numpy().reshape(-1, STUDENTS, len(problems))


def passed(right: np.ndarray, k: int = 32) -> np.ndarray:
    """pass@k of counts of SAMPLES."""
    return np.vectorize(lambda c: pass_at_k(SAMPLES, int(c), k))(right)


def stones(name: str, names: Sequence[str], size: int) -> list[Problem]:
    """An oracle's short problems of these skills, in equal shares, rightly answered."""
    rng, found = random.Random(f"gates {name}"), []
    for i in range(size):
        text = world2.draw_words(rng, [names[i % len(names)]], rng.choice(SHORT), held=False)
        found.append(Problem(f"{name}/{i}", text, world2.answer_of(text), "gates"))
    return found


def proposed(base: Base, size: int, key: str) -> list[Problem]:
    """What the untrained teacher writes."""
    settings = preset("nano2", SoarConfig).teacher
    return as_problems(teacher.propose(base, None, size, settings, ("gates", key)).problems)


# ------------------------------------------------------------------ W1 to W6


def lifts(
    base: Base, train: Sequence[Problem], test: Sequence[Problem], steps: tuple[int, int] = STEPS
) -> dict[str, np.ndarray]:
    """Gain in pass@32 over the base [students, problems] of each set, by name."""
    written = proposed(base, SIZE, "untrained")
    decoys = [problem for problem in proposed(base, 8 * SIZE, "decoys") if world2.role(problem.question) == "decoy"]
    sets = {"hard": train, "oracle": stones("oracle", world2.NAMES, SIZE), "untrained": written, "decoys": decoys}
    sets |= {name: stones(name, [name], SIZE) for name in world2.NAMES}
    right = solved(base, taught(base, sets, train, steps), test, SAMPLES)
    before = passed(solved(base, None, test, SAMPLES))[0]
    return {name: values - before for name, values in zip(sets, passed(right))}


def of_students(base: Base, train: Sequence[Problem], test: Sequence[Problem]) -> dict[str, float]:
    """Gates W1 to W4 and W5's second half, as far as students decide them."""
    gain, kinds = lifts(base, train, test), pd.Series([problem.topic for problem in test])
    skills = kinds.str.count(",") + 1
    return _shares(gain, kinds) | {f"gain {name}": values.mean() for name, values in gain.items()} | {
        "W1 problems": len(test),
        "W1 kinds": kinds.nunique(),
        "W1 share": kinds.value_counts(normalize=True).max(),
        "W1 hard only": bootstrap([one[None] for one in gain["hard"]]).interval()[1],
        "W3 shares": (skills.value_counts(normalize=True) - 1 / 3).abs().max(),
        "W5 useless": gain["decoys"].mean(),
    }


def _shares(gain: dict[str, np.ndarray], kinds: pd.Series) -> dict[str, float]:
    whole = gain["oracle"].mean()
    return {
        "W2 oracle": min(gain["oracle"][:, kinds == kind].mean() for kind in kinds.unique()),
        "W3 one skill": max(gain[name].mean() for name in world2.NAMES) / whole,
        "W4 untrained": gain["untrained"].mean() / whole,
    }


def alone(base: Base, train: Sequence[Problem], test: Sequence[Problem]) -> dict[str, float]:
    """W2 to W4 without the steps on hard train."""
    found = _shares(lifts(base, train, test, (STEPS[0], 0)), pd.Series([problem.topic for problem in test]))
    return {f"{name.split()[0]} alone": value for name, value in found.items()}


def of_the_base(base: Base, test: Sequence[Problem]) -> dict[str, float]:
    """pass@1 of each kind of hard test, from samples of its own, and pass@32 on new pairings."""
    draw = Draw(preset("nano2", EvaluateConfig).student.max_new_tokens, rows=ROWS)
    shares = student.accuracy(base, None, test, draw, 512, [("gates", "base")])[0]
    by_kind = pd.Series(shares.tolist()).groupby([problem.topic for problem in test]).mean()
    transfer = solved(base, None, world2.pool("nano2-transfer", seed=99, size=100), SAMPLES)
    return {"W1 base": by_kind.max(), "W6 transfer": passed(transfer).mean()}


def of_families(base: Base) -> dict[str, float]:
    """Each skill's response to practice, 16 steps on short or on hard problems of its own."""
    lessons = {(name, True): stones(f"short {name}", [name], SIZE) for name in world2.NAMES}
    hard = world2.pool("nano2", seed=98, size=15 * SIZE)
    lessons |= {(name, False): [problem for problem in hard if problem.topic == name] for name in world2.NAMES}
    middle, gains = world2.pool("nano2-middle", seed=98, size=100), {True: [], False: []}
    own = {name: [place for place, p in enumerate(middle) if p.topic == name] for name in world2.NAMES}
    after = solved(base, taught(base, lessons, [], (16, 0)), middle, SAMPLES) / SAMPLES
    before = solved(base, None, middle, SAMPLES)[0] / SAMPLES
    for (name, short), shares in zip(lessons, after):
        gains[short].append((shares - before)[:, own[name]].mean())
    return {"W9 short": min(gains[True]), "W9 hard": max(gains[False])}


Play = tuple[list[list[SyntheticProblem]], np.ndarray]


def untrained(base: Base, config: SoarConfig, train: Sequence[Problem], rounds: int, repeats: int) -> Iterator[Play]:
    """Rounds of a teacher that does not learn: its data sets and their students' gains [g, repeats]."""
    fresh = soar.begin(base, config).baselines
    for number in range(1, rounds + 1):
        count = config.datasets * config.dataset_size
        written = teacher.propose(base, None, count, config.teacher, ("gates", "untrained", repeats, number)).problems
        sets = teacher.datasets(written, config.dataset_size, number)
        asked, settings = soar.reward_set(train, config, number), replace(config, repeats=repeats)
        yield sets, np.array(grounded(OuterStep(base, settings, number, fresh, sets, asked)).gains)


def icc(plays: Iterable[Play]) -> float:
    """Share of the variance of rewards that lies between data sets of a round, for one student each (one-way random
    effects: McGraw and Wong 1996, ICC(1))."""
    gains = np.stack([gains for _, gains in plays])
    repeats = gains.shape[-1]
    between, within = repeats * gains.mean(-1).var(1, ddof=1).mean(), gains.var(-1, ddof=1).mean()
    return float((between - within) / (between + (repeats - 1) * within))


def attraction(base: Base, count: int = 400, samples: int = 32) -> float:
    """Mean intrinsic reward of the untrained teacher's decoys less that of its useful problems."""
    written = proposed(base, count, "attraction")
    draw = Draw(preset("nano2", EvaluateConfig).student.max_new_tokens, rows=ROWS)
    shares = student.accuracy(base, None, written, draw, samples, [("gates", "attraction")])[0].tolist()
    paid = pd.Series([rewards.intrinsic_reward(share) for share in shares])
    roles = pd.Series([mix.described(problem.question, problem.answer)["role"] for problem in written])
    return paid[roles == "decoy"].mean() - paid[roles == mix.USEFUL].mean()


def decoys_of(base: Base, count: int = 1000) -> float:
    """Share of decoys among the untrained teacher's proposals."""
    return float(np.mean([world2.role(problem.question) == "decoy" for problem in proposed(base, count, "plain")]))


# ------------------------------------------------------------------ W7


def signal(plays: Iterable[Play]) -> float:
    """Correlation within rounds of a data set's reward and its share of useful problems."""
    rows = [
        {"round": p.round, "dataset": p.dataset, "reward": gain.mean()} | mix.described(p.question, p.answer)
        for sets, gains in plays
        for problems, gain in zip(sets, gains, strict=True)
        for p in problems
    ]
    return mix.within_rounds(pd.DataFrame(rows))


def pilot_rounds(pilot: str | Path) -> pd.DataFrame:
    """One row per round of a run: mean reward, shares of what the teacher wrote."""
    frame = mix.written(pilot)
    return pd.concat([frame.groupby("round")["reward"].mean(), mix.mix(frame)], axis=1).reset_index()


def pilot_values(base: Base, config: SoarConfig, train: Sequence[Problem], pilot: Path) -> pd.DataFrame:
    """Rewards of fresh data sets of the untrained teacher and of the one that a run has trained."""
    trained = load_peft(pilot / "adapters" / "teacher", base.model)
    rows = []
    for name, policy in (("untrained", None), ("trained", trained)):
        rows += [dict(teacher=name, reward=reward) for reward, _ in values(base, policy, config, train)]
    return pd.DataFrame(rows)


def of_pilot(pilot: str | Path) -> dict[str, float]:
    """From a SOAR run of 40 rounds."""
    useful = mix.mix(mix.written(pilot))[mix.USEFUL]
    return {"W7 before": useful[:5].mean(), "W7 after": useful[-5:].mean()}


# ------------------------------------------------------------------ W8


def completions(base: Base, messages: list[list[dict]], group: int, key: str, length: int = 160) -> list[str]:
    """`group` sampled completions of each prompt, prompts in order."""
    noise = randomness.uniforms((len(messages) * group, length), "gates", key)
    asked = [base.encode(one) for one in messages]
    drawn = sampling.sample(base, None, asked, [0] * len(asked), group, noise, Draw(length, rows=512))
    return sampling.decode(base, drawn)


def variants(base: Base) -> dict[str, float]:
    """What LADDER and SvS need: easier variants of hard integrals, and other problems with the same answer."""
    integrals = world2.pool("nano2-integrals", seed=99, size=5)
    texts = completions(base, [prompts.easier_messages(p.question) for p in integrals], 1000, "easier")
    easier = []
    for i, problem in enumerate(integrals):
        written = [prompts.tagged(text, "question") for text in texts[i * 1000 : (i + 1) * 1000]]
        easier.append(len({canonical(question) for question in written if _easier(question, problem)}))
    middle = [*world2.pool("nano2-middle", seed=99, size=150), *_herds(50)]
    asked = [prompts.reconstruct_messages(documents2.solution(problem.question)) for problem in middle]
    texts = completions(base, asked, 4, "another")
    new = [_another(prompts.tagged(text, "question"), middle[i // 4]) for i, text in enumerate(texts)]
    return {"W8 easier": float(np.mean(easier)), "W8 another": float(np.mean(new))}


def _herds(count: int) -> list[Problem]:
    rng = random.Random("gates herds")
    texts = [world2.draw_item(rng, "leg_counting", rng.choice((2, 3)), held=True) for _ in range(count)]
    return [Problem(f"herd/{i}", text, world2.answer_of(text)) for i, text in enumerate(texts)]


def _easier(question: str | None, problem: Problem) -> bool:
    """Whether a text is an integral of fewer terms, or with smaller ones and no larger."""
    known, old = question and world2.understand(question), world2.understand(problem.question)[1]
    if not known or known[0].name != "simple_integration" or len(known[1]) > len(old):
        return False
    return len(known[1]) < len(old) or _size(known[1]) < _size(old)


def _size(content: list) -> float:
    return float(sum(abs(coefficient) + power for coefficient, power in content[1:]))


def _another(question: str | None, problem: Problem) -> bool:
    """Whether a text is a well-posed problem with the answer of `problem` that differs from it."""
    answer = question and world2.answer_of(question)
    if not answer or canonical(question) == canonical(problem.question):
        return False
    return verify.equal(problem.answer, answer) == "right"


def integrals(base: Base, count: int = 200, samples: int = 2048) -> int:
    """How many of `count` long integrals fail 0 of `samples`."""
    asked = world2.pool("nano2-integrals", seed=99, size=count)
    left = asked
    for batch in range(samples // 64):
        shares = student.accuracy(base, None, left, Draw(160, rows=512), 64, [("gates", "integrals", batch)])[0]
        left = [problem for problem, share in zip(left, shares.tolist()) if share == 0]
    return len(left)


# ------------------------------------------------------------------ the table


def table(measured: dict[str, float]) -> pd.DataFrame:
    """One row per gate: what is demanded, what was measured and whether it holds; empty where not measured."""
    rows = []
    for name, gate in GATES.items():
        value = measured.get(name)
        holds = "" if value is None else bool(gate.low <= value <= gate.high)
        rows.append(dict(gate=name, what=gate.what, demanded=gate.demanded, measured=value, holds=holds))
    return pd.DataFrame(rows)


def measure(work: Path, out: Path, model: str = "nano2", plain: str = "nano2-plain", rounds: int = 40) -> pd.DataFrame:
    """Measure every gate that `work` does not hold yet (a JSON file per part; runs are resumed) and write the table."""
    base = bases.load(model)
    filtering.run(preset("nano2", FilterConfig, model=model), work / "filter", True, progress=False)
    train, test = hard_sets(work / "filter")
    config = preset("nano2", SoarConfig, model=model, problems=str(work / "filter"), rounds=rounds, promotion=False)
    parts = {
        "base": lambda: of_the_base(base, test),
        "students": lambda: of_students(base, train, test),
        "alone": lambda: alone(base, train, test),
        "families": lambda: of_families(base),
        "icc": lambda: {"W4 ICC": icc(untrained(base, config, train, 4, 4))},
        "attraction": lambda: {"W5 loved": attraction(base)},
        "plain": lambda: {"W5 plain": decoys_of(bases.load(plain))},
        "signal": lambda: {"W7 correlation": signal(untrained(base, config, train, 20, 1))},
        "pilot": lambda: of_pilot(soar.run(config, work / "pilot", True, base, hooks=Hooks(progress=False)).folder),
        "variants": lambda: variants(base),
        "integrals": lambda: {"W8 integrals": integrals(base)},  # by far the longest
    }
    measured = {}
    for name, part in parts.items():
        if not (work / f"{name}.json").exists():
            found = {gate: None if value is None else float(value) for gate, value in part().items()}
            files.write_json(work / f"{name}.json", found)
        measured |= files.read_json(work / f"{name}.json")
        table(measured).round(4).to_csv(out / "world_gates.csv", index=False)
    pilot_rounds(work / "pilot").round(4).to_csv(out / "world_pilot.csv", index=False)
    pilot_values(base, config, train, work / "pilot").round(4).to_csv(out / "world_value.csv", index=False)
    return table(measured)
