"""Every fenced snippet of the pages is run unchanged in a copy of the checkout.

A new snippet, or one whose first line has changed, fails here until this module says how it is run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE

import httpx
import pytest
from standardwebhooks import Webhook

from deployment.kind.steps import FOLDER
from shared.core.strict_yaml import read_value
from shared.release.controller import ORDER
from shared.release.decision import Action
from tests.docs.checkout import Checkout, answer_of, copy_checkout, free_port
from tests.docs.pages import ROOT, Snippet, snippets
from tests.waiting import PATIENCE_SECONDS

SNIPPETS = {snippet.name: snippet for snippet in snippets()}
NEW_RECORD = 'README.md: """The documents of thanks: one for'
NEW_FUNCTION = 'README.md: """lastro.payment.settled.v1: thank'
NEW_SERVICE = "README.md: sed -e s/payments-settle/payments-th"
NEW_TRIGGER = "README.md: ---"
UP = "README.md: ./lastro up"
FIRST_PAYMENT = "README.md: user=$(./lastro request POST /v1/use"
AFTERWARDS = "README.md: ./lastro request GET /v1/accounts/$t"
ALONE = "README.md: FUNCTION_TARGET=get_payment FUNCTION"
PAYMENTS = 2  # the lines of the first payment are run twice


def text(name: str) -> str:
    return SNIPPETS[name].text


@dataclass(frozen=True, slots=True)
class Started:
    """The platform that README's `./lastro up` started, and the output of README's first payment."""

    checkout: Checkout
    port: int
    readiness: tuple[int, bytes]
    payment: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    """The output of the same lines, run again."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy of the checkout, to which the README's function has been added as the README says."""
    copied = copy_checkout(tmp_path_factory.mktemp("readme") / "lastro")
    (copied.root / "shared/records/thanks.py").write_text(text(NEW_RECORD))
    catalogue = copied.root / "shared/records/catalogue.py"
    imported, listed_in = "from shared.records.users import USER_CHANGES, USERS\n", "    USERS,\n"
    stored = catalogue.read_text()
    assert (stored.count(imported), stored.count(listed_in)) == (1, 1)
    stored = stored.replace(imported, "from shared.records.thanks import THANKS\n" + imported)
    catalogue.write_text(stored.replace(listed_in, "    THANKS,\n" + listed_in))
    (copied.root / "functions/payments/thank_payer.py").write_text(text(NEW_FUNCTION))
    sed = copied.run(text(NEW_SERVICE))
    assert (sed.returncode, sed.stderr) == (0, "")
    listed = copied.root / "knative/functions/kustomization.yaml"
    entry = "  - payments/settle.yaml\n"
    assert entry in listed.read_text()
    listed.write_text(listed.read_text().replace(entry, entry + "  - payments/thank_payer.yaml\n"))
    with (copied.root / "knative/eventing/triggers/payments.yaml").open("a") as triggers:
        triggers.write(text(NEW_TRIGGER))
    return copied


@pytest.fixture(scope="module")
def started(checkout: Checkout) -> Iterator[Started]:
    """The platform, on a free port, after the first payment of the README."""
    port = free_port()
    with checkout.running(f"{text(UP).strip()} --port {port}") as process:
        readiness = answer_of(process, f"http://127.0.0.1:{port}/readyz")
        payment, again = (checkout.run(text(FIRST_PAYMENT) + text(AFTERWARDS)) for _ in range(2))
        yield Started(checkout, port, readiness, payment, again)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def tests_found(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """Return the tests that `./lastro test` collects in one file."""
    return checkout.run(text("README.md: ./lastro test"), PYTEST_ADDOPTS="--collect-only --quiet tests/test_locks.py")


@pytest.fixture(scope="module")
def wiring(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """Return the output of `task wiring` about the README's function."""
    return checkout.run(".venv/bin/task wiring")


def the_platform_starts(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    started: Started = request.getfixturevalue("started")
    assert started.readiness[0] == 200
    credentials = json.loads((started.checkout.root / ".lastro/credentials.json").read_text())
    assert f":{started.port}" in json.dumps(credentials)


def the_tests_would_run(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    assert snippet.text == text("README.md: ./lastro test")
    found: subprocess.CompletedProcess[str] = request.getfixturevalue("tests_found")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "tests/test_locks.py::test_every_pin_has_hashes" in found.stdout


def the_payment_settles(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    started: Started = request.getfixturevalue("started")
    assert started.payment.returncode == 0, started.payment.stdout + started.payment.stderr
    assert started.payment.stderr == ""
    assert started.again.returncode == 0, started.again.stdout + started.again.stderr
    (payment,) = set(re.findall(r'"id": "(pay_[0-9a-z]+)",\s+"status": "created"', started.payment.stdout))
    shown = ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "10.50 BRL settled" not in shown and time.monotonic() < deadline:
        shown = started.checkout.run(f"./lastro payments show {payment}").stdout
    assert f"{payment} 10.50 BRL settled" in shown


def the_books_are_shown(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    started: Started = request.getfixturevalue("started")
    assert started.payment.returncode == 0, started.payment.stdout + started.payment.stderr
    assert re.search(r'"available": \d+', started.payment.stdout)
    assert '"balance_after"' in started.payment.stdout
    assert "Trial balance, BRL" in started.payment.stdout


def the_new_function_is_wired(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    checked: subprocess.CompletedProcess[str] = request.getfixturevalue("wiring")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def the_new_function_is_given_the_payment(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    started: Started = request.getfixturevalue("started")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        listed = json.loads(started.checkout.run("./lastro functions --domain payments --json").stdout)["data"]
        (ours,) = [entry for entry in listed if entry["function"] == "payments/thank_payer"]
        if ours["calls"] == PAYMENTS or time.monotonic() > deadline:
            break
    assert (ours["calls"], ours["dead_lettered"]) == (PAYMENTS, 0)


def one_function_answers_alone(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    checkout: Checkout = request.getfixturevalue("checkout")
    port = free_port()
    line, replaced = re.subn(r"--port \d+", f"--port {port}", snippet.text.strip())
    assert replaced == 1
    with checkout.running(line, LASTRO_DATA_DIR=str(checkout.root / "alone")) as process:
        status, body = answer_of(process, f"http://127.0.0.1:{port}/v1/payments/pay_0")
    assert (status, json.loads(body)["code"]) == (401, "missing_token")


def the_code_says_the_same(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    for shown in ast.parse(snippet.text).body:
        assert isinstance(shown, ast.AsyncFunctionDef)
        (file,) = (ROOT / "functions").glob(f"*/{shown.name}.py")
        (there,) = (node for node in ast.parse(file.read_text()).body if getattr(node, "name", "") == shown.name)
        assert isinstance(there, ast.AsyncFunctionDef)
        head, options = head_of(shown)
        known_head, known_options = head_of(there)
        assert head == known_head
        assert options <= known_options


def head_of(function: ast.AsyncFunctionDef) -> tuple[str, set[str]]:
    """Return the head of an operation, and the options of its decorator, of which a page may show only some."""
    (decorator,) = function.decorator_list
    assert isinstance(decorator, ast.Call)
    options = {ast.unparse(option) for option in decorator.keywords}
    decorator.keywords = []
    assert function.returns is not None
    return f"{ast.unparse(decorator)} {ast.unparse(function.args)} {ast.unparse(function.returns)}", options


def the_decisions_look_like_it(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    parts = re.findall(r"^(\*\*\w+\.\*\*|# NNNN\. |Status: )", snippet.text, re.MULTILINE)
    for page in sorted((ROOT / "docs/decisions").glob("0*.md")):
        number = page.name[:4]
        content = page.read_text(encoding="utf-8")
        places = [content.find(part.replace("NNNN", number)) for part in parts]
        assert -1 not in places, page.name
        assert places == sorted(places), page.name
        assert re.search(r"^Status: (accepted|replaced by \d{4})\. Date: \d{4}-\d\d-\d\d\.$", content, re.MULTILINE)


def the_endpoint_is_created(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    started: Started = request.getfixturevalue("started")
    created = started.checkout.run(snippet.text)
    assert created.returncode == 0, created.stdout + created.stderr
    assert re.search(r'"secret": "whsec_[A-Za-z0-9+/]{43}="', created.stdout)


def the_simulators_answer(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    started: Started = request.getfixturevalue("started")
    answered = started.checkout.run(snippet.text)
    assert answered.returncode == 0, answered.stdout + answered.stderr
    assert re.search(r'"messages": \[\]', answered.stdout)
    assert re.search(r'"fault": "unregistered"', answered.stdout)


def the_receiver_verifies(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue("tmp_path")
    port = free_port()
    server = folder / "receiver.py"
    server.write_text(snippet.text.replace("8000), Receiver", f"{port}), Receiver"))
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "PYTHONUNBUFFERED": "1"}
    body = '{"id": "evt_1", "type": "lastro.payment.settled.v1", "data": {"payment_id": "pay_1"}}'
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", now, body),
    }
    with subprocess.Popen([sys.executable, str(server)], env=environment, stdout=PIPE, text=True) as process:
        try:
            answers = [_posted(port, content, headers) for content in (body, body, body.replace("settled", "failed"))]
        finally:
            process.terminate()
        assert process.stdout is not None
        assert answers == [204, 204, 401]
        assert process.stdout.read() == "lastro.payment.settled.v1 {'payment_id': 'pay_1'}\n"


def _posted(port: int, body: str, headers: dict[str, str]) -> int:
    """Return the status of the server, which may still be starting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return httpx.post(f"http://127.0.0.1:{port}/", content=body, headers=headers).status_code
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def its_tasks_are_tested(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    """They need a container engine, and install from the internet. Here each task exists; tests/deployment runs what it
    does with stand-ins for the programs."""
    tasks = read_value((ROOT / "Taskfile.yml").read_text(encoding="utf-8"))["tasks"]
    named = re.findall(r"task (kind:\w+)", snippet.text)
    assert named == ["kind:up", "kind:smoke", "kind:status", "kind:down"]
    for name in named:
        (command,) = tasks[name]["cmds"]
        assert f" -m deployment kind {name.removeprefix('kind:')}" in command
    folder = re.search(r"--data-dir (\S+)", snippet.text)
    assert folder is not None
    assert ROOT / folder[1] == FOLDER


def the_controller_reads_the_order(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    """It is for a cluster with the controller of releases, whose tests give it the same order."""
    found = re.search(r"-n (\S+) create configmap (\S+) --from-literal=order=(\S+)$", snippet.text.strip())
    assert found is not None
    assert found[2] == ORDER
    assert found[3] == Action.ROLL_BACK.value.replace(" ", "-")


def its_patch_makes_a_revision(snippet: Snippet, request: pytest.FixtureRequest) -> None:
    """It is for a cluster; an annotation of the template makes a revision there, as in tests/cluster."""
    patch = re.search(r"-n lastro patch NAME --type merge -p '(\{.*\})'$", snippet.text.strip())
    assert patch is not None
    annotations = json.loads(patch[1])["spec"]["template"]["metadata"]["annotations"]
    assert [name.partition("/")[0] for name in annotations] == ["lastro.dev"]


RUN: dict[str, Callable[[Snippet, pytest.FixtureRequest], None]] = {
    UP: the_platform_starts,
    "README.md: ./lastro test": the_tests_would_run,
    FIRST_PAYMENT: the_payment_settles,
    AFTERWARDS: the_books_are_shown,
    NEW_RECORD: the_new_function_is_given_the_payment,
    NEW_FUNCTION: the_new_function_is_given_the_payment,
    NEW_SERVICE: the_new_function_is_wired,
    NEW_TRIGGER: the_new_function_is_wired,
    ALONE: one_function_answers_alone,
    "CONTRIBUTING.md: ./lastro test": the_tests_would_run,
    'docs/architecture.md: @http_function("POST /v1/payments",': the_code_says_the_same,
    "docs/notifications.md: ./lastro request GET /simulators/ema": the_simulators_answer,
    "docs/webhooks.md: ./lastro request POST /v1/webhook-en": the_endpoint_is_created,
    'docs/webhooks.md: """Receives events of Lastro on port': the_receiver_verifies,
    "docs/deploy.md: $ ./lastro test -- --version": its_tasks_are_tested,
    "docs/deploy.md: $ kubectl -n lastro-release create c": the_controller_reads_the_order,
    "docs/deploy.md: $ kubectl -n lastro get ksvc -o name": its_patch_makes_a_revision,
    "docs/decisions/README.md: # NNNN. What was chosen, as a statem": the_decisions_look_like_it,
}


@pytest.mark.parametrize("name", [snippet.name for snippet in snippets()])
def test_snippet(name: str, request: pytest.FixtureRequest) -> None:
    """Each snippet of the pages works."""
    assert name in RUN, f"no test runs this snippet; say in {Path(__file__).name} how it is run"
    RUN[name](SNIPPETS[name], request)


def test_each_snippet_is_known_by_its_first_line() -> None:
    """The snippets of a page have different first lines, and each snippet listed in this module exists."""
    names = [snippet.name for snippet in snippets()]
    assert sorted(names) == sorted(RUN)
