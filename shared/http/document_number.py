"""The taxpayer number in a request."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from shared.core import tax_ids
from shared.http.models import Command


class DocumentNumber(Command):
    """A taxpayer number of Brazil's Receita Federal."""

    type: Literal["cpf", "cnpj"] = Field(description="`cpf` for a person, `cnpj` for a company.")
    number: str = Field(
        max_length=18, description="The number, with or without punctuation. Its check digits are verified."
    )

    @field_validator("number")
    @classmethod
    def _of_its_type(cls, number: str, info: ValidationInfo) -> str:
        kind = info.data.get("type")
        if kind is None:
            return number
        return tax_ids.cpf(number) if kind == "cpf" else tax_ids.cnpj(number)
