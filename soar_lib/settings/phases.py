"""The phases a command passes through, and the one that needs most memory.

What each phase holds is counted in memory.py; here is which students, completions and prompts it has. Nothing is kept
from one phase to the next but weights, adapters and optimisers.
"""

from collections.abc import Iterator
from dataclasses import replace

from soar_lib.ladder.settings import TTRL_ARMS, LadderConfig
from soar_lib.settings.cost import further
from soar_lib.settings.memory import Form, Memory, Shape, adapter_bytes, learning, sampling, weight_bytes
from soar_lib.settings.presets import Config
from soar_lib.settings.student import FilterConfig, StudentSettings
from soar_lib.soar.settings import TRAINED_ARMS, EvaluateConfig, SoarConfig
from soar_lib.svs.settings import MEASURED_TOGETHER, SvsConfig

PROMOTIONS = 4  # baselines kept beside the first; SOAR section 4.3: the most that were seen
Phase = tuple[str, int, dict[str, int]]  # name, bytes of adapters and optimisers, other buffers


def predict(config: Config, shape: Shape, form: Form, problems: int = 0, runs: int = 1) -> Memory:
    """The largest phase of a command; an evaluation stands on `runs` SOAR runs and measures `problems`, LADDER is
    tested on so many."""
    if isinstance(config, FilterConfig):
        phases = iter([("sampling", 0, sampling(shape, form, config.rows, 1, config.max_new_tokens, config.rows))])
    elif isinstance(config, SoarConfig):
        phases = _soar(config, shape, form)
    elif isinstance(config, EvaluateConfig):
        phases = _evaluate(config, shape, form, problems, runs)
    elif isinstance(config, LadderConfig):
        phases = _ladder(config, shape, form, max(1, config.tested or problems))
    else:
        phases = _svs(config, shape, form)
    weights = weight_bytes(shape, form)
    found = [Memory(name, weights, adapters, **buffers) for name, adapters, buffers in phases]
    return max(found, key=lambda memory: memory.total)


def _soar(config: SoarConfig, shape: Shape, form: Form) -> Iterator[Phase]:
    student, teacher = config.student, config.teacher
    one, mine = adapter_bytes(shape, student.rank), adapter_bytes(shape, teacher.rank)
    kept = 4 * mine + one * (1 + (PROMOTIONS if config.promotion else 0))  # gradients and moments of the teacher's too
    written, count = config.datasets * config.dataset_size, config.datasets * config.repeats
    if config.reward == "intrinsic":
        count, rows = 0, written * config.intrinsic_samples
        drawn = sampling(
            shape, form, rows, config.intrinsic_samples, student.max_new_tokens, config.rows, student.rank, 1
        )
        yield "reward", kept, drawn
    else:
        yield from _population(shape, form, student, count, kept, config.rows)
        group = max(1, config.reward_samples)
        rows = (count + 1) * config.reward_set * group
        drawn = sampling(shape, form, rows, group, student.max_new_tokens, config.rows, student.rank, count + 1)
        yield "reward", kept + (3 * count + 1) * one, drawn  # trained ones with gradients, and all stacked
        yield "stacking", kept + (4 * count + 2) * one, {}
    yield "teacher's samples", kept, sampling(
        shape, form, teacher.draw, 1, teacher.max_new_tokens, 1024, teacher.rank, 1, distinct=1
    )  # fmt: skip
    yield "teacher's step", kept + 2 * count * one, learning(
        shape, form, 1, written, written, teacher.max_new_tokens, teacher.rank, teacher.optimiser
    )  # fmt: skip


def _evaluate(config: EvaluateConfig, shape: Shape, form: Form, problems: int, runs: int) -> Iterator[Phase]:
    student, arms = config.student, set(config.arms) & set(TRAINED_ARMS)
    one = adapter_bytes(shape, student.rank)
    everyone = runs * config.students * len(arms)
    together = min(everyone, config.together or everyone)
    kept = (everyone + 2 * runs) * one  # teacher and promoted student of each run, taken to be of the same rank
    if everyone:
        wide = replace(student, group=4 * student.group) if "hard_only_x4" in arms else student
        yield from _population(shape, form, wide, together, kept, config.rows)
        yield "placing", kept + 2 * (everyone + together) * one, {}
    rows = config.students * max(1, problems) * config.samples
    yield "scores", kept, sampling(
        shape, form, rows, config.samples, student.max_new_tokens, config.rows, student.rank,
        max(1, everyone),
    )  # fmt: skip


def _ladder(config: LadderConfig, shape: Shape, form: Form, tested: int) -> Iterator[Phase]:
    """Trees, students, their copies at test time, and scores, for which one problem can have more samples than rows."""
    student, arms, variants = config.student, set(config.arms), config.variants
    one, tuned = adapter_bytes(shape, student.rank), len(arms & set(TTRL_ARMS)) * config.seeds * tested
    trained = config.seeds * len(arms - {"base", *TTRL_ARMS})
    asked = max(config.originals or tested, tested) * variants.prompts * (variants.parents if variants.depth > 1 else 1)
    yield "variants", 0, sampling(
        shape, form, asked, 1, variants.max_new_tokens, config.rows, distinct=min(config.rows, asked)
    )  # fmt: skip
    if config.check == "answer":
        rows = asked * variants.per_prompt * variants.votes
        yield "votes", 0, sampling(shape, form, rows, variants.votes, student.max_new_tokens, config.rows)
    if trained:
        yield from _population(shape, form, student, trained, 0, config.rows)
    if tuned:
        together = min(tuned, config.together or tuned)
        tuning = replace(student, steps=config.ttrl_steps, batch=config.ttrl_batch)
        for name, adapters, buffers in _population(
            shape, form, tuning, together, (trained + together) * one, config.rows
        ):
            yield f"TTRL: {name}", adapters, buffers
    most = max(config.draws(arm, config.originals or tested, tested) for arm in arms)
    rows = tested * most
    yield "scores", trained * one, sampling(
        shape, form, rows, most, student.max_new_tokens, config.rows, student.rank, max(1, trained)
    )  # fmt: skip


def _svs(config: SvsConfig, shape: Shape, form: Form) -> Iterator[Phase]:
    """One arm's seeds at a time; the completions of a step are those of `cost`, on average, and prompts hold a whole
    solution, as those for writing do."""
    one, rows = adapter_bytes(shape, config.rank), round(config.batch * (config.group + further(config)[0]))
    tokens, adapters = config.max_new_tokens, 4 * config.seeds * one
    wide = replace(form, prompt=form.prompt + tokens)
    yield "sampling", adapters, sampling(
        shape, wide, config.seeds * rows, config.group, tokens, config.rows, config.rank, config.seeds
    )  # fmt: skip
    yield "learning", adapters, learning(
        shape, wide, config.seeds, rows, config.group, tokens, config.rank, config.optimiser
    )  # fmt: skip
    for size, samples in ((config.test_size, config.samples), (config.hard_size, config.hard_samples)):
        drawn = min(max(1, size) * samples * config.seeds, max(MEASURED_TOGETHER, samples * config.seeds))
        yield "measuring", adapters, sampling(
            shape, form, drawn, samples, tokens, config.rows, config.rank, config.seeds
        )  # fmt: skip


def _population(
    shape: Shape, form: Form, settings: StudentSettings, count: int, kept: int, at_once: int
) -> Iterator[Phase]:
    """`count` students in training: reference, values, gradients and two moments."""
    one, each = adapter_bytes(shape, settings.rank), settings.batch * settings.group
    tokens, group = settings.max_new_tokens, settings.group
    adapters = kept + 5 * count * one
    yield "sampling", adapters, sampling(shape, form, count * each, group, tokens, at_once, settings.rank, count)
    yield "learning", adapters, learning(shape, form, count, each, group, tokens, settings.rank, settings.optimiser)
    yield "optimiser's step", adapters + (count * one if form.gpu else 0), {}  # on a GPU over all tensors at once
