"""`lastro notifications preview` prints the messages that users get."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.mark.parametrize(
    ("options", "shown", "count"),
    [
        ([], "Seu pagamento de R$ 10,50 foi realizado", 30),
        (
            ["lastro.payment.settled.v1", "--channel", "sms", "--locale", "en", "--role", "payee"],
            "You received R$10.50",
            1,
        ),
    ],
)
def test_messages_are_previewed(options: list[str], shown: str, count: int) -> None:
    """All messages, or those of an event, channel and language, are printed with the values of an example."""
    result = CliRunner().invoke(app, ["notifications", "preview", *options])
    assert result.exit_code == 0
    assert shown in result.stdout
    assert result.stdout.count("lastro.") == count


@pytest.mark.parametrize("option", [["nothing"], ["--channel", "fax"], ["--locale", "fr"], ["--role", "boss"]])
def test_an_unknown_choice_is_refused(option: list[str]) -> None:
    """An unknown event, channel, language or role ends the command with the known ones."""
    result = CliRunner().invoke(app, ["notifications", "preview", *option])
    assert result.exit_code == 1
    assert "there is no" in str(result.exception)
