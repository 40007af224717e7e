"""YAML without repeated keys, and with the line number of every field.

YAML 1.2, §3.2.1.1, requires unique keys. PyYAML silently uses the last of two equal keys, so a manifest could behave
differently from what its first lines say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import yaml

_NAMES: Final = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"})
_BASE: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """The text is not valid YAML, or has a repeated key. `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class YamlDocument(NamedTuple):
    """One YAML document: its value as Python objects, and the position of each part."""

    value: Any
    root: yaml.Node

    def line(self, path: Sequence[str | int] = ()) -> int:
        """Return the line of a field, from 1. If the field is absent, return the line of the innermost part of the path
        that exists."""
        node, line = self.root, _line(self.root.start_mark)
        for step in path:
            found = _below(node, step)
            if found is None:
                break
            line, node = found
        return line


def read_yaml(text: str) -> list[YamlDocument]:
    """Return the documents of a text. An empty document has the value None. Raises YamlError."""
    try:
        return list(_documents(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # PyYAML may report the end of the text as the line after the last.
        line = 1 if mark is None else min(_line(mark), text.count("\n") + 1)
        raise YamlError(line, error.problem or "this is not YAML") from None
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character[:1])
        raise YamlError(_line_of(text, chr(code)), f"the character U+{code:04X} is not allowed here") from None
    except RecursionError:
        raise YamlError(1, "it is nested too deeply") from None


def read_values(text: str) -> list[Any]:
    """Return the values of the documents of a text, for a reader that needs no line numbers. An empty document has the
    value None. Raises YamlError."""
    return [document.value for document in read_yaml(text)]


def read_value(text: str) -> Any:
    """Return the value of a text with one document. Raises YamlError, also for no document and for several."""
    documents = read_yaml(text)
    if len(documents) != 1:
        raise YamlError(1, f"there are {len(documents)} documents; it must be one")
    return documents[0].value


def _documents(text: str) -> Iterator[YamlDocument]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield YamlDocument(loader.construct_document(node), node)
    finally:
        loader.dispose()


class _Loader(_BASE):  # type: ignore[misc]  # one of two classes, depending on how PyYAML was built
    """PyYAML's safe loader, which checks the keys of each mapping before it constructs the dict."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(_line(key.start_mark), "a key is a mapping or a list; use text")
            name = key.value if key.tag in _NAMES else self.construct_object(key)
            line = key.start_mark.line
            if name in lines:
                reason = f"the key {name!r} is here and on line {lines[name] + 1}; remove one of them"
                raise YamlError(line + 1, reason)
            lines[name] = line
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def _below(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode):
        if isinstance(step, int) and 0 <= step < len(node.value):
            return _line(node.value[step].start_mark), node.value[step]
        return None
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return _line(key.start_mark), value
    return None


def _line_of(text: str, character: str) -> int:
    return text.count("\n", 0, max(text.find(character), 0)) + 1


def _line(mark: Any) -> int:
    return int(mark.line) + 1
