"""Only public addresses are called, in whatever form they are written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.outgoing.addresses import is_local_name, is_public

PRIVATE = (
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1"),
    *("192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "192.0.0.192", "239.255.255.250"),
)
PRIVATE_V6 = (
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "fec0::1"),
    *("64:ff9b:1::7f00:1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
)


@pytest.mark.parametrize("address", [*PRIVATE, *PRIVATE_V6])
def test_an_address_that_is_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, documentation, multicast and reserved addresses are not public."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "172.15.0.1", "2606:4700::1111", "2001:4860:4860::8888"]
)
def test_a_public_address(address: str) -> None:
    """Other addresses are public."""
    assert is_public(address)


@given(st.sampled_from(PRIVATE))
def test_an_ipv4_address_inside_an_ipv6_address(address: str) -> None:
    """An IPv4 address that is not public is not public as a mapped, compatible, NAT64 or 6to4 address either."""
    number = int(IPv4Address(address))
    mapped, nat64, sixtofour = 0xFFFF << 32, 0x0064FF9B << 96, 0x2002 << 112
    for inside in (mapped | number, number, nat64 | number, sixtofour | number << 80):
        assert not is_public(str(IPv6Address(inside)))


@given(st.text(max_size=30))
def test_text_that_is_no_address(text: str) -> None:
    """Text is public only when it is a numeric address, and never raises."""
    assert is_public(text) in (False, True)
    assert not is_public(f"x{text}")


@pytest.mark.parametrize("name", ["localhost", "LocalHost.", "a.localhost", "db.internal", "printer.local", "x.svc"])
def test_a_local_name(name: str) -> None:
    """Names of this machine and of private networks are recognised with any case and with the final dot."""
    assert is_local_name(name)
    assert not is_local_name(f"{name.rstrip('.')}.example.com")
