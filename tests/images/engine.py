"""Builds the image with Docker, where an engine runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers.installing import Unavailable

_ANSWER_SECONDS = 60


def docker_with_an_engine() -> str | None:
    """Return the path of Docker's client, or None where there is none, or where its engine does not answer."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    try:
        found = subprocess.run([docker, "info"], capture_output=True, check=False, timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return docker if found.returncode == 0 else None


def build_command(docker: str, name: str, labels: Mapping[str, str], source: Path) -> list[str]:
    """Return the command that builds the Dockerfile of a folder as NAME:TAG, with these labels."""
    given = [part for label in sorted(labels.items()) for part in ("--label", "=".join(label))]
    return [docker, "build", "--tag", name, *given, str(source)]


def build_with_docker(docker: str, name: str, labels: Mapping[str, str], source: Path) -> int:
    """Build the image, with Docker's progress on the terminal, and return its size in bytes. Raises Unavailable."""
    if subprocess.run(build_command(docker, name, labels, source), check=False).returncode != 0:
        raise Unavailable(f"docker could not build {name}; its output is above")
    shown = [docker, "image", "inspect", "--format", "{{.Size}}", name]
    return int(subprocess.run(shown, capture_output=True, text=True, check=True).stdout)
