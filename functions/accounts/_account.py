"""A payment account as it is answered."""

from __future__ import annotations

from shared.http.models import Resource
from shared.records.accounts import AccountDocument, AccountStatus


class Account(Resource):
    """A payment account. `overdraft_limit` is in minor units of its currency."""

    id: str
    owner_id: str
    currency: str
    status: AccountStatus
    overdraft_limit: int
    metadata: dict[str, str] | None
    created_at: str
    updated_at: str


def account_resource(account: AccountDocument) -> Account:
    """The account as it is answered; its balance is the statements domain's to tell."""
    return Account(
        id=account["id"],
        owner_id=account["owner_id"],
        currency=account["currency"],
        status=account["status"],
        overdraft_limit=account["overdraft_limit"],
        metadata=account["metadata"],
        created_at=account["created_at"],
        updated_at=account["updated_at"],
    )
