"""The image without a container engine is that of the Dockerfile, and functions run from it."""

from __future__ import annotations

import json
import re
import shlex
import tarfile
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.images.bill import bill_of_materials
from tests.images.engine import build_command
from tests.images.project import COMMAND, ENVIRONMENT, FOLDERS, ROOT, build, labels_of
from tests.images.running import functions_of, running, unpack

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def _instruction(name: str) -> str:
    """Return the arguments of the Dockerfile's last instruction of this name."""
    found: list[str] = re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)
    return found[-1].strip()


def test_both_images_start_with_the_same_command() -> None:
    """The Dockerfile's command, user, folder and variables are those of the image without an engine."""
    assert json.loads(_instruction("CMD")) == list(COMMAND)
    assert _instruction("USER") == "65532:65532"
    assert _instruction("WORKDIR") == "/app"
    given = dict(part.split("=", 1) for part in shlex.split(_instruction("ENV")))
    assert {name: ENVIRONMENT[name] for name in given if name != "PATH"} == {
        name: value for name, value in given.items() if name != "PATH"
    }
    assert given["PATH"].startswith("/venv/bin:")
    assert ENVIRONMENT["PATH"].startswith("/venv/bin:")


def test_both_images_hold_the_same_folders() -> None:
    """The Dockerfile copies the folders that the image without an engine has, and no others."""
    copied = re.findall(r"^COPY (\w+) (\w+)$", DOCKERFILE, re.MULTILINE)
    assert copied == [(name, name) for name in FOLDERS]


def test_the_dockerfile_names_its_base_by_a_digest_and_has_labels() -> None:
    """Without arguments, too, the Dockerfile builds from one image that is named by its digest, with the labels that do
    not depend on the commit."""
    assert re.search(r"^ARG PYTHON=python:3\.13-slim-trixie@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON}"}
    given = dict(part.split("=", 1) for part in shlex.split(_instruction("LABEL")))
    assert given.items() <= labels_of(ROOT).items()
    assert "org.opencontainers.image.title" in given


def test_every_service_is_a_function_of_the_image() -> None:
    """The variables of each Service name a source that is in the image's folders."""
    functions = functions_of(ROOT / "knative" / "functions")
    assert len(functions) > 90
    for function in functions:
        assert (ROOT / function.environment["FUNCTION_SOURCE"]).is_file(), function.name


def test_the_bill_of_materials_names_each_package_once(tmp_path: Path) -> None:
    """Debian's installed packages and the Python packages are listed with their package URLs; removed ones are not."""
    status = tmp_path / "root/var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41-12\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n",
        encoding="ascii",
    )
    metadata = tmp_path / "packages/PyYAML-6.0.3.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: PyYAML\nVersion: 6.0.3\n", encoding="ascii")
    first, again = (bill_of_materials("it", "1", tmp_path / "root", tmp_path / "packages") for _ in range(2))
    assert first == again
    assert [each["purl"] for each in first["components"]] == [
        "pkg:deb/debian/libc6@2.41-12?arch=amd64",
        "pkg:pypi/pyyaml@6.0.3",
    ]


def test_docker_builds_the_dockerfile_with_the_same_labels(tmp_path: Path) -> None:
    """Where an engine runs, Docker gets the labels that the archive has, and the checkout as its context."""
    labels = labels_of(ROOT)
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    command = build_command("docker", "dev.local/lastro:1", labels, tmp_path)
    assert command[:4] == ["docker", "build", "--tag", "dev.local/lastro:1"]
    assert command[-1] == str(tmp_path)
    given = [command[place + 1] for place, part in enumerate(command) if part == "--label"]
    assert dict(label.split("=", 1) for label in given) == labels


@pytest.mark.cluster
def test_an_image_is_reproducible_and_its_functions_run(tmp_path: Path) -> None:
    """Two builds give the same bytes, and functions of it answer on a read-only root, without the rights of root."""
    first = build(tmp_path / "1.tar")
    second = build(tmp_path / "2.tar")
    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert first.bill.read_bytes() == second.bill.read_bytes()
    second.archive.unlink()
    image = unpack(first.archive, tmp_path / "root")
    wanted = {"payments-create-payment", "statements-get-statement", "webhooks-send"}
    for function in functions_of(ROOT / "knative" / "functions"):
        if function.name in wanted:
            with running(image, function, tmp_path / "log") as url, urlopen(f"{url}/healthz", timeout=30) as answer:
                assert json.load(answer) == {"status": "alive"}


@pytest.mark.cluster
def test_an_image_has_bytecode_and_no_caches(tmp_path: Path) -> None:
    """Each module of ours has compiled bytecode, and nothing of package managers' caches is in the image."""
    made = build(tmp_path / "1.tar")
    names: set[str] = set()
    with tarfile.open(made.archive) as archive:
        for member in archive.getmembers():
            if member.size > 1_000_000:
                with tarfile.open(fileobj=archive.extractfile(member)) as layer:
                    names.update(layer.getnames())
    sources = {name for name in names if re.fullmatch(r"app/.*\.py", name)}
    assert sources
    for name in sources:
        folder, _, module = name.rpartition("/")
        assert f"{folder}/__pycache__/{module.removesuffix('.py')}.cpython-313.pyc" in names
    assert not [name for name in names if name.startswith(("var/lib/apt/lists/", "var/cache/apt/", "root/.cache"))]
