"""Validation errors of pydantic as problems."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.http.validation import body_problem, query_problem


class _Inner(BaseModel):
    value: int = 0


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    inner: _Inner = _Inner()
    texts: list[str] = Field(default=[], max_length=2, min_length=1)
    words: dict[str, str] = Field(default={}, max_length=1)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"surprise": 1}, "There is no field of this name."),
        ({"inner": 1}, "Input should be a JSON object."),
        ({"words": 1}, "Input should be a JSON object."),
        ({"texts": 1}, "Input should be a JSON array."),
        ({"texts": []}, "It should have at least 1 item."),
        ({"texts": ["a", "b", "c"]}, "It should have at most 2 items."),
        ({"words": {"a": "1", "b": "2"}}, "It should have at most 1 item."),
    ],
)
def test_an_error_is_told_in_words_of_json(body: dict[str, Any], detail: str) -> None:
    """An error of a body names objects, arrays and fields, and no types of Python."""
    with pytest.raises(ValidationError) as found:
        _Body.model_validate(body)
    assert [error.detail for error in body_problem(found.value).errors] == [detail]


def test_an_unknown_parameter_is_named_as_such() -> None:
    """An error of a query says that there is no such parameter."""
    with pytest.raises(ValidationError) as found:
        _Body.model_validate({"surprise": 1})
    assert [error.detail for error in query_problem(found.value).errors] == ["There is no parameter of this name."]
