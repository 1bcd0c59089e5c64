"""What a LADDER run does between two commits: grow the trees, train, vote, tune at test time, measure.

Every stage takes the population as the last one left it and gives back the population and rows for the logs; it depends
on the settings, the problems and the folder's problems.jsonl alone, so an interrupted one is done again from its start.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from tqdm.auto import tqdm

from soar_lib import runs
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.ladder import ttrl, variants
from soar_lib.ladder.settings import TTRL_ARMS, LadderConfig
from soar_lib.problems.checks import CHECKS, Check, with_references
from soar_lib.problems.likeness import Known
from soar_lib.randomness import generator
from soar_lib.records import ANY_STEP, HARD_TEST, VARIANTS, Problem, Score
from soar_lib.settings.cost import by_trl
from soar_lib.student import inner_loop
from soar_lib.student import train as student
from soar_lib.student.rewards import majority_rewards, verified_rewards
from soar_lib.student.train import Lesson, StudentReward

RL_ARMS = ("originals", "one_level", "ladder", "majority")  # of one student per seed
MEASURED = ("reward", "top_reward", "length", "signal", "grad_norm", "kl")
Records = dict[str, list[dict]]
Stage = Callable[[Adapters | None], tuple[Adapters | None, Records]]


@dataclass(frozen=True)
class Work:
    """What every stage of a run needs."""

    config: LadderConfig
    base: Base
    train: list[Problem]
    test: list[Problem]
    run: runs.Run
    progress: bool

    @property
    def check(self) -> Check:
        return CHECKS[self.config.check]

    @property
    def students(self) -> list[tuple[str, int]]:
        """Arm and seed of each slot of the population."""
        return [(arm, seed) for arm in RL_ARMS if arm in self.config.arms for seed in range(self.config.seeds)]

    def key(self, *parts: int | str) -> tuple[int | str, ...]:
        return self.config.seed, "ladder", *parts

    def trees(self, tree: str, seed: int) -> list[variants.Variant]:
        """The variants of one kind of trees, as problems.jsonl has them."""
        rows = runs.read_jsonl(self.run.folder / "problems.jsonl")
        mine = [row for row in rows if (row["tree"], row["seed"]) == (tree, seed)]
        return [variants.from_row(row, "tree", "seed") for row in mine]


def restored(work: Work) -> Adapters | None:
    """The population as the last stage left it, None before any was trained."""
    tensors = work.run.load()[0] if work.run.round else {}
    return _fresh(work, 0).load(tensors["students"]) if tensors else None


def _fresh(work: Work, seed: int) -> Adapters:
    settings, draw = work.config.student, generator(*work.key("start", seed))
    return Adapters.create(work.base.model, 1, settings.rank, settings.alpha, draw)


def grown(work: Work) -> Records:
    """All variants: of the trees, of the trees of one level, and of each test problem's own tree."""
    config, known = work.config, Known.of(work.test)
    wanted = {
        "one_level": (config.one_level(), work.train, False, "one_level" in config.arms),
        "ladder": (config, work.train, False, "ladder" in config.arms),
        "ttrl": (config, work.test, True, bool(set(config.arms) & set(TTRL_ARMS))),
    }
    rows = []
    for tree, (settings, roots, apart, needed) in wanted.items():
        for seed in range(config.seeds) if needed else ():
            found = variants.grow(work.base, roots, settings, work.key("tree", tree, seed), known, apart)
            rows += [variants.to_row(variant, tree=tree, seed=seed) for variant in found]
    return {"problems": rows}


def train(work: Work) -> tuple[Adapters, Records]:
    """RL on originals, one level and trees, all seeds as one population."""
    slots = [(arm, seed) for arm, seed in work.students if arm != "majority"]
    sets = [work.train if arm == "originals" else variants.usable(work.trees(arm, seed)) for arm, seed in slots]
    for (arm, seed), found in zip(slots, sets, strict=True):
        if not found:
            raise runs.RunError(
                f"{work.run.folder}: no usable variant was written for arm {arm}, seed {seed}; look at problems.jsonl, "
                "raise variants.prompts or take another model"
            )
    sets = [with_references(found, work.check) for found in sets]
    return _learnt(work, slots, sets, verified_rewards(work.check))


def vote(work: Work, students: Adapters | None) -> tuple[Adapters, Records]:
    """RL on the test problems for the majority's answer; nothing knows theirs."""
    slots = [("majority", seed) for seed in range(work.config.seeds)]
    group = work.config.student.group
    trained, records = _learnt(
        work, slots, [work.test] * len(slots), lambda golds, responses: majority_rewards(responses, group)
    )
    return (stack([students, trained]) if students else trained), records


def _learnt(work: Work, slots, sets, reward: StudentReward) -> tuple[Adapters, Records]:
    config = work.config
    steps = config.student.steps * (len(slots) if by_trl(config) else 1)
    start = stack([_fresh(work, seed) for _, seed in slots])
    lessons = [Lesson(found, work.key("train", *slot)) for found, slot in zip(sets, slots, strict=True)]
    with tqdm(total=steps, desc="students", unit="step", leave=False, disable=not work.progress) as bar:
        trained, history = inner_loop.train(
            work.base, start, lessons, config.student, reward, config.rows, lambda *_: bar.update()
        )
    rows = [_row(arm, seed, "", i, step) for step in history for i, (arm, seed) in enumerate(slots)]
    return trained, {"metrics": rows}


def _row(arm: str, seed: int, problem: str, slot: int, step: dict, probe: int | str = "") -> dict:
    """One student's step in metrics.csv; `problem` and `probe` (right probes after it) are TTRL's."""
    numbers = {name: step[name][slot] for name in MEASURED}
    return {"arm": arm, "seed": seed, "problem": problem, "step": step["step"], **numbers, "probe": probe}


def tune(work: Work, students: Adapters | None, part: list[tuple[str, int, int]]) -> Records:
    """TTRL of some test problems; their students are thrown away."""
    config = work.config
    tests = [work.test[index] for _, _, index in part]
    trees = {seed: work.trees("ttrl", seed) for seed in {seed for _, seed, _ in part}}
    mine = [[v for v in trees[seed] if v.root == test.id] for (_, seed, _), test in zip(part, tests, strict=True)]
    start = stack([_start(work, students, arm, seed) for arm, seed, _ in part])
    keys = [work.key(arm, seed, test.id) for (arm, seed, _), test in zip(part, tests, strict=True)]
    with tqdm(total=config.ttrl_steps, desc="TTRL", unit="step", leave=False, disable=not work.progress) as bar:
        lessons = [Lesson(variants.usable(own), key) for own, key in zip(mine, keys, strict=True)]
        tuned = ttrl.tune(work.base, start, lessons, tests, config, lambda *_: bar.update())
    scores = []
    for slot, (arm, seed, _) in enumerate(part):
        own, rollouts = tuned.probes[slot], _spent(work, arm, seed, mine[slot], slot in tuned.trained)
        scores.append(_a_score(arm, seed, tests[slot].id, config.samples, tuned.right[slot], rollouts))
        count, right = config.probes * len(own), sum(own)
        scores.append(_a_score(arm, seed, tests[slot].id, count, right, rollouts + count, ANY_STEP))
    rows = [
        _row(*part[slot][:2], tests[slot].id, place, step, tuned.probes[slot][step["step"] + 1])
        for step in tuned.history
        for place, slot in enumerate(tuned.trained)
    ]
    return {"metrics": rows, "scores": scores}


def _start(work: Work, students: Adapters | None, arm: str, seed: int) -> Adapters:
    return _fresh(work, seed) if arm == "base_ttrl" else students.select([work.students.index(("ladder", seed))])


def score(work: Work, students: Adapters | None, arm: str) -> Records:
    """The samples of an arm's students on the test problems."""
    config, scores = work.config, []
    count = config.draws(arm, len(work.train), len(work.test))
    for seed in range(config.seeds):
        shares = _shares(work, students, arm, seed, work.test, count, "score")
        rollouts = _spent(work, arm, seed)
        scores += [
            _a_score(arm, seed, problem.id, count, round(share * count), rollouts)
            for problem, share in zip(work.test, shares, strict=True)
        ]
    return {"scores": scores}


def levels(work: Work, students: Adapters | None) -> Records:
    """How well the trees' variants are solved before and after, for the accuracy at each level."""
    count, scores = work.config.variant_samples, []
    for seed in range(work.config.seeds):
        asked = variants.usable(work.trees("ladder", seed))
        for arm in ("base", "ladder"):
            shares = _shares(work, students, arm, seed, asked, count, "levels")
            scores += [
                _a_score(arm, seed, problem.id, count, round(share * count), 0, VARIANTS)
                for problem, share in zip(asked, shares, strict=True)
            ]
    return {"scores": scores}


def _shares(work: Work, students, arm: str, seed: int, asked: list[Problem], count: int, purpose: str) -> list[float]:
    """Share of right samples of one student on each problem."""
    policy = None if arm == "base" else students.select([work.students.index((arm, seed))])
    draw, keys = work.config.student.draw(work.config.rows), [work.key(purpose, arm, seed)]
    return student.accuracy(work.base, policy, asked, draw, count, keys, work.check)[0].tolist()


def _a_score(arm: str, seed: int, problem: str, n: int, c: int, rollouts: int, set: str = HARD_TEST) -> dict:
    """A line of scores.jsonl; each seed is a run with one student."""
    return asdict(Score(arm, f"seed{seed}", 0, problem, n, c, rollouts, set))


def _spent(work: Work, arm: str, seed: int, own: Sequence[variants.Variant] = (), tuned: bool = False) -> int:
    """Completions that made a student: variants written for it and rollouts, of TTRL also those of its start."""
    config = work.config
    training = config.student.steps * config.student.batch * config.student.group
    spent = 0 if arm in ("base", "base_ttrl") else training
    source = {"one_level": "one_level", "ladder": "ladder", "ladder_ttrl": "ladder"}.get(arm)
    if source:
        spent += variants.drawn(work.trees(source, seed), config)
    if arm in TTRL_ARMS:
        spent += variants.drawn(own, config) + tuned * config.ttrl_steps * config.ttrl_batch * config.student.group
    return spent
