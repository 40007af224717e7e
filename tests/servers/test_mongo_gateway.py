"""MongoDB's wire protocol as the tests' gateway implements it, through the ordinary driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import pytest
from bson import Int64
from pymongo import ASCENDING, MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure, WriteError
from pymongo.operations import IndexModel
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.servers.mongodb_server import MongodbServer
from tests.servers.processes import Processes

Document = dict[str, Any]
Client = MongoClient[Document]
MILLISECONDS: Final = 120_000
VALIDATOR: Final = {"$jsonSchema": {"bsonType": "object", "required": ["tenantId"]}}


@pytest.fixture
def client(mongodb_url: str) -> Iterator[Client]:
    """A client with its own name, by which fail points select it."""
    options: dict[str, Any] = {"appname": f"tests-{uuid4()}", "serverSelectionTimeoutMS": MILLISECONDS}
    with MongoClient[Document](mongodb_url, tz_aware=True, **options) as opened:
        yield opened


@pytest.fixture
def database(client: Client) -> Iterator[Database[Document]]:
    """A database for one test."""
    name = f"tests_{uuid4().hex}"
    yield client[name]
    client.drop_database(name)


@pytest.fixture
def accounts(database: Database[Document]) -> Collection[Document]:
    """Ten accounts of 100 each, unique by tenant and number."""
    collection = database.create_collection("accounts", validator=VALIDATOR)
    collection.create_index([("tenantId", ASCENDING), ("number", ASCENDING)], name="by_number", unique=True)
    collection.insert_many([{"_id": n, "tenantId": "acme", "number": n, "balance": 100} for n in range(10)])
    return collection


def failing(client: Client, *commands: str, times: int = 1, **what: Any) -> None:
    """Make the client's next commands of these names fail."""
    data = {"failCommands": list(commands), "appName": client.options.pool_options.appname, **what}
    client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})


def code_of(run: Callable[[], object]) -> int | None:
    with pytest.raises(OperationFailure) as failed:
        run()
    return failed.value.code


def test_the_server_is_the_primary_of_a_replica_set(client: Client) -> None:
    """A driver finds a primary with sessions, which transactions need."""
    hello = client.admin.command("hello")
    assert hello["isWritablePrimary"]
    assert hello["setName"] == "rs0"
    assert hello["logicalSessionTimeoutMinutes"] == 30
    assert client.server_info()["versionArray"] == [7, 0, 0, 0]


def test_an_unknown_command_is_refused(client: Client) -> None:
    """A command that does not exist is answered with 59, CommandNotFound, and its name."""
    with pytest.raises(OperationFailure, match="no such command: 'frobnicate'") as failed:
        client.admin.command("frobnicate")
    assert failed.value.code == 59


def test_documents_come_back_as_they_were(database: Database[Document]) -> None:
    """Values of all types that the platform stores are read back unchanged."""
    document = {
        "_id": uuid4().hex,
        "amount": 2**53 + 1,
        "small": 1,
        "ratio": 0.5,
        "name": "João",
        "at": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "nothing": None,
        "flag": True,
        "bytes": b"\0\1",
        "nested": {"list": [1, "two", {"three": 3}], "empty": {}},
    }
    database.things.insert_one(document)
    assert database.things.find_one({"_id": document["_id"]}) == document


def test_pages_of_a_cursor(database: Database[Document]) -> None:
    """A result of several pages is read completely, in order if it is sorted, and its cursor can be closed."""
    database.many.insert_many([{"_id": n, "by": -n} for n in range(300)])
    assert {found["_id"] for found in database.many.find(batch_size=7)} == set(range(300))
    assert [found["_id"] for found in database.many.find(sort=[("by", 1)], batch_size=7)] == list(range(299, -1, -1))
    cursor = database.many.find(sort=[("by", 1)], batch_size=2)
    next(cursor)
    number = cursor.cursor_id
    cursor.close()
    more = {"getMore": number, "collection": "many"}
    assert code_of(lambda: database.command(more)) == 43


def test_aggregation_counting_and_distinct_values(accounts: Collection[Document]) -> None:
    """Grouping, counting and distinct values are answered by the engine."""
    total = {"$group": {"_id": "$tenantId", "sum": {"$sum": "$balance"}}}
    assert list(accounts.aggregate([{"$match": {"number": {"$gte": 5}}}, total])) == [{"_id": "acme", "sum": 500}]
    assert accounts.count_documents({"number": {"$lt": 3}}) == 3
    assert accounts.estimated_document_count() == 10
    assert accounts.distinct("tenantId") == ["acme"]


def test_a_guarded_increment(accounts: Collection[Document]) -> None:
    """An update whose filter has an expression changes only the documents for which the expression is true."""
    guard = {"_id": 1, "$expr": {"$gte": [{"$subtract": ["$balance", 60]}, 0]}}
    assert accounts.update_one(guard, {"$inc": {"balance": -60}}).matched_count == 1
    assert accounts.update_one(guard, {"$inc": {"balance": -60}}).matched_count == 0
    assert accounts.find_one_and_update({"_id": 1}, {"$inc": {"balance": 1}}, return_document=True) == {
        "_id": 1,
        "tenantId": "acme",
        "number": 1,
        "balance": 41,
    }


@pytest.mark.parametrize(
    ("write", "index", "key"),
    [
        (lambda to: to.insert_one({"_id": 3, "tenantId": "a", "number": 1}), "_id_", {"_id": 3}),
        (
            lambda to: to.insert_one({"_id": 77, "tenantId": "acme", "number": 4}),
            "by_number",
            {"tenantId": "acme", "number": 4},
        ),
        (
            lambda to: to.update_one({"_id": 3}, {"$set": {"number": 4}}),
            "by_number",
            {"tenantId": "acme", "number": 4},
        ),
        (
            lambda to: to.replace_one({"_id": 3}, {"tenantId": "acme", "number": 5}),
            "by_number",
            {"tenantId": "acme", "number": 5},
        ),
        (
            lambda to: to.update_one({"_id": 99}, {"$set": {"tenantId": "acme", "number": 5}}, upsert=True),
            "by_number",
            {"tenantId": "acme", "number": 5},
        ),
        (
            lambda to: to.find_one_and_update({"_id": 3}, {"$set": {"number": 4}}),
            "by_number",
            {"tenantId": "acme", "number": 4},
        ),
        (
            lambda to: to.find_one_and_update({"_id": 99}, {"$set": {"tenantId": "acme", "number": 4}}, upsert=True),
            "by_number",
            {"tenantId": "acme", "number": 4},
        ),
    ],
)
def test_a_duplicate_key_names_its_index_and_values(
    accounts: Collection[Document], write: Callable[[Collection[Document]], object], index: str, key: Document
) -> None:
    """A duplicate key is error 11000 with the index in the message, in mongod's wording, and its pattern and values."""
    with pytest.raises(DuplicateKeyError) as failed:
        write(accounts)
    details = failed.value.details
    assert details is not None
    assert details["keyValue"] == key
    assert details["keyPattern"] == dict.fromkeys(key, 1)
    shown = ", ".join(f'{name}: "{part}"' if isinstance(part, str) else f"{name}: {part}" for name, part in key.items())
    assert details["errmsg"] == (
        f"E11000 duplicate key error collection: {accounts.full_name} index: {index} dup key: {{ {shown} }}"
    )


def test_partial_and_expiring_indexes(database: Database[Document]) -> None:
    """Indexes keep their options: the partial filter, and the time after which documents expire."""
    database.keys.create_indexes(
        [
            IndexModel(
                [("tenantId", 1), ("key", 1)],
                name="once",
                unique=True,
                partialFilterExpression={"key": {"$exists": True}},
            ),
            IndexModel([("at", 1)], name="expiry", expireAfterSeconds=3600),
        ]
    )
    database.keys.insert_many([{"tenantId": "acme"}, {"tenantId": "acme"}, {"tenantId": "acme", "key": 1}])
    with pytest.raises(DuplicateKeyError, match="index: once"):
        database.keys.insert_one({"tenantId": "acme", "key": 1})
    indexes = database.keys.index_information()
    assert indexes["once"]["unique"]
    assert indexes["once"]["partialFilterExpression"] == {"key": {"$exists": True}}
    assert indexes["expiry"]["expireAfterSeconds"] == 3600
    database.keys.drop_index("expiry")
    assert set(database.keys.index_information()) == {"_id_", "once"}


def test_an_index_that_exists_is_left_as_it_is(accounts: Collection[Document]) -> None:
    """Creating an existing index again does nothing; a different index with its name is refused with 86, and another
    name for the same index with 85."""
    by_number = [("tenantId", 1), ("number", 1)]
    assert accounts.create_index(by_number, name="by_number", unique=True) == "by_number"
    assert code_of(lambda: accounts.create_index([("balance", 1)], name="by_number")) == 86
    assert code_of(lambda: accounts.create_index(by_number, name="other", unique=True)) in {85, 86}


def test_a_validator_refuses_documents(accounts: Collection[Document]) -> None:
    """A document that the collection's schema does not allow is refused with 121 and its id, inserted or updated."""
    with pytest.raises(WriteError) as failed:
        accounts.insert_one({"_id": "no tenant"})
    assert failed.value.code == 121
    assert failed.value.details is not None
    assert failed.value.details["errInfo"]["failingDocumentId"] == "no tenant"
    with pytest.raises(WriteError) as failed:
        accounts.update_one({"_id": 1}, {"$unset": {"tenantId": 1}})
    assert failed.value.code == 121


def test_a_validator_can_be_changed(accounts: Collection[Document]) -> None:
    """CollMod replaces the validator, which listCollections then shows."""
    stricter = {"$jsonSchema": {"bsonType": "object", "required": ["tenantId", "number"]}}
    accounts.database.command("collMod", accounts.name, validator=stricter)
    assert accounts.options()["validator"] == stricter
    with pytest.raises(WriteError):
        accounts.insert_one({"tenantId": "acme"})


def test_a_collection_that_exists_with_other_options_is_refused(accounts: Collection[Document]) -> None:
    """Creating a collection that exists with other options is 48, NamespaceExists; dropping a missing collection is not
    an error."""
    database = accounts.database
    assert code_of(lambda: database.command("create", accounts.name)) == 48
    database.drop_collection("never created")
    assert database.list_collection_names() == ["accounts"]
    accounts.drop()
    assert database.list_collection_names() == []


def test_a_transaction_is_seen_whole_or_not_at_all(client: Client, accounts: Collection[Document]) -> None:
    """A transaction sees its own writes immediately; other clients see them after its commit; an abort discards
    them."""
    with client.start_session() as session:
        with session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")):
            accounts.update_one({"_id": 1}, {"$inc": {"balance": -5}}, session=session)
            accounts.insert_one({"_id": 50, "tenantId": "acme", "number": 50}, session=session)
            assert accounts.count_documents({}) == 10
            assert len(list(accounts.find({}, session=session, batch_size=3))) == 11
        assert accounts.count_documents({}) == 11
        session.start_transaction()
        accounts.delete_many({}, session=session)
        session.abort_transaction()
    assert accounts.count_documents({}) == 11


def test_a_transaction_reads_one_state(client: Client, accounts: Collection[Document]) -> None:
    """A transaction does not see what is committed after its first read."""
    with client.start_session() as session, session.start_transaction():
        assert accounts.find_one({"_id": 2}, session=session)
        accounts.update_one({"_id": 1}, {"$set": {"balance": 1}})
        found = accounts.find_one({"_id": 1}, session=session)
        assert found is not None
        assert found["balance"] == 100


def test_a_write_conflict_aborts_the_second_transaction(client: Client, accounts: Collection[Document]) -> None:
    """The second of two transactions that write one document fails with 112 and the label to repeat it."""
    with client.start_session() as first, client.start_session() as second:
        first.start_transaction()
        second.start_transaction()
        accounts.find_one({"_id": 2}, session=second)
        accounts.update_one({"_id": 2}, {"$inc": {"balance": 1}}, session=first)
        first.commit_transaction()
        with pytest.raises(OperationFailure) as failed:
            accounts.update_one({"_id": 2}, {"$inc": {"balance": 1}}, session=second)
        assert failed.value.code == 112
        assert failed.value.has_error_label("TransientTransactionError")
        with pytest.raises(OperationFailure) as failed:
            second.commit_transaction()
        assert failed.value.code == 251
        assert failed.value.has_error_label("TransientTransactionError")


def test_a_duplicate_key_aborts_the_transaction(client: Client, accounts: Collection[Document]) -> None:
    """A write error within a transaction is reported, and aborts it, as mongod does."""
    with client.start_session() as session:
        session.start_transaction()
        accounts.update_one({"_id": 1}, {"$inc": {"balance": 1}}, session=session)
        with pytest.raises(DuplicateKeyError, match="index: by_number"):
            accounts.insert_one({"_id": 70, "tenantId": "acme", "number": 1}, session=session)
        assert code_of(lambda: accounts.find_one({"_id": 1}, session=session)) == 251
        session.abort_transaction()
    assert accounts.count_documents({"balance": 101}) == 0


def test_what_cannot_be_part_of_a_transaction(client: Client, accounts: Collection[Document]) -> None:
    """A command that mongod refuses within a transaction is refused with 263."""
    with client.start_session() as session:
        session.start_transaction()
        accounts.find_one(session=session)
        drop = {"drop": accounts.name}
        assert code_of(lambda: accounts.database.command(drop, session=session)) == 263
        session.abort_transaction()


def test_concurrent_transfers_keep_the_sum(client: Client, accounts: Collection[Document]) -> None:
    """Transactions of many threads that are repeated on conflicts lose and duplicate nothing."""

    def transfer(thread: int) -> None:
        with client.start_session() as session:
            for turn in range(15):

                def move(session: Any, turn: int = turn) -> None:
                    payer, payee = (thread + turn) % 10, (thread + 3 * turn + 1) % 10
                    accounts.update_one({"_id": payer}, {"$inc": {"balance": -1, "out": 1}}, session=session)
                    accounts.update_one({"_id": payee}, {"$inc": {"balance": 1}}, session=session)

                session.with_transaction(move)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(transfer, range(6)))
    found = list(accounts.find())
    assert sum(account["balance"] for account in found) == 1000
    assert sum(account.get("out", 0) for account in found) == 90


def test_concurrent_guarded_increments_keep_their_guard(accounts: Collection[Document]) -> None:
    """Of many concurrent updates with a floor in the filter, only as many find the document as the floor allows."""
    guard = {"_id": 1, "$expr": {"$gte": [{"$subtract": ["$balance", 30]}, 0]}}
    with ThreadPoolExecutor(8) as pool:
        counts = list(
            pool.map(lambda _: accounts.update_one(guard, {"$inc": {"balance": -30}}).modified_count, range(24))
        )
    assert sum(counts) == 3
    assert accounts.count_documents({"_id": 1, "balance": 10}) == 1


def test_concurrent_first_writes_to_a_collection(client: Client, database: Database[Document]) -> None:
    """A collection that many clients create concurrently, within and outside transactions, contains the documents of
    all."""

    def write(number: int) -> None:
        if number % 2:
            database.first.insert_one({"_id": number})
            return
        with client.start_session() as session:
            session.with_transaction(lambda session: database.first.insert_one({"_id": number}, session=session))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(write, range(96)))
    assert database.first.count_documents({}) == 96


def test_one_of_many_concurrent_inserts_wins(accounts: Collection[Document]) -> None:
    """Of many concurrent inserts with one unique key, one succeeds and the others get a duplicate key error."""

    def insert(number: int) -> bool:
        try:
            accounts.insert_one({"_id": f"racer-{number}", "tenantId": "acme", "number": 1000})
        except DuplicateKeyError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(insert, range(16))) == 1
    assert accounts.count_documents({"number": 1000}) == 1


def test_a_commit_may_be_repeated(client: Client, accounts: Collection[Document]) -> None:
    """A commitTransaction after the commit returns ok again and changes nothing."""
    with client.start_session() as session:
        session.start_transaction()
        accounts.update_one({"_id": 1}, {"$inc": {"balance": 1}}, session=session)
        session.commit_transaction()
        session.commit_transaction()
    assert accounts.count_documents({"balance": 101}) == 1


def test_a_commit_of_unknown_outcome_is_repeated(client: Client, accounts: Collection[Document]) -> None:
    """If the connection is lost after the commit, the driver repeats the commit and gets its result."""
    with client.start_session() as session:
        session.start_transaction()
        accounts.update_one({"_id": 1}, {"$inc": {"balance": 1}}, session=session)
        failing(client, "commitTransaction", closeConnection=True, afterwards=True)
        session.commit_transaction()
    assert accounts.count_documents({"balance": 101}) == 1


def test_an_unknown_outcome_is_labelled(client: Client, accounts: Collection[Document]) -> None:
    """If the second commit is not answered either, the driver reports an unknown outcome."""
    with client.start_session() as session:
        session.start_transaction()
        accounts.update_one({"_id": 1}, {"$inc": {"balance": 1}}, session=session)
        failing(client, "commitTransaction", times=2, closeConnection=True, afterwards=True)
        with pytest.raises(AutoReconnect) as failed:
            session.commit_transaction()
        assert failed.value.has_error_label("UnknownTransactionCommitResult")
        session.commit_transaction()
    assert accounts.count_documents({"balance": 101}) == 1


def test_a_retryable_write_has_one_effect(client: Client, accounts: Collection[Document]) -> None:
    """A write whose answer is lost is sent again by the driver, and answered without a second effect."""
    failing(client, "update", closeConnection=True, afterwards=True)
    assert accounts.update_one({"_id": 1}, {"$inc": {"balance": 1}}).modified_count == 1
    failing(client, "insert", closeConnection=True, afterwards=True)
    accounts.insert_one({"_id": 60, "tenantId": "acme", "number": 60})
    failing(client, "findAndModify", closeConnection=True, afterwards=True)
    found = accounts.find_one_and_update({"_id": 1}, {"$inc": {"balance": 1}}, return_document=True)
    assert found is not None
    assert found["balance"] == 102


def test_a_fail_point_answers_with_its_error(client: Client, accounts: Collection[Document]) -> None:
    """A failCommand fail point returns its error and labels as many times as configured."""
    failing(client, "find", errorCode=8000, errorLabels=["TransientTransactionError"])
    with pytest.raises(OperationFailure) as failed:
        accounts.find_one()
    assert failed.value.code == 8000
    assert failed.value.has_error_label("TransientTransactionError")
    assert accounts.find_one()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Processes, str]]:
    """A server of this module only, because its processes are killed. Its transactions may be idle for two seconds."""
    processes = Processes(tmp_path_factory.mktemp("mongodb"))
    server = MongodbServer(transaction_seconds=2)
    server.install()
    try:
        yield processes, server.start(processes)
    finally:
        processes.stop()


@pytest.mark.real
class TestKilledProcesses:
    """SIGKILL to the gateway or to the engine of a server of this class only."""

    def test_a_killed_gateway_keeps_what_was_committed(self, own_server: tuple[Processes, str]) -> None:
        """After SIGKILL to the gateway, commits and retryable writes are known, and open transactions are aborted."""
        processes, url = own_server
        with MongoClient[Document](url, serverSelectionTimeoutMS=MILLISECONDS) as client:
            things = client.killed.things
            things.insert_one({"_id": 0})
            with (
                client.start_session() as committed,
                client.start_session() as open_one,
                client.start_session() as session,
            ):
                committed.start_transaction()
                things.insert_one({"_id": "committed"}, session=committed)
                committed.commit_transaction()
                open_one.start_transaction()
                things.insert_one({"_id": "open"}, session=open_one)
                write = {"insert": "things", "documents": [{"_id": "once"}], "txnNumber": Int64(10_000)}
                first = client.killed.command(write, session=session)
                processes.kill("gateway")
                processes.start_again("gateway")
                MongodbServer.wait_until_ready(processes, url)
                committed.commit_transaction()
                with pytest.raises((OperationFailure, AutoReconnect)) as failed:
                    open_one.commit_transaction()
                assert failed.value.has_error_label("TransientTransactionError") or failed.value.has_error_label(
                    "UnknownTransactionCommitResult"
                )
                assert client.killed.command(write, session=session)["n"] == first["n"] == 1
            assert {found["_id"] for found in things.find()} == {0, "committed", "once"}

    def test_a_killed_engine_keeps_what_was_committed(self, own_server: tuple[Processes, str]) -> None:
        """After SIGKILL to PostgreSQL, all acknowledged writes are present."""
        processes, url = own_server
        with MongoClient[Document](url, serverSelectionTimeoutMS=MILLISECONDS) as client:
            things = client.killed.acknowledged
            things.insert_many([{"_id": n} for n in range(200)])
            with client.start_session() as session, session.start_transaction():
                things.insert_one({"_id": 200}, session=session)
            processes.kill("engine")
            MongodbServer.restart_engine(processes)
            MongodbServer.wait_until_ready(processes, url)
            assert things.count_documents({}) == 201

    def test_an_idle_transaction_is_aborted(self, own_server: tuple[Processes, str]) -> None:
        """A transaction that is idle longer than the limit is aborted, and other clients can write its documents."""
        _, url = own_server
        with (
            MongoClient[Document](url, serverSelectionTimeoutMS=MILLISECONDS) as client,
            client.start_session() as session,
        ):
            things = client.killed.idle
            things.insert_one({"_id": 1, "n": 0})
            session.start_transaction()
            things.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
            things.update_one({"_id": 1}, {"$inc": {"n": 10}})  # waits until the transaction is over
            assert code_of(session.commit_transaction) == 251
            assert things.find_one() == {"_id": 1, "n": 10}
