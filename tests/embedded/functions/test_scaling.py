"""Loading and unloading functions, and the two invokers. The functions are files of the test."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from embedded.broker.plan import Plan, make_plan
from embedded.broker.timers import Timers
from embedded.functions.invocation import DirectInvoker, FrameworkInvoker
from embedded.functions.scaling import Functions
from embedded.manifests.findings import ManifestError
from embedded.manifests.loading import Manifests
from shared.adapters.memory.stores import (
    MemoryBus,
    MemoryCache,
    MemoryDocuments,
    MemoryFlags,
    MemoryLedger,
    MemoryNonces,
    MemorySecrets,
)
from shared.context.runtime import Runtime
from shared.core.clock import ManualClock
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.functions.process import install
from shared.http.messages import HttpRequest
from shared.records.catalogue import COLLECTIONS
from shared.telemetry.recorder import Telemetry
from tests.embedded.broker.small_platform import (
    BROKER,
    SOURCE,
    TO_PARKING,
    TOPIC,
    event,
    service,
    trigger,
    write,
)
from tests.predictable import PredictableSecretSource

SHARED = "SEEN: list[int] = []\n"
PACK = '''
from typing import ClassVar

from shared.context.context import Context
from shared.core.envelope import Event
from shared.functions.decorators import event_function
from shared.core.problems import Problem
from {package}.shop._shelf import SEEN


class Sold(Event):
    type: ClassVar[str] = "sold"
    topic: ClassVar[str] = "lastro.shop.v1"
    subject_field: ClassVar[str] = "n"
    n: int


class Ballast:
    """Something that only this module holds."""


BALLAST = Ballast()


@event_function(Sold)
async def pack(event: Sold, ctx: Context) -> None:
    """Pack what was sold."""
    if event.n < 0:
        raise Problem("validation_failed", "Nothing can be packed.")
    SEEN.append(event.n)
'''
PARK = '''
from shared.context.context import Context
from shared.core.envelope import Envelope
from shared.functions.decorators import event_function


@event_function()
async def parking(event: Envelope, ctx: Context) -> None:
    """Park anything."""
'''
SHOW = '''
from pydantic import BaseModel

from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.files import File
from shared.http.operation import Access


class Shown(BaseModel):
    item: str


async def pieces(item):
    for number in range(3):
        yield f"{item} {number};".encode()
    if item == "broken":
        raise RuntimeError("the shelf fell")


@http_function("GET /v1/items/{item}", access=Access.PROVIDER, files=("text/plain",))
async def show_item(item: str, ctx: Context) -> Shown | File:
    """Show an item."""
    if item == "whole":
        return File("text/plain", "whole.txt", b"all of it")
    return Shown(item=item) if item.startswith("itm_") else File("text/plain", "item.txt", pieces(item))
'''
SOLD = "[{exact: {type: sold}}]"
TO_BROKER = "{apiVersion: eventing.knative.dev/v1, kind: Broker, name: default}"
TO_PACK = "{apiVersion: serving.knative.dev/v1, kind: Service, name: pack}"
PING = """
apiVersion: sources.knative.dev/v1
kind: PingSource
metadata: {name: tick}
spec: {sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: sweep}}}
"""
_packages = iter(f"testfunctions{number}" for number in range(1000))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Create a package of functions with a new name, and return the name."""
    name = next(_packages)
    shop = tmp_path / name / "shop"
    shop.mkdir(parents=True)
    (shop / "_shelf.py").write_text(SHARED)
    (shop / "pack.py").write_text(PACK.format(package=name))
    (shop / "parking.py").write_text(PARK)
    (shop / "show_item.py").write_text(SHOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [module for module in sys.modules if module.startswith(name) or module in ("pack", "show_item")]:
        del sys.modules[module]


def services(package: str, *, core: bool = False) -> list[str]:
    """The three functions as Services."""
    return [
        service("pack", core=core, source=f"{package}/shop/pack.py"),
        service("parking", source=f"{package}/shop/parking.py"),
        service("show-item", core=core, source=f"{package}/shop/show_item.py"),
    ]


def shop(tmp_path: Path, package: str, *more: str, core: bool = False, filter: str = SOLD) -> Manifests:
    """A Trigger to pack, whose dead letters go to parking, and a route to show-item."""
    usual = (BROKER, SOURCE, TOPIC.format(topic="lastro.shop.v1"))
    return write(tmp_path, *usual, *services(package, core=core), trigger("pack", "pack", filter=filter), *more)


def shop_plan(tmp_path: Path, package: str, *, core: bool = False) -> Plan:
    """Return the broker's plan of the wiring."""
    return make_plan(shop(tmp_path, package, core=core))


def check(manifests: Manifests) -> Functions:
    """Return the functions, checked as at the start."""
    functions = Functions(manifests.services, ManualClock(), Timers(ManualClock()))
    functions.check(make_plan(manifests), manifests)
    return functions


def refusal(manifests: Manifests) -> str:
    """Return the error of the check."""
    with pytest.raises(ManifestError) as refused:
        check(manifests)
    return str(refused.value)


def state_of(functions: Functions, name: str) -> str:
    """Return the state of a function as `lastro functions` shows it."""
    return {status.service: status.state for status in functions.status()}[name]


def kong(service_name: str = "show-item") -> str:
    """A route to a function."""
    return rf"""
_format_version: "3.0"
services:
  - name: items
    host: {service_name}.default.svc.cluster.local
    routes:
      - name: item
        methods: [GET]
        paths: ['~/v1/items/(?<item>[^/]+)$']
"""


async def test_support_functions_are_loaded_at_first_use_and_unloaded_when_idle(tmp_path: Path, package: str) -> None:
    """A support function is loaded by its first call and unloaded after its idle window, with the modules that only
    it uses; modules of its domain stay, and the next call loads it again."""
    clock = ManualClock()
    timers = Timers(clock)
    functions = Functions(shop_plan(tmp_path, package).services, clock, timers)
    functions.start()
    assert f"{package}.shop.pack" not in sys.modules
    assert state_of(functions, "pack") == "idle"

    held = functions.enter("pack")
    ballast = weakref.ref(sys.modules[f"{package}.shop.pack"].BALLAST)
    clock.advance(timedelta(hours=1))
    timers.run_due()
    assert held.target is not None
    functions.leave(held)
    clock.advance(timedelta(seconds=59))
    timers.run_due()
    assert state_of(functions, "pack") == "loaded"
    clock.advance(timedelta(seconds=6))
    timers.run_due()
    assert state_of(functions, "pack") == "idle"
    assert f"{package}.shop.pack" not in sys.modules
    assert not hasattr(sys.modules[f"{package}.shop"], "pack")
    assert f"{package}.shop._shelf" in sys.modules
    gc.collect()
    assert ballast() is None

    functions.leave(functions.enter("pack"))
    (status,) = [status for status in functions.status() if status.service == "pack"]
    assert (status.state, status.calls, status.loads, status.in_flight) == ("loaded", 2, 2, 0)
    functions.stop()
    timers.close()


@pytest.mark.parametrize("step", [timedelta(days=-1), timedelta(days=1)], ids=str)
async def test_idle_time_does_not_depend_on_the_wall_clock(tmp_path: Path, package: str, step: timedelta) -> None:
    """A jump of the wall clock in either direction neither unloads a recently used function nor keeps an idle one
    loaded."""
    clock = ManualClock()
    timers = Timers(clock)
    functions = Functions(shop_plan(tmp_path, package).services, clock, timers)
    functions.start()
    functions.leave(functions.enter("pack"))
    clock.jump(step)
    clock.advance(timedelta(seconds=59))
    timers.run_due()
    assert state_of(functions, "pack") == "loaded"
    clock.advance(timedelta(seconds=6))
    timers.run_due()
    assert state_of(functions, "pack") == "idle"
    timers.close()


async def test_core_functions_are_always_loaded(tmp_path: Path, package: str) -> None:
    """A function with a minimum scale is loaded at the start and never unloaded."""
    clock = ManualClock()
    timers = Timers(clock)
    functions = Functions(shop_plan(tmp_path, package, core=True).services, clock, timers)
    functions.start()
    assert f"{package}.shop.pack" in sys.modules
    clock.advance(timedelta(days=1))
    timers.run_due()
    assert state_of(functions, "pack") == "ready"
    timers.close()


async def test_the_check_finds_the_ways_in_and_unloads_support_functions(tmp_path: Path, package: str) -> None:
    """The check loads every function once and records its routes, triggers and dead letters."""
    functions = check(shop(tmp_path, package, kong()))
    ways = {status.service: status.ways_in for status in functions.status()}
    assert ways["pack"] == ("trigger pack",)
    assert ways["parking"] == ("dead letters",)
    assert ways["show-item"] == ("route GET /v1/items/(?<item>[^/]+)$",)
    states = {status.service: status.state for status in functions.status()}
    assert (states["pack"], states["parking"]) == ("idle", "ready")


@pytest.mark.parametrize(
    ("filter", "reason"),
    [
        ("", "the Trigger does not name the types that pass, and shop/pack accepts only sold"),
        ("[]", "the Trigger does not name the types that pass, and shop/pack accepts only sold"),
        ("[{prefix: {type: so}}]", "does not name the types that pass"),
        ("[{exact: {type: sold}}, {not: {exact: {causetyp: x}}}]", "the attribute causetyp; the nearest is causetype"),
        ("[{exact: {type: sold, colour: red}}]", "no event of the platform has the attribute colour"),
        ("[{not: {exact: {type: packed}}}]", "does not name the types that pass"),
        ("[{exact: {causetype: order}}]", "does not name the types that pass"),
        ("[{exact: {type: packed}}]", "the Trigger lets packed pass, and shop/pack accepts only sold"),
        ("[{any: [{exact: {type: sold}}, {exact: {type: packed}}]}]", "the Trigger lets packed pass"),
        ("[{exact: {type: sold}}, {exact: {type: packed}}]", "no event can pass: the filters name different types"),
    ],
)
async def test_a_trigger_may_pass_only_accepted_types(tmp_path: Path, package: str, filter: str, reason: str) -> None:
    """A Trigger that passes a type that its function does not accept is refused with file and line."""
    text = refusal(shop(tmp_path, package, filter=filter))
    assert text.startswith("knative/all.yaml:")
    assert ": Trigger pack, spec.filters: " in text
    assert reason in text
    assert text.endswith(".")


async def test_a_trigger_may_pass_fewer_events_than_accepted(tmp_path: Path, package: str) -> None:
    """A filter that narrows a type further, or uses the legacy field, is accepted."""
    check(shop(tmp_path, package, filter="[{exact: {type: sold}}, {prefix: {source: /lastro/}}]"))
    legacy = trigger("older", "pack") + "  filter: {attributes: {type: sold}}\n"
    check(shop(tmp_path, package, legacy))
    check(shop(tmp_path, package, trigger("everything", "parking")))


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (kong("pack"), "Kong, services.0.routes.0: shop/pack accepts events, not requests, and has the route items."),
        (kong("nobody"), "Kong, services.0.host: there is no Service nobody, the first label of the host."),
        (
            trigger("show", "show-item", filter=SOLD),
            "Trigger show, spec.subscriber: shop/show_item accepts requests, not events.",
        ),
        (
            SOURCE.replace("name: shop", "name: direct").replace(TO_BROKER, TO_PACK),
            (
                "KafkaSource direct, spec.sink: every event of its topics is delivered here, "
                "and shop/pack accepts only sold; use a Broker and a Trigger."
            ),
        ),
        (
            trigger("pack-too", "pack", filter=SOLD, delivery=f"{{{TO_PARKING}}}").replace(
                "name: parking", "name: pack"
            ),
            (
                "Trigger pack-too, spec.delivery.deadLetterSink: a dead letter sink must accept every event, "
                "and shop/pack accepts only events of some types."
            ),
        ),
        (
            PING.replace("name: sweep", "name: pack"),
            "PingSource tick, spec.sink: shop/pack does not accept the ticks of a schedule.",
        ),
        (
            PING.replace("name: sweep", "name: parking"),
            "PingSource tick, spec.sink: a tick has no tenant, and shop/parking needs one.",
        ),
        (
            service("gone", source="nowhere/shop/gone.py"),
            (
                "Service gone, spec.template.spec.containers.0.env.1.value: nowhere/shop/gone.py cannot be loaded: "
                "ModuleNotFoundError"
            ),
        ),
        (
            service("misnamed", source="shared/core/money.py"),
            "containers.0.env.0.value: shared/core/money.py has no function misnamed.",
        ),
    ],
)
async def test_a_mismatch_of_wiring_and_function_is_refused(
    tmp_path: Path, package: str, document: str, reason: str
) -> None:
    """Each route, Trigger or source whose requests or events its function does not accept is refused with file and
    line."""
    text = refusal(shop(tmp_path, package, document))
    assert text.startswith("knative/all.yaml:")
    assert reason in text


def runtime(clock: ManualClock) -> Runtime:
    """A runtime in memory."""
    nothing: Any = None
    return Runtime(
        settings=Settings(),
        clock=clock,
        random=Random(1),
        secret_source=PredictableSecretSource(1),
        documents=MemoryDocuments(COLLECTIONS),
        ledger=MemoryLedger(),
        cache=MemoryCache(clock),
        nonces=MemoryNonces(),
        bus=MemoryBus(),
        secrets=MemorySecrets(),
        flags=MemoryFlags(),
        verifier=nothing,
        telemetry=Telemetry(Random(1), 0.0),
    )


@pytest.fixture(params=["direct", "faithful"])
def invoker(request: pytest.FixtureRequest, tmp_path: Path, package: str) -> Iterator[DirectInvoker | FrameworkInvoker]:
    """Each of the invokers."""
    clock = ManualClock()
    plan = shop_plan(tmp_path, package)
    functions = Functions(plan.services, clock, Timers(clock))
    installed = runtime(clock)
    install(installed)
    yield (
        DirectInvoker(functions, installed)
        if request.param == "direct"
        else FrameworkInvoker(functions, plan.services, tmp_path)
    )
    install(None)


async def test_both_invokers_deliver_alike(invoker: DirectInvoker | FrameworkInvoker, package: str) -> None:
    """With both invokers an event has its effect once and is answered with 204 without a body, and an invalid one is
    refused with Kne- headers."""
    answer = await invoker.invoke("pack", event(1), True)
    assert (answer.status, answer.body) == (204, b"")
    assert (await invoker.invoke("pack", event(1), False)).status == 204
    seen = importlib.import_module(f"{package}.shop._shelf").SEEN
    assert seen == [1]
    wrong = Envelope(
        id="evt_x",
        source="/lastro/shop/sell",
        type="sold",
        subject="x",
        time=None,
        extensions={"tenantid": "acme", "partitionkey": "acme/x"},
        data=b'{"n": "many"}',
    )
    refused = await invoker.invoke("pack", wrong, True)
    assert refused.status == 422
    assert {name.lower(): value for name, value in refused.headers.items()}["kne-code"] == "validation_failed"


async def test_both_invokers_serve_alike(invoker: DirectInvoker | FrameworkInvoker) -> None:
    """Both invokers answer a request with the same status and body."""
    response = await invoker.serve("show-item", HttpRequest("GET", "/v1/items/itm_1", "", {}, b""))
    assert (response.status, response.body) == (200, b'{"item":"itm_1"}')
    missing = await invoker.serve("show-item", HttpRequest("GET", "/v1/items/", "", {}, b""))
    assert missing.status == 404


def asked(item: str) -> HttpRequest:
    return HttpRequest("GET", f"/v1/items/{item}", "", {}, b"")


async def test_both_invokers_stream_alike(invoker: DirectInvoker | FrameworkInvoker) -> None:
    """With both invokers a file comes in pieces, and its function is in use until the last one is read."""
    response = await invoker.serve("show-item", asked("crate"))
    assert (response.status, response.headers["content-type"], response.body) == (200, "text/plain", b"")
    assert response.headers["content-disposition"] == 'attachment; filename="item.txt"'
    assert "content-length" not in response.headers
    assert response.stream is not None
    assert in_use(invoker) == 1
    assert b"".join([piece async for piece in response.stream]) == b"crate 0;crate 1;crate 2;"
    assert in_use(invoker) == 0
    whole = await invoker.serve("show-item", asked("whole"))
    assert (whole.body, whole.stream, in_use(invoker)) == (b"all of it", None, 0)


@pytest.mark.parametrize("read", [0, 1])
async def test_a_closed_stream_releases_its_function(invoker: DirectInvoker | FrameworkInvoker, read: int) -> None:
    """A stream that is closed before its end, or before it is read at all, releases its function."""
    response = await invoker.serve("show-item", asked("crate"))
    assert response.stream is not None
    for _ in range(read):
        assert (await anext(aiter(response.stream))).startswith(b"crate 0;")
    await response.stream.aclose()
    assert in_use(invoker) == 0


async def test_a_stream_that_fails_has_no_end(
    invoker: DirectInvoker | FrameworkInvoker, caplog: pytest.LogCaptureFixture
) -> None:
    """With both invokers the error of a stream reaches its reader after the pieces before it, and is logged once."""
    response = await invoker.serve("show-item", asked("broken"))
    assert response.stream is not None
    pieces = aiter(response.stream)
    assert b"".join([await anext(pieces) for _ in range(3)]) == b"broken 0;broken 1;broken 2;"
    with pytest.raises(RuntimeError):
        await anext(pieces)
    assert in_use(invoker) == 0
    assert [record.getMessage() for record in caplog.records if "is cut" in record.getMessage()]


def in_use(invoker: DirectInvoker | FrameworkInvoker) -> int:
    """Return the calls of the function that are not finished."""
    return next(status.in_flight for status in invoker._functions.status() if status.service == "show-item")
