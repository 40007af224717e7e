"""The journal of a simulated provider: a file of lines that survives the end of the process.

Each line is written to the operating system immediately, so it survives `kill -9`. It is not synced to disk.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

log = logging.getLogger(__name__)
_LINES_PER_RECORD: Final = 8
KEYS: Final = {
    "charge": "txid",
    "payment": "end_to_end_id",
    "sent": "end_to_end_id",
    "return": "key",
    "transfer": "reference",
    "webhook": "key",
}
"""The field that identifies a record, by its kind; otherwise it is `id`."""

Record = tuple[str, dict[str, Any]]


class ChargeJournal:
    """Records by kind and key. The last record of a key counts. Without a path nothing is stored.

    The newest `limit` records are kept, in a file of at most eight lines for each of them.
    """

    def __init__(self, path: Path | None, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._lines = 0
        self._file: BinaryIO | None = None

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Append a record to the file, which is shortened when it has grown past its bound."""
        if self._path is None:
            return
        if self._file is None:
            self._file = _open(self._path, os.O_APPEND)
        self._file.write(orjson.dumps([kind, record]) + b"\n")
        self._lines += 1
        if self._lines > self._limit * _LINES_PER_RECORD:
            self.load()

    def load(self) -> list[Record]:
        """Return the last record of each key, in the order of their last change, and shorten the file to these.

        A line that is not a record is logged with its number and skipped: a killed process may have left half a line.
        """
        if self._path is None or not self._path.exists():
            return []
        records: OrderedDict[tuple[str, str], Record] = OrderedDict()
        for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
            found = _record(line)
            if found is None:
                log.warning("%s:%d is damaged and left out", self._path, number)
                continue
            kind, record = found
            key = (kind, str(record.get(KEYS.get(kind, "id"))))
            records.pop(key, None)
            records[key] = found
        kept = list(records.values())[-self._limit :]
        self._rewrite(kept)
        return kept

    def close(self) -> None:
        """Close the file. The next `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rewrite(self, records: list[Record]) -> None:
        assert self._path is not None
        self.close()
        fresh = self._path.with_suffix(".new")
        with _open(fresh, os.O_TRUNC) as file:
            file.write(b"".join(orjson.dumps(record) + b"\n" for record in records))
        fresh.replace(self._path)
        self._lines = len(records)


def _record(line: bytes) -> Record | None:
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    match value:
        case [str(kind), dict(record)]:
            return kind, record
    return None


def _open(path: Path, how: int) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600), "wb", buffering=0)
