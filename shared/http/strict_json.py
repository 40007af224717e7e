"""JSON as a payment request must be: UTF-8, no key twice, bounded depth, numbers as they were written."""

from __future__ import annotations

import json
import math
import re
from hashlib import sha256
from typing import Any, Final, NoReturn

import orjson

from shared.core.problems import Problem

MAX_DEPTH: Final = 32

# Every digit becomes 0 and everything else a space, so that a long run of digits is found by one search.
_DIGITS: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
# 2^63 has 19 digits: a shorter run is an int that orjson reads exactly; it would round a longer one to a float.
_LONG_RUN: Final = b"0" * 19
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")


def parse(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value that a body holds.

    Integers of any size stay ints and `100.0` and `1e2` stay floats, for validation to judge; a number beyond the
    range of a double becomes an infinite float. A scalar has depth 0 and each object or array around it adds one.
    Raises Problem `malformed_request` for what is not JSON (RFC 8259) in UTF-8, has a byte order mark, names a key
    twice, holds half of a surrogate pair, or is nested deeper than `max_depth`.
    """
    try:
        value = orjson.loads(body)
    except ValueError:
        return _parse_carefully(body, max_depth)
    # Without an escaped colon, parsing and writing keep every colon but those of members that a second key of the
    # same name displaced: equal counts mean that no key came twice. (Measured: a quarter of the careful way's time.)
    # What nests no deeper than is allowed does not nest past what orjson can write.
    if (
        _nests_deeper(body, max_depth)
        or b"\\u003" in body
        or _LONG_RUN in body.translate(_DIGITS)
        or body.count(b":") != orjson.dumps(value).count(b":")
    ):
        return _parse_carefully(body, max_depth)
    return value


def _nests_deeper(body: bytes, max_depth: int) -> bool:
    """Whether JSON nests deeper than that, by its brackets alone: a large body must not hold up everybody else."""
    if len(body.translate(None, _NO_BRACKET)) <= 2 * max_depth:
        return False
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(max_depth):
        # Each turn takes away what nests nothing any more.
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


class _DuplicateKeyError(Exception):
    """A key came twice in one object."""


class _Pairs(list[tuple[str, Any]]):
    """An object's members in their order, repeated ones included."""


def _parse_carefully(body: bytes, max_depth: int) -> Any:
    text = _decode(body)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_int=_integer,
        )
    except _DuplicateKeyError:
        raise _duplicate(text) from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem("malformed_request", f"The body is not JSON: {error.msg} ({where}).") from None
    if _nests_deeper(body, max_depth):
        raise _too_deep(max_depth)
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _decode(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem("malformed_request", f"The body is not UTF-8 (byte {error.start}).") from None
    if text.startswith("\ufeff"):
        raise Problem("malformed_request", "The body begins with a byte order mark.")
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _DuplicateKeyError
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise Problem("malformed_request", f"The body is not JSON: {name} is no number.")


def _integer(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        # Python bounds the digits of an int (4300): past them it is beyond every range that a field could have.
        return -math.inf if text.startswith("-") else math.inf


def _too_deep(max_depth: int) -> Problem:
    return Problem("malformed_request", f"The body is nested more than {max_depth} levels deep.")


def _duplicate(text: str) -> Problem:
    try:
        tree = json.loads(text, object_pairs_hook=_Pairs, parse_int=_integer)
    except ValueError as error:
        return Problem("malformed_request", f"The body is not JSON: {error}.")
    except RecursionError:
        return _too_deep(MAX_DEPTH)
    pointer = _first_duplicate(tree)
    return Problem.at("malformed_request", pointer, "The key comes twice.")


def _first_duplicate(tree: Any) -> str:
    """The pointer of the outermost repeated key; the caller knows that there is one."""
    level: list[tuple[str, Any]] = [("", tree)]
    while level:
        below: list[tuple[str, Any]] = []
        for pointer, item in level:
            if isinstance(item, _Pairs):
                seen: set[str] = set()
                for key, child in item:
                    place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
                    if key in seen:
                        return place
                    seen.add(key)
                    below.append((place, child))
            elif isinstance(item, list):
                below.extend((f"{pointer}/{position}", child) for position, child in enumerate(item))
        level = below
    return ""


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        _canonical(value)
    except UnicodeEncodeError:
        raise Problem("malformed_request", "The body holds half of a surrogate pair, which is no character.") from None


def fingerprint(value: Any) -> str:
    """The SHA-256, in hexadecimal, of a JSON value itself: key order and white space do not count.

    `1`, `1.0`, `"1"` and `true` all differ. Equal for equal values in every process and version.
    """
    try:
        canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        canonical = _canonical(value)  # an int beyond 64 bits
    else:
        # orjson writes an infinite float as null, so whatever holds a null is written the other way.
        if b"null" in canonical:
            canonical = _canonical(value)
    return sha256(canonical).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
