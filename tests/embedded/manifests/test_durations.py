"""The two formats of durations in manifests."""

from __future__ import annotations

import pytest

from embedded.manifests.durations import go_seconds, iso_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT0.2S", 0.2), ("PT1M30S", 90), ("P1DT1H", 90000), ("PT0S", 0), ("P2W", 1209600), ("PT0,5S", 0.5)],
)
def test_durations_of_fixed_length_are_read(text: str, seconds: float) -> None:
    """ISO 8601 durations are read to the fraction of a second."""
    assert iso_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["1s", "", "P", "PT", "P1DT", "P1M", "P1Y", "-PT1S", "+PT1S", "pt1s", "PT1S ", "P999999999999D", "PT1X"]
)
def test_other_texts_are_refused(text: str) -> None:
    """Months and years, which have no fixed length, and negative durations are refused."""
    with pytest.raises(ValueError, match="not an ISO 8601 duration of fixed length"):
        iso_seconds(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("1m30s", 90), ("1h", 3600), ("250ms", 0.25), ("0s", 0), ("0", 0), ("1.5h", 5400), (".5s", 0.5)],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    """The durations of annotations are read in Go's format."""
    assert go_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "60", "1d", "s", "1m 30s", "-1s", "1s\n"])
def test_other_texts_are_not_go_durations(text: str) -> None:
    """A number without a unit and a negative duration are refused."""
    with pytest.raises(ValueError, match="not a duration of Go"):
        go_seconds(text)
