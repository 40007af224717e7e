"""Lists: pages, cursors, filters and order."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.contract.calling import Client, Deployment, Pair, brl, names_of, new_pair, user_body

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Shelf:
    """A tenant with five payments from one account to another, and three refunds of the first."""

    def __init__(self, pair: Pair, payments: list[dict[str, Any]], refunds: list[dict[str, Any]]) -> None:
        self.pair = pair
        self.client = pair.client
        self.payments = payments
        self.refunds = refunds

    @property
    def lists(self) -> dict[str, tuple[str, int, bool]]:
        """Return the lists by name: path, number of items, and whether the newest is first."""
        first = self.payments[0]["id"]
        return {
            "payments": ("/v1/payments", 5, True),
            "users": ("/v1/users", 2, True),
            "accounts": ("/v1/accounts", 2, True),
            "refunds": (f"/v1/payments/{first}/refunds", 3, True),
            "timeline": (f"/v1/payments/{first}/events", 10, False),
            "statement": (f"/v1/accounts/{self.pair.payee}/statement", 8, False),
            "entries": (f"/v1/ledger/accounts/{self.pair.payee}/entries", 8, False),
        }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shelf(deployment: Deployment) -> AsyncIterator[Shelf]:
    pair = await new_pair(await deployment.new_tenant())
    payments = [await pair.paid(amount=brl(100 + number), reference=f"order-{number % 2}") for number in range(5)]
    path = f"/v1/payments/{payments[0]['id']}/refunds"
    waiting = (("prefer", "wait=10"),)
    refunds = [await pair.client.made(path, {"amount": brl(10)}, also=waiting) for _ in range(3)]
    yield Shelf(pair, payments, refunds)


LISTS = ["payments", "users", "accounts", "refunds", "timeline", "statement", "entries"]


BALANCES = {"account_id", "opening_balance", "closing_balance", "totals"}
"""The fields that a page of a statement has beside those of a page."""


async def walked(client: Client, path: str, limit: int) -> list[list[dict[str, Any]]]:
    """Return every page of a list by following the cursors."""
    pages, target = [], f"{path}?limit={limit}"
    while True:
        page = await client.read(target)
        assert page.keys() - BALANCES == {"data", "next_cursor"}
        pages.append(page["data"])
        if page["next_cursor"] is None:
            return pages
        target = f"{path}?limit={limit}&cursor={quote(page['next_cursor'])}"


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_pages_contain_the_whole_list(shelf: Shelf, name: str, limit: int) -> None:
    """Pages of any size contain each item once and in order, and only the last has no cursor."""
    path, count, newest_first = shelf.lists[name]
    pages = await walked(shelf.client, path, limit)
    items = [item for page in pages for item in page]
    assert len(items) == count
    assert [len(page) for page in pages] == [limit] * (count // limit) + ([count % limit] if count % limit else [])
    assert len({item["id"] for item in items}) == count
    times = [item.get("created_at") or item.get("recorded_at") or item["time"] for item in items]
    assert times == sorted(times, reverse=newest_first)
    assert items == (await shelf.client.read(f"{path}?limit=100"))["data"]


async def test_a_page_has_twenty_items_by_default(deployment: Deployment) -> None:
    """A page has 20 items by default and at most 100."""
    client = await deployment.new_tenant()
    for _ in range(21):
        await client.made("/v1/users", user_body())
    assert len((await client.read("/v1/users"))["data"]) == 20
    assert len((await client.read("/v1/users?limit=100"))["data"]) == 21


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", ["0", "101", "x"])
async def test_a_limit_is_1_to_100(shelf: Shelf, name: str, limit: str) -> None:
    """A limit out of 1 to 100 is answered with 400 at every list."""
    answer = await shelf.client.get(f"{shelf.lists[name][0]}?limit={limit}")
    assert (answer.status, answer.code, answer.parameters) == (400, "malformed_request", ["limit"])


@pytest.mark.parametrize("name", LISTS)
async def test_an_unknown_parameter_is_400_at_every_list(shelf: Shelf, name: str) -> None:
    """An unknown parameter is answered with 400 at every list."""
    answer = await shelf.client.get(f"{shelf.lists[name][0]}?sort=asc")
    assert (answer.code, answer.parameters) == ("malformed_request", ["sort"])


async def test_new_items_do_not_move_later_pages(deployment: Deployment) -> None:
    """A page continues where the previous one ended, also when items were added at the front meanwhile."""
    client = await deployment.new_tenant()
    users = [(await client.made("/v1/users", user_body()))["id"] for _ in range(3)]
    page = await client.read("/v1/users?limit=2")
    await client.made("/v1/users", user_body())
    rest = await client.read(f"/v1/users?limit=2&cursor={page['next_cursor']}")
    assert names_of(page["data"]) + names_of(rest["data"]) == users[::-1]


# Cursors


async def cursor_of(client: Client, path: str) -> str:
    joint = "&" if "?" in path else "?"
    cursor: str | None = (await client.read(f"{path}{joint}limit=1"))["next_cursor"]
    assert cursor is not None
    return cursor


async def refused(client: Client, path: str, cursor: str) -> None:
    joint = "&" if "?" in path else "?"
    answer = await client.get(f"{path}{joint}cursor={quote(cursor, safe='')}")
    assert (answer.status, answer.code, answer.parameters) == (400, "malformed_request", ["cursor"]), cursor


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_is_valid_for_one_tenant(deployment: Deployment, shelf: Shelf, name: str) -> None:
    """A cursor of another tenant is refused, also for the same list."""
    other = await new_pair(await deployment.new_tenant())
    payment = await other.paid()
    theirs = {
        "payments": "/v1/payments",
        "users": "/v1/users",
        "accounts": "/v1/accounts",
        "refunds": f"/v1/payments/{payment['id']}/refunds",
        "timeline": f"/v1/payments/{payment['id']}/events",
        "statement": f"/v1/accounts/{other.payee}/statement",
        "entries": f"/v1/ledger/accounts/{other.payee}/entries",
    }
    cursor = await cursor_of(shelf.client, shelf.lists[name][0])
    await refused(other.client, theirs[name], cursor)


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_is_valid_for_one_list(shelf: Shelf, name: str) -> None:
    """A cursor of one list is refused by another."""
    cursor = await cursor_of(shelf.client, shelf.lists[name][0])
    for other in LISTS:
        if other != name:
            await refused(shelf.client, shelf.lists[other][0], cursor)


async def test_a_cursor_is_valid_for_one_account(shelf: Shelf) -> None:
    """A cursor of one account's lines or entries is refused for another account of the tenant."""
    pair = shelf.pair
    for path in ("/v1/accounts/{}/statement", "/v1/ledger/accounts/{}/entries"):
        await refused(shelf.client, path.format(pair.payee), await cursor_of(shelf.client, path.format(pair.payer)))
    first, second = (payment["id"] for payment in shelf.payments[:2])
    cursor = await cursor_of(shelf.client, f"/v1/payments/{first}/events")
    await refused(shelf.client, f"/v1/payments/{second}/events", cursor)


async def test_a_cursor_carries_its_filters(shelf: Shelf) -> None:
    """A cursor contains the filters of its list; filters that are sent with it must be the same."""
    cursor = await cursor_of(shelf.client, "/v1/payments?reference=order-0")
    for filters in ("", "&reference=order-0"):
        page = await shelf.client.read(f"/v1/payments?cursor={cursor}{filters}")
        assert {payment["reference"] for payment in page["data"]} == {"order-0"}
        assert len(page["data"]) == 2
    for filters in ("reference=order-1", "status=settled", f"account={shelf.pair.payer}", "from=2020-01-01T00:00:00Z"):
        await refused(shelf.client, f"/v1/payments?{filters}", cursor)


def opened(cursor: str) -> list[Any]:
    content: list[Any] = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return content


def closed(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


FORGERIES: dict[str, Callable[[list[Any]], Any]] = {
    "a filter that no list has": lambda c: [c[0], c[1], {"tenant_id": "demo"}, c[3]],
    "an injected field": lambda c: [c[0], c[1], {"x') OR 1=1 --": "1"}, c[3]],
    "a document's own field": lambda c: [c[0], c[1], {"status": "active"}, c[3]],
    "filters of another type": lambda c: [c[0], c[1], [], c[3]],
    "a value of another type": lambda c: [c[0], c[1], {"owner_id": 1}, c[3]],
    "another tenant": lambda c: [c[0], "other", c[2], c[3]],
    "no place": lambda c: [c[0], c[1], c[2], None],
    "too short": lambda c: c[:3],
    "too long": lambda c: [*c, 1],
    "a map": lambda c: dict(zip("abcd", c, strict=True)),
    "text": lambda c: "hello",
    "deep": lambda c: [c[0], c[1], {"owner_id": [[[[]]]]}, c[3]],
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_crafted_cursor_is_checked_as_a_query(shelf: Shelf, forge: Callable[[list[Any]], Any]) -> None:
    """A crafted cursor with conditions that the list does not accept is refused."""
    for name in ("accounts", "users", "payments", "refunds"):
        path = shelf.lists[name][0]
        content = opened(await cursor_of(shelf.client, path))
        if name == "payments" and forge is FORGERIES["a document's own field"]:
            continue  # a filter of this list
        await refused(shelf.client, path, closed(forge(content)))


async def test_a_crafted_place_shows_no_other_tenant(shelf: Shelf) -> None:
    """A crafted cursor with an arbitrary place shows only items of the own tenant."""
    for name in LISTS:
        path, count, _ = shelf.lists[name]
        content = opened(await cursor_of(shelf.client, path))
        for place in ("", "~~~~", "\u0000", "x" * 200, "'; --"):
            answer = await shelf.client.get(f"{path}?limit=100&cursor={closed([*content[:3], place])}")
            assert answer.status in (200, 400)
            assert answer.status == 400 or len(answer.document["data"]) <= count


# Filters


async def test_payments_are_filtered(shelf: Shelf) -> None:
    """Payments are filtered by status, account on either side, and reference, alone and together."""

    async def found(query: str) -> list[str]:
        return names_of((await shelf.client.read(f"/v1/payments?{query}"))["data"])

    ids = names_of(shelf.payments)[::-1]
    assert await found("status=settled") == ids
    assert await found("status=declined") == []
    assert await found(f"account={shelf.pair.payer}") == ids
    assert await found(f"account={shelf.pair.payee}") == ids
    assert await found("reference=order-1") == [ids[1], ids[3]]
    assert await found(f"reference=order-1&account={shelf.pair.payee}&status=settled") == [ids[1], ids[3]]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/payments?account=acc_unknown",
        "/v1/payments?reference=never",
        "/v1/accounts?owner_id=usr_unknown",
        "/v1/payments?account={foreign}",
    ],
)
async def test_a_filter_by_an_unknown_id_gives_an_empty_list(shelf: Shelf, pair: Pair, target: str) -> None:
    """A filter by an unknown id, or by another tenant's, gives an empty list."""
    page = await shelf.client.read(target.format(foreign=pair.payer))
    assert page == {"data": [], "next_cursor": None}


async def test_accounts_are_filtered_by_owner(shelf: Shelf) -> None:
    """`owner_id` filters the accounts of one user."""
    account = await shelf.client.read(f"/v1/accounts/{shelf.pair.payer}")
    assert (await shelf.client.read(f"/v1/accounts?owner_id={account['owner_id']}"))["data"] == [account]


async def test_from_is_inclusive_and_to_is_exclusive(shelf: Shelf) -> None:
    """For payments and statement lines, `from` is inclusive and `to` exclusive, to the microsecond."""
    middle = shelf.payments[2]["created_at"]
    path, after = "/v1/payments", shelf.payments[2:]
    assert names_of((await shelf.client.read(f"{path}?from={middle}"))["data"]) == names_of(after)[::-1]
    assert names_of((await shelf.client.read(f"{path}?to={middle}"))["data"]) == names_of(shelf.payments[:2])[::-1]
    statement = f"/v1/accounts/{shelf.pair.payee}/statement"
    lines = (await shelf.client.read(statement))["data"]
    at = lines[3]["recorded_at"]
    assert (await shelf.client.read(f"{statement}?from={at}"))["data"] == lines[3:]
    assert (await shelf.client.read(f"{statement}?to={at}"))["data"] == lines[:3]
    # The same instant with another offset, whose plus sign is encoded.
    local = (datetime.fromisoformat(at) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "%2B02:00"
    assert (await shelf.client.read(f"{statement}?from={local}"))["data"] == lines[3:]


async def test_at_is_inclusive(shelf: Shelf) -> None:
    """The balance at a time includes entries recorded at that time, and has no held and available amounts."""
    path = f"/v1/accounts/{shelf.pair.payee}/"
    lines = (await shelf.client.read(f"{path}statement"))["data"]
    at = lines[2]["recorded_at"]
    balance = await shelf.client.read(f"{path}balance?at={at}")
    assert balance["posted"] == lines[2]["balance_after"]["value"]
    assert (balance["held"], balance["available"]) == (None, None)
    just_before = (datetime.fromisoformat(at) - timedelta(microseconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    earlier = await shelf.client.read(f"{path}balance?at={just_before}")
    assert earlier["posted"] == lines[1]["balance_after"]["value"]
    assert earlier["as_of"] == just_before


async def test_before_an_account_was_opened_its_balance_is_0(shelf: Shelf) -> None:
    """The balance is 0 before the account was opened, and the last balance for a time in the future."""
    path = f"/v1/accounts/{shelf.pair.payee}/balance"
    now = await shelf.client.read(path)
    assert (await shelf.client.read(f"{path}?at=1970-01-01T00:00:00Z"))["posted"] == 0
    assert (await shelf.client.read(f"{path}?at=9999-12-31T23:59:59Z"))["posted"] == now["posted"]


@pytest.mark.parametrize(
    "query", ["at=now", "at=2026-01-01", "at=", "at=2026-01-01T00:00:00Z&at=x", "to=2026-01-01T00:00:00Z"]
)
async def test_a_balance_at_an_invalid_time_is_malformed(shelf: Shelf, query: str) -> None:
    """`at` that is repeated or not an RFC 3339 time with an offset is refused."""
    answer = await shelf.client.get(f"/v1/accounts/{shelf.pair.payee}/balance?{query}")
    assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize(
    "target",
    [
        "/v1/accounts/acc_none/statement",
        "/v1/accounts/acc_none/balance",
        "/v1/ledger/accounts/acc_none/entries",
        "/v1/payments/pay_none/refunds",
        "/v1/payments/pay_none/events",
    ],
)
async def test_a_list_of_an_unknown_parent_is_not_found(demo: Client, target: str) -> None:
    """A list with an unknown id in its path is answered with 404."""
    assert (await demo.get(target)).code == "not_found"


async def test_lists_of_a_new_tenant_are_empty(deployment: Deployment) -> None:
    """The lists of a new tenant are empty."""
    pair = await new_pair(await deployment.new_tenant())
    empty: dict[str, Any] = {"data": [], "next_cursor": None}
    for path in ("/v1/payments", "/v1/dead-letters"):
        assert await pair.client.read(path) == empty
    statement = await pair.client.read(f"/v1/accounts/{pair.payer}/statement")
    assert {name: statement[name] for name in statement if name not in BALANCES} == empty
    assert await pair.client.read(f"/v1/ledger/accounts/{pair.payer}/entries") == empty
