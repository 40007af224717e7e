"""The order in which a process opens its adapters and closes them, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, cast

import pytest

from shared.adapters.memory.stores import (
    MemoryBus,
    MemoryCache,
    MemoryDocuments,
    MemoryFlags,
    MemoryLedger,
    MemoryNonces,
    MemoryRateLimits,
    MemorySecrets,
)
from shared.bootstrap import adapters
from shared.bootstrap.process import Process
from shared.core.flags import STOP_METHOD
from shared.core.settings import InvalidSettings, Settings
from shared.ports.lifecycle import Adapter, AdapterOptions, Closed, NotOpened
from shared.records.catalogue import COLLECTIONS
from tests.ports.lifecycle_suite import assert_nothing_is_left, left_open
from tests.ports.port_uses import bus_uses, cache_uses, ledger_uses, nonce_uses, secret_uses
from tests.waiting import rest

ORDER = ["secrets", "flags", "cache", "documents", "ledger", "bus"]
"""The ports in the order of their opening. The nonces and the rate limits are with the cache here."""


class Recorded(Adapter):
    """The adapter of one port on memory. It records its opening and closing, and may fail or wait at its opening."""

    adapter_name = "recorded adapter"

    def __init__(self, options: AdapterOptions, journal: list[str], fault: Callable[[str], Any]) -> None:
        self.name = "+".join(sorted(options.ports))
        self.options = options
        self._journal = journal
        self._fault = fault
        made: dict[str, Callable[[], Adapter]] = {
            "documents": partial(MemoryDocuments, COLLECTIONS),
            "ledger": MemoryLedger,
            "nonces": MemoryNonces,
            "cache": MemoryCache,
            "bus": MemoryBus,
            "secrets": MemorySecrets,
            "flags": MemoryFlags,
            "rate_limits": MemoryRateLimits,
        }
        self._ports = {port: made[port]() for port in options.ports}
        for port, adapter in self._ports.items():
            setattr(self, port, adapter)

    async def _open(self, closing: AsyncExitStack) -> None:
        connection = asyncio.create_task(asyncio.sleep(3600))
        closing.push_async_callback(self._end, connection)
        await asyncio.sleep(0)
        await self._fault(self.name)
        for adapter in self._ports.values():
            await closing.enter_async_context(adapter)
        self._journal.append(f"open {self.name}")

    async def _end(self, connection: asyncio.Task[None]) -> None:
        connection.cancel()
        await asyncio.wait((connection,))
        self._journal.append(f"close {self.name}")


async def no_fault(_: str) -> None:
    """Let the opening succeed."""


class Servers:
    """What the openers in this test share."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.fault: Callable[[str], Any] = no_fault
        self.made: list[Recorded] = []

    def make(self, options: AdapterOptions) -> Recorded:
        adapter = Recorded(options, self.journal, self.fault)
        self.made.append(adapter)
        return adapter


@pytest.fixture
async def servers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Servers]:
    """An adapter of the scheme `test` for every port, and of `two` for another server; nothing stays open."""
    servers, before = Servers(), left_open()
    monkeypatch.setattr(adapters, "_test_opener", servers.make, raising=False)
    opener = "shared.bootstrap.adapters._test_opener"
    chosen = {port: {**openers, "test": opener, "two": opener} for port, openers in adapters.OPENERS.items()}
    monkeypatch.setattr(adapters, "OPENERS", chosen)
    yield servers
    await assert_nothing_is_left(before)


def everywhere(**others: str) -> Settings:
    """Return settings in which every port has a server of its own, except for the given ones."""
    return Settings(**{port: f"test://{port}" for port in ORDER} | others)  # type: ignore[arg-type]  # each is text


def closed_again(opened: list[str]) -> list[str]:
    return [line.replace("open", "close") for line in reversed(opened)]


async def test_adapters_are_opened_in_order_and_closed_in_reverse(servers: Servers) -> None:
    """The adapters are opened one after the other and closed in the reverse order."""
    async with Process(everywhere()) as process:
        await process.open_ports("thread")
        opened = list(servers.journal)
    assert opened == ["open " + ("cache+nonces+rate_limits" if port == "cache" else port) for port in ORDER]
    assert servers.journal == opened + closed_again(opened)


@pytest.mark.parametrize("number", range(len(ORDER)))
async def test_an_adapter_that_cannot_be_opened_closes_the_others(servers: Servers, number: int) -> None:
    """When one adapter cannot be opened, the start fails with its reason, and those before it are closed in reverse."""

    async def refuse(name: str) -> None:
        if ORDER[number] in name:
            raise NotOpened(f"{name} does not answer")

    servers.fault = refuse
    with pytest.raises(NotOpened, match=f"{ORDER[number]}.* does not answer"):
        async with Process(everywhere()) as process:
            await process.open_ports("thread")
    opened = [line for line in servers.journal if line.startswith("open")]
    assert len(opened) == number
    assert [line for line in servers.journal if line.startswith("close")][1:] == closed_again(opened)


@pytest.mark.parametrize("number", range(len(ORDER)))
async def test_a_start_that_is_cancelled_closes_what_is_open(servers: Servers, number: int) -> None:
    """A start that is cancelled while an adapter is opened closes that one and all before it, in reverse."""

    async def hang(name: str) -> None:
        if ORDER[number] in name:
            await asyncio.sleep(3600)

    async def start() -> None:
        async with Process(everywhere()) as process:
            await process.open_ports("thread")

    servers.fault = hang
    starting = asyncio.create_task(start())
    await rest()
    opened = list(servers.journal)
    assert len(opened) == number
    starting.cancel()
    await asyncio.wait((starting,))
    assert starting.cancelled()
    assert servers.journal[number + 1 :] == closed_again(opened)


async def test_an_adapter_whose_end_fails_keeps_no_other_open(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When closing one adapter raises, the others are closed all the same, and the error is raised."""
    end = Recorded._end

    async def failing(self: Recorded, connection: asyncio.Task[None]) -> None:
        await end(self, connection)
        if self.name == "documents":
            raise OSError("the last changes were not written")

    async def serve() -> None:
        async with Process(everywhere()) as process:
            await process.open_ports("thread")

    monkeypatch.setattr(Recorded, "_end", failing)
    with pytest.raises(OSError, match="were not written"):
        await serve()
    opened = servers.journal[: len(ORDER)]
    assert servers.journal == opened + closed_again(opened)


async def test_ports_of_one_url_share_an_adapter(servers: Servers) -> None:
    """Ports whose settings have the same URL have one adapter, which knows its ports; another URL has another."""
    both = "test://user:password@server/x"
    async with Process(everywhere(documents=both, ledger=both, bus="two://server/x")) as process:
        await process.open_ports("thread")
    assert [sorted(adapter.options.ports) for adapter in servers.made] == [
        ["secrets"],
        ["flags"],
        ["cache", "nonces", "rate_limits"],
        ["documents", "ledger"],
        ["bus"],
    ]
    assert [adapter.options.url for adapter in servers.made][3:] == [both, "two://server/x"]


async def test_a_lazy_adapter_is_opened_by_its_first_use_only(servers: Servers) -> None:
    """A function alone opens only the adapters that it uses, once, and closes them at its end."""
    async with Process(everywhere()) as process:
        ports = process.lazy_ports()
        assert servers.journal == []
        for uses in (ledger_uses(ports.ledger), cache_uses(ports.cache), nonce_uses(ports.nonces)):
            await asyncio.gather(*(use() for use in uses))
        assert servers.journal == ["open ledger", "open cache+nonces+rate_limits"]
        for use in (*secret_uses(ports.secrets), *bus_uses(ports.bus)):
            await use()
        opened = list(servers.journal)
        assert opened[2:] == ["open secrets", "open bus"]
    assert sorted(servers.journal[4:]) == sorted(closed_again(opened))
    with pytest.raises(Closed):
        await ports.ledger.balance("ten_1", "acc_1")
    with pytest.raises(Closed, match="documents: closed"):
        await ports.documents.seen(("consumer", "/source", "e1"))  # type: ignore[arg-type]  # it is a tuple, too


async def test_adapters_of_a_function_alone_can_use_the_shared_cache(servers: Servers) -> None:
    """An adapter of a function that runs alone gets the cache when it is on a server; in `up` no adapter does."""
    async with Process(everywhere()) as process:
        flags = process.lazy_ports().flags
        flags.enabled(STOP_METHOD["pix"], "ten_1")
        await rest()
        (opened,) = servers.made
        assert opened.options.cache is not None
        await opened.options.cache.set("k", b"1", 60)
        assert servers.journal == ["open flags", "open cache+nonces+rate_limits"]
    async with Process(everywhere(cache="")) as process:
        await process.open_ports("thread")
        process.lazy_ports().flags.enabled(STOP_METHOD["pix"], "ten_1")
        await rest()
    assert all(adapter.options.cache is None for adapter in servers.made[1:] if "cache" not in adapter.options.ports)


async def test_flags_of_a_server_have_their_defaults_until_it_is_opened(servers: Servers) -> None:
    """The first use of a flag begins the opening and gets the default at once; later uses get the server's value, and
    after the end Closed is raised."""
    flag = STOP_METHOD["pix"]
    async with Process(everywhere()) as process:
        flags = process.lazy_ports().flags
        assert not flags.enabled(flag, "ten_1")
        await rest()
        assert servers.journal == ["open flags"]
        cast("Any", servers.made[0]).flags.values[flag] = True
        assert flags.enabled(flag, "ten_1")
    with pytest.raises(Closed):
        flags.enabled(flag, "ten_1")


async def test_a_readiness_probe_opens_the_server_of_flags(servers: Servers) -> None:
    """The probe opens the adapter of the flags, so that the first request has the server's values."""
    async with Process(everywhere()) as process:
        flags = process.lazy_ports().flags
        assert await process.trouble() is None
        assert "open flags" in servers.journal
        (opened,) = [adapter for adapter in servers.made if "flags" in adapter.options.ports]
        cast("Any", opened).flags.values[STOP_METHOD["pix"]] = True
        assert flags.enabled(STOP_METHOD["pix"], "ten_1")


async def test_a_server_of_flags_that_cannot_be_opened_is_tried_again(servers: Servers) -> None:
    """While the adapter of the flags cannot be opened, flags have their defaults, and each use tries again."""

    async def refuse(name: str) -> None:
        raise NotOpened(f"{name} does not answer")

    servers.fault = refuse
    async with Process(everywhere()) as process:
        flags = process.lazy_ports().flags
        for number in (1, 2):
            assert not flags.enabled(STOP_METHOD["pix"], "ten_1")
            await rest()
            assert len(servers.made) == number
        servers.fault = no_fault
        flags.enabled(STOP_METHOD["pix"], "ten_1")
        await rest()
        assert servers.journal[-1] == "open flags"


async def test_a_caller_that_is_cancelled_does_not_stop_the_opening(servers: Servers) -> None:
    """The opening is shared: a cancelled first caller leaves it going on for the second."""
    gate = asyncio.Event()

    async def wait(_: str) -> None:
        await gate.wait()

    servers.fault = wait
    async with Process(everywhere()) as process:
        cache = process.lazy_ports().cache
        first, second = asyncio.create_task(cache.get("k")), asyncio.create_task(cache.get("k"))
        await rest()
        first.cancel()
        await rest()
        gate.set()
        assert await second is None
        assert servers.journal == ["open cache+nonces+rate_limits"]


async def test_an_end_during_a_lazy_opening_stops_it(servers: Servers) -> None:
    """When the process ends while an adapter is being opened, its callers get Closed and nothing stays open."""

    async def hang(_: str) -> None:
        await asyncio.sleep(3600)

    servers.fault = hang
    async with Process(everywhere()) as process:
        cache = process.lazy_ports().cache
        asking = asyncio.create_task(cache.get("k"))
        await rest()
    with pytest.raises(Closed):
        await asking


async def test_only_the_first_attempt_waits(servers: Servers) -> None:
    """The first attempt of a lazy adapter may wait for a server; after its failure each call tries without waiting."""

    async def refuse(name: str) -> None:
        raise NotOpened(f"{name} does not answer")

    servers.fault = refuse
    async with Process(everywhere()) as process:
        cache = process.lazy_ports().cache
        for _ in range(3):
            with pytest.raises(NotOpened):
                await cache.get("k")
        servers.fault = no_fault
        assert await cache.get("k") is None
    assert [adapter.options.waits for adapter in servers.made if "cache" in adapter.options.ports] == [
        True,
        False,
        False,
        False,
    ]


def test_an_unknown_scheme_is_refused_with_those_that_are_known(servers: Servers) -> None:
    """A URL of an unknown scheme is refused with the schemes that the port has, and without the rest of the URL."""
    with pytest.raises(InvalidSettings, match=r"LASTRO_CACHE names a 'no' server: .* test://, two://, or") as refused:
        Process(everywhere(cache="no://user:password@host"))
    assert "password" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, ""),
        ({"documents": "test://documents"}, "test://documents"),
        ({"cache": "test://cache"}, ""),
        ({"documents": "test://documents", "cache": "test://cache"}, "test://cache"),
    ],
    ids=["embedded", "documents", "cache", "both"],
)
def test_nonces_are_where_no_loss_permits_a_replay(servers: Servers, settings: dict[str, str], place: str) -> None:
    """Nonces are with the documents, or in the server of a cache when the commits store them as well."""
    choices = adapters.choose(Settings(**settings))  # type: ignore[arg-type]  # each is text
    assert choices["nonces"].url == place
    assert choices["nonces"] in (choices["documents"], choices["cache"])


async def test_rate_limits_are_shared_where_the_cache_is_a_server(servers: Servers) -> None:
    """With a cache on a server its counts are used, and a function that runs alone limits tenants that have their own
    limit; without one each process counts for itself, and a function that runs alone limits none."""
    async with Process(Settings(cache="test://cache")) as process:
        runtime = process.runtime_alone()
        assert runtime.rate_limits is not None
        assert runtime.rate_gate is not None
        assert await runtime.rate_gate("ten_1", None) == {}
        assert servers.journal == []
        assert (await runtime.rate_gate("ten_1", 5))["ratelimit-remaining"] == "4"
        assert servers.journal == ["open cache+rate_limits"]
    async with Process(Settings()) as process:
        runtime = process.runtime_alone()
        assert runtime.rate_limits is None
        assert runtime.rate_gate is None


def test_a_bus_without_documents_on_a_server_is_refused(servers: Servers) -> None:
    """A bus on a server is refused with embedded documents, whose events only the embedded bus reads."""
    with pytest.raises(InvalidSettings, match="LASTRO_BUS needs LASTRO_DOCUMENTS"):
        Process(Settings(bus="test://bus"))
    Process(Settings(bus="test://bus", documents="test://documents"))
