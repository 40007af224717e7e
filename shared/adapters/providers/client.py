"""The HTTP client of a payment provider: access tokens, mutual TLS, time limits, and a circuit breaker.

A provider authenticates its clients by OAuth 2.0 client credentials (RFC 6749 §4.4) over mutual TLS, with tokens that
are bound to the certificate (RFC 8705).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.providers.breaker import CircuitBreaker, CircuitOpen
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown

if TYPE_CHECKING:
    import httpx

    from shared.adapters.providers.credentials import Credentials

TIMEOUT_SECONDS: Final = 10.0
TOKEN_PATH: Final = "/oauth/token"
_EARLY_SECONDS: Final = 30.0
"""How long before its end a token is replaced."""
_SHORTEST_TOKEN_SECONDS: Final = 1.0
_DENIED: Final = frozenset({401, 403})
_TEMPORARY: Final = frozenset({408, 425, 429})


class ProviderClient:
    """Sends requests to the API of one provider. The HTTP client is created at first use, unless one is given.

    `title` is the provider's name in messages: `PIX provider`.
    """

    def __init__(
        self,
        title: str,
        base_url: str,
        credentials: Credentials,
        client: httpx.AsyncClient | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`seconds` is a monotonic clock."""
        self._title = title
        self.base_url = base_url.rstrip("/")
        self._credentials = credentials
        self._client = client
        self._seconds = seconds
        self._breaker = CircuitBreaker(seconds)
        self._token = ""
        self._token_ends = 0.0

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        parameters: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request and return its answer, which is a success or a refusal of the request.

        Raises OutcomeUnknown when the request may have had an effect, and Unavailable when it had none: the provider
        cannot be reached, denies access, or limits the rate; or the circuit is open.
        """
        answer = await self._exchange(method, path, body, parameters, headers)
        if answer.status_code in _DENIED and self._token:
            # The token was revoked, or has ended by the provider's clock. A denied request had no effect.
            self._token = ""
            answer = await self._exchange(method, path, body, parameters, headers)
        status = answer.status_code
        if status in _DENIED or status in _TEMPORARY:
            raise Unavailable(f"the {self._title} answered {status}", is_public=True)
        return answer

    async def _exchange(
        self,
        method: str,
        path: str,
        body: Any,
        parameters: dict[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        sent = {**(headers or {}), **await self._authorization()}
        return await self._called(method, self.base_url + path, json=body, params=parameters, headers=sent)

    async def _authorization(self) -> dict[str, str]:
        known = self._credentials
        if not known.client_id:
            return {}
        if not self._token or self._seconds() >= self._token_ends:
            url = known.token_url or self.base_url + TOKEN_PATH
            basic = (known.client_id, known.client_secret)
            answer = await self._called("POST", url, data={"grant_type": "client_credentials"}, auth=basic)
            self._token, lifetime = self._token_of(answer)
            self._token_ends = self._seconds() + max(lifetime - _EARLY_SECONDS, _SHORTEST_TOKEN_SECONDS)
        return {"authorization": f"Bearer {self._token}"}

    async def _called(self, method: str, url: str, **options: Any) -> httpx.Response:
        import httpx

        try:
            self._breaker.check()
        except CircuitOpen as error:
            raise Unavailable(f"the {self._title} is not called now: {error}", is_public=True) from None
        try:
            answer = await self._http().request(method, url, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            self._breaker.failure()
            reason = f"the {self._title} cannot be reached: {type(error).__name__}"
            raise Unavailable(reason, is_public=True) from None
        except httpx.HTTPError as error:
            self._breaker.failure()
            reason = f"the {self._title} did not answer: {type(error).__name__}"
            raise OutcomeUnknown(reason, is_public=True) from None
        except BaseException:
            self._breaker.abandon()
            raise
        if answer.is_server_error:
            self._breaker.failure()
            raise OutcomeUnknown(f"the {self._title} answered {answer.status_code}", is_public=True)
        self._breaker.success()
        return answer

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx

            from shared.adapters.providers.credentials import tls_context

            known = self._credentials
            verify = tls_context(known) if known.certificate or known.authority else True
            self._client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=verify)
        return self._client

    def _token_of(self, answer: httpx.Response) -> tuple[str, float]:
        """Return the token of an answer and its lifetime in seconds. Raises Unavailable when there is none."""
        if answer.is_success:
            try:
                value = answer.json()
                return str(value["access_token"]), float(value.get("expires_in", 60))
            except (ValueError, KeyError, TypeError, AttributeError):
                pass
        raise Unavailable(f"the {self._title} issued no access token: it answered {answer.status_code}")
