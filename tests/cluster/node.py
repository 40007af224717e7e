"""Starts the node in namespaces of its own, enters them, and ends it without a trace on the machine.

The node has its own network, mounts, processes, host name and IPC. A pair of virtual links joins it to the machine,
which reaches pods and Services through it. There is no other way out of the node.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cluster.background import launch, reap
from tests.cluster.places import HOST_ADDRESS, LINK, NODE_ADDRESS, PODS, SERVICES
from tests.servers.installing import Unavailable, last_lines, program
from tests.servers.supervision import is_held

_START_SECONDS: Final = 900
_STOP_SECONDS: Final = 120
_POLL_SECONDS: Final = 0.1
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OUR_CGROUPS: Final = ("kubepods", "k8s.io")
_NAMESPACES: Final = ("--net", "--mount", "--pid", "--uts", "--ipc")


def is_running(state: Path) -> bool:
    """Return whether the node of this folder runs: its first process holds the lock."""
    return is_held(state / "node.lock")


def start(state: Path, programs: Mapping[str, Path]) -> None:
    """Start the node and wait until its API server is ready. Raises Unavailable."""
    for name in ("ip", "unshare", "nsenter", "mount"):
        program(name, wanted_for="the cluster", package="iproute2" if name == "ip" else "util-linux")
    if os.geteuid() != 0:
        raise Unavailable("the cluster needs root, for namespaces and a link between them")
    if _link_exists():
        raise Unavailable(
            f"the link {LINK} exists: another cluster runs on this machine, or `cluster:down` was not run"
        )
    (state / "api-is-ready").unlink(missing_ok=True)
    (state / "log").mkdir(parents=True, exist_ok=True)
    outer = _launch(state, programs)
    try:
        inner = _first_process(outer, state)
        (state / "node.pid").write_text(f"{inner}\n", encoding="ascii")
        _join(inner)
        _wait_for_api(outer, state)
    except BaseException:
        stop(state)
        raise


def stop(state: Path) -> None:
    """End the node, and remove its link, routes and control groups. No effect when it does not run."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        if is_running(state):
            os.kill(int((state / "node.pid").read_text(encoding="ascii")), signal.SIGKILL)
    deadline = time.monotonic() + _STOP_SECONDS
    while is_running(state):
        if time.monotonic() > deadline:
            raise Unavailable(f"the node did not end within {_STOP_SECONDS} s")
        time.sleep(_POLL_SECONDS)
    reap(state / "node.lock", _STOP_SECONDS)
    if _link_exists():
        subprocess.run(["ip", "link", "delete", LINK], check=True)  # its routes end with it
    _remove_cgroups()
    (state / "node.pid").unlink(missing_ok=True)


def remove(state: Path) -> None:
    """Remove the folder of a node that does not run."""
    assert not is_running(state), "its processes would write it again"
    shutil.rmtree(state, ignore_errors=True)


def entering(state: Path) -> list[str]:
    """Return the beginning of a command that runs the rest inside the node. Raises Unavailable."""
    if not is_running(state):
        raise Unavailable("the cluster does not run: `task cluster:up`")
    nsenter = program("nsenter", wanted_for="the cluster", package="util-linux")
    pid = (state / "node.pid").read_text(encoding="ascii").strip()
    return [nsenter, f"--target={pid}", *_NAMESPACES, "--"]


def traces() -> list[str]:
    """Return what a node would leave on this machine: its link, routes, control groups and mounts."""
    found = [f"link {LINK}"] if _link_exists() else []
    routes = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True).stdout
    found += [f"route {line}" for line in routes.splitlines() if line.startswith((PODS, SERVICES))]
    found += [f"control group {folder}" for folder in _cgroups()]
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return found + [f"mount {line}" for line in mounts if "/containerd/" in line or "/kubelet/" in line]


def _launch(state: Path, programs: Mapping[str, Path]) -> subprocess.Popen[bytes]:
    given = json.dumps({name: str(path) for name, path in programs.items()})
    unshare = program("unshare", wanted_for="the cluster", package="util-linux")
    command = [unshare, *_NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    command += [sys.executable, "-m", "tests.cluster.inside", str(state), given]
    return launch(command, log=state / "log" / "node.log", lock=state / "node.lock")


def _first_process(outer: subprocess.Popen[bytes], state: Path) -> int:
    """Return the id, on the machine, of the process that is the first one inside."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline and outer.poll() is None:
        with contextlib.suppress(OSError):
            found = children.read_text(encoding="ascii").split()
            # Between fork and exec it is still `unshare`, whose namespaces are complete.
            if found:
                return int(found[0])
        time.sleep(_POLL_SECONDS)
    raise Unavailable(f"the node did not start\n{last_lines(state / 'log' / 'node.log')}")


def _join(inner: int) -> None:
    """Make the link between the machine and the node, and the machine's routes to pods and Services."""
    for arguments in (
        ["link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", str(inner)],
        ["address", "add", f"{HOST_ADDRESS}/24", "dev", LINK],
        ["link", "set", LINK, "up"],
        ["route", "add", PODS, "via", NODE_ADDRESS],
        ["route", "add", SERVICES, "via", NODE_ADDRESS],
    ):
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")


def _wait_for_api(outer: subprocess.Popen[bytes], state: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not (state / "api-is-ready").exists():
        logs = "\n".join(last_lines(state / "log" / f"{name}.log") for name in ("node", "etcd", "kube-apiserver"))
        if outer.poll() is not None:
            raise Unavailable(f"the node ended\n{logs}")
        if time.monotonic() > deadline:
            raise Unavailable(f"the API server was not ready within {_START_SECONDS} s\n{logs}")
        time.sleep(_POLL_SECONDS)


def _link_exists() -> bool:
    return f"{LINK}:" in Path("/proc/net/dev").read_text(encoding="ascii").split()


def _cgroups() -> list[Path]:
    """Return the node's control groups: under each controller of version 1, or under the one tree of version 2."""
    parents = [_CGROUPS, *_CGROUPS.glob("*/")]
    return [folder for parent in parents for name in _OUR_CGROUPS if (folder := parent / name).is_dir()]


def _remove_cgroups() -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while found := _cgroups():
        for top in found:
            for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()
        if time.monotonic() > deadline:
            raise Unavailable(f"control groups of the node have processes: {', '.join(map(str, found))}")
        time.sleep(_POLL_SECONDS)
