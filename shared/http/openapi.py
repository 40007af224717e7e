"""The OpenAPI 3.1 document, generated from the operations that the code checks requests against.

Text that belongs to no operation (introduction, headers, scopes) is in openapi.yaml. The examples are in the file
`examples.json` beside the operations of each domain; they are recorded on a running platform (tests/examples).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.core.problems import CODES, CONTENT_TYPE, Problem, to_document
from shared.http.messages import MUTATING
from shared.http.operation import SEGMENT, Access, HttpOperation

JSON: Final = "application/json"
EXAMPLES_FILE: Final = "examples.json"
_TEXTS: Final = Path(__file__).with_name("openapi.yaml")
_EXAMPLE_PATH: Final = "/v1/payments"
_EXAMPLE_REQUEST_ID: Final = "req_5c0f1e2d3b4a69788796a5b4c3d2e1f0"
_REFERENCE: Final = "#/components/schemas/{model}"

Document = dict[str, Any]


def describe(operations: Iterable[HttpOperation], *, base_url: str, token_url: str, version: str) -> Document:
    """Return the OpenAPI document of these operations. `base_url` is the URL at which they are served."""
    texts = _texts()
    listed = sorted(operations, key=lambda operation: (operation.path, operation.method))
    names, schemas = _schemas(listed)
    paths: dict[str, Document] = {}
    for operation in listed:
        described = _operation(operation, names, schemas, texts["path_parameters"])
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    # The fields of a query are parameters; nothing refers to the schema of the query.
    for operation in listed:
        if operation.query is not None:
            schemas.pop(names[operation.query, "validation"], None)
    document: Document = texts["document"]
    document["info"]["version"] = version
    document["servers"] = [{"url": base_url}]
    domains = {operation.domain for operation in listed}
    document["tags"] = [tag for tag in document["tags"] if tag["name"] in domains]
    document["paths"] = paths
    document["components"]["schemas"] |= schemas
    document["components"]["examples"] = _problem_examples(listed, base_url)
    scopes = sorted({operation.scope for operation in listed if operation.scope is not None})
    document["components"]["securitySchemes"]["token"]["flows"]["clientCredentials"] = {
        "tokenUrl": token_url,
        "scopes": {scope: texts["scopes"].get(scope, "") for scope in scopes},
    }
    return document


def _texts() -> Document:
    # A function that runs alone does not need YAML.
    from shared.core.strict_yaml import read_value

    texts: Document = read_value(_TEXTS.read_text(encoding="utf-8"))
    return texts


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
    """Add `additionalProperties: false` to each map whose keys have a pattern, because pydantic refuses other keys."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)


def _operation(operation: HttpOperation, names: _Names, schemas: Document, path_texts: dict[str, str]) -> Document:
    example = example_of(operation)
    described: Document = {
        "operationId": operation.name,
        "tags": [operation.domain],
        "summary": operation.summary,
        "parameters": [
            *_path_parameters(operation, path_texts, example),
            *_query_parameters(operation, names, schemas, example),
            *_headers(operation),
        ],
        "security": _security(operation),
        "responses": _responses(operation, names, example),
    }
    text = inspect.getdoc(operation.handler) or ""
    if text != operation.summary:
        described["description"] = text
    body = _request_body(operation, names)
    if body is not None:
        if "body" in example.get("request", {}):
            body["content"][JSON]["example"] = example["request"]["body"]
        described["requestBody"] = body
    return described


def example_of(operation: HttpOperation) -> Document:
    """Return the recorded request and response of an operation, or an empty object when none is recorded.

    `{"request": {"path", "query"?, "body"?}, "response": {"status", "body"?}}`; `path` and `query` are as sent.
    """
    found: Document = _examples(Path(inspect.getfile(operation.handler)).with_name(EXAMPLES_FILE)).get(
        operation.name, {}
    )
    return found


@cache
def _examples(file: Path) -> Document:
    found: Document = orjson.loads(file.read_bytes()) if file.is_file() else {}
    return found


def _request_body(operation: HttpOperation, names: _Names) -> Document | None:
    schema: Document
    required = False
    if operation.command is not None:
        schema = {"$ref": _REFERENCE.format(model=names[operation.command, "validation"])}
        required = not operation.empty_body_is_object
    elif operation.access is Access.PROVIDER:
        schema = {"type": "object", "description": "The callback in the provider's own format."}
        required = True
    elif operation.method == "POST":
        schema = {"type": "object", "maxProperties": 0, "additionalProperties": False}
    else:
        return None
    return {"required": required, "content": {JSON: {"schema": schema}}}


def _security(operation: HttpOperation) -> list[Document]:
    if operation.access is Access.PROVIDER:
        return []
    needed: Document = {"token": [operation.scope] if operation.scope else []}
    if _is_signed(operation):
        needed |= {"timestamp": [], "key": [], "signature": []}
    return [needed]


def _is_signed(operation: HttpOperation) -> bool:
    return operation.access is Access.TENANT and operation.method in MUTATING


def _path_parameters(operation: HttpOperation, texts: dict[str, str], example: Document) -> list[Document]:
    sent = operation.pattern.fullmatch(example["request"]["path"]) if example else None
    parameters = []
    for name in operation.path_parameters:
        parameter: Document = {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{SEGMENT}$"},
        }
        if name in texts:
            parameter["description"] = texts[name]
        if sent is not None:
            parameter["example"] = sent[name]
        parameters.append(parameter)
    return parameters


def _query_parameters(operation: HttpOperation, names: _Names, schemas: Document, example: Document) -> list[Document]:
    if operation.query is None:
        return []
    schema = schemas[names[operation.query, "validation"]]
    required = schema.get("required", [])
    sent = dict(parse_qsl(example.get("request", {}).get("query", "")))
    parameters = []
    for name, field in schema.get("properties", {}).items():
        parameter: Document = {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(field),
        }
        if "description" in field:
            parameter["description"] = field["description"]
        if name in sent:
            parameter["example"] = int(sent[name]) if field.get("type") == "integer" else sent[name]
        parameters.append(parameter)
    return parameters


def _without_null(field: Document) -> Document:
    """Return the schema of a query's field for a parameter. A parameter is absent, never null."""
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
        names += ["TenantId", "Timestamp", "KeyId", "Signature"]
    if operation.progress is not None:
        names.append("Prefer")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _responses(operation: HttpOperation, names: _Names, example: Document) -> Document:
    success: Document = {"description": "Done.", "headers": _answer_headers(operation)}
    if operation.result is not None:
        success["description"] = (inspect.getdoc(operation.result) or "Done.").partition("\n")[0]
        reference = {"$ref": _REFERENCE.format(model=names[operation.result, "serialization"])}
        success["content"] = {JSON: {"schema": reference}}
        if "body" in example.get("response", {}):
            success["content"][JSON]["example"] = example["response"]["body"]
    if operation.files:
        content = success.setdefault("content", {})
        content |= {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in operation.files}
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
                # JSON Schema allows further conditions beside `$ref`. Client generators ignore them, so they generate
                # one model for all problems.
                "schema": {
                    "$ref": _REFERENCE.format(model="Problem"),
                    "properties": {"code": {"enum": codes}, "status": {"const": status}},
                },
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }


def _problem_examples(operations: list[HttpOperation], base_url: str) -> Document:
    """Return an example of each problem that one of the operations can return, with the default detail of its code."""
    codes = {code for operation in operations for code in problem_codes(operation)}
    return {
        code: {
            "summary": CODES[code].title,
            "value": to_document(Problem(code), base_url, _EXAMPLE_PATH, _EXAMPLE_REQUEST_ID),
        }
        for code in sorted(codes)
    }


def problem_codes(operation: HttpOperation) -> list[str]:
    """Return every problem code that an operation can return, in the order of the checks."""
    codes = ["uri_too_long", "head_too_large", "payload_too_large", "not_found", "malformed_request"]
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
