"""The bill of materials of an image (SBOM), in CycloneDX 1.6."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

_NAMESPACE: Final = uuid.UUID("9c6b2b0a-1f0e-5a57-9d0d-6d7a1e0c7f11")
_SEPARATORS: Final = re.compile(r"[-_.]+")


def bill_of_materials(name: str, version: str, base: Path, packages: Path) -> dict[str, Any]:
    """Return the document with the Debian packages of a root folder and the Python packages of another folder.

    The same packages give the same document: it has no time, and its number is derived from its content.
    """
    components = [*_debian(base), *_python(packages)]
    content = json.dumps(components, sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version, "bom-ref": "image"}},
        "components": components,
    }


def _debian(root: Path) -> Iterator[dict[str, Any]]:
    text = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    for paragraph in text.strip().split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields.get("Status", "").endswith(" installed"):
            package, version = fields["Package"], fields["Version"]
            yield _component(package, version, f"pkg:deb/debian/{package}@{version}?arch={fields['Architecture']}")


def _python(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(path.read_text(encoding="utf-8"))
        name = _SEPARATORS.sub("-", fields["Name"]).lower()
        yield _component(name, fields["Version"], f"pkg:pypi/{name}@{fields['Version']}")


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
