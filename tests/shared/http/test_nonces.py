"""A signature is accepted once."""

from __future__ import annotations

from typing import cast

from shared.adapters.memory.stores import MemoryNonces
from shared.http.messages import HttpRequest
from shared.http.operation import HttpOperation
from shared.http.pipeline import serve
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS
from tests.harness import Harness, operations


async def test_replayed_bytes_have_no_second_effect_even_when_the_nonces_are_lost(harness: Harness) -> None:
    """A repeated signed request is refused; after the nonces are lost it gets the stored response."""
    user = await harness.user()
    operation = operations()["accounts/open_account"]
    assert isinstance(operation, HttpOperation)
    body = b'{"owner_id": "%b", "currency": "BRL"}' % user["id"].encode()
    headers = {"authorization": "Bearer acme|accounts:write|", "content-type": "application/json"}
    request = HttpRequest("POST", "/v1/accounts", "", {**headers, "idempotency-key": "once"}, body)
    harness.sign(request, "acme")
    first = await serve(operation, request, harness.runtime)
    replayed = await serve(operation, request, harness.runtime)
    cast("MemoryNonces", harness.runtime.nonces).forget()
    answered = await serve(operation, request, harness.runtime)
    assert (first.status, replayed.status, answered.status) == (201, 401, 201)
    assert b"signature_replayed" in replayed.body
    assert (answered.body, answered.headers["idempotent-replayed"]) == (first.body, "true")
    assert len(await harness.documents.find(ACCOUNTS, "acme", Query())) == 1
