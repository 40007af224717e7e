"""What is wrong with the manifests: each finding is a sentence with the file and the line where it is to be mended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shared.core.strict_yaml import YamlDocument

Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """One thing that is wrong. `file` is relative to the repository; `line` counts from 1, 0 for the whole file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class ManifestError(ValueError):
    """The manifests cannot be carried out. The text has a line for each finding."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class FieldError(ValueError):
    """A field has a value that cannot be carried out; `path` leads to it from where the check began."""

    def __init__(self, reason: str, *path: str | int) -> None:
        self.reason = reason
        self.path: Path = path
        super().__init__(f"{dotted(path)}: {reason}" if path else reason)

    def below(self, *path: str | int) -> FieldError:
        """The same error, seen from further up."""
        return FieldError(self.reason, *path, *self.path)


class Place(NamedTuple):
    """Where a resource is written: its file, and its YAML document with the line of each field."""

    file: str
    document: YamlDocument
    title: str
    """What it is called in a finding: `Trigger payments-settle`."""

    def finding(self, reason: str, *path: str | int) -> Finding:
        """What is wrong with a field of the resource, or with all of it."""
        field = f"{self.title}, {dotted(path)}: {reason}" if path else f"{self.title}: {reason}"
        return Finding(self.file, self.document.line(path), _sentence(field))

    def error(self, error: FieldError, *path: str | int) -> Finding:
        """The finding of an error that was met below a path."""
        return self.finding(error.reason, *path, *error.path)


def dotted(path: Sequence[str | int]) -> str:
    """A field as it is shown: `spec.filters.0.exact`."""
    return ".".join(map(str, path))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
