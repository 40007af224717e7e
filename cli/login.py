"""A person's login by authorization code with PKCE, for a program on the person's machine (RFC 8252, RFC 7636)."""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from cli.errors import CliError

LOGIN_SECONDS: Final = 300.0
"""The longest time that the login in the browser may take."""
_TOKEN_PATH: Final = "/protocol/openid-connect/token"
_TIMEOUT_SECONDS: Final = 30.0
_PATH: Final = "/callback"
_POLL_SECONDS: Final = 0.2


def log_in(token_url: str, client_id: str, show: Callable[[str], object], seconds: float = LOGIN_SECONDS) -> str:
    """Return an access token of the person who logs in at the address that `show` is called with.

    The answer comes to a free port of 127.0.0.1. Raises CliError when the issuer has no login page, refuses, or the
    time is over.
    """
    issuer = token_url.removesuffix(_TOKEN_PATH)
    discovery = _json("GET", f"{issuer}/.well-known/openid-configuration")
    authorization = discovery.get("authorization_endpoint")
    if not isinstance(authorization, str):
        raise CliError(f"{issuer} has no login page: only a realm on a server has one. Use --user with the user's id")
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    with _Callback(state) as callback:
        query = {
            "client_id": client_id,
            "response_type": "code",
            "redirect_uri": callback.url,
            "scope": "openid",
            "state": state,
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        show(f"{authorization}?{urlencode(query)}")
        answer = callback.wait(seconds)
        # RFC 9207: an answer of another issuer is not accepted.
        if answer.get("iss", discovery["issuer"]) != discovery["issuer"]:
            raise CliError(f"the answer to the login comes from another issuer than {discovery['issuer']}")
        if "code" not in answer:
            raise CliError(f"no login: {answer.get('error_description') or answer.get('error') or 'no code came back'}")
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": answer["code"],
            "redirect_uri": callback.url,
            "code_verifier": verifier,
        }
        return str(_json("POST", token_url, data=form)["access_token"])


class _Callback:
    """A server on a free port of 127.0.0.1 that receives the answer to one login."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._answer: Mapping[str, str] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_SECONDS

            def do_GET(self) -> None:
                status, text = outer._receive(self.path)
                body = text.encode()
                self.send_response(status)
                self.send_header("content-type", "text/plain; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing: the path has the code."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._server.timeout = _POLL_SECONDS
        self.url = f"http://127.0.0.1:{self._server.server_port}{_PATH}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def _receive(self, target: str) -> tuple[int, str]:
        parts = urlsplit(target)
        answer = dict(parse_qsl(parts.query))
        if parts.path != _PATH or not secrets.compare_digest(answer.get("state", ""), self._state):
            return 404, "This is not the answer to a login that has begun here.\n"
        self._answer = answer
        return 200, "You may close this window and go back to the terminal.\n"

    def wait(self, seconds: float) -> Mapping[str, str]:
        """Return the parameters of the answer. Raises CliError after this time."""
        deadline = time.monotonic() + seconds
        while self._answer is None:
            if time.monotonic() > deadline:
                raise CliError(f"no login came within {seconds:.0f} s; the address is no longer valid")
            self._server.handle_request()
        return self._answer


def _json(method: str, url: str, **how: Any) -> dict[str, Any]:
    """Send a request and return its JSON object. Raises CliError with the reason when it is refused."""
    import httpx

    try:
        answer = httpx.request(method, url, timeout=_TIMEOUT_SECONDS, trust_env=False, **how)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CliError(f"{method} {url} was not answered: {str(error) or type(error).__name__}") from None
    try:
        document = answer.json()
    except ValueError:
        raise CliError(f"{method} {url} answered {answer.status_code} without JSON") from None
    if answer.status_code != 200 or not isinstance(document, dict):
        reason = document.get("error_description") or document.get("error") if isinstance(document, dict) else None
        raise CliError(f"{method} {url} answered {answer.status_code}: {reason or 'no reason'}")
    return document
