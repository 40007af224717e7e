"""The one runtime of this process: installed by a platform, or made from the settings at the first request."""

from __future__ import annotations

from shared.context.runtime import Runtime

_installed: Runtime | None = None


def install(runtime: Runtime | None) -> None:
    """Make this runtime the one that every function of the process uses; None removes it."""
    global _installed  # noqa: PLW0603 - a framework target is a module's global: it finds its runtime in another
    _installed = runtime


def process_runtime() -> Runtime:
    """The installed runtime; for a function that is started alone, one made from the settings.

    Raises ValueError for a setting that this version cannot honour.
    """
    if _installed is None:
        from shared.bootstrap.assembly import assemble
        from shared.core.settings import Settings

        install(assemble(Settings.from_environment()))
    assert _installed is not None
    return _installed
