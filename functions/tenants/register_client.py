"""tenant.client_requested, saga.overdue of a client: register the client in the realm that issues access tokens."""

from __future__ import annotations

from events.sweeps import SagaOverdue
from events.tenants import ClientRegistered, ClientRequested
from shared.context import saga
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.ports.documents import Unavailable
from shared.ports.identity import ClientRefused, NewClient
from shared.records.tenants import CLIENT_REGISTRATIONS, TENANTS, ClientRegistrationDocument


@event_function(ClientRequested, SagaOverdue)
async def register_client(event: ClientRequested | SagaOverdue, ctx: Context) -> None:
    """Register the tenant's client and make the tenant active. A repeated registration has no further effect.

    If the realm does not answer, the outcome is unknown: Problem `dependency_unavailable` (503) has the event delivered
    again. A refusal makes it a dead letter, with the reason. An overdue registration is retried until it succeeds, at
    growing intervals.
    """
    if isinstance(event, ClientRequested):
        registration = await ctx.referenced(CLIENT_REGISTRATIONS, event.client_id, "/client_id")
    elif event.saga_type == "client":
        registration = await ctx.referenced(CLIENT_REGISTRATIONS, event.saga_id, "/saga_id")
        if registration["attempt"] != event.attempt:
            return
    else:
        return
    if registration["status"] == "registered":
        return
    try:
        await _register(ctx, registration)
    except (Unavailable, ClientRefused) as failure:
        if isinstance(event, SagaOverdue):
            await _next_attempt(ctx, registration, failure)
            return
        if isinstance(failure, ClientRefused):
            raise Problem("illegal_state", str(failure)) from failure
        raise
    await _activate(ctx, registration)


async def _register(ctx: Context, registration: ClientRegistrationDocument) -> None:
    if ctx.clients is None:
        raise Unavailable("LASTRO_IDENTITY is not set in this process: there is no realm to register the client in")
    sealed = registration["secret"]
    assert sealed is not None, "it is removed when the realm has the client"
    (secret,) = await ctx.secrets.open([sealed])
    await ctx.clients.register(NewClient(registration["id"], secret, ctx.tenant_id, tuple(registration["scopes"])))


async def _activate(ctx: Context, registration: ClientRegistrationDocument) -> None:
    ctx.update(
        CLIENT_REGISTRATIONS, registration, status="registered", secret=None, due_at=None, updated_at=ctx.now_text
    )
    tenant = await ctx.required(TENANTS, ctx.tenant_id)
    if tenant["status"] == "pending":
        ctx.update(TENANTS, tenant, status="active")
    ctx.emit(ClientRegistered(tenant_id=ctx.tenant_id, client_id=registration["id"]))
    await saga.end(ctx, "client", registration["id"])


async def _next_attempt(ctx: Context, registration: ClientRegistrationDocument, failure: Exception) -> None:
    attempt = registration["attempt"] + 1
    ctx.log.warning("the client %s is not registered yet: %s", registration["id"], failure)
    due_at = await saga.begin(ctx, "client", registration["id"], attempt)
    ctx.update(CLIENT_REGISTRATIONS, registration, attempt=attempt, due_at=due_at, updated_at=ctx.now_text)
