"""The terms of a dynamic BR Code: a signed document at the location that the code names.

Source: Banco Central do Brasil, Manual de Padrões para Iniciação do Pix, and Manual de Segurança do Pix. The amount and
the txid in the code do not count; those of the terms do. The terms are a JWS (RFC 7515) whose keys are at `jku`.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from shared.adapters.pix.formats import parse_amount
from shared.adapters.pix.keys import key_kind
from shared.core.business_days import day_begins
from shared.core.clock import parse_time
from shared.core.due_terms import last_payable_day
from shared.ports.documents import Unavailable
from shared.ports.outgoing import Outgoing
from shared.ports.rail_payments import ReceiverRefused

ALGORITHMS: Final = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
_TEMPORARY: Final = frozenset({"connection_failed", "name_not_resolved", "timeout"})
_FROM_SERVER: Final = 500


class Terms(NamedTuple):
    """What a dynamic code asks for. The amount is that of the payment."""

    key: str
    txid: str | None


async def read_terms(location: str, amount: int, outgoing: Outgoing, now: datetime) -> Terms:
    """Read and check the terms at a location (a URL without its scheme), for a payment of `amount` centavos.

    Raises ReceiverRefused, or Unavailable when the terms cannot be read now.
    """
    signed = await _content(outgoing, outgoing.url_of(location))
    keys = await _content(outgoing, outgoing.url_of(_keys_location(signed, location)))
    terms = _verified(signed, keys)
    if terms.get("status") != "ATIVA":
        raise _refused("cannot be paid any more")
    _check_time(terms.get("calendario"), now)
    wanted = _amount(terms.get("valor"))
    if wanted != amount:
        raise _refused(f"are of {wanted} minor units, and the payment of {amount}")
    key, txid = terms.get("chave"), terms.get("txid")
    if not isinstance(key, str) or key_kind(key) is None:
        raise _refused("have no PIX key")
    return Terms(key, txid if isinstance(txid, str) else None)


def _refused(why: str) -> ReceiverRefused:
    return ReceiverRefused("br_code_refused", f"The terms of the BR Code {why}.")


async def _content(outgoing: Outgoing, url: str) -> bytes:
    answer = await outgoing.get(url, {"accept": "application/jose, application/json"})
    if answer.error in _TEMPORARY or (answer.status_code is not None and answer.status_code >= _FROM_SERVER):
        raise Unavailable(f"their host does not answer ({answer.error or answer.status_code})")
    if answer.error is not None:
        raise _refused(f"cannot be read: {answer.error}")
    if answer.status_code != 200:
        raise _refused(f"are not there: their host answers {answer.status_code}")
    return answer.content


def _keys_location(signed: bytes, location: str) -> str:
    """Return where the keys of the signature are, without the scheme: at the host of the terms, which TLS has
    verified."""
    import jwt

    try:
        header = jwt.get_unverified_header(signed)
    except jwt.PyJWTError:
        raise _refused("are not signed") from None
    parts = urlsplit(str(header.get("jku", "")))
    host = urlsplit(f"//{location}").netloc
    if parts.scheme != "https" or parts.netloc != host:
        raise _refused("name keys at another host than their own")
    return f"{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")


def _verified(signed: bytes, keys: bytes) -> dict[str, Any]:
    import json

    import jwt

    try:
        key_id = jwt.get_unverified_header(signed).get("kid")
        known = jwt.PyJWKSet.from_dict(json.loads(keys))
        found = next((key for key in known.keys if key.key_id == key_id), None)
        if found is None:
            raise _refused("are signed with a key that their host does not have")
        payload = jwt.PyJWS().decode(signed, found.key, algorithms=list(ALGORITHMS))
        terms = json.loads(payload)
    except (jwt.PyJWTError, ValueError, AttributeError, TypeError):
        raise _refused("have no valid signature") from None
    if not isinstance(terms, dict):
        raise _refused("are not a JSON object")
    return terms


def _check_time(calendar: Any, now: datetime) -> None:
    """Raise ReceiverRefused when the charge has expired, an immediate one or one with a due date.

    The receiver's provider may show the terms of an expired charge.
    """
    if not isinstance(calendar, dict):
        return
    try:
        if "dataDeVencimento" in calendar:
            due, valid_days = date.fromisoformat(calendar["dataDeVencimento"]), calendar["validadeAposVencimento"]
            until = day_begins(last_payable_day(due, int(valid_days)) + timedelta(days=1))
        elif "expiracao" in calendar:
            until = parse_time(str(calendar["criacao"])) + timedelta(seconds=int(calendar["expiracao"]))
        else:
            return
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _refused("do not say until when they can be paid") from None
    if now >= until:
        raise _refused("have expired")


def _amount(value: Any) -> int:
    """Return the amount in centavos: the final one of a due charge, otherwise the original one."""
    found = value.get("final", value.get("original")) if isinstance(value, dict) else None
    try:
        return parse_amount(str(found))
    except ValueError:
        raise _refused("have no amount") from None
