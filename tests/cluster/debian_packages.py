"""Single packages of other suites of Debian, unpacked into the cache: etcd, containerd, and what they need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.servers.debian import mirror_of_this_machine
from tests.servers.installing import installed, program, run

KEYRINGS = Path("/usr/share/keyrings")


def unpacked(suite: str, packages: Sequence[str], *, cache: Path) -> Path:
    """Return a folder with the files of these packages of a suite, without their dependencies. Raises Unavailable.

    They come from the mirror that this machine's apt uses. Programs of another suite run here when they are linked
    statically or need nothing but the C library.
    """

    def build(folder: Path) -> None:
        apt = program("apt-get", wanted_for=packages[0], package="apt")
        unpack = program("dpkg-deb", wanted_for=packages[0], package="dpkg")
        lists = folder / "apt"
        options = _own_lists(lists, suite, mirror_of_this_machine(wanted_for=packages[0]))
        log = folder.with_name(f"{folder.name}.log")
        run([apt, *options, "update"], log)
        run([apt, *options, "download", *packages], log, cwd=lists)
        for archive in sorted(lists.glob("*.deb")):
            run([unpack, "--extract", str(archive), str(folder)], log)
        shutil.rmtree(lists)

    return installed(f"debian-{suite}-{packages[0]}", build, cache=cache)


def _own_lists(folder: Path, suite: str, mirror: str) -> list[str]:
    """Return options with which apt knows only this suite, and leaves the lists of the machine as they are."""
    (folder / "lists/partial").mkdir(parents=True)
    (folder / "cache/archives/partial").mkdir(parents=True)
    sources = folder / "sources.list"
    keys = ",".join(str(path) for path in sorted(KEYRINGS.glob("debian-archive-*-automatic.gpg")))
    signed = f"[signed-by={keys}] " if keys else ""
    sources.write_text(f"deb {signed}{mirror} {suite} main\n", encoding="utf-8")
    values = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        # apt drops its rights to this user, which cannot write here.
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    return [part for name, value in values.items() for part in ("-o", f"{name}={value}")]
