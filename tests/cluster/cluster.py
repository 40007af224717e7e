"""The running test cluster, as the commands and tests see it: kubectl, and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deployment.cluster import Kubernetes
from deployment.commands import output_of
from tests.cluster import node
from tests.cluster.places import CACHE, STATE
from tests.cluster.programs import Programs, programs_of_the_node
from tests.servers.installing import Unavailable


class Cluster(Kubernetes):
    """The cluster of one folder. Its node must run, except for `start` and `stop`."""

    def __init__(self, state: Path = STATE, cache: Path = CACHE) -> None:
        super().__init__(())
        self.state = state
        self.cache = cache
        self._programs: Programs | None = None

    @property
    def programs(self) -> Programs:
        """The programs, which are downloaded or built when they are first needed. Raises Unavailable."""
        if self._programs is None:
            self._programs = programs_of_the_node(self.cache, self.state)
        return self._programs

    @property
    def program(self) -> Sequence[str]:
        """The kubectl that is built here, with the node's configuration. Raises Unavailable when the node does not
        run."""
        # Without a node its address is one beyond this machine.
        if not self.is_running():
            raise Unavailable("the cluster does not run: `task cluster:up`")
        return (str(self.programs.paths["kubectl"]), f"--kubeconfig={self.state / 'admin.kubeconfig'}")

    def is_running(self) -> bool:
        """Return whether the node runs."""
        return node.is_running(self.state)

    def enter(self, *command: str) -> str:
        """Run a command inside the node, and return its output. Raises CommandFailed."""
        return output_of([*node.entering(self.state), *command])

    def import_image(self, archive: Path) -> None:
        """Copy the image of an archive to the node."""
        ctr = str(self.programs.paths["ctr"])
        self.enter(ctr, "--namespace", "k8s.io", "images", "import", "--local", str(archive))

    def image_by_digest(self, image: str) -> str:
        """Return the name by digest of an image on the node, under which pods can run it too, as in production."""
        ctr = (str(self.programs.paths["ctr"]), "--namespace", "k8s.io", "images")
        _, line = self.enter(*ctr, "ls", f"name=={image}").splitlines()
        _, _, digest, *_ = line.split()
        named = f"{image.rpartition(':')[0]}@{digest}"
        self.enter(*ctr, "tag", "--force", image, named)
        return named
