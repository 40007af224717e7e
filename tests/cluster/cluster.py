"""The running cluster, as the commands and tests see it: kubectl, images, conditions of resources."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import node
from tests.cluster.places import CACHE, STATE
from tests.cluster.programs import Programs, programs_of_the_node
from tests.servers.installing import CommandFailed, Unavailable

Resource = Mapping[str, Any]
WAIT_SECONDS: Final = 900
"""How long a resource may take to become ready: half a minute on two idle cores."""
_LINES: Final = 15


class Cluster:
    """The cluster of one folder. Its node must run, except for `start` and `stop`."""

    def __init__(self, state: Path = STATE, cache: Path = CACHE) -> None:
        self.state = state
        self.cache = cache
        self._programs: Programs | None = None

    @property
    def programs(self) -> Programs:
        """The programs, which are downloaded or built when they are first needed. Raises Unavailable."""
        if self._programs is None:
            self._programs = programs_of_the_node(self.cache, self.state)
        return self._programs

    def is_running(self) -> bool:
        """Return whether the node runs."""
        return node.is_running(self.state)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl, with text for its input, and return its output. Raises Unavailable when it fails."""
        # Without a node its address is one beyond this machine.
        if not self.is_running():
            raise Unavailable("the cluster does not run: `task cluster:up`")
        config = f"--kubeconfig={self.state / 'admin.kubeconfig'}"
        return _output([str(self.programs.paths["kubectl"]), config, *arguments], given)

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get … -o json` prints."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, resources: Iterable[Resource] | str, *options: str) -> list[str]:
        """Apply resources on the server's side, and return the lines of kubectl. Raises Unavailable."""
        text = resources if isinstance(resources, str) else yaml.safe_dump_all(resources, sort_keys=False)
        command = ("apply", "--server-side", "--force-conflicts", "--field-manager=lastro", *options)
        return self.kubectl(*command, "--filename=-", given=text).splitlines()

    def wait(self, condition: str, *what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until resources have a condition (`Ready`, `Available`). Raises Unavailable."""
        self.kubectl("wait", f"--for=condition={condition}", f"--timeout={seconds:.0f}s", *what)

    def enter(self, *command: str) -> str:
        """Run a command inside the node, and return its output. Raises Unavailable when it fails."""
        return _output([*node.entering(self.state), *command], None)

    def import_image(self, archive: Path) -> None:
        """Copy the image of an archive to the node."""
        ctr = str(self.programs.paths["ctr"])
        self.enter(ctr, "--namespace", "k8s.io", "images", "import", "--local", str(archive))


def is_ready(resource: Resource) -> bool:
    """Return whether a resource of Knative has the condition Ready."""
    conditions = resource.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _output(command: Sequence[str], given: str | None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-_LINES:])
        raise CommandFailed(f"`{' '.join(command[:6])} …` ended with {done.returncode}\n{last}")
    return done.stdout
