"""The cards of give-aways: adapter.md, questions.md and hard.md are templates, filled in with what a run knows itself.

Beside the run's own settings and numbers a template takes what this module makes of them.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import CardData, RepoCard

from soar_lib.settings.student import FilterConfig
from soar_lib.settings.values import to_values
from soar_lib.soar.settings import SoarConfig

# By `SoarConfig.reward`: what the teacher was paid by, and what the number is.
PAID = {
    "grounded": (
        "how much better students got on hard problems after training on its own",
        "mean gain in accuracy (fraction of 1) of {repeats} students on {reward_set} hard problems",
    ),
    "intrinsic": (
        "how seldom, short of never, the student's answers agreed with its own",
        "mean of 1 - s over its problems, s the share of the student's samples that agree with the teacher's answer",
    ),
}


def card(template: str, data: CardData, config: SoarConfig | FilterConfig, **values: Any) -> bytes:
    """README.md from a template of this folder; with a `report` in `values` it ends in what contamination.md says."""
    names = [template, "contamination"] if "report" in values else [template]
    text = "".join(Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8") for name in names)
    report = values.get("report", ())
    found = [f"{here}: {there} of {row['against']}" for row in report for here, there in row["shared"]]
    values |= {"config": config, "settings": _settings(config), "found": found, "named": named}
    made = RepoCard.from_template(data, template_str=text, **values)
    return f"{made}\n".encode()


def named(name: str) -> str:
    """A model or a set as others know it: a name or Hub id as it is, the last part of a path.

    >>> named("meta-llama/Llama-3.2-3B-Instruct"), named("hub:math_test"), named("/data/mine.jsonl")
    ('meta-llama/Llama-3.2-3B-Instruct', 'hub:math_test', 'mine.jsonl')
    """
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.exists() or name.startswith((".", "~")) else name


def paid(config: SoarConfig) -> dict[str, str]:
    """By what the teacher was paid, and what the number is."""
    own = f"`{config.reward}`, a function of whoever ran it"
    by, number = PAID.get(config.reward, (own, own))
    return {"paid": by, "reward": number.format(**vars(config))}


def _settings(config: SoarConfig | FilterConfig) -> str:
    """Every setting but those that name folders."""
    flat = pd.json_normalize(to_values(config)).drop(columns=["model", "problems"]).to_dict("records")[0]
    return ", ".join(f"`{name} = {json.dumps(value)}`" for name, value in flat.items())
