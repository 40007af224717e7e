"""Query strings: taken apart once, strictly."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from shared.core.problems import Problem


def parse_query(raw: str) -> dict[str, str]:
    """The parameters of a raw query string (application/x-www-form-urlencoded).

    Raises Problem `malformed_request` for a parameter that stands twice, for broken percent-escapes and for what
    is not UTF-8.
    """
    parameters: dict[str, str] = {}
    for piece in raw.split("&") if raw else ():
        if not piece:
            continue
        raw_name, _, raw_value = piece.partition("=")
        name = _decoded(raw_name)
        if name in parameters:
            raise Problem.parameter("malformed_request", name, "The parameter stands twice.")
        parameters[name] = _decoded(raw_value)
    return parameters


def _decoded(text: str) -> str:
    for position in range(len(text)):
        if text[position] == "%" and not _is_escape(text[position : position + 3]):
            raise Problem("malformed_request", "The query has a broken percent-escape.")
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode()
    except UnicodeError:
        raise Problem("malformed_request", "The query is not UTF-8.") from None


def _is_escape(text: str) -> bool:
    return len(text) == 3 and all(digit in "0123456789abcdefABCDEF" for digit in text[1:])
