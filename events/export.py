"""Event contracts for other systems: a JSON Schema for each type and one AsyncAPI 3 document.

Also checks that a schema is compatible with the published one, so that a type changes its meaning only with its
version.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from events.catalogue import CATALOGUE
from shared.core.envelope import JSON, Event, schema_uri

ASYNCAPI: Final = "asyncapi.json"
SCHEMAS: Final = "schemas"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Document = dict[str, Any]


def schema_of(model: type[Event]) -> Document:
    """Return the JSON Schema (2020-12) of a type's data, as it is published."""
    return {
        "$schema": _DIALECT,
        "$id": schema_uri(model.type),
        **model.model_json_schema(mode="serialization"),
    }


def asyncapi(models: Iterable[type[Event]], *, version: str) -> Document:
    """Return the AsyncAPI 3.0 document: a channel for each topic, the operation that publishes to it, a message for
    each type."""
    listed = sorted(models, key=lambda model: model.type)
    channels: dict[str, Document] = {}
    messages: dict[str, Document] = {}
    for model in listed:
        channel = channels.setdefault(
            model.topic,
            {"address": model.topic, "description": "Partitioned by the attribute partitionkey.", "messages": {}},
        )
        channel["messages"][model.type] = {"$ref": f"#/components/messages/{model.type}"}
        messages[model.type] = _message(model)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lastro events",
            "version": version,
            "description": "CloudEvents 1.0 in binary mode: facts, with ids and amounts and no personal data.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "channels": dict(sorted(channels.items())),
        "operations": {
            f"publish {topic}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{_escaped(topic)}"},
                "messages": [{"$ref": f"#/channels/{_escaped(topic)}/messages/{name}"} for name in channel["messages"]],
            }
            for topic, channel in sorted(channels.items())
        },
        "components": {"messages": messages, "messageTraits": {"cloudevent": {"headers": _HEADERS}}},
    }


def _message(model: type[Event]) -> Document:
    return {
        "name": model.type,
        "summary": (inspect.getdoc(model) or "").partition("\n")[0],
        "contentType": JSON,
        "traits": [{"$ref": "#/components/messageTraits/cloudevent"}],
        "payload": {"$ref": f"./{SCHEMAS}/{model.type}.json"},
    }


def _escaped(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


def documents(*, version: str) -> dict[str, str]:
    """Return the files of the export, by their path in the folder."""
    files = {f"{SCHEMAS}/{name}.json": _text(schema_of(model)) for name, model in sorted(CATALOGUE.items())}
    files[ASYNCAPI] = _text(asyncapi(CATALOGUE.values(), version=version))
    return files


def export(folder: Path, *, version: str) -> list[Path]:
    """Write the export into a folder and return the written paths."""
    written = []
    for name, text in documents(version=version).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _text(document: Document) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def incompatibilities(published: Document, current: Document) -> list[str]:
    """Return why data of `current` could break a consumer that was written for `published`; empty if it cannot.

    A published type may gain fields. It must not lose a field, make a required field optional, accept more types or
    values for a field, or drop a bound. Each reason names the place in the schema.
    """
    return list(_differences(published, current, published, current, ""))


def _differences(old: Any, new: Any, old_root: Document, new_root: Document, place: str) -> Iterable[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    yield from _fields(old, new, old_root, new_root, place)
    old_branches, new_branches = _branches(old), _branches(new)
    if len(old_branches) > 1 or len(new_branches) > 1:
        yield from _widened_branches(old_branches, new_branches, old_root, new_root, place)
        return
    if old.get("type") != new.get("type"):
        yield f"{place or '/'}: type {old.get('type')} became {new.get('type')}"
    old_values, new_values = _values(old), _values(new)
    if old_values is not None and (new_values is None or not new_values <= old_values):
        added = sorted(map(str, (new_values or set()) - old_values))
        yield f"{place or '/'}: the values are no longer those that were published ({', '.join(added) or 'any'})"
    yield from _loosened(old, new, place)
    if "items" in old:
        yield from _differences(old["items"], new.get("items", {}), old_root, new_root, f"{place}/items")


def _fields(old: Document, new: Document, old_root: Document, new_root: Document, place: str) -> Iterable[str]:
    old_fields: Mapping[str, Any] = old.get("properties", {})
    new_fields: Mapping[str, Any] = new.get("properties", {})
    for name, field in old_fields.items():
        where = f"{place}/{name}"
        if name not in new_fields:
            yield f"{where}: the field is gone"
            continue
        if name in old.get("required", ()) and name not in new.get("required", ()):
            yield f"{where}: the field may be absent"
        yield from _differences(field, new_fields[name], old_root, new_root, where)


def _widened_branches(
    old: list[Document], new: list[Document], old_root: Document, new_root: Document, place: str
) -> Iterable[str]:
    for branch in new:
        if not any(not list(_differences(known, branch, old_root, new_root, place)) for known in old):
            yield f"{place or '/'}: may be {branch.get('type', branch.get('title', 'something else'))}"


def _loosened(old: Document, new: Document, place: str) -> Iterable[str]:
    for bound, sign in _BOUNDS.items():
        if bound in old and (bound not in new or sign * new[bound] > sign * old[bound]):
            yield f"{place or '/'}: {bound} {old[bound]} became {new.get(bound, 'no bound')}"


_BOUNDS: Final = {
    "maximum": 1,
    "exclusiveMaximum": 1,
    "maxLength": 1,
    "maxItems": 1,
    "maxProperties": 1,
    "minimum": -1,
    "exclusiveMinimum": -1,
    "minLength": -1,
    "minItems": -1,
}


def _resolved(node: Document, root: Document) -> Document:
    while "$ref" in node:
        found: Any = root
        for step in str(node["$ref"]).removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def _branches(node: Document) -> list[Document]:
    found: list[Document] = node.get("anyOf") or [node]
    return found


def _values(node: Document) -> set[Any] | None:
    if "const" in node:
        return {node["const"]}
    return set(node["enum"]) if "enum" in node else None


_HEADERS: Final[Document] = {
    "type": "object",
    "required": ["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time", "ce-tenantid"],
    "properties": {
        "ce-specversion": {"const": "1.0"},
        "ce-id": {"type": "string", "description": "derived from the cause: a repeated event has the same id"},
        "ce-source": {"type": "string", "pattern": "^/lastro/[a-z]+/[a-z_]+$"},
        "ce-type": {"type": "string"},
        "ce-subject": {"type": "string", "description": "the aggregate's id"},
        "ce-time": {"type": "string", "format": "date-time"},
        "ce-dataschema": {"type": "string", "format": "uri"},
        "ce-tenantid": {"type": "string"},
        "ce-partitionkey": {"type": "string", "description": "`<tenant>/<aggregate id>`"},
        "ce-correlationid": {"type": "string", "description": "the request id"},
        "ce-causationid": {"type": "string", "description": "the event that caused this one"},
        "ce-traceparent": {"type": "string"},
    },
}
