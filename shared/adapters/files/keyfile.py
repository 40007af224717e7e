"""The secrets port on a key file, which is created on first start and readable only by its owner.

A field is sealed with AES-256-GCM (NIST SP 800-38D), a random 96-bit nonce, and its context as associated data. The
sealed text begins with the id of the key, so that it can be opened after the key was rotated. Named secrets are
sealed in a second file. A file is replaced as a whole: the new one is written beside it, synced and renamed.
"""

from __future__ import annotations

import hmac
import json
import os
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.ports.lifecycle import Adapter, AdapterOptions
from shared.ports.secrets import Purpose

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_FILE: Final = "keys.json"
"""The file of the keys that seal fields and named secrets, and of the key of blind indexes."""
SECRETS_FILE: Final = "secrets.json"
"""The file of the sealed named secrets."""
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_PREFIX: Final = "lst"


class BadKeyFile(Exception):
    """A key file cannot be used. The text has the file, the reason and the remedy."""

    def __init__(self, path: Path, wrong: str, remedy: str = "put it back from a backup of the data directory") -> None:
        super().__init__(f"{path} {wrong}: {remedy}")


class KeyFileSecrets(Adapter):
    """The secrets port: keys and named secrets in files of the data directory, which are read at first use."""

    adapter_name = "key file"

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._ciphers: dict[str, AESGCM] = {}
        self._current = ""
        self._index_key = b""

    async def get(self, name: str) -> bytes | None:
        self._read_keys()
        sealed = self._named().get(name)
        if sealed is None:
            return None
        try:
            return self._unseal(sealed, f"secret/{name}")
        except ValueError:
            path = self._data_dir / SECRETS_FILE
            raise BadKeyFile(path, f"holds the secret {name}, which {KEY_FILE} beside it does not open") from None

    async def put(self, name: str, value: bytes) -> None:
        self._read_keys()
        named = self._named()
        named[name] = self._seal(value, f"secret/{name}")
        _replace(self._data_dir / SECRETS_FILE, {"version": _VERSION, "secrets": named})

    async def seal(
        self,
        plaintexts: Sequence[str],
        context: str,
        purpose: Purpose = "personal-data",  # noqa: ARG002 - every reader of the file has its keys, so one is enough
    ) -> list[str]:
        self._read_keys()
        return [self._seal(text.encode(), f"field/{context}") for text in plaintexts]

    async def open(self, sealed: Sequence[str], context: str) -> list[str]:
        self._read_keys()
        return [self._unseal(text, f"field/{context}").decode() for text in sealed]

    async def rewrap(self, sealed: Sequence[str], context: str) -> list[str]:
        self._read_keys()
        place, current = f"field/{context}", f"{_PREFIX}:{self._current}:"
        opened = [self._unseal(text, place) for text in sealed]
        return [
            text if text.startswith(current) else self._seal(plain, place)
            for text, plain in zip(sealed, opened, strict=True)
        ]

    async def blind_index(self, plaintext: str, context: str) -> str:
        self._read_keys()
        # Each context has its own key, so that equal values of two tenants have different indexes.
        key = hmac.digest(self._index_key, context.encode(), "sha256")
        return urlsafe_b64encode(hmac.digest(key, plaintext.encode(), "sha256")).rstrip(b"=").decode()

    def rotate(self) -> str:
        """Create a new key, seal with it from now on, and return its id. Texts that older keys sealed can still be
        opened."""
        self._read_keys()
        content = _read(self._data_dir / KEY_FILE)
        key_id, key = _new_key()
        content["keys"][key_id] = key
        content["current"] = key_id
        _replace(self._data_dir / KEY_FILE, content)
        self._take(content)
        return key_id

    def _seal(self, plaintext: bytes, context: str) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, plaintext, context.encode())
        return f"{_PREFIX}:{self._current}:{urlsafe_b64encode(nonce + sealed).decode()}"

    def _unseal(self, sealed: str, context: str) -> bytes:
        from cryptography.exceptions import InvalidTag

        prefix, _, rest = sealed.partition(":")
        key_id, _, text = rest.partition(":")
        cipher = self._ciphers.get(key_id)
        if prefix != _PREFIX or cipher is None:
            raise ValueError("a field was not sealed with any of these keys")
        try:
            content = urlsafe_b64decode(text)
            return cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise ValueError("a field was not sealed by this store for this context") from None

    def _named(self) -> dict[str, str]:
        return _read_secrets(self._data_dir / SECRETS_FILE)

    def _read_keys(self) -> None:
        self.require_open()
        if self._ciphers:
            return
        path = self._data_dir / KEY_FILE
        if not path.exists():
            if (self._data_dir / SECRETS_FILE).exists():
                raise BadKeyFile(path, f"is missing, and {SECRETS_FILE} beside it was sealed with its keys")
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            key_id, key = _new_key()
            content = {"version": _VERSION, "current": key_id, "keys": {key_id: key}, "index_key": _random_key()}
            _create(path, content)
        self._take(_read_keys(path))

    def _take(self, content: dict[str, Any]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers = {key_id: AESGCM(b64decode(key)) for key_id, key in content["keys"].items()}
        self._current = content["current"]
        self._index_key = b64decode(content["index_key"])


def check_key_files(data_dir: Path) -> None:
    """Check that the existing key files of a data directory can be used. Raises BadKeyFile."""
    keys, secrets = data_dir / KEY_FILE, data_dir / SECRETS_FILE
    if _is_there(keys):
        _read_keys(keys)
    if _is_there(secrets):
        _read_secrets(secrets)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # no permission for the directory
        raise BadKeyFile(path, f"cannot be read ({error.strerror})", "let this user read it") from None


def _read_keys(path: Path) -> dict[str, Any]:
    """Read a file of keys and check their lengths. Raises BadKeyFile."""
    content = _read(path)
    keys, current = content.get("keys"), content.get("current")
    if not isinstance(keys, dict) or current not in keys:
        raise BadKeyFile(path, "is damaged (it has no current key)")
    for name, key in (*keys.items(), ("index_key", content.get("index_key"))):
        if not _is_key(key):
            raise BadKeyFile(path, f"is damaged ({name} is not a key of {_KEY_BYTES} bytes in base64)")
    return content


def _read_secrets(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    named = _read(path).get("secrets")
    if not isinstance(named, dict) or not all(isinstance(sealed, str) for sealed in named.values()):
        raise BadKeyFile(path, "is damaged (it has no secrets)")
    return named


def _is_key(text: object) -> bool:
    try:
        return isinstance(text, str) and len(b64decode(text, validate=True)) == _KEY_BYTES
    except ValueError:
        return False


def _random_key() -> str:
    return b64encode(os.urandom(_KEY_BYTES)).decode()


def _new_key() -> tuple[str, str]:
    key = _random_key()
    return sha256(b"lastro key id" + b64decode(key)).hexdigest()[:8], key


def _read(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file that only its owner can read. Raises BadKeyFile."""
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_bytes()
    except OSError as error:
        raise BadKeyFile(path, f"cannot be read ({error.strerror})", "let only this user read it") from None
    if mode & 0o077:
        raise BadKeyFile(path, f"has mode {mode:04o}", "only its owner may read it (chmod 600)")
    if not text:
        raise BadKeyFile(path, "is empty")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BadKeyFile(path, f"is damaged ({type(error).__name__}, not JSON)") from None
    if not isinstance(content, dict):
        raise BadKeyFile(path, "is damaged (it does not contain a JSON object)")
    if content.get("version") != _VERSION:
        found = f"has version {content.get('version')!r}, and this version of Lastro supports {_VERSION}"
        raise BadKeyFile(path, found, "start the Lastro that wrote it")
    return content


def _write_aside(path: Path, content: dict[str, Any]) -> Path:
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(content, indent=2).encode())
        file.flush()
        os.fsync(file.fileno())
    return aside


def _replace(path: Path, content: dict[str, Any]) -> None:
    _write_aside(path, content).replace(path)
    _sync_directory(path.parent)


def _create(path: Path, content: dict[str, Any]) -> None:
    """Create a file with this content. If another process has created it meanwhile, leave that file."""
    aside = _write_aside(path, content)
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def key_file(options: AdapterOptions) -> KeyFileSecrets:
    """Return the secrets of the data directory."""
    return KeyFileSecrets(options.settings.data_path)
