"""The wiring check: the repository passes it, and each mistake is found with a sentence and its place."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from embedded.broker.plan import make_plan
from embedded.manifests.loading import load
from embedded.wiring.check import RULES, check_wiring
from embedded.wiring.repository import Code, read_code
from shared.core.strict_yaml import read_yaml

ROOT = Path(__file__).resolve().parents[2]
SETTLE = "knative/functions/payments/settle.yaml"
PAYMENTS = "knative/eventing/triggers/payments.yaml"
KONG = "knative/platform/kong/kong.yaml"
TOPICS = "kafka-sources/topics.yaml"
SOURCES = "kafka-sources/sources.yaml"
SCHEDULES = "knative/eventing/schedules.yaml"


@cache
def code() -> Code:
    """Return the code of this checkout, which most tests leave as it is."""
    return read_code(ROOT)


# A test changes one of two hundred manifests; the others are parsed once for all tests.
read_once = cache(read_yaml)


@pytest.fixture(autouse=True)
def _manifests_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("embedded.manifests.loading", "embedded.wiring.services"):
        monkeypatch.setattr(f"{module}.read_yaml", read_once)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the manifests that the check reads."""
    for folder in ("knative", "kafka-sources"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def change(root: Path, file: str, *pairs: tuple[str, str]) -> None:
    """Replace a text that occurs once in a file."""
    text = (root / file).read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    (root / file).write_text(text)


def check_finds(root: Path, file: str, place: str, text: str) -> None:
    """Assert that the check has this finding, at a line of the file that contains `place`."""
    source = ROOT if file.endswith(".py") else root
    found = check_wiring(root, code())
    assert any(
        one.file == file and text in one.text and place in (source / file).read_text().splitlines()[one.line - 1]
        for one in found
    ), [str(one) for one in found]
    assert all(one.text.endswith(".") and "\n" not in one.text for one in found)


def test_the_repository_is_wired() -> None:
    """Every function has a way in, and accepts the requests and events of each way."""
    assert [str(finding) for finding in check_wiring(ROOT)] == []


def test_first_deliveries_are_known_to_be_first() -> None:
    """No function has two Triggers, so the broker knows which delivery is the first."""
    plan = make_plan(load(ROOT))
    assert [one.name for one in plan.subscriptions if one.name.startswith("trigger/") and not one.exclusive] == []


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "text"),
    [
        (
            "knative/functions/users/get_user.yaml",
            "name: users-get-user",
            "name: users-show-user",
            "name: users-show-user",
            "Service users-show-user, metadata.name: a Service is called as its function, users-get-user.",
        ),
        (
            SETTLE,
            "value: settle",
            "value: settled",
            "value: settled",
            "FUNCTION_TARGET is settled, and functions/payments/settle.py holds settle.",
        ),
        (
            SETTLE,
            "lastro.dev/class: core",
            "lastro.dev/class: support",
            "lastro.dev/class: support",
            "Service payments-settle, metadata.labels.lastro.dev/class: the label must be core.",
        ),
        (
            SETTLE,
            'min-scale: "1"',
            'min-scale: "0"',
            "annotations:",
            "functions of payments are never scaled to zero: set min-scale to 1.",
        ),
        (
            "knative/functions/users/get_user.yaml",
            'min-scale: "0"',
            'min-scale: "1"',
            "annotations:",
            "functions of users may be scaled to zero: set min-scale to 0.",
        ),
        (
            SETTLE,
            "functions/payments/settle.py",
            "functions/payments/fail.py",
            "value: functions/payments/fail.py",
            "the Service payments-fail runs functions/payments/fail.py already.",
        ),
        (
            SETTLE,
            "functions/payments/settle.py",
            "functions/payments/gone.py",
            "value: functions/payments/gone.py",
            "there is no function functions/payments/gone.py.",
        ),
        (
            "knative/functions/kustomization.yaml",
            "payments/settle.yaml",
            "payments/settled.yaml",
            "payments/settled.yaml",
            "There is no payments/settled.yaml beside this file.",
        ),
        (
            KONG,
            "~/v1/payments$",
            "~/v1/payment$",
            "~/v1/payment$",
            "is POST ~/v1/payment$, and payments/create_payment answers POST /v1/payments alone.",
        ),
        (
            KONG,
            "methods: [GET]",
            "methods: [PUT]",
            "~/v1/tenants/(?<tenant_id>[^/]+)$",
            "[^/]+)$, and tenants/get_tenant answers GET /v1/tenants/{tenant_id} alone.",
        ),
        (
            KONG,
            "host: tenants-create-tenant.lastro",
            "host: tenants-create-tenant.other",
            "host: tenants-create-tenant.other",
            "the host of tenants-create-tenant must be tenants-create-tenant.lastro.svc.cluster.local.",
        ),
        (
            KONG,
            "host: tenants-create-tenant.lastro",
            "host: tenants-create-tenants.lastro",
            "host: tenants-create-tenants.lastro",
            "there is no Service tenants-create-tenants, the first label of the host.",
        ),
        (
            KONG,
            "        strip_path: false",
            "        strip_path: true",
            "strip_path: true",
            "tenants-create-tenant strips its path; the path is signed and must reach its function unchanged.",
        ),
        (
            KONG,
            "allowed_payload_size: 256",
            "allowed_payload_size: 512",
            "- name: tenants-create-tenant",
            "tenants-create-tenant takes bodies of 524288 bytes; it must be 262144.",
        ),
        (
            PAYMENTS,
            "lastro.account.hold_expired.v1",
            "lastro.payment.expired.v1",
            "filter:",
            "lets lastro.payment.expired.v1 pass, and payments/expire accepts only lastro.account.hold_expired.v1.",
        ),
        (
            "knative/eventing/triggers/accounts.yaml",
            "        - exact: {type: lastro.refund.failed.v1}\n",
            "",
            "filters:",
            "accounts/release_funds also takes lastro.refund.failed.v1, which the Trigger does not let pass.",
        ),
        (
            PAYMENTS,
            "causetype: payment",
            "causetype: payout",
            "filter:",
            "no event that can pass has the causetype payout; they have payment",
        ),
        (
            PAYMENTS,
            "timeout: PT45S",
            "timeout: PT30S",
            "timeout: PT30S",
            "payments-authorize may take 30 seconds to answer; wait longer than that.",
        ),
        (
            PAYMENTS,
            "causetype: payment",
            "causetyp: payment",
            "filter:",
            "no event of the platform has the attribute causetyp; the nearest is causetype.",
        ),
        (
            PAYMENTS,
            "      name: payments-decline\n",
            "      name: payments-authorize\n",
            "subscriber:",
            "payments/authorize has the Trigger payments-authorize already; name all its types in one.",
        ),
        (
            SCHEDULES,
            "      name: operations-sweep-sagas\n",
            "      name: operations-sweep-outbox\n",
            "sink:",
            "operations/sweep_outbox has the PingSource operations-sweep-outbox already.",
        ),
        (
            SOURCES,
            "    - lastro.ledger.v1\n",
            "    - lastro.accounts.v1\n",
            "apiVersion: kafka.strimzi.io/v1",
            "KafkaTopic lastro.ledger.v1: no KafkaSource reads it; it must be one.",
        ),
        (
            SOURCES,
            "    - lastro.ledger.v1\n",
            "    - lastro.accounts.v1\n",
            "apiVersion: kafka.strimzi.io/v1",
            "KafkaTopic lastro.accounts.v1: 2 KafkaSources read it; it must be one.",
        ),
    ],
)
def test_a_change_of_a_manifest_is_found(checkout: Path, file: str, old: str, new: str, place: str, text: str) -> None:
    """A change that breaks the wiring is reported in one sentence with file and line."""
    change(checkout, file, (old, new))
    check_finds(checkout, TOPICS if "KafkaTopic" in text else file, place, text)


@pytest.mark.parametrize(
    ("old", "new", "file", "place", "text"),
    [
        (
            "      name: payments-decline\n",
            "      name: payments-authorize\n",
            "functions/payments/decline.py",
            "async def decline",
            "payments/decline has no Trigger.",
        ),
        (
            "      name: payments-decline\n",
            "      name: payments-authorize\n",
            "functions/payments/decline.py",
            "async def decline",
            "payments/decline has no way in: no Trigger, source or schedule leads to its Service payments-decline.",
        ),
        (
            "lastro.account.hold_expired.v1",
            "lastro.account.hold_expierd.v1",
            "events/sweeps.py",
            "class HoldExpired",
            "No Trigger consumes lastro.account.hold_expired.v1. Add a Trigger, or `terminal = True` here if no",
        ),
        (
            "lastro.account.hold_expired.v1",
            "lastro.account.opened.v1",
            "events/accounts.py",
            "class AccountOpened",
            "The Trigger payments-expire consumes lastro.account.opened.v1, which is declared terminal. Remove",
        ),
        (
            "lastro.account.hold_expired.v1",
            "lastro.account.hold_expierd.v1",
            PAYMENTS,
            "spec:",
            "Trigger payments-expire, spec: there is no event type lastro.account.hold_expierd.v1.",
        ),
    ],
)
def test_an_unused_function_or_event_is_found(
    checkout: Path, old: str, new: str, file: str, place: str, text: str
) -> None:
    """A missing manifest is reported at the function or at the event's model."""
    change(checkout, PAYMENTS, (old, new))
    check_finds(checkout, file, place, text)


def test_a_missing_service_and_a_file_that_is_not_deployed_are_found(checkout: Path) -> None:
    """A function without a Service, and a manifest that is in no kustomization, are reported."""
    (checkout / SETTLE).rename(checkout / "knative/functions/payments/other.yaml")
    found = [str(finding) for finding in check_wiring(checkout, code())]
    assert "knative/functions/payments/other.yaml:1: No kustomization names this file, so no cluster gets it." in found
    assert (
        "knative/functions/payments/other.yaml:1: Service payments-settle: it belongs into "
        "knative/functions/payments/settle.yaml, where its function's name leads."
    ) in found
    change(checkout, PAYMENTS, ("      name: payments-settle\n", "      name: payments-authorize\n"))
    (checkout / "knative/functions/payments/other.yaml").unlink()
    check_finds(
        checkout,
        "functions/payments/settle.py",
        "async def settle",
        "payments/settle has no Service; add knative/functions/payments/settle.yaml.",
    )


def test_a_route_that_is_missing_is_found_at_its_function(checkout: Path) -> None:
    """The finding for an HTTP function without a route has the route to add."""
    text = (checkout / KONG).read_text()
    begin = text.index("  - name: tenants-get-tenant\n")
    (checkout / KONG).write_text(text[:begin] + text[text.index("  - name: tenants-rotate-signing-key\n") :])
    check_finds(
        checkout,
        "functions/tenants/get_tenant.py",
        "async def get_tenant",
        "tenants/get_tenant has no route; add GET /v1/tenants/{tenant_id} to Kong's file.",
    )


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        ("def f(:\n", 1, "This is not valid Python: "),
        ("raise RuntimeError('no')\n", 1, "The file cannot be imported: "),
        ("X = 1\n", 1, "The file cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_function_file_that_cannot_be_read_is_found(checkout: Path, content: str, line: int, text: str) -> None:
    """A file that is not a function is reported, and the check continues."""
    shutil.copytree(ROOT / "functions", checkout / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "functions/payments/added_by_a_test.py").write_text(content)
    found = [one for one in check_wiring(checkout) if one.file == "functions/payments/added_by_a_test.py"]
    assert [(one.line, one.text.startswith(text)) for one in found] == [(line, True)]


def test_the_errors_of_a_start_are_reported_first(checkout: Path) -> None:
    """Invalid manifests are reported with the sentences of a start, and nothing is compared with them."""
    change(checkout, PAYMENTS, ("retry: 8", "retry: 800"), ("timeout: PT45S", "timeout: PT0S"))
    retries, timeout = (finding.text for finding in check_wiring(checkout, code()))
    assert retries == "Trigger payments-authorize, spec.delivery.retry: 800 retries are more than the bound of 100."
    assert timeout.startswith("Trigger payments-authorize, spec.delivery.timeout: 'PT0S' is not a valid timeout: ")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_rule_has_a_sentence(rule: object) -> None:
    """Each rule of the check has a sentence that states it."""
    assert (rule.__doc__ or "").strip()
