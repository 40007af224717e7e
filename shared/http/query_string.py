"""Query strings (application/x-www-form-urlencoded)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from shared.core.problems import Problem

_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse_query(raw: str) -> dict[str, str]:
    """Return the parameters of a raw query string, decoded. `raw` stands for the wire's bytes one to one (latin-1).

    A parameter without a value is an empty string. Raises Problem `malformed_request` for what `urllib` would accept
    or repair: a parameter that occurs twice, a broken percent-escape, bytes that are not UTF-8.
    """
    if not raw:
        return {}
    if _BROKEN_ESCAPE.search(raw) is not None:
        raise Problem("malformed_request", "The query string has a % that is not followed by two hexadecimal digits.")
    try:
        pairs = parse_qsl(raw.encode("latin-1").decode(), keep_blank_values=True, errors="strict")
    except UnicodeError:
        raise Problem("malformed_request", "The query string is not UTF-8.") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in parameters:
            raise Problem.parameter("malformed_request", name, "The parameter occurs more than once. Send it once.")
        parameters[name] = value
    return parameters
