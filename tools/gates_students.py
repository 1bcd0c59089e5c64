"""What measures the second world's gates with students: lifts by sets of problems, each skill's practice, and rounds of
a teacher that does not learn."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from soar_lib import randomness
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.measure.bootstrap import bootstrap
from soar_lib.measure.passk import pass_at_k
from soar_lib.nano import world2
from soar_lib.records import Draw, Problem, SyntheticProblem
from soar_lib.settings.student import preset
from soar_lib.soar import rewards, teacher
from soar_lib.soar import run as soar
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.rewards import OuterStep, as_problems, grounded
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import Lesson
from tools import mix

STUDENTS, SAMPLES, ROWS = 3, 32, 4096
STEPS = 40, 16  # on a set of problems, then on hard train, as in an evaluation
FEW = 16  # steps of a skill's practice
SIZE = 64  # problems of a set
SHORT = world2.STONE_LENGTHS[1]  # letters of short problems


# ------------------------------------------------------------------ students


def taught(
    base: Base, sets: dict[str, list[Problem]], then: Sequence[Problem] = (), steps: Sequence[int] = STEPS
) -> Iterator[Adapters]:
    """STUDENTS students of each set in turn, as one population: after `steps[0]` steps on the set, and then, where
    there is `then`, after `steps[1]` more on that."""
    settings = preset("nano2", EvaluateConfig).student
    members = list(product(sets, range(STUDENTS)))
    start = [
        Adapters.create(base.model, 1, settings.rank, settings.alpha, randomness.generator("gates", "start", j))
        for _, j in members
    ]
    everyone = stack(start)
    for phase, count in enumerate(steps[: 2 if then else 1]):
        lessons = [Lesson(then if phase else sets[name], ("gates", name, j, phase)) for name, j in members]
        now = replace(settings, steps=count)
        everyone, _ = student.train(base, everyone, lessons, now, rewards.student_rewards, rows=ROWS)
        yield everyone


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


Gains = dict[str, np.ndarray]  # in pass@32 over the base [students, problems], by the name of a set


def lifts(base: Base, train: Sequence[Problem], test: Sequence[Problem]) -> Iterator[Gains]:
    """What each set of problems gives: by itself, then with the steps on hard train."""
    written = proposed(base, SIZE, "untrained")
    decoys = [problem for problem in proposed(base, 8 * SIZE, "decoys") if mix.role(problem.question) == "decoy"]
    sets = {"hard": train, "oracle": stones("oracle", world2.NAMES, SIZE), "untrained": written, "decoys": decoys}
    sets |= {name: stones(name, [name], SIZE) for name in world2.NAMES}
    before = passed(solved(base, None, test, SAMPLES))[0]
    for everyone in taught(base, sets, train):
        yield {name: values - before for name, values in zip(sets, passed(solved(base, everyone, test, SAMPLES)))}


def of_students(base: Base, train: Sequence[Problem], test: Sequence[Problem]) -> dict[str, float]:
    """Gates W1 to W4 and W5's second half, as far as students decide them."""
    kinds = pd.Series([problem.topic for problem in test])
    alone, gain = lifts(base, train, test)
    skills = kinds.str.count(",") + 1
    found = {f"{name.split()[0]} alone": value for name, value in _shares(alone, kinds).items()} | _shares(gain, kinds)
    found |= {f"gain {name}": values.mean() for name, values in gain.items()}
    return found | {
        "W1 problems": len(test),
        "W1 kinds": kinds.nunique(),
        "W1 share": kinds.value_counts(normalize=True).max(),
        "W1 hard only": bootstrap([one[None] for one in gain["hard"]]).interval()[1],
        "W3 shares": (skills.value_counts(normalize=True) - 1 / 3).abs().max(),
        "W5 useless": gain["decoys"].mean(),
    }


def _shares(gain: Gains, kinds: pd.Series) -> dict[str, float]:
    whole = gain["oracle"].mean()
    return {
        "W2 oracle": min(gain["oracle"][:, kinds == kind].mean() for kind in kinds.unique()),
        "W3 one skill": max(gain[name].mean() for name in world2.NAMES) / whole,
        "W4 untrained": gain["untrained"].mean() / whole,
    }


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
    middle, gains = world2.pool("nano2-stones", seed=98, size=100), {True: [], False: []}
    own = {name: [place for place, p in enumerate(middle) if p.topic == name] for name in world2.NAMES}
    after = solved(base, next(taught(base, lessons, steps=(FEW,))), middle, SAMPLES) / SAMPLES
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


def attraction(base: Base, count: int = 4000, samples: int = 32) -> float:
    """Mean intrinsic reward of the untrained teacher's decoys minus that of its useful problems. Of 400 problems it was
    known to 0.03 only, as far as it lies from 0."""
    written = proposed(base, count, "attraction")
    draw = Draw(preset("nano2", EvaluateConfig).student.max_new_tokens, rows=ROWS)
    shares = student.accuracy(base, None, written, draw, samples, [("gates", "attraction")])[0].tolist()
    paid = pd.Series([rewards.intrinsic_reward(share) for share in shares])
    roles = pd.Series([mix.described(problem.question, problem.answer)["role"] for problem in written])
    return paid[roles == "decoy"].mean() - paid[roles == mix.USEFUL].mean()


def decoys_of(base: Base, count: int = 1000) -> float:
    """Share of decoys among the untrained teacher's proposals."""
    return float(np.mean([mix.role(problem.question) == "decoy" for problem in proposed(base, count, "plain")]))


def signal(plays: Iterable[Play]) -> float:
    """Correlation within rounds of a data set's reward and its share of useful problems."""
    rows = [
        {"round": p.round, "dataset": p.dataset, "reward": gain.mean()} | mix.described(p.question, p.answer)
        for sets, gains in plays
        for problems, gain in zip(sets, gains, strict=True)
        for p in problems
    ]
    return mix.within_rounds(pd.DataFrame(rows))
