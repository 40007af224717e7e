"""Refusals as the outside sees them: problem details (RFC 9457), their catalogue, and a page for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final, NamedTuple, Self

import orjson

CONTENT_TYPE: Final = "application/problem+json"
REALM: Final = "lastro"


class ProblemType(NamedTuple):
    """One kind of refusal. `cause` and `remedy` are what its page tells a developer."""

    code: str
    status: int
    title: str
    cause: str
    remedy: str


class FieldError(NamedTuple):
    """What is wrong with one place of a request: a JSON pointer into the body (RFC 6901) or a query parameter."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def to_document(self) -> dict[str, str]:
        """The member of `errors` that says this."""
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
        "The body is not JSON in UTF-8, names a key twice or is nested too deeply, or a header, a query parameter or "
        "a cursor has a form that it must not have.",
        "Read the detail and the errors of the answer, correct the request and send it again.",
    ),
    ProblemType(
        "missing_idempotency_key",
        400,
        "An Idempotency-Key is needed",
        "The request has an effect and came without the header Idempotency-Key, so that a retry could not be told "
        "from a second order.",
        "Send an Idempotency-Key of your own making (a UUID is a good one), and the same one when you try again.",
    ),
    ProblemType(
        "missing_token",
        401,
        "A token is needed",
        "The request came without an Authorization header.",
        "Ask the token endpoint for an access token and send it as Authorization: Bearer and the token.",
    ),
    ProblemType(
        "invalid_token",
        401,
        "The token is not valid",
        "The token has expired, was made by or for somebody else, is signed with a key that is not known here, or is "
        "no token at all. The detail says which.",
        "Ask the token endpoint for a new access token; a token lives for five minutes.",
    ),
    ProblemType(
        "missing_signature",
        401,
        "A signature is needed",
        "One of the headers X-Timestamp, X-Key-Id and X-Signature is absent from a request that must be signed.",
        "Sign the request's canonical string with your signing key and send all three headers.",
    ),
    ProblemType(
        "invalid_signature",
        401,
        "The signature does not match",
        "X-Signature is not of the form v1= and 44 characters of base64, or it was made over other bytes or with "
        "another secret than the ones that came.",
        "Sign exactly the bytes that are sent: the raw path and query, the body unchanged, and the headers as they "
        "are. Some proxies and HTTP libraries rewrite them after signing.",
    ),
    ProblemType(
        "signature_replayed",
        401,
        "The signature was used before",
        "A request with this very signature has been here already; each signature opens the door once.",
        "Sign a retry anew, with a new X-Timestamp and the same Idempotency-Key.",
    ),
    ProblemType(
        "timestamp_out_of_window",
        401,
        "The timestamp is too old or in the future",
        "X-Timestamp is more than five minutes away from the platform's clock, to one side or the other.",
        "Set your machine's clock by NTP, and sign a request just before it is sent.",
    ),
    ProblemType(
        "unknown_key",
        401,
        "The signing key is not known",
        "X-Key-Id names no signing key of this tenant.",
        "Use the key_id that came with the secret.",
    ),
    ProblemType(
        "revoked_key",
        401,
        "The signing key is revoked",
        "The key was revoked, or its grace after a rotation is over.",
        "Sign with the tenant's active key.",
    ),
    ProblemType(
        "insufficient_scope",
        403,
        "The token does not allow this",
        "The operation needs a scope that the token does not carry.",
        "Ask for a token with the scope that the detail names.",
    ),
    ProblemType(
        "tenant_mismatch",
        403,
        "The tenant is not the token's",
        "X-Tenant-Id names another tenant than the token does, or the token is of the wrong kind: platform operations "
        "take the platform's token, all others a tenant's.",
        "Leave the header out, or send the tenant of the token; use the token of the right client.",
    ),
    ProblemType(
        "tenant_suspended",
        403,
        "The tenant is suspended",
        "The platform's operator has suspended this tenant.",
        "Ask the platform's operator.",
    ),
    ProblemType(
        "not_found",
        404,
        "There is nothing here",
        "The path does not exist, or it names something that does not exist for this tenant.",
        "Check the path and the id in it.",
    ),
    ProblemType(
        "method_not_allowed",
        405,
        "The method is not allowed here",
        "The path exists, but not for this method.",
        "Use one of the methods in the answer's Allow header.",
    ),
    ProblemType(
        "illegal_state",
        409,
        "The state does not allow this",
        "The resource is in a state in which the action has no meaning, such as a capture of a canceled payment.",
        "Read the resource again and decide by its status.",
    ),
    ProblemType(
        "already_exists",
        409,
        "It exists already",
        "Something with the same identity has been made before.",
        "Use the one that exists, or another identity.",
    ),
    ProblemType(
        "request_in_progress",
        409,
        "The same request is being worked on",
        "A request with this Idempotency-Key arrived before and has not been answered yet.",
        "Wait for as long as Retry-After says and send the request again with the same key, signed anew.",
    ),
    ProblemType(
        "payload_too_large",
        413,
        "The body is too large",
        "The request's body is larger than the platform takes.",
        "Send less in one request.",
    ),
    ProblemType(
        "unsupported_media_type",
        415,
        "The media type is not supported",
        "The body is declared as something else than application/json in UTF-8.",
        "Send JSON with Content-Type: application/json.",
    ),
    ProblemType(
        "validation_failed",
        422,
        "A field is not valid",
        "The body is JSON, but a field is missing, not known, of the wrong type or out of its bounds.",
        "Correct the fields that the errors of the answer point at.",
    ),
    ProblemType(
        "user_not_active",
        422,
        "The user is not active",
        "The operation needs an active user, and this one is pending, suspended or closed.",
        "Activate the user first, or name another.",
    ),
    ProblemType(
        "idempotency_key_reused",
        422,
        "The Idempotency-Key belongs to another request",
        "The same key came before, on the same path, with another body.",
        "Use a new key for a new request; repeat a request with its body unchanged.",
    ),
    ProblemType(
        "unknown_reference",
        422,
        "The body names something unknown",
        "An id in the body names nothing that exists for this tenant.",
        "Check the id at the place that the errors of the answer point at.",
    ),
    ProblemType(
        "currency_mismatch",
        422,
        "The currencies differ",
        "The amount and the accounts that it moves between are not all in one currency.",
        "Use accounts and an amount of the same currency.",
    ),
    ProblemType(
        "account_closed",
        422,
        "The account is closed",
        "A closed account takes and gives no money.",
        "Use another account.",
    ),
    ProblemType(
        "amount_exceeds_authorized",
        422,
        "The amount is more than was authorized",
        "A capture cannot take more than the payment holds.",
        "Capture the authorized amount or less.",
    ),
    ProblemType(
        "amount_exceeds_refundable",
        422,
        "The amount is more than can be refunded",
        "The refunds of a payment together cannot exceed what was captured.",
        "Refund what is left or less; without an amount all that is left is refunded.",
    ),
    ProblemType(
        "rate_limited",
        429,
        "Too many requests",
        "The tenant has sent more requests than its limit allows.",
        "Wait for as long as Retry-After says and send more slowly; a signed request is signed anew.",
    ),
    ProblemType(
        "internal_error",
        500,
        "Something went wrong here",
        "The platform met an error of its own. It is in its log under the request_id.",
        "Send the request again with the same Idempotency-Key; should it last, tell the operator the request_id.",
    ),
    ProblemType(
        "dependency_unavailable",
        503,
        "A part of the platform cannot be reached",
        "A store, the broker or a provider did not answer in time.",
        "Wait for as long as Retry-After says and send the request again with the same Idempotency-Key.",
    ),
)

_RETRY_AFTER_SECONDS: Final = {"request_in_progress": 1, "rate_limited": 1, "dependency_unavailable": 2}
_BEARER: Final = f'Bearer realm="{REALM}"'
# RFC 9110 §15.5.2: every 401 carries a challenge, one that does not send the client after a new token in vain.
_SIGNATURE: Final = f'Lastro-HMAC-SHA256 realm="{REALM}"'


class Problem(Exception):
    """A refusal that becomes the answer.

    `status` and `title` are the catalogue's; `headers` go into the answer as they are. Raises KeyError for a
    code that is not in the catalogue.
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
        """A problem with one place of the body, named by a JSON pointer."""
        return cls(code, detail, errors=(FieldError(detail, pointer=pointer),))

    @classmethod
    def parameter(cls, code: str, name: str, detail: str) -> Self:
        """A problem with one query parameter."""
        return cls(code, detail, errors=(FieldError(detail, parameter=name),))

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def _standard_headers(kind: ProblemType, detail: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    seconds = _RETRY_AFTER_SECONDS.get(kind.code)
    if seconds is not None:
        headers["Retry-After"] = str(seconds)
    if kind.code == "missing_token":
        # RFC 6750 §3.1: a request without credentials is told the scheme and no error.
        headers["WWW-Authenticate"] = _BEARER
    elif kind.code in {"invalid_token", "insufficient_scope"}:
        headers["WWW-Authenticate"] = f'{_BEARER}, error="{kind.code}", error_description="{_quotable(detail)}"'
    elif kind.status == 401:
        headers["WWW-Authenticate"] = f'{_SIGNATURE}, error="{kind.code}"'
    return headers


def _quotable(text: str) -> str:
    """Text as RFC 6750 §3 allows it in `error_description`: printable ASCII without quote and backslash."""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in text)


def to_document(problem: Problem, base_url: str, instance: str, request_id: str) -> dict[str, Any]:
    """The problem as a JSON object. `instance` is the path that was asked for; `errors` may be empty."""
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
    """The answer's body. Never fails: text that UTF-8 cannot hold is answered with question marks in its place."""
    document = to_document(problem, base_url, instance, request_id)
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 4rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1rem; margin: 2rem 0 .25rem; }
p { margin: 0; }
code { font: .95em ui-monospace, monospace; padding: .1em .35em; border-radius: .3em; background: #8883; }
footer { margin-top: 3rem; font-size: .9rem; opacity: .75; }
"""


def page(code: str) -> str:
    """The HTML page that a problem's `type` leads to. Raises KeyError for a code that is not in the catalogue."""
    return _page_of(CODES[code])


def _page_of(kind: ProblemType) -> str:
    title, cause, remedy = escape(kind.title), escape(kind.cause), escape(kind.remedy)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Lastro</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>HTTP status <code>{kind.status}</code>, code <code>{escape(kind.code)}</code></p>
<h2>Cause</h2>
<p>{cause}</p>
<h2>Remedy</h2>
<p>{remedy}</p>
</main>
<footer>The answer that led here carries a <code>request_id</code>: quote it when you ask for help.</footer>
</body>
</html>
"""
