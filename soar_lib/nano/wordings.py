"""Other wordings of a problem of the embedded world, for the control of SvS that spends its rollouts on those."""

import itertools
import random

from soar_lib.nano import antiderivatives, world


def rephrased(question: str, rng: random.Random) -> str:
    """The same problem in other words: its items in another order, which changes no answer, and for integrals another
    lead. Words and binary numbers have one wording only, the question's own."""
    family, content = world.understand(question)
    if family.name in ("spell_backward", "base_conversion"):
        return question
    heads = {"number_sorting": content[:1], "simple_integration": [rng.choice(antiderivatives.LEADS)]}
    head = heads.get(family.name, [])
    items = content[len(head) :]
    rng.shuffle(items)
    while family.name == "chain_sum" and min(itertools.accumulate(items)) < 0:  # the world has no partial sum below 0
        rng.shuffle(items)
    return family.write([*head, *items])
