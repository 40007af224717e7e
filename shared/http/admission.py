"""Authentication and authorization of a request: its access token, its tenant and its signature."""

from __future__ import annotations

from shared.context.runtime import Runtime
from shared.core.clock import format_time
from shared.core.problems import Problem
from shared.http import signing
from shared.http.messages import MUTATING, HttpRequest
from shared.http.operation import Access, HttpOperation
from shared.identity.tenancy import PERSON_SCOPES, key_status, tenant_of
from shared.identity.tokens import Caller
from shared.ports.nonces import Nonce
from shared.records.tenants import SIGNING_KEYS, TenantDocument


async def admit(
    operation: HttpOperation, request: HttpRequest, runtime: Runtime
) -> tuple[Caller, TenantDocument | None]:
    """Return the caller that the access token names, and its tenant; None for a platform operation.

    Checks the token, its scope and the tenant. Raises Problem `missing_token`, `invalid_token`, `insufficient_scope`,
    `tenant_mismatch`, `tenant_suspended`, or `dependency_unavailable` while the tenant is pending.
    """
    caller = request.caller or await runtime.verifier.verify(bearer_token(request))
    if operation.scope is not None:
        require_scope(caller, operation.scope)
    named = request.header("x-tenant-id")
    if operation.access is Access.PLATFORM:
        if caller.tenant_id is not None:
            raise Problem("tenant_mismatch", "This operation needs a platform token; the token is a tenant's.")
        if named is not None:
            raise Problem("tenant_mismatch", "Platform operations belong to no tenant. Leave X-Tenant-Id out.")
        return caller, None
    if caller.tenant_id is None:
        raise Problem("tenant_mismatch", "This operation needs a tenant's token; the token is the platform's.")
    if named is not None and named != caller.tenant_id:
        raise Problem("tenant_mismatch", "X-Tenant-Id differs from the tenant of the token.")
    tenant = await tenant_of(runtime.documents, caller.tenant_id)
    if tenant is None:
        raise Problem("invalid_token", "The tenant of the token does not exist.")
    if tenant["status"] == "suspended":
        raise Problem("tenant_suspended", "The tenant is suspended.")
    if tenant["status"] == "pending":
        detail = "The tenant is pending: its client is being registered. Try again."
        raise Problem("dependency_unavailable", detail, headers={"Retry-After": "1"})
    return caller, tenant


def bearer_token(request: HttpRequest) -> str:
    """Return the access token of a request. Raises Problem `missing_token` or `invalid_token`."""
    header = request.header("authorization")
    if header is None:
        raise Problem("missing_token", "The request has no Authorization header.")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("invalid_token", "The Authorization header must have the form `Bearer <token>`.")
    return token.strip()


def require_scope(caller: Caller, scope: str) -> None:
    """Raise Problem `insufficient_scope` unless the caller's token has the scope, and may have it."""
    if scope not in caller.scopes:
        raise Problem("insufficient_scope", f"The token does not have the scope {scope}.")
    if caller.user_id is not None and scope not in PERSON_SCOPES:
        raise Problem("insufficient_scope", f"A person's token cannot have the scope {scope}.")


def refuse_repeated_headers(request: HttpRequest) -> None:
    """Raise Problem `malformed_request` when a header that may occur once (`SECURITY_HEADERS`) was sent twice."""
    if request.repeated:
        names = ", ".join(sorted(request.repeated))
        raise Problem("malformed_request", f"These headers may be sent once and were sent more than once: {names}.")


async def verify_signature(request: HttpRequest, tenant_id: str, runtime: Runtime) -> Nonce | None:
    """Check the signature of a request. On a method that changes something, use it up and return its nonce.

    Raises Problem `missing_signature`, `invalid_signature`, `unknown_key`, `revoked_key`, `timestamp_out_of_window`,
    `signature_replayed`, or `malformed_request` for an X-Timestamp that is not a time.
    """
    signature, timestamp = request.header("x-signature"), request.header("x-timestamp")
    key_id = request.header("x-key-id")
    if signature is None or timestamp is None or key_id is None:
        raise Problem("missing_signature", "A signed request needs X-Timestamp, X-Key-Id and X-Signature.")
    digest = signing.parse_signature(signature)
    now = runtime.clock.now()
    issued_at = signing.parse_timestamp(timestamp)
    key = await runtime.documents.get(SIGNING_KEYS, tenant_id, key_id)
    if key is None:
        raise Problem("unknown_key", "The tenant has no signing key with the id in X-Key-Id.")
    if key_status(key, format_time(now)) == "revoked":
        raise Problem("revoked_key", "The signing key is revoked. Sign with the active key.")
    window = runtime.settings.timestamp_window_seconds
    expires_at = signing.check_window(issued_at, now, window)
    canonical = signing.canonical_string(
        method=request.method,
        raw_path=request.path,
        raw_query=request.query,
        body=request.body,
        tenant_id=tenant_id,
        idempotency_key=request.headers.get("idempotency-key", ""),
        timestamp=timestamp,
        key_id=key_id,
    )
    secret = await runtime.signing_secrets.secret_of(key)
    signing.check_signature(secret, canonical, digest)
    if request.method not in MUTATING:
        return None
    nonce = Nonce(tenant_id, digest, issued_at, expires_at)
    if not await runtime.nonces.use_once(nonce):
        raise signature_replayed()
    return nonce


def signature_replayed() -> Problem:
    """Return the Problem for a signature that was used before."""
    return Problem("signature_replayed", "This signature was used before. Sign every request anew, also a retry.")
