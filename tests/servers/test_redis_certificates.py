"""A renewed certificate of Redis and its Sentinel, with the scripts of the cluster on real servers."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from tests.authority import Authority, authority
from tests.servers.processes import Processes, free_port
from tests.servers.redis_server import program_of_redis

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "knative" / "platform" / "redis" / "config"
PASSWORD = "of-redis"


class Node:
    """The folders of one node of the cluster, and its scripts with these folders and with ports that are free here."""

    def __init__(self, folder: Path) -> None:
        self.tls, self.data, config = folder / "tls", folder / "data", folder / "config"
        for each in (self.tls, self.data, config):
            each.mkdir(parents=True)
        self.ports = {"6379": str(free_port()), "26379": str(free_port())}
        redis, environment = program_of_redis()
        self.environment = {
            **os.environ,
            **environment,
            "PATH": f"{Path(redis).parent}{os.pathsep}{os.environ['PATH']}",
            "REDIS_PASSWORD": PASSWORD,
        }
        for script in SCRIPTS.iterdir():
            text = script.read_text().replace("/tls/", f"{self.tls}/").replace("/data/", f"{self.data}/")
            for port, own in sorted(self.ports.items()):  # the longer one first
                text = text.replace(port, own)
            (config / script.name).write_text(text)
        self.config = config

    def put(self, made: Authority) -> str:
        """Replace the files of the Secret as the kubelet does, and return the certificate."""
        new = self.tls / f"..{time.monotonic_ns()}"
        new.mkdir()
        key, *certificates = made.server.read_text().split("-----BEGIN CERTIFICATE-----")
        chain = "".join(f"-----BEGIN CERTIFICATE-----{each}" for each in certificates)
        (new / "tls.key").write_text(key)
        (new / "tls.crt").write_text(chain)
        shutil.copy(made.ca, new / "ca.crt")
        (self.tls / "..new").symlink_to(new.name)
        (self.tls / "..new").rename(self.tls / "..data")
        for name in ("tls.key", "tls.crt", "ca.crt"):
            if not (self.tls / name).is_symlink():
                (self.tls / name).symlink_to(f"..data/{name}")
        return f"-----BEGIN CERTIFICATE-----{certificates[0]}".strip()

    def start(self, processes: Processes, port: str) -> None:
        """Start the server of a port by the cluster's script, and wait until it is ready."""
        name, mode = ("redis", []) if port == "6379" else ("sentinel", ["--sentinel"])
        file = self.data / f"{name}.conf"
        files = [f"tls-{kind}-file {self.tls}/{value}" for kind, value in FILES.items()]
        lines = ["port 0", f"tls-port {self.ports[port]}", *files, "tls-auth-clients no", f"requirepass {PASSWORD}"]
        file.write_text("\n".join([*lines, f"dir {self.data}", "bind 127.0.0.1", ""]))
        command = ["sh", str(self.config / "start.sh"), self.ports[port], program_of_redis()[0], str(file), *mode]
        processes.start(name, command, environment=self.environment)
        processes.wait_until(lambda: self.ask(port, "ready"), name)

    def ask(self, port: str, what: str, *, pod: str = "redis-0") -> None:
        """Run the probe of a port. Raises subprocess.CalledProcessError when it fails."""
        command = ["sh", str(self.config / "ask.sh"), self.ports[port], what]
        subprocess.run(command, env={**self.environment, "POD": pod}, check=True, capture_output=True)

    def served(self, port: str) -> str:
        """Return the certificate that a new connection gets."""
        return ssl.get_server_certificate(("127.0.0.1", int(self.ports[port]))).strip()


FILES = {"cert": "tls.crt", "key": "tls.key", "ca-cert": "ca.crt"}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node whose servers have not started."""
    return Node(tmp_path / "node")


def test_redis_serves_a_renewed_certificate_without_a_restart(processes: Processes, node: Node, tmp_path: Path) -> None:
    """After the Secret has changed, the next readiness probe lets Redis serve the new certificate, and its data stay:
    it is the same process. A probe without a change leaves it alone."""
    first = node.put(authority(tmp_path, hosts=["localhost"]))
    node.start(processes, "6379")
    node.ask("6379", "alive")
    assert node.served("6379") == first
    second = node.put(authority(tmp_path, hosts=["localhost"]))
    assert second != first
    renew(node, "6379")
    assert node.served("6379") == second
    node.ask("6379", "alive")


def renew(node: Node, port: str) -> None:
    """Run the probe as it runs with one authority for both certificates: the former's certificate is still trusted."""
    trusted = sorted(node.tls.glob("..[0-9]*/ca.crt"))
    both = "".join(path.read_text() for path in trusted)
    trusted[-1].write_text(both)
    node.ask(port, "ready")


def test_sentinel_is_started_again_when_it_is_its_turn(processes: Processes, node: Node, tmp_path: Path) -> None:
    """After the Secret has changed, the Sentinel of node 0 is not alive any more, that of node 1 for five minutes and
    of node 2 for ten; until then it stays ready, and started again it serves the new certificate."""
    node.put(authority(tmp_path, hosts=["localhost"]))
    node.start(processes, "26379")
    node.ask("26379", "alive")
    second = node.put(authority(tmp_path, hosts=["localhost"]))
    renew(node, "26379")
    new = (node.tls / "tls.crt").resolve()
    for pod, minutes, alive in (
        *(("redis-0", 1, False), ("redis-1", 4, True), ("redis-1", 7, False)),
        *(("redis-2", 7, True), ("redis-2", 12, False)),
    ):
        os.utime(new, (time.time() - 60 * minutes,) * 2)
        if alive:
            node.ask("26379", "alive", pod=pod)
        else:
            with pytest.raises(subprocess.CalledProcessError):
                node.ask("26379", "alive", pod=pod)
    processes.kill("sentinel")
    processes.start_again("sentinel")
    processes.wait_until(lambda: node.ask("26379", "alive"), "sentinel")
    assert node.served("26379") == second
