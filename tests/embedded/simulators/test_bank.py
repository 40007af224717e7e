"""The simulated partner bank and the adapter that speaks to it, over HTTP without a socket."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from embedded.simulators.access import ApiClient
from embedded.simulators.bank import PREFIX, BankSimulator
from embedded.simulators.program import ConnectionCut
from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.providers.callback_signature import sign
from shared.adapters.providers.credentials import Credentials
from shared.core.clock import ManualClock
from shared.core.cnab240 import read_settlement_file
from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, RailRefused
from shared.ports.rail_payments import RailOrder, RailReport
from tests.ports.rail_payments_suite import CALLBACK_URL, RailPaymentsSuite

SECRET = b"shared with the platform"
CALLBACK = CALLBACK_URL
BASE = f"http://bank.test{PREFIX}"
REFERENCE = "ABCDEFGHIJ2345672345"
OTHER = "ZZZZZZZZZZ2345672345"
ACCOUNT = {
    "bank": "341",
    "branch": "1234",
    "number": "1234567-8",
    "type": "checking",
    "holder_name": "Ana Souza",
    "holder_document_type": "cpf",
    "holder_document": "52998224725",
}
REPORT_FAULTS = ("late", "twice", "never", "wrong_amount", "out_of_order", "refused", "returned")


def order(reference: str = REFERENCE, amount: int = 1050, **account: str) -> RailOrder:
    return RailOrder(reference, amount, {**ACCOUNT, **account}, "Invoice 7", CALLBACK)


class Platform:
    """A platform that reads callbacks as the adapter does, records them, and can be made unavailable."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._rail = HttpBankTransfers("")
        self.reports: list[RailReport] = []
        self.refusals: list[int | OSError] = []

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        assert url == CALLBACK
        now = self._clock.now()
        reports = self._rail.read_reports(headers, body, secret=SECRET, now=now, window_seconds=300)
        assert reports is not None
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, OSError):
                raise refusal
            return refusal
        self.reports += reports
        return 200

    @property
    def seen(self) -> list[tuple[str, int]]:
        """The status and the amount of each report."""
        return [(report.status, report.amount) for report in self.reports]


class Bench:
    """A simulator, the platform to which it sends callbacks, and the pauses that it made."""

    def __init__(self, journal: Path | None = None, client: ApiClient | None = None) -> None:
        self.clock = ManualClock()
        self.platform = Platform(self.clock)
        self.slept: list[float] = []
        self.simulator = BankSimulator(
            SECRET, self.clock, Random(1), self.platform, journal, self._sleep, client=client
        )
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        known = Credentials(client.id, client.secret) if client is not None else Credentials()
        self.rail = HttpBankTransfers(BASE, http, known)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        query = request.url.query.decode()
        asked = HttpRequest(request.method, request.url.path, query, dict(request.headers), request.content)
        try:
            answer = await self.simulator(asked)
        except ConnectionCut:
            raise httpx.ReadError("cut", request=request) from None
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    async def send(self, method: str, path: str, body: Any = None, query: str = "") -> HttpResponse:
        """Send a request to the simulator."""
        raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        return await self.simulator(HttpRequest(method, PREFIX + path, query, {}, raw))

    async def fault(self, fault: str, **more: Any) -> None:
        """Order a fault."""
        assert (await self.send("POST", "/faults", {"fault": fault, **more})).status == 202

    async def settle(self) -> None:
        """Let the simulator's tasks run."""
        for _ in range(2000):
            if not self.simulator.reporter.tasks:
                return
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.simulator.close()
        await self.rail.aclose()


class Provider:
    """The adapter and the simulated bank, for the behaviour suite of payments over a rail."""

    receiver = ACCOUNT
    other_receiver: ClassVar = {**ACCOUNT, "number": "7654321-0"}

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.rail = bench.rail
        self.fault, self.settle = bench.fault, bench.settle

    def reports(self, *, forged: bool = False) -> Sequence[RailReport]:
        """Return the reports; with `forged`, of a callback that another secret has signed."""
        if forged:
            body = b'{"transfers": []}'
            now = self._bench.clock.now()
            self.rail.read_reports(sign(b"guessed", body, now), body, secret=SECRET, now=now, window_seconds=300)
        return self._bench.platform.reports


class TestBankTransfers(RailPaymentsSuite):
    """Transfers by the API of a partner bank."""

    @pytest.fixture
    async def provider(self) -> AsyncIterator[Provider]:
        bench = Bench()
        yield Provider(bench)
        await bench.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A simulator in memory."""
    made = Bench()
    yield made
    await made.close()


async def test_a_transfer_is_accepted_settled_and_reported(bench: Bench) -> None:
    """The answer to an order is `processing`; a signed callback reports that it is settled, with masked data only."""
    answer = await bench.rail.send(order())
    assert (answer.reference, answer.status, answer.amount) == (REFERENCE, "processing", 1050)
    await bench.settle()
    (report,) = bench.platform.reports
    assert (report.reference, report.status, report.amount) == (REFERENCE, "settled", 1050)
    assert report.at == "2026-01-01T00:00:00.000000Z"
    found = await bench.rail.state(REFERENCE)
    assert (found, await bench.rail.state(OTHER)) == (report, None)
    for kept in (answer.report, report.report):
        assert not {"Ana Souza", "1234567-8", "52998224725"} & set(str(kept).split("'"))
    assert answer.report["request"]["creditor"]["holder_document"] == "***4725"


async def test_a_repeated_order_has_no_further_effect(bench: Bench) -> None:
    """An order that is sent several times makes one transfer, and another order of the same reference makes none."""
    for _ in range(3):
        await bench.rail.send(order())
    await bench.settle()
    assert bench.platform.seen == [("settled", 1050)]
    assert (await bench.rail.send(order(amount=1051))).amount == 1050
    other = dict(ACCOUNT) | {"number": "7654321-0"}
    body = {"amount": {"value": 1050, "currency": "BRL"}, "creditor": other, "callback_url": CALLBACK}
    assert (await bench.send("PUT", f"/transfers/{REFERENCE}", body)).status == 409
    await bench.settle()
    assert bench.platform.seen == [("settled", 1050)]


@pytest.mark.parametrize(
    ("fault", "seen", "slept"),
    [
        ("late", [("settled", 1050)], [7.5]),
        ("twice", [("settled", 1050)] * 2, []),
        ("never", [], []),
        ("wrong_amount", [("settled", 1051)], []),
        ("out_of_order", [("settled", 1050)], []),
        ("refused", [("refused", 1050)], []),
        ("returned", [("settled", 1050), ("returned", 1050)], []),
    ],
)
@pytest.mark.parametrize("addressed", [True, False])
async def test_a_fault_concerns_one_transfer(
    bench: Bench, fault: str, seen: list[tuple[str, int]], slept: list[float], addressed: bool
) -> None:
    """A fault concerns the transfer that it names, or the next one, and no other."""
    await bench.fault(fault, seconds=7.5, **({"reference": REFERENCE} if addressed else {}))
    await bench.rail.send(order())
    await bench.settle()
    assert bench.platform.seen == seen
    assert bench.slept == slept
    state = await bench.rail.state(REFERENCE)
    assert state is not None
    assert state.status == {"refused": "refused", "returned": "returned"}.get(fault, "settled")
    assert state.code == ("AC04" if fault in ("refused", "returned") else "")
    bench.platform.reports.clear()
    await bench.rail.send(order(OTHER, 7))
    await bench.settle()
    assert bench.platform.seen == [("settled", 7)]


async def test_out_of_order_the_callback_arrives_before_the_answer(bench: Bench) -> None:
    """With the fault `out_of_order`, the outcome is reported before the answer, which says `processing`."""
    await bench.fault("out_of_order")
    answer = await bench.rail.send(order())
    assert (bench.platform.seen, answer.status) == ([("settled", 1050)], "processing")


async def test_a_settled_transfer_is_returned_once(bench: Bench) -> None:
    """The receiving bank returns a settled transfer; a second return, and one of another transfer, are refused."""
    await bench.rail.send(order())
    await bench.settle()
    body = {"reference": REFERENCE, "reason": "AC06"}
    assert [(await bench.send("POST", "/returns", body)).status for _ in range(2)] == [202, 409]
    assert (await bench.send("POST", "/returns", {"reference": OTHER})).status == 404
    await bench.settle()
    assert bench.platform.seen == [("settled", 1050), ("returned", 1050)]
    assert bench.platform.reports[-1].code == "AC06"


async def test_a_lost_answer_is_asked_for_by_the_reference(bench: Bench) -> None:
    """When the answer to an order is cut, the transfer is found by its reference; when the order was answered with 500
    and the bank does not know it, the outcome is unknown."""
    await bench.fault("cut")
    answer = await bench.rail.send(order())
    assert answer.status == "settled"
    await bench.fault("500")
    with pytest.raises(OutcomeUnknown):
        await bench.rail.send(order(OTHER))
    await bench.fault("500")
    await bench.fault("500")
    with pytest.raises(OutcomeUnknown):
        await bench.rail.send(order(OTHER))
    assert (await bench.rail.send(order(OTHER))).status == "processing"


async def test_an_unknown_bank_is_refused_at_once(bench: Bench) -> None:
    """A transfer to a bank that does not exist is refused with the bank's code, and nothing is reported."""
    with pytest.raises(RailRefused) as refused:
        await bench.rail.send(order(bank="000"))
    await bench.settle()
    assert (refused.value.code, bench.platform.reports) == ("unknown_bank", [])


async def test_changed_transfers_are_listed_in_pages(bench: Bench) -> None:
    """The transfers that changed in a period are listed by the time of their change, a page at a time."""
    begin = bench.clock.now()
    references = [f"{number:020d}" for number in range(101)]
    for reference in references:
        await bench.rail.send(order(reference))
        bench.clock.advance(timedelta(seconds=1))
    await bench.settle()
    end = begin + timedelta(seconds=100)
    first, more = await bench.rail.changed(begin, end, 0)
    second, last = await bench.rail.changed(begin, end, 1)
    assert ([one.reference for one in [*first, *second]], more, last) == (references, True, False)
    assert [one.reference for one in (await bench.rail.changed(begin, begin, 0))[0]] == references[:1]


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "status"),
    [
        ("PUT", "/transfers/short", {}, "", 400),
        ("PUT", f"/transfers/{REFERENCE}", {}, "", 400),
        ("PUT", f"/transfers/{REFERENCE}", b"nothing", "", 400),
        ("GET", f"/transfers/{REFERENCE}", None, "", 404),
        ("GET", "/transfers", None, "from=x&to=y", 400),
        ("GET", "/transfers", None, "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&size=0", 400),
        ("POST", "/faults", {"fault": "explode"}, "", 400),
        ("POST", "/returns", {"reference": "x"}, "", 400),
        ("GET", "/elsewhere", None, "", 404),
    ],
)
async def test_an_invalid_request_is_refused(
    bench: Bench, method: str, path: str, body: Any, query: str, status: int
) -> None:
    """An invalid request gets its status, and a code with the reason."""
    answer = await bench.send(method, path, body, query)
    assert answer.status == status
    assert set(orjson.loads(answer.body)) == {"code", "detail"}


async def test_a_method_that_is_not_allowed(bench: Bench) -> None:
    """A method that is not allowed is answered with 405 and Allow, and OPTIONS with Allow."""
    with pytest.raises(Problem, match="GET, HEAD, OPTIONS, PUT"):
        await bench.send("DELETE", f"/transfers/{REFERENCE}")
    assert (await bench.send("OPTIONS", f"/transfers/{REFERENCE}")).status == 204


async def test_a_callback_is_sent_until_it_is_accepted(bench: Bench) -> None:
    """A callback that is refused or not answered is sent again after increasing pauses."""
    bench.platform.refusals = [503, OSError("refused"), 401]
    await bench.rail.send(order())
    await bench.settle()
    assert (bench.platform.seen, bench.slept) == ([("settled", 1050)], [0.2, 0.4, 0.8])


async def test_an_unsent_callback_is_sent_after_a_restart(tmp_path: Path) -> None:
    """After a kill the simulator has its transfers and sends unsent callbacks, but no sent ones and none that were
    ordered never to be sent."""
    journal = tmp_path / "bank.jsonl"
    first = Bench(journal)
    await first.rail.send(order(OTHER, 5))
    await first.settle()
    await first.fault("never")
    await first.rail.send(order("N" * 20))
    first.platform.refusals = [503] * 100_000
    await first.rail.send(order())
    await asyncio.sleep(0)
    for task in list(first.simulator.reporter.tasks):
        task.cancel()
    second = Bench(journal)
    second.simulator.start()
    await second.settle()
    assert [report.reference for report in second.platform.reports] == [REFERENCE]
    assert (await second.rail.send(order(OTHER, 5))).status == "settled"
    for made in (first, second):
        await made.close()


async def test_the_api_needs_a_token_of_its_client() -> None:
    """With a client the API needs its access token; the adapter requests one, and a wrong secret gets none."""
    bench = Bench(client=ApiClient("lastro", "hush"))
    assert (await bench.send("GET", f"/transfers/{REFERENCE}")).status == 401
    assert (await bench.rail.send(order())).status == "processing"
    wrong = {"authorization": f"Basic {b64encode(b'lastro:guess').decode()}"}
    form = b"grant_type=client_credentials"
    denied = await bench.simulator(HttpRequest("POST", f"{PREFIX}/oauth/token", "", wrong, form))
    unknown = await bench.simulator(HttpRequest("POST", f"{PREFIX}/oauth/token", "", wrong, b"grant_type=password"))
    assert (denied.status, unknown.status) == (401, 400)
    await bench.close()


async def test_without_a_bank_nothing_is_sent() -> None:
    """A rail without a partner bank raises Unavailable for every request, and says that it is not configured."""
    rail = HttpBankTransfers("")
    assert not rail.is_configured
    with pytest.raises(Unavailable, match="LASTRO_BANK_RAIL"):
        await rail.send(order())
    await rail.aclose()


async def test_the_settlement_file_has_the_outcome_of_each_transfer(bench: Bench) -> None:
    """The file of the simulator is a valid return file: settled, refused and returned transfers with their amounts, and
    a returned one first as settled."""
    for reference, fault in ((REFERENCE, "wrong_amount"), (OTHER, "refused"), ("R" * 20, "returned")):
        await bench.fault(fault)
        await bench.rail.send(order(reference))
        bench.clock.advance(timedelta(seconds=1))
    answer = await bench.send("GET", "/settlement-file", query="sequence=7")
    found = read_settlement_file(answer.body.decode())
    assert (found.sequence, found.made_at) == (7, "2026-01-01T00:00:03.000000Z")
    assert [(one.reference, one.outcome, one.ordered, one.moved) for one in found.payments] == [
        (REFERENCE, "settled", 1050, 1051),
        (OTHER, "refused", 1050, 0),
        ("R" * 20, "settled", 1050, 1050),
        ("R" * 20, "returned", 1050, 1050),
    ]
    assert (await bench.send("GET", "/settlement-file", query="sequence=0")).status == 400
