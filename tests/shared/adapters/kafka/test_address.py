"""The URL of LASTRO_BUS."""

from __future__ import annotations

import pytest

from shared.adapters.kafka.address import KafkaAddress, read_address
from shared.core.settings import InvalidSettings

SECRET = "hunter2"


def test_servers_and_names_are_read() -> None:
    """A URL names servers, with Kafka's port unless it says another, and this platform's names on them."""
    address = read_address("kafka://a:1,b,[::1]:3?prefix=test.&group=g")
    assert address.servers == ("a:1", "b:9092", "[::1]:3")
    assert (address.tls, address.sasl) == (False, None)
    assert (address.on_server("lastro.x.v1"), address.group) == ("test.lastro.x.v1", "g")
    assert address.here("test.lastro.x.v1") == "lastro.x.v1"


def test_a_login_is_read_and_never_shown() -> None:
    """SASL and TLS are read from the URL, and no text of the address has the password."""
    address = read_address(f"kafka+tls://k:9093?sasl=SCRAM-SHA-512&username=u%40x&password={SECRET}&ca=%2Fca.pem")
    expected = KafkaAddress(("k:9093",), tls=True, sasl="SCRAM-SHA-512", username="u@x", password=SECRET, ca="/ca.pem")
    assert address == expected
    assert SECRET not in f"{address} {address!r} {address.shown}"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("kafka:", "is not a URL of the form"),
        ("amqp://a", "is not a URL of the form"),
        (f"kafka://u:{SECRET}@a", "a login before its servers"),
        ("kafka://a/b", "has a path"),
        ("kafka://a:x", "a host or port that is not valid"),
        ("kafka://a,,b", "a host or port that is not valid"),
        ("kafka://a?groop=x", "the option 'groop'; known are"),
        ("kafka://a?group=", "group has 1 to 100 letters"),
        ("kafka://a?prefix=a/b", "prefix has 1 to 100 letters"),
        (f"kafka://a?password={SECRET}", "a login without sasl"),
        (f"kafka://a?sasl=OAUTH&username=u&password={SECRET}", "sasl is one of PLAIN"),
        ("kafka://a?sasl=PLAIN&username=u", "needs username and password"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, reason: str) -> None:
    """A URL that cannot be followed is refused with the reason, and the text has no password."""
    with pytest.raises(InvalidSettings, match=reason) as refused:
        read_address(url)
    assert SECRET not in str(refused.value)
    assert "LASTRO_BUS" in str(refused.value)
