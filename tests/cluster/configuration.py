"""The files that the programs of the node read: certificates, and one configuration each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.authority import authority
from tests.cluster.places import API_SERVICE, NODE, NODE_ADDRESS, PODS

PAUSE_IMAGE: Final = "dev.local/pause:3.10"
ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_API_HOSTS: Final = (
    NODE_ADDRESS,
    API_SERVICE,
    "127.0.0.1",
    *("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
)
# Neighbours of the programs of the node on a machine that runs other work, too.
_UNWANTED_PLUGINS: Final = (
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.tracing.processor.v1.otlp",
)


class Tools(NamedTuple):
    """The folders of programs that containerd starts."""

    cni: Path
    runc: Path


def write_all(state: Path, tools: Tools) -> None:
    """Write every file in the folder of the cluster's state. Certificates and tokens of an earlier start stay."""
    for name in ("log", "cni", "etcd", "containerd", "kubelet", "pod-logs", "static-pods", "sysctl"):
        (state / name).mkdir(parents=True, exist_ok=True)
    if not (state / "admin.kubeconfig").exists():
        _write_credentials(state)
    (state / "cni" / "10-pods.conflist").write_text(json.dumps(_cni()), encoding="ascii")
    (state / "containerd.toml").write_text(_containerd(state, tools), encoding="ascii")
    (state / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(state)), encoding="ascii")
    (state / "kube-proxy.yaml").write_text(yaml.safe_dump(_kube_proxy(state)), encoding="ascii")
    (state / "Corefile").write_text(_corefile(state), encoding="ascii")


def _write_credentials(state: Path) -> None:
    made = authority(state, "kubernetes", hosts=_API_HOSTS)
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    _write_secret(state / "service-accounts.pem", text.decode())
    token = secrets.token_hex(16)
    _write_secret(state / "tokens.csv", f"{token},admin,admin,system:masters\n")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "lastro",
                "cluster": {"server": f"https://{NODE_ADDRESS}:6443", "certificate-authority": str(made.ca)},
            }
        ],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "lastro", "context": {"cluster": "lastro", "user": "admin"}}],
        "current-context": "lastro",
    }
    _write_secret(state / "admin.kubeconfig", yaml.safe_dump(config))


def _write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")


def _cni() -> Mapping[str, Any]:
    ranges = [[{"subnet": PODS}]]
    # The pods have no way out of the node but to the machine's end of the link: no address is translated.
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/var/lib/cni/ipam",
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, {"type": "loopback"}]}


def _containerd(state: Path, tools: Tools) -> str:
    images, runtime = "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"
    return f"""\
version = 3
root = "{state / "containerd"}"
state = "/run/containerd"
disabled_plugins = {json.dumps(_UNWANTED_PLUGINS)}
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."{images}"]
  snapshotter = "overlayfs"
  [plugins."{images}".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[plugins."{runtime}"]
  # The root of a machine in a sandbox may not lower the OOM score of a process.
  restrict_oom_score_adj = true
  [plugins."{runtime}".cni]
    bin_dirs = ["{tools.cni}"]
    conf_dir = "{state / "cni"}"
  [plugins."{runtime}".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."{runtime}".containerd.runtimes.runc.options]
      BinaryName = "{tools.runc}"
      SystemdCgroup = false
"""


def _kubelet(state: Path) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(state / "pod-logs"),
        "volumePluginDir": str(state / "volume-plugins"),
        "staticPodPath": str(state / "static-pods"),
        "maxPods": 250,
        "serializeImagePulls": False,
        # Images come from archives once, and must stay however full the disk of the machine is.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi"},
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    }


def _kube_proxy(state: Path) -> Mapping[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": "0.0.0.0",
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        "oomScoreAdj": 0,
        "clientConnection": {"kubeconfig": str(state / "admin.kubeconfig")},
        # Limits of the whole machine, which it keeps.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"syncPeriod": "30s", "minSyncPeriod": "100ms"},
    }


def _corefile(state: Path) -> str:
    # A block of its own for all other names: `template` would answer before `kubernetes` in the same block.
    return f"""\
cluster.local:53 in-addr.arpa:53 {{
  bind {NODE_ADDRESS}
  errors
  health 127.0.0.1:8088
  ready 127.0.0.1:8188
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {state / "admin.kubeconfig"} lastro
    ttl 5
  }}
}}
.:53 {{
  bind {NODE_ADDRESS}
  errors
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""
