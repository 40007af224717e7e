"""Importing settlement files: whole, once, and with the place of each error."""

from __future__ import annotations

from typing import Any

import pytest

from events.settlement_files import SettlementFileImported
from shared.records.settlement_files import SETTLEMENT_FILES
from tests.cnab import REFERENCE, content, payment, settlement, text_of
from tests.harness import Answer, Harness


async def imported(harness: Harness, text: str, **options: Any) -> Answer:
    """Import a file."""
    return await harness.call("POST", "/v1/settlement-files", {"content": text}, **options)


async def test_a_file_is_imported_whole(harness: Harness) -> None:
    """The response has the file and its payments; the receiver's account and name are stored nowhere."""
    text = content(payment(1), payment(2, "B" * 20, 7, c231="AG", c163="0" * 15))
    answer = await imported(harness, text)
    assert answer.status == 201, answer.body
    made = answer.json
    assert answer.headers["location"] == f"/v1/settlement-files/{made['id']}"
    assert {name: made[name] for name in ("status", "bank", "agreement", "sequence", "made_at")} == {
        "status": "imported",
        "bank": "341",
        "agreement": "AGREEMENT 1",
        "sequence": 7,
        "made_at": "2026-11-26T23:15:00.000000Z",
    }
    settled, refused = made["lines"]
    assert settled == {
        "line": 3,
        "reference": REFERENCE,
        "bank_reference": "BANK 1",
        "outcome": "settled",
        "ordered": {"value": 1050, "currency": "BRL"},
        "moved": {"value": 1050, "currency": "BRL"},
        "moved_on": "2026-11-26",
        "occurrences": ["00"],
        "authentication": None,
        "result": "pending",
        "payment_id": None,
    }
    assert (refused["outcome"], refused["moved"]["value"], refused["moved_on"]) == ("refused", 0, None)
    assert (await harness.call("GET", f"/v1/settlement-files/{made['id']}")).json == made
    (fact,) = harness.events_of(SettlementFileImported)
    assert (fact.file_id, fact.bank, fact.sequence, fact.lines) == (made["id"], "341", 7, 2)
    stored: Any = await harness.documents.get(SETTLEMENT_FILES, "acme", made["id"])
    assert "ANA SOUZA" not in str(stored)
    record = stored["lines"][0]["record"]
    assert (len(record), record[23:73], record[73:93]) == (240, "*" * 50, REFERENCE)


async def test_nothing_of_a_wrong_file_is_imported(harness: Harness) -> None:
    """A file with errors is refused with the line and column of each; nothing is stored, and the corrected file is
    imported with the same key."""
    lines = settlement(payment(1, c94="00000000"), payment(2), total=1)
    answer = await imported(harness, text_of(lines), key="k-1")
    assert (answer.status, answer.json["code"]) == (422, "validation_failed")
    assert [error["detail"].partition(": ")[0] for error in answer.json["errors"]] == [
        "line 3, column 94",
        "line 5, column 24",
    ]
    assert {error["pointer"] for error in answer.json["errors"]} == {"/content"}
    assert answer.json["detail"].startswith("The file is not imported; 2 errors, the first in line 3, column 94: ")
    alone = (await imported(harness, text_of(settlement(payment(1, c94="00000000"))))).json["detail"]
    assert alone.startswith("The file is not imported; 1 error in line 3, column 94: ")
    assert harness.events_of(SettlementFileImported) == []
    assert (await imported(harness, content(), key="k-1")).status == 201


@pytest.mark.parametrize(
    ("again", "reason"),
    [
        (content(), "same content"),
        (content().replace("\r\n", "\n"), "same content"),
        (content(payment(1), payment(2)), "File 7"),
    ],
)
async def test_a_file_is_imported_once(harness: Harness, again: str, reason: str) -> None:
    """A file with the content or the number of an imported one is refused with the id of that one; the same request
    has its first answer again, and the next number is imported."""
    first = await imported(harness, content(), key="k-1")
    refused = await imported(harness, again)
    assert (refused.status, refused.json["code"]) == (409, "already_exists")
    assert reason in refused.json["detail"]
    assert first.json["id"] in refused.json["detail"]
    repeated = await imported(harness, content(), key="k-1")
    assert (repeated.status, repeated.json) == (201, first.json)
    assert (await imported(harness, content(sequence=8))).status == 201
    assert len(harness.events_of(SettlementFileImported)) == 2


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": 5}, {"content": "x", "more": 1}])
async def test_a_body_without_a_file_is_refused(harness: Harness, body: Any) -> None:
    """The body has the file's text and nothing else."""
    answer = await harness.call("POST", "/v1/settlement-files", body)
    assert (answer.status, answer.json["code"]) == (422, "validation_failed")


async def test_another_tenants_file_does_not_exist(harness: Harness) -> None:
    """Another tenant does not find a file, and imports one with the same content and number."""
    first = await imported(harness, content())
    await harness.tenant("other")
    answer = await harness.call("GET", f"/v1/settlement-files/{first.json['id']}", tenant="other")
    assert (answer.status, answer.code) == (404, "not_found")
    assert (await imported(harness, content(), tenant="other")).status == 201
