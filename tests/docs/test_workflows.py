"""The workflows: pinned actions, few rights, and steps that write what the controller of releases reads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.core.strict_yaml import read_value, read_values
from tests.schemas.test_overlays import CACHE
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
IMAGE = f"registry.example/lastro@sha256:{'ab' * 32}"
named = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_value(path.read_text())
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in document(path)["jobs"].values():
        yield from job.get("steps", [])


def script(workflow: str, step: str) -> str:
    (found,) = (one["run"] for one in steps(ROOT / ".github" / "workflows" / workflow) if one.get("name") == step)
    return str(found)


def run(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a step as the runner does."""
    path = f"{CACHE}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def knative(folder: Path) -> Path:
    """Copy the manifests."""
    for name in ("knative", "kafka-sources"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def built(folder: Path) -> list[dict[str, Any]]:
    kustomize = shutil.which("kustomize", path=f"{CACHE}:{os.environ['PATH']}")
    assert kustomize is not None
    ran = subprocess.run([kustomize, "build", str(folder)], capture_output=True, text=True, check=True)
    return read_values(ran.stdout)


needs_kustomize = pytest.mark.skipif(
    shutil.which("kustomize", path=f"{CACHE}:{os.environ['PATH']}") is None,
    reason=f"kustomize is neither on the PATH nor in {CACHE}",
)


@named
def test_an_action_is_pinned_by_its_digest(path: Path) -> None:
    """Every action is named by the digest of its commit, with its version beside it; a workflow of ours by its path."""
    text = path.read_text()
    for line in re.findall(r"uses: (?!\./\.github/workflows/).*", text):
        assert re.fullmatch(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


@named
def test_a_workflow_has_few_rights(path: Path) -> None:
    """A workflow may read; only a job that opens a pull request or signs may more, and none keeps the token of a
    checkout that it does not push from."""
    found = document(path)
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        # A workflow that is called has its own limits.
        assert "uses" in job or job["timeout-minutes"] <= 80, name
        rights = set(job.get("permissions", {}).items())
        assert rights <= {
            *(("contents", "read"), ("contents", "write"), ("pull-requests", "write"), ("id-token", "write")),
        }, name


@named
def test_actionlint_finds_nothing(path: Path) -> None:
    """No error is found in the workflow by actionlint."""
    actionlint = shutil.which("actionlint", path=f"{CACHE}:{os.environ['PATH']}")
    if actionlint is None:
        pytest.skip(f"actionlint is neither on the PATH nor in {CACHE}")
    ran = subprocess.run([actionlint, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_a_release_is_tested_before_its_image_is_made() -> None:
    """No image is made of a tag whose commit does not pass the workflow of the tests."""
    jobs = document(ROOT / ".github/workflows/release.yml")["jobs"]
    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert jobs["image"]["needs"] == "test"
    # YAML 1.1 reads the key `on` as true.
    assert "workflow_call" in read_value((ROOT / ".github/workflows/test.yml").read_text())[True]


@pytest.mark.parametrize(
    ("mirrored", "works"), [("", True), (f"mirror.example/python@sha256:{'0' * 64}", True), ("python:3.13-slim", False)]
)
def test_a_release_has_a_base_image_with_a_digest(tmp_path: Path, mirrored: str, works: bool) -> None:
    """The base image is the Dockerfile's or the mirror's, and one without a digest is refused."""
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    written = tmp_path / "environment"
    ran = run(script("release.yml", "Check the base image"), tmp_path, MIRRORED=mirrored, GITHUB_ENV=str(written))
    assert (ran.returncode == 0, "has no digest" in ran.stderr) == (works, not works)
    if works:
        given = written.read_text()
        assert re.fullmatch(r"PYTHON=[\w./:-]+@sha256:[0-9a-f]{64}\n", given)
        assert mirrored in given


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_release_brings_the_manifests_of_its_tag(tmp_path: Path) -> None:
    """The branch of the pull request has the manifests of the tag, and of production the image that runs there."""
    git = ("git", "-c", "user.name=any", "-c", "user.email=any@example.test")

    def commit(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        subprocess.run([*git, "add", "-A"], cwd=tmp_path, check=True)
        subprocess.run([*git, "commit", "-qm", name], cwd=tmp_path, check=True)

    subprocess.run([*git, "init", "-q", "-b", "main", str(tmp_path)], check=True)
    commit("overlay", "image: none\n")
    commit("function", "old\n")
    subprocess.run([*git, "switch", "-qc", "production"], cwd=tmp_path, check=True)
    commit("overlay", "image: one\n")
    subprocess.run([*git, "switch", "-q", "main"], cwd=tmp_path, check=True)
    commit("function", "new\n")
    tag = subprocess.run([*git, "rev-parse", "main"], cwd=tmp_path, check=True, capture_output=True, text=True)
    subprocess.run([*git, "switch", "-q", "production"], cwd=tmp_path, check=True)
    step = script("release.yml", "Take the manifests of the tag")
    ran = run(step, tmp_path, GITHUB_REF_NAME="v2", GITHUB_SHA=tag.stdout.strip())
    assert ran.returncode == 0, ran.stderr
    assert [(tmp_path / name).read_text() for name in ("overlay", "function")] == ["image: one\n", "new\n"]
    branch = subprocess.run(
        [*git, "branch", "--show-current"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert branch.stdout == "release/v2\n"


@needs_kustomize
@pytest.mark.parametrize("confirmed", ["", "c" * 64], ids=["first", "later"])
def test_a_release_writes_image_commit_and_trace(tmp_path: Path, confirmed: str) -> None:
    """The step of the release writes digest, commit and trace into the overlay, from which each Service has them. The
    first release is also the controller's image; a later one leaves it the image that was confirmed."""
    folder = knative(tmp_path)
    release = folder / "knative" / "overlays" / "production" / "release"
    if confirmed:
        file = release / "kustomization.yaml"
        file.write_text(file.read_text().replace("0" * 64, confirmed))
    ran = run(
        script("release.yml", "Write digest, commit and trace into the overlay"),
        folder,
        IMAGE=IMAGE.partition("@")[0],
        DIGEST=IMAGE.partition("@")[2],
        OPERATOR=f"sha256:{'cd' * 32}",
        GITHUB_SHA="c0ffee",
        TRACEPARENT=f"00-{'1' * 32}-{'2' * 16}-01",
    )
    assert ran.returncode == 0, ran.stderr
    (job,) = built(folder / "knative" / "overlays" / "production" / "migrate")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f"-operator@sha256:{'cd' * 32}")
    (controller,) = (one for one in built(release) if one["kind"] == "Deployment")
    digest = confirmed or "ab" * 32
    assert controller["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f"@sha256:{digest}")
    services = [
        one
        for one in built(folder / "knative" / "overlays" / "production")
        if one["apiVersion"] == "serving.knative.dev/v1"
    ]
    assert services
    for one in services:
        assert one["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
        annotations = one["metadata"]["annotations"]
        assert annotations["lastro.dev/commit"] == "c0ffee"
        assert annotations["lastro.dev/traceparent"].startswith("00-1111")


@needs_kustomize
def test_a_confirmation_names_the_image(tmp_path: Path) -> None:
    """The step of the confirmation writes the image where the controller of releases reads it, and gives the controller
    the same image; an image without a digest is refused."""
    folder = knative(tmp_path)
    assert run(script("confirm.yml", "Confirm"), folder, IMAGE=IMAGE).returncode == 0
    resources = built(folder / "knative" / "overlays" / "production" / "release")
    (confirmed,) = (one["data"] for one in resources if one["metadata"]["name"] == "lastro-release-confirmed")
    assert confirmed == {"image": IMAGE}
    (controller,) = (one for one in resources if one["kind"] == "Deployment")
    assert controller["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    refused = run(script("confirm.yml", "Check the image"), folder, IMAGE="registry.example/lastro:v1")
    assert (refused.returncode, "has no digest" in refused.stderr) == (1, True)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_revert_brings_back_the_overlay_of_before(tmp_path: Path) -> None:
    """The step of the revert writes the overlay that was there before the release that was taken back."""
    overlay = tmp_path / "knative" / "overlays" / "production" / "kustomization.yaml"
    overlay.parent.mkdir(parents=True)
    identity = ("-c", "user.name=any", "-c", "user.email=any@example.test")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for text in ("old", "new"):
        overlay.write_text(text)
        subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
        subprocess.run(["git", *identity, "commit", "-qm", text], cwd=tmp_path, check=True)
    ran = run(script("confirm.yml", "Revert"), tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert overlay.read_text() == "old"
