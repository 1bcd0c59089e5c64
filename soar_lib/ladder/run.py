"""LADDER: learn hard problems by practising on easier variants of them that the model wrote (Simonds & Yoshiyama 2025).

Trees of variants grow from a few hard problems (Algorithm 1, `variants`), students learn from all variants together by
GRPO with a verifier's reward (`student`), and then each test problem may get a tree and a student of its own (`ttrl`).
A filter run gives the hard problems, which the model never solves in k samples: some to learn from, others to test on.

    base           no training
    originals      RL on the hard problems themselves
    one_level      RL on variants written from the hard problems alone, by as many prompts as a tree has at most
    ladder         RL on the variants of the trees, without the hard problems (3.2.1)
    ladder_ttrl    TTRL on each test problem, from LADDER's student
    base_ttrl      TTRL from the untrained model
    majority       RL on the test problems, for the answer that most samples give: the other method named TTRL (Zuo et
                   al. 2025, arXiv 2504.16084), which needs no verifier

All that are trained but TTRL take equal steps; variants cost more. Students of all arms and seeds train as one
population; seed s starts alike in every arm and has trees of its own, so seeds are whole repetitions on one set of
problems. The folder (`runs`) also holds hard_train.jsonl and hard_test.jsonl; `report.write` adds its tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, product
from pathlib import Path

import torch
from tqdm.auto import tqdm

from soar_lib import files, runs
from soar_lib.engine.base import Base, load_for
from soar_lib.engine.lora import Adapters, begin, stack
from soar_lib.files import RunError
from soar_lib.hooks import Commit, Hooks, run_stages
from soar_lib.ladder import ttrl, variants
from soar_lib.ladder.reward import majority_rewards, majority_right, verified_rewards
from soar_lib.ladder.settings import TTRL_ARMS, LadderConfig
from soar_lib.problems.checks import CHECKS, with_references
from soar_lib.problems.likeness import Known, canonical
from soar_lib.problems.rows import hard_sets
from soar_lib.randomness import generator
from soar_lib.records import ANY_STEP, HARD_TEST, HARD_TRAIN, VARIANTS, VOTED, Problem, Score
from soar_lib.settings.memory import check_memory
from soar_lib.settings.student import by_trl, check_trainer
from soar_lib.settings.values import ConfigError
from soar_lib.student import train as student
from soar_lib.student.train import Lesson, StudentReward

RL_ARMS = ("originals", "one_level", "ladder", "majority")  # of one student per seed
MEASURED = ("reward", "top_reward", "length", "cut", "signal", "grad_norm", "kl")
Records = dict[str, list[dict]]  # rows for each log


@dataclass
class Climb:
    """What the stages of a run share. `students` are the trained ones of `RL_ARMS` and all seeds, as the last stage
    left them; all else is from the settings and the folder, so an interrupted stage can be done again."""

    config: LadderConfig
    base: Base
    train: list[Problem]
    test: list[Problem]
    folder: Path
    progress: bool = False
    students: Adapters | None = None

    def key(self, *parts: int | str) -> tuple[int | str, ...]:
        """The random key of `parts` in this run."""
        return self.config.seed, "ladder", *parts

    def fresh(self, seed: int) -> Adapters:
        """An untrained student (one slot) of this seed."""
        return begin(self.base, self.config.student, generator(*self.key("start", seed)))

    def student(self, arm: str, seed: int) -> Adapters:
        """A trained arm's student (one slot) of this seed."""
        arms = [name for name in RL_ARMS if name in self.config.arms]
        return self.students.select([arms.index(arm) * self.config.seeds + seed])


@files.holding
def run(
    config: LadderConfig, folder: str | Path, resume: bool = False, base: Base | None = None, hooks: Hooks = Hooks()
) -> None:
    """Run LADDER with its controls into a folder, or go on with the run that is there; a finished one is only checked.
    `base` saves loading `config.model` again. Raises ConfigError, LoadError and RunError before anything is written."""
    folder = Path(folder)
    runs.check_folder(folder, resume, config)
    train, test = problems(config, folder)
    if (folder / "ladder.csv").is_file():  # the last of the tables
        runs.check_same(folder, config)
        return
    check_trainer(config.student)
    check_memory(config, len(test), loaded=base is not None)
    base = base or load_for(config)
    this = runs.open_run(folder, config, resume)
    files.write_problems(folder, {HARD_TEST: test, HARD_TRAIN: train})
    climb = Climb(config, base, train, test, folder, hooks.progress)
    if this.round > 1 and {*RL_ARMS} & {*config.arms}:  # round 1 grows the trees
        climb.students = climb.fresh(0).load(this.load("students")[0]["students"])

    def stage(do: Callable[[Climb], Records]) -> Commit:
        records = do(climb)
        return {"students": climb.students.state_dict()} if climb.students else {}, {}, records

    run_stages(this, [partial(stage, do) for do in plan(config, test)], hooks, "LADDER")


def problems(config: LadderConfig, folder: Path) -> tuple[list[Problem], list[Problem]]:
    """The hard problems to learn from and to test on: those that the run in `folder` began with, else random ones of
    the filter run that the settings name. A problem that restates a test problem is not learnt from (in the published
    lists two in ten do). Raises ConfigError and LoadError."""
    if (folder / f"{HARD_TRAIN}.jsonl").is_file():
        return files.read_problems(folder, HARD_TRAIN), files.read_problems(folder, HARD_TEST)
    if not config.problems:
        raise ConfigError("problems = '': name the folder of a filter run")
    train, test = hard_sets(config.problems)
    test = _some(test, "tested", config)
    forms = {canonical(problem.question) for problem in test}
    train = _some([problem for problem in train if canonical(problem.question) not in forms], "originals", config)
    for problem in [*train, *test]:
        CHECKS[config.check].reference(problem)
    return train, test


def _some(found: list[Problem], name: str, config: LadderConfig) -> list[Problem]:
    """As many problems as the setting `name` says, without replacement, in their order; 0: all."""
    size = getattr(config, name)
    if size > len(found) or not found:
        raise ConfigError(
            f"{name} = {size}: {config.problems} has {len(found)} such problems; take at most so many, 0 for all, or "
            "filter a larger pool"
        )
    order = torch.randperm(len(found), generator=generator(config.seed, "ladder", name)).tolist()
    return [found[i] for i in sorted(order[: size or len(found)])]


def plan(config: LadderConfig, test: Sequence[Problem]) -> list[Callable[[Climb], Records]]:
    """The stages of a run, each ended by a commit: grow the trees, train, vote, tune at test time, measure."""
    tuned = list(product([arm for arm in TTRL_ARMS if arm in config.arms], range(config.seeds), test))
    size = config.together or len(tuned) or 1
    found: list[Callable[[Climb], Records]] = [grow]
    if set(config.arms) & set(RL_ARMS[:-1]):
        found.append(train)
    if "majority" in config.arms:
        found.append(vote)
    found += [partial(tune, part=tuned[i : i + size]) for i in range(0, len(tuned), size)]
    found += [partial(score, arm=arm) for arm in ("base", *RL_ARMS) if arm in config.arms]
    if config.variant_samples and "ladder" in config.arms:
        found.append(score_variants)
    return found


def grow(climb: Climb) -> Records:
    """Write all variants: of LADDER's trees, of the trees of one level, and of each test problem's own tree."""
    config, known, rows = climb.config, Known.of(climb.test), []
    trees = [arm for arm in ("one_level", "ladder") if arm in config.arms]
    trees += ["ttrl"] if set(config.arms) & set(TTRL_ARMS) else []
    for tree, seed in product(trees, range(config.seeds)):
        roots, apart = (climb.test, True) if tree == "ttrl" else (climb.train, False)
        settings, key = config.one_level() if tree == "one_level" else config, climb.key("tree", tree, seed)
        rows += variants.to_rows(variants.grow(climb.base, roots, settings, key, known, apart), tree, seed)
    return {"problems": rows}


def train(climb: Climb) -> Records:
    """RL of the arms originals, one_level and ladder, all seeds as one population. Raises RunError without variants."""
    arms, check, sets = [arm for arm in RL_ARMS[:-1] if arm in climb.config.arms], CHECKS[climb.config.check], {}
    for arm, seed in product(arms, range(climb.config.seeds)):
        own = climb.train if arm == "originals" else variants.usable(variants.read(climb.folder, arm, seed))
        if not own:
            raise RunError(
                f"{climb.folder}: no usable variant was written for arm {arm}, seed {seed}; look at problems.jsonl, "
                "raise variants.prompts or take another model"
            )
        sets[arm, seed] = with_references(own, check)
    return _learn(climb, sets, verified_rewards(check))


def vote(climb: Climb) -> Records:
    """RL on the test problems, paid for the majority's answer; their reference answers are not used."""
    sets = {("majority", seed): climb.test for seed in range(climb.config.seeds)}
    return _learn(climb, sets, lambda golds, responses: majority_rewards(responses, climb.config.student.group))


def _learn(climb: Climb, sets: dict[tuple[str, int], list[Problem]], reward: StudentReward) -> Records:
    """Students of these arms and seeds, each trained on its problems, join the others."""
    config = climb.config
    start = stack([climb.fresh(seed) for _, seed in sets])
    lessons = [Lesson(problems, climb.key("train", *slot)) for slot, problems in sets.items()]
    steps = config.student.steps * (len(sets) if by_trl(config) else 1)
    with tqdm(total=steps, desc="students", unit="step", leave=False, disable=not climb.progress) as bar:
        trained, history = student.train(
            climb.base, start, lessons, config.student, reward, config.rows, lambda *_: bar.update()
        )
    climb.students = stack([climb.students, trained]) if climb.students else trained
    owners = [{"arm": arm, "seed": seed, "problem": ""} for arm, seed in sets]
    return {"metrics": [row | {"probe": ""} for row in student.step_rows(history, owners, MEASURED)]}


def tune(climb: Climb, part: list[tuple[str, int, Problem]]) -> Records:
    """TTRL for each (arm, seed, test problem) of `part`; the students are thrown away."""
    config, tests = climb.config, [test for _, _, test in part]
    trees = {seed: variants.read(climb.folder, "ttrl", seed) for seed in {seed for _, seed, _ in part}}
    spent = {(arm, seed): _spent(climb, arm, seed) for arm, seed in {(arm, seed) for arm, seed, _ in part}}
    mine = [[variant for variant in trees[seed] if variant.root == test.id] for _, seed, test in part]
    start = [climb.fresh(seed) if arm == "base_ttrl" else climb.student("ladder", seed) for arm, seed, _ in part]
    keys = [climb.key(arm, seed, test.id) for arm, seed, test in part]
    lessons = [Lesson(variants.usable(own), key) for own, key in zip(mine, keys, strict=True)]
    with tqdm(total=config.ttrl_steps, desc="TTRL", unit="step", leave=False, disable=not climb.progress) as bar:
        tuned = ttrl.tune(climb.base, stack(start), lessons, tests, config, lambda *_: bar.update())
    scores = []
    for slot, (arm, seed, test) in enumerate(part):
        own, count = tuned.probes[slot], config.probes * len(tuned.probes[slot])
        training = (slot in tuned.trained) * config.ttrl_steps * config.ttrl_batch * config.student.group
        rollouts = spent[arm, seed] + variants.drawn(mine[slot], config) + training
        scores.append(_score(arm, seed, test.id, config.samples, tuned.right[slot], rollouts))
        scores.append(_score(arm, seed, test.id, count, sum(own), rollouts + count, ANY_STEP))
    learned = [part[slot] for slot in tuned.trained]
    owners = [{"arm": arm, "seed": seed, "problem": test.id} for arm, seed, test in learned]
    rows = zip(student.step_rows(tuned.history, owners, MEASURED), cycle(tuned.trained))
    return {"metrics": [row | {"probe": tuned.probes[slot][row["step"] + 1]} for row, slot in rows], "scores": scores}


def score(climb: Climb, arm: str) -> Records:
    """Score an arm's students on the test problems; of the base also the majority's answers, which the vote learns."""
    count, seeds = climb.config.draws(arm, len(climb.train), len(climb.test)), range(climb.config.seeds)
    return {"scores": [row for seed in seeds for row in _sampled(climb, arm, seed, climb.test, count)]}


def score_variants(climb: Climb) -> Records:
    """Score base and LADDER on the usable variants of LADDER's trees, for the accuracy at each level."""
    scores = []
    for seed in range(climb.config.seeds):
        asked = variants.usable(variants.read(climb.folder, "ladder", seed))
        for arm in ("base", "ladder"):
            scores += _sampled(climb, arm, seed, asked, climb.config.variant_samples, VARIANTS)
    return {"scores": scores}


def _sampled(climb: Climb, arm: str, seed: int, asked: list[Problem], count: int, set: str = HARD_TEST) -> list[dict]:
    config, policy = climb.config, None if arm == "base" else climb.student(arm, seed)
    key = climb.key("levels" if set == VARIANTS else "score", arm, seed)
    draw, check = config.student.draw(config.rows), CHECKS[config.check]
    texts = student.responses(climb.base, policy, asked, draw, count, [key])
    rollouts, shares = 0 if set == VARIANTS else _spent(climb, arm, seed), student.shares(check, asked, texts).tolist()
    rows = [_score(arm, seed, p.id, count, round(s * count), rollouts, set) for p, s in zip(asked, shares, strict=True)]
    if arm == "base" and set == HARD_TEST:
        rights = majority_right(check, asked, texts)
        rows += [_score(arm, seed, p.id, 1, int(right), count, VOTED) for p, right in zip(asked, rights, strict=True)]
    return rows


def _score(arm: str, seed: int, problem: str, n: int, c: int, rollouts: int, set: str = HARD_TEST) -> dict:
    """A line of scores.jsonl; each seed is a run with one student."""
    return asdict(Score(arm, f"seed{seed}", 0, problem, n, c, rollouts, set))


def _spent(climb: Climb, arm: str, seed: int) -> int:
    """Completions that made a student, of TTRL those of its start: rollouts, and the variants written for it."""
    config = climb.config
    spent = 0 if arm in ("base", "base_ttrl") else config.student.rollouts
    if tree := {"one_level": "one_level", "ladder": "ladder", "ladder_ttrl": "ladder"}.get(arm):
        spent += variants.drawn(variants.read(climb.folder, tree, seed), config)
    return spent
