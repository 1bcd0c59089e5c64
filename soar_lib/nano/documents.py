"""What nano is trained on: documents of the five skills, with the flaws a real model has.

Solving is learned mostly on short problems (depth d with weight DECAY**d): long ones are rare, not unseen, so the base
half knows their steps and errors compound. The proposing skill is taught badly on purpose, as a real model's is: it
prefers easy problems of a few families, and a share of its examples is malformed, ill-posed or wrongly answered.
"""

import random

from soar_lib.nano import world
from soar_lib.problems import prompts

SKILLS = {"solve": 0.70, "propose": 0.16, "easier": 0.06, "reconstruct": 0.08}
DECAY = {"solve": 0.55, "propose": 0.65, "easier": 0.8, "reconstruct": 0.7}
PROPOSE_FAMILIES = {
    "chain_sum": 0.40, "spell_backward": 0.20, "number_sorting": 0.16,
    "leg_counting": 0.10, "base_conversion": 0.08, "simple_integration": 0.06,
}  # fmt: skip
FLAWS = {"none": 0.72, "malformed": 0.10, "ill_posed": 0.08, "wrong": 0.10}


def choice(rng: random.Random, weights: dict[str, float]) -> str:
    """One key, with its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def depth(rng: random.Random, skill: str, family: str) -> int:
    """A depth between 1 and the family's largest, d with weight DECAY**d."""
    depths = range(1, world.FAMILIES[family].max_depth + 1)
    return rng.choices(depths, [DECAY[skill] ** d for d in depths])[0]


def solution(question: str) -> str:
    """The worked solution in the form the student is asked for."""
    steps, answer = world.understand(question)[0].solve(world.understand(question)[1])
    return (f"{steps}\n" if steps else "") + f"\\boxed{{{answer}}}"


def document(rng: random.Random) -> tuple[list[dict], str]:
    """One training document: the chat messages and the completion the model is trained on."""
    skill = choice(rng, SKILLS)
    family = choice(rng, PROPOSE_FAMILIES) if skill == "propose" else rng.choice(list(world.FAMILIES))
    question = world.draw(family, depth(rng, skill, family), rng, held=False)
    if skill == "solve":
        return prompts.student_messages(question), solution(question)
    if skill == "propose":
        return prompts.teacher_messages(), proposal(question, rng)
    if skill == "easier":
        return prompts.easier_messages(question), f"<question>{easier(question, rng)}</question>"
    return prompts.reconstruct_messages(solution(question)), f"<question>{question}</question>"


def easier(question: str, rng: random.Random) -> str:
    """The same problem with one to three steps fewer, never without content."""
    family, content = world.understand(question)
    least = family.content_size(1)
    return family.write(content[: max(least, len(content) - rng.randint(1, 3))])


def proposal(question: str, rng: random.Random) -> str:
    """A teacher's completion: question, explanation outside the tags, boxed answer; sometimes flawed."""
    flaw = choice(rng, FLAWS)
    family, content = world.understand(question)
    steps, answer = family.solve(content)
    if flaw == "wrong":
        answer = family.solve(spoiled(family, content))[1]
    if flaw == "ill_posed":
        question = without_a_character(question, rng)
    text = f"<question>{question}</question>\n{steps}\n" if steps else f"<question>{question}</question>\n"
    text += f"<answer>\\boxed{{{answer}}}</answer>"
    return malformed(text, rng) if flaw == "malformed" else text


def spoiled(family: world.Family, content: list) -> list:
    """The content one element shorter, or longer where it is shortest: its answer belongs to another problem."""
    return content[:-1] if len(content) > family.content_size(1) else content + content[-1:]


def without_a_character(question: str, rng: random.Random) -> str:
    """The question with its last part cut off, so that no reader could answer it."""
    return question[: -rng.randint(1, 6)]


def malformed(text: str, rng: random.Random) -> str:
    """A completion that misses a tag or the box."""
    missing = rng.choice(["</question>", "<answer>", "</answer>", "\\boxed{", "<question>"])
    return text.replace(missing, "", 1)
