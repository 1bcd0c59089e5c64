"""The teacher: writes problems under one constant prompt and learns from the rewards of its data sets.

SOAR sections 3.2 and B.2. Completions that do not parse (tags, box, answer) are dropped and drawn again without
penalty: leave-one-out advantages sum to zero, so the acceptance rate drops out of the gradient (Proposition 1).
The paper gives no cap on the drawing; we stop after `max_attempts` completions per problem wanted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from soar_lib.config import TeacherSettings
from soar_lib.policy.base import Base, encode
from soar_lib.policy.lora import Adapters
from soar_lib.policy.sampling import Samples, concatenate, decode, sample
from soar_lib.policy.update import advantages, update
from soar_lib.problems.prompts import tagged, teacher_messages
from soar_lib.problems.verify import extract_boxed, parses
from soar_lib.randomness import uniforms
from soar_lib.records import SyntheticProblem
from soar_lib.runs import RunError


class TeacherError(RunError):
    """The teacher hardly ever writes a problem that parses; the message gives the rate and what to do."""


@dataclass
class Proposal:
    """What the teacher wrote: accepted problems in the order drawn, their tokens (one row each), how many completions
    that took, and why the others were dropped (reason -> count)."""

    problems: list[SyntheticProblem]
    samples: Samples
    attempts: int
    rejected: Counter = field(default_factory=Counter)


def read(text: str) -> tuple[str, str] | str:
    r"""(question, answer) of a completion, or the reason why it is dropped (SOAR B.2, the format filter).

    >>> read(r"<question>1 + 1 = ?</question><answer>\boxed{2}</answer>")
    ('1 + 1 = ?', '2')
    >>> read("<question>1 + 1 = ?<question><answer>2</answer>"), read("<question>1?</question><answer>2</answer>")
    ('question tags', 'box')
    """
    question, answer = tagged(text, "question"), tagged(text, "answer")
    if question is None:
        return "question tags"
    if answer is None:
        return "answer tags"
    box = extract_boxed(answer)
    if box is None:
        return "box"
    return (question, box) if parses(box) else "answer does not parse"


def propose(
    base: Base, adapters: Adapters, count: int, settings: TeacherSettings, key: tuple[int | str, ...]
) -> Proposal:
    """Draw from the teacher (slot 0 of `adapters`) until `count` problems parse, in the order drawn.

    Completion i depends on (key, i) alone, so how many are drawn at a time does not matter. Raises `TeacherError` when
    `max_attempts` completions per problem were not enough.
    """
    prompt = encode(base, teacher_messages())
    problems: list[SyntheticProblem] = []
    parts: list[Samples] = []
    rejected: Counter = Counter()
    attempts, limit = 0, settings.max_attempts * count
    while len(problems) < count:
        if attempts >= limit:
            raise TeacherError(_too_few(len(problems), attempts, rejected))
        indices = range(attempts, min(attempts + settings.draw, limit))
        samples = _draw(base, adapters, prompt, settings, key, indices)
        kept = []
        for row, text in enumerate(decode(base, samples)):
            attempts += 1
            found = read(text)
            if isinstance(found, str):
                rejected[found] += 1
                continue
            kept.append(row)
            name = "-".join(map(str, (*key, indices[row])))
            problems.append(SyntheticProblem(name, *found, text))
            if len(problems) == count:
                break
        if kept:
            parts.append(samples.select(kept))
    return Proposal(problems, concatenate(parts), attempts, rejected)


def _draw(base: Base, adapters: Adapters, prompt: list[int], settings: TeacherSettings, key, indices: range) -> Samples:
    numbers = torch.stack([uniforms((settings.max_new_tokens,), *key, index) for index in indices])
    return sample(base, adapters, [prompt], [0], len(indices), numbers, settings.max_new_tokens, settings.temperature)


def _too_few(found: int, attempts: int, rejected: Counter) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
    return (
        f"teacher: only {found} of {attempts} completions parse ({found / attempts:.1%}; missing or bad: {reasons}); "
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
    base: Base,
    adapters: Adapters,
    optimiser: torch.optim.Optimizer,
    samples: Samples,
    rewards: Sequence[float],
    settings: TeacherSettings,
    step: int,
    steps: int,
) -> dict[str, float]:
    """One RLOO step on the rewards R_k of the data sets, in place; `samples` are the accepted completions in order.

    Every completion of X_k carries A_k = R_k minus the mean of the other rewards. The KL term, where on, is against
    the untrained teacher, which is the base. Returns grad_norm, kl and learning_rate.
    """
    advantage = advantages(torch.tensor(rewards)).repeat_interleave(len(samples) // len(rewards))
    measured = update(
        base, adapters, optimiser, samples, advantage, settings.optimiser, step, steps,
        reference=None, temperature=settings.temperature,
    )  # fmt: skip
    return {name: value[0].item() for name, value in measured.items()}
