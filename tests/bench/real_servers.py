"""The settings of a platform on real servers, which are started for it and stopped at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.servers.catalogue import server_of, variable_for_tests
from tests.servers.openbao_server import ROOT_TOKEN
from tests.servers.supervision import down, up, using
from tests.waiting import PATIENCE_SECONDS

ROOT: Final = Path(__file__).resolve().parents[2]
STORES: Final = ("mongodb", "cassandra", "redis", "kafka")
"""The servers of the payment path."""
SECRETS: Final = "openbao"


@contextmanager
def servers(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Return the URL of each server, by its name. A server is started, and stopped at the end of the context, unless
    its variable for tests names a running one (such as LASTRO_TEST_MONGODB).

    Raises tests.servers.installing.Unavailable when one cannot be installed or started.
    """
    given = {name: os.environ.get(variable_for_tests(name), "") for name in names}
    urls = {name: url for name, url in given.items() if url}
    missing = [name for name in names if name not in urls]
    folder = Path(tempfile.mkdtemp(prefix="lastro-servers-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in missing:
            stack.enter_context(using(name, folder))
            stack.callback(down, name, folder)
        with ThreadPoolExecutor() as pool:
            urls.update(
                pool.map(lambda name: (name, up(server_of(name), folder, while_used=True)), missing),
            )
        yield urls


def settings_on(urls: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the settings of a platform on these servers, and prepare them: it has a database, a keyspace, keys and
    topics of this name for itself.

    Raises RuntimeError with the output of the command that failed.
    """
    settings = {
        "LASTRO_DOCUMENTS": urls["mongodb"].replace("/lastro?", f"/{name}?"),
        "LASTRO_LEDGER": urls["cassandra"].replace("/lastro?", f"/{name}?"),
        "LASTRO_CACHE": f"{urls['redis']}?namespace={name}",
        "LASTRO_BUS": f"{urls['kafka']}?prefix={name}.&group={name}",
        "LASTRO_BUS_SECONDS": str(PATIENCE_SECONDS),
        "LASTRO_CACHE_SECONDS": str(PATIENCE_SECONDS),
    }
    if SECRETS in urls:
        settings["LASTRO_SECRETS"] = f"{urls[SECRETS]}?auth=token&kv=kv-{name}&transit=transit-{name}&prefix={name}"
        settings["VAULT_TOKEN"] = ROOT_TOKEN
    for command in (("migrate",), ("topics", "apply", "--max-replicas", "1")):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cli", *command],
            cwd=ROOT,
            check=False,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"lastro {' '.join(command)} failed: {done.stderr or done.stdout}")
    return settings
