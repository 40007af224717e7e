"""docs/settings.md has every setting and no others."""

from __future__ import annotations

import re

from shared.core.settings import Settings
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`[A-Z_`, ]+) \| ([^|]*)\|", PAGE, re.MULTILINE)
DEFAULTS = {name: default.strip() for names, default in ROWS for name in re.findall(r"[A-Z_]+", names)}


def test_every_setting_is_on_the_page_with_its_default() -> None:
    """Each field of Settings has its row, and each LASTRO_ row is a field."""
    fields = {f"LASTRO_{name.upper()}": default for name, default in Settings._field_defaults.items()}
    assert {name for name in DEFAULTS if name.startswith("LASTRO_")} == set(fields)
    for name, default in fields.items():
        shown = DEFAULTS[name].partition(" (")[0].strip("`")
        assert shown == (f"{default:g}" if isinstance(default, float) else str(default)), name


def test_every_otel_variable_on_the_page_is_tested() -> None:
    """Each OpenTelemetry variable on the page has a test against a receiver."""
    tests = (ROOT / "tests/shared/adapters/otlp/test_otlp.py").read_text(encoding="utf-8")
    tests = tests.replace("<SIGNAL>", "TRACES") + tests.replace("<SIGNAL>", "METRICS")
    named = {name for name in DEFAULTS if name.startswith("OTEL_")}
    assert named
    assert {name for name in named if name not in tests} == set()
