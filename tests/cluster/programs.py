"""All programs of the node, from the cache; they are downloaded or built if necessary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tests.cluster.configuration import Tools
from tests.cluster.debian_packages import unpacked
from tests.cluster.go_programs import COREDNS, KUBERNETES, built
from tests.servers.installing import installed, program, run

_NFT: Final = ("nftables", "libnftables1", "libnftnl11", "libmnl0", "libjansson4")
_PAUSE: Final = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


class Programs(NamedTuple):
    """The programs of the node by name, the folders of those that containerd starts, and the folder of pause."""

    paths: Mapping[str, Path]
    tools: Tools
    pause: Path


def programs_of_the_node(cache: Path, state: Path) -> Programs:
    """Return them. Raises Unavailable when one cannot be had."""
    etcd = unpacked("trixie", ["etcd-server"], cache=cache)
    runtime = unpacked("forky", ["containerd", "containernetworking-plugins"], cache=cache)
    runc = unpacked("bookworm", ["runc", *_NFT], cache=cache)
    kubernetes = built(KUBERNETES, cache=cache)
    paths = {
        "etcd": etcd / "usr/bin/etcd",
        "containerd": runtime / "usr/bin/containerd",
        "ctr": runtime / "usr/bin/ctr",
        **{name: kubernetes / name for name in KUBERNETES.programs},
        "coredns": built(COREDNS, cache=cache) / "coredns",
    }
    _provide_nft(state / "bin", runc)
    return Programs(paths, Tools(runtime / "usr/lib/cni", runc / "usr/sbin/runc"), _pause(cache))


def _provide_nft(folder: Path, unpacked_in: Path) -> None:
    """Write `nft`, which kube-proxy runs, so that it finds its libraries where they are unpacked."""
    folder.mkdir(parents=True, exist_ok=True)
    libraries = unpacked_in / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    wrapper = folder / "nft"
    wrapper.write_text(
        f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{unpacked_in / "usr/sbin/nft"}" "$@"\n', encoding="ascii"
    )
    wrapper.chmod(0o755)


def _pause(cache: Path) -> Path:
    """Return the program that a pod's sandbox consists of: it waits, and holds the pod's namespaces."""

    def build(folder: Path) -> None:
        compiler = program("gcc", wanted_for="the cluster", package="gcc")
        source = folder / "pause.c"
        source.write_text(_PAUSE, encoding="ascii")
        run([compiler, "-Os", "-static", "-o", str(folder / "pause"), str(source)], folder.with_name("pause.log"))

    return installed("pause", build, cache=cache) / "pause"
