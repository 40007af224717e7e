"""Waits for what starts on a cluster, and ends at once, with the reason, when it cannot start any more."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from deployment.cluster import WAIT_SECONDS, Kubernetes, Resource
from deployment.commands import CommandFailed, DeploymentFailed

AVAILABLE: Final = ("wait", "--for=condition=Available", "deployment", "--all")
"""What `wait` runs until every Deployment of a namespace has its replicas."""
_SLICE_SECONDS: Final = 5
"""How long kubectl waits before the pods are looked at again."""
_PAUSE_SECONDS: Final = 1.0
_LOG_LINES: Final = 15
_RESTARTS: Final = 5
"""A container that has ended so often is not waited for any more: about three minutes after its first start."""
_PATIENCE: Final = {
    **dict.fromkeys(("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"), 60.0),
    **dict.fromkeys(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"), 60.0),
    # Two revisions of everything are there for a while, and the older one gives its memory back.
    "Unschedulable": 300.0,
}
"""For how many seconds a pod may have a reason not to start."""


class Stuck(NamedTuple):
    """A pod that does not start: the reason of Kubernetes, and what it says about it."""

    pod: str
    container: str
    reason: str
    message: str
    restarts: int


class Watch:
    """The pods of a namespace, or those of a label in it, while something waits for them."""

    def __init__(self, cluster: Kubernetes, namespace: str, label: str | None = None) -> None:
        self._cluster = cluster
        self._here = f"--namespace={namespace}"
        self._which = (self._here, *(() if label is None else (f"--selector={label}",)))
        self._since: dict[tuple[str, str, str], float] = {}
        self._restarts: dict[tuple[str, str], int] = {}

    def check(self) -> None:
        """Raise DeploymentFailed when a pod has failed for good: it has a reason not to start for longer than that may
        take, or one of its containers has ended again and again, also since this watch began.

        An API server that does not answer at the moment says nothing about them.
        """
        try:
            pods = self._cluster.get("pods", *self._which)["items"]
        except CommandFailed:
            return
        stuck = [each for pod in pods for each in stuck_of(pod)]
        keys = {(each.pod, each.container, each.reason) for each in stuck}
        self._since = {key: self._since.get(key, time.monotonic()) for key in keys}
        others_start = any(_is_starting(pod) for pod in pods)
        for each in stuck:
            first = self._restarts.setdefault((each.pod, each.container), each.restarts)
            if each.reason == "CrashLoopBackOff":
                # It may end because it needs another pod, which starts still.
                final = each.restarts >= max(_RESTARTS, first + 1) and not others_start
            else:
                begin = self._since[each.pod, each.container, each.reason]
                final = time.monotonic() - begin >= _PATIENCE[each.reason]
            if final:
                raise DeploymentFailed(self._told(each))

    def _told(self, stuck: Stuck) -> str:
        text = f"pod {stuck.pod}: {stuck.reason}{f' of {stuck.container}' if stuck.container else ''}"
        if stuck.message:
            text += f"\n{stuck.message}"
        if stuck.reason == "CrashLoopBackOff":
            text += f"\nits last lines:\n{self._last_lines(stuck)}"
        return text

    def _last_lines(self, stuck: Stuck) -> str:
        log = ("logs", stuck.pod, self._here, f"--container={stuck.container}", "--previous", f"--tail={_LOG_LINES}")
        with contextlib.suppress(CommandFailed):
            return self._cluster.kubectl(*log).rstrip()
        return "(no log)"


def wait(
    cluster: Kubernetes, namespace: str, *command: str, label: str | None = None, seconds: float = WAIT_SECONDS
) -> None:
    """Run `kubectl wait …` or `kubectl rollout status …` until it succeeds.

    Raises DeploymentFailed after so many seconds, and before that when a pod of the namespace, or of the label in it,
    has failed for good; the text has the reason, and the last lines of its log.
    """
    watch, deadline = Watch(cluster, namespace, label), time.monotonic() + seconds
    while True:
        try:
            cluster.kubectl(*command, f"--namespace={namespace}", f"--timeout={_SLICE_SECONDS}s")
        except CommandFailed as error:
            watch.check()
            if time.monotonic() > deadline:
                raise DeploymentFailed(f"not within {seconds:.0f} s\n{error}") from None
            # What is not there yet is reported at once.
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def wait_for_job(cluster: Kubernetes, namespace: str, name: str, *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until a job is complete. Raises DeploymentFailed as soon as it has failed, with the last lines of its
    log."""
    here, deadline = f"--namespace={namespace}", time.monotonic() + seconds
    watch = Watch(cluster, namespace, f"job-name={name}")
    conditions: dict[str, Mapping[str, Any]] = {}
    while True:
        # The API server of a busy machine may not answer for a while.
        with contextlib.suppress(CommandFailed):
            found = _conditions(cluster.get(f"job/{name}", here))
            conditions = {each["type"]: each for each in found if _is_true(each)}
        if "Complete" in conditions:
            return
        if "Failed" in conditions:
            failed = conditions["Failed"]
            why = f"{failed.get('reason', '')}: {failed.get('message', '')}".strip(": ")
            raise DeploymentFailed(f"the job {name} has failed: {why}\n{_log_of(cluster, here, name)}")
        watch.check()
        if time.monotonic() > deadline:
            raise DeploymentFailed(
                f"the job {name} does not end within {seconds:.0f} s\n{_log_of(cluster, here, name)}"
            )
        time.sleep(_PAUSE_SECONDS)


def stuck_of(pod: Resource) -> Iterator[Stuck]:
    """Yield the reasons why a pod does not start, one for each container; none for a pod that is being deleted."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if "deletionTimestamp" in pod["metadata"]:
        return
    for each in _conditions(pod):
        if each["type"] == "PodScheduled" and each.get("reason") == "Unschedulable":
            yield Stuck(name, "", "Unschedulable", each.get("message", ""), 0)
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind, []):
            waiting = container.get("state", {}).get("waiting", {})
            reason = waiting.get("reason", "")
            if reason in _PATIENCE or reason == "CrashLoopBackOff":
                yield Stuck(name, container["name"], reason, waiting.get("message", ""), container["restartCount"])


def _is_starting(pod: Resource) -> bool:
    """Return whether a pod is on its way: it is pending and has no reason that keeps it there."""
    return pod.get("status", {}).get("phase") == "Pending" and not list(stuck_of(pod))


def _conditions(resource: Resource) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = resource.get("status", {}).get("conditions", [])
    return found


def _is_true(condition: Mapping[str, Any]) -> bool:
    return bool(condition.get("status") == "True")


def _log_of(cluster: Kubernetes, here: str, job: str) -> str:
    """Return the last lines of the pod of a job that was started last."""
    which = ("get", "pods", here, f"--selector=job-name={job}", "--sort-by=.metadata.creationTimestamp", "-o", "json")
    try:
        names = [each["metadata"]["name"] for each in json.loads(cluster.kubectl(*which))["items"]]
        return cluster.kubectl("logs", names[-1], here, f"--tail={_LOG_LINES}").rstrip() if names else "(it has no pod)"
    except CommandFailed as error:
        return f"(no log: {error})"
