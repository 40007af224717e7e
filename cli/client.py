"""A client of the running platform, with token, signature and idempotency key."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from cli.errors import CliError
from cli.options import PROGRAM

if TYPE_CHECKING:
    import httpx

    from embedded.identity.credentials import Credentials, Identity

TIMEOUT_SECONDS: Final = 30.0
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_TOKEN_MARGIN_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """The platform's response."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        """The body as a JSON value; None when it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class Client:
    """A client with one identity. As a context manager it closes its connections."""

    def __init__(self, credentials: Credentials, identity: Identity) -> None:
        import httpx

        self.credentials = credentials
        self.identity = identity
        self._http = httpx.Client(base_url=credentials.base_url, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._token = ""
        self._token_until = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @classmethod
    def of(cls, data_dir: Path, *, tenant: str | None = None, platform: bool = False) -> Client:
        """Return the client of a tenant, of the demo tenant, or of the platform. Raises CliError when credentials are
        missing."""
        if platform and tenant is not None:
            raise CliError("--platform and --tenant exclude each other", 2)
        credentials = read_credentials(data_dir)
        found = credentials.platform_identity() if platform else credentials.identity_of(tenant)
        if found is not None:
            return cls(credentials, found)
        if platform:
            raise CliError(
                f"{credentials.path} has no client of the platform: with LASTRO_IDENTITY, `{PROGRAM} up` writes it "
                "when LASTRO_IDENTITY_CLIENT_SECRET is set"
            )
        if tenant is None:
            raise CliError(f"{credentials.path} has no demo tenant; name another with --tenant")
        raise CliError(
            f"{credentials.path} has no client of a tenant {tenant}; "
            f"it stores those that `{PROGRAM} request --platform POST /v1/tenants` creates"
        )

    def token(self, *, scope: str | None = None, user: str | None = None) -> str:
        """Return an access token. The client's own token is cached until shortly before it expires. Raises CliError."""
        plain = scope is None and user is None
        if plain and time.monotonic() < self._token_until:
            return self._token
        form = {"grant_type": "client_credentials"}
        if user is not None:
            form = {"grant_type": _EXCHANGE, "requested_subject": user}
        if scope is not None:
            form["scope"] = scope
        response = self._reach(
            "POST",
            self.credentials.token_url,
            data=form,
            auth=(self.identity.client_id, self.identity.client_secret),
        )
        answer = response.json() if "json" in response.headers.get("content-type", "") else {}
        if response.status_code != 200:
            reason = answer.get("error_description") or answer.get("error") or response.status_code
            is_elsewhere = user is not None and not self.credentials.token_url.startswith(self.credentials.base_url)
            hint = f"; a realm on a server gives it to the person: {PROGRAM} token --login" if is_elsewhere else ""
            raise CliError(f"no token for {self.identity.client_id}: {reason}{hint}")
        token: str = answer["access_token"]
        if plain:
            self._token = token
            self._token_until = time.monotonic() + answer["expires_in"] - _TOKEN_MARGIN_SECONDS
        return token

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        key: str | None = None,
    ) -> Answer:
        """Send a request with a token, and a signature if requested. `target` is the encoded path and query. Raises
        CliError when the platform cannot be reached."""
        method = method.upper()
        extra = {name.lower(): value for name, value in (headers or {}).items()}
        sent = {"authorization": f"Bearer {self.token()}", "accept": "application/json"}
        if body:
            sent["content-type"] = "application/json"
        if method == "POST":
            sent["idempotency-key"] = key or secrets.token_hex(16)
        sent |= extra
        if self.identity.signing_secret is not None and method in _CHANGING:
            sent |= self._signature(method, target, body, sent.get("idempotency-key", ""))
        response = self._reach(method, target, content=body, headers=sent)
        return Answer(response.status_code, dict(response.headers), response.text)

    def get(self, target: str) -> Any:
        """Send a GET and return its body. Raises CliError with the problem when the request is refused."""
        answer = self.send("GET", target)
        if not answer.ok:
            raise_refusal(answer)
        return answer.body

    def post(self, target: str, value: Any = None, *, wait: int = 0) -> Any:
        """Send a POST with a JSON value and return the body of the answer. `wait` is in seconds, for `Prefer`. Raises
        as `get`."""
        body = b"" if value is None else json.dumps(value).encode()
        answer = self.send("POST", target, body, headers={"prefer": f"wait={wait}"} if wait else None)
        if not answer.ok:
            raise_refusal(answer)
        return answer.body

    def _signature(self, method: str, target: str, body: bytes, key: str) -> dict[str, str]:
        from shared.http.signing import canonical_string, sign

        identity = self.identity
        assert identity.signing_secret is not None
        path, _, query = target.partition("?")
        timestamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        canonical = canonical_string(
            method, path, query, body, identity.tenant_id or "", key, timestamp, identity.key_id or ""
        )
        return {
            "x-timestamp": timestamp,
            "x-key-id": identity.key_id or "",
            "x-signature": sign(identity.signing_secret, canonical),
        }

    def _reach(self, method: str, target: str, **how: Any) -> httpx.Response:
        import httpx

        try:
            return self._http.request(method, target, **how)
        except httpx.ConnectError:
            raise CliError(
                f"the platform does not answer at {self.credentials.base_url}; start it with: "
                f"{PROGRAM} up{data_dir_option(self.credentials.path.parent)}"
            ) from None
        except httpx.HTTPError as error:
            raise CliError(f"{method} {target} was not answered: {str(error) or type(error).__name__}") from None


_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


def read_credentials(data_dir: Path) -> Credentials:
    """Read the credentials file of a data directory. Raises CliError, which says how to create it."""
    from embedded.identity.credentials import FILE_NAME, BadCredentials, Credentials

    try:
        credentials = Credentials.read(data_dir)
    except BadCredentials as error:
        raise CliError(str(error)) from None
    if credentials is None:
        start = f"{PROGRAM} up{data_dir_option(data_dir)}"
        raise CliError(
            f"there is no {data_dir / FILE_NAME} here (in {Path.cwd()}). A platform that was started elsewhere has it "
            f"in its data directory: name that with --data-dir or LASTRO_DATA_DIR. Or start one: {start}"
        )
    return credentials


def data_dir_option(data_dir: Path) -> str:
    """Return the option for a data directory, with a space before it; empty for the default."""
    return "" if str(data_dir) == ".lastro" else f" --data-dir {data_dir}"


def raise_refusal(answer: Answer) -> NoReturn:
    """Raise CliError with the problem of a refused request."""
    problem = answer.body
    if not isinstance(problem, dict) or "code" not in problem:
        raise CliError(f"the platform answered {answer.status}: {answer.text[:300]}")
    places = [f"{error.get('pointer') or error.get('parameter')}: {error['detail']}" for error in problem["errors"]]
    shown = "".join(f"\n  {place}" for place in places)
    raise CliError(f"{problem['status']} {problem['code']}: {problem['detail']}{shown}")
