"""The OpenAPI document describes the operations."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from shared.context.context import Context
from shared.core.problems import CODES
from shared.functions.decorators import http_function
from shared.http.models import Command, ListQuery, Metadata, Page, Resource
from shared.http.openapi import describe, problem_codes
from shared.http.operation import Access, HttpOperation


class MakeThing(Command):
    """The thing to make."""

    name: str
    metadata: Metadata | None = None


class Things(ListQuery):
    """Which things."""

    status: str | None = None
    before: str | None = Field(default=None, alias="to")


class Thing(Resource):
    """A thing."""

    id: str
    note: str | None = None


async def _progress(ctx: Context, thing: Thing) -> tuple[Thing, bool]:
    return thing, True


@http_function(
    "POST /v1/things",
    scope="things:write",
    status=201,
    location="/v1/things/{result.id}",
    progress=_progress,
    problems=("unknown_reference",),
)
async def make_thing(command: MakeThing, ctx: Context) -> Thing:
    """Make a thing."""
    return Thing(id=command.name)


@http_function("GET /v1/things", scope="things:read")
async def list_things(query: Things, ctx: Context) -> Page[Thing]:
    """List things."""
    return Page(data=[])


@http_function("POST /v1/things/{thing_id}/rest", scope="things:write", empty_body_is_object=True)
async def rest_thing(thing_id: str, ctx: Context) -> Thing:
    """Let a thing rest."""
    return Thing(id=thing_id)


@http_function("POST /v1/things/{thing_id}/calls", access=Access.PROVIDER)
async def call_thing(thing_id: str, ctx: Context) -> None:
    """Receive a provider's call."""


def _operation(target: Any) -> HttpOperation:
    operation = target.operation
    assert isinstance(operation, HttpOperation)
    return operation


OPERATIONS = [_operation(target) for target in (make_thing, list_things, rest_thing, call_thing)]


@pytest.fixture
def document() -> dict[str, Any]:
    return describe(OPERATIONS, base_url="http://localhost", token_url="http://localhost/token", version="1.2.3")


def _parameters(document: dict[str, Any], path: str, method: str) -> dict[str, dict[str, Any]]:
    shared = document["components"]["parameters"]
    listed = document["paths"][path][method]["parameters"]
    resolved = [shared[entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry for entry in listed]
    return {parameter["name"]: parameter for parameter in resolved}


def test_every_operation_is_at_its_path(document: dict[str, Any]) -> None:
    """The document has the paths, methods and operation ids of the operations."""
    found = {
        (method, path): operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert found == {(op.method.lower(), op.path): op.name for op in OPERATIONS}


def test_every_status_is_named_with_its_codes(document: dict[str, Any]) -> None:
    """Each code of an operation is listed under its status, and each listed status has a code or is the success."""
    for operation in OPERATIONS:
        responses = document["paths"][operation.path][operation.method.lower()]["responses"]
        expected = {str(CODES[code].status) for code in problem_codes(operation)} | {str(operation.status)}
        assert set(responses) == expected
    codes = document["paths"]["/v1/things"]["post"]["responses"]["422"]["description"]
    assert "`unknown_reference`" in codes
    assert "`idempotency_key_reused`" in codes


def test_every_problem_has_an_example(document: dict[str, Any]) -> None:
    """Each code of a response has an example: the document that the platform returns, valid by the schema."""
    for operation in OPERATIONS:
        responses = document["paths"][operation.path][operation.method.lower()]["responses"]
        for status in responses.keys() - {str(operation.status)}:
            content = responses[status]["content"]["application/problem+json"]
            schema = {**content["schema"], "components": document["components"]}
            for code in content["examples"]:
                value = document["components"]["examples"][code]["value"]
                assert (value["code"], str(value["status"])) == (code, status)
                assert value["type"] == f"http://localhost/problems/{code}"
                assert [error.message for error in Draft202012Validator(schema).iter_errors(value)] == []


def test_the_seven_headers_are_parameters(document: dict[str, Any]) -> None:
    """An operation for tenants has all seven; only the Idempotency-Key of a POST is required, because a hook of the
    client adds the signature. A provider's callback has none of them."""
    post = _parameters(document, "/v1/things", "post")
    get = _parameters(document, "/v1/things", "get")
    call = _parameters(document, "/v1/things/{thing_id}/calls", "post")
    required = {name for name, parameter in post.items() if parameter["required"]}
    signature = {"X-Timestamp", "X-Key-Id", "X-Signature"}
    assert required == {"Idempotency-Key"}
    assert {"X-Request-Id", "X-Tenant-Id", "Prefer", *signature} <= set(post)
    assert signature <= set(get)
    assert post["X-Timestamp"]["schema"].keys() == {"type", "pattern"}
    assert set(call) == {"X-Request-Id", "thing_id"}


def test_a_query_s_model_becomes_parameters(document: dict[str, Any]) -> None:
    """Each field of the query is a parameter with the name that is sent, without null, and no schema of the query
    remains."""
    parameters = _parameters(document, "/v1/things", "get")
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert parameters["to"]["schema"] == {"type": "string"}
    assert "Things" not in document["components"]["schemas"]


def test_bodies_are_closed(document: dict[str, Any]) -> None:
    """Unknown fields and invalid metadata keys are refused by the description as by the code."""
    schema = document["components"]["schemas"]["MakeThing"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["metadata"]["anyOf"][0]["additionalProperties"] is False
    assert document["paths"]["/v1/things/{thing_id}/rest"]["post"]["requestBody"]["required"] is False


def test_every_reference_has_a_target(document: dict[str, Any]) -> None:
    """Each $ref refers to a part of the document."""

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


def test_security_lists_token_and_signature(document: dict[str, Any]) -> None:
    """A request needs a token with the operation's scope, a change also a signature, and a callback neither."""
    paths = document["paths"]
    signature: dict[str, list[str]] = {"timestamp": [], "key": [], "signature": []}
    assert paths["/v1/things"]["post"]["security"] == [{"token": ["things:write"], **signature}]
    assert paths["/v1/things"]["get"]["security"] == [{"token": ["things:read"]}]
    assert paths["/v1/things/{thing_id}/calls"]["post"]["security"] == []


def test_the_token_endpoint_is_named(document: dict[str, Any]) -> None:
    """The security scheme is OAuth 2.0 client credentials, with the token endpoint and the scopes in use."""
    flow = document["components"]["securitySchemes"]["token"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "http://localhost/token"
    assert set(flow["scopes"]) == {"things:read", "things:write"}
    names = {scheme.get("name") for scheme in document["components"]["securitySchemes"].values()}
    assert {"X-Timestamp", "X-Key-Id", "X-Signature"} <= names


def test_two_documents_share_no_state(document: dict[str, Any]) -> None:
    """A change of one document does not change the next."""
    document["components"]["schemas"].clear()
    again = describe(OPERATIONS, base_url="http://localhost", token_url="http://localhost/token", version="1")
    assert {"Problem", "MakeThing", "Thing"} <= again["components"]["schemas"].keys()
