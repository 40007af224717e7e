"""What the driver's errors mean for the port, and which URLs it takes."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    InvalidOperation,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from shared.adapters.mongodb.driver import BadUrl, DuplicateKey, Server, Transaction, port_error
from shared.adapters.mongodb.schema import INBOX, NONCES, OUTBOX, refusal
from shared.ports.documents import (
    PRIMARY_INDEX,
    AlreadyApplied,
    AlreadyExists,
    CommitOutcomeUnknown,
    InvalidWrite,
    NonceUsed,
    Unavailable,
    VersionConflict,
)

TRANSIENT = "TransientTransactionError"
UNKNOWN = "UnknownTransactionCommitResult"


def labelled(error: PyMongoError, *labels: str) -> PyMongoError:
    """Return the error with labels, as the driver or the server adds them."""
    for label in labels:
        error._add_error_label(label)
    return error


def refused(code: int, message: str = "", *labels: str) -> OperationFailure:
    """Return the refusal of a command."""
    details = {"ok": 0, "code": code, "codeName": "Name", "errmsg": message, "errorLabels": list(labels)}
    return OperationFailure(message, code, details)


def bulk(code: int, message: str, position: int = 0) -> BulkWriteError:
    """Return the refusal of one statement of a batch."""
    return BulkWriteError({"writeErrors": [{"index": position, "code": code, "errmsg": message}], "nMatched": 0})


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (refused(112, "WriteConflict", TRANSIENT), VersionConflict),
        (refused(112, "WriteConflict"), VersionConflict),
        (bulk(112, "WriteConflict"), VersionConflict),
        (refused(251, "NoSuchTransaction", TRANSIENT), VersionConflict),
        (labelled(NetworkTimeout("in a transaction"), TRANSIENT), VersionConflict),
        (labelled(AutoReconnect("at its commit"), UNKNOWN), CommitOutcomeUnknown),
        (refused(50, "MaxTimeMSExpired", UNKNOWN), CommitOutcomeUnknown),
        (labelled(ServerSelectionTimeoutError("nothing there"), TRANSIENT), Unavailable),
        (labelled(ServerSelectionTimeoutError("at its commit"), UNKNOWN), CommitOutcomeUnknown),
        (AutoReconnect("at a read"), Unavailable),
        (refused(50, "MaxTimeMSExpired"), Unavailable),
        (refused(18, "AuthenticationFailed"), Unavailable),
        (bulk(121, "Document failed validation"), InvalidWrite),
        (bulk(14, "Cannot apply $inc to a value of non-numeric type"), InvalidWrite),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_an_error_has_one_meaning(error: PyMongoError, meaning: type[Exception]) -> None:
    """Conflicts and aborted transactions run the handler again; an unknown outcome does not; what is down is named."""
    found = port_error(error)
    assert type(found) is meaning


def test_an_errors_text_quotes_no_values() -> None:
    """The text of an error has the code and not the server's message, in which values of a document may be."""
    found = str(port_error(refused(8000, "name: 'Maria da Silva'")))
    assert "Maria" not in found
    assert "8000" in found


@pytest.mark.parametrize(
    ("message", "index"),
    [
        (
            'E11000 duplicate key error collection: lastro.users index: document_index dup key: { a: "x" }',
            "document_index",
        ),
        ('E11000 duplicate key error collection: lastro.users index: _id_ dup key: { _id: "t/x index: b" }', "_id_"),
        ("E11000 duplicate key error index: lastro.users.$letter_key dup key: { : 1 }", "letter_key"),
    ],
)
def test_a_duplicate_key_names_its_index(message: str, index: str) -> None:
    """The index, and the place of the statement in its batch, are read from the refusal."""
    found = port_error(bulk(11000, message, 3))
    assert isinstance(found, DuplicateKey)
    assert (found.index, found.position) == (index, 3)


def test_an_index_says_what_its_refusal_means() -> None:
    """A taken key means, by its collection: applied before, used before, published by another commit, or exists."""
    assert isinstance(refusal(INBOX, "_id_", "m"), AlreadyApplied)
    assert isinstance(refusal(NONCES, "_id_", ""), NonceUsed)
    assert isinstance(refusal(OUTBOX, "_id_", "e1"), VersionConflict)
    taken: Any = refusal("users", "document_index", "usr_1")
    assert isinstance(taken, AlreadyExists)
    assert (taken.collection, taken.index, taken.id) == ("users", "document_index", "usr_1")
    assert PRIMARY_INDEX == "_id_"


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://u:secret@x:y/", "http://x", "mongodb://u:se@cret@x/"])
async def test_a_bad_url_is_refused_without_its_password(url: str) -> None:
    """A URL that the driver cannot follow is refused in one line, which does not repeat it."""
    with pytest.raises(BadUrl, match="is not a URL as mongodb://") as refusal:
        Server(url)
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_a_url_cannot_weaken_a_commit() -> None:
    """Options of the URL about what a commit promises are ignored; those about waiting are followed."""
    url = "mongodb://127.0.0.1:1/books?w=1&readPreference=secondary&retryWrites=false&serverSelectionTimeoutMS=7&wTimeoutMS=8"
    server = Server(url)
    client = server._client
    assert server.name == "books"
    assert client.write_concern.document == {"w": "majority", "j": True, "wtimeout": 8}
    assert client.read_concern.level == "majority"
    assert client.read_preference.mongos_mode == "primary"
    assert client.options.retry_writes
    assert client.options.server_selection_timeout == pytest.approx(0.007)
    await server.aclose()
    other = Server("mongodb://127.0.0.1:1")
    assert other.name == "lastro"
    await other.aclose()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    """A call without a server is Unavailable after the time that a server may take."""
    server = Server("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1")
    with pytest.raises(Unavailable, match="no primary of MongoDB can be reached"):
        await server.find_one("x", {})
    await server.aclose()


def test_another_error_is_unavailable() -> None:
    """Any other error of the driver means that MongoDB cannot answer."""
    assert type(port_error(ConfigurationError("x"))) is Unavailable


async def test_an_abort_that_fails_hides_nothing() -> None:
    """Aborting raises no error of its own, so that the caller gets the reason for the abort."""

    class Session:
        """A session of a client that was closed in the meantime."""

        in_transaction = True

        async def abort_transaction(self) -> None:
            raise InvalidOperation("Cannot use MongoClient after close")

    await Transaction(None, Session()).abort()
