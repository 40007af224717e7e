"""Generates a Python client from an OpenAPI document, with openapi-python-client.

The generator is installed from requirements-client.lock into the user's cache folder, once for each lock and Python
version, because it requires an older typer than the command line of this repository.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = ROOT / "requirements-client.lock"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastro"
_FILES: Final = ("image/png", "image/svg+xml")
"""The media types of responses that the generator has to be told to take as files."""
PACKAGE: Final = "generated_lastro_client"
INSTALL_SECONDS: Final = 400
GENERATE_SECONDS: Final = 200


class NotInstalled(Exception):
    """The generator cannot be installed here."""


def installed_generator() -> Path:
    """Return the folder of the generator, which is installed first if necessary. Raises NotInstalled."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = CACHE / f"client-generator-{version}-{sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    # Installed into another folder and then renamed, so that an interrupted run leaves no partial installation.
    made = Path(tempfile.mkdtemp(prefix="client-generator-", dir=CACHE))
    try:
        uv = Path(sys.executable).with_name("uv")
        command = [str(uv), "pip", "install", "--quiet", "--target", str(made), "--python", sys.executable]
        found = subprocess.run(
            [*command, "--require-hashes", "-r", str(LOCK)],
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_SECONDS,
        )
        if found.returncode != 0:
            raise NotInstalled(found.stderr)
        if not folder.is_dir():
            made.rename(folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def generate(document: dict[str, Any], folder: Path) -> str:
    """Generate the package PACKAGE into a folder, and return what the generator prints. Fails on any warning."""
    (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    # The generator would format its output with the system's ruff.
    overrides = dict.fromkeys(_FILES, "application/octet-stream")
    config = {"post_hooks": [], "content_type_overrides": overrides}
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none"]
    files = ["--path", "openapi.json", "--config", "config.yaml", "--output-path", PACKAGE]
    found = subprocess.run(
        [*command, *files],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed_generator())},
        capture_output=True,
        text=True,
        check=False,
        timeout=GENERATE_SECONDS,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


def load(folder: Path) -> dict[str, ModuleType]:
    """Import every module of the generated package, and return the modules of operations by name."""
    sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module(PACKAGE)
        found = {}
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{PACKAGE}."):
            loaded = importlib.import_module(module.name)
            if module.name.startswith(f"{PACKAGE}.api.") and not module.ispkg:
                found[module.name.rpartition(".")[2]] = loaded
        return found
    finally:
        sys.path.remove(str(folder))
