"""The URL of LASTRO_CACHE."""

from __future__ import annotations

import pytest

from shared.adapters.redis.address import Address, read_address
from shared.core.settings import InvalidSettings


def test_a_plain_server() -> None:
    """The port, database, user and namespace have defaults."""
    assert read_address("redis://cache") == Address(
        hosts=(("cache", 6379),),
        tls=False,
        master=None,
        database=0,
        username=None,
        password=None,
        sentinel_password=None,
        ca=None,
        namespace="lastro",
    )


def test_a_server_with_tls_and_a_login() -> None:
    """User and password are percent-decoded; the query has the authority's file and the namespace."""
    found = read_address("rediss://me:p%40ss@[::1]:6380/3?ca=/etc/ca.pem&namespace=x")
    assert found.hosts == (("::1", 6380),)
    assert (found.tls, found.username, found.password, found.database) == (True, "me", "p@ss", 3)
    assert (found.ca, found.namespace) == ("/etc/ca.pem", "x")


def test_sentinels() -> None:
    """Several Sentinels name the master and, after it, the database."""
    found = read_address("redis+sentinel://:pw@s1,s2:5000/main/2?sentinel_password=other")
    assert found.hosts == (("s1", 26379), ("s2", 5000))
    assert (found.master, found.database, found.password, found.sentinel_password) == ("main", 2, "pw", "other")
    assert found.shown == "main of the Sentinels s1:26379,s2:5000"
    assert "pw" not in found.shown


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("memcached://hidden@h", "is not a URL of the form"),
        ("redis://", "is not a URL of the form"),
        ("redis://hidden@a,b", "needs Sentinels"),
        ("redis+sentinel://hidden@a,b", "no master"),
        ("redis://hidden@h:port", "host or port"),
        ("redis://hidden@:6379", "host or port"),
        ("redis://hidden@h/x", "not a number"),
        ("redis://hidden@h/1/2", "not a number"),
        ("redis://hidden@h?timeout=1", "the option 'timeout'"),
    ],
)
def test_a_wrong_url_is_refused(url: str, reason: str) -> None:
    """The refusal says what is wrong, and shows nothing that may be a password."""
    with pytest.raises(InvalidSettings, match=reason) as raised:
        read_address(url)
    assert "hidden" not in str(raised.value)
