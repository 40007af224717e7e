"""The commands of the pages for operators: what each names is in the manifests, or in the code that reads it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.release import controller
from tests.docs.pages import ROOT, code_spans, fenced_blocks

PAGES = (ROOT / "docs" / "deploy.md", ROOT / "docs" / "backup.md")
OPERATOR = "lastro-operator"
WRITTEN = {OPERATOR, controller.ORDER}
"""A Secret and a ConfigMap that an operator writes, and no manifest."""


def documents() -> Iterator[dict[str, Any]]:
    """Yield every resource of the manifests' files, without the changes of overlays."""
    for path in sorted((ROOT / "knative").rglob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            if isinstance(one, dict) and isinstance(one.get("metadata"), dict) and "name" in one["metadata"]:
                yield one


def commands(program: str) -> list[list[str]]:
    """Return the words of every command of a program on the pages once, from fenced blocks and code spans."""
    found: list[list[str]] = []
    for page in PAGES:
        lines = [line.removeprefix("$ ") for _, text in fenced_blocks(page) for line in text.splitlines()]
        for text in (*lines, *code_spans(page)):
            for part in text.split(" | "):
                begin = part.find(f"{program} ")
                if begin == 0 or (begin > 0 and part.startswith("xargs ")):
                    words = shlex.split(part[begin:])
                    found += [] if words in found else [words]
    return found


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


RESOURCES = list(documents())
NAMED = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in RESOURCES}
NAMESPACES = {name for kind, _, name in NAMED if kind == "Namespace"} | {"argocd"}


@pytest.mark.parametrize("words", commands("kubectl"), ids=" ".join)
def test_what_kubectl_is_given_exists(words: list[str]) -> None:
    """The namespace, the workload, the pod and the files of each kubectl command are those of the manifests."""
    namespace = option(words, "-n")
    assert namespace is None or namespace in NAMESPACES
    for name in (each for at, each in enumerate(words) if words[at - 1] == "-f" and each != "-"):
        assert (ROOT / name).is_file(), name
    verbs = [word for at, word in enumerate(words[1:], 1) if not word.startswith("-") and words[at - 1] != "-n"]
    match verbs:
        case ["exec" | "port-forward", pod, *_]:
            workload, _, number = pod.rpartition("-")
            assert number.isdigit()
            assert ("StatefulSet", namespace, workload) in NAMED
        case ["scale", "deployment", name]:
            assert ("Deployment", namespace, name) in NAMED
        case ["create", "secret", "generic", name] | ["create", "configmap", name] | ["get", "configmap", name, _]:
            assert name in WRITTEN
        case ["get" | "patch" | "apply" | "replace", *_]:
            pass
        case _:
            pytest.fail(f"no rule for {verbs}")


def test_the_operators_secret_is_read_by_the_job() -> None:
    """The Secret that the page tells to create is read by the job, and the keys are those that the job needs."""
    (words,) = [each for each in commands("kubectl") if OPERATOR in each]
    keys = {word.split("=")[1] for word in words if word.startswith("--from-literal=")}
    assert keys == {"VAULT_TOKEN", "UNLEASH_ADMIN_TOKEN"}
    text = (ROOT / "knative" / "platform" / "migrate" / "job.yaml").read_text()
    assert f"secretRef: {{name: {OPERATOR}, optional: true}}" in text
    assert all(key in text for key in keys)


def test_the_orders_of_the_page_are_those_of_the_controller() -> None:
    """`roll-back` and `resume` are read by the controller of releases from the ConfigMap that the page creates."""
    page, code = PAGES[0].read_text(), Path(controller.__file__).read_text()
    assert any(controller.ORDER in words for words in commands("kubectl"))
    for order in ("roll-back", "resume"):
        assert order in page
        assert f'order == "{order.replace("-", " ")}"' in code


@pytest.mark.parametrize("words", commands("vault"), ids=" ".join)
def test_what_vault_is_given_exists(words: list[str]) -> None:
    """The policies, roles, accounts, keys and paths of each vault command are those of the manifests and the code."""
    match words[1:]:
        case ["policy", "write", name, file]:
            assert (ROOT / file).is_file()
            assert name == f"lastro-{Path(file).stem}"
        case ["write", path, *values] if path.startswith("auth/kubernetes/role/"):
            given = dict(value.split("=", 1) for value in values)
            names, places = given["bound_service_account_names"], given["bound_service_account_namespaces"]
            assert ("ServiceAccount", places, names) in NAMED
            assert any(each[2:4] == ["write", given["token_policies"]] for each in commands("vault"))
        case ["write", "-f", path]:
            key = re.fullmatch(r"transit/keys/(lastro-[a-z-]+)/rotate", path)
            assert key is not None
            policies = "".join(file.read_text() for file in (ROOT / "knative/platform/vault").glob("*.hcl"))
            assert key[1] in policies
        case ["kv", "put", path, *_]:
            assert path.startswith("secret/lastro/")
        case ["write", "auth/kubernetes/config", _] | ["auth", "enable", "kubernetes"]:
            pass
        case ["secrets", "enable", "-path=secret", "kv-v2"]:
            # The operator's Secrets are read from there.
            assert "path: secret\n      version: v2" in (ROOT / "knative/platform/vault/secrets.yaml").read_text()
        case ["audit", "enable", "file", path]:
            # The volume of the audit log.
            assert "mountPath: /vault/audit}" in (ROOT / "knative/platform/vault/vault.yaml").read_text()
            assert path.startswith("file_path=/vault/audit/")
        case ["operator", "init"] | ["operator", "raft", "snapshot", "restore", *_]:
            pass
        case _:
            pytest.fail(f"no rule for {words}")


def test_the_page_says_what_was_not_run() -> None:
    """Every part of the page with commands is in its table of what was tried."""
    page = PAGES[0].read_text()
    table = page.partition("## What was tried")[2]
    for part in ("Production", "A release", "Roll back, upgrade, scale", "Rotate", "Restore"):
        assert f"## {part}" in page
        assert f"*{part}*" in table, part
