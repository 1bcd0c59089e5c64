"""The teacher: writes problems under one constant prompt and learns from the rewards of its data sets.

SOAR sections 3.2 and B.2. Completions that do not parse (tags, box, answer) are dropped and drawn again without
penalty: leave-one-out advantages sum to zero, so the acceptance rate drops out of the gradient (Proposition 1).
The paper gives no cap on the drawing; we stop after `max_attempts` completions per problem wanted.
With two turns question and answer are completions of their own (turns.py).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from tqdm.auto import tqdm

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples, concatenate
from soar_lib.engine.update import Learner, advantages, update
from soar_lib.files import RunError
from soar_lib.randomness import Key
from soar_lib.records import SyntheticProblem
from soar_lib.soar.settings import TeacherSettings


class TeacherError(RunError):
    """The teacher hardly ever writes a problem that parses; the message gives the rate and what to do."""


@dataclass
class Proposal:
    """What the teacher wrote: accepted problems in the order drawn, their tokens (a row per problem and turn, turns
    together), how many completions that took (a second turn is no further one), why the others were dropped (reason ->
    count), and how many of all were cut off at `max_new_tokens`."""

    problems: list[SyntheticProblem]
    samples: Samples
    attempts: int
    rejected: Counter = field(default_factory=Counter)
    cut: int = 0


def propose(
    base: Base, adapters: Adapters, count: int, settings: TeacherSettings, key: Key, progress: bool = False
) -> Proposal:
    """Draw from the teacher (slot 0 of `adapters`) until `count` problems parse, in the order drawn.

    Completion i depends on (key, i) alone, so how many are drawn at a time does not matter. With `progress`, a bar
    shows from the first draw on how many parse and why the others do not. Raises `TeacherError` when `max_attempts`
    completions per problem were not enough.
    """
    from soar_lib.soar.turns import one_turn, two_turns  # here: what an import of a run need not wait for

    problems: list[SyntheticProblem] = []
    parts: list[Samples] = []
    rejected: Counter = Counter()
    attempts, cut, limit = 0, 0, settings.max_attempts * count
    write = one_turn if settings.turns == 1 else two_turns
    with tqdm(total=count, desc="teacher", unit="problem", leave=False, disable=not progress) as bar:
        while len(problems) < count:
            if attempts >= limit:
                raise TeacherError(_too_few(len(problems), attempts, rejected))
            indices = range(attempts, min(attempts + settings.draw, limit))
            samples, drafts = write(base, adapters, settings, key, indices)
            kept: list[int] = []
            for index, draft in zip(indices, drafts, strict=True):
                attempts, cut = attempts + 1, cut + draft.cut
                if isinstance(draft.found, str):
                    rejected[draft.found] += 1
                    continue
                kept += draft.rows
                problems.append(SyntheticProblem("-".join(map(str, (*key, index))), *draft.found, draft.text))
                if len(problems) == count:
                    break
            if kept:
                parts.append(samples.select(kept))
            bar.set_postfix_str(_rate(len(problems), attempts, rejected), refresh=False)
            bar.update(len(problems) - bar.n)
    return Proposal(problems, concatenate(parts), attempts, rejected, cut)


def _rate(found: int, attempts: int, rejected: Counter) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
    return f"{found} of {attempts} completions parse ({found / attempts:.1%}; missing or bad: {reasons or 'none'})"


def _too_few(found: int, attempts: int, rejected: Counter) -> str:
    return (
        f"teacher: only {_rate(found, attempts, rejected)}; "
        "lower teacher.optimiser.learning_rate or raise teacher.optimiser.kl if it wrote better before, "
        "else raise teacher.max_new_tokens or teacher.max_attempts"
    )


def datasets(problems: Sequence[SyntheticProblem], size: int, round: int) -> list[list[SyntheticProblem]]:
    """X_1..X_g: the problems cut in order, `size` each, numbered from 0 (Algorithm 1)."""
    return [
        [replace(problem, round=round, dataset=k) for problem in problems[k * size : (k + 1) * size]]
        for k in range(len(problems) // size)
    ]


def learn(
    base: Base, learner: Learner, samples: Samples, rewards: Sequence[float], step: int, temperature: float = 1.0,
    kind: str = "rloo",
) -> dict[str, float]:  # fmt: skip
    """One policy-gradient step on the rewards R_k of the data sets, in place; `samples` are the accepted problems' rows
    in order.

    Every completion of X_k carries A_k = R_k minus the mean of the other rewards, or what else `kind` makes of them
    (engine/update.py's `advantages`). The KL term, where on, is against the base, the untrained teacher. Returns
    grad_norm, kl and learning_rate.
    """
    advantage = advantages(torch.tensor(rewards), kind).repeat_interleave(len(samples) // len(rewards))
    measured = update(base, learner, samples, advantage, step, temperature)
    return {name: value[0].item() for name, value in measured.items()}
