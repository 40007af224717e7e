"""Runs functions from an image archive without a container engine: in a namespace, not as root, on a read-only root."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from tests.processes import bound
from tests.servers.installing import Unavailable, last_lines, program
from tests.servers.processes import free_port

_START_SECONDS: Final = 300
_POLL_SECONDS: Final = 0.05
_SCRIPT: Final = """
set -e
change_root=$1; root=$2; user=$3; shift 3
/usr/bin/mount --bind "$root" "$root"
/usr/bin/mount -o remount,bind,ro "$root"
exec "$change_root" --userspec="$user" "$root" "$@"
"""


class Unpacked(NamedTuple):
    """The root folder of an image, and its configuration."""

    root: Path
    config: Mapping[str, Any]


class Function(NamedTuple):
    """A function's name and variables, as its Service has them."""

    name: str
    environment: Mapping[str, str]


def functions_of(folder: Path) -> list[Function]:
    """Return the functions of the Services in a folder (`knative/functions`), by name."""
    found = []
    for path in sorted(folder.glob("*/*.yaml")):
        service = yaml.safe_load(path.read_text(encoding="utf-8"))
        container = service["spec"]["template"]["spec"]["containers"][0]
        values = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        found.append(Function(service["metadata"]["name"], values))
    return found


def unpack(archive: Path, folder: Path) -> Unpacked:
    """Unpack the layers of an archive in a new folder, and return them as the index names them. Needs root."""
    folder.mkdir(parents=True)
    with tarfile.open(archive) as image:

        def blob(digest: str) -> IO[bytes]:
            file = image.extractfile(f"blobs/sha256/{digest.partition(':')[2]}")
            assert file is not None, "a blob is a file"
            return file

        def parsed(digest: str) -> Any:
            return json.load(blob(digest))

        index = image.extractfile("index.json")
        assert index is not None, "the index is a file"
        manifest = parsed(json.load(index)["manifests"][0]["digest"])
        for layer in manifest["layers"]:
            _extract(blob(layer["digest"]), folder)
        return Unpacked(folder, parsed(manifest["config"]["digest"])["config"])


def _extract(layer: IO[bytes], folder: Path) -> None:
    tar = program("tar", wanted_for="the image", package="tar")
    command = [tar, "--extract", "--numeric-owner", "--same-permissions", "--directory", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None, "it is a pipe"
        shutil.copyfileobj(layer, process.stdin, 1 << 20)
        process.stdin.close()
        if process.wait() != 0:
            raise Unavailable(f"tar cannot unpack a layer into {folder}")


@contextmanager
def running(image: Unpacked, function: Function, log: Path) -> Iterator[str]:
    """Run a function with the image's own command, user and variables, and yield its URL when `/healthz` answers.

    Raises Unavailable when it ends before that.
    """
    port = free_port()
    command = list(image.config["Cmd"])
    command[command.index("--port") + 1] = str(port)
    command[command.index("--host") + 1] = "127.0.0.1"
    environment = dict(entry.split("=", 1) for entry in image.config["Env"]) | dict(function.environment)
    unshare = program("unshare", wanted_for="the image", package="util-linux")
    enter = [
        unshare,
        "--mount",
        "/bin/sh",
        "-c",
        _SCRIPT,
        "sh",
        program("chroot", wanted_for="it", package="coreutils"),
    ]
    enter += [str(image.root), image.config["User"], "/usr/bin/env", f"--chdir={image.config['WorkingDir']}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            bound([*enter, *command]),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/healthz", process, function.name, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def check_all(archive: Path, functions: list[Function], folder: Path) -> Iterator[tuple[str, float]]:
    """Run each function from the archive until it answers, and yield its name and the seconds that it took.

    Raises Unavailable with the end of the log of a function that does not start.
    """
    root = folder / "root"
    try:
        image = unpack(archive, root)
        for function in functions:
            begin = time.monotonic()
            with running(image, function, folder / f"{function.name}.log"):
                yield function.name, time.monotonic() - begin
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _wait(url: str, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            pass
        if process.poll() is not None:
            raise Unavailable(f"{name} ended with {process.returncode}\n{last_lines(log)}")
        if time.monotonic() > deadline:
            raise Unavailable(f"{name} did not answer within {_START_SECONDS} s\n{last_lines(log)}")
        time.sleep(_POLL_SECONDS)
