"""What measures the second world's gates of LADDER and SvS: the variants that the base writes, and hard integrals."""

import random
from collections.abc import Sequence

import numpy as np

from soar_lib import randomness
from soar_lib.engine import sampling
from soar_lib.engine.base import Base
from soar_lib.nano import antiderivatives, world2
from soar_lib.problems import prompts
from soar_lib.problems.checks import Check
from soar_lib.problems.likeness import canonical
from soar_lib.records import Draw, Problem
from soar_lib.student import train as student
from soar_lib.verifier import verify
from tools import documents2


def completions(base: Base, messages: list[list[dict]], group: int, key: str, length: int = 160) -> list[str]:
    """`group` sampled completions of each prompt, prompts in order."""
    noise = randomness.uniforms((len(messages) * group, length), "gates", key)
    asked = [base.encode(one) for one in messages]
    drawn = sampling.sample(base, None, asked, [0] * len(asked), group, noise, Draw(length, rows=512))
    return sampling.decode(base, drawn)


def variants(base: Base) -> dict[str, float]:
    """What LADDER and SvS need: easier variants of hard integrals, and other problems with the same answer."""
    integrals = world2.pool("nano2-integrals", seed=99, size=5)
    texts = completions(base, [prompts.easier_messages(p.question) for p in integrals], 1000, "easier")
    easier = []
    for i, problem in enumerate(integrals):
        written = [prompts.tagged(text, "question") for text in texts[i * 1000 : (i + 1) * 1000]]
        easier.append(len({canonical(question) for question in written if _easier(question, problem)}))
    middle = [*world2.pool("nano2-middle", seed=99, size=150), *_herds(50)]
    asked = [prompts.reconstruct_messages(documents2.solution(problem.question)) for problem in middle]
    texts = completions(base, asked, 4, "another")
    new = [_another(prompts.tagged(text, "question"), middle[i // 4]) for i, text in enumerate(texts)]
    return {"W8 easier": float(np.mean(easier)), "W8 another": float(np.mean(new))}


def _herds(count: int) -> list[Problem]:
    rng = random.Random("gates herds")
    texts = [world2.draw(world2.FAMILIES["leg_counting"], rng.choice((2, 3)), rng, held=True) for _ in range(count)]
    return [Problem(f"herd/{i}", text, world2.answer_of(text)) for i, text in enumerate(texts)]


def _easier(question: str | None, problem: Problem) -> bool:
    """Whether a text is an integral of fewer terms, or with smaller ones and no larger."""
    known, old = question and world2.understand(question), world2.understand(problem.question)[1]
    if not known or known[0].name != "simple_integration" or len(known[1]) > len(old):
        return False
    return len(known[1]) < len(old) or _size(known[1]) < _size(old)


def _size(content: list) -> float:
    return float(sum(abs(coefficient) + power for coefficient, power in content[1:]))


def _another(question: str | None, problem: Problem) -> bool:
    """Whether a text is a well-posed problem with the answer of `problem` that differs from it."""
    answer = question and world2.answer_of(question)
    if not answer or canonical(question) == canonical(problem.question):
        return False
    return verify.equal(problem.answer, answer) == "right"


def integrals(base: Base, count: int = 128, samples: int = 2048) -> int:
    """How many of `count` long integrals fail 0 of `samples`."""
    left = world2.pool("nano2-integrals", seed=99, size=count)
    check, draw = Check(lambda problem: problem.answer, _verdicts, lambda question: ""), Draw(128, rows=2048)
    for batch in range(samples // 32):
        shares = student.accuracy(base, None, left, draw, 32, [("gates", "integrals", batch)], check)[0]
        left = [problem for problem, share in zip(left, shares.tolist()) if share == 0]
    return len(left)


def _verdicts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """`verify.check` on polynomials: where both are written as this world's, their terms decide at once."""
    return [_same(gold, verify.extract_boxed(text) or "") or verify.check(gold, text) for gold, text in pairs]


def _same(gold: str, answer: str) -> str | None:
    lead = antiderivatives.LEADS[0]
    both = [antiderivatives.parse(f"{lead}{text.removesuffix(' + C')} dx") for text in (gold, answer)]
    if not all(both):
        return None
    return "right" if sorted(both[0][1:]) == sorted(both[1][1:]) else "wrong"
