"""Errors in the manifests. Each finding is a sentence with the file and line to correct."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shared.core.strict_yaml import YamlDocument

Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """One error. `file` is relative to the repository. `line` counts from 1; 0 means the whole file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class ManifestError(ValueError):
    """The manifests are invalid or not supported. The text has a line for each finding."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class FieldError(ValueError):
    """A field has a value that is invalid or not supported. `path` leads to the field from the object that was
    checked."""

    def __init__(self, reason: str, *path: str | int) -> None:
        self.reason = reason
        self.path: Path = path
        super().__init__(f"{dotted(path)}: {reason}" if path else reason)

    def below(self, *path: str | int) -> FieldError:
        """Return the same error with a path that starts further up."""
        return FieldError(self.reason, *path, *self.path)


class Place(NamedTuple):
    """Where a resource is written: its file, and its YAML document with the line of each field."""

    file: str
    document: YamlDocument
    title: str
    """The name of the resource in a finding, such as `Trigger payments-settle`."""

    def finding(self, reason: str, *path: str | int) -> Finding:
        """Return a finding about a field of the resource, or about the whole resource."""
        field = f"{self.title}, {dotted(path)}: {reason}" if path else f"{self.title}: {reason}"
        return Finding(self.file, self.document.line(path), _sentence(field))

    def error(self, error: FieldError, *path: str | int) -> Finding:
        """Return the finding for an error below a path."""
        return self.finding(error.reason, *path, *error.path)


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as text: `spec.filters.0.exact`."""
    return ".".join(map(str, path))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
