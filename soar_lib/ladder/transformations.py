r"""How a model is asked for variants of a problem: transformations, personas, the prompt and its reader (LADDER 3.1.2).

In the paper the model itself first writes a library of transformations, grouped by their effect on difficulty. Three to
five of them, drawn at random, are suggested in each prompt, which asks for ten variants from the point of view of
famous mathematicians. Here the library is fixed and in words of our own, so that runs of different models are
comparable, and each prompt names one persona, in turn (the released code lists all of its 45 in every prompt). Variants
are "easier" or "equivalent": the paper tried "harder" ones and dropped them.
"""

import re
from dataclasses import dataclass

EASIER, EQUIVALENT = "easier", "equivalent"


@dataclass(frozen=True)
class Transformation:
    """A suggestion, with its effect on difficulty."""

    text: str
    effect: str


def _with(effect: str, *texts: str) -> tuple[Transformation, ...]:
    return tuple(Transformation(text, effect) for text in texts)


LIBRARY = (
    *_with(
        EASIER,
        "leave out one or more of the terms",
        "lower the exponents",
        "replace fractions by whole numbers",
        "make the coefficients small",
        "make a leading coefficient 1",
        "replace a composed function by the function of the plain variable",
        "replace a product of two functions by one of them",
        "keep only a part of the denominator, or none of it",
        "replace a root by a whole power",
        "replace a logarithm or an exponential by a polynomial",
        "replace an inverse function by one whose rule is in every table",
        "choose numbers for which one substitution is enough",
        "split it into parts and keep the part that is solved at once",
        "reduce the number of techniques that are needed to one",
    ),
    *_with(
        EQUIVALENT,
        "change a coefficient to another of the same size",
        "change a sign",
        "change an exponent by one",
        "shift the variable by a constant",
        "scale the variable by a constant",
        "exchange sine and cosine, or a function and its hyperbolic counterpart",
        "exchange an exponential and a power with another base",
        "expand what is factored, or factor what is expanded",
        "write the terms in another order",
        "rewrite a quotient as a product with a negative power, or the other way round",
        "use an identity to write one of the functions differently",
        "replace a constant by a different constant",
        "undo or carry out a substitution that leaves the work the same",
    ),
)  # fmt: skip
PERSONAS = (
    "Leonhard Euler, who looks for a series behind everything",
    "Carl Friedrich Gauss, who reduces a problem to its simplest case",
    "Maria Gaetana Agnesi, who writes for beginners",
    "Joseph-Louis Lagrange, who trusts algebra and draws no picture",
    "Pierre-Simon Laplace, who changes the variable first",
    "Sophie Germain, who looks for a special case that shows the idea",
    "Augustin-Louis Cauchy, who asks where each step is allowed",
    "Bernhard Riemann, who sees areas and their pieces",
    "Sofia Kovalevskaya, who looks for symmetry",
    "Srinivasa Ramanujan, who guesses the pattern and then proves it",
    "Emmy Noether, who strips a problem of all that is accidental",
    "George Polya, who asks for a simpler problem of the same kind",
)
TASK = {
    EASIER: "clearly easier to solve than the problem, but of the same kind",
    EQUIVALENT: "of the same kind and as difficult as the problem, yet different from it",
}


def variant_messages(question: str, effect: str, count: int, suggestions: tuple[str, ...], persona: str) -> list[dict]:
    """Ask for `count` variants of `question`, each of them a whole problem between question tags."""
    ideas = "\n".join(f"- {text}" for text in suggestions)
    noun = "variant" if count == 1 else "variants"
    content = (
        f"Take the point of view of {persona}.\n"
        f"Here is a problem:\n{question}\n"
        f"Write {count} {noun}, {TASK[effect]}. First think about what makes the problem hard. "
        f"These changes may help; combine them or find others:\n{ideas}\n"
        "Every variant stands by itself: it is stated as completely and in the same form and notation as the problem, "
        "every constant in it is a number, and no two variants are alike. Do not solve them. "
        "Put each variant between <question> and </question>."
    )
    return [{"role": "user", "content": content}]


def questions_in(text: str, most: int) -> list[str]:
    """The stripped contents of the first `most` <question>...</question> pairs that are not empty.

    >>> questions_in("1. <question>a?</question> 2. <question> b? </question> <question></question> <question>c", 10)
    ['a?', 'b?']
    """
    found = (content.strip() for content in re.findall(r"<question>(.*?)</question>", text, re.DOTALL))
    return [content for content in found if content][:most]
