"""The stores of the settings, opened by a command itself and not through a running platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli.errors import CliError

if TYPE_CHECKING:
    from shared.core.settings import Settings
    from shared.ports.documents import Documents
    from shared.ports.ledger import LedgerStore

_TENANTS: Final = 100


def store_settings(data_dir: Path) -> Settings:
    """Return the settings, with the embedded store in this data directory. Raises CliError when there is none."""
    from shared.bootstrap.starting import read_settings
    from shared.core.settings import InvalidSettings

    try:
        settings = read_settings()
    except InvalidSettings as error:
        raise CliError(str(error)) from None
    if not settings.documents and not data_dir.exists():
        raise CliError(f"there is no data directory {data_dir}: name the platform's own with --data-dir")
    return settings._replace(data_dir=str(data_dir), data_lock_seconds=0.0)


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[tuple[Documents, LedgerStore]]:
    """Open the documents and the ledger of the settings. Raises CliError when one cannot be opened."""
    from shared.bootstrap.process import Process
    from shared.ports.documents import Unavailable

    async with AsyncExitStack() as closing:
        try:
            process = await closing.enter_async_context(Process(settings))
            ports = await process.open_ports("thread")
        except Unavailable as error:
            raise CliError(str(error)) from None
        yield ports.documents, ports.ledger


async def tenant_ids(documents: Documents) -> AsyncIterator[str]:
    """Return the id of every tenant."""
    from shared.ports.documents import Query
    from shared.records.tenants import TENANTS

    after: str | None = None
    while page := await documents.find(TENANTS, None, Query(after=after, limit=_TENANTS)):
        for tenant in page:
            yield tenant["id"]
        after = page[-1]["id"]
