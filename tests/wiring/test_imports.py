"""The files that the import rules cover."""

from __future__ import annotations

from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent.parent


def test_import_rules_see_every_function() -> None:
    """Every file of functions/ is in the graph that import-linter checks."""
    graph = grimp.build_graph("functions", cache_dir=None)
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "functions").rglob("*.py")
        if path.name != "__init__.py"
    }

    assert set() == files - graph.modules
