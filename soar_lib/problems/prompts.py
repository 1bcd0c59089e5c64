r"""The prompts of all methods (prompts.toml) and the parsers of what comes back.

The content follows SOAR sections B.1 and B.3 (teacher, student), LADDER section 3.1.2 (variants) and SvS Fig. 20
(reconstruction); the wording is ours. A prompt is a list of chat messages, which the model's own chat template turns
into tokens: the paper's student prompt is a plain User/Assistant transcript, but instruct models are trained on theirs.
"""

import re
import tomllib
from pathlib import Path

# How chat templates spell their control tokens: a question that holds one is no question (engine/base.py splits them).
CONTROL = re.compile(r"<[|｜][^\s<>|｜]{1,40}[|｜]>|</?s>|<(?:bos|eos|pad|unk|start_of_turn|end_of_turn)>|\[/?INST\]")
_TEXTS = tomllib.loads(Path(__file__).with_name("prompts.toml").read_text(encoding="utf-8"))
SOLVE, TEACHER, EASIER, RECONSTRUCT = (_TEXTS[name] for name in ("solve", "teacher", "easier", "reconstruct"))
PERSONAS = tuple(_TEXTS["personas"])
EFFECTS = {name: part["effect"] for name, part in _TEXTS["effects"].items()}
TRANSFORMATIONS = {name: tuple(part["transformations"]) for name, part in _TEXTS["effects"].items()}


def student_messages(question: str) -> list[dict]:
    """The prompt to solve `question`, the same in filtering, inner loop and evaluation (SOAR B.3)."""
    return [{"role": "user", "content": f"{SOLVE}\n{question}"}]


def teacher_messages() -> list[dict]:
    """The teacher's one constant prompt: it never sees a hard problem (SOAR B.1)."""
    return [{"role": "user", "content": TEACHER}]


def easier_messages(question: str) -> list[dict]:
    """Ask for an easier variant of `question` (LADDER 3.1.2)."""
    return [{"role": "user", "content": f"{EASIER}\n{question}"}]


def variant_messages(question: str, effect: str, count: int, suggestions: tuple[str, ...], persona: str) -> list[dict]:
    """Ask for `count` variants of `question`, each a whole problem between question tags (LADDER 3.1.2); the effect is
    one of `EFFECTS`, the suggestions are some of its `TRANSFORMATIONS`."""
    ideas, noun = "\n".join(f"- {text}" for text in suggestions), "variant" if count == 1 else "variants"
    told = {"persona": persona, "question": question, "count": count, "noun": noun, "effect": EFFECTS[effect]}
    return [{"role": "user", "content": _TEXTS["variant"].format(**told, ideas=ideas)}]


def reconstruct_messages(solution: str) -> list[dict]:
    """Ask for the problem behind `solution`; the original statement is not shown (SvS Fig. 20)."""
    return [{"role": "user", "content": f"{RECONSTRUCT}\n<response>\n{solution}\n</response>"}]


def tagged(text: str, tag: str, forgiving: bool = False) -> str | None:
    """The stripped content of the first `<tag>...</tag>` pair, or None where either side is missing or it is empty;
    `forgiving` takes a second opening tag for the closing one.

    >>> tagged("<a>x<a>", "a"), tagged("<a>x<a>", "a", forgiving=True)
    (None, 'x')
    """
    _, opened, rest = text.partition(f"<{tag}>")
    ends = [place for mark in (f"</{tag}>", f"<{tag}>")[: 1 + forgiving] if (place := rest.find(mark)) >= 0]
    return rest[: min(ends)].strip() or None if opened and ends else None


def questions_in(text: str, most: int) -> list[str]:
    """The stripped contents of the first `most` <question>...</question> pairs that are not empty.

    >>> questions_in("1. <question>a?</question> 2. <question> b? </question> <question></question> <question>c", 10)
    ['a?', 'b?']
    """
    parts = text.split("</question>")[:-1]  # the last is closed by nothing
    found = (content.strip() for _, opened, content in (part.partition("<question>") for part in parts) if opened)
    return [content for content in found if content][:most]
