"""A client that is generated from the served OpenAPI document makes a payment."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Generator, Iterator
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.contract.calling import Client, Deployment, new_pair, unused_key
from tests.contract.generating import PACKAGE, NotInstalled, generate, installed_generator, load
from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(3000)]


class Signing(httpx.Auth):
    """Signs the bytes of each request when it is sent."""

    requires_request_body = True

    def __init__(self, client: Client) -> None:
        self._client = client

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        target = request.url.raw_path.decode("latin-1")
        key = request.headers.get("idempotency-key", "")
        request.headers.update(self._client.signature(request.method, target, request.content, key))
        yield request


@pytest.fixture(scope="module")
def generator() -> Path:
    try:
        return installed_generator()
    except NotInstalled as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"openapi-python-client cannot be installed: {error}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def document(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = (await deployment.wire.send("GET", "/v1/openapi.json")).document
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def operations(
    generator: Path, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ModuleType]:
    """The generated modules, one for each operation. The platform answers requests while they are generated."""
    folder = tmp_path_factory.mktemp("generated")
    printed = await asyncio.to_thread(generate, document, folder)
    assert "WARNING" not in printed.upper()
    return load(folder)


@pytest.fixture(scope="module", autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def _model(name: str) -> Any:
    return getattr(sys.modules[f"{PACKAGE}.models"], name)


async def test_every_operation_is_generated(operations: dict[str, ModuleType], document: dict[str, Any]) -> None:
    """The generator makes a module for every operation of the document, without a warning."""
    described = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert operations.keys() == described


async def test_the_generated_client_pays(
    operations: dict[str, ModuleType], deployment: Deployment, demo: Client
) -> None:
    """With a token and a signing hook, the generated client creates a payment and reads it as settled."""
    pair = await new_pair(demo)
    make_client = sys.modules[f"{PACKAGE}.client"].AuthenticatedClient
    url = f"http://{deployment.wire.host}:{deployment.wire.port}"
    async with make_client(base_url=url, token=demo.token, httpx_args={"auth": Signing(demo)}) as client:
        command = _model("CreatePayment")(
            amount=_model("Amount")(value=1050, currency="BRL"),
            method=_model("CreatePaymentMethod").INTERNAL,
            payer_account_id=pair.payer,
            payee_account_id=pair.payee,
        )
        created = await operations["create_payment"].asyncio_detailed(
            client=client, body=command, idempotency_key=unused_key(), prefer="wait=10"
        )
        assert created.status_code == HTTPStatus.CREATED, created.content
        payment = created.parsed
        deadline = time.monotonic() + PATIENCE_SECONDS
        while payment.status != "settled" and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            payment = await operations["get_payment"].asyncio(payment.id, client=client)
        assert (payment.status, payment.amount_captured.value, payment.failure) == ("settled", 1050, None)
        assert payment.created_at.tzinfo is not None
        missing = await operations["get_payment"].asyncio("pay_none", client=client)
        assert isinstance(missing, _model("Problem"))
        assert (missing.code, missing.status) == ("not_found", 404)
