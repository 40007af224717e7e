"""What every adapter of the documents port does; each adapter's tests inherit it with a `documents` fixture."""

from __future__ import annotations

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
    Floor,
    GuardRefused,
    InboxMarker,
    Index,
    InvalidWrite,
    Query,
    UnknownCollection,
    VersionConflict,
)


class AccountDocument(Document):
    """What the suite does sums with."""

    status: str | None
    due: str | None
    iban: str | None
    posted: int
    held: int
    overdraft: int


class AccountChanges(TypedDict, total=False):
    """What may change of it: all but the overdraft."""

    status: str | None
    due: str | None
    iban: str | None
    posted: int
    held: int


class NoteDocument(Document):
    """What the suite searches by."""

    a: Any
    b: Any
    c: Any


class NoteChanges(TypedDict, total=False):
    """What may change of it."""

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
    """A new account, with nothing on it unless said otherwise."""
    empty = {"status": None, "due": None, "iban": None, "posted": 0, "held": 0, "overdraft": 0}
    return {"id": id, "tenant_id": tenant_id, "version": 1, **empty, **fields}


def note(id: str, tenant_id: str = "ten_1", **fields: Any) -> dict[str, Any]:
    """A new note, empty unless said otherwise."""
    return {"id": id, "tenant_id": tenant_id, "version": 1, "a": None, "b": None, "c": None, **fields}


def event(id: str, time: str = "2026-01-01T00:00:00.000000Z") -> Envelope:
    """An event of the first tenant."""
    extensions = {"tenantid": "ten_1", "partitionkey": "ten_1/x"}
    return Envelope(
        id=id, source="/lastro/suite", type="suite.v1", subject="x", time=time, extensions=extensions, data=b'{"n":1}'
    )


async def insert(documents: Documents, collection: Collection[Any, ...], *new: dict[str, Any]) -> None:
    """Commit new documents together."""
    await documents.commit(Commit(new[0]["tenant_id"], inserts=[(collection, each) for each in new]))


async def change(
    documents: Documents, id: str, increments: dict[str, int], where: dict[str, Any] | None = None
) -> None:
    """Commit one change of an account of the first tenant."""
    await documents.commit(Commit("ten_1", changes=[Change(ACCOUNTS, id, increments, where or {})]))


def ids(found: Any) -> list[str]:
    """The ids of a page."""
    return [each["id"] for each in found]


class DocumentsSuite:
    """Behaviour of the documents port."""

    async def test_what_was_inserted_is_read_back(self, documents: Documents) -> None:
        """A committed document is there as it was given, for its tenant."""
        await insert(documents, NOTES, note("n1", a="x", c={"list": [1, None, True]}))
        assert await documents.get(NOTES, "ten_1", "n1") == note("n1", a="x", c={"list": [1, None, True]})
        await documents.durable()
        assert await documents.get(NOTES, "ten_1", "n1") == note("n1", a="x", c={"list": [1, None, True]})

    async def test_another_tenants_document_is_not_there(self, documents: Documents) -> None:
        """A tenant sees neither by id nor by query what belongs to another."""
        await insert(documents, NOTES, note("n1", a="x"))
        assert await documents.get(NOTES, "ten_2", "n1") is None
        assert list(await documents.find(NOTES, "ten_2", Query(where={"a": "x"}))) == []

    async def test_two_tenants_may_use_one_id(self, documents: Documents) -> None:
        """Ids are a tenant's own."""
        await insert(documents, NOTES, note("n1", a="x"))
        await insert(documents, NOTES, note("n1", "ten_2", a="y"))
        found = await documents.get(NOTES, "ten_2", "n1")
        assert found is not None
        assert found["a"] == "y"

    async def test_one_commit_may_hold_documents_of_the_platform_too(self, documents: Documents) -> None:
        """An inserted document is kept under its own tenant_id, whole with the rest of the commit."""
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
        """A replaced document has the next version; replacing the old one again is a conflict."""
        await insert(documents, NOTES, note("n1", a="x"))
        await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="y"))]))
        assert await documents.get(NOTES, "ten_1", "n1") == {**note("n1", a="y"), "version": 2}
        with pytest.raises(VersionConflict):
            await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="z"))]))
        await documents.durable()
        with pytest.raises(VersionConflict):
            await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="z"))]))

    async def test_what_is_not_there_is_not_replaced(self, documents: Documents) -> None:
        """Replacing an absent document is a conflict: it was deleted since it was read."""
        with pytest.raises(VersionConflict):
            await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1"))]))

    async def test_documents_are_values(self, documents: Documents) -> None:
        """What a caller does to a document that it replaced with does not reach the store."""
        await insert(documents, NOTES, note("n1", a="x"))
        mine = note("n1", a="y")
        await documents.commit(Commit("ten_1", replaces=[(NOTES, mine)]))
        mine["a"] = "z"
        assert mine["version"] == 1
        found = await documents.get(NOTES, "ten_1", "n1")
        assert found is not None
        assert found["a"] == "y"

    async def test_increments_add_up(self, documents: Documents) -> None:
        """Changes without a version in hand never conflict; each counts the version on."""
        await insert(documents, ACCOUNTS, account("a1", posted=100, held=0, overdraft=0, status="active"))
        for _ in range(3):
            await change(documents, "a1", {"held": 10, "posted": 1})
        found = await documents.get(ACCOUNTS, "ten_1", "a1")
        assert found is not None
        assert (found["held"], found["posted"], found["version"]) == (30, 103, 4)

    async def test_two_changes_of_one_document_in_a_commit(self, documents: Documents) -> None:
        """A later change of a commit sees the earlier one, and only what is left of both is held to the floor."""
        await insert(documents, ACCOUNTS, account("a1", posted=10, held=0, overdraft=0))
        changes = [Change(ACCOUNTS, "a1", {"held": 50}), Change(ACCOUNTS, "a1", {"held": -45, "posted": -1})]
        await documents.commit(Commit("ten_1", changes=changes))
        found = await documents.get(ACCOUNTS, "ten_1", "a1")
        assert found is not None
        assert (found["held"], found["posted"]) == (5, 9)

    async def test_a_floor_holds(self, documents: Documents) -> None:
        """No commit leaves a floor's sum below zero, whether by change, insert or replace."""
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
        """A change is made where its condition holds, and refused with all of its commit where not."""
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
    async def test_a_field_that_its_collection_does_not_know_is_refused(
        self, documents: Documents, misspelt: Commit
    ) -> None:
        """A misspelt or missing field, or a change of one that may not change, is an error and writes nothing."""
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
        """A store makes no collection at first use: another, even of a known name, is neither read nor written."""
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
        """A condition on a field that the documents do not have is an error, and not a list without hits."""
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

    async def test_a_deleted_document_is_gone(self, documents: Documents) -> None:
        """A delete takes effect at once, is no error for what is absent, and lets the id be used anew."""
        await insert(documents, NOTES, note("n1", a="x"))
        for _ in range(2):
            await documents.commit(Commit("ten_1", deletes=[(NOTES, "n1")]))
            assert await documents.get(NOTES, "ten_1", "n1") is None
            await documents.durable()
        await insert(documents, NOTES, note("n1", a="y"))
        await documents.durable()
        assert ids(await documents.find(NOTES, "ten_1", Query())) == ["n1"]

    async def test_a_unique_value_is_taken_once(self, documents: Documents) -> None:
        """A unique index is held per tenant, before and after its owner is on disk; None is not a value."""
        await insert(documents, ACCOUNTS, account("a1", iban="BR1", posted=0))
        for _ in range(2):
            with pytest.raises(AlreadyExists):
                await insert(documents, ACCOUNTS, account("a2", iban="BR1", posted=0))
            await documents.durable()
        await insert(documents, ACCOUNTS, account("a2", "ten_2", iban="BR1", posted=0))
        await insert(documents, ACCOUNTS, account("a3", iban=None, posted=0), account("a4", iban=None, posted=0))
        with pytest.raises(AlreadyExists):
            await insert(documents, ACCOUNTS, account("a5", iban="BR5"), account("a6", iban="BR5"))

    async def test_a_refusal_names_the_index(self, documents: Documents) -> None:
        """What exists already is told by the collection and the index that has it: the primary one, or a unique one."""
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

    async def test_a_commit_that_was_made_is_known_by_its_marker(self, documents: Documents) -> None:
        """The same commit again is refused for its marker, whatever else would refuse it, and changes nothing."""
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

    async def test_a_unique_value_can_be_handed_on(self, documents: Documents) -> None:
        """A value that its owner gives up may be taken, even before that is on disk."""
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
        """The same event has its effect once for a consumer, before and after the first is on disk."""
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
        """An older event's marker is found absent and then present among newer ones."""
        for id in ("e5", "e3", "e9", "e1"):
            marker = InboxMarker("c", "/s", id)
            assert not await documents.seen(marker)
            await documents.commit(Commit("ten_1", inbox=marker))
            await documents.durable()
            assert await documents.seen(marker)

    async def test_pages_in_both_directions(self, documents: Documents) -> None:
        """Pages are in the order of ids, or against it, and go on behind an id."""
        await insert(documents, NOTES, *(note(f"n{number}", a="x") for number in range(7)))
        assert ids(await documents.find(NOTES, "ten_1", Query(limit=3))) == ["n0", "n1", "n2"]
        assert ids(await documents.find(NOTES, "ten_1", Query(limit=3, after="n2"))) == ["n3", "n4", "n5"]
        assert ids(await documents.find(NOTES, "ten_1", Query(limit=3, newest_first=True))) == ["n6", "n5", "n4"]
        newest = Query(where={"a": "x"}, limit=3, newest_first=True, after="n1")
        assert ids(await documents.find(NOTES, "ten_1", newest)) == ["n0"]

    async def test_conditions_are_joined_by_and(self, documents: Documents) -> None:
        """`where` wants every field; None wants the field null; booleans and numbers are found."""
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
        """A document that fits several alternatives is found once, in its place."""
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
        """A range takes its beginning and leaves its end; what has null there is in no range."""
        await insert(documents, NOTES, *(note(f"n{number}", a=number, b=f"t{number}") for number in range(5)))
        await insert(documents, NOTES, note("n9"))
        assert ids(await documents.find(NOTES, "ten_1", Query(ranges={"a": (1, 3)}))) == ["n1", "n2"]
        assert ids(await documents.find(NOTES, "ten_1", Query(ranges={"a": (3, None)}))) == ["n3", "n4"]
        assert ids(await documents.find(NOTES, "ten_1", Query(ranges={"b": (None, "t2")}))) == ["n0", "n1"]

    async def test_a_sweep_reads_across_tenants(self, documents: Documents) -> None:
        """Without a tenant a query finds every tenant's documents in the order of their ids."""
        await insert(documents, ACCOUNTS, account("a2", status="late", due="1"))
        await insert(documents, ACCOUNTS, account("a1", "ten_2", status="late", due="2"))
        await insert(documents, ACCOUNTS, account("a3", "ten_3", status="late", due="3"))
        sweep = Query(where={"status": "late"}, ranges={"due": (None, "3")})
        found = await documents.find(ACCOUNTS, None, sweep)
        assert [(each["id"], each["tenant_id"]) for each in found] == [("a1", "ten_2"), ("a2", "ten_1")]

    async def test_a_query_sees_what_was_just_committed(self, documents: Documents) -> None:
        """Own writes are found at once, in their newest version, and deleted ones no more."""
        await insert(documents, NOTES, note("n1", a="x"), note("n2", a="x"))
        await documents.commit(Commit("ten_1", replaces=[(NOTES, note("n1", a="y"))], deletes=[(NOTES, "n2")]))
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": "x"}))) == []
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": "y"}))) == ["n1"]

    async def test_text_is_kept_to_the_letter(self, documents: Documents) -> None:
        """Quotes, accents, emoji and NUL-like escapes come back as they went in, also as ids and conditions."""
        text = 'd\'Ávila "ção" 💸 \\u0000 %_'
        await insert(documents, NOTES, note("ñ'1", a=text))
        await documents.durable()
        assert ids(await documents.find(NOTES, "ten_1", Query(where={"a": text}))) == ["ñ'1"]

    async def test_many_documents_written_many_times(self, documents: Documents) -> None:
        """Documents written again and again end up in their last version."""
        await insert(documents, ACCOUNTS, *(account(f"a{number:03}", posted=0) for number in range(50)))
        for round_number in range(1, 11):
            for number in range(50):
                await change(documents, f"a{number:03}", {"posted": number})
            if round_number % 4 == 0:
                await documents.durable()
        found = await documents.find(ACCOUNTS, "ten_1", Query(limit=100))
        assert [(each["posted"], each["version"]) for each in found] == [(10 * number, 11) for number in range(50)]
