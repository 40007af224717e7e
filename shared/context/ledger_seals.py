"""The seals of a ledger: their digests, and their verification.

A seal covers entries by their sequence numbers, and not by their times. An account's entries are numbered without gaps
and only appended, so no later entry can be in a sealed page, whatever the clock of its process says. An entry that is
recorded after its day was sealed, with a time of that day, is in the seal of a later day.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

import orjson

from shared.context.ledger_verification import LedgerDifference
from shared.ports.documents import Documents, Query
from shared.ports.ledger import Entry, LedgerDamaged, LedgerStore, RecordedTransfer, UnbalancedTransfer
from shared.records.ledger_seals import SEAL_PAGES, SEALS, SealDocument, SealPageDocument

PAGE_ENTRIES: Final = 256
"""The greatest number of entries in a page."""
FIRST_DIGEST: Final = "0" * 64
"""The `previous_digest` of a tenant's first seal."""
_DIGEST_BYTES: Final = 32
_DOCUMENTS: Final = 100


class SealsVerified(NamedTuple):
    """The numbers of verified days and entries, the last sealed day and its digest (None when there is none)."""

    days: int
    entries: int
    last_day: str | None
    last_digest: str | None


def row_digest(tenant_id: str, entry: Entry, transfer: RecordedTransfer) -> bytes:
    """Return the SHA-256 digest of an entry and of what its transfer says about it."""
    about = (transfer.cause.type, transfer.cause.id, transfer.payment_id, transfer.description, len(transfer.entries))
    return sha256(orjson.dumps(["lastro-ledger-entry-1", tenant_id, *entry, *about])).digest()


def stored_rows(digests: Sequence[bytes]) -> tuple[str, str]:
    """Return the `rows` and the `digest` of a page."""
    rows = b"".join(digests)
    return b64encode(rows).decode(), sha256(rows).hexdigest()


def seal_begun(tenant_id: str, day: str, previous_digest: str) -> str:
    """Return the digest of a day before its first page."""
    return _hex(["lastro-ledger-seal-1", tenant_id, day, previous_digest])


def seal_extended(digest: str, account_id: str, first: int, last: int, page_digest: str) -> str:
    """Return the digest of a day after one more page."""
    return _hex([digest, account_id, first, last, page_digest])


def next_day(day: str) -> str:
    """Return the day after, as `YYYY-MM-DD`."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


async def row_digests(ledger: LedgerStore, tenant_id: str, entries: Sequence[Entry]) -> list[bytes]:
    """Return the digests of entries, whose transfers are read from the ledger.

    Raises LedgerDifference for an entry without a readable transfer, and Unavailable.
    """
    ids = list(dict.fromkeys(entry.transfer_id for entry in entries))
    found = await asyncio.gather(*(_transfer(ledger, tenant_id, id) for id in ids))
    transfers = dict(zip(ids, found, strict=True))
    return [row_digest(tenant_id, entry, transfers[entry.transfer_id]) for entry in entries]


async def verify_seals(
    documents: Documents, ledger: LedgerStore, tenant_id: str, known: Mapping[str, str] | None = None
) -> SealsVerified:
    """Compute the digest of every sealed day from the ledger, and compare it with the stored seals.

    `known` has digests by day that were kept outside the platform: with one of them, also a ledger and seals that were
    changed together are found. Raises LedgerDifference with the first row that differs, and Unavailable.
    """
    remaining = dict(known or {})
    last: SealDocument | None = None
    sealed: dict[str, int] = {}
    days = entries = 0
    async for seal in _seals(documents, tenant_id):
        where = f"{tenant_id}, the seal of {seal['id']}"
        _check_order(where, seal, last)
        digest = seal_begun(tenant_id, seal["id"], seal["previous_digest"])
        async for page in _pages(documents, tenant_id, seal["id"]):
            await _verify_page(ledger, tenant_id, page, sealed)
            digest = seal_extended(digest, page["account_id"], page["first"], page["last"], page["digest"])
            entries += page["last"] - page["first"] + 1
        if seal["status"] == "sealing":
            break
        _require(where, "digest", seal["digest"], digest)
        if seal["id"] in remaining:
            _require(where, "digest", digest, remaining.pop(seal["id"]))
        days, last = days + 1, seal
    if remaining:
        raise LedgerDifference(f"{tenant_id}: {min(remaining)} is not sealed")
    return SealsVerified(days, entries, last["id"] if last else None, last["digest"] if last else None)


def _check_order(where: str, seal: SealDocument, before: SealDocument | None) -> None:
    _require(where, "previous digest", seal["previous_digest"], before["digest"] if before else FIRST_DIGEST)
    if before is not None:
        _require(where, "day", seal["id"], next_day(before["id"]))


async def _verify_page(ledger: LedgerStore, tenant_id: str, page: SealPageDocument, sealed: dict[str, int]) -> None:
    """Compare each entry of a page with its digest. `sealed` has the last sealed number of each account."""
    account_id, first, last = page["account_id"], page["first"], page["last"]
    where = f"{tenant_id}, account {account_id}"
    _require(f"{where}, a page of the seal of {page['day']}", "first entry", first, sealed.get(account_id, 0) + 1)
    sealed[account_id] = last
    count = last - first + 1
    rows = _rows(page)
    if not 0 < count <= PAGE_ENTRIES or len(rows) != count * _DIGEST_BYTES:
        raise LedgerDifference(f"{where}: the page of the seal of {page['day']} from entry {first} was changed")
    entries = await ledger.entries(tenant_id, account_id, first - 1, count)
    for position, digest in enumerate(await row_digests(ledger, tenant_id, entries)):
        if rows[position * _DIGEST_BYTES : (position + 1) * _DIGEST_BYTES] != digest:
            entry = entries[position]
            raise LedgerDifference(
                f"{where}, entry {first + position}: it differs from the seal of {page['day']} "
                f"(leg {entry.leg} of transfer {entry.transfer_id})"
            )
    if len(entries) < count:
        raise LedgerDifference(f"{where}, entry {first + len(entries)}: it is sealed on {page['day']}, and missing")


def _rows(page: SealPageDocument) -> bytes:
    """Return the digests of a page, or nothing when they are not those of the page's own digest."""
    try:
        rows = b64decode(page["rows"], validate=True)
    except ValueError:
        return b""
    return rows if sha256(rows).hexdigest() == page["digest"] else b""


async def _transfer(ledger: LedgerStore, tenant_id: str, transfer_id: str) -> RecordedTransfer:
    try:
        transfer = await ledger.transfer(tenant_id, transfer_id)
    except (UnbalancedTransfer, LedgerDamaged) as error:
        raise LedgerDifference(f"{tenant_id}, transfer {transfer_id}: {error}") from None
    if transfer is None:
        raise LedgerDifference(f"{tenant_id}, transfer {transfer_id}: it is not recorded, and has an entry")
    return transfer


async def _seals(documents: Documents, tenant_id: str) -> AsyncIterator[SealDocument]:
    after: str | None = None
    while page := await documents.find(SEALS, tenant_id, Query(after=after, limit=_DOCUMENTS)):
        for seal in page:
            yield seal
        after = page[-1]["id"]


async def _pages(documents: Documents, tenant_id: str, day: str) -> AsyncIterator[SealPageDocument]:
    """Yield the pages of a day in the order of their ids, in which they were sealed."""
    after: str | None = None
    while page := await documents.find(SEAL_PAGES, tenant_id, Query({"day": day}, after=after, limit=_DOCUMENTS)):
        for found in page:
            yield found
        after = page[-1]["id"]


def _require(where: str, what: str, stored: object, computed: object) -> None:
    if stored != computed:
        raise LedgerDifference(f"{where}: the {what} is {stored}, and not {computed}")


def _hex(parts: list[object]) -> str:
    return sha256(orjson.dumps(parts)).hexdigest()
