"""`python -m tests.images`: make the image of the functions, with Docker or, without an engine, as an OCI archive."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.images.engine import build_with_docker, docker_with_an_engine
from tests.images.project import NAME, ROOT, Image, build, labels_of
from tests.images.running import check_all, functions_of
from tests.servers.installing import Unavailable


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.images", description=__doc__)
    parser.add_argument("--tag", default="dev", help="the tag of the image (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lastro.tar", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="also run every function from the archive")
    parser.add_argument("--archive", action="store_true", help="write the archive where Docker runs, too")
    given = parser.parse_args(arguments)
    docker = None if given.archive or given.check else docker_with_an_engine()
    try:
        if docker is not None:
            name = f"{NAME}:{given.tag}"
            size = build_with_docker(docker, name, labels_of(ROOT), ROOT)
            print(f"{name} {size / 1e6:.1f} MB, in Docker")
            return 0
        image = build(given.out, tag=given.tag)
        _show(image, f"{NAME}:{given.tag}")
        if given.check:
            _check(image)
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _show(image: Image, name: str) -> None:
    print(f"{name} {image.digest}")
    for layer, size in image.layers.items():
        print(f"  {size / 1e6:7.1f} MB  {layer}")
    print(f"  {image.archive.stat().st_size / 1e6:7.1f} MB  {image.archive}")
    print(f"bill of materials: {image.bill}")


def _check(image: Image) -> None:
    functions = functions_of(ROOT / "knative" / "functions")
    slowest = ("", 0.0)
    with TemporaryDirectory(dir=image.archive.parent) as folder:
        for name, seconds in check_all(image.archive, functions, Path(folder)):
            slowest = max(slowest, (name, seconds), key=lambda each: each[1])
    print(f"{len(functions)} functions run from it, on a read-only root, not as root; the slowest start: {slowest[0]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
