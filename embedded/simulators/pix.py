"""A simulated PIX provider: it accepts charges in the rail's protocol, pays them immediately and sends signed
callbacks.

It implements the part of the API Pix that the adapter uses (`PUT` and `GET` of `/cob/{txid}`, `PUT /webhook/{chave}`).
Faults can be ordered with `POST /faults`. Callbacks that are not delivered yet survive the process in a small journal.
"""

from __future__ import annotations

import asyncio
import logging
import re
import string
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from embedded.simulators.journal import ChargeJournal
from shared.adapters.pix import callback_signature as provider_signature
from shared.adapters.pix import formats as pix
from shared.core.clock import Clock, format_time
from shared.core.randomness import SecretSource
from shared.http.messages import HttpRequest, HttpResponse
from shared.http.methods import handler_for
from shared.ports.rail import callback_secret_name
from shared.ports.secrets import Secrets

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

Fault = Literal["late", "twice", "never", "wrong_amount", "out_of_order"]
Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""Posts a body with headers to a URL and returns the status of the response. Raises OSError when there is no
response."""
Sleep = Callable[[float], Awaitable[None]]
_Answer = Callable[[str, HttpRequest], Awaitable[HttpResponse]]

PREFIX: Final = "/simulators/pix"
LATE_SECONDS: Final = 5.0
MAX_CHARGES: Final = 10_000
MAX_FAULTS: Final = 1_000
FIRST_RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 30.0
MAX_DELIVERIES: Final = 200
_ISPB: Final = "99999004"
_ALPHANUMERIC: Final = string.ascii_letters + string.digits
_PROBLEM: Final = "application/problem+json"


def _known_amount(text: str) -> str:
    pix.parse_amount(text)
    return text


class _Calendar(BaseModel):
    expiracao: int = Field(default=86_400, ge=1, le=2_147_483_647)


class _Value(BaseModel):
    original: Annotated[str, AfterValidator(_known_amount)]


class ChargeRequest(BaseModel):
    """The fields of the body of `PUT /cob/{txid}` that the simulator uses."""

    model_config = ConfigDict(extra="ignore")

    calendario: _Calendar = _Calendar()
    valor: _Value
    chave: Annotated[str, Field(min_length=1, max_length=77)]


class FaultOrder(BaseModel):
    """A fault for one charge, or without `txid` for the next new one. `seconds` is the delay of the fault `late`."""

    model_config = ConfigDict(extra="forbid")

    fault: Fault
    txid: Annotated[str, Field(pattern=pix.TXID_PATTERN)] | None = None
    seconds: float = Field(default=LATE_SECONDS, ge=0, le=3600)


@dataclass(slots=True)
class SimulatedCharge:
    """A charge, the URL of its callback, and the state of that callback."""

    txid: str
    original: str
    key: str
    created: str
    expires_in: int
    webhook: str | None
    fault: Fault | None = None
    seconds: float = 0.0
    end_to_end_id: str | None = None
    paid_at: str | None = None
    told: bool = False


@dataclass(slots=True)
class _State:
    charges: OrderedDict[str, SimulatedCharge] = field(default_factory=OrderedDict)
    webhooks: dict[str, str] = field(default_factory=dict)
    faults: OrderedDict[str, FaultOrder] = field(default_factory=OrderedDict)
    next_faults: deque[FaultOrder] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))


class PixSimulator:
    """A simulated provider. Call it with a request for a path under PREFIX.

    `journal` is the file of undelivered callbacks (None: they are only in memory). `start` continues with them.
    """

    def __init__(
        self,
        secret: bytes,
        clock: Clock,
        random: Random,
        post: Post | None = None,
        journal: Path | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._secret = secret
        self._clock = clock
        self._random = random
        self._post = post or HttpPost()
        self._sleep = sleep
        self._journal = ChargeJournal(journal, MAX_CHARGES)
        self._state = _State()
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: list[tuple[re.Pattern[str], dict[str, _Answer]]] = [
            (re.compile(r"/cob/([^/]+)"), {"PUT": self._put_charge, "GET": self._get_charge}),
            (re.compile(r"/webhook/([^/]+)"), {"PUT": self._put_webhook}),
            (re.compile(r"/(faults)"), {"POST": self._order_fault}),
        ]

    def start(self) -> None:
        """Continue with the callbacks that were not delivered when the process ended. Needs a running event loop."""
        for kind, record in self._journal.load():
            if kind == "webhook":
                self._state.webhooks[record["key"]] = record["url"]
            else:
                charge = SimulatedCharge(**record)
                self._state.charges[charge.txid] = charge
        for charge in self._state.charges.values():
            if not charge.told and charge.fault != "never":
                self._begin(self._send_callback(charge))

    async def close(self) -> None:
        """Stop sending callbacks. Undelivered ones stay in the journal."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._journal.close()
        if isinstance(self._post, HttpPost):
            await self._post.aclose()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for a path under PREFIX. Raises Problem `method_not_allowed`."""
        path = request.path.removeprefix(PREFIX)
        for pattern, answers in self._routes:
            match = pattern.fullmatch(path)
            if match is not None:
                answer = handler_for(request, answers)
                return answer if isinstance(answer, HttpResponse) else await answer(match[1], request)
        return _problem(404, "NaoEncontrado", "There is nothing at this path.")

    # The provider's API

    async def _put_charge(self, txid: str, request: HttpRequest) -> HttpResponse:
        if re.fullmatch(pix.TXID_PATTERN, txid) is None:
            return _problem(400, "CobOperacaoInvalida", "A txid has 26 to 35 letters and digits.")
        try:
            charge_request = ChargeRequest.model_validate_json(request.body)
        except ValidationError as error:
            return _problem(400, "CobOperacaoInvalida", _first(error))
        known = self._state.charges.get(txid)
        if known is not None:
            if (known.original, known.key) != (charge_request.valor.original, charge_request.chave):
                return _problem(409, "CobOperacaoInvalida", "There is another charge of this txid.")
            return _json(200, _shown(known))
        charge = self._new_charge(txid, charge_request)
        self._store(charge)
        if charge.fault == "out_of_order":
            # The payer was faster than this response: the callback arrives before it.
            charge.told = await self._deliver(charge, charge.original)
            self._store(charge)
        if not charge.told:
            self._begin(self._send_callback(charge))
        return _json(201, _shown(charge, status="ATIVA"))

    async def _get_charge(self, txid: str, _request: HttpRequest) -> HttpResponse:
        charge = self._state.charges.get(txid)
        if charge is None:
            return _problem(404, "NaoEncontrado", "There is no charge of this txid.")
        return _json(200, _shown(charge))

    async def _put_webhook(self, key: str, request: HttpRequest) -> HttpResponse:
        try:
            url = orjson.loads(request.body)["webhookUrl"]
        except (ValueError, KeyError, TypeError):
            url = None
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return _problem(400, "WebhookOperacaoInvalida", "webhookUrl is an http or https URL.")
        self._state.webhooks[key] = url
        self._journal.append("webhook", {"key": key, "url": url})
        return _json(200, {"webhookUrl": url, "chave": key, "criacao": format_time(self._clock.now())})

    async def _order_fault(self, _name: str, request: HttpRequest) -> HttpResponse:
        try:
            order = FaultOrder.model_validate_json(request.body)
        except ValidationError as error:
            return _problem(400, "FaultOrder", _first(error))
        state = self._state
        if order.txid is None:
            state.next_faults.append(order)
        else:
            state.faults[order.txid] = order
            if len(state.faults) > MAX_FAULTS:
                state.faults.popitem(last=False)
        return _json(202, order.model_dump())

    # Charges

    def _new_charge(self, txid: str, charge_request: ChargeRequest) -> SimulatedCharge:
        state, now = self._state, self._clock.now()
        order = state.faults.pop(txid, None) or (state.next_faults.popleft() if state.next_faults else None)
        tail = "".join(self._random.choices(_ALPHANUMERIC, k=11))
        charge = SimulatedCharge(
            txid=txid,
            original=charge_request.valor.original,
            key=charge_request.chave,
            created=format_time(now),
            expires_in=charge_request.calendario.expiracao,
            webhook=state.webhooks.get(charge_request.chave),
            fault=None if order is None else order.fault,
            seconds=0.0 if order is None else order.seconds,
        )
        if charge.fault != "never":
            charge.paid_at = format_time(now)
            charge.end_to_end_id = f"E{_ISPB}{now:%Y%m%d%H%M}{tail}"
        state.charges[txid] = charge
        self._remove_old()
        return charge

    def _remove_old(self) -> None:
        charges = self._state.charges
        while len(charges) > MAX_CHARGES:
            oldest = next((txid for txid, charge in charges.items() if charge.told), next(iter(charges)))
            del charges[oldest]

    def _store(self, charge: SimulatedCharge) -> None:
        self._journal.append("charge", {name: getattr(charge, name) for name in SimulatedCharge.__slots__})

    # Callbacks

    async def _send_callback(self, charge: SimulatedCharge) -> None:
        """Send the callback of the payment until the platform accepts it."""
        if charge.fault == "never":
            return
        if charge.fault == "late":
            await self._sleep(charge.seconds)
        original = charge.original
        if charge.fault == "wrong_amount":
            original = pix.format_amount(pix.parse_amount(original) % pix.MAX_AMOUNT + 1)
        pause = FIRST_RETRY_SECONDS
        for _ in range(MAX_DELIVERIES):
            if await self._deliver(charge, original):
                if charge.fault == "twice":
                    await self._deliver(charge, original)
                charge.told = True
                self._store(charge)
                return
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_RETRY_SECONDS)
        log.error("the callback of the charge %s was not accepted in %d deliveries", charge.txid, MAX_DELIVERIES)

    async def _deliver(self, charge: SimulatedCharge, original: str) -> bool:
        url = self._state.webhooks.get(charge.key) or charge.webhook
        if url is None:
            return False
        report = {
            "endToEndId": charge.end_to_end_id,
            "txid": charge.txid,
            "chave": charge.key,
            "valor": original,
            "horario": charge.paid_at,
        }
        body = orjson.dumps({"pix": [report]})
        headers = provider_signature.sign(self._secret, body, self._clock.now())
        try:
            status = await self._post(url, {**headers, "content-type": "application/json"}, body)
        except OSError as error:
            log.info("the callback of the charge %s got no response: %s", charge.txid, error)
            return False
        if not 200 <= status < 300:
            log.info("the callback of the charge %s was answered with %d", charge.txid, status)
        return 200 <= status < 300

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class HttpPost:
    """Posts over HTTP, with the given client or with one that is created at first use."""

    def __init__(self, client: httpx.AsyncClient | None = None, timeout_seconds: float = 10.0) -> None:
        self._timeout = timeout_seconds
        self._client = client

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post JSON and return the status of the response. Raises OSError when there is no response."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout)
        try:
            answer = await self._client.post(url, headers=dict(headers), content=body)
        except httpx.HTTPError as error:
            raise OSError(f"{type(error).__name__}: {error}") from None
        return answer.status_code

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


async def callback_secret(secrets: Secrets, source: SecretSource) -> bytes:
    """Return the secret with which this provider signs. The first call creates and stores it."""
    name = callback_secret_name("pix")
    secret = await secrets.get(name)
    if secret is None:
        secret = source.hexadecimal().encode()
        await secrets.put(name, secret)
    return secret


def _shown(charge: SimulatedCharge, status: str | None = None) -> dict[str, Any]:
    paid = charge.end_to_end_id is not None
    return {
        "txid": charge.txid,
        "revisao": 0,
        "status": status or ("CONCLUIDA" if paid else "ATIVA"),
        "calendario": {"criacao": charge.created, "expiracao": charge.expires_in},
        "valor": {"original": charge.original},
        "chave": charge.key,
    }


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    return f"{'/'.join(str(part) for part in found['loc'])}: {found['msg']}"


def _json(status: int, value: Any) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, orjson.dumps(value))


def _problem(status: int, kind: str, detail: str) -> HttpResponse:
    """Return a problem in the rail's format (RFC 7807)."""
    value = {
        "type": f"https://pix.bcb.gov.br/api/v2/error/{kind}",
        "title": kind,
        "status": status,
        "detail": detail,
    }
    return HttpResponse(status, {"content-type": _PROBLEM}, orjson.dumps(value))
