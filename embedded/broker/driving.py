"""Runs the rest of a coroutine whose first step has already run."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine as generator_coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


@generator_coroutine
def go_on(work: Coroutine[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """Await the rest of `work` in the current task. `waiting_for` is the result of its first `send(None)`.

    Most handlers end in their first step. A task for each, or even an `await`, would cost more than the handler itself.
    """
    try:
        while True:
            try:
                sent = yield waiting_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the coroutine gets every exception, cancellation included
                waiting_for = work.throw(error)
            else:
                waiting_for = work.send(sent)
    except StopIteration as finished:
        return cast("T", finished.value)
