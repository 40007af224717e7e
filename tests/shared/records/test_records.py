"""The collections: their documents, the fields that may change, and their owners."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, get_origin, get_type_hints

import pytest
from jsonschema import Draft4Validator

from shared import records
from shared.adapters.memory.stores import MemoryDocuments
from shared.ports.documents import Collection
from shared.records.catalogue import COLLECTIONS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.validators import validator
from tests.harness import Harness

ROOT = Path(records.__path__[0])


def modules() -> Iterator[Any]:
    """The modules of shared/records."""
    for path in sorted(ROOT.glob("[!_]*.py")):
        yield importlib.import_module(f"shared.records.{path.stem}")


CHANGES = [
    pytest.param(module, name.removesuffix("Changes"), id=name)
    for module in modules()
    for name in vars(module)
    if name.endswith("Changes") and name != "NoChanges"
]
DOMAINS = {path.name for path in (ROOT.parents[1] / "functions").iterdir() if path.is_dir()} - {"__pycache__"}


@pytest.mark.parametrize(("module", "name"), CHANGES)
def test_a_changeable_field_has_the_documents_type(module: Any, name: str) -> None:
    """A field has the same type in the changes and in the document."""
    document = get_type_hints(getattr(module, f"{name}Document"))
    changes = get_type_hints(getattr(module, f"{name}Changes"))
    assert changes
    assert changes == {field: document.get(field) for field in changes}


each_collection = pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda collection: collection.name)


def test_the_catalogue_is_complete() -> None:
    """Every collection of shared/records is in the catalogue once, with a unique name."""
    defined = {value for module in modules() for value in vars(module).values() if type(value) is Collection}
    assert len(COLLECTIONS) == len({collection.name for collection in COLLECTIONS})
    assert set(COLLECTIONS) == defined


@each_collection
def test_a_collection_has_one_owner(collection: Collection[Any, ...]) -> None:
    """A collection's owner is a domain, or the HTTP runtime for stored responses."""
    if collection is IDEMPOTENCY:
        assert collection.owner == "http"
    else:
        assert collection.owner in DOMAINS


@each_collection
def test_a_collection_knows_the_changes_of_its_own_documents(collection: Collection[Any, ...]) -> None:
    """A collection's changeable fields are those of the Changes type next to its document type, or none."""
    name = collection.document.__name__.removesuffix("Document")
    module = importlib.import_module(collection.document.__module__)
    changes = getattr(module, f"{name}Changes", None)
    assert collection.changeable == frozenset(() if changes is None else get_type_hints(changes))


@each_collection
def test_a_validator_is_valid_for_mongodb(collection: Collection[Any, ...]) -> None:
    """A validator knows every field, requires those that every version stores, including the tenant, and uses only
    keywords of `$jsonSchema`."""
    schema = validator(collection)
    hints = get_type_hints(collection.document, include_extras=True)
    later = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    assert set(schema["properties"]) == collection.fields
    assert set(schema["required"]) == collection.fields - later
    assert "tenant_id" in schema["required"]
    assert schema["additionalProperties"] is False
    Draft4Validator.check_schema(schema)
    assert {"$ref", "$defs", "const", "default", "format"}.isdisjoint(words(schema))
    assert "integer" not in types(schema)


def words(schema: Any) -> Iterator[str]:
    """Return every key of a schema except the names of properties."""
    for key, value in schema.items():
        yield key
        inner = value.values() if key == "properties" else value if key == "anyOf" else [value]
        for each in inner:
            if isinstance(each, dict):
                yield from words(each)


def types(schema: Any) -> Iterator[str]:
    """Return every `type` in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema["type"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from types(each)


async def test_stored_documents_are_valid(harness: Harness) -> None:
    """The documents of a payment, a refund and a deposit are valid; one without its tenant, or with a value of
    another type, is not."""
    payer, payee = await harness.account(10_000), await harness.account()
    payment = await harness.pay(payer["id"], payee["id"], 1000)
    await harness.run_events()
    await harness.call("POST", f"/v1/payments/{payment['id']}/refunds", {"reason": "returned"})
    body = {"account_id": payee["id"], "amount": {"value": 5, "currency": "BRL"}, "method": "pix"}
    await harness.call("POST", "/v1/deposits", body)
    await harness.run_events()
    validators = {collection.name: Draft4Validator(validator(collection)) for collection in COLLECTIONS}
    assert isinstance(harness.documents, MemoryDocuments)
    rows = harness.documents._rows
    assert {"payments", "refunds", "holds", "deposits", "tenants"} <= {name for name, _, _ in rows}
    for (name, _, _), document in rows.items():
        check = validators[name]
        check.validate(document)
        assert not check.is_valid({key: value for key, value in document.items() if key != "tenant_id"})
        assert not check.is_valid({**document, "version": "1"})
        assert not check.is_valid({**document, "version": 1.5})
        assert not check.is_valid({**document, "statsu": "x"})
