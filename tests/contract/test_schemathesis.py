"""The platform tested against its OpenAPI document: valid and invalid data, and responses as described.

LASTRO_SCHEMATHESIS_EXAMPLES sets the number of random cases for each operation.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from tests.cnab import content
from tests.contract.calling import Client, new_pair, running, unused_key
from tests.waiting import PATIENCE_SECONDS

EXAMPLES: Final = int(os.environ.get("LASTRO_SCHEMATHESIS_EXAMPLES", "5"))
SEED: Final = int(os.environ.get("LASTRO_SCHEMATHESIS_SEED", "1"))
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)

# Headers that the signing hook sets; other tests vary them.
OWN_HEADERS: Final = frozenset(
    {"X-Tenant-Id", "X-Timestamp", "X-Key-Id", "X-Signature", "Idempotency-Key", "X-Request-Id", "Prefer"}
)
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.:~-]{1,255}")


class Signing(AuthBase):
    """Adds token, key and signature over the request's bytes when it is sent."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self._loop = loop

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        asyncio.run_coroutine_threadsafe(self.client.access.renew_when_old(), self._loop).result(PATIENCE_SECONDS)
        body = request.body or b""
        content = body.encode() if isinstance(body, str) else body
        assert isinstance(content, bytes)
        headers = self.client.headers(request.method or "", request.path_url, content, key=unused_key())
        headers.pop("content-type", None)
        request.headers.update(headers)
        return request


@dataclass(frozen=True, slots=True)
class Target:
    """A platform in its own thread, the client that calls it, and existing ids."""

    url: str
    tenant: Signing
    operator: Signing
    known: dict[str, str]
    document: dict[str, Any]


async def _target(data_dir: Path, ready: asyncio.Future[Target], done: asyncio.Event) -> None:
    async with running(data_dir) as deployment:
        tenant, operator = await deployment.tenant(), await deployment.operator()
        pair = await new_pair(tenant)
        manual = await pair.paid(capture="manual")
        settled = await pair.paid()
        refund = await tenant.made(f"/v1/payments/{settled['id']}/refunds", {"amount": {"value": 1, "currency": "BRL"}})
        deposit = {"account_id": pair.payer, "amount": {"value": 1, "currency": "BRL"}, "method": "pix"}
        day = {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
        entries = await tenant.read(f"/v1/ledger/accounts/{pair.payer}/entries")
        assert tenant.key is not None
        known = {
            "account_id": pair.payer,
            "owner_id": (await tenant.read(f"/v1/accounts/{pair.payer}"))["owner_id"],
            "user_id": (await tenant.read("/v1/users"))["data"][0]["id"],
            "payer_account_id": pair.payer,
            "payee_account_id": pair.payee,
            "payment_id": settled["id"],
            "capturable": manual["id"],
            "refund_id": refund["id"],
            "deposit_id": (await tenant.made("/v1/deposits", deposit))["id"],
            "txid": (await tenant.made("/v1/pix/charges", {"account_id": pair.payer, "amount": deposit["amount"]}))[
                "txid"
            ],
            "code_txid": (await tenant.made("/v1/pix/static-codes", {"account_id": pair.payer}))["txid"],
            "reconciliation_id": (await tenant.made("/v1/reconciliations", day))["id"],
            "file_id": (await tenant.made("/v1/settlement-files", {"content": content()}))["id"],
            "transfer_id": entries["data"][0]["transfer_id"],
            # Not the tenant that signs, because the test rotates and revokes keys.
            "tenant_id": (await deployment.new_tenant()).tenant_id,
            "provider": "pix",
        }
        document = (await deployment.wire.send("GET", "/v1/openapi.json")).document
        url = f"http://{deployment.wire.host}:{deployment.wire.port}"
        loop = asyncio.get_running_loop()
        ready.set_result(Target(url, Signing(tenant, loop), Signing(operator, loop), known, document))
        await done.wait()


class _Thread(threading.Thread):
    """Runs the platform on its own event loop, because schemathesis calls it synchronously."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(name="platform", daemon=True)
        self._data_dir = data_dir
        self._up = threading.Event()
        self._finish: Any = None
        self.target: Target | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self.error = error
        finally:
            self._up.set()

    async def _run(self) -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        ready: asyncio.Future[Target] = loop.create_future()
        self._finish = lambda: loop.call_soon_threadsafe(done.set)
        task = asyncio.ensure_future(_target(self._data_dir, ready, done))
        await asyncio.wait((ready, task), return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            self.target = ready.result()
            self._up.set()
        await task

    def started(self) -> Target:
        """Start the platform and return its existing ids when it answers."""
        self.start()
        self._up.wait(PATIENCE_SECONDS)
        if self.target is None:
            raise RuntimeError("the platform did not start") from self.error
        return self.target

    def stopped(self) -> None:
        """Stop the platform, and fail if it has failed."""
        if self.is_alive():
            self._finish()
            self.join(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    thread = _Thread(tmp_path_factory.mktemp("schemathesis"))
    yield thread.started()
    thread.stopped()


@pytest.fixture(scope="module")
def described(target: Target) -> Iterator[schemathesis.BaseSchema]:
    """Return the served document without the headers that the signing hook sets."""
    document = target.document
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["security"] = []
            operation["parameters"] = [
                parameter for parameter in operation["parameters"] if _name(document, parameter) not in OWN_HEADERS
            ]
    config = schemathesis.Config.from_dict(
        {
            "base-url": target.url,
            "seed": SEED,
            "continue-on-failure": True,
            "generation": {"database": "none", "no-shrink": True, "with-security-parameters": False},
            "checks": {"enabled": False, **{check: {"enabled": True} for check in CHECKS}},
            "phases": {
                "examples": {"enabled": False},
                "fuzzing": {"generation": {"max-examples": EXAMPLES}},
                "stateful": {"enabled": False},
            },
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)

    def signed(_context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
        _make_real(case, target.known)
        if "/providers/" not in case.path:
            kwargs["auth"] = target.operator if case.path.startswith("/v1/tenants") else target.tenant

    schemathesis.hook("before_call")(signed)
    yield schema
    schemathesis.hooks.unregister(signed)


def _name(document: dict[str, Any], parameter: dict[str, Any]) -> str:
    reference: str | None = parameter.get("$ref")
    if reference is not None:
        parameter = document["components"]["parameters"][reference.rpartition("/")[2]]
    name: str = parameter["name"]
    return name


def _make_real(case: schemathesis.Case[Any], known: dict[str, str]) -> None:
    """Replace half of the generated ids by existing ones, because else nearly every answer would be 404 or 422."""
    if sum(map(ord, repr(case.path_parameters) + repr(case.body))) % 2:
        return
    for place in (case.path_parameters, case.body):
        if not isinstance(place, dict):
            continue
        for name, value in place.items():
            if name in known and isinstance(value, str) and _IDENTIFIER.fullmatch(value):
                captures = name == "payment_id" and case.path.endswith(("/capture", "/cancel"))
                place[name] = known["capturable" if captures else name]


@pytest.mark.timeout(3000)
def test_every_answer_is_described(described: schemathesis.BaseSchema) -> None:
    """Every response has a status, headers and a body that the document describes, none is 5xx, and invalid data is
    refused."""
    failures: dict[str, str] = {}
    statuses: Counter[int] = Counter()
    for event in from_schema(described).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            pytest.fail(str(event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for interaction in event.recorder.interactions.values():
            if interaction.response is not None:
                statuses[interaction.response.status_code] += 1
        for case_id, checks in event.recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    failures[f"{event.label} {check.name}"] = _failure_text(event.recorder, case_id, check.failure_info)
    print(dict(sorted(statuses.items())))
    assert not failures, "\n\n".join(f"{name}: {text}" for name, text in failures.items())
    assert statuses[200] + statuses[201] > 100


def _failure_text(recorder: ScenarioRecorder, case_id: str, found: Any) -> str:
    """Return the text of a failure with the command that repeats it."""
    failure = found.failure
    return f"{failure.title} {failure.message}\n{found.code_sample}\n{recorder.interactions[case_id].response}"
