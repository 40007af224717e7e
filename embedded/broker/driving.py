"""Going on with a coroutine whose first step was made in place."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine as generator_coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


@generator_coroutine
def go_on(work: Coroutine[Any, Any, T], waiting_for: Any) -> Generator[Any, Any, T]:
    """Await the rest of `work` in the current task, `waiting_for` being what its first `send(None)` returned.

    Most handlers end in that first step; a task for each, or only an `await`, would cost them more than they do.
    """
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
