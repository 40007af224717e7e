"""Queries, commits and collections in the terms of MongoDB."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.mongodb.queries import page_of
from shared.adapters.mongodb.schema import VERSION, definitions, digest
from shared.adapters.mongodb.statements import Update
from shared.adapters.mongodb.writes import Planned
from shared.ports.documents import Change, Collection, Commit, Expectation, Place, Query
from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.catalogue import COLLECTIONS
from shared.records.statement_lines import LINES
from shared.records.users import USERS
from tests.ports.documents_suite import ACCOUNTS as SUITE_ACCOUNTS
from tests.ports.documents_suite import account
from tests.shared.adapters.mongodb.model_server import matches

DIGESTS = {
    1: "fb46481a36b83cb9",
    2: "0ad13442a881b076",
    3: "ce096a01a4db4973",
    4: "4f66370da5c3c22a",
    5: "cad27b66b7087a08",
}
"""The digest of the definitions in each version of the schema."""


def test_a_changed_schema_has_a_new_version() -> None:
    """The collections, fields and indexes of a version never change. When this fails, increase `schema.VERSION`, note
    the new digest here, and set `schema.OLDEST` if functions of the version before cannot run on the new schema."""
    assert digest(definitions(COLLECTIONS)) == DIGESTS[VERSION]


def test_every_index_begins_with_the_tenant() -> None:
    """Every index begins with the tenant, except the one by which the sweep finds unsent events and the one by which
    the server deletes nonces."""
    others = [
        (definition.name, index.name)
        for definition in definitions(COLLECTIONS)
        for index in definition.indexes
        if index.keys[0] != "tenantId"
    ]
    assert others == [("nonces", "usedAt"), ("outbox", "unsent")]


def test_every_validator_requires_the_tenant() -> None:
    """The validator of every collection requires the tenant, and knows no `tenant_id` beside it."""
    for definition in definitions(COLLECTIONS):
        assert "tenantId" in definition.validator["required"]
        assert "tenant_id" not in definition.validator["properties"]


def test_a_validator_has_the_types_of_the_fields() -> None:
    """A field that may be None has that as a further type or value, and a document in a document keeps its types."""
    fields = next(each.validator["properties"] for each in definitions(COLLECTIONS) if each.name == "accounts")
    assert fields["posted"] == {"type": "number", "multipleOf": 1}
    assert fields["block_mode"] == {"enum": ["debits", "all", None]}
    assert fields["metadata"] == {"type": ["object", "null"]}
    fields = next(each.validator["properties"] for each in definitions(COLLECTIONS) if each.name == "holds")
    text = {"type": "string"}
    inner = {"code": text, "detail": text}
    assert fields["failure"] == {"type": ["object", "null"], "required": ["code", "detail"], "properties": inner}


def test_an_index_holds_only_documents_that_have_its_fields() -> None:
    """A sparse index, and a unique one, has no document in which a field is null."""
    indexes = {(each.name, index.name): index for each in definitions(COLLECTIONS) for index in each.indexes}
    assert indexes["holds", "status__expires_at"].specification() == {
        "name": "status__expires_at",
        "key": {"tenantId": 1, "status": 1, "expires_at": 1, "_id": 1},
        "partialFilterExpression": {"expires_at": {"$gte": ""}},
    }
    assert indexes["users", "document_index"].specification()["unique"]


def test_a_sweep_reads_its_index() -> None:
    """The condition of a partial index is in the filter of the query that it is for, and the order is the index's."""
    query = Query({"status": "active"}, ranges={"expires_at": (None, "2026")}, order_by="expires_at", limit=7)
    page = page_of(HOLDS, "ten_1", query._replace(after=Place("2025", "hld_1")))
    assert page.filter == {
        "$and": [
            {"tenantId": "ten_1"},
            {"status": {"$eq": "active"}},
            {"expires_at": {"$lt": "2026"}},
            {"expires_at": {"$gte": ""}},
            {
                "expires_at": {"$gte": "2025"},
                "$or": [{"expires_at": {"$gt": "2025"}}, {"_id": {"$gt": "ten_1/hld_1"}}],
            },
        ]
    }
    assert (page.sort, page.limit) == ((("expires_at", 1), ("_id", 1)), 7)


def test_a_tenants_list_is_a_range_of_the_primary_index() -> None:
    """All documents of a tenant, and a range of its ids, are a range of `_id`."""
    everything = page_of(USERS, "ten_1", Query(newest_first=True))
    assert everything.filter == {"$and": [{"tenantId": "ten_1"}, {"_id": {"$gte": "ten_1/", "$lt": "ten_10"}}]}
    assert everything.sort == (("_id", -1),)
    lines = page_of(LINES, "ten_1", Query(ranges={"id": ("acc_1.", "acc_1/")}, after="acc_1.5"))
    assert {"_id": {"$gte": "ten_1/acc_1.", "$lt": "ten_1/acc_1/"}} in lines.filter["$and"]
    assert {"_id": {"$gt": "ten_1/acc_1.5"}} in lines.filter["$and"]


@given(
    st.sampled_from(COLLECTIONS),
    st.builds(
        Query,
        where=st.just({}) | st.just({"version": 1}) | st.just({"id": "x"}),
        any_of=st.just(()) | st.just(({"version": 1}, {"id": "y"})),
        ranges=st.just({}) | st.just({"id": ("a", None)}),
        after=st.none() | st.text(max_size=3),
        newest_first=st.booleans(),
        order_by=st.none(),
    ),
)
def test_no_query_of_a_tenant_finds_anothers_document(collection: Collection[Any, ...], query: Query) -> None:
    """Whatever a query asks for, its filter has the tenant and matches no document of another."""
    filter = page_of(collection, "ten_1", query).filter
    assert {"tenantId": "ten_1"} in filter["$and"]
    assert not matches({"_id": "ten_2/x", "id": "x", "tenantId": "ten_2", "version": 1}, filter)


def test_every_write_names_its_tenant() -> None:
    """Every filter of a commit has the tenant of the document, and every new document has one."""
    commit = Commit("ten_1", inserts=[(SUITE_ACCOUNTS, account("a1"))], replaces=[(SUITE_ACCOUNTS, account("a2"))])
    commit.changes.append(Change(SUITE_ACCOUNTS, "a3", {"held": 1}))
    commit.deletes.append((SUITE_ACCOUNTS, "a4"))
    commit.expects.append(Expectation(SUITE_ACCOUNTS, "ten_2", "a5", 1))
    released, written = Planned(commit).batches
    statements = [*released.statements, *written.statements]
    tenants = [(statement[0]["_id"], statement[0]["tenantId"]) for statement in statements]
    ten_1 = [(f"ten_1/a{number}", "ten_1") for number in (4, 2, 3)]
    assert tenants == [*ten_1, ("ten_2/a5", "ten_2"), ("ten_1/a1", "ten_1")]
    assert (released.guarded, written.guarded) == (0, 3)


def held(amount: int) -> Update:
    """Return the statement that holds an amount on an account."""
    (batch,) = Planned(
        Commit("ten_1", changes=[Change(ACCOUNTS, "a1", {"held": amount}, {"status": "active"})])
    ).batches
    (statement,) = batch.statements
    assert isinstance(statement, Update)
    return statement


def test_a_floor_is_part_of_the_filter() -> None:
    """The floor after the change, and the bound of 64 bits, are conditions of the update itself."""
    statement = held(500)
    assert statement.filter == {
        "_id": "ten_1/a1",
        "tenantId": "ten_1",
        "$and": [
            {"status": {"$eq": "active"}},
            {"held": {"$not": {"$gt": 2**63 - 1 - 500}}},
            {
                "$expr": {
                    "$gte": [
                        {"$add": [{"$ifNull": ["$posted", 0]}, {"$ifNull": ["$overdraft_limit", 0]}]},
                        {"$add": [{"$add": [{"$ifNull": ["$held", 0]}, 500]}]},
                    ]
                }
            },
        ],
    }
    assert statement.update == {"$inc": {"held": 500, "version": 1}}


MONEY = st.integers(0, 2**63 - 1) | st.integers(0, 1000)


@given(posted=MONEY, before=MONEY, overdraft=MONEY, amount=st.integers(1, 2**63 - 1) | st.integers(1, 1000))
def test_the_filter_is_the_floor(posted: int, before: int, overdraft: int, amount: int) -> None:
    """The filter matches exactly where the available balance stays above zero and the sum within 64 bits, also where
    balance and overdraft together leave 64 bits."""
    row = {"_id": "ten_1/a1", "tenantId": "ten_1", "status": "active"}
    row |= {"posted": posted, "held": before, "overdraft_limit": overdraft}  # type: ignore[dict-item]  # integers
    fits = posted + overdraft - before - amount >= 0 and before + amount < 2**63
    assert matches(row, held(amount).filter) == fits
