"""The request id: the same in the response, the logs, the events and the traces of a request."""

from __future__ import annotations

import re
from random import Random
from typing import Final

_ACCEPTED: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def request_id_of(sent: str | None, random: Random) -> str:
    """Return the client's X-Request-Id if it has 1 to 128 characters of `[A-Za-z0-9_.:-]`, else a new id."""
    if sent is not None and _ACCEPTED.fullmatch(sent) is not None:
        return sent
    return f"req_{random.getrandbits(128):032x}"
