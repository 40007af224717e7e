"""The BR Code, the text of a PIX QR code: reading and writing.

Source: Banco Central do Brasil, Manual de Padrões para Iniciação do Pix, which profiles EMV QRCPS-MPM. A code is a row
of fields; each is an id of two digits, a length of two digits, and a value of that many characters. The last field is a
checksum over everything before its value.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from typing import Final, NamedTuple

from shared.adapters.pix.formats import format_amount, parse_amount

GUI: Final = "br.gov.bcb.pix"
"""The globally unique identifier of PIX in a template of the code."""
NO_TXID: Final = "***"
"""The txid of a code that has none. It stands in every dynamic code, whose txid is in the payload."""
MAX_LOCATION: Final = 77
MAX_KEY: Final = 77
MAX_NAME: Final = 25
MAX_CITY: Final = 15
MAX_CODE: Final = 512
_CHECKSUM: Final = "6304"
_STATIC_TXID: Final = re.compile(r"[a-zA-Z0-9]{1,25}")
_LOCATION: Final = re.compile(r"[a-zA-Z0-9.-]+(:[0-9]{1,5})?(/[a-zA-Z0-9._~:@!$&'()*+,;=%-]*)+")
_HEXADECIMAL: Final = re.compile(r"[0-9A-F]{4}")
_READABLE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class InvalidBrCode(ValueError):
    """A text is not a BR Code; the message says what is wrong."""


class BrCode(NamedTuple):
    """What a BR Code says. A dynamic code has a `location`, a static one a `key`.

    `amount` is in centavos. In a dynamic code the payload at the location decides the amount and the txid. `recurrence`
    is the location of a recurring payment's terms (Pix Automático); a code may have it alone.
    """

    name: str
    city: str
    location: str | None = None
    key: str | None = None
    information: str | None = None
    amount: int | None = None
    txid: str | None = None
    category: str = "0000"
    once: bool = False
    """Whether the code is to be paid once (field 01 is 12)."""
    recurrence: str | None = None


def dynamic_code(location: str, name: str, city: str) -> str:
    """Return the dynamic code, payable once, whose payload is at `location` (a URL without its scheme).

    Raises ValueError when a value does not fit the format.
    """
    if len(location) > MAX_LOCATION or _LOCATION.fullmatch(location) is None:
        raise ValueError(f"a location is a URL without its scheme, of at most {MAX_LOCATION} characters: {location!r}")
    account = _field("26", _field("00", GUI) + _field("25", location))
    return _code("12", account, None, name, city, NO_TXID)


def static_code(
    key: str, name: str, city: str, *, amount: int | None = None, txid: str | None = None, information: str = ""
) -> str:
    """Return the static code of a PIX key; without `amount` (centavos) the payer chooses it.

    Raises ValueError when a value does not fit the format.
    """
    if not 1 <= len(key) <= MAX_KEY:
        raise ValueError(f"a PIX key has 1 to {MAX_KEY} characters")
    if txid is not None and _STATIC_TXID.fullmatch(txid) is None:
        raise ValueError("the txid of a static code has 1 to 25 letters and digits")
    inner = _field("00", GUI) + _field("01", key) + (_field("02", information) if information else "")
    return _code(None, _field("26", inner), amount, name, city, txid or NO_TXID)


def fitted_name(name: str) -> str:
    """Return a receiver's name as a code has it: its first 25 characters, without accents; `RECEBEDOR` when none of it
    can be written."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return " ".join(plain.split())[:MAX_NAME].strip() or "RECEBEDOR"


def parse_br_code(text: str) -> BrCode:
    """Read a BR Code. Raises InvalidBrCode."""
    if len(text) > MAX_CODE:
        raise InvalidBrCode(f"a code has at most {MAX_CODE} characters")
    _check_sum(text)
    fields = _fields(text, "the code")
    if next(iter(fields), None) != "00" or fields["00"] != "01":
        raise InvalidBrCode("a code begins with the field 00, the format indicator 01")
    _require(fields, "53", "986")
    _require(fields, "58", "BR")
    location, key, information = _account(fields)
    recurrence = _recurrence(fields)
    if location is None and key is None and recurrence is None:
        raise InvalidBrCode("the code has neither a key nor a location of PIX")
    txid = _fields(fields.get("62", ""), "field 62").get("05")
    return BrCode(
        name=_text(fields, "59", MAX_NAME),
        city=_text(fields, "60", MAX_CITY),
        location=location,
        key=key,
        information=information,
        amount=_amount(fields.get("54")),
        txid=None if txid in (None, NO_TXID) else txid,
        category=fields.get("52", "0000"),
        once=fields.get("01") == "12",
        recurrence=recurrence,
    )


def checksum(text: str) -> str:
    """Return the CRC-16 (polynomial 0x1021, initial value 0xFFFF) of a text: four hexadecimal digits."""
    return f"{binascii.crc_hqx(text.encode(), 0xFFFF):04X}"


def _code(method: str | None, account: str, amount: int | None, name: str, city: str, txid: str) -> str:
    for value, limit, title in ((name, MAX_NAME, "name"), (city, MAX_CITY, "city")):
        if not 1 <= len(value) <= limit or _READABLE.fullmatch(value) is None:
            raise ValueError(f"the {title} of the receiver has 1 to {limit} readable characters")
    text = "".join(
        (
            _field("00", "01"),
            _field("01", method) if method else "",
            account,
            _field("52", "0000"),
            _field("53", "986"),
            _field("54", format_amount(amount)) if amount is not None else "",
            _field("58", "BR"),
            _field("59", name),
            _field("60", city),
            _field("62", _field("05", txid)),
            _CHECKSUM,
        )
    )
    return text + checksum(text)


def _field(id: str, value: str) -> str:
    if not 1 <= len(value) <= 99:
        raise ValueError(f"the value of field {id} has {len(value)} characters; 1 to 99 fit")
    return f"{id}{len(value):02d}{value}"


def _check_sum(text: str) -> None:
    body, found = text[:-4], text[-4:]
    if not body.endswith(_CHECKSUM) or _HEXADECIMAL.fullmatch(found) is None:
        raise InvalidBrCode("a code ends with 6304 and four hexadecimal digits")
    try:
        wanted = checksum(body)
    except UnicodeEncodeError:
        raise InvalidBrCode("the code has characters that no text can have") from None
    if found != wanted:
        raise InvalidBrCode("the checksum of the code is wrong: the code is damaged or incomplete")


def _fields(text: str, place: str) -> dict[str, str]:
    """Return the fields of a code or of a template by id, in their order."""
    fields: dict[str, str] = {}
    position = 0
    while position < len(text):
        id, length = text[position : position + 2], text[position + 2 : position + 4]
        if not (_is_number(id) and _is_number(length)):
            raise InvalidBrCode(f"{place} has no field at character {position + 1}")
        value = text[position + 4 : position + 4 + int(length)]
        if len(value) < int(length) or not value:
            raise InvalidBrCode(f"field {id} of {place} does not have the length that it states")
        if id in fields:
            raise InvalidBrCode(f"{place} has field {id} twice")
        fields[id] = value
        position += 4 + int(length)
    return fields


def _is_number(text: str) -> bool:
    return len(text) == 2 and text.isascii() and text.isdigit()


def _account(fields: dict[str, str]) -> tuple[str | None, str | None, str | None]:
    """Return the location, the key and the information of the one template of PIX among the fields 26 to 51."""
    found = [inner for inner in _templates(fields, 26, 51) if inner.get("00", "").lower() == GUI]
    if len(found) != 1:
        raise InvalidBrCode("a code has one template of PIX (br.gov.bcb.pix) among the fields 26 to 51")
    inner = found[0]
    location, key = inner.get("25"), inner.get("01")
    if location is not None and key is not None:
        raise InvalidBrCode("the template of PIX has both a key and a location")
    if location is not None:
        _check_location(location)
    if key is not None and len(key) > MAX_KEY:
        raise InvalidBrCode(f"the key has more than {MAX_KEY} characters")
    return location, key, inner.get("02")


def _recurrence(fields: dict[str, str]) -> str | None:
    for inner in _templates(fields, 80, 99):
        if inner.get("00", "").lower() == GUI and "25" in inner:
            _check_location(inner["25"])
            return inner["25"]
    return None


def _templates(fields: dict[str, str], first: int, last: int) -> list[dict[str, str]]:
    return [_fields(value, f"field {id}") for id, value in fields.items() if first <= int(id) <= last]


def _check_location(location: str) -> None:
    if len(location) > MAX_LOCATION or _LOCATION.fullmatch(location) is None:
        raise InvalidBrCode(f"a location is a URL without its scheme, of at most {MAX_LOCATION} characters")


def _require(fields: dict[str, str], id: str, value: str) -> None:
    if fields.get(id) != value:
        raise InvalidBrCode(f"field {id} of the code is not {value}")


def _text(fields: dict[str, str], id: str, limit: int) -> str:
    value = fields.get(id)
    if value is None or len(value) > limit or _READABLE.fullmatch(value) is None:
        raise InvalidBrCode(f"field {id} of the code does not have 1 to {limit} readable characters")
    return value


def _amount(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_amount(text)
    except ValueError as error:
        raise InvalidBrCode(f"field 54: {error}") from None
