"""Facts about settlement files of banks."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event


class SettlementFileEvent(Event):
    """The fields of every fact about a settlement file. `sequence` is its number at the bank."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "file_id"

    file_id: str
    bank: str
    sequence: int


class SettlementFileImported(SettlementFileEvent):
    """A settlement file was checked and stored whole. Its `lines` payments are to get their outcomes."""

    type: ClassVar[str] = "lastro.bank.settlement_file_imported.v1"

    lines: int


class SettlementFileApplied(SettlementFileEvent):
    """The payments of a settlement file have their outcomes. `unmatched` counts the lines without a payment here."""

    type: ClassVar[str] = "lastro.bank.settlement_file_applied.v1"
    terminal: ClassVar[bool] = True

    matched: int
    unmatched: int
