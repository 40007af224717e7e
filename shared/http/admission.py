"""Who is calling, for whom, and whether the request is really theirs."""

from __future__ import annotations

from shared.context.runtime import Runtime
from shared.core.clock import format_time
from shared.core.problems import Problem
from shared.http import signing
from shared.http.messages import MUTATING, HttpRequest
from shared.http.operation import Access, HttpOperation
from shared.identity.tenancy import key_status, tenant_of
from shared.identity.tokens import Caller
from shared.records.tenants import SIGNING_KEYS, TenantDocument


async def admit(
    operation: HttpOperation, request: HttpRequest, runtime: Runtime
) -> tuple[Caller, TenantDocument | None]:
    """The caller by its token, checked for scope and tenant, and the tenant when it has one.

    Raises Problem `missing_token`, `invalid_token`, `insufficient_scope`, `tenant_mismatch` or `tenant_suspended`.
    """
    caller = request.caller or await runtime.verifier.verify(bearer_token(request))
    if operation.scope is not None and operation.scope not in caller.scopes:
        raise Problem("insufficient_scope", f"The token does not carry the scope {operation.scope}.")
    named = request.header("x-tenant-id")
    if operation.access is Access.PLATFORM:
        if caller.tenant_id is not None or named is not None:
            raise Problem("tenant_mismatch", "A platform operation belongs to no tenant.")
        return caller, None
    if caller.tenant_id is None:
        raise Problem("tenant_mismatch", "A platform token opens nothing that belongs to a tenant.")
    if named is not None and named != caller.tenant_id:
        raise Problem("tenant_mismatch", "X-Tenant-Id is not the token's tenant.")
    tenant = await tenant_of(runtime.documents, caller.tenant_id)
    if tenant is None:
        raise Problem("invalid_token", "The token's tenant does not exist.")
    if tenant["status"] == "suspended":
        raise Problem("tenant_suspended", "The tenant is suspended.")
    return caller, tenant


def bearer_token(request: HttpRequest) -> str:
    """The access token that a request carries. Raises Problem `missing_token` or `invalid_token`."""
    header = request.header("authorization")
    if header is None:
        raise Problem("missing_token", "The request carries no bearer token.")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("invalid_token", "Authorization is not of the form `Bearer <token>`.")
    return token.strip()


async def verify_signature(request: HttpRequest, tenant_id: str, runtime: Runtime) -> None:
    """Check the HMAC of a request and use it up.

    Raises Problem `missing_signature`, `invalid_signature`, `unknown_key`, `revoked_key`,
    `timestamp_out_of_window`, `signature_replayed`, or `malformed_request` for a timestamp that is no time.
    """
    signature, timestamp = request.header("x-signature"), request.header("x-timestamp")
    key_id = request.header("x-key-id")
    if signature is None or timestamp is None or key_id is None:
        raise Problem("missing_signature", "X-Timestamp, X-Key-Id and X-Signature go together.")
    digest = signing.parse_signature(signature)
    now = runtime.clock.now()
    issued_at = signing.parse_timestamp(timestamp)
    key = await runtime.documents.get(SIGNING_KEYS, tenant_id, key_id)
    if key is None:
        raise Problem("unknown_key", "The tenant has no key of this id.")
    if key_status(key, format_time(now)) == "revoked":
        raise Problem("revoked_key", "The key is revoked.")
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
    if request.method in MUTATING and not await runtime.cache.use_once(tenant_id, digest, issued_at, expires_at):
        raise Problem("signature_replayed", "This signature was used before; sign every request anew.")
