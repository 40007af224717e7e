"""Loading functions, unloading them, and the two invokers that call them; the functions are files of the test."""

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
from embedded.manifests.loading import ManifestError
from embedded.manifests.models import Kong
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
from tests.embedded.broker.small_platform import BROKER, SOURCE, TOPIC, event, plan_of, service, trigger, write
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
from shared.http.operation import Access


class Shown(BaseModel):
    item: str


@http_function("GET /v1/items/{item}", access=Access.PROVIDER)
async def show_item(item: str, ctx: Context) -> Shown:
    """Show an item."""
    return Shown(item=item)
'''
_packages = iter(f"testfunctions{number}" for number in range(1000))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of functions that nobody has imported before; returns its name."""
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


def shop_plan(tmp_path: Path, package: str, *, core: bool = False, type: str = "sold") -> Plan:
    """A Trigger to pack; its dead letters go to parking."""
    documents = services(package, core=core)
    usual = (BROKER, SOURCE, TOPIC.format(topic="lastro.shop.v1"))
    sold = trigger("pack", "pack", filter=f"[{{exact: {{type: {type}}}}}]")
    return make_plan(write(tmp_path, *usual, *documents, sold))


def state_of(functions: Functions, name: str) -> str:
    """What `lastro functions` would say of a function."""
    return {status.service: status.state for status in functions.status()}[name]


def kong(service_name: str = "show-item") -> Kong:
    """A route to a function."""
    return Kong.model_validate(
        {
            "_format_version": "3.0",
            "services": [
                {
                    "name": "items",
                    "host": f"{service_name}.default.svc.cluster.local",
                    "routes": [{"name": "item", "methods": ["GET"], "paths": ["~/v1/items/(?<item>[^/]+)$"]}],
                }
            ],
        }
    )


async def test_support_functions_come_at_first_use_and_go_when_idle(tmp_path: Path, package: str) -> None:
    """A support function is loaded by its first call, stays while in use and through its window, then its module and
    what only it held are freed; what it shares with its domain stays, and the next call brings it back."""
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
async def test_idleness_is_not_the_wall_clock_s(tmp_path: Path, package: str, step: timedelta) -> None:
    """A jump of the wall clock, either way, neither lets go of a function that was just used nor keeps an idle one."""
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


async def test_core_functions_are_loaded_at_start_and_kept(tmp_path: Path, package: str) -> None:
    """A function with a minimum scale is there before its first call and never let go."""
    clock = ManualClock()
    timers = Timers(clock)
    functions = Functions(shop_plan(tmp_path, package, core=True).services, clock, timers)
    functions.start()
    assert f"{package}.shop.pack" in sys.modules
    clock.advance(timedelta(days=1))
    timers.run_due()
    assert state_of(functions, "pack") == "ready"
    timers.close()


async def test_checking_notes_the_ways_in_and_leaves_support_functions_unloaded(tmp_path: Path, package: str) -> None:
    """Every function is tried once; afterwards each knows its routes, triggers and dead letters."""
    plan = shop_plan(tmp_path, package)
    functions = Functions(plan.services, ManualClock(), Timers(ManualClock()))
    functions.check(plan, kong())
    ways = {status.service: status.ways_in for status in functions.status()}
    assert ways["pack"] == ("trigger pack",)
    assert ways["parking"] == ("dead letters",)
    assert ways["show-item"] == ("route GET /v1/items/(?<item>[^/]+)$",)
    states = {status.service: status.state for status in functions.status()}
    assert (states["pack"], states["parking"]) == ("idle", "ready")


async def test_what_does_not_fit_is_refused_at_the_start(tmp_path: Path, package: str) -> None:
    """A trigger to a function of another type, a route to an event function, a file or target that is not there."""
    plan = shop_plan(tmp_path, package, type="other")
    with pytest.raises(ManifestError, match="shop/pack does not take events of type other"):
        Functions(plan.services, ManualClock(), Timers(ManualClock())).check(plan, None)
    plan = shop_plan(tmp_path, package)
    functions = Functions(plan.services, ManualClock(), Timers(ManualClock()))
    with pytest.raises(ManifestError, match="Kong route item: shop/pack takes events, not requests"):
        functions.check(plan, kong("pack"))
    with pytest.raises(ManifestError, match="there is no Service nobody"):
        functions.check(plan, kong("nobody"))
    missing = plan_of(tmp_path, service("gone", source=f"{package}/shop/gone.py")).services
    with pytest.raises(ManifestError, match=f"Service gone: {package}/shop/gone.py cannot be loaded"):
        Functions(missing, ManualClock(), Timers(ManualClock())).operation("gone")
    misnamed = plan_of(tmp_path, service("pack", source=f"{package}/shop/pack.py", target="unpack")).services
    with pytest.raises(ManifestError, match="has no function unpack"):
        Functions(misnamed, ManualClock(), Timers(ManualClock())).operation("pack")


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
    """Each invoker in turn."""
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
    """An event has its effect once and is answered 204 without a body; a bad one is refused with Kne- headers."""
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
    """A request is answered with the same status and body."""
    response = await invoker.serve("show-item", HttpRequest("GET", "/v1/items/itm_1", "", {}, b""))
    assert (response.status, response.body) == (200, b'{"item":"itm_1"}')
    missing = await invoker.serve("show-item", HttpRequest("GET", "/v1/items/", "", {}, b""))
    assert missing.status == 404
