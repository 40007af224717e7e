"""The id under which one request is found again in answers, logs, events and traces."""

from __future__ import annotations

import re
from random import Random
from typing import Final

_ACCEPTED: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def request_id_of(sent: str | None, random: Random) -> str:
    """The client's X-Request-Id when it has the form of one (1 to 128 of `[A-Za-z0-9_.:-]`), else a new one."""
    if sent is not None and _ACCEPTED.fullmatch(sent) is not None:
        return sent
    return f"req_{random.getrandbits(128):032x}"
