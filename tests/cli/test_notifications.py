"""`lastro notifications preview` prints the messages that users get."""

from __future__ import annotations

import json
from itertools import product

import pytest
from typer.testing import CliRunner

from cli.main import app
from functions.notifications._templates import EVENTS, LOCALES, _templates
from shared.ports.notifier import CHANNELS


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


def test_a_broken_template_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template that cannot be rendered ends the command with its event, channel and language, and the reason."""
    monkeypatch.setitem(_templates("en")["lastro.payment.failed.v1"], "sms", {"text": "{{ nothing }}"})
    result = CliRunner().invoke(app, ["notifications", "preview"])
    expected = "the template of lastro.payment.failed.v1 for sms in en cannot be rendered: 'nothing' is undefined"
    assert (result.exit_code, str(result.exception)) == (1, expected)


def test_every_text_is_previewed_as_json() -> None:
    """`--json` has one message for each event, channel and language, for either role."""
    for role in ("payer", "payee"):
        result = CliRunner().invoke(app, ["notifications", "preview", "--json", "--role", role])
        found = json.loads(result.stdout)["messages"]
        seen = {(each["event_type"], each["channel"], each["locale"]) for each in found}
        assert seen == set(product(EVENTS, CHANNELS, LOCALES))
        assert all(each["role"] == role and each["text"] for each in found)
