"""Programs of the cluster, built from Go modules into the cache: Kubernetes, Knative, CoreDNS, a collector.

They take about 45 minutes of one core, the build cache of Go 9 GB. So the programs are kept (1.4 GB), by version, and
the build cache may be removed. Programs that share packages are built one after the other.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.servers.installing import Unavailable, installed, program, run

_BLOCK: Final = re.compile(r"^(require|replace) \((.*?)^\)", re.MULTILINE | re.DOTALL)
_LINE: Final = re.compile(r"^(require|replace) ([^(\n]+)$", re.MULTILINE)
_GO: Final = re.compile(r"^go (\S+)", re.MULTILINE)
_BUILD_SECONDS: Final = 4 * 3600
_KUBERNETES: Final = "v1.36.3"
_COMMANDS: Final = ("kube-apiserver", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl")
_EVENTING: Final = {
    "controller": "controller",
    "webhook": "webhook",
    "mtchannel_broker": "mtchannel_broker",
    "broker/ingress": "broker-ingress",
    "broker/filter": "broker-filter",
    "in_memory/channel_controller": "in_memory-channel_controller",
    "in_memory/channel_dispatcher": "in_memory-channel_dispatcher",
    "mtping": "mtping",
    "jobsink": "jobsink",
}


@dataclass(frozen=True, slots=True)
class GoModule:
    """A module, its version, and the programs that are built of it."""

    name: str
    module: str
    version: str
    programs: Mapping[str, str]
    """The package of each program, by the program's name."""
    link: Sequence[str] = ()
    """Further arguments for the linker."""
    main: Path | None = None
    """A main.go of our own, which is the package `.`."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """Versions of modules that the module's own go.mod replaces by folders of its repository, by a prefix."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Versions of further modules that `main` imports."""
    beside: GoModule | None = None
    """A module with whose dependencies it is built where those are later, so that both share compiled packages."""

    @property
    def folder(self) -> str:
        """The name of the folder in the cache."""
        return f"{self.name}-{self.version}"


def _kubernetes_version() -> list[str]:
    major, minor, _ = _KUBERNETES.removeprefix("v").split(".")
    values = {
        "gitVersion": _KUBERNETES,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
        "buildDate": "2026-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]


def _knative(module: str, prefix: str, commands: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{name}": f"{module}/cmd/{command}" for command, name in commands.items()}


KUBERNETES: Final = GoModule(
    "kubernetes",
    "k8s.io/kubernetes",
    _KUBERNETES,
    {name: f"k8s.io/kubernetes/cmd/{name}" for name in _COMMANDS},
    link=_kubernetes_version(),
    # k8s.io/api and the others are folders of the repository, and modules with a version of their own.
    replaced={"./staging/src/": f"v0{_KUBERNETES[2:]}"},
)
SERVING: Final = GoModule(
    "knative-serving",
    "knative.dev/serving",
    "v0.50.0",
    _knative(
        "knative.dev/serving",
        "kn-serving-",
        {name: name for name in ("controller", "webhook", "autoscaler", "activator", "queue")},
    ),
)
KOURIER: Final = GoModule(
    "knative-kourier",
    "knative.dev/net-kourier",
    "v0.48.0",
    {"kn-kourier": "knative.dev/net-kourier/cmd/kourier"},
    beside=SERVING,
)
EVENTING: Final = GoModule(
    "knative-eventing",
    "knative.dev/eventing",
    "v0.50.0",
    _knative("knative.dev/eventing", "kn-eventing-", _EVENTING),
)
COREDNS: Final = GoModule(
    "coredns",
    "github.com/coredns/coredns",
    "v1.14.5",
    {"coredns": "."},
    main=Path(__file__).parent / "coredns" / "main.go",
    beside=SERVING,
)
_COLLECTOR: Final = "go.opentelemetry.io/collector"
COLLECTOR: Final = GoModule(
    "collector",
    "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusremotewriteexporter",
    "v0.165.1",
    {"collector": "."},
    main=Path(__file__).parent / "collector" / "main.go",
    also={
        f"{_COLLECTOR}/confmap/provider/fileprovider": "v1.71.0",
        f"{_COLLECTOR}/otelcol": "v0.165.0",
        f"{_COLLECTOR}/processor/batchprocessor": "v0.165.0",
        f"{_COLLECTOR}/processor/memorylimiterprocessor": "v0.165.0",
        f"{_COLLECTOR}/receiver/otlpreceiver": "v0.165.0",
    },
)
MODULES: Final = (KUBERNETES, SERVING, EVENTING, KOURIER, COREDNS)


def built(module: GoModule, *, cache: Path) -> Path:
    """Return the folder with the programs of a module, which are built if necessary. Raises Unavailable."""

    def build(folder: Path) -> None:
        go = program("go", wanted_for=module.name, package="golang")
        work = folder / "module"
        work.mkdir()
        beside = "" if module.beside is None else _go_mod(go, module.beside)
        (work / "go.mod").write_text(wrapper(module, _go_mod(go, module), beside), encoding="utf-8")
        if module.main is not None:
            shutil.copy(module.main, work)
        flags = f"-ldflags=-s -w {' '.join(module.link)}"
        for name, package in module.programs.items():
            command = [go, "build", "-mod=mod", "-trimpath", "-buildvcs=false", flags, "-o", str(folder / name)]
            log = folder.with_name(f"{module.folder}.log")
            print(f"  {name}", flush=True)
            run([*command, package], log, cwd=work, environment=_environment(cache), seconds=_BUILD_SECONDS)
        shutil.rmtree(work)

    return installed(module.folder, build, cache=cache)


def missing(*, cache: Path) -> list[str]:
    """Return the names of the modules whose programs are not in the cache."""
    return [module.name for module in MODULES if not (cache / module.folder).is_dir()]


def source_of(module: str, version: str) -> Path:
    """Return the folder of a module's source in Go's cache of modules; it is downloaded if necessary."""
    return Path(_downloaded(program("go", wanted_for=module, package="golang"), f"{module}@{version}")["Dir"])


def version_required(module: GoModule, dependency: str) -> str:
    """Return the version of a dependency that a module's own go.mod requires. Raises Unavailable."""
    go = program("go", wanted_for=module.name, package="golang")
    for line in _entries("require", _go_mod(go, module)):
        name, version, *_ = line.split()
        if name == dependency:
            return version
    raise Unavailable(f"{module.module} {module.version} does not require {dependency}")


def wrapper(module: GoModule, upstream: str, beside: str = "") -> str:
    """Return a go.mod with which a module is built as a dependency, with the versions that its own go.mod names, or the
    later ones of the go.mod `beside`.

    `go install` refuses a module whose go.mod has `replace`. Replacements by folders of the module's repository become
    the versions of `replaced`, or are left out: they are for the module's own tests.
    """
    version = _only(_GO.search(upstream), f"{module.module} has no go version")
    lines = [f"module lastro.dev/cluster/{module.name}", "", f"go {version}", ""]
    if module.replaced:
        lines += [f"godebug default=go{'.'.join(version.split('.')[:2])}", ""]
    lines += [f"require {name} {each}" for name, each in {module.module: module.version, **module.also}.items()]
    lines += [f"require {entry}" for text in (upstream, beside) for entry in _entries("require", text)]
    lines += [f"replace {entry}" for entry in _replacements(module, upstream)]
    return "\n".join(lines) + "\n"


def _replacements(module: GoModule, upstream: str) -> Iterator[str]:
    for entry in _entries("replace", upstream):
        name, _, place = (part.strip() for part in entry.partition("=>"))
        if not place.startswith("."):
            yield entry
        for prefix, version in module.replaced.items():
            if place.startswith(prefix):
                yield f"{name} => {name} {version}"


def _entries(kind: str, text: str) -> Iterator[str]:
    blocks = [found[2] for found in _BLOCK.finditer(text) if found[1] == kind]
    blocks += [found[2] for found in _LINE.finditer(text) if found[1] == kind]
    for block in blocks:
        for line in block.splitlines():
            entry = line.partition("//")[0].strip()
            if entry:
                yield entry


def _only(found: re.Match[str] | None, otherwise: str) -> str:
    if found is None:
        raise Unavailable(otherwise)
    return found[1]


def _go_mod(go: str, module: GoModule) -> str:
    return Path(_downloaded(go, f"{module.module}@{module.version}")["GoMod"]).read_text(encoding="utf-8")


def _downloaded(go: str, module: str) -> Mapping[str, Any]:
    found = subprocess.run([go, "mod", "download", "-json", module], capture_output=True, text=True, check=False)
    answer: dict[str, Any] = json.loads(found.stdout) if found.stdout.strip() else {}
    if found.returncode != 0 or answer.get("Error"):
        raise Unavailable(f"Go cannot download {module}: {answer.get('Error') or found.stderr.strip()}")
    return answer


def _environment(cache: Path) -> dict[str, str]:
    temporary = cache / "go-temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    return {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOTMPDIR": os.fspath(temporary)}
