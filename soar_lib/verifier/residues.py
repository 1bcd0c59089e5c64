r"""Formulas compared without computer algebra: as their values at one fixed pseudo-random point modulo a prime.

Two rational expressions are equal exactly when their residues are; a chance coincidence has probability degree / 2^255.
Numbers as large as 2^2009 stay exact and cheap. The prime is 1 modulo 4, so i is a square root of -1; pi and e are
letters like any other. Roots and functions have no residue.
"""

import functools
import hashlib

from soar_lib.verifier.formulas import Formula, Malformed, Unreadable

PRIME = 2**255 - 19
MAX_EXPONENT = 10**12


def residue(formula: Formula, modulus: int = PRIME, at: dict[str, int] | None = None) -> int:
    """The value modulo `modulus`, a power of PRIME, where letters have the values `at` or else those of their `point`.

    Raises Unreadable for roots, functions, and exponents that are no integers, and Malformed for a division by zero.
    """
    head = formula.head
    if head == "number":
        return formula.number.numerator * _inverse(formula.number.denominator, modulus) % modulus
    if head in ("letter", "pi"):
        return (at or {}).get(formula.name) or point(formula.name or "pi")
    if head in ("^", "exp"):
        return _power(*([Formula("letter", name="e"), *formula.parts][-2:]), modulus, at)
    if head not in ("+", "*"):
        raise Unreadable(f"{head} has no residue")
    parts = [residue(part, modulus, at) for part in formula.parts]
    return sum(parts) % modulus if head == "+" else functools.reduce(lambda a, b: a * b % modulus, parts)


def _power(base: Formula, exponent: Formula, modulus: int, at: dict[str, int] | None) -> int:
    n = exponent.number
    if exponent.head != "number" or n.denominator != 1 or abs(n) > MAX_EXPONENT:
        raise Unreadable("an exponent that is no small integer")
    value = residue(base, modulus, at)
    if n < 0 and value % PRIME == 0:
        raise Malformed("division by zero")
    return pow(value, int(n), modulus)


@functools.lru_cache(maxsize=10_000)
def _inverse(denominator: int, modulus: int) -> int:
    if denominator % PRIME == 0:
        raise Unreadable("a multiple of the prime")
    return pow(denominator, -1, modulus)


@functools.cache
def point(name: str) -> int:
    """The value of a letter."""
    if name == "i":
        return pow(2, (PRIME - 1) // 4, PRIME)  # 2 is no square modulo this prime, so this squares to -1
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=32).digest()) % PRIME


def slope(formula: Formula, variable: str) -> int:
    """The derivative's residue: (f(x + p) - f(x)) / p modulo p, since f(x + p) = f(x) + p f'(x) modulo p^2."""
    near, here = (residue(formula, PRIME**2, {variable: point(variable) + step}) for step in (PRIME, 0))
    return (near - here) // PRIME % PRIME
