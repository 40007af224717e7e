"""The secrets port on Vault: named secrets in KV version 2, fields and blind indexes with keys in Transit.

The keys do not leave Vault. Each has a purpose (shared.ports.secrets), so that the policy of a domain permits only the
keys that the domain needs. A sealed field is `<purpose>:vault:v<version>:<text>`. Fields are encrypted with a key that
Vault derives from the purpose's key and the context, so a field opens in no other context.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

from shared.adapters.vault.address import Address, read_address
from shared.adapters.vault.session import Client, LoginRefused, Session
from shared.core.clock import Clock
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Adapter, AdapterOptions, NotOpened, retry_at_start
from shared.ports.secrets import PURPOSES, Purpose

INDEX_KEY: Final = "blind-index"
"""The key of blind indexes. Always version 1: a newer version would not find older values."""
_CACHED: Final = 256


class _Cached(NamedTuple):
    value: bytes | None
    until: float


class VaultSecrets(Adapter):
    """The secrets port on Vault, or on another server with its API.

    Named secrets are cached for `secrets_cache_seconds`: the replacement of a secret by another process takes effect
    within that time.
    """

    adapter_name = "vault"

    def __init__(self, address: Address, settings: Settings, clock: Clock, *, waits: bool = True) -> None:
        self._address = address
        self._settings = settings
        self._clock = clock
        self._waits = waits
        self._session = Session(address, clock, settings.secrets_seconds)
        self._cached: OrderedDict[str, _Cached] = OrderedDict()
        self._reading = asyncio.Lock()
        self._puts = 0

    async def get(self, name: str) -> bytes | None:
        self.require_open()
        found = self._cached.get(name)
        if found is not None and self._clock.monotonic() < found.until:
            return found.value
        async with self._reading:
            found = self._cached.get(name)
            if found is not None and self._clock.monotonic() < found.until:
                return found.value
            puts = self._puts
            value: bytes | None = await self._call(lambda client: self._read(client, name))
            if puts == self._puts:
                self._remember(name, value)
            return value

    def _read(self, client: Client, name: str) -> bytes | None:
        from hvac.exceptions import InvalidPath

        try:
            answer = client.secrets.kv.v2.read_secret_version(
                self._path(name), mount_point=self._address.kv, raise_on_deleted_version=True
            )
        except InvalidPath as error:
            if error.errors:  # there is no such mount
                raise
            return None
        data = answer["data"]["data"]
        if "base64" in data:
            return b64decode(data["base64"])
        if not isinstance(data.get("value"), str):
            raise Unavailable(f"Vault's secret {self._path(name)} has no field `value` with a text")
        return str(data["value"]).encode()

    async def put(self, name: str, value: bytes) -> None:
        self._puts += 1
        try:
            data = {"value": value.decode()}
        except UnicodeDecodeError:
            data = {"base64": b64encode(value).decode()}
        await self._call(
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                self._path(name), data, mount_point=self._address.kv
            )
        )
        self._puts += 1
        self._remember(name, value)

    def _remember(self, name: str, value: bytes | None) -> None:
        self._cached[name] = _Cached(value, self._clock.monotonic() + self._settings.secrets_cache_seconds)
        self._cached.move_to_end(name)
        if len(self._cached) > _CACHED:
            self._cached.popitem(last=False)

    def _path(self, name: str) -> str:
        return f"{self._address.prefix}/{name}"

    async def seal(self, plaintexts: Sequence[str], context: str, purpose: Purpose = "personal-data") -> list[str]:
        items = [{"plaintext": _base64(text), "context": _base64(context)} for text in plaintexts]
        results = await self._batch("encrypt", purpose, items)
        return [f"{purpose}:{result['ciphertext']}" for result in results]

    async def open(self, sealed: Sequence[str], context: str) -> list[str]:
        opened: dict[int, str] = {}
        for purpose, places in _by_purpose(sealed).items():
            items = [{"ciphertext": _ciphertext(sealed[at]), "context": _base64(context)} for at in places]
            results = await self._batch("decrypt", purpose, items)
            texts = [b64decode(result.get("plaintext", "")).decode() for result in results]
            opened.update(zip(places, texts, strict=True))
        if not sealed:
            self.require_open()
        return [opened[at] for at in range(len(sealed))]

    async def rewrap(self, sealed: Sequence[str], context: str) -> list[str]:
        rewrapped: dict[int, str] = {}
        for purpose, places in _by_purpose(sealed).items():
            items = [{"ciphertext": _ciphertext(sealed[at]), "context": _base64(context)} for at in places]
            results = await self._batch("rewrap", purpose, items)
            for at, result in zip(places, results, strict=True):
                anew = f"{purpose}:{result['ciphertext']}"
                # Vault seals a field of the newest version anew too.
                rewrapped[at] = sealed[at] if _version(sealed[at]) == _version(anew) else anew
        return [rewrapped[at] for at in range(len(sealed))]

    async def blind_index(self, plaintext: str, context: str) -> str:
        # A list in JSON, so that no other context and plaintext have the same text.
        text = json.dumps([context, plaintext], ensure_ascii=False)
        path = f"{self._address.transit}/hmac/{self._key(INDEX_KEY)}/sha2-256"
        answer = await self._call(
            lambda client: client.adapter.post(f"/v1/{path}", json={"input": _base64(text), "key_version": 1})
        )
        return str(answer["data"]["hmac"]).removeprefix("vault:v1:")

    async def _batch(self, action: str, purpose: str, items: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
        """Return the results of one call of Transit for many fields. Raises ValueError if one cannot be decrypted."""
        from hvac.exceptions import InvalidPath, InvalidRequest

        self.require_open()
        if not items:
            return []
        path = f"/v1/{self._address.transit}/{action}/{self._key(purpose)}"
        try:
            answer = await self._session.call(lambda client: client.adapter.post(path, json={"batch_input": items}))
        except InvalidPath as error:
            raise self._wrong(error) from error
        except InvalidRequest as error:
            if action == "encrypt" or "batch_results" not in str(error.json):
                raise self._wrong(error) from error
            raise ValueError("a field was not sealed by this store for this context") from None
        results: list[dict[str, Any]] = answer["data"]["batch_results"]
        if any(result.get("error") for result in results):
            raise ValueError("a field was not sealed by this store for this context")
        return results

    async def _call(self, use: Callable[[Client], Any]) -> Any:
        from hvac.exceptions import InvalidPath, InvalidRequest

        self.require_open()
        try:
            return await self._session.call(use)
        except (InvalidPath, InvalidRequest) as error:
            raise self._wrong(error) from error

    def _wrong(self, error: Any) -> Unavailable:
        said = ", ".join(map(str, error.errors or ())) or type(error).__name__
        return Unavailable(f"Vault at {self._address.url}: {said}: run `lastro migrate` to set it up")

    def _key(self, purpose: str) -> str:
        return f"{self._address.prefix}-{purpose}"

    @property
    def server_shown(self) -> str:
        return f"Vault at {self._address.url}"

    async def _probe(self) -> None:
        # While Vault is away, a new signing key could not be read.
        await self._session.call(lambda client: client.auth.token.lookup_self())

    async def _open(self, closing: AsyncExitStack) -> None:
        self._session.open(closing, lambda: self.close_seconds)
        await self._session.prepare()
        await retry_at_start(self._log_in, "LASTRO_SECRETS", self._settings.start_seconds if self._waits else 0)
        self._session.rested()

    async def _log_in(self) -> None:
        try:
            await self._session.log_in()
        except LoginRefused as error:
            raise NotOpened(f"LASTRO_SECRETS cannot be used: {error}") from error


def _by_purpose(sealed: Sequence[str]) -> dict[str, list[int]]:
    """Return the positions of the fields of each purpose. Raises ValueError for a text that was not sealed here."""
    found: dict[str, list[int]] = {}
    for at, text in enumerate(sealed):
        purpose, _, ciphertext = text.partition(":")
        if purpose not in PURPOSES or not ciphertext.startswith("vault:v"):
            raise ValueError("a field was not sealed by this store for this context")
        found.setdefault(purpose, []).append(at)
    return found


def _ciphertext(sealed: str) -> str:
    return sealed.partition(":")[2]


def _version(sealed: str) -> str:
    """Return the purpose and the version of the key of a sealed field."""
    return sealed.rpartition(":")[0]


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def vault_secrets(options: AdapterOptions) -> VaultSecrets:
    """Return the adapter of a URL (shared.adapters.vault.address). Raises InvalidSettings."""
    return VaultSecrets(read_address(options.url), options.settings, options.clock, waits=options.waits)
