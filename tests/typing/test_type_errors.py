"""Errors of the type checker: fields that a document does not have or that may not change, and guessable secrets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HANDLER = """
from typing import Unpack

from shared.context.context import Context
from shared.records.accounts import ACCOUNTS
from shared.records.payments import PAYMENTS, PaymentChanges, PaymentDocument
from shared.records.statement_lines import LINES, LineDocument


def handler(ctx: Context, payment: PaymentDocument, entry: LineDocument, **more: Unpack[PaymentChanges]) -> None:
    ctx.update(PAYMENTS, payment, status="settled", due_at=None)
    ctx.update(PAYMENTS, payment, **more)
    ctx.change(ACCOUNTS, "acc_1", ACCOUNTS.where(status="active"), held=5)
    ctx.update(PAYMENTS, payment, statsu="settled")  # error: Unexpected keyword argument "statsu"
    ctx.update(PAYMENTS, payment, status="setled")  # error: incompatible type "Literal['setled']"
    ctx.update(PAYMENTS, payment, due_at=5)  # error: incompatible type "int"
    ctx.update(PAYMENTS, payment, amount=5)  # error: Unexpected keyword argument "amount"
    ctx.update(PAYMENTS, entry, status="settled")  # error: Cannot infer value of type parameter "D"
    ctx.update(LINES, entry, amount=5)  # error: Unexpected keyword argument "amount"
    ctx.change(ACCOUNTS, "acc_1", hled=5)  # error: Unexpected keyword argument "hled"
    ctx.change(ACCOUNTS, "acc_1", held="5")  # error: incompatible type "str"
    ctx.change(ACCOUNTS, "acc_1", ACCOUNTS.where(statsu="active"))  # error: Unexpected keyword argument "statsu"
    ctx.insert(PAYMENTS, entry)  # error: Cannot infer value of type parameter "D"
"""


SECRETS = """
from random import Random, SystemRandom

from shared.core.randomness import BufferedSystemRandom, SystemSecretSource
from embedded.simulators.callbacks import callback_secret
from shared.ports.secrets import Secrets


async def make(vault: Secrets) -> None:
    await callback_secret("pix", vault, SystemSecretSource())
    await callback_secret("pix", vault, Random())  # error: incompatible type "Random"
    await callback_secret("pix", vault, BufferedSystemRandom())  # error: incompatible type "BufferedSystemRandom"
"""


PROGRAMS = {"changes": HANDLER, "secrets": SECRETS}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the type checker reports about the programs, of which each is a module."""
    folder = tmp_path_factory.mktemp("types")
    files = [folder / f"{name}.py" for name in PROGRAMS]
    for file, program in zip(files, PROGRAMS.values(), strict=True):
        file.write_text(program)
    ended = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(folder / "cache"), *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_mistake_is_a_type_error(name: str, checked: str) -> None:
    """A misspelt field, one that may not change, a value of another type, and random numbers instead of secrets are
    each reported at their line, and correct lines are not."""
    errors = re.findall(rf"{name}\.py:(\d+):\d+: error: (.*)", checked)
    found = {int(number): message for number, message in errors}
    expected = {
        number: line.partition("# error: ")[2]
        for number, line in enumerate(PROGRAMS[name].splitlines(), start=1)
        if "# error: " in line
    }
    assert found.keys() == expected.keys(), checked
    for number, message in expected.items():
        assert message in found[number]
