"""The base of the project's image: Debian's Python, unpacked by debootstrap, in the cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from tests.servers.debian import bootstrap
from tests.servers.installing import Unavailable, installed, program, run

SUITE: Final = "trixie"
PYTHON: Final = "3.13"
"""The version of Python in this suite of Debian."""
_PACKAGES: Final = ("ca-certificates", "python3", "tzdata")
_CHANGES: Final = (
    "dev",
    "etc/machine-id",
    "etc/resolv.conf",
    "etc/hostname",
    "proc",
    "run",
    "sys",
    "tmp",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt/lists",
    "var/lib/dpkg/status-old",
    "var/log",
)
"""What the machine or the hour of the installation determines, and what a function does not read."""
_COMPILE: Final = ("/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
_SAME_EACH_TIME: Final = {"PYTHONHASHSEED": "0"}


def base_root(cache: Path) -> Path:
    """Return the root folder of the base, with compiled bytecode of the standard library. Raises Unavailable.

    It is the same for the same versions of Debian's packages. Making it needs root.
    """
    return installed(f"image-base-{SUITE}-1", _build, cache=cache)


def _build(folder: Path) -> None:
    if os.geteuid() != 0:
        raise Unavailable("the image without a container engine needs root, to unpack Debian by debootstrap")
    bootstrap(folder, SUITE, wanted_for="the image", include=_PACKAGES)
    for name in _CHANGES:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in ("dev", "proc", "run", "sys", "tmp"):
        (folder / name).mkdir(mode=0o1777 if name == "tmp" else 0o755)
    (folder / "tmp").chmod(0o1777)
    _keep_copyrights(folder / "usr/share/doc")
    _python_by_its_usual_name(folder)
    skip = "/(test|tests|site-packages|dist-packages|idlelib)/"
    command = [program("chroot", wanted_for="the image", package="coreutils"), str(folder), *_COMPILE, "-x", skip]
    run([*command, f"/usr/lib/python{PYTHON}"], folder.with_name(f"{folder.name}.log"), environment=_SAME_EACH_TIME)


def compile_at(root: Path, folder: Path, place: str) -> None:
    """Compile the bytecode of a folder with the Python of a root folder, for its place in the image.

    The files never change, so their dates need not be checked. Without bytecode a cold start takes four times as long.
    """
    # The folder is bound to /mnt in a namespace that ends with the command; the root itself is not changed.
    script = 'mount --bind "$1" "$2/mnt" && shift && exec chroot "$@"'
    command = [program("unshare", wanted_for="the image", package="util-linux"), "--mount", "sh", "-c", script, "sh"]
    command += [str(folder), str(root), *_COMPILE, "-s", "/mnt", "-p", place, "/mnt"]
    run(command, root.with_name(f"{root.name}.log"), environment=_SAME_EACH_TIME)


def _keep_copyrights(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name != "copyright":
            path.unlink()


def _python_by_its_usual_name(root: Path) -> None:
    (root / "usr/bin/python").unlink(missing_ok=True)
    (root / "usr/bin/python").symlink_to("python3")
