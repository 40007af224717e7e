"""The JSON Schema of a collection's documents, with which a database refuses other documents."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, IntSchema, LiteralSchema

from shared.ports.documents import Collection


def validator(collection: Collection[Any, ...]) -> JsonSchemaValue:
    """Return the JSON Schema of a collection's documents, made from their type. Every field is
    required but those that documents of earlier versions do not have (`NotRequired`).

    The dialect is that of MongoDB's `$jsonSchema`: draft 4 without references and without the type `integer`, which is
    written as a number that is a multiple of 1.
    """
    schema = TypeAdapter(collection.document).json_schema(schema_generator=_MongoSchema)
    definitions = schema.pop("$defs", {})
    inlined: JsonSchemaValue = _inlined(schema, definitions)
    return inlined


class _MongoSchema(GenerateJsonSchema):
    def int_schema(self, schema: IntSchema) -> JsonSchemaValue:  # noqa: ARG002 - the method that is overridden
        return {"type": "number", "multipleOf": 1}

    def literal_schema(self, schema: LiteralSchema) -> JsonSchemaValue:
        made = super().literal_schema(schema)
        if "const" in made:
            made["enum"] = [made.pop("const")]
        return made

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:
        del schema
        return False


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {key: _inlined(item, definitions) for key, item in value.items()}
