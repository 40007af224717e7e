"""Every function of the repository, started as it is deployed: by functions-framework, in its own process.

One of each kind is started by the image's command, the others in copies of a process that has imported the framework.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import orjson
import pytest

from shared.adapters.pix.br_code import dynamic_code
from shared.functions.operation import Operation
from shared.http.operation import Access, HttpOperation
from shared.messaging.operation import EventOperation
from tests.functions.alone.requests import EVENTS, REQUESTS
from tests.functions.alone.starting import ROOT, Alone, Reply, started, started_by_command
from tests.functions.alone.story import Story, create_story
from tests.harness import operations

DRIVERS = {
    *("aiokafka", "cassandra", "cryptography", "httpx", "hvac", "jwt", "motor", "pymongo", "redis", "sqlite3"),
    "yggdrasil_engine",
}
ANSWERING = {"shared.http.failures", "shared.http.pipeline", "shared.http.models", "shared.http.signing"}
MACHINERY = {"cli", "embedded", "opentelemetry", "rich", "shared.adapters.sqlite.store", "typer", "yaml"}

# The most modules that a function may have imported when it sends its first response: 633 on Python 3.11
# and 641 on 3.14 (PIX charges and returns).
# All but about fifty are those of the framework with Flask, Starlette, uvicorn and pydantic. A function that needs more
# is listed here.
BUDGET = 660
OWN_BUDGET: dict[str, int] = {
    # What publishes facts about payments over a rail.
    "payments/resolve_review": 660,
    # What reads reports of charges, payments, returns and frauds.
    "providers/poll_payments": 670,
    "providers/receive_callback": 670,
    "providers/receive_fraud_reports": 670,
    "providers/receive_pix_callback": 670,
}

BY_COMMAND = {"payments/create_payment", "payments/get_payment", "accounts/hold_funds"}
# What a copy has imported besides, for its beginning.
OF_COPIES = {"pydantic.config", "pydantic.main", "tests", "uvicorn.protocols", "uvicorn.protocols.http"}

# No call of a function waits for a retry.
SETTINGS = {"LASTRO_WEBHOOKS_STAY_SECONDS": "0"}

STRUCTURED = {"content-type": "application/cloudevents+json"}
BROKEN_EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "evt_broken",
    "ce-source": "/lastro/tests/alone",
    "ce-type": "lastro.payment.created.v1",
    "ce-tenantid": "acme",
    "content-type": "application/json",
}


@dataclass(frozen=True)
class Run:
    """The responses and imports of a function while it was running."""

    first: Reply
    imported: list[str]
    """The modules that were imported when the first response was sent."""
    real: Reply
    again: Reply
    """The response to the same again; an event is sent in structured mode the second time."""
    output: str


def _path_of(operation: HttpOperation) -> str:
    """Return a path at which the operation refuses a request before it opens a store."""
    is_open = operation.access is Access.PROVIDER and not operation.path_parameters
    return operation.path.replace("{", "").replace("}", "") + ("?unknown=1" if is_open else "")


def _http_run(operation: HttpOperation, alone: Alone, story: Story) -> Run:
    first = alone.send(operation.method, _path_of(operation), {})
    imported = alone.imported()
    request = REQUESTS[operation.id](story)
    replies = []
    for _ in range(2):
        headers = dict(request.headers)
        if operation.access is not Access.PROVIDER:
            platform = operation.access is Access.PLATFORM
            headers |= story.headers(operation.method, request.path, request.content, platform=platform)
        replies.append(alone.send(operation.method, request.path, headers, request.content))
    return Run(first, imported, replies[0], replies[1], alone.output())


def _event_run(operation: EventOperation, alone: Alone, story: Story) -> Run:
    first = alone.send("POST", "/", BROKEN_EVENT, b'{"payment_id": ')
    imported = alone.imported()
    event = EVENTS[operation.id](story)
    headers, body = event.to_binary()
    real = alone.send("POST", "/", headers, body)
    again = alone.send("POST", "/", STRUCTURED, event.to_structured())
    return Run(first, imported, real, again, alone.output())


class _Provider(BaseHTTPRequestHandler):
    """A PIX provider that accepts every charge and every return."""

    def do_PUT(self) -> None:
        wanted = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        made = {"pixCopiaECola": dynamic_code("pix.example.test/qr/1", "Lastro", "SAO PAULO")}
        if "/devolucao/" in self.path:
            made = {"id": self.path.rpartition("/")[2], "valor": wanted["valor"], "status": "EM_PROCESSAMENTO"}
        body = orjson.dumps(made)
        self.send_response(201)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT  # noqa: N815 - the name of the library
    do_PATCH = do_PUT  # noqa: N815 - the name of the library

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@contextmanager
def provider() -> Iterator[str]:
    """The URL of a provider."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Runs:
    """Runs each function once. The next function is started while a test examines the present one."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor, rail: str) -> None:
        self._folder = folder
        self._pool = pool
        self._rail = rail
        self.story = create_story(folder / "story")
        self._ahead: dict[str, Future[Run]] = {}

    def of(self, operation: Operation) -> Run:
        """Return the run of a function."""
        run = self._begin(operation)
        # With several pytest processes, another process probably tests the next function.
        if "PYTEST_XDIST_WORKER" not in os.environ:
            names = sorted(operations())
            for name in names[names.index(operation.id) + 1 :][:2]:
                self._begin(operations()[name])
        return run.result()

    def _begin(self, operation: Operation) -> Future[Run]:
        if operation.id not in self._ahead:
            self._ahead[operation.id] = self._pool.submit(self._run, operation)
        return self._ahead[operation.id]

    def _run(self, operation: Operation) -> Run:
        data_dir = self._folder / operation.id.replace("/", "-")
        shutil.copytree(self.story.data_dir, data_dir)
        start = started_by_command if operation.id in BY_COMMAND else started
        with start(f"functions/{operation.id}.py", data_dir, LASTRO_PIX_RAIL=self._rail, **SETTINGS) as alone:
            if isinstance(operation, HttpOperation):
                return _http_run(operation, alone, self.story)
            return _event_run(operation, alone, self.story)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """One run of each function that a test needs."""
    with provider() as rail, ThreadPoolExecutor(3) as pool:
        yield Runs(tmp_path_factory.mktemp("alone"), pool, rail)
        pool.shutdown(cancel_futures=True)


HTTP = [operation for operation in operations().values() if isinstance(operation, HttpOperation)]
EVENT = [operation for operation in operations().values() if isinstance(operation, EventOperation)]


def _name(operation: Operation) -> str:
    return operation.id


def _is_problem(reply: Reply, status: int) -> str:
    """Return the code of the problem in a reply."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/problem+json"
    document = orjson.loads(reply.body)
    assert document["status"] == status
    assert document["request_id"] == reply.headers["x-request-id"]
    code: str = document["code"]
    assert document["type"].endswith(f"/problems/{code}")
    return code


def _check_imports(operation: Operation, run: Run) -> None:
    packages = {name.partition(".")[0] for name in run.imported} | set(run.imported)
    assert packages & DRIVERS == set(), "a driver is imported before it is used"
    assert packages & MACHINERY == set(), "a function alone needs no platform"
    if isinstance(operation, EventOperation):
        assert packages & ANSWERING == set(), "what takes events needs nothing that answers requests"
    else:
        assert "shared.messaging.delivery" not in packages, "what answers requests needs nothing that takes events"
        reads = operation.method == "GET"
        assert not (reads and "events" in packages), "a function that only reads loads no events"
    assert len(run.imported) <= OWN_BUDGET.get(operation.id, BUDGET), "the import budget is exceeded"


def test_every_function_is_started() -> None:
    """requests.py has a request or an event for each function of the repository, and for no other."""
    files = ROOT.glob("functions/*/[!_]*.py")

    assert sorted([*REQUESTS, *EVENTS]) == sorted(f"{file.parent.name}/{file.stem}" for file in files)


@pytest.mark.parametrize("operation", HTTP, ids=_name)
def test_a_function_alone_answers_requests(operation: HttpOperation, runs: Runs) -> None:
    """A function started alone refuses a request without a token, imports no driver for that, and answers a valid
    request."""
    run = runs.of(operation)

    if operation.access is Access.PROVIDER and operation.path_parameters:
        assert _is_problem(run.first, 404) == "not_found"
    elif operation.access is Access.PROVIDER:
        assert _is_problem(run.first, 400) == "malformed_request"
    else:
        assert _is_problem(run.first, 401) == "missing_token"
    _check_imports(operation, run)
    expected = REQUESTS[operation.id](runs.story).status
    if expected >= 400:
        assert _is_problem(run.real, expected) in operation.problems
    elif expected == 204:
        assert (run.real.status, run.real.body) == (204, b""), (run.real.body, run.output)
        assert _is_problem(run.again, 404) == "not_found", "it is deleted once"
        return
    else:
        assert run.real.status == expected, (run.real.body, run.output)
        if operation.result is None:
            assert run.real.headers["content-type"] in operation.files
        else:
            assert run.real.headers["content-type"] == "application/json"
            operation.result.model_validate_json(run.real.body)
    # The same command with a new signature: the first response is returned again.
    if operation.method == "POST" and operation.access is not Access.PROVIDER and expected < 400:
        assert (run.again.status, run.again.body) == (run.real.status, run.real.body)
        assert run.again.headers["idempotent-replayed"] == "true"
    else:
        assert run.again.status == expected


@pytest.mark.parametrize("operation", EVENT, ids=_name)
def test_a_function_alone_processes_events(operation: EventOperation, runs: Runs) -> None:
    """A function started alone refuses malformed JSON, imports no driver for that, and acknowledges a valid event
    with 204 in both modes."""
    run = runs.of(operation)

    assert (run.first.status, run.first.headers["kne-code"], run.first.body) == (400, "malformed_request", b"")
    _check_imports(operation, run)
    assert (run.real.status, run.real.body) == (204, b""), (run.real.headers, run.output)
    assert (run.again.status, run.again.body) == (204, b"")
    assert "content-type" not in run.real.headers


def test_the_budget_counts_what_is_imported(runs: Runs) -> None:
    """The modules that count for the import budget include the framework and the function's own imports."""
    imported = runs.of(operations()["payments/create_payment"]).imported

    assert {"events.payments.created", "flask", "pydantic", "shared.functions.decorators", "starlette.routing"} <= set(
        imported
    )


def test_a_copy_has_imported_what_a_function_imports(runs: Runs, tmp_path: Path) -> None:
    """A function in a copy has the modules that it has when the image's command starts it."""
    by_command = set(runs.of(operations()["payments/get_payment"]).imported)
    with started("functions/payments/get_payment.py", tmp_path / "data") as alone:
        assert alone.send("GET", "/v1/payments/payment_id", {}).status == 401
        imported = set(alone.imported())
    assert (imported - by_command, by_command - imported) == (OF_COPIES, set())
