"""A checkout whose `lastro up` is a short program: it answers every GET with 200, and has a child process as its
writer."""

from __future__ import annotations

import textwrap
from pathlib import Path

_PLATFORM = """
    import http.server, os, signal, subprocess, sys

    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

    writer = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    {on_sigterm}
    print(*sys.argv[1:], os.environ.get("CHOSEN", ""), flush=True)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""
_END = "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))"
_IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def make_checkout(place: Path, *, obeys: bool = True) -> Path:
    """Write the checkout. Without `obeys` it ignores SIGTERM."""
    platform = textwrap.dedent(_PLATFORM).format(on_sigterm=_END if obeys else _IGNORE)
    return make_broken_checkout(place, platform)


def make_broken_checkout(place: Path, program: str) -> Path:
    """Write a checkout whose command line is this program."""
    (place / "cli").mkdir(parents=True)
    (place / "cli" / "__init__.py").touch()
    (place / "cli" / "__main__.py").write_text(program)
    return place
