"""The client of Unleash, with an Unleash in this process."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.adapters.memory.stores import MemoryCache
from shared.adapters.unleash import flags as client
from shared.adapters.unleash.address import read_address
from shared.adapters.unleash.copies import CacheCopies, FileCopies
from shared.adapters.unleash.flags import UnleashFlags
from shared.core.clock import ManualClock
from shared.core.flags import FLAGS, STOP_METHOD
from shared.ports.lifecycle import NotOpened
from tests.ports.lifecycle_suite import LifecycleSuite, Make, Uses
from tests.ports.port_uses import flag_uses
from tests.shared.adapters.unleash.fake_server import TOKEN, URL, FakeUnleash, feature

PIX, INTERNAL = STOP_METHOD["pix"], STOP_METHOD["internal"]
OTHERS = tuple(feature(name, enabled=False) for name in FLAGS if name != PIX.name)
MakeFlags = Callable[..., UnleashFlags]


@pytest.fixture
def server() -> FakeUnleash:
    server = FakeUnleash()
    server.set(feature(PIX.name), *OTHERS)
    return server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def counted() -> Counter[tuple[str, str]]:
    """What the clients have counted, by name and label."""
    return Counter()


@pytest.fixture
def make(server: FakeUnleash, clock: ManualClock, tmp_path: Path, counted: Counter[tuple[str, str]]) -> MakeFlags:
    """Return a new client with each call; the clients have one file. They read the server when a test says so."""

    def made(url: str = URL, seconds: float = 60.0) -> UnleashFlags:
        path = tmp_path / "data" / "unleash.json"

        def count(name: str, label: str) -> None:
            counted[name, label] += 1

        return UnleashFlags(
            read_address(url),
            FileCopies(path),
            clock,
            seconds=seconds,
            refresh_seconds=3600,
            count=count,
            transport=server.transport,
        )

    return made


class TestLifecycle(LifecycleSuite):
    """The opening and closing of the client."""

    @pytest.fixture
    def make(self, server: FakeUnleash, tmp_path: Path) -> Make:
        def made() -> UnleashFlags:
            path = tmp_path / "unleash.json"
            address = read_address(URL)
            return UnleashFlags(
                address, FileCopies(path), ManualClock(), seconds=60.0, refresh_seconds=15.0, transport=server.transport
            )

        return made

    @pytest.fixture
    def uses(self) -> Uses:
        return flag_uses


async def test_flags_are_those_of_the_server(make: MakeFlags, server: FakeUnleash) -> None:
    """A flag is on as its strategies say for the tenant in the context field tenantId, and has its default when the
    server does not have it."""
    server.set(feature(PIX.name, tenants=["acme"]), feature(INTERNAL.name, enabled=False))
    async with make() as flags:
        assert flags.enabled(PIX, "acme")
        assert not flags.enabled(PIX, "globex")
        assert not flags.enabled(PIX, None)
        assert not flags.enabled(INTERNAL._replace(default=True), "acme")
        assert flags.enabled(INTERNAL._replace(name="unknown", default=True), "acme")


async def test_the_server_is_asked_as_unleash_documents_it(make: MakeFlags, server: FakeUnleash) -> None:
    """A reading has the token, the name of the client and the version of the specification, and the ETag of the state
    that it has; the URL has no token."""
    async with make() as flags:
        await flags.refresh()
        assert flags.enabled(PIX, "acme")
    first, second = server.requests
    assert str(first.url) == "http://unleash.test/api/client/features"
    assert first.headers["authorization"] == TOKEN
    assert first.headers["unleash-appname"] == "lastro"
    assert first.headers["unleash-client-spec"] == "5.2.0"
    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"]


async def test_a_changed_flag_holds_from_the_next_reading(make: MakeFlags, server: FakeUnleash) -> None:
    """Between two readings no request is sent and a flag does not change; the next reading brings its new value."""
    async with make() as flags:
        assert flags.enabled(PIX, "acme")
        server.set(feature(PIX.name, enabled=False), *OTHERS)
        assert flags.enabled(PIX, "acme")
        assert len(server.requests) == 1
        await flags.refresh()
        assert not flags.enabled(PIX, "acme")


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (httpx.ConnectError("connection refused"), "connection refused"),
        (500, "it answered 500"),
        (401, "it answered 401: it does not accept the token"),
        (403, "it answered 403: it does not accept the token"),
        (b"[]", "its answer is not a state of flags: it has no list of features"),
        (b'{"features": [{}]}', "its answer is not a state of flags: a feature has no name"),
        (b'{"features": [{"name": "a"}]}', "its answer is not a state of flags: the engine does not accept"),
        (
            b'{"features": [{"name": "a", "enabled": true, "strategies": [{"name": "default", "constraints": 1}]}]}',
            "the engine does not accept the flag a",
        ),
        (b"{", "its answer is not a state of flags"),
        (b"\xff", "its answer is not UTF-8"),
        (b" " * 10_001, "its answer has more than 10000 bytes"),
    ],
)
async def test_the_last_state_holds_while_the_server_fails(
    make: MakeFlags,
    server: FakeUnleash,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    counted: Counter[tuple[str, str]],
    outcome: Any,
    reason: str,
) -> None:
    """A reading that fails in any way leaves the flags as they were, here and in a new process; it is counted, reported
    in `impairment` and logged once, with its reason and without the token; the end of the failure is logged, too."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(client, "MAX_STATE_BYTES", 10_000)
    async with make() as flags:
        server.outcome = outcome
        for _ in range(3):
            await flags.refresh()
            assert flags.enabled(PIX, "acme")
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings == [flags.impairment()]
        assert reason in warnings[0]
        assert counted["flags_reads", "failed"] == 3
        assert "hidden" not in caplog.text
    async with make() as flags:
        assert flags.enabled(PIX, "acme")
        server.outcome = None
        server.set(feature(PIX.name, enabled=False), *OTHERS)
        await flags.refresh()
        assert not flags.enabled(PIX, "acme")
        assert flags.impairment() is None
    assert "answers again" in caplog.text


async def test_a_server_that_hangs_does_not_delay_a_start(make: MakeFlags, server: FakeUnleash) -> None:
    """A server that does not answer is waited for a bounded time, and the client opens with the defaults."""
    server.hangs = True
    async with make(seconds=0.01) as flags:
        assert not flags.enabled(PIX, "acme")
        assert await flags.trouble() is None


async def test_without_server_and_copy_flags_have_their_defaults(make: MakeFlags, server: FakeUnleash) -> None:
    """A process that starts without an answer and without a copy has the defaults, and then what the server says."""
    server.outcome = 503
    async with make() as flags:
        assert not flags.enabled(PIX, "acme")
        assert flags.enabled(PIX._replace(default=True, name="other"), "acme")
        server.outcome = None
        await flags.refresh()
        assert flags.enabled(PIX, "acme")


async def test_an_answer_without_a_state_is_no_reading(
    make: MakeFlags, server: FakeUnleash, caplog: pytest.LogCaptureFixture
) -> None:
    """`304 Not Modified` to a client that has no state is a failure, and flags have their defaults."""
    server.outcome = 304
    async with make() as flags:
        assert not flags.enabled(PIX, "acme")
    assert "it answered 304. The flags have their defaults" in caplog.text


@pytest.mark.parametrize(
    "url",
    [URL.replace("unleash.test", "other.test"), URL.replace("production", "development")],
    ids=["another server", "another environment"],
)
async def test_a_copy_is_of_its_server_and_environment(make: MakeFlags, server: FakeUnleash, url: str) -> None:
    """A copy of another server or environment is not used."""
    async with make():
        pass
    server.outcome = 503
    async with make(url) as flags:
        assert not flags.enabled(PIX, "acme")


async def test_a_replaced_token_of_the_same_environment_has_the_copy(make: MakeFlags, server: FakeUnleash) -> None:
    """A copy stays in use when the secret part of the token is replaced."""
    async with make():
        pass
    server.outcome = 503
    async with make(URL.replace("hidden", "replaced")) as flags:
        assert flags.enabled(PIX, "acme")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"server": "http://unleash.test/api"}', b"\xff\xfe"])
async def test_a_damaged_copy_is_not_used(
    make: MakeFlags, server: FakeUnleash, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """A damaged copy is logged and not used, and the next reading replaces it."""
    path = tmp_path / "data" / "unleash.json"
    path.parent.mkdir()
    path.write_bytes(content)
    server.outcome = 503
    async with make() as flags:
        assert not flags.enabled(PIX, "acme")
        assert "unleash.json is not used" in caplog.text
        server.outcome = None
        await flags.refresh()
    server.outcome = 503
    async with make() as flags:
        assert flags.enabled(PIX, "acme")


async def test_only_its_owner_reads_the_copy(make: MakeFlags, tmp_path: Path) -> None:
    """The copy has mode 0600, no token, and nothing is left beside it."""
    async with make():
        pass
    (path,) = (tmp_path / "data").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "hidden" not in path.read_text()


async def test_a_copy_that_cannot_be_written_is_logged(
    make: MakeFlags, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a place for the copy the flags are used all the same, and the log says what that means."""
    (tmp_path / "data").write_text("a file")
    async with make() as flags:
        assert flags.enabled(PIX, "acme")
    assert "so a restart without Unleash has the defaults" in caplog.text


async def test_flags_that_the_server_does_not_have_are_named(
    make: MakeFlags, server: FakeUnleash, caplog: pytest.LogCaptureFixture
) -> None:
    """Flags that the server does not have are named in the log, once."""
    server.set(feature(PIX.name))
    async with make() as flags:
        server.set(feature(PIX.name, enabled=False))
        await flags.refresh()
    (record,) = caplog.records
    assert INTERNAL.name in record.getMessage()
    assert PIX.name not in record.getMessage()


async def test_usage_is_reported(make: MakeFlags, server: FakeUnleash, clock: ManualClock) -> None:
    """The server is told how often each flag was on and off since the last report; what it refused is sent again."""
    server.set(feature(PIX.name, tenants=["acme"]), *OTHERS)
    async with make() as flags:
        for tenant in ("acme", "acme", "globex"):
            flags.enabled(PIX, tenant)
        server.accepts_usage = False
        clock.advance(timedelta(seconds=15))
        await flags.refresh()
        flags.enabled(PIX, "globex")
        server.accepts_usage = True
        clock.advance(timedelta(seconds=15))
        await flags.refresh()
        await flags.refresh()
    (report,) = server.usage
    assert report["appName"] == "lastro"
    assert report["bucket"] == {
        "start": "2026-01-01T00:00:00.000000Z",
        "stop": "2026-01-01T00:00:30.000000Z",
        "toggles": {PIX.name: {"yes": 2, "no": 2}},
    }


async def test_answers_in_memory_are_bounded(
    make: MakeFlags, server: FakeUnleash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations for many tenants are stored up to a bound, and none is lost from the usage."""
    monkeypatch.setattr(client, "_MAX_ANSWERS", 10)
    async with make() as flags:
        for number in range(25):
            assert flags.enabled(PIX, f"ten_{number}")
            assert len(flags._answers) <= 10
        await flags.refresh()
    assert server.usage[0]["bucket"]["toggles"] == {PIX.name: {"yes": 25, "no": 0}}


async def test_certificates_that_cannot_be_read_stop_the_opening(make: MakeFlags) -> None:
    """A file of authorities that does not exist stops the opening, with its name and without the token."""
    with pytest.raises(NotOpened, match=r"LASTRO_FLAGS: the certificates in /nowhere/ca\.pem") as raised:
        async with make(f"{URL}?ca=/nowhere/ca.pem"):
            raise AssertionError("there is no such file")
    assert "hidden" not in str(raised.value)


async def test_processes_share_the_copy_in_a_cache(
    server: FakeUnleash, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With a cache the copy is there: a process that starts while the server is away has the last state that another
    one has read, and its own environment's only. While the cache is away, too, flags have their defaults."""
    cache = MemoryCache(clock)

    def made(url: str = URL) -> UnleashFlags:
        address = read_address(url)
        return UnleashFlags(
            address,
            CacheCopies(cache, address),
            clock,
            seconds=60.0,
            refresh_seconds=3600,
            transport=server.transport,
        )

    async with made() as first:
        assert first.enabled(PIX, "acme")
    server.outcome = 503
    async with made() as second, made(URL.replace("production", "development")) as other:
        assert second.enabled(PIX, "acme")
        assert not other.enabled(PIX, "acme")
    await cache.aclose()
    async with made() as third:
        assert not third.enabled(PIX, "acme")
    assert "the copy of the flags in the cache is not used: the cache is closed" in caplog.text


async def test_a_rollout_by_tenant_is_the_same_in_every_process(make: MakeFlags, server: FakeUnleash) -> None:
    """A gradual rollout by tenantId is on for about its share of the tenants, the same ones in every process."""
    parameters = {"rollout": "25", "stickiness": "tenantId", "groupId": "g"}
    strategy = {"name": "flexibleRollout", "parameters": parameters, "constraints": []}
    server.set({**feature(PIX.name), "strategies": [strategy]}, *OTHERS)
    tenants = [f"ten_{number}" for number in range(400)]
    async with make() as one, make() as other:
        on = [tenant for tenant in tenants if one.enabled(PIX, tenant)]
        assert 60 <= len(on) <= 140
        assert on == [tenant for tenant in tenants if other.enabled(PIX, tenant)]
        assert not one.enabled(PIX, None)
