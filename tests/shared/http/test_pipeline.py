"""The pipeline of a request, as functions-framework and as the gateway call it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.accounts.open_account import open_account
from shared.adapters.memory.stores import MemoryDocuments
from shared.context.context import Context
from shared.core.settings import Settings
from shared.functions.decorators import http_function, operation_of
from shared.functions.process import install
from shared.http.models import Command, Resource
from shared.http.operation import Access, HttpOperation
from shared.ports.documents import PRIMARY_INDEX, AlreadyExists, Commit, NonceUsed, Unavailable, VersionConflict
from shared.records.accounts import ACCOUNTS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.users import USERS
from tests.harness import Answer, Harness


class Rename(Command):
    """A new name."""

    name: str


class Named(Resource):
    """A thing with a name."""

    id: str
    name: str


@http_function("PUT /v1/things/{thing_id}/name", scope="accounts:write")
async def rename(thing_id: str, command: Rename, ctx: Context) -> Named:
    """Rename a thing."""
    del ctx
    return Named(id=thing_id, name=command.name)


@http_function("POST /v1/things/{thing_id}/calls", access=Access.PROVIDER, status=202)
async def call_thing(thing_id: str, ctx: Context) -> None:
    """Receive a provider's call."""
    del thing_id, ctx


@pytest.fixture
def alone() -> Iterator[Harness]:
    """A runtime with small bounds, as the runtime of a function's process."""
    harness = Harness.make(settings=Settings(max_body_bytes=100, commit_attempts=3, commit_pause_seconds=0.0))
    install(harness.runtime)
    yield harness
    install(None)


async def call(body: bytes, *headers: tuple[str, str]) -> Response:
    """Send a request to the function `accounts/open_account`, as the framework does."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": "POST", "path": "/v1/accounts", "query_string": b"", "headers": raw}
    return await open_account(Request(scope, receive))


def code_of(response: Response) -> str:
    """Return the code of a problem document."""
    return str(orjson.loads(response.body)["code"])


async def test_a_function_alone_refuses_a_body_over_its_bound(alone: Harness) -> None:
    """A body over `max_body_bytes` is refused with 413 before its token is looked at, and the problem has the request's
    id."""
    del alone
    response = await call(b"x" * 101, ("x-request-id", "mine"))
    assert (response.status_code, code_of(response)) == (413, "payload_too_large")
    assert response.headers["x-request-id"] == "mine"


async def test_a_function_alone_refuses_a_chunked_body(alone: Harness) -> None:
    """A chunked body, whose trailers may come as headers, is refused with 400, and the connection is closed."""
    del alone
    response = await call(b"{}", ("transfer-encoding", "chunked"))
    assert (response.status_code, code_of(response)) == (400, "malformed_request")
    assert response.headers["connection"] == "close"


async def test_a_function_alone_requires_a_token(alone: Harness) -> None:
    """A request within the bounds goes through the pipeline, which begins with the token."""
    del alone
    response = await call(b"{}")
    assert (response.status_code, code_of(response)) == (401, "missing_token")


async def test_a_gateway_s_request_over_the_bound_is_refused(alone: Harness) -> None:
    """The bound of the body holds however the request reaches the pipeline."""
    answer = await alone.call("POST", "/v1/tenants", {"id": "acme", "name": "x" * 100})
    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "é"])
async def test_an_unusable_request_id_is_replaced(alone: Harness, sent: str) -> None:
    """The response names a new request id when the client's is not of the accepted form."""
    answer = await alone.call("POST", "/v1/tenants", {"id": "acme", "name": "A"}, headers={"x-request-id": sent})
    assert answer.status == 201
    assert answer.headers["x-request-id"].startswith("req_")


def _rename() -> HttpOperation:
    operation = operation_of(rename)
    assert isinstance(operation, HttpOperation)
    return operation


async def _put(harness: Harness, body: Any) -> Answer:
    return await harness.http(_rename(), "PUT", "/v1/things/t1/name", body, key="the same")


async def test_a_put_is_validated_and_runs_each_time(harness: Harness) -> None:
    """A PUT, which has the same effect when it is repeated, is validated as a POST is, and no response is replayed."""
    for name in ("new", "newer"):
        answer = await _put(harness, {"name": name})
        assert (answer.status, answer.json) == (200, {"id": "t1", "name": name})
    refused = await _put(harness, {"name": 1})
    assert (refused.status, refused.code) == (422, "validation_failed")


async def test_a_handler_without_a_result_is_answered_without_a_body(harness: Harness) -> None:
    """The response to an operation that returns nothing has its status, and neither a body nor a media type."""
    operation = operation_of(call_thing)
    assert isinstance(operation, HttpOperation)
    answer = await harness.http(operation, "POST", "/v1/things/t1/calls")
    assert (answer.status, answer.body) == (202, b"")
    assert "content-type" not in answer.headers


class _RefusingDocuments:
    """Documents whose commits fail."""

    def __init__(self, documents: MemoryDocuments, failure: Exception) -> None:
        self._documents = documents
        self._failure = failure
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def commit(self, commit: Commit) -> None:
        del commit
        self.commits += 1
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "status", "code", "commits"),
    [
        (VersionConflict("changed"), 503, "dependency_unavailable", 3),
        (Unavailable("gone"), 503, "dependency_unavailable", 1),
        (AlreadyExists(USERS.name, "email", "usr_1"), 409, "already_exists", 2),
        (AlreadyExists(IDEMPOTENCY.name, PRIMARY_INDEX, "idem_1"), 409, "request_in_progress", 1),
        (NonceUsed("used"), 401, "signature_replayed", 1),
        (RuntimeError("a defect"), 500, "internal_error", 1),
    ],
)
async def test_a_commit_that_fails_is_answered_with_a_problem(
    alone: Harness, failure: Exception, status: int, code: str, commits: int
) -> None:
    """Conflicts without end and a store that is gone are 503; a unique value that the handler does not look for and a
    key in use are 409; a signature that another request has used is 401; a defect is 500."""
    documents = alone.runtime.documents = _RefusingDocuments(alone.documents, failure)  # type: ignore[arg-type]  # a test double
    answer = await alone.call("POST", "/v1/tenants", {"id": "acme", "name": "A"})
    assert (answer.status, answer.code) == (status, code)
    assert documents.commits == commits


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (Unavailable("mongo-3 is gone"), "A store cannot answer at the moment."),
        (Unavailable("the PIX provider answered 500", is_public=True), "The PIX provider answered 500."),
    ],
)
async def test_a_response_names_the_provider_that_is_unavailable(
    alone: Harness, failure: Exception, cause: str
) -> None:
    """A response 503 to a command says which provider does not answer, and of a store nothing but that, and that the
    command may be repeated with its key."""
    alone.runtime.documents = _RefusingDocuments(alone.documents, failure)  # type: ignore[arg-type]  # a test double
    answer = await alone.call("POST", "/v1/tenants", {"id": "acme", "name": "A"})
    assert answer.json["detail"] == (
        f"{cause} It is not known whether the request was carried out. Send it again with the same Idempotency-Key: "
        "it is carried out once."
    )


async def test_a_closed_account_is_waited_for(harness: Harness) -> None:
    """With `Prefer: wait`, the response to a closing shows the account as it is when nothing is in progress."""
    account = await harness.account()
    path = f"/v1/accounts/{account['id']}/close"
    answer = await harness.call("POST", path, headers={"prefer": "wait=5"})
    assert (answer.json["status"], answer.headers["preference-applied"]) == ("closed", "wait=5")
    assert await harness.documents.get(ACCOUNTS, "acme", account["id"]) is not None
