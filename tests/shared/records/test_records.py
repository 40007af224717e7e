"""The collections: what their documents are, what may change of them, and who writes them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from shared import records
from shared.ports.documents import Collection

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
COLLECTIONS = {
    value.name: value for module in modules() for value in vars(module).values() if type(value) is Collection
}


@pytest.mark.parametrize(("module", "name"), CHANGES)
def test_what_changes_is_of_the_documents_type(module: Any, name: str) -> None:
    """A field that may change has the same type when it changes as in the document."""
    document = get_type_hints(getattr(module, f"{name}Document"))
    changes = get_type_hints(getattr(module, f"{name}Changes"))
    assert changes
    assert changes == {field: document.get(field) for field in changes}


@pytest.mark.parametrize("collection", COLLECTIONS.values(), ids=COLLECTIONS)
def test_a_collection_knows_the_changes_of_its_own_documents(collection: Collection[Any, ...]) -> None:
    """A collection's changeable fields are those of the Changes beside its document's type, or none."""
    name = collection.document.__name__.removesuffix("Document")
    module = importlib.import_module(collection.document.__module__)
    changes = getattr(module, f"{name}Changes", None)
    assert collection.changeable == frozenset(() if changes is None else get_type_hints(changes))
