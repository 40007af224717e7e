"""Users are told about payments by the channels that they have chosen, once, outside their quiet hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.notifications import NotificationDue, NotificationFailed, NotificationSent
from events.sweeps import Tick
from functions.notifications._quiet_hours import BRASILIA, end_of_quiet_hours
from functions.notifications._templates import EVENTS, LOCALES, _templates, render
from shared.core.clock import format_time
from shared.core.envelope import Envelope
from shared.ports.documents import Query, Unavailable
from shared.ports.notifier import CHANNELS, Channel, Message, MessageRefused
from shared.records.notifications import NOTIFICATION_PREFERENCES, NOTIFICATIONS
from tests.harness import Harness

ANA, RUI = "52998224725", "11144477735"


class Gateway:
    """A gateway that a test orders to accept, refuse or be unreachable."""

    def __init__(self) -> None:
        self.accepted: list[Message] = []
        self.error: Exception | None = None
        self.calls = 0

    async def send(self, message: Message) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.accepted.append(message)


@pytest.fixture
def gateways(harness: Harness) -> dict[Channel, Gateway]:
    """The gateways of a harness."""
    made: dict[Channel, Gateway] = {channel: Gateway() for channel in CHANNELS}
    harness.runtime.notifiers = dict(made)
    return made


def path_of(user: Any) -> str:
    return f"/v1/users/{user['id']}/notification-preferences"


async def prefer(harness: Harness, user: Any, **fields: Any) -> Any:
    """Change a user's preferences, and return them."""
    answer = await harness.call("PATCH", path_of(user), fields)
    assert answer.status == 200, answer.body
    return answer.json


async def people(harness: Harness, **fields: Any) -> tuple[Any, Any, Any, Any]:
    """Return two users, who get e-mails with these preferences, and an account of each."""
    ana, rui = await harness.user(ANA, phone="+5511987654321"), await harness.user(RUI, name="Rui Lima")
    payer, payee = await harness.account(10_000, owner_id=ana["id"]), await harness.account(owner_id=rui["id"])
    for user in (ana, rui):
        await prefer(harness, user, channels=["email"], **fields)
    return ana, rui, payer["id"], payee["id"]


async def tick(harness: Harness) -> None:
    now = format_time(harness.clock.now())
    envelope = Envelope(harness.runtime.ids.new("evt"), "/ping", Tick.type, None, now, {}, data=b"{}")
    assert (await harness.deliver("notifications/end_quiet_hours", envelope)).status == 204
    await harness.run_events()


async def test_payer_and_payee_are_told_once(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """A settled payment is one e-mail to its payer and one to its payee, however often the events come; each is a
    fact."""
    ana, rui, payer, payee = await people(harness)
    payment = await harness.pay(payer, payee, 1_050)
    await harness.run_events(times=3)
    await harness.replay_all()
    first, second = sorted(gateways["email"].accepted, key=lambda message: message.title)
    assert (first.to, first.title) == ("ana@example.test", "Pagamento de R$ 10,50 realizado")
    assert (second.to, second.title) == ("ana@example.test", "Você recebeu R$ 10,50")
    assert first.text == (
        f"Olá, Ana Souza.\n\nSeu pagamento de R$ 10,50 foi realizado em 31 de dez. de 2025, 21:00.\n\n"
        f"Pagamento: {payment['id']}"
    )
    assert second.text.startswith("Olá, Rui Lima.")
    sent = harness.events_of(NotificationSent)
    assert {fact.user_id for fact in sent} == {ana["id"], rui["id"]}
    assert len(sent) == 2
    assert harness.undelivered == []


async def test_without_preferences_nobody_is_told(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """A user without preferences, or without channels, gets no message, and nothing is stored for it."""
    ana, _, payer, payee = await people(harness)
    await prefer(harness, ana, channels=[])
    other = await harness.account()
    await harness.pay(payer, payee, 100)
    await harness.pay(payer, other["id"], 100)
    await harness.run_events()
    assert [message.title for message in gateways["email"].accepted] == ["Você recebeu R$ 1,00"]
    assert len(harness.events_of(NotificationDue)) == 1


async def test_each_channel_and_language(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """A declined payment is told by every chosen channel, in the chosen language, to the payer only."""
    ana, _, payer, payee = await people(harness)
    await prefer(harness, ana, channels=["push", "sms", "email"], locale="en", push_token="device-1")
    await harness.pay(payer, payee, 1_000_000)
    await harness.run_events()
    (email,), (sms,), (push,) = (gateways[channel].accepted for channel in ("email", "sms", "push"))
    assert email.title == "Payment of R$10,000.00 declined"
    assert (sms.to, sms.title) == ("+5511987654321", "")
    assert sms.text == ("Your payment of R$10,000.00 was declined: the balance is not sufficient. Nothing was debited.")
    assert (push.to, push.title) == ("device-1", "Payment declined")


@pytest.mark.parametrize("type", EVENTS)
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("role", ["payer", "payee"])
def test_every_template_renders(type: str, channel: Channel, locale: str, role: str) -> None:
    """Each event has a text for each channel, language and role, without placeholders; an SMS has one part."""
    facts = {"role": role, "id": "pay_1", "amount": "123456", "currency": "BRL", "reason": ""}
    title, text = render(type, channel, locale, facts | {"time": "2026-11-26T20:00:00.000000Z"}, "Ana {{ 1 + 1 }}")
    assert ("R$ 1.234,56" if locale == "pt-BR" else "R$1,234.56") in title + text
    assert "{%" not in text
    assert "\n" not in title
    if channel == "email":
        assert "Ana {{ 1 + 1 }}" in text, "a user's name is not a template"
    if channel == "sms":
        assert (title, len(text) <= 160, "\n" in text) == ("", True, False)


def test_a_currency_without_decimals() -> None:
    """An amount has the decimals of its currency."""
    facts = {"role": "payer", "id": "p", "amount": "1050", "currency": "JPY", "reason": ""}
    text = render(EVENTS[0], "sms", "en", facts | {"time": "2026-11-26T20:00:00.000000Z"}, "Ana").text
    assert text == "You paid ¥1,050 on Nov 26, 2026, 5:00 PM."


async def test_quiet_hours(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """In the quiet hours a message waits, and it is sent once when they end."""
    harness.clock.jump(datetime(2026, 3, 1, 1, 30, tzinfo=UTC) - harness.clock.now())  # 22:30 in Brasília
    _, _, payer, payee = await people(harness, quiet_hours={"from": "22:00", "to": "07:00"})
    await harness.pay(payer, payee, 100)
    await harness.run_events()
    harness.clock.advance(timedelta(hours=8, minutes=29))
    await tick(harness)
    assert gateways["email"].accepted == []
    harness.clock.advance(timedelta(minutes=2))
    await tick(harness)
    await tick(harness)
    assert len(gateways["email"].accepted) == 2


@example(time(22), time(22), 0)
@given(st.times(), st.times(), st.integers(0, 10**8))
def test_quiet_hours_end_at_their_end(since: Any, until: Any, seconds: int) -> None:
    """The end of the quiet hours is within a day, at `to` in Brasília, and not quiet itself; two equal times are no
    quiet hours."""
    texts, instant = (f"{since:%H:%M}", f"{until:%H:%M}"), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ends = end_of_quiet_hours(*texts, instant)
    if ends is not None:
        assert timedelta(0) < ends - instant <= timedelta(days=1)
        assert f"{ends.astimezone(BRASILIA):%H:%M}" == texts[1]
        assert end_of_quiet_hours(*texts, ends) is None
    else:
        assert f"{instant.astimezone(BRASILIA):%H:%M}" != texts[0] or texts[0] == texts[1]


async def test_an_unreachable_gateway_is_retried_then_dead_lettered(
    harness: Harness, gateways: dict[Channel, Gateway]
) -> None:
    """While the gateway cannot be reached the delivery is answered 503, so that it is retried and then parked; its
    replay sends the message."""
    ana, rui, payer, payee = await people(harness)
    await prefer(harness, rui, channels=[])
    gateways["email"].error = Unavailable("no SMTP server")
    await harness.pay(payer, payee, 100)
    await harness.run_events()
    (lost,) = harness.undelivered
    assert (lost.operation, lost.delivery.status) == ("notifications/send_notification", 503)
    stored = await harness.documents.get(NOTIFICATIONS, "acme", lost.envelope.parsed(NotificationDue).notification_id)  # type: ignore[attr-defined]  # the model's
    assert stored is not None
    assert stored["status"] == "pending"
    gateways["email"].error = None
    assert (await harness.deliver("notifications/send_notification", lost.envelope)).status == 204
    assert [message.to for message in gateways["email"].accepted] == [ana["email"]]


async def test_a_refused_message_has_failed(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """A message that the gateway refuses permanently is not retried, and a fact says why."""
    _, rui, payer, payee = await people(harness)
    await prefer(harness, rui, channels=[])
    gateways["email"].error = MessageRefused("smtp_550")
    await harness.pay(payer, payee, 100)
    await harness.run_events(times=2)
    (fact,) = harness.events_of(NotificationFailed)
    assert (fact.code, fact.channel, gateways["email"].calls) == ("smtp_550", "email", 1)


async def test_a_device_that_is_not_registered_any_more(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """When the push service says that a device is gone, its token and the channel leave the user's preferences, and the
    next payment is told by the other channels only; another refusal changes nothing."""
    ana, rui, payer, payee = await people(harness)
    await prefer(harness, rui, channels=[])
    wanted = await prefer(harness, ana, channels=["push", "email"], push_token="device-1")
    gateways["push"].error = MessageRefused("invalid_argument")
    await harness.pay(payer, payee, 100)
    await harness.run_events()
    assert (await harness.call("GET", path_of(ana))).json == wanted
    gateways["push"].error = MessageRefused("unregistered", address_gone=True)
    await harness.pay(payer, payee, 100)
    await harness.run_events(times=2)
    left = (await harness.call("GET", path_of(ana))).json
    assert left == wanted | {"channels": ["email"], "has_push_token": False}
    await harness.pay(payer, payee, 100)
    await harness.run_events()
    assert (gateways["push"].calls, len(gateways["email"].accepted)) == (2, 3)
    assert [fact.code for fact in harness.events_of(NotificationFailed)] == ["invalid_argument", "unregistered"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ name.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% if %}", "Expected an expression"),
    ],
)
async def test_a_template_that_fails(
    text: str, reason: str, harness: Harness, gateways: dict[Channel, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message whose template cannot be rendered is a dead letter at once, with the template and the reason; its
    replay after the repair sends it."""
    _, rui, payer, payee = await people(harness)
    await prefer(harness, rui, channels=[])
    settled = "lastro.payment.settled.v1"
    with monkeypatch.context() as broken:
        broken.setitem(_templates("pt-BR")[settled], "email", {"title": "", "text": text})
        await harness.pay(payer, payee, 100)
        await harness.run_events()
    (lost,) = harness.undelivered
    assert (lost.delivery.status, lost.delivery.headers["Kne-Code"]) == (422, "validation_failed")
    detail = lost.delivery.headers["Kne-Detail"]
    assert detail.startswith(f"The template of {settled} for email in pt-BR cannot be rendered: ")
    assert reason in detail
    assert (await harness.deliver("notifications/send_notification", lost.envelope)).status == 204
    assert len(gateways["email"].accepted) == 1


async def test_a_name_is_no_markup(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """A name with HTML or with the syntax of a template is sent as it is, in plain text."""
    ana, rui, payer, payee = await people(harness)
    await prefer(harness, rui, channels=[])
    name = "<b>Ana</b> {{ name }} & Co"
    assert (await harness.call("PATCH", f"/v1/users/{ana['id']}", {"name": name})).status == 200
    await harness.pay(payer, payee, 100)
    await harness.run_events()
    assert gateways["email"].accepted[0].text.startswith(f"Olá, {name}.")


async def test_a_message_that_is_not_wanted_any_more(harness: Harness, gateways: dict[Channel, Gateway]) -> None:
    """A message that waited for the end of quiet hours is not sent when the user has left the channel meanwhile."""
    harness.clock.jump(datetime(2026, 3, 1, 1, 30, tzinfo=UTC) - harness.clock.now())
    ana, rui, payer, payee = await people(harness, quiet_hours={"from": "22:00", "to": "07:00"})
    await harness.pay(payer, payee, 100)
    await harness.run_events()
    for user in (ana, rui):
        await prefer(harness, user, channels=[])
    harness.clock.advance(timedelta(hours=9))
    await tick(harness)
    assert gateways["email"].calls == 0
    assert {fact.code for fact in harness.events_of(NotificationFailed)} == {"channel_not_wanted"}


async def test_preferences_are_changed_field_by_field(harness: Harness) -> None:
    """A user without preferences has no channels. An absent field stays, null removes the quiet hours and the device,
    whose token is never shown and sealed at rest."""
    user = await harness.user(phone="+5511987654321")
    nothing = {"user_id": user["id"], "locale": "pt-BR", "channels": [], "has_push_token": False, "quiet_hours": None}
    assert (await harness.call("GET", path_of(user))).json == nothing
    quiet = {"from": "22:00", "to": "07:00"}
    changed = await prefer(harness, user, channels=["sms", "push", "sms"], push_token="device-1", quiet_hours=quiet)
    assert changed == nothing | {"channels": ["push", "sms"], "has_push_token": True, "quiet_hours": quiet}
    assert await prefer(harness, user, locale="en") == changed | {"locale": "en"}
    assert (await harness.call("GET", path_of(user))).json == changed | {"locale": "en"}
    assert "device-1" not in repr(vars(harness.documents))
    cleared = await prefer(harness, user, channels=["sms"], push_token=None, quiet_hours=None)
    assert cleared == nothing | {"channels": ["sms"], "locale": "en"}


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"channels": ["fax"]}, "/channels/0"),
        ({"channels": ["push"]}, "/channels"),
        ({"channels": ["sms"]}, "/channels"),
        ({"locale": "fr"}, "/locale"),
        ({"quiet_hours": {"from": "22:00"}}, "/quiet_hours/to"),
        ({"quiet_hours": {"from": "24:00", "to": "07:00"}}, "/quiet_hours/from"),
        ({"quiet_hours": {"from": "22:00", "to": "22:00"}}, "/quiet_hours/to"),
        ({"push_token": "a b"}, "/push_token"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_invalid_preferences_are_refused(harness: Harness, fields: dict[str, Any], pointer: str) -> None:
    """Invalid preferences, and a channel for which the user has no address, are answered with 422 and a pointer."""
    user = await harness.user()
    answer = await harness.call("PATCH", path_of(user), fields)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


async def test_another_tenants_user_and_missing_scopes(harness: Harness) -> None:
    """Preferences of another tenant's user are not found; reading needs `users:read` and changing `users:write`."""
    user = await harness.user()
    await harness.tenant("rival")
    for method, body in (("GET", None), ("PATCH", {"channels": []})):
        assert (await harness.call(method, path_of(user), body, tenant="rival")).code == "not_found"
    assert (await harness.call("GET", path_of(user), scopes=["users:write"])).code == "insufficient_scope"
    assert (await harness.call("PATCH", path_of(user), {}, scopes=["users:read"])).code == "insufficient_scope"


async def test_preferences_end_with_their_user(harness: Harness) -> None:
    """The preferences of a user who is closed are removed, with the token of the device, and cannot be made again."""
    user = await harness.user(ANA)
    await prefer(harness, user, channels=["push"], push_token="device-of-ana")
    assert (await harness.call("POST", f"/v1/users/{user['id']}/close")).status == 200
    await harness.run_events()
    assert not await harness.documents.find(NOTIFICATION_PREFERENCES, "acme", Query())
    answer = await harness.call("PATCH", path_of(user), {"channels": ["email"]})
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert (await harness.call("GET", path_of(user))).json["channels"] == []
