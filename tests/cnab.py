"""Builds settlement files from texts at columns, for tests. It shares no code with the reader."""

from __future__ import annotations

from typing import Any

REFERENCE = "ABCDEFGHIJ2345672345"


def record(batch: str, kind: str, **at: str) -> str:
    """Return a record of bank 341 with texts at columns: `c120="…"` writes from column 120."""
    columns = list(f"341{batch}{kind}".ljust(240))
    for name, text in at.items():
        first = int(name[1:]) - 1
        columns[first : first + len(text)] = text
    assert len(columns) == 240
    return "".join(columns)


def file_header(sequence: int = 7, **at: str) -> str:
    fields = {"c33": "AGREEMENT 1", "c143": "2", "c144": "26112026", "c152": "201500", "c158": f"{sequence:06d}"}
    return record("0000", "0", **{**fields, **at})


def payment(number: int, reference: str = REFERENCE, centavos: int = 1050, **at: str) -> str:
    """Return a segment A of a settled payment."""
    fields = {
        "c9": f"{number:05d}",
        "c14": "A0",
        "c44": "ANA SOUZA",
        "c74": reference,
        "c94": "26112026",
        "c102": "BRL",
        "c120": f"{centavos:015d}",
        "c135": "BANK 1",
        "c155": "26112026",
        "c163": f"{centavos:015d}",
        "c231": "00",
    }
    return record("0001", "3", **{**fields, **at})


def settlement(*details: str, total: int | None = None, sequence: int = 7, **header: Any) -> list[str]:
    """Return the lines of a file with one batch, whose trailers are right; `total` replaces the sum."""
    paid = sum(int(line[119:134]) for line in details if line[13] == "A")
    return [
        file_header(sequence, **header),
        record("0001", "1", c9="C", c10="20", c12="41"),
        *details,
        record("0001", "5", c18=f"{len(details) + 2:06d}", c24=f"{paid if total is None else total:018d}"),
        record("9999", "9", c18="000001", c24=f"{len(details) + 4:06d}"),
    ]


def text_of(lines: list[str], end: str = "\r\n") -> str:
    """Return the file's text."""
    return "".join(f"{line}{end}" for line in lines)


def content(*details: str, sequence: int = 7) -> str:
    """Return the text of a file with these details, or with one settled payment."""
    return text_of(settlement(*(details or (payment(1),)), sequence=sequence))
