"""The examples of the OpenAPI document are the platform's real answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from shared.http.openapi import describe
from shared.http.operation import HttpOperation
from shared.identity.tenancy import PLATFORM_SCOPE
from tests.examples.recording import record, shape, stored
from tests.harness import operations


@cache
def http_operations() -> dict[str, HttpOperation]:
    return {id: operation for id, operation in operations().items() if isinstance(operation, HttpOperation)}


@cache
def document() -> dict[str, Any]:
    return describe(
        http_operations().values(), base_url="http://localhost", token_url="http://localhost/token", version="1"
    )


def described(operation: HttpOperation) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][operation.path][operation.method.lower()]
    return found


def test_every_operation_has_an_example() -> None:
    """One request and response is stored for each operation, and no others."""
    assert stored().keys() == http_operations().keys()


def test_every_request_with_a_body_has_an_example() -> None:
    """The description of each POST shows a body, or `{}` if the operation has no fields."""
    missing = [
        operation.id
        for operation in http_operations().values()
        if "requestBody" in described(operation)
        and "example" not in described(operation)["requestBody"]["content"]["application/json"]
    ]
    assert missing == []


def test_the_description_of_a_scope_names_what_it_allows() -> None:
    """The description of a write scope has the verb of each of its operations, and that of the operator's scope has
    each resource that its operations manage."""
    scopes = document()["components"]["securitySchemes"]["token"]["flows"]["clientCredentials"]["scopes"]
    for operation in http_operations().values():
        if operation.scope is None:
            continue
        if operation.scope.endswith(":write"):
            assert operation.name.partition("_")[0] in scopes[operation.scope].lower(), operation.id
        elif operation.scope == PLATFORM_SCOPE:
            things = [part for part in operation.path.split("/") if part.endswith("s")]
            assert things[-1].replace("-", " ") in scopes[operation.scope], operation.id


def _commands() -> dict[str, type[BaseModel]]:
    found = {id: operation.command for id, operation in http_operations().items()}
    return {id: command for id, command in found.items() if command is not None}


def _optional_fields(model: type[BaseModel], within: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each optional field, including those of nested models."""
    for name, field in model.model_fields.items():
        if not field.is_required():
            yield (*within, name)
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _optional_fields(kind, (*within, name))


@pytest.mark.parametrize("id", sorted(_commands()))
def test_null_means_an_absent_field(id: str) -> None:
    """In every command each optional field may be null, which means the same as an absent field; the schema allows it
    too."""
    command = _commands()[id]
    schema = {
        **described(http_operations()[id])["requestBody"]["content"]["application/json"]["schema"],
        "components": document()["components"],
    }
    for *within, name in _optional_fields(command):
        absent, null = [json.loads(json.dumps(stored()[id]["request"]["body"])) for _ in range(2)]
        places = [absent, null]
        for outer in within:
            places = [place.setdefault(outer, {}) for place in places]
        places[0].pop(name, None)
        places[1][name] = None
        assert command.model_validate(null) == command.model_validate(absent), name
        assert Draft202012Validator(schema).is_valid(null), name


async def test_the_examples_are_what_the_platform_answers(tmp_path: Path) -> None:
    """The platform answers each stored request as recorded, except for ids, times and secrets; otherwise run `task
    examples`."""
    recorded = await record(tmp_path)
    assert recorded.keys() == stored().keys()
    for operation, example in stored().items():
        assert shape(recorded[operation]) == shape(example), operation


@pytest.mark.parametrize("id", sorted(http_operations()))
def test_an_example_fits_its_schema(id: str) -> None:
    """The bodies of requests and responses are valid by their schemas."""
    operation = http_operations()[id]
    text, example = described(operation), stored()[id]
    pairs = []
    if "body" in example["response"]:
        pairs.append((text["responses"][str(example["response"]["status"])], example["response"]["body"]))
    else:
        assert operation.result is None
    if "body" in example["request"]:
        pairs.append((text["requestBody"], example["request"]["body"]))
    for described_body, body in pairs:
        schema = {**described_body["content"]["application/json"]["schema"], "components": document()["components"]}
        Draft202012Validator.check_schema(schema)
        assert [error.message for error in Draft202012Validator(schema).iter_errors(body)] == []


@pytest.mark.parametrize("id", sorted(http_operations()))
def test_the_document_shows_the_example(id: str) -> None:
    """An operation's description has the recorded bodies, and its parameters the values of the recorded request."""
    operation = http_operations()[id]
    text, example = described(operation), stored()[id]
    if "body" in example["response"]:
        content = text["responses"][str(operation.status)]["content"]
        assert content["application/json"]["example"] == example["response"]["body"]
    elif operation.files:
        assert set(text["responses"][str(operation.status)]["content"]) == set(operation.files)
    if "body" in example["request"]:
        assert text["requestBody"]["content"]["application/json"]["example"] == example["request"]["body"]
    path = operation.path
    for parameter in _own_parameters(text, "path"):
        path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    assert path == example["request"]["path"]
    sent = [f"{parameter['name']}={parameter['example']}" for parameter in _own_parameters(text, "query")]
    assert sorted(sent) == sorted(filter(None, example["request"].get("query", "").split("&")))


def _own_parameters(text: dict[str, Any], place: str) -> Iterator[dict[str, Any]]:
    for parameter in text["parameters"]:
        if parameter.get("in") == place and "example" in parameter:
            yield parameter


def test_a_shape_hides_what_varies_and_nothing_else() -> None:
    """Ids keep their prefix; times, secrets and cursors become placeholders; everything else stays."""
    varying = {
        "id": "pay_01a2177f31c5700181a3c131920d323a",
        "at": "2026-11-26T10:56:00.604837Z",
        "secret": "s3cr3t",
        "next_cursor": "WyJ4Il0",
        "path": "/v1/users/usr_01a2177f31c5700181a3c131920d323a/x",
        "value": 1050,
        "status": "settled",
    }
    assert shape(varying) == {
        "id": "pay_<id>",
        "at": "<time>",
        "secret": "<secret>",
        "next_cursor": "<next_cursor>",
        "path": "/v1/users/usr_<id>/x",
        "value": 1050,
        "status": "settled",
    }
    assert shape({"next_cursor": None}) == {"next_cursor": None}
