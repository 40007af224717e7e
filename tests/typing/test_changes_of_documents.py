"""What the type checker says of a handler that writes fields which a document does not have or may not change."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HANDLER = """
from typing import Unpack

from shared.context.context import Context
from shared.records.accounts import ACCOUNTS
from shared.records.payments import PAYMENTS, PaymentChanges, PaymentDocument
from shared.records.timeline import TIMELINE, TimelineDocument


def handler(ctx: Context, payment: PaymentDocument, entry: TimelineDocument, **more: Unpack[PaymentChanges]) -> None:
    ctx.update(PAYMENTS, payment, status="settled", due_at=None)
    ctx.update(PAYMENTS, payment, **more)
    ctx.change(ACCOUNTS, "acc_1", ACCOUNTS.where(status="active"), held=5)
    ctx.update(PAYMENTS, payment, statsu="settled")  # error: Unexpected keyword argument "statsu"
    ctx.update(PAYMENTS, payment, status="setled")  # error: incompatible type "Literal['setled']"
    ctx.update(PAYMENTS, payment, due_at=5)  # error: incompatible type "int"
    ctx.update(PAYMENTS, payment, amount=5)  # error: Unexpected keyword argument "amount"
    ctx.update(PAYMENTS, entry, status="settled")  # error: Cannot infer value of type parameter "D"
    ctx.update(TIMELINE, entry, data="{}")  # error: Unexpected keyword argument "data"
    ctx.change(ACCOUNTS, "acc_1", hled=5)  # error: Unexpected keyword argument "hled"
    ctx.change(ACCOUNTS, "acc_1", held="5")  # error: incompatible type "str"
    ctx.change(ACCOUNTS, "acc_1", ACCOUNTS.where(statsu="active"))  # error: Unexpected keyword argument "statsu"
    ctx.insert(PAYMENTS, entry)  # error: Cannot infer value of type parameter "D"
"""


def test_a_field_that_may_not_change_is_a_type_error(tmp_path: Path) -> None:
    """A misspelt field, one that may not change, and a value of another type are each found at their line, and what
    is right is not."""
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(handler)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {
        int(number): message for number, message in re.findall(r"handler\.py:(\d+):\d+: error: (.*)", checked.stdout)
    }
    expected = {
        number: line.partition("# error: ")[2]
        for number, line in enumerate(HANDLER.splitlines(), start=1)
        if "# error: " in line
    }
    assert found.keys() == expected.keys(), checked.stdout + checked.stderr
    for number, message in expected.items():
        assert message in found[number]
