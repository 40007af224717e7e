"""Images are written as OCI archives that are the same for the same content."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

from tests.images.oci import Config, layer_of_files, layer_of_folder, write_archive

CONFIG = Config(["python"], environment={"PATH": "/bin"}, folder="/app", ports=[8080], labels={"title": "t"})


def _tree(folder: Path, names: list[str]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="ascii")
    return folder


def _image(folder: Path, names: list[str]) -> bytes:
    folder.mkdir()
    tree = _tree(folder / "tree", names)
    layers = [
        layer_of_folder(tree, folder / "1.tar", made_by="a tree", prefix="app/"),
        layer_of_files({"etc/x": b"x"}, folder / "2.tar", made_by="files", folders={"tmp": 0o1777}),
    ]
    write_archive(folder / "image.tar", "dev.local/it:1", layers, CONFIG)
    return (folder / "image.tar").read_bytes()


def _content(archive: Path, name: str) -> Any:
    with tarfile.open(archive) as image:
        file = image.extractfile(name)
        assert file is not None
        return json.load(file)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two images with the same files have the same bytes, whenever and in whichever order the files were made."""
    first = _image(tmp_path / "1", ["b/two", "a", "b/one"])
    other = tmp_path / "2"
    second = _image(other, ["a", "b/one", "b/two"])
    os.utime(other / "tree" / "a", (1, 1))
    assert first == second
    assert _image(tmp_path / "3", ["a", "b/one"]) != first


def test_every_entry_belongs_to_root_and_has_no_time(tmp_path: Path) -> None:
    """A layer shows neither the user nor the hour of its making, and its folders come before their content."""
    tree = _tree(tmp_path / "tree", ["a/b/c"])
    layer = layer_of_folder(tree, tmp_path / "layer.tar", made_by="it", prefix="opt/app/")
    with tarfile.open(layer.path) as content:
        entries = content.getmembers()
    assert [each.name for each in entries] == ["opt", "opt/app", "opt/app/a", "opt/app/a/b", "opt/app/a/b/c"]
    assert {(each.uid, each.gid, each.uname, each.gname, each.mtime) for each in entries} == {(0, 0, "", "", 0)}


def test_paths_are_left_out_with_what_they_hold(tmp_path: Path) -> None:
    """A path of `without` is not in the layer, nor is anything below it."""
    tree = _tree(tmp_path / "tree", ["kept", "cache/left-out"])
    layer = layer_of_folder(tree, tmp_path / "layer.tar", made_by="it", without=["cache"])
    with tarfile.open(layer.path) as content:
        assert content.getnames() == ["kept"]


def test_files_keep_whether_they_are_executable(tmp_path: Path) -> None:
    """A layer of single files has programs with mode 0755, other files with 0644, and folders with the given mode."""
    tool = tmp_path / "tool"
    tool.write_bytes(b"#!/bin/sh\n")
    tool.chmod(0o700)
    layer = layer_of_files(
        {"/ko-app/tool": tool, "/etc/passwd": b""}, tmp_path / "layer.tar", made_by="it", folders={"/tmp": 0o1777}
    )
    with tarfile.open(layer.path) as content:
        modes = {each.name: oct(each.mode) for each in content.getmembers()}
    assert modes == {
        "etc": "0o755",
        "etc/passwd": "0o644",
        "ko-app": "0o755",
        "ko-app/tool": "0o755",
        "tmp": "0o1777",
    }


def test_the_index_leads_to_the_configuration(tmp_path: Path) -> None:
    """Each blob is found by its digest: index, manifest, configuration, layers; containerd finds the image's name."""
    _image(tmp_path / "1", ["a"])
    archive = tmp_path / "1" / "image.tar"
    entry = _content(archive, "index.json")["manifests"][0]
    manifest = _content(archive, f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}")
    config = _content(archive, f"blobs/sha256/{manifest['config']['digest'].removeprefix('sha256:')}")
    assert entry["annotations"]["io.containerd.image.name"] == "dev.local/it:1"
    assert [each["digest"] for each in manifest["layers"]] == config["rootfs"]["diff_ids"]
    assert config["config"] == {
        "User": "65532:65532",
        "Env": ["PATH=/bin"],
        "WorkingDir": "/app",
        "Cmd": ["python"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"title": "t"},
    }


def test_an_engine_without_an_index_finds_the_layers(tmp_path: Path) -> None:
    """`docker load` of older engines reads manifest.json, which names the same configuration and layers."""
    _image(tmp_path / "1", ["a"])
    archive = tmp_path / "1" / "image.tar"
    (old,) = _content(archive, "manifest.json")
    with tarfile.open(archive) as image:
        names = image.getnames()
    assert old["RepoTags"] == ["dev.local/it:1"]
    assert {old["Config"], *old["Layers"]} <= set(names)
