"""The seals of a tenant's ledger (owner: the operations domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index, NoChanges


class SealDocument(Document):
    """The seal of one day (UTC); its id is the day, `YYYY-MM-DD`.

    `digest` is the digest of the seal before, of the day and of the pages so far; it is final when the day is `sealed`.
    `done_account` is the last account whose entries are in the pages; empty before the first. `entries` counts the
    sealed entries, `transfers` those that are the first leg of a transfer, `accounts` the accounts with pages.
    """

    status: Literal["sealing", "sealed"]
    previous_digest: str
    digest: str
    done_account: str
    accounts: int
    entries: int
    transfers: int
    started_at: str
    sealed_at: str | None


class SealChanges(TypedDict, total=False):
    """The fields that change until the day is sealed."""

    status: Literal["sealing", "sealed"]
    digest: str
    done_account: str
    accounts: int
    entries: int
    transfers: int
    sealed_at: str | None


class SealPageDocument(Document):
    """The digests of consecutive entries of one account, from sequence number `first` to `last`.

    `rows` is the base64 text of their SHA-256 digests, 32 bytes each; `digest` is the digest of all of them. The id is
    made by `page_id`.
    """

    day: str
    account_id: str
    first: int
    last: int
    rows: str
    digest: str


SEALS: Final = Collection("ledger_seals", owner="operations", document=SealDocument, changes=SealChanges)
SEAL_PAGES: Final = Collection(
    "ledger_seal_pages", owner="operations", document=SealPageDocument, changes=NoChanges, indexes=(Index(("day",)),)
)


def page_id(account_id: str, first: int) -> str:
    """Return the id of the page of an account that begins with a sequence number. Ids have the order of their pages."""
    return f"{account_id}.{first:016x}"


def page_ids(account_id: str) -> tuple[str, str]:
    """Return the range of the ids of an account's pages: from inclusive, to exclusive."""
    return f"{account_id}.", f"{account_id}/"
