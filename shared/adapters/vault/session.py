"""A session with Vault: calls in threads, the login, and the renewal of the token.

The driver, `hvac`, is synchronous, so each call runs in a thread of a small pool. The token is renewed with the first
call after two thirds of its lease, without a background task: a function that is frozen between requests has none. A
token that has expired or was revoked is replaced by a new login.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, NamedTuple, TypeVar

from shared.adapters.vault.address import Address, NoCredentials
from shared.core.clock import Clock
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Closed

log = logging.getLogger(__name__)
T = TypeVar("T")
Client = Any
"""hvac.Client, which has no types."""
_THREADS: Final = 8
_RENEW_AFTER: Final = 2 / 3
_REST_SECONDS: Final = 1.0
_NEXT_LOGIN_SECONDS: Final = 10.0


class LoginRefused(Unavailable):
    """Vault refused the login, or a credential is missing."""


class _Lease(NamedTuple):
    """The token's times on the monotonic clock, in seconds. None: the token does not expire."""

    seconds: float
    renewable: bool
    renew_at: float | None
    ends_at: float | None


class Session:
    """A login to Vault, and calls with its token."""

    def __init__(self, address: Address, clock: Clock, seconds: float) -> None:
        """`seconds` is the longest time of one call."""
        self._address = address
        self._clock = clock
        self._seconds = seconds
        self._pool: ThreadPoolExecutor | None = None
        self._running: set[Future[Any]] = set()
        self._client: Client = None
        self._lease: _Lease | None = None
        self._logins = 0
        self._login_lock = asyncio.Lock()
        # No call is sent before this time of the monotonic clock, because the last one was not answered.
        self._resting_until = 0.0
        self._reason = ""

    def open(self, closing: AsyncExitStack, close_seconds: Callable[[], float]) -> None:
        """Start the pool, whose threads start with its first calls. `closing` ends it."""
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="vault")

        async def close() -> None:
            await self._close(close_seconds())

        closing.push_async_callback(close)

    async def _close(self, seconds: float) -> None:
        assert self._pool is not None
        self._pool.shutdown(wait=False, cancel_futures=True)
        running = [asyncio.wrap_future(call) for call in self._running]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*running, return_exceptions=True)
        if self._client is not None:
            self._client.adapter.close()

    async def prepare(self) -> None:
        """Import the driver and make the client, in a thread: the import takes longer than a call."""
        self._client = await self._in_thread(lambda _: self._make_client())

    def rested(self) -> None:
        """Send calls again without waiting for the end of the pause."""
        self._resting_until = 0.0

    async def log_in(self) -> None:
        """Log in. Raises Unavailable and LoginRefused."""
        async with self._login_lock:
            await self._log_in()

    async def call(self, use: Callable[[Client], T]) -> T:
        """Return what `use` returns, called with the client in a thread.

        `use` must be safe to repeat. Raises Unavailable when Vault is sealed, cannot be reached, refuses the login or
        the role; and hvac's InvalidRequest and InvalidPath, which say something about the arguments.
        """
        from hvac.exceptions import Forbidden

        if self._clock.monotonic() < self._resting_until:
            raise Unavailable(self._reason)
        lease = self._lease
        if lease is None or (lease.renew_at is not None and self._clock.monotonic() >= lease.renew_at):
            await self._renew()
        logins = self._logins
        try:
            return await self._send(use)
        except Forbidden as refusal:
            await self._log_in_after(refusal, logins)
        try:
            return await self._send(use)
        except Forbidden as error:
            raise self._denied(error) from error

    async def _send(self, use: Callable[[Client], T]) -> T:
        """Send a call, and once more if the connection was lost: Vault may have closed it while it was idle."""
        try:
            return await self._in_thread(use)
        except Exception as error:
            if not _is_of_server(error):
                raise
            if not _is_lost_connection(error):
                raise self._unanswered(error) from error
        try:
            return await self._in_thread(use)
        except Exception as error:
            if not _is_of_server(error):
                raise
            raise self._unanswered(error) from error

    async def _in_thread(self, use: Callable[[Client], T]) -> T:
        assert self._pool is not None, "the adapter is opened before its ports are used"
        try:
            call = self._pool.submit(lambda: use(self._client))
        except RuntimeError:  # the pool was shut down
            raise Closed("the vault is closed") from None
        self._running.add(call)
        call.add_done_callback(self._running.discard)
        return await asyncio.wrap_future(call)

    def _make_client(self) -> Client:
        import hvac

        # Without a token of its own the driver would take one from the user's home directory.
        return hvac.Client(
            url=self._address.url,
            token="",
            verify=self._address.ca if self._address.ca is not None else True,
            timeout=self._seconds,
            namespace=self._address.namespace,
        )

    def _unanswered(self, error: Exception) -> Unavailable:
        self._reason = f"Vault at {self._address.url}: {_reason_of(error, self._seconds)}"
        self._resting_until = self._clock.monotonic() + _REST_SECONDS
        return Unavailable(self._reason)

    def _denied(self, error: Any) -> Unavailable:
        place = str(error.url or "").partition("/v1/")[2]
        return Unavailable(f"Vault at {self._address.url}: the policies of this process do not permit {place}")

    async def _renew(self) -> None:
        from hvac.exceptions import VaultError

        async with self._login_lock:
            lease, now = self._lease, self._clock.monotonic()
            if lease is not None and (lease.renew_at is None or now < lease.renew_at):
                return  # another call has renewed it
            if lease is not None and lease.renewable and lease.ends_at is not None and now < lease.ends_at:
                try:
                    answer = await self._send(lambda client: client.auth.token.renew_self())
                except VaultError as error:
                    log.info("Vault at %s does not renew the token: %s", self._address.url, _first_line(error))
                else:
                    renewed = self._lease_of(answer["auth"])
                    if renewed.seconds * 2 >= lease.seconds:
                        self._lease = renewed._replace(seconds=lease.seconds)
                        return
                    # The renewals are close to their limit (the role's greatest time to live).
            await self._log_in_before(lease)

    async def _log_in_before(self, lease: _Lease | None) -> None:
        """Log in before the present token ends. While it is valid, a refused login is only logged."""
        try:
            await self._log_in()
        except LoginRefused as refusal:
            now = self._clock.monotonic()
            if lease is None or lease.ends_at is None or now >= lease.ends_at:
                raise
            log.warning("%s; the present token is valid for %.0f s", refusal, lease.ends_at - now)
            self._lease = lease._replace(renew_at=min(now + _NEXT_LOGIN_SECONDS, lease.ends_at), renewable=False)

    async def _log_in_after(self, refusal: Any, logins: int) -> None:
        """Log in after a call was forbidden, if the token is no longer valid. Raises Unavailable if it is valid."""
        from hvac.exceptions import Forbidden

        async with self._login_lock:
            if self._logins != logins:
                return  # another call has logged in
            try:
                await self._send(lambda client: client.auth.token.lookup_self())
            except Forbidden:
                log.info("the token to Vault at %s is no longer valid: logging in again", self._address.url)
            else:
                raise self._denied(refusal)
            await self._log_in()

    async def _log_in(self) -> None:
        from hvac.exceptions import VaultError

        try:
            auth = await self._send(self._credentials_sent)
        except (VaultError, NoCredentials) as error:
            how = f"{self._address.auth} at auth/{self._address.login}"
            if self._address.auth == "token":
                how = "its token"
            reason = _first_line(error)
            raise LoginRefused(f"Vault at {self._address.url} refuses the login by {how}: {reason}") from error
        self._lease = self._lease_of(auth)
        self._logins += 1

    def _credentials_sent(self, client: Client) -> dict[str, Any]:
        """Log in (in a thread) and return the answer's `auth`. The client has the new token afterwards."""
        address = self._address
        if address.auth == "token":
            client.token = address.credential(address.token_file, "VAULT_TOKEN")
            found = client.auth.token.lookup_self()["data"]
            return {"lease_duration": found["ttl"], "renewable": found.get("renewable", False)}
        if address.auth == "approle":
            answer = client.auth.approle.login(
                role_id=address.credential(address.role_id_file, "VAULT_ROLE_ID"),
                secret_id=address.credential(address.secret_id_file, "VAULT_SECRET_ID"),
                mount_point=address.login,
            )
        else:
            jwt = address.credential(address.token_file, "VAULT_SERVICE_ACCOUNT_TOKEN")
            answer = client.auth.kubernetes.login(role=address.role, jwt=jwt, mount_point=address.login)
        auth: dict[str, Any] = answer["auth"]
        return auth

    def _lease_of(self, auth: dict[str, Any]) -> _Lease:
        now, seconds = self._clock.monotonic(), float(auth["lease_duration"])
        if seconds <= 0:
            return _Lease(0, renewable=False, renew_at=None, ends_at=None)
        return _Lease(seconds, bool(auth["renewable"]), now + seconds * _RENEW_AFTER, now + seconds)


def _is_of_server(error: Exception) -> bool:
    """Whether an error says something about the server's condition, and not about the call's arguments or rights."""
    from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultError

    return isinstance(error, (VaultError, OSError)) and not isinstance(error, (Forbidden, InvalidPath, InvalidRequest))


def _is_lost_connection(error: Exception) -> bool:
    from requests.exceptions import ConnectionError as ConnectionLost
    from requests.exceptions import Timeout

    return isinstance(error, ConnectionLost) and not isinstance(error, Timeout)


def _reason_of(error: Exception, seconds: float) -> str:
    from requests.exceptions import ConnectionError as ConnectionLost
    from requests.exceptions import SSLError, Timeout

    if isinstance(error, Timeout):
        return f"no answer within {seconds:g} s"
    if isinstance(error, SSLError):
        return f"TLS failed ({_first_line(error)})"
    if isinstance(error, ConnectionLost):
        return "it cannot be reached"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    """Return Vault's message, without the request."""
    said = getattr(error, "errors", None)
    text = ", ".join(map(str, said)) if said else str(error.args[0] if error.args else "")
    return " ".join(text.split())[:200] or type(error).__name__
