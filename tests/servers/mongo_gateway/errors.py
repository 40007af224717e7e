"""Errors as mongod reports them, made from the errors of PostgreSQL and of the DocumentDB extension."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Self

import asyncpg

TRANSIENT: Final = "TransientTransactionError"
RETRYABLE: Final = "RetryableWriteError"
_TRANSIENT_CODES: Final = frozenset({6, 24, 112, 251})
_RETRYABLE_CODES: Final = frozenset({6})
_UNKNOWN: Final = 8

# The extension's own SQLSTATEs are M and four digits of base 36: the position in its list of errors, from 0. These are
# the errors with a name in mongod: position, code, name.
_ERRORS: Final = """
    1 1 InternalError             2 2 BadValue                    3 5 GraphContainsCycle     4 9 FailedToParse
    5 14 TypeMismatch             6 15 Overflow                   7 20 IllegalOperation      8 23 AlreadyInitialized
    9 26 NamespaceNotFound        10 27 IndexNotFound             11 28 PathNotViable        12 31 RoleNotFound
    13 34 CannotBackfillArray     14 40 ConflictingUpdateOperators 15 43 CursorNotFound      16 48 NamespaceExists
    17 52 DollarPrefixedFieldName 18 53 InvalidIdField            19 54 NotSingleValueField  20 56 EmptyFieldName
    21 57 DottedFieldName         22 61 ShardKeyNotFound          23 66 ImmutableField       24 67 CannotCreateIndex
    25 68 IndexAlreadyExists      26 72 InvalidOptions            27 73 InvalidNamespace     28 85 IndexOptionsConflict
    29 86 IndexKeySpecsConflict   30 111 NotExactValueField       31 115 CommandNotSupported 32 118 NamespaceNotSharded
    33 146 ExceededMemoryLimit    34 159 DurationOverflow         35 165 ViewDepthLimitExceeded
    36 166 CommandNotSupportedOnView 37 167 OptionNotSupportedOnView 38 181 AmbiguousIndexKeyPattern
    39 197 InvalidIndexSpecificationOption 40 224 QueryFeatureNotAllowed 41 232 MaxSubPipelineDepthExceeded
    42 241 ConversionFailure      43 263 OperationNotSupportedInTransaction 44 276 IndexBuildAborted
    45 291 UnableToFindIndex      46 361 CollectionUUIDMismatch   48 10334 BSONObjectTooLarge 49 11000 DuplicateKey
    50 12587 BackgroundOperationInProgressForNamespace            283 40324 Location40324    297 40415 Location40415
    457 121 DocumentValidationFailure 513 10107 NotWritablePrimary 526 143 CursorInUse       532 13 Unauthorized
    537 24 LockTimeout            538 50 MaxTimeMSExpired         539 59 CommandNotFound     542 112 WriteConflict
    543 117 ConflictingOperationInProgress 545 201 CannotBuildIndexKeys 546 225 TransactionTooOld
    547 251 NoSuchTransaction     548 256 TransactionCommitted    554 171 CannotIndexParallelArrays
    555 175 QueryPlanKilled
""".split()
_CODE_OF_PLACE: Final = {int(place): int(code) for place, code in zip(_ERRORS[::3], _ERRORS[1::3], strict=True)}
_NAMES: Final = {
    **{int(code): name for code, name in zip(_ERRORS[1::3], _ERRORS[2::3], strict=True)},
    6: "HostUnreachable",
    _UNKNOWN: "UnknownError",
}
_DOCUMENT_INDEX: Final = re.compile(r"collection_pk_\d+$|documents_rum_index_\d+$")
_CREATED_TWICE: Final = (
    "Unable to create metadata database sentinel collection",
    "Unable to create the specified collection",
)
_CODE_OF_STATE: Final = {
    "23505": 11000,  # unique_violation
    "23P01": 11000,  # exclusion_violation: the extension uses it for unique indexes
    "25P02": 251,  # in_failed_sql_transaction
    "40001": 112,  # serialization_failure
    "40P01": 112,  # deadlock_detected
    "55P03": 112,  # lock_not_available
    "57014": 50,  # query_canceled
}


class CommandError(Exception):
    """A command that fails: mongod's reply with ok: 0."""

    def __init__(
        self, code: int, message: str, *, fields: Mapping[str, Any] | None = None, labels: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.fields = fields or {}
        self.labels = labels

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return the error that mongod would report when PostgreSQL, or the connection to it, fails."""
        if isinstance(error, asyncpg.PostgresError) and error.sqlstate and not error.sqlstate.startswith(("08", "57P")):
            code = code_of(error.sqlstate)
            constraint = getattr(error, "constraint_name", None) or ""
            if (code == 11000 and not _DOCUMENT_INDEX.match(constraint)) or str(error).startswith(_CREATED_TWICE):
                code = 112  # two have created one database, collection or index: the second finds it when it runs again
            text = str(error) if code != _UNKNOWN else f"the engine's error {error.sqlstate}: {error}"
            return cls(code, text)
        if isinstance(error, TimeoutError):
            return cls(50, "operation exceeded time limit")
        return cls(6, f"the engine is not reached: {error!r}")

    def within(self, *, transaction: bool = False, retryable_write: bool = False) -> Self:
        """Return the same error with the labels by which a driver tries again."""
        if transaction and self.code in _TRANSIENT_CODES:
            self.labels = (*self.labels, TRANSIENT)
        if retryable_write and self.code in _RETRYABLE_CODES:
            self.labels = (*self.labels, RETRYABLE)
        return self

    def reply(self) -> dict[str, Any]:
        """Return the reply's document."""
        document = {"ok": 0.0, "errmsg": str(self), "code": self.code, "codeName": name_of(self.code), **self.fields}
        if self.labels:
            document["errorLabels"] = list(dict.fromkeys(self.labels))
        return document


def code_of(state: str) -> int:
    """Return mongod's code for a SQLSTATE; 8, UnknownError, when there is none."""
    if state in _CODE_OF_STATE:
        return _CODE_OF_STATE[state]
    if state.startswith("M"):
        return _CODE_OF_PLACE.get(int(state[1:], 36) + 1, _UNKNOWN)
    return _UNKNOWN


def unpacked(packed: int) -> str:
    """Return the SQLSTATE of an integer in PostgreSQL's encoding: six bits for each character."""
    return "".join(chr((packed >> shift & 0x3F) + ord("0")) for shift in range(0, 30, 6))


def name_of(code: int) -> str:
    """Return mongod's name of a code."""
    return _NAMES.get(code, f"Location{code}")
