"""The first process of the node's namespaces: it prepares mounts and addresses, and runs the node's programs.

`python -m tests.cluster.inside STATE PROGRAMS`; `tests.cluster.node` starts it. When it ends, the kernel ends every
process of the namespaces, and their mounts and network end with the last of them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn
from urllib.error import URLError
from urllib.request import urlopen

from tests.cluster.configuration import ISSUER
from tests.cluster.places import HOST_ADDRESS, NODE, NODE_ADDRESS, SERVICES

_LINK_SECONDS: Final = 60
_API_SECONDS: Final = 600
_PAUSE_SECONDS: Final = 0.1
_RESTART_SECONDS: Final = 1
_EMPTY: Final = ("/run", "/var/log", "/var/lib/cni")
"""Folders that the node's programs write, and that are empty and in memory in the namespaces."""
_SYSCTLS: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet writes for the whole machine. Here it writes to copies, so that the machine keeps its own values."""


class Node:
    """The programs, which are started again when they end."""

    def __init__(self, state: Path, programs: Mapping[str, str]) -> None:
        self._state = state
        self._programs = programs
        self._commands: dict[str, Sequence[str]] = {}
        self._running: dict[int, str] = {}
        folders = dict.fromkeys(str(Path(program).parent) for program in programs.values())
        self._environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(state / "bin"), *folders, os.environ["PATH"]]),
        }

    def start(self, name: str, *arguments: str) -> None:
        """Start a program that runs until the end of the node."""
        self._commands[name] = [self._programs[name], *arguments]
        self._start(name)

    def ended(self) -> str | None:
        """Return the name of a program that has ended, or None."""
        while self._running:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid in self._running:
                return self._running.pop(pid)
            if pid == 0:
                break
        return None

    def run(self) -> NoReturn:
        """Wait for processes that end, also for those whose parent has ended, and start programs again."""
        while True:
            pid, status = os.waitpid(-1, 0)
            name = self._running.pop(pid, None)
            if name is not None:
                code = os.waitstatus_to_exitcode(status)
                print(f"{name} ended with {code} and is started again", file=sys.stderr, flush=True)
                time.sleep(_RESTART_SECONDS)
                self._start(name)

    def _start(self, name: str) -> None:
        with (self._state / "log" / f"{name}.log").open("ab") as log:
            # A session each: Linux shares the processors between sessions, and containers have their own.
            process = subprocess.Popen(
                self._commands[name],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[process.pid] = name
        process.returncode = 0  # this class waits for it, and not Popen


def main(arguments: Sequence[str]) -> NoReturn:
    """Prepare the namespaces and run the node."""
    state, programs = Path(arguments[0]), json.loads(arguments[1])
    signal.signal(signal.SIGTERM, _end)
    _mounts(state)
    socket.sethostname(NODE)
    _network()
    node = Node(state, programs)
    _control_plane(node, state)
    _wait_for_api(node, state)
    (state / "api-is-ready").touch()
    _workers(node, state, programs)
    node.run()


def _mounts(state: Path) -> None:
    _do("mount", "--make-rprivate", "/")
    _do("mount", "--make-rshared", "/")  # of a peer group of its own: the kubelet passes mounts on to its containers
    for folder in _EMPTY:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _do("mount", "-t", "tmpfs", "tmpfs", folder)
    for name in ("containerd", "lock"):
        (Path("/run") / name).mkdir()
    for name, value in _SYSCTLS.items():
        real = Path("/proc/sys") / name
        if real.exists():
            copy = state / "sysctl" / name.replace("/", "_")
            copy.write_text(f"{value}\n", encoding="ascii")
            _do("mount", "--bind", str(copy), str(real))


def _network() -> None:
    _do("ip", "link", "set", "lo", "up")
    deadline = time.monotonic() + _LINK_SECONDS
    while b"eth0:" not in Path("/proc/net/dev").read_bytes():
        if time.monotonic() > deadline:
            raise SystemExit("the link to the machine is not there")
        time.sleep(_PAUSE_SECONDS)
    _do("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "eth0")
    _do("ip", "link", "set", "eth0", "up")
    # kube-proxy translates the addresses of Services, for which the kernel must have a route first.
    _do("ip", "route", "add", SERVICES, "via", HOST_ADDRESS)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():
        bridged.write_text("1", encoding="ascii")


def _control_plane(node: Node, state: Path) -> None:
    node.start(
        "etcd",
        f"--data-dir={state / 'etcd'}",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=2147483648",
    )
    node.start("containerd", "--config", str(state / "containerd.toml"))
    server, keys = state / "kubernetes-server.pem", state / "service-accounts.pem"
    node.start(
        "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={NODE_ADDRESS}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--tls-cert-file={server}",
        f"--tls-private-key-file={server}",
        f"--client-ca-file={state / 'kubernetes-ca.pem'}",
        f"--token-auth-file={state / 'tokens.csv'}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={keys}",
        f"--service-account-signing-key-file={keys}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        # Without it the webhooks of Knative are called by the address of their Service, which the machine may lack.
        "--enable-aggregator-routing=true",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    )


def _workers(node: Node, state: Path, programs: Mapping[str, str]) -> None:
    config = f"--kubeconfig={state / 'admin.kubeconfig'}"
    commands = {
        "kube-controller-manager": (
            "--leader-elect=false",
            f"--root-ca-file={state / 'kubernetes-ca.pem'}",
            f"--service-account-private-key-file={state / 'service-accounts.pem'}",
            "--bind-address=127.0.0.1",
            config,
        ),
        "kube-scheduler": ("--leader-elect=false", "--bind-address=127.0.0.1", config),
        "kubelet": (
            f"--config={state / 'kubelet.yaml'}",
            f"--root-dir={state / 'kubelet'}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
            config,
        ),
        "kube-proxy": (f"--config={state / 'kube-proxy.yaml'}",),
        "coredns": ("-conf", str(state / "Corefile")),
    }
    for name, arguments in commands.items():
        if name in programs:
            node.start(name, *arguments)


def _wait_for_api(node: Node, state: Path) -> None:
    context = ssl.create_default_context(cafile=str(state / "kubernetes-ca.pem"))
    deadline = time.monotonic() + _API_SECONDS
    while True:
        try:
            with urlopen("https://127.0.0.1:6443/readyz", context=context, timeout=10):
                return
        except (URLError, OSError) as error:
            ended = node.ended()
            if ended is not None:
                raise SystemExit(f"{ended} has ended; its log says why") from error
            if time.monotonic() > deadline:
                raise SystemExit(f"the API server did not become ready: {error}") from None
        time.sleep(_PAUSE_SECONDS)


def _do(*command: str) -> None:
    subprocess.run(command, check=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
