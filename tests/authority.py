"""Certificate authorities of the tests' own, and a relay that speaks TLS before a server that does not."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY: Final = timedelta(days=1)
_CHUNK: Final = 65_536


class Authority(NamedTuple):
    """An authority, and the certificate that it issued for a server."""

    ca: Path
    """A file with the authority's certificate."""
    server: Path
    """A file with the server's key, its certificate and the authority's: PEM, in this order."""


def authority(folder: Path, name: str = "tests", *, hosts: Sequence[str] = ("127.0.0.1", "localhost")) -> Authority:
    """Make an authority whose files are in a folder, and a certificate for these addresses and names."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), _name(f"authority of {name}")
    root = (
        _builder(subject, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    own = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        _builder(subject, _name(hosts[0]), own)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Authority(folder / f"{name}-ca.pem", folder / f"{name}-server.pem")
    made.ca.write_bytes(root.public_bytes(Encoding.PEM))
    private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made.server.write_bytes(private + leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM))
    return made


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - _DAY, now + _DAY
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


@asynccontextmanager
async def tls_before(port: int, own: Authority) -> AsyncIterator[int]:
    """Accept TLS connections with the certificate of an authority, and pass their bytes on to a port of 127.0.0.1.

    Returns the port that accepts them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.server)
    relaying: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        for pair in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(_pass_on(*pair))
            relaying.add(task)
            task.add_done_callback(relaying.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(relaying):
            task.cancel()
        await asyncio.gather(*relaying, return_exceptions=True)
        await server.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        try:
            while piece := await reader.read(_CHUNK):
                writer.write(piece)
                await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()
