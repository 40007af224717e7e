"""`lastro stack`, with a program that records its calls instead of Docker; and compose.yaml."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.cassandra.url import CassandraUrl
from shared.bootstrap.adapters import choose
from shared.core.settings import Settings
from shared.core.strict_yaml import read_value
from tests.cli.started import ROOT, run
from tests.servers.cassandra_server import VERSION as CASSANDRA
from tests.servers.kafka_server import VERSION as KAFKA
from tests.servers.keycloak_server import VERSION as KEYCLOAK

COMPOSE: dict[str, Any] = read_value((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKER = """#!/bin/sh
[ "$*" != "compose version" ] || exit "${NO_COMPOSE:-0}"
printf '%s\\n' "$*" >>"$CALLS"
case "$*" in
*" ps "*) printf '%s' "$ROWS" ;;
esac
exit "${FAILS:-0}"
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which the replacement for Docker writes its calls."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_up_waits_and_prints_the_settings(docker: Path) -> None:
    """`stack up` waits until all servers are healthy, and prints the settings of each."""
    result = run("stack", "up")
    assert result.returncode == 0, result.stderr
    settings = [service["labels"]["lastro.setting"] for service in SERVICES.values()]
    assert result.stdout.splitlines() == [line for setting in settings for line in setting.splitlines()]
    assert docker.read_text() == (
        f"compose --file {ROOT / 'compose.yaml'} up --detach --wait --wait-timeout 600 {' '.join(SERVICES)}\n"
    )


def test_up_starts_only_the_servers_that_are_named(docker: Path) -> None:
    """`stack up NAME` starts that server, and prints its setting as JSON on request."""
    result = run("stack", "up", "redis", "--json")
    assert json.loads(result.stdout) == {"LASTRO_CACHE": "redis://127.0.0.1:6379/0"}
    assert docker.read_text().endswith(" 600 redis\n")


def test_an_unknown_server_is_refused(docker: Path) -> None:
    """A name that is not in compose.yaml is a usage error, and the message lists the names."""
    result = run("stack", "up", "oracle")
    assert result.returncode == 2
    assert "compose.yaml has no server oracle: it has mongodb, cassandra, redis, kafka, keycloak" in result.stderr
    assert not docker.exists()


def test_down_keeps_the_data_unless_told(docker: Path) -> None:
    """`stack down` removes the containers, and the volumes only with --volumes."""
    assert run("stack", "down").returncode == 0
    assert json.loads(run("stack", "down", "--volumes", "--json").stdout) == {"data_removed": True}
    assert [line.split("compose.yaml ")[1] for line in docker.read_text().splitlines()] == ["down", "down --volumes"]


@pytest.mark.parametrize("as_list", [False, True])
def test_status_shows_each_server(docker: Path, monkeypatch: pytest.MonkeyPatch, *, as_list: bool) -> None:
    """`stack status` shows the health of each server, from the output of old and new versions of Compose."""
    rows = [
        {"Service": "redis", "State": "running", "Health": "healthy"},
        {"Service": "kafka", "State": "exited", "Health": ""},
    ]
    monkeypatch.setenv("ROWS", json.dumps(rows) if as_list else "\n".join(json.dumps(row) for row in rows))
    found = json.loads(run("stack", "status", "--json").stdout)["data"]
    states = dict.fromkeys(SERVICES, "not started") | {"redis": "healthy", "kafka": "exited"}
    assert {server["name"]: server["state"] for server in found} == states
    shown = run("stack", "status").stdout
    assert re.search(r"^redis +healthy +LASTRO_CACHE=redis://127\.0\.0\.1:6379/0$", shown, re.MULTILINE)


def test_no_compose_is_one_sentence(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Docker Compose the command says what it needs."""
    monkeypatch.setenv("NO_COMPOSE", "1")
    result = run("stack", "up")
    assert (result.returncode, "needs Docker with Compose 2" in result.stderr) == (1, True)


def test_a_failure_of_compose_shows_the_command(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Compose fails, the message has its command and its exit code."""
    monkeypatch.setenv("FAILS", "14")
    result = run("stack", "down")
    assert result.returncode == 1
    assert "Docker Compose ended with 14" in result.stderr
    assert "compose.yaml down" in result.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_checked_and_local(name: str) -> None:
    """Each server of compose.yaml has an exact version, a health check, a volume, and ports on 127.0.0.1 only."""
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+", service["image"])
    assert service["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert [volume.partition(":")[0] for volume in service["volumes"] if not volume.startswith(".")] == [name]
    setting, _, url = service["labels"]["lastro.setting"].partition("=")
    assert re.fullmatch(r"LASTRO_(DOCUMENTS|LEDGER|CACHE|BUS|IDENTITY)", setting)
    assert "127.0.0.1:" + service["ports"][0].split(":")[1] in url


def test_the_settings_are_accepted() -> None:
    """Each setting that `stack up` prints selects an adapter, and none of them selects the embedded one."""
    labels = [service["labels"]["lastro.setting"] for service in SERVICES.values()]
    printed = dict(line.split("=", 1) for label in labels for line in label.splitlines())
    settings = Settings.from_environment(printed)
    chosen = choose(settings)
    assert {name: chosen[name].url for name in ("documents", "ledger", "cache", "bus", "identity")} == {
        "documents": printed["LASTRO_DOCUMENTS"],
        "ledger": printed["LASTRO_LEDGER"],
        "cache": printed["LASTRO_CACHE"],
        "bus": printed["LASTRO_BUS"],
        "identity": printed["LASTRO_IDENTITY"],
    }
    assert CassandraUrl.parse(settings.ledger).replicas == 1  # there is one node


def test_the_versions_are_those_of_the_tests() -> None:
    """If tests start the same server, compose.yaml has the same version as the tests."""
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA}"
    assert SERVICES["cassandra"]["image"] == f"cassandra:{CASSANDRA}"
    assert SERVICES["keycloak"]["image"] == f"keycloak/keycloak:{KEYCLOAK}"


def test_keycloak_imports_the_realm_with_its_secrets() -> None:
    """The realm of knative/platform/keycloak is mounted for import, and each secret that it names is given."""
    service = SERVICES["keycloak"]
    (mounted,) = [volume.split(":") for volume in service["volumes"] if volume.startswith(".")]
    realm = (ROOT / mounted[0]).read_text(encoding="utf-8")
    assert mounted[1] == "/opt/keycloak/data/import/lastro-realm.json"
    assert set(re.findall(r"\$\{(LASTRO_\w+)\}", realm)) <= service["environment"].keys()
    printed = dict(line.split("=", 1) for line in service["labels"]["lastro.setting"].splitlines())
    assert printed["LASTRO_IDENTITY_CLIENT_SECRET"] == service["environment"]["LASTRO_PROVISIONING_SECRET"]


def test_every_volume_is_declared() -> None:
    """The volumes of compose.yaml are those of its servers."""
    assert list(COMPOSE["volumes"]) == list(SERVICES)
