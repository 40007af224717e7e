"""The steps of `cluster:up`: each can be repeated, and says how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from deployment import functions, waiting
from deployment.commands import CommandFailed
from deployment.progress import step
from tests.cluster import deploying, knative, node, stores
from tests.cluster.cluster import Cluster
from tests.cluster.configuration import write_all
from tests.cluster.images import archives
from tests.cluster.places import NODE

_ATTEMPTS: Final = 60
_PAUSE_SECONDS: Final = 1.0


def start(cluster: Cluster) -> None:
    """Start the node, Knative and the functions. What is there already stays. Raises Unavailable."""
    start_knative(cluster)
    urls: dict[str, str] = {}
    step("stores", lambda: urls.update(stores.start(cluster.state)))
    step("tables, topics, keys and roles", lambda: deploying.prepare_stores(cluster, urls))
    step("image of the functions", lambda: deploying.import_image(cluster))
    step("manifests", lambda: deploying.deploy(cluster, urls))
    step("functions", lambda: functions.wait(cluster, deploying.KINDS))
    step("tenant", lambda: deploying.create_tenant(cluster, urls))


def start_knative(cluster: Cluster) -> None:
    """Start the node with Knative on it. What is there already stays. Raises Unavailable."""
    cluster.state.mkdir(parents=True, exist_ok=True)
    cluster.state.chmod(0o700)
    programs = cluster.programs
    if not cluster.is_running():
        write_all(cluster.state, programs.tools)
        step("API server", lambda: node.start(cluster.state, programs.paths))
    step("node", lambda: _wait_for_the_node(cluster))
    step("images of Knative", lambda: _import_images(cluster))
    step("Knative", lambda: install_knative(cluster))


def stop(cluster: Cluster) -> None:
    """End the cluster, and remove what it wrote. No effect when it does not run."""
    stores.stop(cluster.state)
    node.stop(cluster.state)
    node.remove(cluster.state)


def install_knative(cluster: Cluster) -> None:
    """Apply Knative's manifests and wait until its components are available."""
    first, then, last = knative.manifests()
    cluster.apply(first)
    cluster.wait("Established", "crd", "--all")
    cluster.apply(then)
    cluster.apply(last)
    for namespace in knative.NAMESPACES:
        waiting.wait(cluster, namespace, *waiting.AVAILABLE)


def _wait_for_the_node(cluster: Cluster) -> None:
    _repeated(lambda: cluster.kubectl("get", "node", NODE))
    cluster.wait("Ready", "node", "--all")


def _import_images(cluster: Cluster) -> None:
    done = cluster.state / "imported"
    done.mkdir(exist_ok=True)
    for archive in archives(cluster.cache, cluster.programs.pause):
        if not (done / archive.name).exists():
            cluster.import_image(archive)
            (done / archive.name).touch()


def _repeated(action: Callable[[], object]) -> None:
    """Repeat an action until it succeeds. Raises the last failure."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            action()
        except CommandFailed:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
