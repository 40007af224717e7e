"""Writes a container image as an OCI archive: the same content gives the same bytes.

The layout is that of the OCI image specification 1.1 in one tar file, as `docker load`, `ctr images import`, `kind load
image-archive` and `skopeo` read it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_CHUNK: Final = 1 << 20
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class Layer(NamedTuple):
    """A layer: an uncompressed tar file, so that an import of it is a copy."""

    path: Path
    digest: str
    size: int
    made_by: str


@dataclass(frozen=True, slots=True)
class Config:
    """How a container of the image starts (the `config` of the specification)."""

    command: Sequence[str]
    entry: Sequence[str] = ()
    """The program that gets the command as its arguments; without it the command begins with the program."""
    user: str = "65532:65532"
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"
    ports: Sequence[int] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    created: int = 0
    """The time of the content in seconds of the epoch, such as that of the commit."""


class Written(NamedTuple):
    """An archive: its image's digest, and its size in bytes."""

    digest: str
    size: int


def layer_of_folder(
    folder: Path, out: Path, *, made_by: str, prefix: str = "", without: Iterable[str] = (), time: int = 0
) -> Layer:
    """Write a layer with the content of a folder, in `prefix` of the image.

    Entries are in the order of their names and belong to root; their time is `time`. Devices and sockets are left out.
    `without` are paths in the folder that are left out with what they hold.
    """
    skipped = {f"{prefix}{path}" for path in without}

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if entry.isdev() or entry.name in skipped:
            return None
        return _of_root(entry, time)

    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for parent in _parents(prefix):
            archive.addfile(_of_root(_folder_entry(parent), time))
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=f"{prefix}{path.name}", filter=kept)
    return _finished(out, made_by)


def layer_of_files(
    files: Mapping[str, Path | bytes], out: Path, *, made_by: str, folders: Mapping[str, int] | None = None
) -> Layer:
    """Write a layer with single files, by their paths in the image, and empty `folders` with their modes."""
    folders = {path.strip("/"): mode for path, mode in (folders or {}).items()}
    content = {path.strip("/"): value for path, value in files.items()}
    parents = {parent for path in (*content, *folders) for parent in _parents(f"{path}/")[:-1]}
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted({*parents, *folders}):
            archive.addfile(_of_root(_folder_entry(path, folders.get(path, 0o755)), 0))
        for path, value in sorted(content.items()):
            _add(archive, path, value)
    return _finished(out, made_by)


def write_archive(out: Path, name: str, layers: Sequence[Layer], config: Config) -> Written:
    """Write an image with these layers, and remove the files of the layers. `name` is NAME:TAG."""
    machine = os.uname().machine
    platform = {"architecture": _ARCHITECTURES.get(machine, machine), "os": "linux"}
    described = _blob(_described(layers, config, platform))
    manifest = _blob(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": _digest(described), "size": len(described)},
            "layers": [{"mediaType": _LAYER, "digest": each.digest, "size": each.size} for each in layers],
            "annotations": dict(config.labels),
        }
    )
    entry = {
        "mediaType": _MANIFEST,
        "digest": _digest(manifest),
        "size": len(manifest),
        "platform": platform,
        "annotations": {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rpartition(":")[2],
        },
    }
    index = _blob({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]})
    # `docker load` of an engine without the containerd store reads this file, and not the index.
    paths = [f"blobs/sha256/{_hex(each.digest)}" for each in layers]
    old = _blob([{"Config": f"blobs/sha256/{_hex(_digest(described))}", "RepoTags": [name], "Layers": paths}])
    aside = out.with_name(f"{out.name}.new")
    with tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", index)
        _add(archive, "manifest.json", old)
        for blob in (described, manifest):
            _add(archive, f"blobs/sha256/{_hex(_digest(blob))}", blob)
        for path, each in dict(zip(paths, layers, strict=True)).items():
            _add(archive, path, each.path)
    for each in layers:
        each.path.unlink(missing_ok=True)
    aside.replace(out)
    return Written(_digest(manifest), out.stat().st_size)


def _described(layers: Sequence[Layer], config: Config, platform: Mapping[str, str]) -> dict[str, Any]:
    from datetime import UTC, datetime

    created = datetime.fromtimestamp(config.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        **platform,
        "created": created,
        "config": {
            "User": config.user,
            "Env": [f"{name}={value}" for name, value in config.environment.items()],
            "WorkingDir": config.folder,
            "Cmd": list(config.command),
            **({"Entrypoint": list(config.entry)} if config.entry else {}),
            "ExposedPorts": {f"{port}/tcp": {} for port in config.ports},
            "Labels": dict(config.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [each.digest for each in layers]},
        "history": [{"created": created, "created_by": each.made_by} for each in layers],
    }


def _finished(path: Path, made_by: str) -> Layer:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return Layer(path, f"sha256:{found.hexdigest()}", path.stat().st_size, made_by)


def _of_root(entry: tarfile.TarInfo, time: int) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = time
    entry.pax_headers = {}
    return entry


def _folder_entry(path: str, mode: int = 0o755) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry


def _parents(path: str) -> list[str]:
    """Return the folders of a path that ends with a slash, from the outermost: `a/b/` has `a` and `a/b`."""
    parts = path.strip("/").split("/") if path.strip("/") else []
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(_of_root(entry, 0), io.BytesIO(content))
        return
    found = content.stat()
    entry.size, entry.mode = found.st_size, 0o755 if found.st_mode & 0o100 else 0o644
    with content.open("rb") as file:
        archive.addfile(_of_root(entry, 0), file)


def _blob(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _hex(digest: str) -> str:
    return digest.partition(":")[2]
