"""The inner loop (SOAR section 3.3): S students, each by RLOO on its own problems, sampled and trained as one.

LADDER's RL is the same loop with group-standardised advantages (`StudentSettings.advantage`) and another `Check`.
`StudentSettings.trainer` "trl" hands the loop to TRL's trainers (`trl_student`).

A student's numbers come from its own key: the order of its problems (a fresh permutation per epoch) and its uniform
numbers for sampling. So a student is the same alone and among others, and one student of a run can be replayed.

The paper leaves open how the KL reference is chosen: it is the adapter the student starts from, so that after a
promotion students stay close to the promoted baseline. The optimiser's state is fresh in each inner run, as the student
is thrown away after it.
"""

from collections.abc import Callable, Sequence

import torch

from soar_lib.engine.base import Base, encode
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import Samples, decode, sample
from soar_lib.engine.update import advantages, make_optimizer, update
from soar_lib.problems.checks import ANSWER, Check
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import generator, uniforms
from soar_lib.records import Problem
from soar_lib.settings.student import StudentSettings

Key = tuple[int | str, ...]
Reward = Callable[[list[str], list[str]], list[float]]


def problem_order(size: int, count: int, key: Key) -> list[int]:
    """The first `count` of an endless sequence of permutations of range(size): problem indices, epoch by epoch."""
    if size < 1:
        raise ValueError(f"student {key}: its problem set is empty")
    draw = generator(*key, "order")
    epochs = [torch.randperm(size, generator=draw) for _ in range(-(-count // size))]
    return torch.cat(epochs)[:count].tolist()


def train(
    base: Base,
    adapters: Adapters,
    problem_sets: Sequence[Sequence[Problem]],
    settings: StudentSettings,
    keys: Sequence[Key],
    reward: Reward,
    progress: Callable[[int, dict], None] | None = None,
    max_rows: int = 1024,
    check: Check = ANSWER,
    watch: Callable[[int, Adapters], None] | None = None,
) -> tuple[Adapters, list[dict]]:
    """Train slot s of `adapters` on problem_sets[s] with the random key keys[s]; the given adapters stay as they are.

    `reward(golds, responses)` scores all rollouts of a step at once, problem by problem; the golds are `check`'s
    references. After each step `watch(step, students)` may look at the students, and then `progress(step, metrics)` is
    called. Returns the trained adapters and one dict per step with lists over students: reward, top_reward (share of
    rollouts at the highest reward that any student saw in that step), length (tokens), signal (share of groups with
    unequal rewards), grad_norm, kl; and with numbers: learning_rate, top (that highest reward).

    With `settings.trainer` "trl" nobody can watch, and `progress` is called for each student in turn.
    """
    if not len(problem_sets) == len(keys) == adapters.size:
        raise ValueError(f"{adapters.size} students, {len(problem_sets)} problem sets, {len(keys)} keys: must be equal")
    if settings.trainer == "trl":
        from soar_lib.student import trl as trl_student  # here, as it stands on this module

        if watch is not None:
            raise ValueError("student.trainer = 'trl': students cannot be watched, as they train one after another")
        return trl_student.train(base, adapters, problem_sets, settings, keys, reward, progress, check)
    trained = adapters.select(range(adapters.size))
    reference = adapters if settings.optimiser.kl else None
    optimizer = make_optimizer(trained, settings.optimiser)
    orders = [
        problem_order(len(problems), settings.steps * settings.batch, key)
        for problems, key in zip(problem_sets, keys, strict=True)
    ]
    history = []
    for step in range(settings.steps):
        window = slice(step * settings.batch, (step + 1) * settings.batch)
        batch = [[problems[i] for i in order[window]] for problems, order in zip(problem_sets, orders, strict=True)]
        samples = _rollouts(base, trained, batch, settings, keys, step, max_rows)
        rewards = _rewards(base, samples, batch, settings.group, reward, check)
        advantage = advantages(rewards, settings.advantage).flatten()
        measured = update(
            base, trained, optimizer, samples, advantage, settings.optimiser, step, settings.steps, reference,
            settings.temperature,
        )  # fmt: skip
        lengths = samples.mask.sum(1).float().view(len(rewards), -1)
        history.append(metrics(step, rewards, lengths, measured))
        if watch is not None:
            watch(step, trained)
        if progress is not None:
            progress(step, history[-1])
    return trained, history


def _rollouts(base, adapters, batch, settings: StudentSettings, keys, step: int, max_rows: int) -> Samples:
    """Completions of every student's problems, students in order, `group` rows per problem."""
    prompts = [encode(base, student_messages(problem.question)) for problems in batch for problem in problems]
    slots = [slot for slot, problems in enumerate(batch) for _ in problems]
    shape = (settings.batch * settings.group, settings.max_new_tokens)
    numbers = torch.cat([uniforms(shape, *key, "sample", step) for key in keys])
    return sample(
        base, adapters, prompts, slots, settings.group, numbers, settings.max_new_tokens, settings.temperature, max_rows
    )


def _rewards(base: Base, samples: Samples, batch, group: int, reward: Reward, check: Check) -> torch.Tensor:
    """Rewards [S, batch, group]."""
    golds = [check.reference(problem) for problems in batch for problem in problems for _ in range(group)]
    values = reward(golds, decode(base, samples))
    return torch.tensor(values, dtype=torch.float32).view(len(batch), -1, group)


def metrics(step: int, rewards: torch.Tensor, lengths: torch.Tensor, measured: dict[str, torch.Tensor]) -> dict:
    """The row of `train`'s history, from rewards [S, batch, group], completion lengths [S, batch x group] and what
    `update` measured [S]."""
    unequal = (rewards != rewards[..., :1]).any(-1)
    return dict(
        step=step,
        learning_rate=measured["learning_rate"][0].item(),
        top=rewards.max().item(),
        reward=rewards.mean((1, 2)).tolist(),
        top_reward=(rewards == rewards.max()).float().mean((1, 2)).tolist(),
        length=lengths.mean(1).tolist(),
        signal=unequal.float().mean(1).tolist(),
        grad_norm=measured["grad_norm"].tolist(),
        kl=measured["kl"].tolist(),
    )


def accuracy(
    base: Base,
    adapters: Adapters | None,
    problems: Sequence[Problem],
    slots: Sequence[int],
    max_new_tokens: int,
    samples: int = 0,
    keys: Sequence[Key] | None = None,
    temperature: float = 1.0,
    max_rows: int = 1024,
    check: Check = ANSWER,
) -> torch.Tensor:
    """Share of right answers [len(slots), len(problems)] of each slot on each problem, with the student's prompt.

    `samples` 0 decodes greedily (values 0 or 1); otherwise so many samples per problem, slot i from the random key
    keys[i]. `adapters` None measures the base (slots then only number the rows).
    """
    if samples and (keys is None or len(keys) != len(slots)):
        raise ValueError(f"sampled accuracy of {len(slots)} slots needs as many keys")
    group, numbers = max(1, samples), None
    if samples:
        shape = (len(problems) * group, max_new_tokens)
        numbers = torch.cat([uniforms(shape, *key, "accuracy") for key in keys])
    asked, owners = [*problems] * len(slots), [slot for slot in slots for _ in problems]
    shares = _shares(base, adapters, asked, owners, group, numbers, max_new_tokens, temperature, max_rows, check)
    return shares.view(len(slots), len(problems))


def own_accuracy(
    base: Base,
    adapters: Adapters,
    problems: Sequence[Problem],
    max_new_tokens: int,
    samples: int,
    keys: Sequence[Key],
    temperature: float = 1.0,
    max_rows: int = 1024,
    check: Check = ANSWER,
) -> torch.Tensor:
    """Share of right answers [S] of slot s on problems[s] alone, in `samples` samples from the random key keys[s]."""
    numbers = torch.cat([uniforms((samples, max_new_tokens), *key, "accuracy") for key in keys])
    slots = range(adapters.size)
    return _shares(base, adapters, problems, slots, samples, numbers, max_new_tokens, temperature, max_rows, check)


def _shares(
    base: Base, adapters: Adapters | None, problems: Sequence[Problem], slots: Sequence[int], group: int,
    numbers: torch.Tensor | None, max_new_tokens: int, temperature: float, max_rows: int, check: Check,
) -> torch.Tensor:  # fmt: skip
    """Share of right answers [N] of slots[i] in `group` samples on problems[i]."""
    encoded = {question: encode(base, student_messages(question)) for question in {p.question for p in problems}}
    prompts = [encoded[problem.question] for problem in problems]
    drawn = sample(base, adapters, prompts, list(slots), group, numbers, max_new_tokens, temperature, max_rows)
    golds = [check.reference(problem) for problem in problems for _ in range(group)]
    verdicts = check.verdicts(list(zip(golds, decode(base, drawn), strict=True)))
    right = torch.tensor([verdict == "right" for verdict in verdicts], dtype=torch.float32)
    return right.view(len(problems), group).mean(-1)
