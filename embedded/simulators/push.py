"""A simulated Firebase Cloud Messaging, HTTP v1, with the token endpoint of its service account.

| path | |
|---|---|
| POST `/token` | an access token for a signed assertion of the service account (RFC 7523) |
| POST `/v1/projects/{project}/messages:send` | sends a message to the token of a device |
| GET `/messages` | shows what was delivered |
| POST `/faults` | orders a fault |

The errors have the form of Google's APIs, with the codes of `google.firebase.fcm.v1.FcmError`. A device that was once
unregistered by a fault stays so.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embedded.simulators.answering import first_error, json_response
from embedded.simulators.callbacks import Sleep
from embedded.simulators.deliveries import Delivered, Deliveries
from embedded.simulators.gateways import Allow, MessageGateway, allow_all
from embedded.simulators.routing import Answer
from shared.core.clock import Clock
from shared.http.messages import HttpRequest, HttpResponse

PREFIX: Final = "/simulators/push"
PROJECT: Final = "lastro-simulation"
FAULTS: Final = (
    "late",
    "twice",
    "500",
    "cut",
    "refused",
    "unregistered",
    "quota_exceeded",
    "unavailable",
)
RETRY_SECONDS: Final = 60
TOKEN_SECONDS: Final = 3599
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MAX_DEVICES: Final = 10_000
_MAX_TOKENS: Final = 1_000
_MAX_PAYLOAD_BYTES: Final = 4_096
_KEY_BITS: Final = 2_048
_ERRORS: Final = {
    "500": (500, "INTERNAL", "INTERNAL"),
    "refused": (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    "unregistered": (404, "NOT_FOUND", "UNREGISTERED"),
    "quota_exceeded": (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
    "unavailable": (503, "UNAVAILABLE", "UNAVAILABLE"),
}
"""The status of HTTP, of the API and of FCM for each fault that is an error."""


class _Notification(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    title: str = ""
    body: str = ""


class _Message(BaseModel):
    """The fields of a message that this platform may send."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(min_length=1, max_length=4_096)
    notification: _Notification
    data: dict[str, str] = Field(default_factory=dict)


class _SendRequest(BaseModel):
    """The body of `messages:send`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    message: _Message


def service_account(file: Path, base_url: str) -> dict[str, str]:
    """Return the simulated service account in a file, for the simulator at this URL.

    The file is created, readable by its owner only, unless it exists; then it keeps its key, and its addresses are
    brought up to date. It has the form of the key that Google's console creates.
    """
    known = json.loads(file.read_text("utf-8")) if file.exists() else {"private_key": _new_key()}
    account = {
        **known,
        "type": "service_account",
        "project_id": PROJECT,
        "client_email": f"simulation@{PROJECT}.iam.gserviceaccount.com",
        "token_uri": f"{base_url}/token",
        "fcm_uri": base_url,
    }
    if account != known:
        fresh = file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as written:
            json.dump(account, written, indent=2)
        fresh.replace(file)
    return account


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class PushSimulator(MessageGateway):
    """A simulated Firebase Cloud Messaging. `account` is the service account that may use it."""

    def __init__(
        self,
        account: dict[str, str],
        clock: Clock,
        file: Path | None = None,
        *,
        prefix: str = PREFIX,
        allow: Allow = allow_all,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        answers: dict[str, dict[str, Answer]] = {
            r"/(token)": {"POST": self._issue},
            r"/v1/projects/([^/]+)/messages:send": {"POST": self._send},
        }
        super().__init__(Deliveries("push", clock, file, FAULTS), answers, prefix, allow, sleep)
        self._account = account
        self._clock = clock
        self._tokens: dict[str, datetime] = {}
        self._unregistered: dict[str, None] = {}

    async def _issue(self, _name: str, request: HttpRequest) -> HttpResponse:
        form = dict(parse_qsl(request.body.decode("latin-1")))
        if form.get("grant_type") != GRANT:
            return json_response(400, {"error": "unsupported_grant_type", "error_description": f"Use {GRANT}."})
        account = self._account
        public = load_pem_private_key(account["private_key"].encode(), None).public_key()
        key = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        try:
            claims = jwt.decode(
                form.get("assertion", ""),
                key,
                algorithms=["RS256"],
                audience=account["token_uri"],
                issuer=account["client_email"],
                options={"require": ["exp", "iat", "aud", "iss"]},
            )
        except jwt.PyJWTError as error:
            return json_response(400, {"error": "invalid_grant", "error_description": str(error)})
        if SCOPE not in str(claims.get("scope", "")).split():
            return json_response(400, {"error": "invalid_scope", "error_description": f"The scope is {SCOPE}."})
        now = self._clock.now()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now}
        if len(self._tokens) >= _MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        token = f"ya29.{secrets.token_urlsafe(32)}"
        self._tokens[token] = now + timedelta(seconds=TOKEN_SECONDS)
        return json_response(200, {"access_token": token, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"})

    async def _send(self, project: str, request: HttpRequest) -> HttpResponse:
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        expires = self._tokens.get(token)
        if scheme.lower() != "bearer" or expires is None or expires <= self._clock.now():
            return _error(401, "UNAUTHENTICATED", "The access token is missing, invalid or expired.")
        if project != PROJECT:
            return _error(403, "PERMISSION_DENIED", "The account is of another project.", "SENDER_ID_MISMATCH")
        if len(request.body) > _MAX_PAYLOAD_BYTES:
            return _error(400, "INVALID_ARGUMENT", "The message is larger than 4096 bytes.", "INVALID_ARGUMENT")
        try:
            message = _SendRequest.model_validate_json(request.body).message
        except ValidationError as error:
            return _error(400, "INVALID_ARGUMENT", first_error(error), "INVALID_ARGUMENT")
        order = self.deliveries.fault_of(message.token)
        if order is not None and order.fault == "unregistered":
            self._unregister(message.token)
        fault = "unregistered" if message.token in self._unregistered else order.fault if order is not None else None
        if fault in _ERRORS:
            status, name, code = _ERRORS[fault]
            return _error(status, name, "This error was ordered for the request.", code)
        id = message.data.get("notification_id", "")
        shown = message.notification
        await self.deliver(Delivered(id, message.token, shown.title, shown.body), order)
        return json_response(200, {"name": f"projects/{PROJECT}/messages/{secrets.token_hex(8)}"})

    def _unregister(self, device: str) -> None:
        self._unregistered[device] = None
        if len(self._unregistered) > _MAX_DEVICES:
            self._unregistered.pop(next(iter(self._unregistered)))


def _error(status: int, name: str, message: str, code: str | None = None) -> HttpResponse:
    """Return an error in the form of Google's APIs (google.rpc.Status)."""
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if code is not None:
        error["details"] = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}]
    response = json_response(status, {"error": error})
    if status in (429, 503):
        response.headers["retry-after"] = str(RETRY_SECONDS)
    return response
