"""Measures the new revisions of a release: each indicator as a query to Prometheus."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any, Final

from shared.release.indicators import LAG, OBJECTIVES, Kind, Measured
from shared.release.queries import query_of

_TIMEOUT_SECONDS: Final = 10.0
_LEAST_SECONDS: Final = 30
"""The shortest window: of a shorter one, metrics that are sent every ten seconds have too few samples."""


class Unmeasured(Exception):
    """Prometheus did not answer, or refused a query. The text says why."""


class Prometheus:
    """A client of Prometheus' HTTP API."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query"

    def measure(self, revisions: Iterable[str], seconds: float) -> dict[str, Measured]:
        """Return what is known of these revisions in the last seconds, by the key of the indicator.

        An indicator without a figure is absent. Raises Unmeasured.
        """
        of = f'service_version=~"{"|".join(sorted(revisions))}"'
        window = f"{max(_LEAST_SECONDS, math.ceil(seconds))}s"
        found = {}
        for objective in (*OBJECTIVES.values(), LAG):
            query = query_of(objective)
            value = self._number(query.text(query.value, of, window))
            if value is None:
                continue
            count = 0.0 if objective.kind is Kind.LEVEL else self._number(query.text(query.total, of, window))
            if count is not None:
                # `increase` extrapolates: counts are not whole.
                found[objective.key] = Measured(value, round(count))
        return found

    def _number(self, query: str) -> float | None:
        data = urllib.parse.urlencode({"query": query}).encode()
        request = urllib.request.Request(self._url, data, method="POST")  # noqa: S310 - the address is a setting
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
                answer: Any = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(500).decode(errors="replace")
            raise Unmeasured(f"Prometheus answered {error.code} to {query}: {said}") from None
        except (OSError, ValueError) as error:
            raise Unmeasured(f"Prometheus cannot be asked: {getattr(error, 'reason', error)}") from None
        result = answer.get("data", {}).get("result") or []
        if answer.get("status") != "success" or len(result) > 1:
            raise Unmeasured(f"Prometheus answered {answer.get('error') or len(result)} to {query}")
        value = float(result[0]["value"][1]) if result else math.nan
        return None if math.isnan(value) or math.isinf(value) else max(value, 0.0)
