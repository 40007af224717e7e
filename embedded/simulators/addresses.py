"""The URLs under which the platform of a data directory is and was reached.

A simulated provider keeps URLs of the platform for as long as its journal: where to report a payment, and where the
terms of a BR Code are. `lastro up` may start on another port, and these URLs still mean this platform.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

FILE: Final = "addresses.txt"
MAX_ADDRESSES: Final = 100
"""The newest addresses that are kept."""


class OwnAddresses:
    """The present base URL of the platform and the earlier ones, which are in `file`, one a line, the newest last."""

    def __init__(self, file: Path, base_url: str) -> None:
        self.present = base_url.rstrip("/")
        known = file.read_text("utf-8").split() if file.exists() else []
        self.earlier = tuple(url for url in known if url != self.present)[1 - MAX_ADDRESSES :]
        """The earlier base URLs, oldest first."""
        kept = [*self.earlier, self.present]
        if known != kept:
            _replace(file, "".join(f"{url}\n" for url in kept))

    def path_of(self, url: str) -> str | None:
        """Return the path of a URL of this platform, or None for a URL of another server."""
        for base in (self.present, *self.earlier):
            path = url.removeprefix(base)
            if path != url and path.startswith("/"):
                return path
        return None

    def is_earlier(self, netloc: str) -> bool:
        """Return whether this platform was reached under this host and port, and is not now."""
        return netloc != urlsplit(self.present).netloc and any(netloc == urlsplit(url).netloc for url in self.earlier)


def _replace(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    fresh.replace(file)
