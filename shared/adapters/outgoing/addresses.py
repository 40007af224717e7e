"""Which addresses on the internet are public.

A tenant chooses the URL of a webhook. Without a check it could make the platform send requests to servers of the
platform's own network, for example to the metadata service of the cloud (server-side request forgery, CWE-918).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "localdomain", "home.arpa", "lan", "svc", "cluster.local")


def is_public(text: str) -> bool:
    """Return whether a numeric IP address is public: neither private, loopback, link-local, multicast nor reserved.

    The registries are those of IANA (RFC 6890). An IPv4 address inside an IPv6 address (mapped, NAT64, 6to4) counts as
    that IPv4 address. Text that is not a numeric address is not public.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(address)
    if inner is not None:
        return _is_public_ipv4(inner)
    if isinstance(address, IPv4Address):
        return _is_public_ipv4(address)
    return address.is_global and not (address.is_multicast or address.is_site_local or address.teredo is not None)


def _is_public_ipv4(address: IPv4Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address contains, or None."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def is_local_name(host: str) -> bool:
    """Return whether a host name is one of this machine or of a private network (RFC 6761, RFC 6762, Kubernetes)."""
    name = host.rstrip(".").lower()
    return any(name == local or name.endswith(f".{local}") for local in _LOCAL_NAMES)
