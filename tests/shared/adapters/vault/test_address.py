"""The URL of LASTRO_SECRETS, and the credentials that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.vault.address import NoCredentials, read_address
from shared.core.settings import InvalidSettings


def test_a_url_has_a_host_and_options() -> None:
    """Each option is read; those left out have the values of the documentation."""
    address = read_address("vault+https://vault.example?role=lastro-users", {})
    assert address.url == "https://vault.example:8200"
    assert (address.auth, address.login, address.role) == ("kubernetes", "kubernetes", "lastro-users")
    assert address.token_file == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert (address.kv, address.transit, address.prefix) == ("secret", "transit", "lastro")
    address = read_address("vault+http://[::1]:1?auth=approle&login=a&kv=k/&transit=t&prefix=p&namespace=n&ca=/ca", {})
    assert address.url == "http://[::1]:1"
    assert (address.auth, address.login, address.kv, address.transit) == ("approle", "a", "k", "t")
    assert (address.prefix, address.namespace, address.ca, address.token_file) == ("p", "n", "/ca", None)


def test_a_role_may_be_in_a_variable() -> None:
    """VAULT_ROLE names the role where the URL does not."""
    assert read_address("vault+https://v", {"VAULT_ROLE": "a"}).role == "a"
    assert read_address("vault+https://v?role=b", {"VAULT_ROLE": "a"}).role == "b"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://v", "is not a URL of the form"),
        ("vault+https://", "is not a URL of the form"),
        ("vault+https://v/path", "is not a URL of the form"),
        ("vault+https://v:99999", "host or port"),
        ("vault+https://user:hidden@v?auth=token", "has a user or password"),
        ("vault+https://v?auth=hidden", "not one of kubernetes, approle, token"),
        ("vault+https://v", "names no role"),
        ("vault+https://v?auth=token&kv=", "no value for the option 'kv'"),
        ("vault+https://v?token=hidden", "has the option 'token'; known are auth"),
        ("vault+https://v?hidden", "query that is not of the form"),
    ],
)
def test_a_wrong_url_is_refused(url: str, reason: str) -> None:
    """The error says what is wrong with the URL, and shows no value of it."""
    with pytest.raises(InvalidSettings, match=reason) as raised:
        read_address(url, {})
    assert "hidden" not in str(raised.value)


def test_credentials_are_in_files_or_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential is read from its file each time, or from its variable; one that is missing is named."""
    address = read_address("vault+https://v?auth=approle", {})
    file = tmp_path / "secret-id"
    with pytest.raises(NoCredentials, match="cannot be read"):
        address.credential(str(file), "VAULT_SECRET_ID")
    file.write_text("\n")
    with pytest.raises(NoCredentials, match="is empty"):
        address.credential(str(file), "VAULT_SECRET_ID")
    for value in ("one", "two"):
        file.write_text(f"{value}\n")
        assert address.credential(str(file), "VAULT_SECRET_ID") == value
    monkeypatch.delenv("VAULT_SECRET_ID", raising=False)
    with pytest.raises(NoCredentials, match="VAULT_SECRET_ID is not set"):
        address.credential(None, "VAULT_SECRET_ID")
    monkeypatch.setenv("VAULT_SECRET_ID", "three")
    assert address.credential(None, "VAULT_SECRET_ID") == "three"
