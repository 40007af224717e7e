"""Strict JSON: UTF-8, no repeated keys, limited depth, and integers of any size without loss."""

from __future__ import annotations

import json
import math
import re
from hashlib import sha256
from typing import Any, Final, NoReturn

import orjson

from shared.core.card_numbers import without_card_numbers
from shared.core.problems import Problem
from shared.core.repeated_keys import first_repeated_key, may_repeat_a_key

MAX_DEPTH: Final = 32

# Maps every digit to 0 and every other byte to a space, so that one search finds a long run of digits.
_DIGITS: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
# 2^63 has 19 digits. orjson reads shorter integers exactly, and rounds longer ones to floats.
_LONG_RUN: Final = b"0" * 19
# The beginning of a message of Python's parser, and what the client is told.
_REASONS: Final = {
    "Expecting value": "a value is missing or misspelt",
    "Expecting property name": "a name in double quotes is missing",
    "Expecting ','": "a comma, or the end of the object or list, is missing",
    "Expecting ':'": "a colon is missing",
    "Extra data": "something follows the end of the value",
    "Illegal trailing comma": "nothing follows a comma",
    "Invalid control character": "a text has a control character that is not escaped",
    "Invalid \\": "a text has an escape that JSON does not have",
    "Unterminated string": "a text has no closing double quote",
}
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")


def parse(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Parse a body.

    Integers of any size become ints; `100.0` and `1e2` become floats, so that validation can refuse them; a number
    beyond the range of a double becomes an infinite float. A scalar has depth 0; each object or array adds one.

    Raises Problem `malformed_request` for what is not JSON (RFC 8259) in UTF-8, and for a byte order mark, a repeated
    key, half of a surrogate pair, and nesting deeper than `max_depth`.
    """
    try:
        value = orjson.loads(body)
    except ValueError:
        return _parse_carefully(body, max_depth)
    if _nests_deeper(body, max_depth) or _LONG_RUN in body.translate(_DIGITS) or may_repeat_a_key(body, value):
        return _parse_carefully(body, max_depth)
    return value


def _nests_deeper(body: bytes, max_depth: int) -> bool:
    """Tell whether JSON is nested deeper than `max_depth`, by its brackets alone and in time linear in its size."""
    if len(body.translate(None, _NO_BRACKET)) <= 2 * max_depth:
        return False
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NO_BRACKET)
    for _ in range(max_depth):
        # Each pass removes the innermost pairs.
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


class _DuplicateKeyError(Exception):
    """An object has a key more than once."""


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
        raise _not_json(error) from None
    if _nests_deeper(body, max_depth):
        raise _too_deep(max_depth)
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _not_json(error: json.JSONDecodeError) -> Problem:
    if not error.doc.strip():
        return Problem("malformed_request", "The body is empty. Send a JSON object.")
    reason = next((plain for begin, plain in _REASONS.items() if error.msg.startswith(begin)), "the syntax is wrong")
    where = f"line {error.lineno}, column {error.colno}"
    return Problem("malformed_request", f"The body is not JSON: {reason} ({where}).")


def _decode(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem("malformed_request", f"The body is not UTF-8 (byte {error.start}).") from None
    if text.startswith("\ufeff"):
        raise Problem("malformed_request", "The body begins with a byte order mark. Send UTF-8 without one.")
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _DuplicateKeyError
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise Problem("malformed_request", f"The body is not JSON: {name} is not a number in JSON.")


def _integer(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        # Python refuses integers of more than 4300 digits. Every field's range is far smaller.
        return -math.inf if text.startswith("-") else math.inf


def _too_deep(max_depth: int) -> Problem:
    return Problem("malformed_request", f"The body is nested more than {max_depth} levels deep.")


def _duplicate(text: str) -> Problem:
    try:
        pointer = first_repeated_key(text) or ""
    except json.JSONDecodeError as error:
        return _not_json(error)
    except RecursionError:
        return _too_deep(MAX_DEPTH)
    # The key is the sender's, and may be a card number.
    return Problem.at("malformed_request", without_card_numbers(pointer), "The object has this key more than once.")


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        _canonical(value)
    except UnicodeEncodeError:
        raise Problem("malformed_request", "The body has half of a surrogate pair, which is not a character.") from None


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in hexadecimal. The order of keys and white space do not count.

    `1`, `1.0`, `"1"` and `true` all differ. Equal values have equal fingerprints in every process and version.
    """
    try:
        canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        canonical = _canonical(value)  # an int beyond 64 bits
    else:
        # orjson writes an infinite float as null. A value with a null is therefore written by the other function.
        if b"null" in canonical:
            canonical = _canonical(value)
    return sha256(canonical).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
