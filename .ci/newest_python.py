"""Unpacks the newest CPython we promise to run on, as its Go module carries it: `newest_python.py FOLDER`.

A distribution's own Python is often years older. Where a machine has Go, its module proxy brings a build by
python-build-standalone (optimised as Astral's uv installs it); the module's checksum is written here.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

MODULE = "github.com/kluctl/go-embed-python@v0.0.0-3.14.6-20260610-1"
CHECKSUM = "h1:oGUS7++Wm3LgxUfD6AmJgKbKQD2wdQFO9PzyJv6T+E4="


def download() -> Path:
    """The module's folder in Go's cache. Raises CalledProcessError, or SystemExit when it is not what it was."""
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GONOSUMDB": "*"}
    answer = subprocess.run(
        ["go", "mod", "download", "-json", MODULE], check=True, capture_output=True, text=True, env=environment
    )
    module = json.loads(answer.stdout)
    if module["Sum"] != CHECKSUM:
        raise SystemExit(f"{MODULE} has the checksum {module['Sum']}, not {CHECKSUM}")
    return Path(module["Dir"]) / "python" / "internal" / "data" / "linux-amd64"


def unpack(packed: Path, target: Path) -> None:
    """Lay the distribution out as it was before it was packed."""
    for entry in json.loads((packed / "files.json").read_text())["files"]:
        path, source = target / entry["name"], packed / entry["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if "symlink" in entry:
            path.symlink_to(entry["symlink"])
        elif source.is_dir():
            path.mkdir(exist_ok=True)
        else:
            compressed = entry.get("compressed", False)
            path.write_bytes(gzip.decompress(Path(f"{source}.gz").read_bytes()) if compressed else source.read_bytes())
            path.chmod(0o755 if path.parent.name == "bin" else 0o644)


def main() -> None:
    """Unpack, and print where the interpreter is."""
    target = Path(sys.argv[1])
    unpack(download(), target)
    print(target / "bin" / "python3.14")


if __name__ == "__main__":
    main()
