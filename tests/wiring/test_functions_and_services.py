"""Functions and the Services that deploy them, in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from embedded.manifests.loading import Manifests

if TYPE_CHECKING:
    from tests.wiring.conftest import House

ROOT = Path(__file__).resolve().parent.parent.parent
CORE = {"payments", "ledger", "accounts"}


def test_a_function_is_called_as_its_file(house: House) -> None:
    """A function's name is its file's and its domain is its folder's, so that either is found by the other."""
    assert {
        file: operation.id
        for file, operation in house.operations.items()
        if file != f"functions/{operation.domain}/{operation.name}.py"
    } == {}


def test_names_are_unique(house: House) -> None:
    """No two functions have one name: the framework registers a module by its file's stem."""
    stems = [Path(file).stem for file in house.operations]

    assert sorted(set(stems)) == sorted(stems)


def test_every_function_has_one_service(house: House, manifests: Manifests) -> None:
    """Each function file is the source of exactly one Service, and each Service starts a function that exists."""
    assert sorted(service.source for service in manifests.services.values()) == sorted(house.operations)


def test_a_service_is_named_after_its_function(manifests: Manifests) -> None:
    """A Service is `<domain>-<operation>`, its target is the file's stem, and its labels say the same."""
    wrong = {}
    for name, service in manifests.services.items():
        domain, stem = Path(service.source).parent.name, Path(service.source).stem
        expected = (f"{domain}-{stem.replace('_', '-')}", stem, domain)
        found = (name, service.target, service.metadata.labels["app.kubernetes.io/component"])
        if found != expected or service.metadata.labels["app.kubernetes.io/name"] != name:
            wrong[name] = found
    assert wrong == {}


def test_a_service_lies_where_its_function_does(house: House) -> None:
    """functions/<domain>/<operation>.py is deployed by knative/functions/<domain>/<operation>.yaml."""
    files = {path.relative_to(ROOT / "knative").with_suffix(".py") for path in ROOT.glob("knative/functions/*/*.yaml")}

    assert {file.as_posix() for file in files} == set(house.operations)


def test_core_functions_are_never_scaled_to_zero(manifests: Manifests) -> None:
    """Functions of payments, ledger and accounts are always there; the others come and go with their work."""
    for service in manifests.services.values():
        expected = "core" if Path(service.source).parent.name in CORE else "support"
        assert (service.name, service.scale_class) == (service.name, expected)
        assert service.metadata.labels["lastro.dev/class"] == expected


@pytest.mark.parametrize("folder", ["knative", "kafka-sources"])
def test_no_manifest_is_left_out(folder: str) -> None:
    """Each kustomization names every manifest of its folder, so that what is in the repository is what is deployed."""
    named: set[Path] = set()
    for path in (ROOT / folder).rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        generated = [name for one in content.get("configMapGenerator", []) for name in one["files"]]
        named.update((path.parent / name).resolve() for name in [*content.get("resources", []), *generated])
    present = {
        path.resolve()
        for path in (ROOT / folder).rglob("*.yaml")
        if path.name != "kustomization.yaml" and "overlays" not in path.parts
    }
    assert present - named == set()
    assert {path for path in named if not path.exists()} == set()
