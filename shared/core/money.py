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


@lru_cache(maxsize=4096)
def money(value: int, currency: str) -> Money:
    """Return the Money of `value` minor units. Cached: a payment uses the same few amounts a dozen times."""
    return Money(value=value, currency=currency)
