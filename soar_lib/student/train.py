"""The inner loop (SOAR section 3.3): S students, each by RLOO on its own problems, sampled and trained as one.

LADDER's RL is the same loop with group-standardised advantages (`StudentSettings.advantage`), and problems whose answer
is what its check compares with. TRL's trainers (trl.py) or a cluster (`cluster.actors`) can take its place. The order
of a student's problems (a fresh permutation per epoch) and its uniform numbers come from its own key, so it is the same
alone and among others. The KL reference, which the paper leaves open, is the adapter that the student starts from, so
that after a promotion students stay close to the promoted baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, stack
from soar_lib.engine.sampling import complete, cut_off, decode
from soar_lib.engine.update import advantages, make_learner, update
from soar_lib.problems.checks import ANSWER, Check
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import Key, generator
from soar_lib.records import Draw, Problem
from soar_lib.settings.student import CONTAINED, StudentSettings, check_trainer

StudentReward = Callable[[list[str], list[str]], list[float]]  # of answers and responses, one number per response
Watch = Callable[[int, dict, Adapters | None], None]  # told step, metrics and the students, None where out of sight


@dataclass(frozen=True)
class Lesson:
    """What one student learns from: its problems, and the key from which all its random numbers come."""

    problems: Sequence[Problem]
    key: Key


def problem_order(size: int, count: int, key: Key) -> list[int]:
    """The first `count` of an endless sequence of permutations of range(size): problem indices, epoch by epoch."""
    if size < 1:
        raise ValueError(f"student {key}: its problem set is empty")
    draw = generator(*key, "order")
    epochs = [torch.randperm(size, generator=draw) for _ in range(-(-count // size))]
    return torch.cat(epochs)[:count].tolist()


def in_order(lesson: Lesson, settings: StudentSettings) -> list[Problem]:
    """All problems that a student is asked, `settings.batch` per step."""
    order = problem_order(len(lesson.problems), settings.steps * settings.batch, lesson.key)
    return [lesson.problems[i] for i in order]


def train(
    base: Base, adapters: Adapters, lessons: Sequence[Lesson], settings: StudentSettings, reward: StudentReward,
    rows: int = 1024, watch: Watch | None = None,
) -> tuple[Adapters, list[dict]]:  # fmt: skip
    """Train slot s of `adapters` on lessons[s], at most `rows` completions in memory at a time; the given adapters stay
    as they are. `reward(answers, responses)` scores all rollouts of a step at once, problem by problem; `watch(step,
    metrics, students)` is called after each step.

    Returns the trained adapters and one dict per step with lists over students: reward, top_reward (share of rollouts
    at the highest reward that any student saw in that step), length (tokens), cut (share of rollouts cut off at
    max_new_tokens), sprayed (share of rollouts paid `CONTAINED`), signal (share of groups with unequal rewards),
    grad_norm, kl; and with numbers: learning_rate, top (that highest reward). With `settings.trainer` "trl" students
    learn one after another: then `rows` has no effect, and `watch` is given None for students. Raises ValueError where
    the numbers of slots and lessons differ, ConfigError where TRL cannot be used here."""
    if len(lessons) != adapters.size:
        raise ValueError(f"{adapters.size} students, {len(lessons)} lessons: must be equal")
    if settings.trainer == "trl":
        return _train_by_trl(base, adapters, lessons, settings, reward, watch)
    trained = adapters.select(range(adapters.size))
    learner = make_learner(trained, settings.optimiser, settings.steps, adapters)
    asked = [in_order(lesson, settings) for lesson in lessons]
    history, slots = [], [slot for slot in range(adapters.size) for _ in range(settings.batch)]
    for step in range(settings.steps):
        window = slice(step * settings.batch, (step + 1) * settings.batch)
        batch = [problem for problems in asked for problem in problems[window]]
        keys = [(*lesson.key, "sample", step) for lesson in lessons]
        samples = complete(base, trained, _asked(batch), slots, settings.group, keys, settings.draw(rows))
        golds = [problem.answer for problem in batch for _ in range(settings.group)]
        values = torch.tensor(reward(golds, decode(base, samples)), dtype=torch.float32)
        rewards = values.view(len(lessons), -1, settings.group)
        advantage = advantages(rewards, settings.advantage).flatten()
        measured = update(base, learner, samples, advantage, step, settings.temperature)
        drawn = dict(length=samples.mask.sum(1), cut=cut_off(base, samples))
        history.append(metrics(step, rewards, drawn, measured))
        if watch is not None:
            watch(step, history[-1], trained)
    return trained, history


def _asked(problems: Sequence[Problem]) -> list[list[dict]]:
    return [student_messages(problem.question) for problem in problems]


def metrics(
    step: int, rewards: torch.Tensor, drawn: dict[str, torch.Tensor], measured: dict[str, torch.Tensor]
) -> dict:
    """The row of `train`'s history, from rewards [S, batch, group], each completion's length and whether it was cut off
    (`drawn`, [S x batch x group] each) and what `update` measured [S]."""
    means = {name: values.float().view(len(rewards), -1).mean(1).tolist() for name, values in drawn.items()}
    unequal = (rewards != rewards[..., :1]).any(-1)
    return dict(
        step=step, learning_rate=measured["learning_rate"][0].item(), top=rewards.max().item(),
        reward=rewards.mean((1, 2)).tolist(), top_reward=(rewards == rewards.max()).float().mean((1, 2)).tolist(),
        **means, sprayed=(rewards == CONTAINED).float().mean((1, 2)).tolist(),
        signal=unequal.float().mean(1).tolist(), grad_norm=measured["grad_norm"].tolist(), kl=measured["kl"].tolist(),
    )  # fmt: skip


def step_rows(history: Sequence[dict], owners: Sequence[dict], names: Sequence[str]) -> list[dict]:
    """Rows of metrics.csv: a step's and student's, with what `owners` says of its slot, step and measures (`names`)."""
    return [
        owner | {"step": line["step"]} | {n: line[n][slot] if isinstance(line[n], list) else line[n] for n in names}
        for line in history
        for slot, owner in enumerate(owners)
    ]


def merge(rows: Sequence[dict]) -> dict:
    """One step's row of `train`'s history from those of the students' parts.

    >>> low = {"step": 0, "learning_rate": 0.1, "top": 20.0, "top_reward": [0.5], "reward": [15.0]}
    >>> merge([low, low | {"top": 120.0, "top_reward": [0.25], "reward": [40.0]}])
    {'step': 0, 'learning_rate': 0.1, 'top': 120.0, 'top_reward': [0.0, 0.25], 'reward': [15.0, 40.0]}
    """
    top = max(row["top"] for row in rows)
    found = rows[0] | {"top": top}
    for name in rows[0].keys() - {"step", "learning_rate", "top"}:
        found[name] = [value for row in rows for value in row[name]]
    found["top_reward"] = [share if row["top"] == top else 0.0 for row in rows for share in row["top_reward"]]
    return found


def _train_by_trl(
    base: Base, adapters: Adapters, lessons: Sequence[Lesson], settings: StudentSettings, reward: StudentReward,
    watch: Watch | None,
) -> tuple[Adapters, list[dict]]:  # fmt: skip
    check_trainer(settings)
    from soar_lib.student import trl  # transformers' trainers are slow to import

    trained, told = [], [[] for _ in lessons]

    def tell(history: list[dict], *measured) -> None:
        history.append(metrics(len(history), *measured))
        if watch is not None:
            watch(len(history) - 1, history[-1], None)

    for slot, (lesson, history) in enumerate(zip(lessons, told, strict=True)):
        start, asked = adapters.select([slot]), in_order(lesson, settings)
        trained.append(trl.learn(base, start, asked, lesson.key, settings, reward, partial(tell, history)))
    return stack(trained), [merge(rows) for rows in zip(*told, strict=True)]


def accuracy(
    base: Base, adapters: Adapters | None, problems: Sequence[Problem], draw: Draw, samples: int = 0,
    keys: Sequence[Key] | None = None, check: Check = ANSWER,
) -> torch.Tensor:  # fmt: skip
    """Share of right answers [S, len(problems)] of each slot on each problem, with the student's prompt. `samples` 0
    decodes greedily, so that shares are 0 or 1; otherwise that many samples are drawn per problem, row i with the key
    keys[i]. One slot, or the base (`adapters` None), gives as many rows as there are keys."""
    texts = responses(base, adapters, problems, draw, samples, keys)
    per_row = max(1, samples) * len(problems)
    return shares(check, [*problems] * (len(texts) // per_row), texts).view(-1, len(problems))


def responses(
    base: Base, adapters: Adapters | None, problems: Sequence[Problem], draw: Draw, samples: int = 0,
    keys: Sequence[Key] | None = None,
) -> list[str]:  # fmt: skip
    """What each slot answers to each problem with the student's prompt, slot by slot, those to a problem following each
    other. `samples` 0 decodes greedily; otherwise that many samples are drawn per problem, row i with the key keys[i].
    One slot, or the base (`adapters` None), gives as many rows as there are keys. Raises ValueError without keys."""
    size = 1 if adapters is None else adapters.size
    count = len(keys) if keys is not None and size == 1 else size
    if samples and (keys is None or len(keys) != count):
        raise ValueError(f"sampled accuracy of {count} slots needs as many keys")
    named = [(*key, "accuracy") for key in keys] if samples else None
    asked, slots = [*problems] * count, [slot % size for slot in range(count) for _ in problems]
    return decode(base, complete(base, adapters, _asked(asked), slots, max(1, samples), named, draw))


def own_accuracy(
    base: Base, adapters: Adapters, problems: Sequence[Problem], draw: Draw, samples: int, keys: Sequence[Key],
    check: Check = ANSWER,
) -> torch.Tensor:  # fmt: skip
    """Share of right answers [S] of slot s on problems[s] alone, in `samples` samples from the random key keys[s]."""
    named = [(*key, "accuracy") for key in keys]
    drawn = complete(base, adapters, _asked(problems), list(range(adapters.size)), samples, named, draw)
    return shares(check, problems, decode(base, drawn))


def shares(check: Check, problems: Sequence[Problem], responses: Sequence[str]) -> torch.Tensor:
    """Share of right responses [N] to each problem, whose responses follow each other."""
    golds = [check.reference(problem) for problem in problems for _ in range(len(responses) // len(problems))]
    verdicts = check.verdicts(list(zip(golds, responses, strict=True)))
    right = torch.tensor([verdict == "right" for verdict in verdicts], dtype=torch.float32)
    return right.view(len(problems), -1).mean(-1)


@dataclass(frozen=True)
class InnerLoop:
    """Who trains and measures the students: two functions that are called as `train` and `accuracy` here."""

    train: Callable[..., tuple[Adapters, list[dict]]] = train
    accuracy: Callable[..., torch.Tensor] = accuracy


HERE = InnerLoop()
