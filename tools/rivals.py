"""Rewards of other methods in which a model makes its own training problems, for the comparison of methods.

R-Zero (arXiv 2508.05004) pays its challenger where the solver is least certain; SeRL (arXiv 2505.20347) trains no
teacher, keeps questions of middling difficulty and pays its student for the majority's answer. Neither asks whether the
answers are right. Both alternate teacher and student; here each is what a reward alone makes of it.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters
from soar_lib.engine.sampling import complete, decode
from soar_lib.ladder.reward import majority
from soar_lib.problems.likeness import canonical
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import Key
from soar_lib.records import Draw
from soar_lib.soar.rewards import Measured, OuterStep
from soar_lib.student import train as student
from soar_lib.verifier.verify import extract_boxed

BAND = 0.2, 0.8  # of the majority's share: SeRL's published settings


def agreement(
    base: Base, policy: Adapters | None, questions: Sequence[str], samples: int, draw: Draw, key: Key
) -> list[float]:
    """The share of a policy's `samples` answers to each question that its most frequent answer has."""
    asked, keys = [student_messages(text) for text in questions], [(*key, i) for i in range(len(questions))]
    drawn = complete(base, policy, asked, [0] * len(asked), samples, keys, draw)
    boxes = [extract_boxed(text) for text in decode(base, drawn)]
    return [majority(boxes[i : i + samples])[1] for i in range(0, len(boxes), samples)]


def uncertainty(share: float) -> float:
    """R-Zero's reward of a question by the majority's share: 1 where half agree.

    >>> uncertainty(0.5), uncertainty(0.75), uncertainty(1.0)
    (1.0, 0.5, 0.0)
    """
    return 1 - 2 * abs(share - 0.5)


def uncertain(step: OuterStep) -> Measured:
    """R-Zero's teacher reward: the uncertainty of each question minus the share of the round's questions that are the
    same (the paper groups them by BLEU), at least 0; R_k is the mean over the data set."""
    config, baseline, draw = step.config, step.baselines[-1], step.config.student.draw(step.config.rows)
    texts = [problem.question for problems in step.datasets for problem in problems]
    key = (config.seed, "uncertain", step.number)
    shares = agreement(step.base, baseline, texts, config.intrinsic_samples, draw, key)
    forms = [canonical(text) for text in texts]
    same = Counter(forms)
    each = (max(0.0, uncertainty(share) - same[form] / len(forms)) for share, form in zip(shares, forms))
    gains = tuple((fmean([next(each) for _ in problems]),) for problems in step.datasets)
    known = student.accuracy(step.base, baseline, step.reward_set, draw)
    return Measured(gains, known.double().mean().item())
