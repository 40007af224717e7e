"""Push notifications by Firebase Cloud Messaging, HTTP v1 (`projects.messages.send`).

Access tokens are those of a service account: a signed assertion is exchanged for a token (RFC 7523), which is valid for
an hour.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from shared.adapters.notifiers.choosing import GatewayAddress
from shared.ports.documents import Unavailable
from shared.ports.notifier import Message, MessageRefused

SECONDS: Final = 10.0
_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SEND: Final = "https://fcm.googleapis.com"
_TOKEN_SECONDS: Final = 3600
_MARGIN_SECONDS: Final = 300


class PushNotifier:
    """Sends push notifications as one service account.

    The file is the JSON key that Google's console creates. Its optional member `fcm_uri` replaces the address of
    the service, for tests. `transport` replaces the network.
    """

    def __init__(self, address: GatewayAddress, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._file = Path(address.path)
        self._token = ""
        self._token_until = 0.0

    async def send(self, message: Message) -> None:
        """Send a push notification. See shared.ports.notifier.Notifier."""
        try:
            account: dict[str, str] = json.loads(self._file.read_text("utf-8"))
            url = f"{account.get('fcm_uri', _SEND)}/v1/projects/{account['project_id']}/messages:send"
        except (OSError, ValueError, KeyError) as error:
            raise Unavailable(f"{self._file} is not the key of a service account: {error!r}") from None
        notification = {"title": message.title, "body": message.text}
        body: dict[str, Any] = {
            "message": {"token": message.to, "notification": notification, "data": {"notification_id": message.id}}
        }
        try:
            async with httpx.AsyncClient(timeout=SECONDS, trust_env=False, transport=self._transport) as client:
                headers = {"authorization": f"Bearer {await self._access_token(client, account)}"}
                answer = await client.post(url, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"FCM did not answer: {type(error).__name__}") from None
        if answer.is_success:
            return
        code = _error_code(answer)
        if answer.status_code == 404 or code in ("UNREGISTERED", "INVALID_ARGUMENT", "SENDER_ID_MISMATCH"):
            raise MessageRefused((code or "not_found").lower(), address_gone=code == "UNREGISTERED")
        if answer.status_code == 401:
            self._token = ""
        raise Unavailable(f"FCM answered {answer.status_code} ({code})")

    async def _access_token(self, client: httpx.AsyncClient, account: dict[str, str]) -> str:
        now = time.time()
        if not self._token or now >= self._token_until:
            claims = {
                "iss": account["client_email"],
                "scope": _SCOPE,
                "aud": account["token_uri"],
                "iat": int(now),
                "exp": int(now) + _TOKEN_SECONDS,
            }
            assertion = jwt.encode(claims, account["private_key"], "RS256")
            answer = await client.post(account["token_uri"], data={"grant_type": _GRANT, "assertion": assertion})
            if not answer.is_success:
                raise Unavailable(f"the token endpoint of the service account answered {answer.status_code}")
            issued = answer.json()
            self._token = issued["access_token"]
            self._token_until = now + issued.get("expires_in", _TOKEN_SECONDS) - _MARGIN_SECONDS
        return self._token


def _error_code(answer: httpx.Response) -> str | None:
    """Return the error code of FCM in a response (google.firebase.fcm.v1.FcmError), or its status, or None."""
    try:
        error = answer.json()["error"]
        codes = [detail["errorCode"] for detail in error.get("details", []) if "errorCode" in detail]
        return str(codes[0] if codes else error["status"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
