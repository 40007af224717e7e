"""Money: an integer of minor units and an ISO 4217 currency, never a float."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

MAX_MINOR_UNITS: Final = 2**63 - 1

# Active currency codes of ISO 4217, without metals, funds and test codes: payment accounts cannot hold those.
CURRENCIES: Final = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR
    ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU
    UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()
)


def _currency_schema(_source: object, _handler: object) -> CoreSchema:
    # This uses the validator's own look-up table. A check in Python would be the most expensive part of each amount.
    return core_schema.custom_error_schema(
        core_schema.literal_schema(sorted(CURRENCIES)),
        custom_error_type="currency",
        custom_error_message="Input should be an ISO 4217 currency code",
    )


Currency = Annotated[
    str,
    GetPydanticSchema(_currency_schema),
    WithJsonSchema(
        {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217 currency code", "examples": ["BRL"]}
    ),
]


class Money(BaseModel):
    """An amount in events and answers: any 64-bit integer of minor units."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    value: int = Field(
        ge=-MAX_MINOR_UNITS - 1,
        le=MAX_MINOR_UNITS,
        description="The amount in minor units of the currency: 1050 is R$ 10.50.",
        examples=[1050],
    )
    currency: Currency


class Amount(Money):
    """An amount in a request: at least one minor unit."""

    value: int = Field(
        ge=1,
        le=MAX_MINOR_UNITS,
        description="The amount in minor units of the currency: 1050 is R$ 10.50.",
        examples=[1050],
    )


# ISO 4217, column "minor unit"; all other currencies have two decimals.
_DECIMALS: Final = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
}


def decimals(currency: str) -> int:
    """Return the number of decimal places of a currency (ISO 4217): 2 for BRL, 0 for JPY."""
    return _DECIMALS.get(currency, 2)


def decimal_text(minor_units: int, currency: str) -> str:
    """Return minor units as a decimal number with a point: `-1234.50`."""
    places = decimals(currency)
    if not places:
        return str(minor_units)
    digits = str(abs(minor_units)).zfill(places + 1)
    return f"{'-' if minor_units < 0 else ''}{digits[:-places]}.{digits[-places:]}"


@lru_cache(maxsize=4096)
def money(value: int, currency: str) -> Money:
    """Return the Money of `value` minor units. Cached: a payment uses the same few amounts a dozen times."""
    return Money(value=value, currency=currency)
