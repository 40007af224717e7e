"""The committed event schemas are those of the code, and published types change only compatibly."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from events.catalogue import CATALOGUE
from events.export import asyncapi, documents, export, incompatibilities, schema_of
from shared.core.version import VERSION

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "events"


def test_the_committed_export_is_current() -> None:
    """docs/events holds exactly what `lastro events export docs/events` writes."""
    committed = {
        path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.json")
    }
    assert committed == documents(version=VERSION), "run: ./lastro events export docs/events"


@pytest.mark.skipif(shutil.which("git") is None, reason="git, which has the last commit, is not installed")
@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_published_type_changes_compatibly_only(name: str) -> None:
    """Compared with the schema of the last commit, a type may gain fields, and nothing that a consumer relies on may be
    removed."""
    committed = subprocess.run(
        ["git", "show", f"HEAD:docs/events/schemas/{name}.json"], cwd=ROOT, capture_output=True, check=False
    )
    if committed.returncode != 0:
        pytest.skip("the type is new, or this is not a git checkout")
    assert incompatibilities(json.loads(committed.stdout), schema_of(CATALOGUE[name])) == []


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_schema_is_a_schema(name: str) -> None:
    """Each schema is a valid JSON Schema 2020-12 with the id that `dataschema` names."""
    schema = schema_of(CATALOGUE[name])
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"https://lastro.dev/schemas/{name}.json"


def test_asyncapi_names_every_type_once() -> None:
    """Each type is a message on the channel of its topic, and the channel's operation publishes it."""
    document = asyncapi(CATALOGUE.values(), version="1")
    for model in CATALOGUE.values():
        assert model.type in document["channels"][model.topic]["messages"]
        published = document["operations"][f"publish {model.topic}"]["messages"]
        assert {"$ref": f"#/channels/{model.topic}/messages/{model.type}"} in published


def test_export_writes_the_files(tmp_path: Path) -> None:
    """Export writes one schema for each type, and the AsyncAPI document."""
    written = export(tmp_path, version="1")
    assert len(written) == len(CATALOGUE) + 1
    assert all(path.is_file() for path in written)


def _object(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or []}


TEXT = {"type": "string"}
NUMBER = {"type": "integer", "minimum": 0, "maximum": 9}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (_object(a=TEXT), _object(a=TEXT, b=NUMBER), None),
        (_object(a=TEXT), _object(["a"], a=TEXT), None),
        (_object(a={"anyOf": [TEXT, {"type": "null"}]}), _object(a=TEXT), None),
        (_object(a={"enum": ["x", "y"]}), _object(a={"const": "x"}), None),
        (_object(a=TEXT), _object(), "/a: the field is gone"),
        (_object(["a"], a=TEXT), _object(a=TEXT), "/a: the field may be absent"),
        (_object(a=TEXT), _object(a=NUMBER), "/a: type string became integer"),
        (_object(a=TEXT), _object(a={"anyOf": [TEXT, {"type": "null"}]}), "/a: may be null"),
        (_object(a={"enum": ["x"]}), _object(a={"enum": ["x", "y"]}), "/a: the values"),
        (_object(a=NUMBER), _object(a={**NUMBER, "maximum": 10}), "/a: maximum 9 became 10"),
        (_object(a=NUMBER), _object(a={"type": "integer", "maximum": 9}), "/a: minimum 0 became no bound"),
        (_object(a={"type": "array", "items": TEXT}), _object(a={"type": "array", "items": NUMBER}), "/a/items: type"),
    ],
)
def test_what_counts_as_incompatible(old: dict[str, Any], new: dict[str, Any], reason: str | None) -> None:
    """Gaining fields and narrowing types is compatible; losing fields and widening types is not, and the reason has the
    place."""
    found = incompatibilities(old, new)
    assert (found == []) if reason is None else (len(found) == 1 and found[0].startswith(reason))
