"""The paths of a simulated provider, and the faults that are ordered for the requests of its API."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from embedded.simulators.program import ConnectionCut
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.methods import handler_for

Answer = Callable[[str, HttpRequest], Awaitable[HttpResponse]]
"""Answers a request; the text is the group of its path's pattern, as it was sent."""
Api = Callable[[Answer, str, HttpRequest], Awaitable[HttpResponse]]


class Routes:
    """The answers of a simulator by path and method.

    `open_paths` are the beginnings of paths that need no access token; the other requests are given to `api`.
    """

    def __init__(
        self, answers: Mapping[str, dict[str, Answer]], prefix: str, open_paths: tuple[str, ...], api: Api
    ) -> None:
        self._answers = [(re.compile(path), by_method) for path, by_method in answers.items()]
        self._prefix = prefix
        self._open_paths = open_paths
        self._api = api

    async def __call__(self, request: HttpRequest) -> HttpResponse | None:
        """Answer a request, or return None for a path without an answer. Raises Problem `method_not_allowed`."""
        path = request.path.removeprefix(self._prefix)
        for pattern, by_method in self._answers:
            match = pattern.fullmatch(path)
            if match is not None:
                answer = handler_for(request, by_method)
                if isinstance(answer, HttpResponse):
                    return answer
                if path.startswith(self._open_paths):
                    return await answer(match[1], request)
                return await self._api(answer, match[1], request)
        return None


async def with_fault(
    faults: deque[str], error: HttpResponse, answer: Callable[[], Awaitable[HttpResponse]]
) -> HttpResponse:
    """Answer a request with the next ordered fault: `500` is `error`, and for `cut` the answer is lost.

    Raises ConnectionCut.
    """
    fault = faults.popleft() if faults else None
    if fault == "500":
        return error
    response = await answer()
    if fault == "cut":
        raise ConnectionCut("the answer to this request was ordered to be lost")
    return response
