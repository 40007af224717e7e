"""Scale to zero in one process: functions of the support class are loaded at first use and unloaded when idle.

Classes, windows and retention periods are the annotations of the Services. A function is a module; the modules that it
imports are shared and stay loaded. Unloading removes the module from `sys.modules`, so that its code, models and caches
are garbage collected.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from embedded.broker.plan import Plan
from embedded.broker.timers import Timers
from embedded.functions.ways_in import refused_ways, ways_in
from embedded.manifests.findings import FieldError, ManifestError
from embedded.manifests.loading import Manifests
from embedded.manifests.serving import SOURCE, TARGET, Service
from shared.core.clock import Clock
from shared.functions.decorators import operation_of
from shared.functions.operation import Operation
from shared.messaging.operation import EventOperation, Unwanted

log = logging.getLogger(__name__)
_UNLOAD_SECONDS: Final = 5.0

State = Literal["ready", "loaded", "idle"]
"""`ready`: core, always loaded. `loaded`: support, used recently. `idle`: support, not loaded."""


@dataclass(frozen=True, slots=True)
class FunctionStatus:
    """The state of one function, as `lastro functions` shows it."""

    service: str
    consumer: str
    scale_class: Literal["core", "support"]
    state: State
    ways_in: tuple[str, ...]
    calls: int
    in_flight: int
    loads: int


class Function:
    """The function of one Service. `target` is None while it is not loaded."""

    __slots__ = ("calls", "in_flight", "last_used", "loads", "operation", "service", "support", "target", "ways_in")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.support = service.scale_class == "support"
        self.target: Any = None
        self.operation: Operation | None = None
        self.calls = 0
        self.in_flight = 0
        self.loads = 0
        self.last_used: float | None = None
        """The time at which its last call ended, on the monotonic clock."""
        self.ways_in: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """Whether the function is loaded, and whether it may be unloaded."""
        if not self.support:
            return "ready"
        return "idle" if self.target is None else "loaded"


class Functions:
    """The functions by the names of their Services."""

    def __init__(
        self,
        services: Mapping[str, Service],
        clock: Clock,
        timers: Timers,
        collect: Callable[[], object] = gc.collect,
    ) -> None:
        """`collect` is called after functions were unloaded, because modules contain reference cycles."""
        self._clock = clock
        self._timers = timers
        self._collect = collect
        self._functions = {name: Function(service) for name, service in services.items()}
        self._unloading = False
        self._unwanted: dict[str, Unwanted] = {}
        self.on_unload: Callable[[Service], None] | None = None
        """Called with the Service of a function that is unloaded, so that its caches can be cleared."""

    def start(self) -> None:
        """Load the core functions, and begin to unload the others when they are idle. Raises FieldError."""
        for function in self._functions.values():
            if not function.support:
                self._load(function)
        if not self._unloading:
            self._unloading = True
            self._timers.after(_UNLOAD_SECONDS, self._unload_idle)

    def stop(self) -> None:
        """Stop unloading idle functions. Those that are loaded stay loaded."""
        self._unloading = False

    def check(self, plan: Plan, manifests: Manifests) -> None:
        """Load every function once and check that it accepts what its ways in deliver. Stores the ways for `status`.

        Raises ManifestError with all findings.
        """
        findings = []
        for name, function in self._functions.items():
            try:
                self._load(function)
            except FieldError as error:
                findings.append(manifests.places["Service", name].error(error))
        findings = findings or list(refused_ways(plan, manifests, self.operation))
        if findings:
            raise ManifestError(findings)
        for name, listed in ways_in(plan, manifests).items():
            self._functions[name].ways_in = listed
        for name in self._functions:
            operation = self.operation(name)
            if isinstance(operation, EventOperation) and operation.unwanted is not None:
                self._unwanted[operation.id] = operation.unwanted
        for function in self._functions.values():
            if function.support:
                self._unload(function)
        self._collect()

    def unwanted(self) -> dict[str, Unwanted]:
        """Return the tests for events that a function would do nothing with, by consumer. Valid after `check`."""
        return dict(self._unwanted)

    # Calls

    def operation(self, service: str) -> Operation:
        """Return the operation of a function, loaded if necessary. Raises KeyError for an unknown Service,
        FieldError."""
        function = self._functions[service]
        if function.operation is None:
            self._load(function)
        assert function.operation is not None
        return function.operation

    def enter(self, service: str) -> Function:
        """Begin a call: return the function, loaded. It is not unloaded before `leave`. Raises as `operation` does."""
        function = self._functions[service]
        if function.target is None:
            self._load(function)
        function.calls += 1
        function.in_flight += 1
        return function

    def leave(self, function: Function) -> None:
        """End a call that `enter` began. The time until a support function is unloaded starts again."""
        function.in_flight -= 1
        if function.support:
            function.last_used = self._clock.monotonic()

    def status(self) -> list[FunctionStatus]:
        """Return the status of every function, by its Service's name."""
        return [
            FunctionStatus(
                service=name,
                consumer=function.service.consumer,
                scale_class=function.service.scale_class,
                state=function.state,
                ways_in=function.ways_in,
                calls=function.calls,
                in_flight=function.in_flight,
                loads=function.loads,
            )
            for name, function in sorted(self._functions.items())
        ]

    # Loading and unloading

    def _load(self, function: Function) -> None:
        if function.target is not None:
            return
        service = function.service
        try:
            module = importlib.import_module(service.module)
        except Exception as error:
            raise FieldError(f"{service.source} cannot be loaded: {error!r}", *service.path_of(SOURCE)) from error
        target = getattr(module, service.target, None)
        operation = operation_of(target)
        if operation is None:
            raise FieldError(f"{service.source} has no function {service.target}", *service.path_of(TARGET))
        function.target, function.operation = target, operation
        function.loads += 1
        function.last_used = self._clock.monotonic()

    def _unload_idle(self) -> None:
        if not self._unloading:
            return
        now = self._clock.monotonic()
        gone = [function for function in self._functions.values() if _is_idle(function, now)]
        for function in gone:
            self._unload(function)
        if gone:
            self._collect()
        self._timers.after(_UNLOAD_SECONDS, self._unload_idle)

    def _unload(self, function: Function) -> None:
        if function.target is None or function.in_flight:
            return
        function.target = function.operation = None
        if self.on_unload is not None:
            self.on_unload(function.service)
        name = function.service.module
        if any(other.target is not None and other.service.module == name for other in self._functions.values()):
            return
        sys.modules.pop(name, None)
        package, _, stem = name.rpartition(".")
        parent = sys.modules.get(package)
        if parent is not None and hasattr(parent, stem):
            delattr(parent, stem)
        log.debug("%s is unloaded", function.service.name)


def _is_idle(function: Function, now: float) -> bool:
    if not function.support or function.target is None or function.in_flight:
        return False
    used = function.last_used
    return used is None or now - used >= function.service.idle_seconds
