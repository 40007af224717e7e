"""Missing, damaged or unreadable files of a data directory are reported in one line with the remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.started import run, started

DATABASE = ("lastro.db", "lastro.db-wal", "lastro.db-shm")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after a first start."""
    place = tmp_path_factory.mktemp("first") / "data"
    with started(place) as platform:
        assert platform.stop() == 0
    return place


@pytest.fixture
def data(first: Path, tmp_path: Path) -> Path:
    """A copy of the data directory, which a test damages."""
    return Path(shutil.copytree(first, tmp_path / "data"))


def without(*names: str) -> Callable[[Path], None]:
    def remove(data: Path) -> None:
        for name in names:
            (data / name).unlink(missing_ok=True)

    return remove


def holding(name: str, content: str | bytes) -> Callable[[Path], None]:
    def write(data: Path) -> None:
        (data / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def open_to_all(name: str) -> Callable[[Path], None]:
    return lambda data: (data / name).chmod(0o644)


def a_directory(name: str) -> Callable[[Path], None]:
    """Replace a file by a directory, because root can read a file without permissions."""

    def replace(data: Path) -> None:
        (data / name).unlink()
        (data / name).mkdir(mode=0o700)

    return replace


def changed(name: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def write(data: Path) -> None:
        content = json.loads((data / name).read_text())
        change(content)
        (data / name).write_text(json.dumps(content))

    return write


CASES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "database deleted": (without(*DATABASE), "credentials.json", "remove"),
    "key files deleted": (without("keys.json", "secrets.json"), "keys.json", "backup"),
    "keys deleted": (without("keys.json"), "keys.json is missing", "backup"),
    "keys empty": (holding("keys.json", ""), "keys.json is empty", "backup"),
    "keys no JSON": (holding("keys.json", "{"), "keys.json is damaged", "backup"),
    "keys no object": (holding("keys.json", "[]"), "keys.json is damaged", "backup"),
    "keys not UTF-8": (holding("keys.json", b"\xff\xfe{"), "keys.json is damaged", "backup"),
    "keys without a key": (changed("keys.json", lambda keys: keys.pop("current")), "keys.json is damaged", "backup"),
    "a key cut short": (
        changed("keys.json", lambda keys: keys.update(index_key="c2hvcnQ=")),
        "keys.json is damaged (index_key is not a key of 32 bytes in base64)",
        "backup",
    ),
    "keys of a later version": (
        changed("keys.json", lambda keys: keys.update(version=9)),
        "keys.json has version 9",
        "start the Lastro that wrote it",
    ),
    "keys open to all": (open_to_all("keys.json"), "keys.json has mode 0644", "chmod 600"),
    "keys not readable": (a_directory("keys.json"), "keys.json cannot be read", "let only this user read it"),
    "secrets empty": (holding("secrets.json", ""), "secrets.json is empty", "backup"),
    "secrets no JSON": (holding("secrets.json", "{"), "secrets.json is damaged", "backup"),
    "secrets open to all": (open_to_all("secrets.json"), "secrets.json has mode 0644", "chmod 600"),
    "secrets of other keys": (
        changed("secrets.json", lambda content: content.update(secrets={"identity-signing-keys": "lst:00:AAAA"})),
        "secrets.json holds the secret identity-signing-keys, which keys.json beside it does not open",
        "backup",
    ),
    "credentials empty": (holding("credentials.json", ""), "credentials.json is damaged", "remove it"),
    "credentials no JSON": (holding("credentials.json", "{"), "credentials.json is damaged", "remove it"),
    "credentials a list": (holding("credentials.json", "[]"), "credentials.json is damaged", "remove it"),
    "credentials of text": (
        changed("credentials.json", lambda content: content.update(demo="x")),
        "credentials.json is damaged (demo",
        "remove it",
    ),
    "credentials without a secret": (
        changed("credentials.json", lambda content: content["platform"].pop("client_secret")),  # type: ignore[attr-defined]
        "credentials.json is damaged (platform.client_secret",
        "remove it",
    ),
    "credentials not UTF-8": (holding("credentials.json", b"\xff\xfe"), "credentials.json cannot be read", "UTF-8"),
    "credentials not readable": (a_directory("credentials.json"), "credentials.json cannot be read", "directory"),
    "database damaged": (holding("lastro.db", b"no database" * 1000), "lastro.db is damaged", "backup"),
    "database not writable": (a_directory("lastro.db"), "lastro.db is a directory and not a database", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_cannot_be_used_is_named_in_one_line(data: Path, case: str) -> None:
    """`up` ends with 1 and one line with the file's path and the remedy, and without a secret."""
    damage, shown, remedy = CASES[case]
    secrets = json.loads((data / "credentials.json").read_text())["demo"]
    damage(data)
    ended = run("up", "--port", "0", "--data-dir", str(data), LASTRO_LOG_LEVEL="error")
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert line.startswith("lastro: ")
    assert f"{data}/{shown.split()[0]}" in line
    assert shown in line
    assert remedy in line
    assert secrets["client_secret"] not in line
    assert secrets["signing_secret"] not in line


@pytest.mark.parametrize("case", ["database deleted", "credentials no JSON"])
def test_the_remedy_in_the_line_works(data: Path, case: str) -> None:
    """After credentials.json was removed, as the line says, the platform starts with a demo tenant."""
    CASES[case][0](data)
    (data / "credentials.json").unlink()
    with started(data) as platform:
        listed = run("request", "GET", "/v1/accounts", "--data-dir", str(data))
        assert (listed.returncode, json.loads(listed.stdout)["data"]) == (0, [])
        assert platform.stop() == 0
