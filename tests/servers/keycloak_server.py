"""Keycloak, from Maven, on this machine's Java, with the realm of knative/platform/keycloak."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import ClassVar, Final

import httpx

from tests.servers.installing import installed, java, program, run
from tests.servers.processes import Advertised, Processes, free_port

VERSION: Final = "26.7.3"
REALM: Final = "lastro"
REALM_FILE: Final = Path(__file__).parents[2] / "knative/platform/keycloak/lastro-realm.json"
AUDIENCE: Final = "lastro-api"
PLATFORM_CLIENT: Final = "lastro-platform"
PROVISIONING_CLIENT: Final = "lastro-provisioning"
SECRET: Final = "secret-of-the-tests"
"""The secret of both clients, and the password of the administrator `admin` of the realm `master`. It gives access only
to servers on 127.0.0.1."""
_ARTIFACT: Final = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
_JAVA_OPTIONS: Final = {
    "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx384m",
    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UseG1GC -Djava.net.preferIPv4Stack=true",
}


class KeycloakServer:
    """One server with its realms in memory. `task servers:up` prints the URL of the realm."""

    name: ClassVar[str] = "keycloak"

    def __init__(self, advertised: Advertised = str) -> None:
        """`advertised` says at which address clients reach it, such as that of a proxy in front of it."""
        self._advertised = advertised

    def install(self) -> None:
        """Download it with Maven and build it, once for each version. The build takes a minute."""
        _installed()

    def start(self, processes: Processes) -> str:
        """Return http://127.0.0.1:PORT/realms/lastro when it is ready: its port answers 503 for a while before that."""
        port, management = free_port(), free_port()
        address = f"http://{self._advertised(f'127.0.0.1:{port}')}"
        options = ["--http-enabled=true", f"--hostname={address}", "--http-host=127.0.0.1", f"--http-port={port}"]
        command = [str(_own_home(processes.data) / "bin" / "kc.sh"), "start", "--optimized", "--import-realm", *options]
        processes.start(
            "keycloak",
            [*command, f"--http-management-port={management}"],
            environment={
                **_environment(),
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": SECRET,
                "LASTRO_PLATFORM_SECRET": SECRET,
                "LASTRO_PROVISIONING_SECRET": SECRET,
            },
        )
        health = f"http://127.0.0.1:{management}/health/ready"
        processes.wait_until(lambda: httpx.get(health).raise_for_status(), "Keycloak")
        return f"{address}/realms/{REALM}"


def _installed() -> Path:
    return installed(f"keycloak-{VERSION}", _build) / f"keycloak-{VERSION}"


def _own_home(folder: Path) -> Path:
    """Return a home of one server in this folder: the installation by links, with the realm to import beside them."""
    installation, home = _installed(), folder / "home"
    home.mkdir()
    for entry in installation.iterdir():
        if entry.name not in ("bin", "data"):
            (home / entry.name).symlink_to(entry)
    # The script finds the home by its own place.
    (home / "bin").mkdir()
    shutil.copy2(installation / "bin" / "kc.sh", home / "bin" / "kc.sh")
    imported = home / "data" / "import"
    imported.mkdir(parents=True)
    shutil.copy(REALM_FILE, imported / REALM_FILE.name)
    return home


def _environment() -> dict[str, str]:
    home = Path(java(wanted_for="Keycloak")).resolve().parents[1]
    return {"JAVA_HOME": str(home), **_JAVA_OPTIONS}


def _build(folder: Path) -> None:
    maven = program("mvn", wanted_for="Keycloak", package="maven")
    log = folder.with_name(f"{folder.name}.log")
    copy = [maven, "-B", "-q", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
    run(copy, log, cwd=folder)
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    archive.unlink()
    start = folder / f"keycloak-{VERSION}" / "bin" / "kc.sh"
    start.chmod(0o755)
    build = [str(start), "build", "--db=dev-mem", "--health-enabled=true", "--cache=local"]
    run(build, log, environment=_environment())
