"""A Kubernetes as the steps of a deployment see it: kubectl, and the conditions of resources."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from deployment.commands import CommandFailed, kustomize, output_of

Resource = Mapping[str, Any]
WAIT_SECONDS: Final = 900
"""How long a resource may take to become ready: half a minute on two idle cores."""
_APPLY_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 2.0


class Kubernetes:
    """The cluster of one kubeconfig or context."""

    def __init__(self, program: Sequence[str]) -> None:
        self._program = tuple(program)

    @property
    def program(self) -> Sequence[str]:
        """The program kubectl, with the arguments that select the cluster."""
        return self._program

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl, with text for its input, and return its output. Raises CommandFailed."""
        return output_of([*self.program, *arguments], given=given)

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get … -o json` prints."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, resources: Iterable[Resource] | str, *options: str) -> list[str]:
        """Apply resources on the server's side, and return the lines of kubectl. Raises CommandFailed."""
        text = resources if isinstance(resources, str) else yaml.safe_dump_all(resources, sort_keys=False)
        command = ("apply", "--server-side", "--force-conflicts", "--field-manager=lastro", *options)
        return self.kubectl(*command, "--filename=-", given=text).splitlines()

    def apply_folder(self, folder: Path) -> list[str]:
        """Apply what kustomize builds from a folder, and return the lines of kubectl. Raises CommandFailed.

        It is tried again after a failure: a webhook of Knative or of an operator that has just started, or on a busy
        machine, takes longer than the API server waits. What was applied stays.
        """
        built = output_of([kustomize(), "build", str(folder)])
        for _ in range(_APPLY_ATTEMPTS - 1):
            try:
                return self.apply(built)
            except CommandFailed:
                time.sleep(_PAUSE_SECONDS)
        return self.apply(built)

    def wait(self, condition: str, *what: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until resources have a condition (`Ready`, `Available`). Raises CommandFailed."""
        self.kubectl("wait", f"--for=condition={condition}", f"--timeout={seconds:.0f}s", *what)


def is_ready(resource: Resource) -> bool:
    """Return whether a resource of Knative has the condition Ready."""
    conditions = resource.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
