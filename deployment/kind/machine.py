"""What kind needs of this machine: programs, a container engine with enough memory, free ports."""

from __future__ import annotations

import shutil
import socket
from typing import Final

from deployment.commands import CommandFailed, DeploymentFailed, kustomize, output_of
from deployment.kind.memory import mebibytes, read_file

PROGRAMS: Final = {
    "docker": "install a Docker engine and start it",
    "kind": "install kind 0.30",
    "kubectl": "install kubectl 1.34",
    "helm": "install helm 3",
}
GATEWAY_PORT: Final = 8080
KEYCLOAK_PORT: Final = 8081


def check_programs() -> None:
    """Check that the programs are there and the engine answers. Raises DeploymentFailed with what to do."""
    absent = [f"{name} is not on the PATH: {remedy}" for name, remedy in PROGRAMS.items() if shutil.which(name) is None]
    if absent:
        raise DeploymentFailed("\n".join(absent))
    kustomize()
    memory()


def memory() -> float:
    """Return the memory of the container engine in mebibytes. Raises DeploymentFailed when it does not run."""
    try:
        answer = output_of(["docker", "info", "--format={{.MemTotal}}"]).strip()
    except CommandFailed as error:
        raise DeploymentFailed(f"the Docker engine does not answer: start it, or join its group\n{error}") from None
    if not answer.isdigit() or int(answer) == 0:
        raise DeploymentFailed(f"the Docker engine does not answer: `docker info` gives {answer or 'nothing'}")
    return int(answer) / 2**20


def check_memory(*, with_extras: bool = False) -> None:
    """Check that the engine has the memory that the cluster needs, with what is installed on request or without it.
    Raises DeploymentFailed."""
    needed, found = mebibytes(read_file()["totalOnRequest" if with_extras else "total"]), memory()
    # An engine of 8 GiB reports a little less, which its kernel keeps.
    if found < needed * 0.95:
        raise DeploymentFailed(
            f"the Docker engine has {found / 1024:.1f} GiB of memory and the cluster needs {needed / 1024:.0f} GiB: "
            "give it more in its settings"
        )


def check_ports() -> None:
    """Check that nothing listens on the ports of the gateway and of Keycloak. Raises DeploymentFailed."""
    for port, what in ((GATEWAY_PORT, "the gateway"), (KEYCLOAK_PORT, "Keycloak")):
        if is_taken(port):
            raise DeploymentFailed(
                f"port {port}, for {what}, is taken: end what listens there (`lastro up` listens on 8080; "
                "`task kind:down` ends what a former cluster has left)"
            )


def is_taken(port: int) -> bool:
    """Return whether something listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
