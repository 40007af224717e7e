"""The behaviour of every adapter of the secrets port. Each adapter's tests inherit it, with a fixture `secrets`."""

from __future__ import annotations

import pytest

from shared.ports.secrets import Secrets


class SecretsSuite:
    """Behaviour of the secrets port."""

    async def test_a_named_secret_is_stored(self, secrets: Secrets) -> None:
        """A named secret is returned unchanged, an unknown one is None, and a later value replaces it."""
        assert await secrets.get("key") is None
        await secrets.put("key", b"\x00\xff")
        await secrets.put("other", b"2")
        await secrets.put("key", b"1")
        assert await secrets.get("key") == b"1"
        assert await secrets.get("other") == b"2"

    async def test_a_sealed_field_opens_in_its_context(self, secrets: Secrets) -> None:
        """Sealed fields are opened in their order, and the sealed text does not contain them."""
        fields = ["529.982.247-25", "", "ção 💸"]
        sealed = await secrets.seal(fields, "ten_1")
        assert not any(field and field in text for field, text in zip(fields, sealed, strict=True))
        assert await secrets.open(sealed, "ten_1") == fields

    async def test_a_sealed_field_does_not_open_elsewhere(self, secrets: Secrets) -> None:
        """A text of another context, or one that was not sealed here, is an error that does not show the text."""
        sealed = await secrets.seal(["secret"], "ten_1")
        with pytest.raises(ValueError, match="not sealed by this store"):
            await secrets.open(sealed, "ten_2")
        for other in ("", "secret", "a:b:c"):
            with pytest.raises(ValueError, match="not sealed"):
                await secrets.open([other], "ten_1")

    async def test_fields_of_the_newest_key_are_rewrapped_to_themselves(self, secrets: Secrets) -> None:
        """A rewrap without a rotation returns the same texts, and refuses what `open` refuses."""
        sealed = await secrets.seal(["a", "", "b"], "ten_1")
        assert await secrets.rewrap(sealed, "ten_1") == sealed
        assert await secrets.rewrap([], "ten_1") == []
        with pytest.raises(ValueError, match="not sealed"):
            await secrets.rewrap(sealed, "ten_2")

    async def test_a_blind_index_finds_equal_values(self, secrets: Secrets) -> None:
        """Equal values have equal blind indexes in one context; other values and contexts have different ones."""
        digest = await secrets.blind_index("a@example.com", "ten_1")
        assert digest == await secrets.blind_index("a@example.com", "ten_1")
        assert digest != await secrets.blind_index("b@example.com", "ten_1")
        assert digest != await secrets.blind_index("a@example.com", "ten_2")
        assert "example" not in digest
