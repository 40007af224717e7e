"""The image of the functions, as the Dockerfile has it, made without a container engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from shared.core.version import VERSION
from tests.images.base import PYTHON, base_root, compile_at
from tests.images.bill import bill_of_materials
from tests.images.oci import Config, Layer, layer_of_folder, write_archive
from tests.servers.installing import Unavailable, installed, run

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastro" / "images"
NAME: Final = "dev.local/lastro"
COMMAND: Final = (
    *("python", "-m", "uvicorn", "--factory", "shared.functions.application:application"),
    *("--host", "0.0.0.0", "--port", "8080", "--no-access-log", "--timeout-graceful-shutdown", "20"),
)
"""The Dockerfile's CMD."""
ENVIRONMENT: Final = {
    "PATH": "/venv/bin:/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
FOLDERS: Final = ("events", "functions", "shared")
"""The folders of the repository that functions consist of."""
_SITE_PACKAGES: Final = f"lib/python{PYTHON}/site-packages"


class Image(NamedTuple):
    """An image of the project: its archive, its bill of materials, its digest, and the sizes of its layers in bytes."""

    archive: Path
    bill: Path
    digest: str
    layers: dict[str, int]


def build(out: Path, *, tag: str = "dev", source: Path = ROOT, cache: Path = CACHE) -> Image:
    """Write OUT, the archive, and beside it the bill of materials. Raises Unavailable.

    The base and the packages are in the cache, by Debian's suite and by the digest of requirements.lock.
    """
    base = base_root(cache)
    packages = _packages(base, source / "requirements.lock", cache)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent) as place:
        folder = Path(place)
        layers = [
            layer_of_folder(base, folder / "base.tar", made_by=f"Debian with Python {PYTHON}"),
            layer_of_folder(packages, folder / "packages.tar", made_by="requirements.lock", prefix="venv/"),
            _functions(base, source, folder),
        ]
        sizes = {each.made_by: each.size for each in layers}
        labels = labels_of(source)
        config = Config(
            COMMAND, environment=ENVIRONMENT, folder="/app", ports=[8080], labels=labels, created=_commit_time(source)
        )
        written = write_archive(out, f"{NAME}:{tag}", layers, config)
    bill = out.with_name(f"{out.name.removesuffix('.tar')}.cdx.json")
    document = bill_of_materials(NAME, written.digest, base, packages / _SITE_PACKAGES)
    bill.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return Image(out, bill, written.digest, sizes)


def _packages(base: Path, lock: Path, cache: Path) -> Path:
    """Return a virtual environment with the packages of a lock file, whose place in the image is /venv."""
    digest = sha256(lock.read_bytes()).hexdigest()[:16]

    def install(folder: Path) -> None:
        target = folder / _SITE_PACKAGES
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "pip", "install", "--quiet", "--target", str(target), "--link-mode", "copy"]
        command += ["--python-version", PYTHON, "--python-platform", f"{os.uname().machine}-manylinux_2_40"]
        command += ["--only-binary", ":all:", "--require-hashes", "-r", str(lock)]
        run(command, folder.with_name(f"{folder.name}.log"))
        shutil.rmtree(target / "bin", ignore_errors=True)  # scripts for the path of this folder
        (target / ".lock").unlink(missing_ok=True)
        (folder / "bin").mkdir()
        for name in ("python", "python3", f"python{PYTHON}"):
            (folder / "bin" / name).symlink_to("/usr/bin/python3")
        (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n", encoding="ascii")
        compile_at(base, folder, "/venv")

    return installed(f"image-packages-{PYTHON}-{digest}", install, cache=cache)


def _functions(base: Path, source: Path, folder: Path) -> Layer:
    app = folder / "app"
    for name in FOLDERS:
        shutil.copytree(source / name, app / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    compile_at(base, app, "/app")
    layer = layer_of_folder(app, folder / "functions.tar", made_by="events, functions and shared", prefix="app/")
    shutil.rmtree(app)
    return layer


def labels_of(source: Path) -> dict[str, str]:
    """Return the labels of an image of a checkout, by the names of the OCI image specification."""
    labels = {
        "org.opencontainers.image.title": "lastro",
        "org.opencontainers.image.description": "The functions of Lastro; FUNCTION_TARGET selects one",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    revision = _git(source, "rev-parse", "HEAD")
    return {**labels, **({"org.opencontainers.image.revision": revision} if revision else {})}


def _commit_time(source: Path) -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None:
        if not given.isascii() or not given.isdigit():
            raise Unavailable(f"SOURCE_DATE_EPOCH is a time in seconds, and not {given!r}")
        return int(given)
    return int(_git(source, "log", "-1", "--format=%ct") or 0)


def _git(source: Path, *arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
    found = subprocess.run(["git", *arguments], cwd=source, capture_output=True, text=True, check=False)
    return found.stdout.strip()
