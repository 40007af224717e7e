"""Secrets on a key file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.adapters.files.keyfile import KEY_FILE, SECRETS_FILE, BadKeyFile, KeyFileSecrets
from tests.ports.secrets_suite import SecretsSuite


class TestKeyFile(SecretsSuite):
    """The secrets port on a key file."""

    @pytest.fixture
    def secrets(self, tmp_path: Path) -> KeyFileSecrets:
        return KeyFileSecrets(tmp_path / "data")

    async def test_only_the_owner_reads_the_files(self, secrets: KeyFileSecrets, tmp_path: Path) -> None:
        """The directory has mode 0700 and both files 0600; a key file that other users can read is refused."""
        await secrets.put("key", b"1")
        data = tmp_path / "data"
        assert data.stat().st_mode & 0o777 == 0o700
        for name in (KEY_FILE, SECRETS_FILE):
            assert (data / name).stat().st_mode & 0o777 == 0o600
        (data / KEY_FILE).chmod(0o644)
        with pytest.raises(BadKeyFile, match=f"{KEY_FILE} has mode 0644: .*chmod 600"):
            await KeyFileSecrets(data).seal(["x"], "ten_1")

    async def test_named_secrets_are_sealed_on_disk(self, secrets: KeyFileSecrets, tmp_path: Path) -> None:
        """A named secret is sealed on disk, and bound to its name."""
        await secrets.put("mine", b"very secret")
        path = tmp_path / "data" / SECRETS_FILE
        assert b"very secret" not in path.read_bytes()
        content = json.loads(path.read_bytes())
        content["secrets"]["yours"] = content["secrets"]["mine"]
        path.write_text(json.dumps(content))
        with pytest.raises(BadKeyFile, match=f"{SECRETS_FILE} holds the secret yours, which {KEY_FILE}"):
            await secrets.get("yours")

    async def test_everything_survives_a_restart(self, secrets: KeyFileSecrets, tmp_path: Path) -> None:
        """Another process on the same directory opens the sealed texts of this one."""
        sealed = await secrets.seal(["x"], "ten_1")
        await secrets.put("key", b"1")
        other = KeyFileSecrets(tmp_path / "data")
        assert await other.open(sealed, "ten_1") == ["x"]
        assert await other.get("key") == b"1"
        assert await other.blind_index("x", "c") == await secrets.blind_index("x", "c")

    async def test_keys_are_rotated(self, secrets: KeyFileSecrets, tmp_path: Path) -> None:
        """After a rotation old texts can be opened, new ones have the new key's id, and blind indexes do not change."""
        old = await secrets.seal(["x"], "ten_1")
        digest = await secrets.blind_index("x", "c")
        key_id = secrets.rotate()
        new = await secrets.seal(["x"], "ten_1")
        assert key_id in new[0]
        assert key_id not in old[0]
        for each in (secrets, KeyFileSecrets(tmp_path / "data")):
            assert await each.open([*old, *new], "ten_1") == ["x", "x"]
            assert await each.blind_index("x", "c") == digest

    async def test_a_changed_text_does_not_open(self, secrets: KeyFileSecrets) -> None:
        """A sealed text with any changed character is refused."""
        sealed = (await secrets.seal(["x"], "ten_1"))[0]
        for position in range(len(sealed) - 2):
            changed = sealed[:position] + ("A" if sealed[position] != "A" else "B") + sealed[position + 1 :]
            with pytest.raises(ValueError, match="not sealed"):
                await secrets.open([changed], "ten_1")

    async def test_a_newer_file_is_refused(self, secrets: KeyFileSecrets, tmp_path: Path) -> None:
        """A key file of another version is refused."""
        await secrets.seal(["x"], "ten_1")
        path = tmp_path / "data" / KEY_FILE
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "version": 2}))
        with pytest.raises(BadKeyFile, match="version 2"):
            await KeyFileSecrets(tmp_path / "data").seal(["x"], "ten_1")
