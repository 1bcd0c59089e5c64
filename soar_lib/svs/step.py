"""One step of SvS, self-play with variational problem synthesis (Liang et al., arXiv 2508.14029, Algorithm 1).

The policy solves a batch of problems. Each correct solution of an under-performing problem (1 to 4 of 8 right) becomes
a seed: from the solution alone the policy writes variants of the problem, and solves these in turn against the original
answer (`synthesis`). Writing is paid where some but not most solvers agree (1 to 5 of 8). All groups with unequal
rewards make one GRPO update, token-mean and without KL, and are thrown away.

Every completion has its own mask (the released trainer gives variants their seed's). One optimiser step per step
whatever the number of rows, so the clip is idle (the released code takes several where there are more than 2,048 rows);
a step without any signal still counts. Slots of the adapters are seeds of one arm; a slot's numbers come from its own
key, so it is the same alone and among others. In controls `config.further` says what more is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples, concatenate
from soar_lib.engine.update import Learner, advantages, update
from soar_lib.randomness import Key, generator
from soar_lib.records import Problem
from soar_lib.svs import synthesis
from soar_lib.svs.settings import SvsConfig
from soar_lib.svs.synthesis import Rephrase, Seed, Solved, Task, VariationalProblem

Batches = Mapping[int, Sequence[Problem]]  # slot by slot, a run's seed and the problems that it solves
KINDS = ORIGINAL, SYNTHESIS, FURTHER = "original", "synthesis", "further"  # OQA, VPS and SPA in the released code


@dataclass(frozen=True)
class Group:
    """Completions of one prompt: as many rows as `rewards`, from row `start` of the step's samples on."""

    kind: str
    slot: int
    start: int
    rewards: tuple[float, ...]

    @property
    def rows(self) -> range:
        """The group's rows in the step's samples."""
        return range(self.start, self.start + len(self.rewards))


@dataclass(frozen=True)
class Rollouts:
    """All that a step drew: solutions of the originals, the seeds among them, the seeds that variants were written from
    with the variants and their completions, and the further solutions."""

    solved: Solved
    found: list[Seed]
    writers: list[Seed]
    synthesis: Samples | None
    written: list[VariationalProblem]
    again: Solved

    def samples(self) -> Samples:
        """All completions: of originals, of variants as they were written, and further solutions."""
        parts = (self.solved.samples, self.synthesis, self.again.samples)
        return concatenate([part for part in parts if part is not None])

    def groups(self) -> list[Group]:
        """The completions grouped by prompt, with their rewards; rows are numbered as in `samples`."""
        size = len(self.written) // max(1, len(self.writers))
        pay = [[v.reward for v in self.written[i * size : (i + 1) * size]] for i in range(len(self.writers))]
        parts = [(ORIGINAL, self.solved.tasks, self.solved.right)]
        parts += [(SYNTHESIS, [seed.task for seed in self.writers], pay), (FURTHER, self.again.tasks, self.again.right)]
        found, start = [], 0
        for kind, tasks, rewards in parts:
            for task, own in zip(tasks, rewards, strict=True):
                found.append(Group(kind, task.slot, start, tuple(map(float, own))))
                start += len(own)
        return found


def truncate(groups: list[Group], rows: int, key: Key) -> list[Group]:
    """Whole groups with at most `rows` rows in all (0: no limit), chosen at random, in the order given.

    >>> pairs = [Group(ORIGINAL, 0, 2 * i, (0.0, 1.0)) for i in range(3)]
    >>> len(truncate(pairs, 5, (0,))), len(truncate(pairs, 0, (0,)))
    (2, 3)
    """
    if not rows:
        return groups
    kept, used = set(), 0
    for place in torch.randperm(len(groups), generator=generator(*key)).tolist():
        if used + len(groups[place].rewards) <= rows:
            kept.add(place)
            used += len(groups[place].rewards)
    return [group for place, group in enumerate(groups) if place in kept]


def play(
    base: Base, learner: Learner, batches: Batches, config: SvsConfig, step: int, rephrase: Rephrase | None = None
) -> tuple[list[dict], list[VariationalProblem]]:
    """One step for every slot, in place (SvS Algorithm 1, lines 4 to 28). Returns a row of measures per slot and the
    variants. `entropy`, minus the mean log-probability of tokens in solutions of originals, in nats, is unbiased."""
    drawn = rollouts(base, learner.adapters, batches, config, step, rephrase)
    groups = drawn.groups()
    learned = [group for slot, seed in enumerate(batches) for group in _learned(groups, slot, config, (seed, step))]
    measured = learn(base, learner, drawn.samples(), learned, config, step)
    rows = []
    for slot, seed in enumerate(batches):
        row = {"seed": seed, "step": step} | _measures(slot, seed, drawn, groups, learned)
        rows.append(row | {name: value[slot].item() for name, value in measured.items() if name != "kl"})
    return rows, drawn.written


def rollouts(
    base: Base, adapters: Adapters, batches: Batches, config: SvsConfig, step: int, rephrase: Rephrase | None = None
) -> Rollouts:
    """All that one step draws: the originals, and beyond them what `config.further` says."""
    tasks = [
        Task(slot, problem, (seed, step, place))
        for slot, (seed, problems) in enumerate(batches.items())
        for place, problem in enumerate(problems)
    ]
    solved = synthesis.solve(base, adapters, tasks, config)
    found = synthesis.seeds(solved, config)
    if config.further != "variants":
        again = synthesis.solve(base, adapters, synthesis.other_tasks(found, config, rephrase), config)
        return Rollouts(solved, found, [], None, [], again)
    writers, samples, written = synthesis.synthesise(base, adapters, found, config, step)
    again = synthesis.solve(base, adapters, synthesis.variant_tasks(writers, written), config)
    return Rollouts(solved, found, writers, samples, synthesis.paid(written, again, config), again)


def _learned(groups: list[Group], slot: int, config: SvsConfig, key: Key) -> list[Group]:
    """A slot's groups that its update is made of: those whose rewards differ, as other advantages are all zero."""
    own = [group for group in groups if group.slot == slot and len(set(group.rewards)) > 1]
    own = [group for group in own if config.train_synthesis or group.kind != SYNTHESIS]
    return truncate(own, config.guards.rows, (*key, "truncate"))


def learn(
    base: Base, learner: Learner, samples: Samples, groups: list[Group], config: SvsConfig, step: int
) -> dict[str, torch.Tensor]:
    """One GRPO update of every slot on the mixture of its groups: token-mean, clipped; see `engine.update`."""
    rows = torch.tensor([row for group in groups for row in group.rows], dtype=torch.long)
    advantage = torch.cat([torch.zeros(0), *(advantages(torch.tensor(g.rewards), "grpo") for g in groups)])
    return update(base, learner, samples.select(rows), advantage, step, config.temperature, "token")


def _measures(slot: int, seed: int, drawn: Rollouts, groups: list[Group], learned: list[Group]) -> dict:
    """A row of metrics.csv; counts of completions, and `hard`, `seeds`, `variants` and what follows of problems."""
    solved, again = drawn.solved, drawn.again
    mine = [fmean(right) for task, right in zip(solved.tasks, solved.right, strict=True) if task.slot == slot]
    further = [fmean(right) for task, right in zip(again.tasks, again.right, strict=True) if task.slot == slot]
    rows = (solved.samples.slots == slot).nonzero()[:, 0]
    tokens = solved.samples.mask[rows].sum()
    found = [each.task.key for each in drawn.found if each.task.slot == slot]
    own = [variant for variant in drawn.written if variant.seed == seed]
    kept = [group for group in learned if group.slot == slot]
    return {
        "problems": len(mine), "rollouts": sum(len(group.rows) for group in groups if group.slot == slot),
        "accuracy": fmean(mine), "entropy": (-solved.samples.logprobs[rows].sum() / tokens).item(),
        "length": (tokens / len(rows)).item(), "hard": len(set(found)), "seeds": len(found), "variants": len(own),
        "unreadable": sum(variant.dropped == "unreadable" for variant in own),
        "leaks": sum(variant.leak != "" for variant in own),
        "duplicates": sum(variant.duplicate != "" for variant in own),
        "rewarded": sum(variant.reward > 0 for variant in own),
        "further": len(further), "further_accuracy": fmean(further) if further else None,
        **{f"learned_{kind}": sum(len(group.rows) for group in kept if group.kind == kind) for kind in KINDS},
    }  # fmt: skip
