"""The URL of the ledger on Cassandra."""

from __future__ import annotations

import pytest

from shared.adapters.cassandra.url import CassandraUrl
from shared.core.settings import InvalidSettings


def test_hosts_and_options_are_read() -> None:
    """Each host may have a port of its own, and options name the data centre and the number of replicas."""
    url = CassandraUrl.parse("cassandra://a.example,10.0.0.1:9142,[::1]:9043/lastro?dc=dc1&replicas=5&wait=0")
    assert url.hosts == (("a.example", 9042), ("10.0.0.1", 9142), ("::1", 9043))
    assert (url.keyspace, url.datacenter, url.replicas, url.wait_seconds) == ("lastro", "dc1", 5, 0)
    assert (url.tls, url.user) == (False, None)


def test_credentials_and_tls_are_read_and_not_shown() -> None:
    """A user's password is decoded, and neither `repr` nor `shown` has it."""
    url = CassandraUrl.parse("cassandra+tls://lastro:p%40ss@a.example/lastro")
    assert (url.tls, url.user, url.password, url.replicas) == (True, "lastro", "p@ss", 3)
    assert url.name is None
    assert CassandraUrl.parse("cassandra+tls://a.example/lastro?name=nodes.example").name == "nodes.example"
    assert "p@ss" not in repr(url)
    assert url.shown == "a.example:9042/lastro"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://a/lastro", "not of the form"),
        ("cassandra:///lastro", "not of the form"),
        ("cassandra://a/lastro#x", "not of the form"),
        ("cassandra://secret@a/lastro", "user without a password"),
        ("cassandra://a/", "keyspace"),
        ("cassandra://a", "not of the form"),
        ("cassandra://a/Lastro", "keyspace"),
        ("cassandra://a/lastro/more", "keyspace"),
        ("cassandra://a/lastro?rf=3", "unknown option: rf"),
        ("cassandra://a/lastro?dc=", "data centre"),
        ("cassandra://a/lastro?dc='", "data centre"),
        ("cassandra+tls://a/lastro?name=", "the option name"),
        ("cassandra+tls://a/lastro?name=a/b", "the option name"),
        ("cassandra://a/lastro?replicas=0", "replicas"),
        ("cassandra://a/lastro?replicas=three", "replicas"),
        ("cassandra://a/lastro?wait=-1", "wait .* from 0 to 3600"),
        ("cassandra://a:b/lastro", "host or host:port"),
        ("cassandra://a:65536/lastro", "host or host:port"),
        ("cassandra://a:0/lastro", "host or host:port"),
        ("cassandra://a,/lastro", "host or host:port"),
        ("cassandra://[::1/lastro", "host or host:port"),
    ],
)
def test_a_wrong_url_is_refused(url: str, message: str) -> None:
    """A wrong URL is refused with the reason, without the credentials in it."""
    with pytest.raises(InvalidSettings, match=message) as refusal:
        CassandraUrl.parse(url)
    assert "secret" not in str(refusal.value)
