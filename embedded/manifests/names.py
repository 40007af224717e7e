"""Names of Kubernetes, Knative and Kafka, as types for models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator

from embedded.manifests.findings import FieldError
from shared.messaging.attributes import InvalidEvent, check_attribute

_LABEL_1123: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_1035_LABEL: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_DNS_1123_LABEL: Final = re.compile(_LABEL_1123)
_DNS_1123_SUBDOMAIN: Final = re.compile(rf"{_LABEL_1123}(?:\.{_LABEL_1123})*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9]*")


def is_service_name(name: str) -> bool:
    """Return whether a Knative Service may have this name: a DNS label by RFC 1035, because it becomes a host name."""
    return _DNS_1035_LABEL.fullmatch(name) is not None


def is_attribute_name(name: str) -> bool:
    """Return whether a Trigger's filter may name this attribute. Knative's webhook requires `^[a-z][a-z0-9]*$`."""
    return _ATTRIBUTE.fullmatch(name) is not None


def _name(text: str) -> str:
    if len(text) > 253 or not _DNS_1123_SUBDOMAIN.fullmatch(text):
        raise ValueError(f"{text!r} is not a name by RFC 1123: lower-case letters, digits, '-' and '.', at most 253")
    return text


def _namespace(text: str) -> str:
    if not _DNS_1123_LABEL.fullmatch(text):
        raise ValueError(f"{text!r} is not a namespace by RFC 1123: lower-case letters, digits and '-', at most 63")
    return text


def _topic(text: str) -> str:
    if text in (".", "..") or not _TOPIC.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a Kafka topic: letters, digits, '.', '_' and '-', at most 249")
    return text


def _keys(values: dict[str, str]) -> dict[str, str]:
    for key in values:
        prefix, slash, name = key.rpartition("/")
        if (slash and not _DNS_1123_SUBDOMAIN.fullmatch(prefix)) or not _QUALIFIED.fullmatch(name):
            raise FieldError("it is not the name of a label or annotation, [<DNS name>/]<at most 63 characters>", key)
    return values


def _labels(values: dict[str, str]) -> dict[str, str]:
    for key, value in _keys(values).items():
        if not _LABEL_VALUE.fullmatch(value):
            raise FieldError(
                f"{value!r} is not the value of a label: at most 63 letters, digits, '-', '_' and '.'", key
            )
    return values


def _extensions(values: dict[str, str]) -> dict[str, str]:
    check_extensions(values)
    return values


def check_extensions(values: Mapping[str, str]) -> None:
    """Raise FieldError unless these can be extension attributes of an event."""
    for name, value in values.items():
        try:
            check_attribute(name, value)
        except InvalidEvent as error:
            raise FieldError(str(error), name) from None


Name = Annotated[str, AfterValidator(_name)]
Namespace = Annotated[str, AfterValidator(_namespace)]
Topic = Annotated[str, AfterValidator(_topic)]
Labels = Annotated[dict[str, str], AfterValidator(_labels)]
Annotations = Annotated[dict[str, str], AfterValidator(_keys)]
Extensions = Annotated[dict[str, str], AfterValidator(_extensions)]
