"""What nano is trained on: documents of four skills, with the flaws a real model has.

Solving is learned mostly on short problems (depth d with weight DECAY**d), from solutions with people's mistakes: at
each step the family's usual slip happens with a chance that grows along the solution (`slip_rate`). So the base knows
every step, slips at the late ones more often than not, and errors compound: long problems are seldom or never solved,
though no step of them is beyond it. Proposals come with more careful solutions (CARE), as textbooks do. The proposing
skill is taught badly on purpose, as a real model's is: it prefers easy problems and leans to some families, and a share
of its examples is malformed, ill-posed or wrongly answered.
"""

import random
from collections.abc import Collection

from soar_lib.nano import world
from soar_lib.problems import prompts

SKILLS = {"solve": 0.70, "propose": 0.16, "easier": 0.06, "reconstruct": 0.08}
DECAY = {"solve": 0.70, "propose": 0.75, "easier": 0.8, "reconstruct": 0.7}
PROPOSE_FAMILIES = {
    "chain_sum": 0.26, "spell_backward": 0.16, "number_sorting": 0.14,
    "leg_counting": 0.14, "base_conversion": 0.18, "simple_integration": 0.12,
}  # fmt: skip
SLIP_FIRST, SLIP_LAST = 0.15, 0.80  # chance of a slip at the first step and at the last of the longest solution
CARE = 0.1  # share of those slips in the solutions of proposals
FLAWS = {"none": 0.72, "malformed": 0.10, "ill_posed": 0.08, "wrong": 0.10}


def choice(rng: random.Random, weights: dict[str, float]) -> str:
    """One key, with its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def depth(rng: random.Random, skill: str, family: str) -> int:
    """A depth between 1 and the family's largest, d with weight DECAY**d."""
    depths = range(1, world.FAMILIES[family].max_depth + 1)
    return rng.choices(depths, [DECAY[skill] ** d for d in depths])[0]


def slip_rate(step: int, longest: int) -> float:
    """Chance of a slip at a step of a worked solution, counted from 1, where the family's longest has so many steps.

    >>> [round(slip_rate(step, 12), 2) for step in (1, 2, 4, 12)]
    [0.15, 0.21, 0.33, 0.8]
    """
    return SLIP_FIRST + (SLIP_LAST - SLIP_FIRST) * min(1.0, (step - 1) / (longest - 1))


def slips(rng: random.Random, family: world.Family, share: float = 1.0) -> list[int]:
    """The steps at which one writer slips."""
    longest = family.max_depth
    return [step for step in range(1, longest + 3) if rng.random() < share * slip_rate(step, longest)]


def solution(question: str, slips: Collection[int] = ()) -> str:
    """The worked solution in the form the student is asked for, with slips at the given steps."""
    family, content = world.understand(question)
    steps, answer = family.solve(content, slips)
    return (f"{steps}\n" if steps else "") + f"\\boxed{{{answer}}}"


def document(rng: random.Random) -> tuple[list[dict], str]:
    """One training document: the chat messages and the completion the model is trained on."""
    skill = choice(rng, SKILLS)
    family = choice(rng, PROPOSE_FAMILIES) if skill == "propose" else rng.choice(list(world.FAMILIES))
    question = world.draw(family, depth(rng, skill, family), rng, held=False)
    if skill == "solve":
        return prompts.student_messages(question), solution(question, slips(rng, world.FAMILIES[family]))
    if skill == "propose":
        return prompts.teacher_messages(), proposal(question, rng)
    if skill == "easier":
        return prompts.easier_messages(question), f"<question>{easier(question, rng)}</question>"
    return prompts.reconstruct_messages(solution(question)), f"<question>{question}</question>"


def easier(question: str, rng: random.Random) -> str:
    """The same problem with one to three steps fewer, never without content."""
    family, content = world.understand(question)
    least = len(content) - family.depth(content) + 1
    return family.write(content[: max(least, len(content) - rng.randint(1, 3))])


def proposal(question: str, rng: random.Random) -> str:
    """A teacher's completion: question, explanation outside the tags, boxed answer; sometimes flawed."""
    flaw = choice(rng, FLAWS)
    family, content = world.understand(question)
    steps, answer = family.solve(content, slips(rng, family, CARE))
    if flaw == "wrong":
        answer = family.solve(spoiled(family, content))[1]
    if flaw == "ill_posed":
        question = without_a_character(question, rng)
    text = f"<question>{question}</question>\n{steps}\n" if steps else f"<question>{question}</question>\n"
    text += f"<answer>\\boxed{{{answer}}}</answer>"
    return malformed(text, rng) if flaw == "malformed" else text


def spoiled(family: world.Family, content: list) -> list:
    """The content one element shorter, or longer where it is shortest: its answer belongs to another problem."""
    return content[:-1] if family.depth(content) > 1 else content + content[-1:]


def without_a_character(question: str, rng: random.Random) -> str:
    """The question less its last one to six characters; a cut word or list may still be one, wrongly answered."""
    return question[: -rng.randint(1, 6)]


def malformed(text: str, rng: random.Random) -> str:
    """A completion that misses a tag or the box."""
    missing = rng.choice(["</question>", "<answer>", "</answer>", "\\boxed{", "<question>"])
    return text.replace(missing, "", 1)
