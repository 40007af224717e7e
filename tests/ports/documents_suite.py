"""The behaviour of every adapter of the documents port. Each adapter's tests inherit it, with a fixture `documents`."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
from typing_extensions import TypedDict

from shared.core.envelope import Envelope
from shared.ports.documents import (
    PRIMARY_INDEX,
    AlreadyApplied,
    AlreadyExists,
    Change,
    Collection,
    Commit,
    Document,
    Documents,
    Expectation,
    Floor,
    GuardRefused,
    InboxMarker,
    Index,
    InvalidWrite,
    Place,
    Query,
    UnknownCollection,
    VersionConflict,
)


class AccountDocument(Document):
    """A document with sums and a floor."""

    status: str | None
    due: str | None
    iban: str | None
    posted: int
    held: int
    overdraft: int


class AccountChanges(TypedDict, total=False):
    """The fields that may change: all except the overdraft."""

    status: str | None
    due: str | None
    iban: str | None
    posted: int
    held: int


class NoteDocument(Document):
    """A document with the fields for queries."""

    a: Any
    b: Any
    c: Any


class NoteChanges(TypedDict, total=False):
    """The fields that may change."""

    a: Any


ACCOUNTS: Final = Collection(
    "suite_accounts",
    owner="suite",
    document=AccountDocument,
    changes=AccountChanges,
    indexes=(Index(("status",)), Index(("status", "due")), Index(("iban",), unique=True)),
    floors=(Floor((("posted", 1), ("held", -1), ("overdraft", 1))),),
)
NOTES: Final = Collection(
    "suite_notes",
    owner="suite",
    document=NoteDocument,
    changes=NoteChanges,
    indexes=(Index(("a",)), Index(("b",))),
)
COLLECTIONS: Final = (ACCOUNTS, NOTES)


def account(id: str, tenant_id: str = "ten_1", **fields: Any) -> dict[str, Any]:
    """Return a new account, empty by default."""
    empty = {"status": None, "due": None, "iban": None, "posted": 0, "held": 0, "overdraft": 0}
    return {"id": id, "tenant_id": tenant_id, "version": 1, **empty, **fields}


def note(id: str, tenant_id: str = "ten_1", **fields: Any) -> dict[str, Any]:
    """Return a new note, empty by default."""
    return {"id": id, "tenant_id": tenant_id, "version": 1, "a": None, "b": None, "c": None, **fields}


def event(
    id: str,
    time: str = "2026-01-01T00:00:00.000000Z",
    *,
    tenant_id: str = "ten_1",
    history: str | None = None,
    data: bytes = b'{"n":1}',
) -> Envelope:
    """An event of the first tenant, or of another."""
    extensions = {"tenantid": tenant_id, "partitionkey": f"{tenant_id}/x"}
    made = Envelope(
        id=id, source="/lastro/suite", type="suite.v1", subject="x", time=time, extensions=extensions, data=data
    )
    made.history = history
    return made


async def insert(documents: Documents, collection: Collection[Any, ...], *new: dict[str, Any]) -> None:
    """Commit new documents together."""
    await documents.commit(Commit(new[0]["tenant_id"], inserts=[(collection, each) for each in new]))


async def change(
    documents: Documents, id: str, increments: dict[str, int], where: dict[str, Any] | None = None
) -> None:
    """Commit one change of an account of the first tenant."""
    await documents.commit(Commit("ten_1", changes=[Change(ACCOUNTS, id, increments, where or {})]))


def ids(found: Any) -> list[str]:
    """Return the ids of a page."""
    return [each["id"] for each in found]


class DocumentsSuite:
    """Behaviour of the documents port."""

    async def test_what_was_inserted_is_read_back(self, documents: Documents) -> None:
        """A committed document is read back unchanged by its tenant."""
        await insert(documents, NOTES, note("n1", a="x", c={"list": [1, None, True]}))
        assert await documents.get(NOTES, "ten_1", "n1") == note("n1", a="x", c={"list": [1, None, True]})
        await documents.durable()
        assert await documents.get(NOTES, "ten_1", "n1") == note("n1", a="x", c={"list": [1, None, True]})

    async def test_another_tenants_document_is_not_there(self, documents: Documents) -> None:
        """A tenant finds no document of another tenant, neither by id nor by query."""
        await insert(documents, NOTES, note("n1", a="x"))
        assert await documents.get(NOTES, "ten_2", "n1") is None
        assert list(await documents.find(NOTES, "ten_2", Query(where={"a": "x"}))) == []

    async def test_two_tenants_may_use_one_id(self, documents: Documents) -> None:
        """Two tenants may have documents with the same id."""
        await insert(documents, NOTES, note("n1", a="x"))
        await insert(documents, NOTES, note("n1", "ten_2", a="y"))
        found = await documents.get(NOTES, "ten_2", "n1")
        assert found is not None
        assert found["a"] == "y"

    async def test_one_commit_may_hold_documents_of_the_platform_too(self, documents: Documents) -> None:
        """A commit may insert a document under the platform, atomically with its other documents."""
        commit = Commit("ten_1", inserts=[(NOTES, note("n1")), (NOTES, note("n2", "-"))])
        await documents.commit(commit)
        assert await documents.get(NOTES, "-", "n2") is not None
        assert await documents.get(NOTES, "ten_1", "n2") is None

    async def test_an_id_is_inserted_once(self, documents: Documents) -> None:
        """The second insert of an id is refused and changes nothing, before and after the first is on disk."""
        await insert(documents, NOTES, note("n1", a="x"))
        for _ in range(2):
            with pytest.raises(AlreadyExists) as refused:
                await insert(documents, NOTES, note("n0"), note("n1", a="y"))
            assert (refused.value.collection, refused.value.id) == ("suite_notes", "n1")
            await documents.durable()
        assert await documents.get(NOTES, "ten_1", "n0") is None
        assert await documents.get(NOTES, "ten_1", "n1") == note("n1", a="x")

    async def test_an_id_is_inserted_once_in_a_commit(self, documents: Documents) -> None:
        """A commit that inserts an id twice is refused."""
        with pytest.raises(AlreadyExists):
            await insert(documents, NOTES, note("n1"), note("n1"))

    async def test_a_replace_counts_the_version_on(self, documents: Documents) -> None:
        """A replacement increases the version; replacing the former version again is a conflict."""
        await insert(documents, NOTES, note("n1", a="x"))
        await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="y"))]))
        assert await documents.get(NOTES, "ten_1", "n1") == {**note("n1", a="y"), "version": 2}
        with pytest.raises(VersionConflict):
            await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="z"))]))
        await documents.durable()
        with pytest.raises(VersionConflict):
            await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="z"))]))

    async def test_an_absent_document_is_not_replaced(self, documents: Documents) -> None:
        """Replacing an absent document is a version conflict, because it was deleted since it was read."""
        with pytest.raises(VersionConflict):
            await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1"))]))

    async def test_documents_are_values(self, documents: Documents) -> None:
        """A caller's later change of a document that it has committed does not change the store."""
        await insert(documents, NOTES, note("n1", a="x"))
        mine = note("n1", a="y")
        await documents.commit(Commit("ten_1", replaces=[(NOTES, mine)]))
        mine["a"] = "z"
        assert mine["version"] == 1
        found = await documents.get(NOTES, "ten_1", "n1")
        assert found is not None
        assert found["a"] == "y"

    async def test_increments_add_up(self, documents: Documents) -> None:
        """Changes without an expected version never conflict, and each increases the version."""
        await insert(documents, ACCOUNTS, account("a1", posted=100, held=0, overdraft=0, status="active"))
        for _ in range(3):
            await change(documents, "a1", {"held": 10, "posted": 1})
        found = await documents.get(ACCOUNTS, "ten_1", "a1")
        assert found is not None
        assert (found["held"], found["posted"], found["version"]) == (30, 103, 4)

    async def test_two_changes_of_one_document_in_a_commit(self, documents: Documents) -> None:
        """The changes of a commit add up, and the floor is checked after all of them."""
        await insert(documents, ACCOUNTS, account("a1", posted=10, held=0, overdraft=0))
        changes = [Change(ACCOUNTS, "a1", {"held": 50}), Change(ACCOUNTS, "a1", {"held": -45, "posted": -1})]
        await documents.commit(Commit("ten_1", changes=changes))
        found = await documents.get(ACCOUNTS, "ten_1", "a1")
        assert found is not None
        assert (found["held"], found["posted"]) == (5, 9)

    async def test_a_floor_holds(self, documents: Documents) -> None:
        """No change, insert or replacement may leave a floor's sum below zero."""
        await insert(documents, ACCOUNTS, account("a1", posted=10, held=0, overdraft=5))
        await change(documents, "a1", {"held": 15})
        with pytest.raises(GuardRefused):
            await change(documents, "a1", {"held": 1})
        with pytest.raises(GuardRefused):
            await insert(documents, ACCOUNTS, account("a2", posted=0, held=1, overdraft=0))
        refilled = {**account("a1", posted=9, held=15, overdraft=5), "version": 2}
        with pytest.raises(GuardRefused):
            await documents.commit(Commit("ten_1", replaces=[(ACCOUNTS, refilled)]))

    async def test_a_condition_holds(self, documents: Documents) -> None:
        """A change whose condition is not met refuses the whole commit."""
        await insert(documents, ACCOUNTS, account("a1", posted=10, status="active"))
        await change(documents, "a1", {"posted": 1}, {"status": "active"})
        refused = Commit("ten_1", inserts=[(NOTES, note("n1"))], events=[event("e1")])
        refused.changes.append(Change(ACCOUNTS, "a1", {"posted": 1}, {"status": "blocked"}))
        refused.inbox = InboxMarker("suite", "/s", "e0")
        with pytest.raises(GuardRefused):
            await documents.commit(refused)
        assert await documents.get(NOTES, "ten_1", "n1") is None
        assert not await documents.seen(InboxMarker("suite", "/s", "e0"))

    async def test_an_assignment_goes_with_a_change(self, documents: Documents) -> None:
        """A change may set fields beside its increments."""
        await insert(documents, ACCOUNTS, account("a1", posted=10, status="active"))
        assigned = Change(ACCOUNTS, "a1", {"posted": 5}, {"status": "active"}, {"status": "blocked"})
        await documents.commit(Commit("ten_1", changes=[assigned]))
        found = await documents.get(ACCOUNTS, "ten_1", "a1")
        assert found is not None
        assert (found["posted"], found["status"]) == (15, "blocked")

    @pytest.mark.parametrize(
        "misspelt",
        [
            Commit("ten_1", inserts=[(NOTES, {**note("n2"), "aa": "x"})]),
            Commit("ten_1", inserts=[(NOTES, {"id": "n2", "tenant_id": "ten_1", "version": 1, "a": "x"})]),
            Commit("ten_1", replaces=[(NOTES, {**note("n1"), "aa": "x"})]),
            Commit("ten_1", changes=[Change(ACCOUNTS, "a1", {"hled": 1})]),
            Commit("ten_1", changes=[Change(ACCOUNTS, "a1", {"overdraft": 1})]),
            Commit("ten_1", changes=[Change(ACCOUNTS, "a1", {"held": 1}, {"statsu": "active"})]),
            Commit("ten_1", changes=[Change(ACCOUNTS, "a1", {}, {}, {"statsu": "active"})]),
        ],
        ids=["insert", "insert_lacks", "replace", "increment", "immutable", "condition", "assignment"],
    )
    async def test_a_field_that_the_collection_does_not_have_is_refused(
        self, documents: Documents, misspelt: Commit
    ) -> None:
        """A misspelt or missing field, or a change of a field that may not change, is an error and nothing is
        written."""
        await insert(documents, NOTES, note("n1"))
        await insert(documents, ACCOUNTS, account("a1", posted=5, status="active"))
        misspelt.events = [event("e1")]
        misspelt.inbox = InboxMarker("suite", "/s", "e0")
        with pytest.raises(InvalidWrite, match=r"suite_(notes|accounts)"):
            await documents.commit(misspelt)
        assert await documents.get(NOTES, "ten_1", "n1") == note("n1")
        assert await documents.get(NOTES, "ten_1", "n2") is None
        assert await documents.get(ACCOUNTS, "ten_1", "a1") == account("a1", posted=5, status="active")
        assert not await documents.seen(InboxMarker("suite", "/s", "e0"))

    async def test_a_collection_that_is_not_in_the_stores_list_is_refused(self, documents: Documents) -> None:
        """A collection that is not in the store's list, even with a known name, is neither read nor written."""
        for name in ("unlisted", "suite_notes"):
            other = Collection(name, owner="suite", document=NoteDocument, changes=NoteChanges)
            with pytest.raises(UnknownCollection, match=name):
                await documents.get(other, "ten_1", "n1")
            with pytest.raises(UnknownCollection, match=name):
                await documents.find(other, "ten_1", Query())
            for commit in (
                Commit("ten_1", inserts=[(other, note("n1"))]),
                Commit("ten_1", replaces=[(other, note("n1"))]),
                Commit("ten_1", changes=[Change(other, "n1", {"a": 1})]),
                Commit("ten_1", deletes=[(other, "n1")]),
            ):
                with pytest.raises(UnknownCollection, match=name):
                    await documents.commit(commit)
        assert await documents.get(NOTES, "ten_1", "n1") is None

    @pytest.mark.parametrize(
        "misspelt", [Query(where={"aa": 1}), Query(any_of=({"a": 1}, {"aa": 1})), Query(ranges={"aa": (None, 1)})]
    )
    async def test_a_query_by_an_unknown_field_is_refused(self, documents: Documents, misspelt: Query) -> None:
        """A query by a field that the documents do not have is an error and not an empty list."""
        with pytest.raises(ValueError, match="suite_notes have no field aa"):
            await documents.find(NOTES, "ten_1", misspelt)

    async def test_an_absent_document_is_not_changed(self, documents: Documents) -> None:
        """A change of a document that is not there is refused."""
        with pytest.raises(GuardRefused):
            await change(documents, "a1", {"posted": 1})

    async def test_sums_stay_within_64_bits(self, documents: Documents) -> None:
        """An increment that would leave 64 bits is refused rather than wrapped or rounded."""
        await insert(documents, ACCOUNTS, account("a1", posted=2**63 - 1))
        with pytest.raises(GuardRefused):
            await change(documents, "a1", {"posted": 1})

    async def test_a_deleted_document_is_absent(self, documents: Documents) -> None:
        """A deletion has effect at once, is no error for an absent document, and allows a new document with the id."""
        await insert(documents, NOTES, note("n1", a="x"))
        for _ in range(2):
            await documents.commit(Commit("ten_1", deletes=[(NOTES, "n1")]))
            assert await documents.get(NOTES, "ten_1", "n1") is None
            await documents.durable()
        await insert(documents, NOTES, note("n1", a="y"))
        await documents.durable()
        assert ids(await documents.find(NOTES, "ten_1", Query())) == ["n1"]

    async def test_a_unique_value_is_taken_once(self, documents: Documents) -> None:
        """A unique value is taken once in a tenant, before and after its document is on disk; None is not a value."""
        await insert(documents, ACCOUNTS, account("a1", iban="BR1", posted=0))
        for _ in range(2):
            with pytest.raises(AlreadyExists):
                await insert(documents, ACCOUNTS, account("a2", iban="BR1", posted=0))
            await documents.durable()
        await insert(documents, ACCOUNTS, account("a2", "ten_2", iban="BR1", posted=0))
        await insert(documents, ACCOUNTS, account("a3", iban=None, posted=0), account("a4", iban=None, posted=0))
        with pytest.raises(AlreadyExists):
            await insert(documents, ACCOUNTS, account("a5", iban="BR5"), account("a6", iban="BR5"))

    async def test_an_expected_document_must_not_have_changed(self, documents: Documents) -> None:
        """A commit that expects a document is made if the document has not changed, does not change it, and is
        refused otherwise."""
        await insert(documents, NOTES, note("n1", a="x"))
        for number in range(2):
            made = Commit(
                "ten_1", inserts=[(NOTES, note(f"m{number}"))], expects=[Expectation(NOTES, "ten_1", "n1", 1)]
            )
            await documents.commit(made)
            assert await documents.get(NOTES, "ten_1", "n1") == note("n1", a="x")
            await documents.durable()
        await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="y"))]))
        for _ in range(2):
            refused = Commit("ten_1", inserts=[(NOTES, note("m9"))], expects=[Expectation(NOTES, "ten_1", "n1", 1)])
            refused.inbox = InboxMarker("suite", "/s", "e9")
            with pytest.raises(VersionConflict):
                await documents.commit(refused)
            assert await documents.get(NOTES, "ten_1", "m9") is None
            assert not await documents.seen(InboxMarker("suite", "/s", "e9"))
            await documents.durable()

    async def test_an_absent_expected_document_refuses_the_commit(self, documents: Documents) -> None:
        """An expected document that was deleted, or is of another tenant, refuses the commit."""
        await insert(documents, NOTES, note("n1"))
        await insert(documents, NOTES, note("n2", "ten_2"))
        await documents.commit(Commit("ten_1", deletes=[(NOTES, "n1")]))
        for expected in (Expectation(NOTES, "ten_1", "n1", 1), Expectation(NOTES, "ten_1", "n2", 1)):
            with pytest.raises(VersionConflict):
                await documents.commit(Commit("ten_1", inserts=[(NOTES, note("m1"))], expects=[expected]))
        await documents.commit(
            Commit("ten_1", inserts=[(NOTES, note("m1"))], expects=[Expectation(NOTES, "ten_2", "n2", 1)])
        )

    async def test_an_expectation_is_checked_before_the_commits_own_writes(self, documents: Documents) -> None:
        """A commit may write a document that it expects; the expected version is the one before its own write."""
        await insert(documents, ACCOUNTS, account("a1", posted=5))
        changed = Commit("ten_1", changes=[Change(ACCOUNTS, "a1", {"posted": 1})])
        changed.expects.append(Expectation(ACCOUNTS, "ten_1", "a1", 1))
        await documents.commit(changed)
        with pytest.raises(VersionConflict):
            await documents.commit(changed)

    async def test_write_skew_is_refused(self, documents: Documents) -> None:
        """Of two commits that each expect the document that the other writes, one is refused (write skew)."""
        await insert(documents, NOTES, note("on-call-1", a="on"), note("on-call-2", a="on"))
        commits = []
        for mine, other in (("on-call-1", "on-call-2"), ("on-call-2", "on-call-1")):
            read = await documents.get(NOTES, "ten_1", other)
            assert read is not None
            leave = Commit("ten_1", replaces=[(NOTES, note(mine, a="off"))])
            leave.expects.append(Expectation(NOTES, "ten_1", other, read["version"]))
            commits.append(leave)
        outcomes = await asyncio.gather(*(documents.commit(each) for each in commits), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] in ([type(None), VersionConflict], [VersionConflict, type(None)])
        assert len(await documents.find(NOTES, "ten_1", Query(where={"a": "on"}))) == 1

    async def test_a_refusal_names_the_index(self, documents: Documents) -> None:
        """AlreadyExists has the collection and the index, which is the primary or a unique one."""
        await insert(documents, ACCOUNTS, account("a1", iban="BR1", posted=0), account("a2", iban="BR2", posted=0))
        for _ in range(2):
            with pytest.raises(AlreadyExists) as refused:
                await insert(documents, ACCOUNTS, account("a1", iban="BR3", posted=0))
            taken = (refused.value.collection, refused.value.index, refused.value.id)
            assert taken == (ACCOUNTS.name, PRIMARY_INDEX, "a1")
            with pytest.raises(AlreadyExists) as refused:
                await insert(documents, ACCOUNTS, account("a3", iban="BR1", posted=0))
            assert (refused.value.collection, refused.value.index) == (ACCOUNTS.name, "iban")
            with pytest.raises(AlreadyExists) as refused:
                await documents.commit(Commit("ten_1", replaces=[(ACCOUNTS, account("a2", iban="BR1", posted=0))]))
            assert (refused.value.collection, refused.value.index) == (ACCOUNTS.name, "iban")
            await documents.durable()
        with pytest.raises(AlreadyExists) as refused:
            await insert(documents, ACCOUNTS, account("a5", iban="BR5"), account("a6", iban="BR5"))
        assert refused.value.index == "iban"

    async def test_a_repeated_commit_is_refused_by_its_marker(self, documents: Documents) -> None:
        """A repeated commit is refused with AlreadyApplied before any other check, and changes nothing."""
        await insert(documents, ACCOUNTS, account("a1", posted=10, held=0, overdraft=0))
        made = Commit("ten_1", inserts=[(NOTES, note("n1"))], inbox=InboxMarker("suite", "/s", "e1"))
        made.replaces.append((ACCOUNTS, account("a1", posted=10, held=0, overdraft=5)))
        made.changes.append(Change(ACCOUNTS, "a1", {"held": 8}))
        await documents.commit(made)
        for _ in range(2):
            with pytest.raises(AlreadyApplied):
                await documents.commit(made)
            await documents.durable()
        found = await documents.get(ACCOUNTS, "ten_1", "a1")
        assert found is not None
        assert (found["held"], found["version"]) == (8, 3)

    async def test_a_released_unique_value_can_be_taken(self, documents: Documents) -> None:
        """A unique value that its document releases may be taken, even before the release is on disk."""
        await insert(documents, ACCOUNTS, account("a1", iban="BR1", posted=0))
        await documents.durable()
        await documents.commit(Commit("ten_1", replaces=[(ACCOUNTS, account("a1", iban="BR2", posted=0))]))
        await insert(documents, ACCOUNTS, account("a2", iban="BR1", posted=0))
        with pytest.raises(AlreadyExists):
            await insert(documents, ACCOUNTS, account("a3", iban="BR2", posted=0))
        await documents.commit(Commit("ten_1", deletes=[(ACCOUNTS, "a1")]))
        await insert(documents, ACCOUNTS, account("a3", iban="BR2", posted=0))
        await documents.durable()
        assert ids(await documents.find(ACCOUNTS, "ten_1", Query(where={"iban": "BR2"}))) == ["a3"]

    async def test_an_inbox_marker_is_committed_once(self, documents: Documents) -> None:
        """An inbox marker is committed once for a consumer and event, before and after it is on disk."""
        marker = InboxMarker("accounts/hold_funds", "/lastro/x", "e1")
        assert not await documents.seen(marker)
        await documents.commit(Commit("ten_1", inserts=[(NOTES, note("n1"))], inbox=marker))
        for attempt in range(2):
            assert await documents.seen(marker)
            again = Commit("ten_1", inserts=[(NOTES, note(f"m{attempt}"))], inbox=marker)
            with pytest.raises(AlreadyApplied):
                await documents.commit(again)
            assert await documents.get(NOTES, "ten_1", f"m{attempt}") is None
            await documents.durable()
        assert not await documents.seen(InboxMarker("accounts/other", "/lastro/x", "e1"))
        assert not await documents.seen(InboxMarker("accounts/hold_funds", "/lastro/y", "e1"))

    async def test_markers_come_in_any_order(self, documents: Documents) -> None:
        """The marker of an older event is absent before and present after its commit, among newer ones."""
        for id in ("e5", "e3", "e9", "e1"):
            marker = InboxMarker("c", "/s", id)
            assert not await documents.seen(marker)
            await documents.commit(Commit("ten_1", inbox=marker))
            await documents.durable()
            assert await documents.seen(marker)

    async def test_a_history_is_read_in_the_order_of_its_places(self, documents: Documents) -> None:
        """The events of a history come page by page in the order of their places, as they were published."""
        events = [event(f"e{number}", history=f"pay_1/{number}", data=b'{"n":%d}' % number) for number in (3, 1, 2)]
        await documents.commit(Commit("ten_1", events=events))
        await documents.mark_sent(events)
        page = await documents.history("ten_1", "pay_1", None, 2)
        assert [(each.history, each.id, each.type, each.data) for each in page] == [
            ("pay_1/1", "e1", "suite.v1", b'{"n":1}'),
            ("pay_1/2", "e2", "suite.v1", b'{"n":2}'),
        ]
        assert page[0].attributes() == events[1].attributes()
        rest = await documents.history("ten_1", "pay_1", "pay_1/2", 2)
        assert [each.id for each in rest] == ["e3"]
        assert not await documents.history("ten_1", "pay_1", "pay_1/3", 2)

    async def test_a_history_has_no_other_events(self, documents: Documents) -> None:
        """Another tenant's events, those of a name that begins alike, and those without a place are in no page."""
        alike = [event(f"e{name}", history=f"{name}/1") for name in ("pay_", "pay_10", "pay_1.", "pay_2")]
        await documents.commit(Commit("ten_1", events=[event("e1", history="pay_1/1"), *alike, event("e0")]))
        await documents.commit(Commit("ten_2", events=[event("e2", tenant_id="ten_2", history="pay_1/2")]))
        assert [each.id for each in await documents.history("ten_1", "pay_1", None, 10)] == ["e1"]
        assert [each.id for each in await documents.history("ten_2", "pay_1", None, 10)] == ["e2"]
        assert not await documents.history("ten_1", "pay_3", None, 10)

    async def test_pages_in_both_directions(self, documents: Documents) -> None:
        """Pages are in ascending or descending order of ids, and continue after an id."""
        await insert(documents, NOTES, *(note(f"n{number}", a="x") for number in range(7)))
        assert ids(await documents.find(NOTES, "ten_1", Query(limit=3))) == ["n0", "n1", "n2"]
        assert ids(await documents.find(NOTES, "ten_1", Query(limit=3, after="n2"))) == ["n3", "n4", "n5"]
        assert ids(await documents.find(NOTES, "ten_1", Query(limit=3, newest_first=True))) == ["n6", "n5", "n4"]
        newest = Query(where={"a": "x"}, limit=3, newest_first=True, after="n1")
        assert ids(await documents.find(NOTES, "ten_1", newest)) == ["n0"]

    async def test_conditions_are_joined_by_and(self, documents: Documents) -> None:
        """A document must match every field of `where`; None matches null; booleans and numbers are supported."""
        await insert(
            documents,
            NOTES,
            note("n1", a="x", b=1),
            note("n2", a="x", b=2, c=True),
            note("n3", b=1),
            note("n4", b=1),
        )
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": "x", "b": 2}))) == ["n2"]
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": None, "b": 1}))) == ["n3", "n4"]
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"c": True}))) == ["n2"]

    async def test_alternatives_are_joined_by_or(self, documents: Documents) -> None:
        """A document that matches several alternatives is found once, in its order."""
        await insert(
            documents,
            NOTES,
            note("n1", a="x", b="y", c=1),
            note("n2", a="y", b="x", c=1),
            note("n3", a="x", b="x", c=1),
            note("n4", a="z", b="z", c=1),
            note("n5", a="x", b="x", c=2),
        )
        either = Query(where={"c": 1}, any_of=({"a": "x"}, {"b": "x"}))
        assert ids(await documents.find(NOTES, "ten_1", either)) == ["n1", "n2", "n3"]
        newest = Query(where={"c": 1}, any_of=({"a": "x"}, {"b": "x"}), newest_first=True, limit=2)
        assert ids(await documents.find(NOTES, "ten_1", newest)) == ["n3", "n2"]

    async def test_ranges_are_half_open(self, documents: Documents) -> None:
        """A range includes its beginning and excludes its end; null is in no range."""
        await insert(documents, NOTES, *(note(f"n{number}", a=number, b=f"t{number}") for number in range(5)))
        await insert(documents, NOTES, note("n9"))
        assert ids(await documents.find(NOTES, "ten_1", Query(ranges={"a": (1, 3)}))) == ["n1", "n2"]
        assert ids(await documents.find(NOTES, "ten_1", Query(ranges={"a": (3, None)}))) == ["n3", "n4"]
        assert ids(await documents.find(NOTES, "ten_1", Query(ranges={"b": (None, "t2")}))) == ["n0", "n1"]

    async def test_pages_are_ordered_by_a_field(self, documents: Documents) -> None:
        """`order_by` orders by the field and then by id, in both directions, and continues after a place; null is not
        found."""
        due = {"a1": "3", "a2": "1", "a3": "2", "a4": None, "a5": "2", "a6": "9", "a7": "2"}
        new = [account(id, status="late", due=when) for id, when in due.items()]
        await insert(documents, ACCOUNTS, *new, account("a8", status="done", due="1"))
        await insert(documents, ACCOUNTS, account("a2", "ten_2", status="late", due="1"))
        first = Query({"status": "late"}, ranges={"due": (None, "9")}, order_by="due", limit=2)
        pages = []
        while found := await documents.find(ACCOUNTS, "ten_1", first):
            pages.append(ids(found))
            first = first._replace(after=Place(found[-1]["due"] or "", found[-1]["id"]))
        assert pages == [["a2", "a3"], ["a5", "a7"], ["a1"]]
        newest = Query({"status": "late"}, order_by="due", newest_first=True, limit=3)
        assert ids(await documents.find(ACCOUNTS, "ten_1", newest)) == ["a6", "a1", "a7"]
        newest = newest._replace(after=Place("2", "a7"))
        assert ids(await documents.find(ACCOUNTS, "ten_1", newest)) == ["a5", "a3", "a2"]
        either = Query({}, ({"status": "done"}, {"due": "1"}), order_by="due")
        assert ids(await documents.find(ACCOUNTS, "ten_1", either)) == ["a2", "a8"]

    async def test_a_sweep_reads_across_tenants(self, documents: Documents) -> None:
        """A query without a tenant finds the documents of all tenants in the order of their ids."""
        await insert(documents, ACCOUNTS, account("a2", status="late", due="1"))
        await insert(documents, ACCOUNTS, account("a1", "ten_2", status="late", due="2"))
        await insert(documents, ACCOUNTS, account("a3", "ten_3", status="late", due="3"))
        sweep = Query(where={"status": "late"}, ranges={"due": (None, "3")})
        found = await documents.find(ACCOUNTS, None, sweep)
        assert [(each["id"], each["tenant_id"]) for each in found] == [("a1", "ten_2"), ("a2", "ten_1")]

    async def test_a_query_sees_what_was_just_committed(self, documents: Documents) -> None:
        """A query finds the newest version of just committed documents, and no deleted ones."""
        await insert(documents, NOTES, note("n1", a="x"), note("n2", a="x"))
        await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="y"))], deletes=[(NOTES, "n2")]))
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": "x"}))) == []
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": "y"}))) == ["n1"]

    async def test_text_is_stored_unchanged(self, documents: Documents) -> None:
        """Quotes, accents, emoji and NUL-like escapes are stored unchanged, also in ids and conditions."""
        text = 'd\'Ávila "ção" 💸 \\u0000 %_'
        await insert(documents, NOTES, note("ñ'1", a=text))
        await documents.durable()
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": text}))) == ["ñ'1"]

    async def test_many_documents_written_many_times(self, documents: Documents) -> None:
        """Documents that are written many times have their last version."""
        await insert(documents, ACCOUNTS, *(account(f"a{number:03}", posted=0) for number in range(50)))
        for round_number in range(1, 11):
            for number in range(50):
                await change(documents, f"a{number:03}", {"posted": number})
            if round_number % 4 == 0:
                await documents.durable()
        found = await documents.find(ACCOUNTS, "ten_1", Query(limit=100))
        assert [(each["posted"], each["version"]) for each in found] == [(10 * number, 11) for number in range(50)]
