"""Running a coroutine in place, and noticing when it suspends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine as generator_coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


@generator_coroutine
def drive(work: Coroutine[Any, Any, T], suspended: Callable[[], None]) -> Generator[Any, Any, T]:
    """Await `work` in the current task, calling `suspended` once if it does not finish at its first step.

    Most handlers never suspend; for them this costs a fraction of a task, and nobody else needs waking.
    """
    try:
        waiting_for = work.send(None)
    except StopIteration as finished:
        return cast("T", finished.value)
    suspended()
    try:
        while True:
            try:
                sent = yield waiting_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - a cancellation belongs to the work, as everything else does
                waiting_for = work.throw(error)
            else:
                waiting_for = work.send(sent)
    except StopIteration as finished:
        return cast("T", finished.value)
