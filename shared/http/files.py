"""Responses that are files: made piece by piece while they are sent, in one of several formats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from shared.core.problems import Problem
from shared.http.messages import Stream

_RANGE: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)/([!#$%&'*+.^_`|~0-9A-Za-z-]+)")
_WEIGHT: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class File(NamedTuple):
    """The result of a handler that answers with a file.

    `media_type` is the value of Content-Type. `name` is the name under which a browser stores the file: letters,
    digits, `.`, `_` and `-`. `content` is the whole file, or yields its pieces while they are sent. An error of a
    stream comes after the status is sent, so the response is cut; raise what is known before in the handler.
    """

    media_type: str
    name: str
    content: bytes | Stream


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """Return the media type that a client prefers, by its Accept header (RFC 9110 §12.5.1).

    The most specific range that matches a type gives its weight; of equal weights, the first type of `offered` wins.
    None, an absent header, accepts everything. Raises Problem `malformed_request` when the header is not valid, or
    accepts none of the types.
    """
    if accept is None:
        return offered[0]
    weights = _weights(accept)
    best = max(offered, key=lambda media_type: _weight(media_type, weights))
    if _weight(best, weights) == 0:
        raise Problem(
            "malformed_request", f"Accept allows none of the formats of this resource: {', '.join(offered)}, or */*."
        )
    return best


def _weights(accept: str) -> dict[str, int]:
    """Return the weight of each media range, in thousandths."""
    weights: dict[str, int] = {}
    for element in accept.split(","):
        if not element.strip():
            continue  # RFC 9110 §5.6.1: a recipient accepts empty elements
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        found = _RANGE.fullmatch(name)
        if found is None or (found[1] == "*" and found[2] != "*"):
            raise _invalid(element)
        weights[name] = max(weights.get(name, 0), _thousandths(element, parameters))
    return weights


def _thousandths(element: str, parameters: Sequence[str]) -> int:
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if name == "q":
            if not equals or _WEIGHT.fullmatch(value) is None:
                raise _invalid(element)
            return int(value[0]) * 1000 + int(value[2:].ljust(3, "0"))
    return 1000


def _weight(media_type: str, weights: dict[str, int]) -> int:
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0


def _invalid(element: str) -> Problem:
    return Problem(
        "malformed_request",
        f"Accept has an element that is not a media range with a weight from 0 to 1: {element.strip()[:80]!r}.",
    )
