"""Random numbers in blocks, and secrets."""

from __future__ import annotations

import re

import pytest

from shared.core.randomness import BufferedSystemRandom, SystemSecretSource


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 62, 128, 4096 * 8, 4096 * 8 + 1])
def test_numbers_have_the_requested_bits(bits: int) -> None:
    """No number has more than the requested bits, and each bit is set in some numbers."""
    random = BufferedSystemRandom()
    numbers = [random.getrandbits(bits) for _ in range(200)]
    assert max(number.bit_length() for number in numbers) <= bits
    seen = 0
    for number in numbers:
        seen |= number
    assert seen == (1 << bits) - 1


def test_numbers_are_not_repeated() -> None:
    """Over many blocks no number is repeated, and two sources give different numbers."""
    first, second = BufferedSystemRandom(), BufferedSystemRandom()
    numbers = [source.getrandbits(128) for _ in range(3000) for source in (first, second)]
    assert len(set(numbers)) == len(numbers)


def test_a_negative_number_of_bits_is_refused() -> None:
    """A negative number of bits is refused, as by random.SystemRandom."""
    with pytest.raises(ValueError, match="non-negative"):
        BufferedSystemRandom().getrandbits(-1)


def test_secrets_have_256_bits_in_two_forms() -> None:
    """Each secret is new, has the length of 32 encoded bytes, and has only characters that need no escape."""
    source = SystemSecretSource()
    made = [source.urlsafe() for _ in range(50)] + [source.hexadecimal() for _ in range(50)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", secret) for secret in made[:50])
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in made[50:])
