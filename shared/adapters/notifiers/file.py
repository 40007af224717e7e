"""The simulator of all channels: a file with one JSON object for each message, instead of a gateway."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import orjson

from shared.ports.notifier import Channel, Message

FILE: Final = "notifications.jsonl"
MAX_BYTES: Final = 10 * 1024 * 1024
"""At this size the file is begun anew; the one before it stays with the suffix `.1`."""


class FileNotifier:
    """Appends each message to a file that only its owner can read, because messages have personal data."""

    def __init__(self, channel: Channel, folder: Path) -> None:
        self._channel = channel
        self._file = folder / FILE

    async def send(self, message: Message) -> None:
        """Append the message. See shared.ports.notifier.Notifier."""
        line = orjson.dumps({"channel": self._channel, **message._asdict()}) + b"\n"
        if self._file.exists() and self._file.stat().st_size > MAX_BYTES:
            self._file.replace(self._file.with_suffix(".jsonl.1"))
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
