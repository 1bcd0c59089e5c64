"""The text of the cards that go with give-aways (give_away.py): what a finished run knows about itself, as Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from soar_lib.measure.tables import markdown
from soar_lib.problems.filtering import Filtered
from soar_lib.problems.hub import SETS
from soar_lib.problems.prompts import student_messages, teacher_messages
from soar_lib.records import Problem
from soar_lib.settings.student import FilterConfig
from soar_lib.settings.values import to_values
from soar_lib.soar.run import Result
from soar_lib.soar.settings import SoarConfig

SOAR = "[SOAR](https://arxiv.org/abs/2601.18778)"
NANO = "`nano`, the model of about half a million parameters that soar_lib ships"
LISTED = 50  # overlapping questions that a card names
NOTES = {
    "promoted_student": "of the students that were promoted, the one that solves most of the hard train problems",
    "teacher": "the teacher, which writes a problem and its answer under one constant prompt",
}
PROMPTS = {"promoted_student": student_messages("PROBLEM")[0]["content"], "teacher": teacher_messages()[0]["content"]}
LIMITS = {
    "promoted_student": "Only the box at the end was ever rewarded, not the reasoning before it.",
    "teacher": "Nothing checks the answers that it gives: expect wrong ones, and ill-posed questions.",
}


def named(name: str) -> str:
    """A model or a set as others know it: a name or Hub id as it is, the last part of a path.

    >>> named("meta-llama/Llama-3.2-3B-Instruct"), named("hub:math_test"), named("/data/mine.jsonl")
    ('meta-llama/Llama-3.2-3B-Instruct', 'hub:math_test', 'mine.jsonl')
    """
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.exists() or name.startswith((".", "~")) else name


# ------------------------------------------------------------------ adapters


def adapter_text(
    adapter: str,
    base: str,
    rank: int,
    result: Result,
    config: SoarConfig,
    train: Sequence[Problem],
    test: Sequence[Problem],
) -> str:
    """The card of an adapter of a SOAR run on hard train problems `train`, with hard test problems `test` held out."""
    title = adapter.replace("_", " ")
    return f"""# {title.capitalize()} of a SOAR run

A LoRA adapter of rank {rank} for {NANO if base == "nano" else f"`{base}`"}: {NOTES[adapter]}. In {SOAR} a teacher
writes problems for students to train on; here it was paid by {_paid(config)}.

{_run_rows(result, config, train, test)}

{_gain(config)}The accuracies are on the problems that the rewards and the choice of the promoted student came from, so
they are no held-out result; those need an evaluation on the hard test problems.

## What it is for

Research on models that make their own training problems. It answers this prompt, given as the user's turn:

```text
{PROMPTS[adapter]}
```

## Limits

- {LIMITS[adapter]}
- One run with one seed: another seed gives another adapter, and how far they differ was not measured by this run.
- What the base cannot do or may not be used for, this cannot either.

## How to load it

With `repository` the name of this repository, or a folder with its files:

```python
{_loading(base)}
model = PeftModel.from_pretrained(base, repository)
```

{_settings(config)}"""


def _gain(config: SoarConfig) -> str:
    """What a reward counts from, for a reader who sees negative ones."""
    if config.reward != "grounded":
        return ""
    return "A reward is a gain in accuracy, as a fraction of 1, over the student that was promoted last. "


def _loading(base: str) -> str:
    if base == "nano":
        return 'from peft import PeftModel\nfrom soar_lib.engine.base import load\nbase = load("nano").model'
    lines = ("from peft import PeftModel", "from transformers import AutoModelForCausalLM")
    return "\n".join([*lines, f'base = AutoModelForCausalLM.from_pretrained("{base}")'])


def _run_rows(result: Result, config: SoarConfig, train: Sequence[Problem], test: Sequence[Problem]) -> str:
    """The run in a table: what it learned for, how long, and how far it came."""
    means, accuracies = [record.mean_reward for record in result.rounds], result.accuracies
    late = means[-config.window :]
    rows = {
        "hard train problems": f"{len(train)} ({_sources(train)}), {len(test)} hard test problems held out",
        "rounds": f"{len(means)}, each of {config.datasets} data sets of {config.dataset_size} problems",
        "reward": f"{config.reward}; mean {_points(sum(means) / len(means))} over all rounds, "
        f"{_points(sum(late) / len(late))} over the last {len(late)}",
        "promotions": str(len(accuracies) - 1),
        "greedy accuracy on hard train, untrained student": f"{accuracies[0]:.1%}",
        "greedy accuracy on hard train, promoted student": f"{accuracies[result.promoted_student]:.1%}"
        if result.promoted_student
        else "nobody was promoted",
        "seed": str(config.seed),
    }
    return markdown(pd.DataFrame(rows.items(), columns=["of the run", ""]))


def _points(value: float) -> str:
    return f"{value:+.4f}"


def _sources(problems: Sequence[Problem]) -> str:
    return ", ".join(dict.fromkeys(named(problem.source) or "no source named" for problem in problems))


def _settings(config: SoarConfig | FilterConfig) -> str:
    """Every setting but those that name folders."""
    flat = pd.json_normalize(to_values(config)).drop(columns=["model", "problems"]).to_dict("records")[0]
    return "## Settings\n\n" + ", ".join(f"`{name} = {json.dumps(value)}`" for name, value in flat.items()) + "\n"


# ------------------------------------------------------------------ data sets


def questions_text(model: str, size: int, best: int, result: Result, config: SoarConfig) -> str:
    """The card of the problems that a SOAR run's teacher wrote: `size` in all, `best` of them promotion questions."""
    means = [record.mean_reward for record in result.rounds]
    promoted = (
        f"- `promotion_questions`: {best} of them, the data sets whose students were promoted (PQ), in that order"
        if best
        else "- there are no promotion questions: in this run nobody was promoted"
    )
    return f"""# Problems written by the teacher of a SOAR run

{size} problems with the answers that the teacher, an adapter of `{model}`, gave them. In {SOAR} a teacher writes
problems for students to train on and never sees the hard ones they are tried on; here it was paid by
{_paid(config)}.

- `problems`: all {size}, of {len(means)} rounds with {config.datasets} data sets of {config.dataset_size} problems each
{promoted}

**The answers are the teacher's own.** Nothing checked them: expect wrong ones, and ill-posed questions.

| field | meaning |
| --- | --- |
| `id` | unique in this run |
| `question`, `answer` | as the teacher wrote them; the answer is what stood in its box |
| `text` | the teacher's whole completion |
| `round`, `dataset` | in which round, from 1, and in which data set of the round, from 0 |
| `reward` | of the whole data set: {_reward(config)} |

Completions without a question, an answer or a box were dropped and drawn again, without penalty; nothing else was left
out. Seed {config.seed}; one run, and another seed gives other problems.

{_settings(config)}
"""


def _paid(config: SoarConfig) -> str:
    if config.reward == "grounded":
        return "how much better students got on hard problems after training on its own"
    return "how seldom, short of never, the student's answers agreed with its own"


def _reward(config: SoarConfig) -> str:
    if config.reward == "grounded":
        return (
            f"mean gain in accuracy (fraction of 1) of {config.repeats} students on {config.reward_set} hard problems"
        )
    return "mean of 1 - s over its problems, s the share of the student's samples that agree with the teacher's answer"


def hard_text(filtered: Filtered, config: FilterConfig) -> str:
    """The card of the hard problems of a filter run."""
    return f"""# Problems that a model never solves in {config.k} samples

The problems of the pool `{named(config.problems)}` that `{named(config.model)}` did not solve once in {config.k}
samples (fail@{config.k}, the filter of {SOAR}), cut at random in two: `train` to learn from, `test` for the last
measurement alone.

| of the filter | |
| --- | --- |
| model | `{named(config.model)}`, untrained |
| samples per problem (k) | {config.k}, temperature {config.temperature:g}, at most {config.max_new_tokens} tokens |
| pool | {len(filtered.outcomes):,} problems{_home(config.problems)} |
| hard | {len(filtered.train) + len(filtered.test):,}: {len(filtered.train):,} train, {len(filtered.test):,} test |
| seed | {config.seed}, of samples and split |

{filtered}. A problem that was solved draws no more samples. Hard is a word about this model and this number of samples:
problems stay that a larger one would solve, and some that it would solve itself in more samples.

| field | meaning |
| --- | --- |
| `id` | of the pool |
| `question`, `answer` | of the pool; the answer without its box |
| `source`, `topic`, `level` | as the pool states them |

{_settings(config)}
"""


def _home(pool: str) -> str:
    """Where a benchmark of problems/hub.py comes from."""
    key, _, revision = pool.removeprefix("hub:").partition("@")
    if not pool.startswith("hub:") or key not in SETS:
        return ""
    return f", from `{SETS[key].repository}` at revision `{revision or SETS[key].revision}`"


def contamination_text(report: Sequence[dict]) -> str:
    """A contamination report as a section of a card."""
    opening = """## Contamination

Compared by words, numbers and letters, spaces and punctuation aside, and integrals by their integrand. Other wordings
of the same question are not found.
"""
    if not report:
        return f"{opening}\nThere was no hard test set and no other set to compare with.\n"
    rows = [
        {
            "compared with": row["against"],
            "its problems": row["problems"],
            "questions here": row["published"],
            "of them also there": len(row["shared"]),
            "identical up to white space": row["identical"],
        }
        for row in report
    ]
    found = [f"- {here}: {there} of {row['against']}" for row in report for here, there in row["shared"]]
    listed = "\n\nAlso there:\n\n" + "\n".join(found[:LISTED]) if found else ""
    more = f"\n\n{len(found) - LISTED} more are in contamination.json" if len(found) > LISTED else ""
    return f"{opening}\n{markdown(pd.DataFrame(rows))}{listed}{more}\n"
