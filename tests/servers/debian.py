"""Packages of another suite of Debian, in their own root folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.servers.installing import Unavailable, installed, program, run

_SHOW_MIRRORS: Final = ("indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages")
_ACQUIRE: Final = re.compile(r"^Acquire::(Check-|http|https|Retries).*;$", re.MULTILINE)
_NO_SERVICES: Final = "#!/bin/sh\nexit 101\n"


def debian_root(suite: str, package: str, *, wanted_for: str) -> Path:
    """Return a root folder with a package of this suite and its dependencies. It is created if it does not exist.

    That needs root, and apt: the packages are from the mirror that this machine's apt uses. Raises Unavailable.
    """

    def build(folder: Path) -> None:
        if os.geteuid() != 0:
            raise Unavailable(f"{wanted_for} needs root, to unpack {package} of Debian {suite} by debootstrap")
        bootstrap(folder, suite, wanted_for=wanted_for)
        _install(folder, package)

    return installed(f"{package}-debian-{suite}", build)


def mirror_of_this_machine(*, wanted_for: str) -> str:
    """Return the URL of the mirror of Debian that this machine's apt uses. Raises Unavailable."""
    mirror = _mirror(program("apt-get", wanted_for=wanted_for, package="apt"))
    if mirror is None:
        raise Unavailable(f"{wanted_for} needs a mirror of Debian, and the apt of this machine has none")
    return mirror


def in_root(root: Path, *command: str, user: str) -> list[str]:
    """Return a command that runs another one in a root folder, as a user of it, and ends it with the process that
    started it."""
    chroot = program("chroot", wanted_for=command[0], package="coreutils")
    become = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--pdeathsig=KILL", "--"]
    return [chroot, str(root), *become, *command]


def bootstrap(folder: Path, suite: str, *, wanted_for: str, include: Sequence[str] = ()) -> None:
    """Unpack the packages that a suite needs, and those to `include`, in a folder. Raises Unavailable."""
    log = folder.with_name(f"{folder.name}.log")
    apt = program("apt-get", wanted_for=wanted_for, package="apt")
    if _mirror(apt) is None:  # a new machine has no package lists
        run([apt, "update"], log)
    mirror = mirror_of_this_machine(wanted_for=wanted_for)
    if shutil.which("debootstrap") is None:
        run([apt, "install", "-y", "--no-install-recommends", "debootstrap"], log)
    script = Path("/usr/share/debootstrap/scripts") / suite
    if not script.exists():  # this debootstrap is older than the suite; one script works for all of them
        script = script.with_name("sid")
    options = ["--force-check-gpg", "--variant=minbase", *([f"--include={','.join(include)}"] if include else [])]
    command = ["debootstrap", *options, suite, str(folder), mirror, str(script)]
    run(command, log, environment=_proxy())
    folder.chmod(0o755)


def _install(root: Path, package: str) -> None:
    """Install a package in the root. No service is started, and no PostgreSQL cluster is created."""
    log = root.with_name(f"{root.name}.log")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(_NO_SERVICES, encoding="ascii")
    policy.chmod(0o755)
    clusters = root / "etc/postgresql-common/createcluster.conf"
    clusters.parent.mkdir(exist_ok=True)
    clusters.write_text("create_main_cluster = false\n", encoding="ascii")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shown = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    settings = "".join(f"{found[0]}\n" for found in _ACQUIRE.finditer(shown))
    (root / "etc/apt/apt.conf.d/90machine").write_text(settings, encoding="utf-8")
    here = shlex.quote(str(root))
    # The scripts of the packages need /proc. It is mounted in a namespace that ends with the commands.
    script = (
        f"mount -t proc proc {here}/proc && chroot {here} apt-get update && "
        f"DEBIAN_FRONTEND=noninteractive chroot {here} apt-get install -y --no-install-recommends {package} && "
        f"chroot {here} apt-get clean"
    )
    run([program("unshare", wanted_for=package, package="util-linux"), "--mount", "sh", "-c", script], log)


def _mirror(apt: str) -> str | None:
    shown = subprocess.run([apt, *_SHOW_MIRRORS], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^Debian\|(\S+)$", shown, re.MULTILINE)
    return found[1] if found else None


def _proxy() -> dict[str, str]:
    shown = subprocess.run(["apt-config", "dump", "Acquire::http::Proxy"], capture_output=True, text=True, check=False)
    found = re.search(r'"(.+)"', shown.stdout)
    return {"http_proxy": found[1]} if found else {}
