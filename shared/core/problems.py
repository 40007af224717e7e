"""Errors of the HTTP interface: problem details (RFC 9457) and the catalogue of their codes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Self

import orjson

CONTENT_TYPE: Final = "application/problem+json"
REALM: Final = "lastro"


class ProblemType(NamedTuple):
    """One kind of error. Its page shows `cause` and `remedy` to a developer; `code` in backquotes is set as code."""

    code: str
    status: int
    title: str
    cause: str
    remedy: str


class FieldError(NamedTuple):
    """An error in one place of a request: a JSON pointer into the body (RFC 6901) or a query parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def to_document(self) -> dict[str, str]:
        """Return the entry of the response's `errors`."""
        document = {"detail": self.detail}
        if self.pointer is not None:
            document["pointer"] = self.pointer
        if self.parameter is not None:
            document["parameter"] = self.parameter
        return document


def _catalogue(*types: ProblemType) -> dict[str, ProblemType]:
    return {kind.code: kind for kind in types}


CODES: Final[dict[str, ProblemType]] = _catalogue(
    ProblemType(
        "malformed_request",
        400,
        "The request cannot be read",
        "The body is not JSON in UTF-8, has a key twice or is nested too deeply; or a header, a query parameter or a "
        "cursor is not valid.",
        "Read `detail` and `errors` in the response, correct the request and send it again.",
    ),
    ProblemType(
        "missing_idempotency_key",
        400,
        "An Idempotency-Key is needed",
        "The request changes something and has no Idempotency-Key header. Without a key, the platform cannot tell a "
        "retry from a second request.",
        "Send an Idempotency-Key that you choose, such as a UUID. Send the same key when you retry.",
    ),
    ProblemType(
        "missing_token",
        401,
        "A token is needed",
        "The request has no Authorization header.",
        "Get an access token from the token endpoint and send it as `Authorization: Bearer <token>`.",
    ),
    ProblemType(
        "invalid_token",
        401,
        "The token is not valid",
        "The token has expired, comes from another issuer, is for another audience, is signed with an unknown key, or "
        "is not a token at all. `detail` says which.",
        "Get a new access token from the token endpoint. A token is valid for five minutes.",
    ),
    ProblemType(
        "missing_signature",
        401,
        "A signature is needed",
        "The request must be signed, and X-Timestamp, X-Key-Id or X-Signature is missing.",
        "Sign the canonical string of the request with your signing key and send all three headers.",
    ),
    ProblemType(
        "invalid_signature",
        401,
        "The signature does not match",
        "X-Signature does not have the form `v1=` and 44 characters of base64, or it was computed over other bytes or "
        "with another secret.",
        "Sign exactly the bytes that you send: the raw path and query, the body, and the header values. Some proxies "
        "and HTTP libraries change them after signing.",
    ),
    ProblemType(
        "signature_replayed",
        401,
        "The signature was used before",
        "An earlier request had the same signature. A signature is accepted once.",
        "Sign each retry again, with a new X-Timestamp and the same Idempotency-Key.",
    ),
    ProblemType(
        "timestamp_out_of_window",
        401,
        "The timestamp is too old or in the future",
        "X-Timestamp differs from the platform's clock by more than five minutes.",
        "Synchronize the clock of your machine (NTP), and sign a request just before you send it.",
    ),
    ProblemType(
        "unknown_key",
        401,
        "The signing key is not known",
        "The tenant has no signing key with the id in X-Key-Id.",
        "Use the `key_id` that you received together with the secret.",
    ),
    ProblemType(
        "revoked_key",
        401,
        "The signing key is revoked",
        "The key was revoked, or it was replaced and its grace period is over.",
        "Sign with the tenant's active key.",
    ),
    ProblemType(
        "insufficient_scope",
        403,
        "The token does not allow this",
        "The operation needs a scope that the token does not have; or the token is a person's, and the person may not "
        "do this.",
        "Request a token with the scope that `detail` names. What a person may not do, the tenant's own client does.",
    ),
    ProblemType(
        "tenant_mismatch",
        403,
        "The tenant is not the token's",
        "X-Tenant-Id names another tenant than the token does, or the token is of the wrong kind: platform operations "
        "need a platform token, all others a tenant's token.",
        "Leave X-Tenant-Id out or send the tenant of the token, and use the token of the right client.",
    ),
    ProblemType(
        "tenant_suspended",
        403,
        "The tenant is suspended",
        "The operator of the platform has suspended this tenant.",
        "Contact the operator of the platform.",
    ),
    ProblemType(
        "not_found",
        404,
        "There is nothing here",
        "The path does not exist, or it names a resource that this tenant does not have.",
        "Check the path and the id in it.",
    ),
    ProblemType(
        "method_not_allowed",
        405,
        "The method is not allowed here",
        "The path exists, but not with this method.",
        "Use one of the methods that `detail` and the Allow header list.",
    ),
    ProblemType(
        "illegal_state",
        409,
        "The state does not allow this",
        "The resource is in a status that does not allow the action, such as the capture of a canceled payment.",
        "Read the resource and decide by its status.",
    ),
    ProblemType(
        "already_exists",
        409,
        "It exists already",
        "A resource with the same identity exists, such as a tenant with this id or a user with this tax number; or a "
        "request with this Idempotency-Key was carried out so long ago that its response is no longer stored.",
        "Use the existing resource, or choose another identity. Use a new Idempotency-Key for a new request.",
    ),
    ProblemType(
        "request_in_progress",
        409,
        "The same request is in progress",
        "A request with this Idempotency-Key arrived earlier and has not been answered yet.",
        "Wait for the number of seconds in Retry-After, sign the request again, and send it with the same key.",
    ),
    ProblemType(
        "payload_too_large",
        413,
        "The body is too large",
        "The body of the request is larger than the platform accepts. `detail` gives the limit.",
        "Send a smaller body.",
    ),
    ProblemType(
        "uri_too_long",
        414,
        "The path and query are too long",
        "Path and query of the request are longer than the platform accepts.",
        "Send a shorter query. Large values belong in the body.",
    ),
    ProblemType(
        "unsupported_media_type",
        415,
        "The media type is not supported",
        "The Content-Type of the body is not application/json in UTF-8, or the body is compressed.",
        "Send JSON with `Content-Type: application/json` and no Content-Encoding.",
    ),
    ProblemType(
        "validation_failed",
        422,
        "A field is not valid",
        "The body is JSON, but a field is missing, unknown, of the wrong type or out of range.",
        "Correct the fields that `errors` in the response points at.",
    ),
    ProblemType(
        "user_not_active",
        422,
        "The user is not active",
        "The operation needs an active user, and this user is pending, suspended or closed.",
        "Activate the user first, or use another user.",
    ),
    ProblemType(
        "idempotency_key_reused",
        422,
        "The Idempotency-Key belongs to another request",
        "An earlier request to this path had the same key and a different body.",
        "Use a new key for a new request. When you retry, send the same body.",
    ),
    ProblemType(
        "unknown_reference",
        422,
        "The body names something unknown",
        "An id in the body does not exist for this tenant.",
        "Check the id that `errors` in the response points at.",
    ),
    ProblemType(
        "currency_mismatch",
        422,
        "The currencies differ",
        "The amount and the accounts that it moves between are not all in the same currency.",
        "Use accounts and an amount of the same currency.",
    ),
    ProblemType(
        "account_closed",
        422,
        "The account is closed",
        "Money cannot be moved from or to a closed account.",
        "Use another account.",
    ),
    ProblemType(
        "amount_exceeds_authorized",
        422,
        "The amount is more than was authorized",
        "A capture cannot be larger than the amount that the payment holds.",
        "Capture the authorized amount or less.",
    ),
    ProblemType(
        "amount_exceeds_refundable",
        422,
        "The amount is more than can be refunded",
        "All refunds of a payment together cannot be larger than the captured amount.",
        "Refund the rest or less. A refund without an amount returns all that is left.",
    ),
    ProblemType(
        "rate_limited",
        429,
        "Too many requests",
        "The tenant has sent more requests per second than its limit allows.",
        "Wait for the number of seconds in Retry-After, and send more slowly. Sign a signed request again.",
    ),
    ProblemType(
        "head_too_large",
        431,
        "The headers are too large",
        "The request has too many headers, or they are larger in total than the platform accepts.",
        "Send fewer or shorter headers. The platform needs no cookies.",
    ),
    ProblemType(
        "internal_error",
        500,
        "The platform has an internal error",
        "An unexpected error occurred in the platform. Its log has the details under the `request_id`.",
        "Send the request again with the same Idempotency-Key. If the error stays, give the operator the `request_id`.",
    ),
    ProblemType(
        "dependency_unavailable",
        503,
        "A part of the platform cannot be reached",
        "A store, the broker or a provider did not answer in time, or an operator has stopped a payment method. "
        "`detail` says which.",
        "Wait for the number of seconds in Retry-After, and send the request again with the same Idempotency-Key.",
    ),
)

_RETRY_AFTER_SECONDS: Final = {"request_in_progress": 1, "rate_limited": 1, "dependency_unavailable": 2}
_BEARER: Final = f'Bearer realm="{REALM}"'
# RFC 9110 §15.5.2: every 401 carries a challenge. This one has no error code, so that a client does not request a new
# token without need.
_SIGNATURE: Final = f'Lastro-HMAC-SHA256 realm="{REALM}"'


class Problem(Exception):
    """An error that is sent as the response.

    `status` and `title` come from the catalogue, `detail` too when it is left out; `headers` are added to the
    response. Raises KeyError for a code that the catalogue does not have.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        kind = CODES[code]
        super().__init__(code, detail)
        self.code = code
        self.status = kind.status
        self.title = kind.title
        self.detail = detail or kind.cause
        self.errors = tuple(errors)
        self.headers = {**_standard_headers(kind, self.detail), **(headers or {})}

    @classmethod
    def at(cls, code: str, pointer: str, detail: str) -> Self:
        """Make a problem with one field of the body; `pointer` is a JSON pointer (RFC 6901)."""
        return cls(code, detail, errors=(FieldError(detail, pointer=pointer),))

    @classmethod
    def parameter(cls, code: str, name: str, detail: str) -> Self:
        """Make a problem with one query parameter."""
        return cls(code, detail, errors=(FieldError(detail, parameter=name),))

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def _standard_headers(kind: ProblemType, detail: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    seconds = _RETRY_AFTER_SECONDS.get(kind.code)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    if kind.code == "missing_token":
        # RFC 6750 §3.1: the challenge for a request without credentials has the scheme and no error.
        headers["WWW-Authenticate"] = _BEARER
    elif kind.code in {"invalid_token", "insufficient_scope"}:
        headers["WWW-Authenticate"] = f'{_BEARER}, error="{kind.code}", error_description="{_quotable(detail)}"'
    elif kind.status == 401:
        headers["WWW-Authenticate"] = f'{_SIGNATURE}, error="{kind.code}"'
    return headers


def _quotable(text: str) -> str:
    """Return the text as RFC 6750 §3 allows it in `error_description`: printable ASCII without quotes and
    backslashes."""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in text)


def to_document(problem: Problem, base_url: str, instance: str, request_id: str) -> dict[str, Any]:
    """Return the problem as a JSON object. `instance` is the path of the request; `errors` may be empty."""
    return {
        "type": f"{base_url.rstrip('/')}/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        "request_id": request_id,
        "errors": [error.to_document() for error in problem.errors],
    }


def render(problem: Problem, base_url: str, instance: str, request_id: str) -> bytes:
    """Return the body of the response. Never fails: characters that UTF-8 cannot encode become question marks."""
    document = to_document(problem, base_url, instance, request_id)
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def sentence(reason: str) -> str:
    """Return a reason as the detail of a Problem: it begins with a capital letter and ends with a full stop."""
    return reason[:1].upper() + reason[1:] + ("" if reason.endswith(".") else ".")
