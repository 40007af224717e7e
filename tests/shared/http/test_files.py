"""The choice of a format by Accept."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.problems import Problem
from shared.http.files import preferred

OFFERED = ("application/json", "text/csv", "application/pdf")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/csv;charset=utf-8", "text/csv"),
        ("text/*", "text/csv"),
        ("application/*", "application/json"),
        ("text/csv, application/json", "application/json"),
        ("text/csv, application/json;q=0.9", "text/csv"),
        ("application/pdf;q=0.4, text/csv;q=0.5", "text/csv"),
        ("application/pdf; q=0.501 , text/csv;q=0.5", "application/pdf"),
        ("application/json;q=0, */*;q=0.1", "text/csv"),
        ("application/json;q=0.1, application/*", "application/pdf"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        (" , text/csv ,", "text/csv"),
        ("image/png;q=1.000, text/csv;q=0.001", "text/csv"),
    ],
)
def test_the_most_specific_range_gives_the_weight(accept: str | None, chosen: str) -> None:
    """The type with the greatest weight is chosen; of equal ones, the first that is offered."""
    assert preferred(accept, OFFERED) == chosen


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "*/*;q=0", "text/html, image/*", ","])
def test_none_of_the_formats_is_accepted(accept: str) -> None:
    """A header that accepts none of the formats is refused, and the formats are listed."""
    with pytest.raises(Problem) as refused:
        preferred(accept, OFFERED)
    assert refused.value.code == "malformed_request"
    assert ", ".join(OFFERED) in refused.value.detail


@pytest.mark.parametrize(
    "accept",
    ["csv", "*/csv", "text/", "/csv", "text/csv;q=2", "text/csv;q=", "text/csv;q=0.1234", "text/csv;q=-1", "a b/c"],
)
def test_an_invalid_header_is_refused(accept: str) -> None:
    """An element that is not a media range with a weight from 0 to 1 is refused and named."""
    with pytest.raises(Problem) as refused:
        preferred(accept, OFFERED)
    assert (refused.value.code, accept in refused.value.detail) == ("malformed_request", True)


@given(st.text(max_size=60))
def test_any_header_has_an_answer(accept: str) -> None:
    """Whatever a client sends, one of the formats is chosen or the request is refused."""
    with suppress(Problem):
        assert preferred(accept, OFFERED) in OFFERED
