"""OpenAPI 3.1 made from the operations themselves, so that what is described is what is checked.

Every status that an operation can answer is named with the problem codes behind it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.core.problems import CODES, CONTENT_TYPE
from shared.http.messages import MUTATING
from shared.http.operation import SEGMENT, Access, HttpOperation

VERSION: Final = "3.1.0"
JSON: Final = "application/json"
_REFERENCE: Final = "#/components/schemas/{model}"

Document = dict[str, Any]


def describe(operations: Iterable[HttpOperation], *, base_url: str, version: str) -> Document:
    """The OpenAPI document of these operations, as they are served at `base_url`."""
    listed = sorted(operations, key=lambda operation: (operation.path, operation.method))
    names, schemas = _schemas(listed)
    paths: dict[str, Document] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, names, schemas)
    # A query's model became parameters; nothing refers to it as a schema.
    for operation in listed:
        if operation.query is not None:
            schemas.pop(names[operation.query, "validation"], None)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Lastro",
            "version": version,
            "summary": "A multi-tenant payments platform",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "tags": [{"name": domain} for domain in sorted({operation.domain for operation in listed})],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "An access token of the token endpoint; an operation's roles are scopes.",
                }
            },
        },
    }


_Names = dict[tuple[Any, JsonSchemaMode], str]


def _schemas(operations: list[HttpOperation]) -> tuple[_Names, Document]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for operation in operations:
        for model in (operation.command, operation.query):
            if model is not None:
                wanted[model, "validation"] = None
        if operation.result is not None:
            wanted[operation.result, "serialization"] = None
    references, definitions = models_json_schema(list(wanted), ref_template=_REFERENCE)
    names: _Names = {key: str(reference["$ref"]).rpartition("/")[2] for key, reference in references.items()}
    schemas: Document = definitions.get("$defs", {})
    for schema in schemas.values():
        _close(schema)
    return names, schemas


def _close(schema: Any) -> None:
    """Say of a map with a pattern for its keys that other keys are refused, which pydantic leaves open."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)


def _operation(operation: HttpOperation, names: _Names, schemas: Document) -> Document:
    described: Document = {
        "operationId": operation.name,
        "tags": [operation.domain],
        "summary": operation.summary,
        "description": inspect.getdoc(operation.handler) or operation.summary,
        "parameters": [
            *_path_parameters(operation),
            *_query_parameters(operation, names, schemas),
            *_headers(operation),
        ],
        "security": _security(operation),
        "responses": _responses(operation, names),
    }
    if operation.command is not None:
        reference = {"$ref": _REFERENCE.format(model=names[operation.command, "validation"])}
        described["requestBody"] = {
            "required": not operation.empty_body_is_object,
            "content": {JSON: {"schema": reference}},
        }
    elif operation.method == "POST" and operation.access is not Access.PROVIDER:
        described["requestBody"] = {
            "required": False,
            "content": {JSON: {"schema": {"type": "object", "maxProperties": 0, "additionalProperties": False}}},
        }
    return described


def _security(operation: HttpOperation) -> list[Document]:
    if operation.access is Access.PROVIDER:
        return []
    return [{"token": [operation.scope] if operation.scope else []}]


def _path_parameters(operation: HttpOperation) -> list[Document]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{SEGMENT}$"}}
        for name in operation.path_parameters
    ]


def _query_parameters(operation: HttpOperation, names: _Names, schemas: Document) -> list[Document]:
    if operation.query is None:
        return []
    schema = schemas[names[operation.query, "validation"]]
    required = schema.get("required", [])
    parameters = []
    for name, field in schema.get("properties", {}).items():
        parameter: Document = {"name": name, "in": "query", "required": name in required, "schema": _sent(field)}
        if "description" in field:
            parameter["description"] = field["description"]
        parameters.append(parameter)
    return parameters


def _sent(field: Document) -> Document:
    """A field's schema without its null: a parameter that is not given is left out, there is no other null."""
    kept = {name: value for name, value in field.items() if name not in ("description", "title", "default")}
    branches = [branch for branch in kept.pop("anyOf", []) if branch != {"type": "null"}]
    if len(branches) == 1:
        return {**kept, **branches[0]}
    if branches:
        kept["anyOf"] = branches
    if field.get("default") is not None:
        kept["default"] = field["default"]
    return kept


def _headers(operation: HttpOperation) -> list[Document]:
    names = ["RequestId"]
    if operation.access is not Access.PROVIDER and operation.method == "POST":
        names.append("IdempotencyKey")
    if operation.access is Access.TENANT:
        signed = operation.method in MUTATING
        names += ["TenantId", *(("Timestamp", "KeyId", "Signature") if signed else _OPTIONAL_SIGNATURE)]
    if operation.progress is not None:
        names.append("Prefer")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _responses(operation: HttpOperation, names: _Names) -> Document:
    success: Document = {"description": operation.summary or "Done", "headers": _answer_headers(operation)}
    if operation.result is not None:
        reference = {"$ref": _REFERENCE.format(model=names[operation.result, "serialization"])}
        success["content"] = {JSON: {"schema": reference}}
    responses: Document = {str(operation.status): success}
    by_status: dict[int, list[str]] = {}
    for code in problem_codes(operation):
        by_status.setdefault(CODES[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = _problem(status, codes)
    return responses


def _answer_headers(operation: HttpOperation) -> Document:
    names = ["X-Request-Id"]
    if operation.access is not Access.PROVIDER:
        names += ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
    if operation.location is not None:
        names.append("Location")
    if operation.method == "POST" and operation.access is not Access.PROVIDER:
        names.append("Idempotent-Replayed")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem(status: int, codes: list[str]) -> Document:
    headers = ["X-Request-Id"]
    if status in (429, 503) or "request_in_progress" in codes:
        headers.append("Retry-After")
    if status == 401:
        headers.append("WWW-Authenticate")
    return {
        "description": "; ".join(f"`{code}`: {CODES[code].title}" for code in codes),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {
            CONTENT_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"properties": {"code": {"enum": codes}, "status": {"const": status}}},
                    ]
                }
            }
        },
    }


def problem_codes(operation: HttpOperation) -> list[str]:
    """Every problem code that this operation can answer with, in the order of the checks."""
    codes = ["payload_too_large", "not_found", "malformed_request"]
    if operation.access is not Access.PROVIDER:
        codes += ["missing_token", "invalid_token", "insufficient_scope", "tenant_mismatch", "rate_limited"]
    if operation.access is Access.TENANT:
        codes += ["tenant_suspended", *_SIGNATURE_CODES]
        if operation.method in MUTATING:
            codes.append("signature_replayed")
    if operation.command is not None or operation.method == "POST":
        codes += ["unsupported_media_type", "validation_failed"]
    if operation.method == "POST" and operation.access is not Access.PROVIDER:
        codes += ["missing_idempotency_key", "request_in_progress", "idempotency_key_reused", "already_exists"]
    codes += [*operation.problems, "dependency_unavailable", "internal_error"]
    return list(dict.fromkeys(codes))


_SIGNATURE_CODES: Final = (
    "missing_signature",
    "invalid_signature",
    "unknown_key",
    "revoked_key",
    "timestamp_out_of_window",
)
_OPTIONAL_SIGNATURE: Final = ("OptionalTimestamp", "OptionalKeyId", "OptionalSignature")

_INTRODUCTION: Final = (
    "Amounts are integers in minor units. Times are RFC 3339 in UTC. Requests that change something carry an "
    "`Idempotency-Key` and are signed: `X-Signature` is `v1=` and the base64 of the HMAC-SHA256 over the lines `v1`, "
    "method, raw path, raw query, hexadecimal SHA-256 of the body, tenant id, `Idempotency-Key`, `X-Timestamp` and "
    "`X-Key-Id`, joined by line feeds. Errors are problem details (RFC 9457)."
)


def _header(name: str, description: str, schema: Document, *, required: bool) -> Document:
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


_TIME: Final[Document] = {"type": "string", "format": "date-time"}
_TEXT: Final[Document] = {"type": "string"}
_SIGNATURE: Final[Document] = {"type": "string", "pattern": "^v1=[A-Za-z0-9+/]{43}=$"}
_WHEN: Final = "When the request was signed: ISO 8601 in UTC, at most five minutes from now"
_WHICH: Final = "The tenant's signing key"
_WHAT: Final = "The HMAC of the canonical string"
_PARAMETERS: Final[Document] = {
    "RequestId": _header(
        "X-Request-Id",
        "Kept when it has this form, else made anew; stands in the answer, logs and events",
        {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"},
        required=False,
    ),
    "TenantId": _header(
        "X-Tenant-Id", "The token's own tenant, or left out", {"type": "string", "minLength": 1}, required=False
    ),
    "IdempotencyKey": _header(
        "Idempotency-Key",
        "The same key and body once more give the first answer again",
        {"type": "string", "pattern": '^(?:[!#-~]{1,255}|"[!#-~]{1,255}")$'},
        required=True,
    ),
    "Timestamp": _header("X-Timestamp", _WHEN, _TIME, required=True),
    "KeyId": _header("X-Key-Id", _WHICH, _TEXT, required=True),
    "Signature": _header("X-Signature", _WHAT, _SIGNATURE, required=True),
    "OptionalTimestamp": _header("X-Timestamp", _WHEN, _TIME, required=False),
    "OptionalKeyId": _header("X-Key-Id", _WHICH, _TEXT, required=False),
    "OptionalSignature": _header("X-Signature", _WHAT + "; checked when it is sent", _SIGNATURE, required=False),
    "Prefer": _header(
        "Prefer",
        "`wait=<seconds>` (at most 10): answer when nothing more happens by itself",
        {"type": "string", "pattern": "^wait=([0-9]|10)$"},
        required=False,
    ),
}


def _answer_header(description: str, kind: str = "string") -> Document:
    return {"description": description, "schema": {"type": kind}}


_HEADERS: Final[Document] = {
    "X-Request-Id": _answer_header("Finds this request in logs, events and traces"),
    "Location": _answer_header("The path of what was made"),
    "Idempotent-Replayed": _answer_header("`true` when this is the first answer once more"),
    "Retry-After": _answer_header("Seconds to wait", "integer"),
    "WWW-Authenticate": _answer_header("The kind of proof that is missing"),
    "RateLimit-Limit": _answer_header("Requests a second", "integer"),
    "RateLimit-Remaining": _answer_header("Requests left", "integer"),
    "RateLimit-Reset": _answer_header("Seconds until the limit is whole again", "integer"),
}

_PROBLEM: Final[Document] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "A page with cause and remedy"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The path that was asked for"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": {"type": "string"},
                    "pointer": {"type": "string", "description": "A place of the body (RFC 6901)"},
                    "parameter": {"type": "string", "description": "A query parameter"},
                },
            },
        },
    },
}
