"""The context attributes of a CloudEvent: the names and values that are allowed, and their greatest lengths.

The rules are those of the CloudEvents specification 1.0.2, §3 (context attributes) and its type system. The
specification sets no lengths. The bounds are this platform's own, because every attribute is stored with its event, in
the inbox and in indexes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

SPECVERSION: Final = "1.0"
REQUIRED: Final = ("id", "source", "type")
MAX_NAME_CHARACTERS: Final = 64
"""The most characters of an attribute's name. The specification advises 20, which Knative's own `knativekafkapartition`
exceeds."""
MAX_CHARACTERS: Final[Mapping[str, int]] = {
    "id": 256,
    "source": 2048,
    "type": 256,
    "subject": 1024,
    "time": 64,
    "datacontenttype": 256,
    "dataschema": 2048,
}
"""The most characters of the value of an attribute that the specification defines."""
MAX_EXTENSION_CHARACTERS: Final = 4096
"""The most characters of the value of an extension. `knativeerrordata` needs 1,024 bytes in base64; `tracestate` fits
too."""
MAY_BE_EMPTY: Final = frozenset({"knativeerrordata"})
"""Extensions that may have no value: Knative sends this one so for a response without a body."""
MAX_TOTAL_BYTES: Final = 16 * 1024
"""The most bytes of all names and values of one event together, in UTF-8."""

_NAME: Final = re.compile(r"[a-z0-9]+")
_RESERVED: Final = frozenset({"data", "specversion"})
# Type system, String: no control characters (C0, DEL, C1), no surrogates, no Unicode noncharacters.
_FORBIDDEN: Final = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\ufdd0-\\ufdef"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(0x11))
    + "]"
)
# RFC 3339 §5.6. The pattern checks the hour, because newer versions of Python accept 24:00.
_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|[+-]([0-9]{2}):([0-9]{2}))"
)

# RFC 3986, appendix A.
_UNRESERVED: Final = r"A-Za-z0-9\-._~!$&'()*+,;="
_ENCODED: Final = r"%[0-9A-Fa-f]{2}"
_SEGMENT: Final = rf"(?:[{_UNRESERVED}:@]|{_ENCODED})"
_HOST: Final = rf"(?:\[[0-9A-Fa-fv:.{_UNRESERVED}]+\]|(?:[{_UNRESERVED}]|{_ENCODED})*)"
_AUTHORITY: Final = rf"//(?:(?:[{_UNRESERVED}:]|{_ENCODED})*@)?{_HOST}(?::[0-9]*)?(?:/{_SEGMENT}*)*"
_ABSOLUTE_PATH: Final = rf"/(?:{_SEGMENT}+(?:/{_SEGMENT}*)*)?"
_QUERY: Final = rf"(?:\?(?:{_SEGMENT}|[/?])*)?"
_FRAGMENT: Final = rf"(?:#(?:{_SEGMENT}|[/?])*)?"
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.\-]*:"
_ABSOLUTE: Final = rf"{_SCHEME}(?:{_AUTHORITY}|{_ABSOLUTE_PATH}|{_SEGMENT}+(?:/{_SEGMENT}*)*|){_QUERY}"
# RFC 3986, §4.2: the first segment of a relative path has no colon, which would mark a scheme.
_FIRST_SEGMENT: Final = rf"(?:[{_UNRESERVED}@]|{_ENCODED})+"
_RELATIVE: Final = rf"(?:{_AUTHORITY}|{_ABSOLUTE_PATH}|{_FIRST_SEGMENT}(?:/{_SEGMENT}*)*|){_QUERY}{_FRAGMENT}"
_ABSOLUTE_URI: Final = re.compile(_ABSOLUTE)
_URI_REFERENCE: Final = re.compile(rf"{_ABSOLUTE}{_FRAGMENT}|{_RELATIVE}")


class InvalidEvent(ValueError):
    """An HTTP message is not a CloudEvent that the platform accepts. The text names the rule that it breaks."""


def check_attributes(attributes: Mapping[str, str]) -> None:
    """Raise InvalidEvent unless these are the context attributes of a CloudEvent 1.0, `specversion` left out."""
    missing = [name for name in REQUIRED if name not in attributes]
    if missing:
        raise InvalidEvent(f"the event has no {' and no '.join(missing)}")
    size = 0
    for name, value in attributes.items():
        check_attribute(name, value)
        size += len(name) + len(value.encode())
    if size > MAX_TOTAL_BYTES:
        raise InvalidEvent(f"the event's attributes have {size} bytes; at most {MAX_TOTAL_BYTES} are allowed")


def check_attribute(name: str, value: str) -> None:
    """Raise InvalidEvent unless an attribute of this name may have this value."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARACTERS or name in _RESERVED:
        raise InvalidEvent(
            f"{name[:80]!r} is not the name of an attribute: 1 to {MAX_NAME_CHARACTERS} lower-case letters and digits, "
            "and not the name data"
        )
    if not value and name not in MAY_BE_EMPTY:
        raise InvalidEvent(f"attribute {name} is empty")
    limit = MAX_CHARACTERS.get(name, MAX_EXTENSION_CHARACTERS)
    if len(value) > limit:
        raise InvalidEvent(f"attribute {name} has {len(value)} characters; at most {limit} are allowed")
    forbidden = _FORBIDDEN.search(value)
    if forbidden is not None:
        raise InvalidEvent(f"attribute {name} holds the character U+{ord(forbidden[0]):04X}, which is not allowed")
    if name == "time" and not _is_time(value):
        raise InvalidEvent("attribute time is not a time of RFC 3339, such as 2026-01-31T12:00:00Z")
    if name == "source" and not _URI_REFERENCE.fullmatch(value):
        raise InvalidEvent("attribute source is not a URI reference of RFC 3986; encode a space as %20")
    if name == "dataschema" and not _ABSOLUTE_URI.fullmatch(value):
        raise InvalidEvent(
            "attribute dataschema is not an absolute URI of RFC 3986, §4.3: it needs a scheme and has no fragment"
        )


def _is_time(text: str) -> bool:
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    date, minute, second, offset_hours, offset_minutes = match.groups()
    if offset_hours is not None and (int(offset_hours) > 23 or int(offset_minutes) > 59):
        return False
    # A leap second is a valid time that datetime does not support.
    second = "59" if second == "60" else second
    try:
        datetime.fromisoformat(f"{date}T{minute}:{second}")
    except ValueError:
        return False
    return True
