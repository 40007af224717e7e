"""Brokers, Triggers and PingSources, by the rules of Knative Eventing 1.22's webhook and with bounds of our own.

The webhook accepts any number of retries and any delay. The bounds here are ours: an event that is retried for weeks is
neither delivered nor dead-lettered, and raises no alert.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, Literal

import orjson
from pydantic import Field, field_validator, model_validator

from embedded.manifests.cron import Cron
from embedded.manifests.durations import iso_seconds
from embedded.manifests.findings import FieldError
from embedded.manifests.names import Extensions, is_attribute_name
from embedded.manifests.resource import Destination, Reference, Resource, Strict
from embedded.manifests.serving import MAX_TIMEOUT_SECONDS

MAX_RETRIES: Final = 100
"""The most retries of one delivery."""
MAX_RETRYING_SECONDS: Final = 24 * 60 * 60
"""The longest time from the first attempt of a delivery to its last, by the back-off alone."""
DEFAULT_BACKOFF_SECONDS: Final = 1.0
"""The Kafka broker's back-off delay when the manifest has none."""
_ORDER: Final = "kafka.eventing.knative.dev/delivery.order"
_CLASS: Final = "eventing.knative.dev/broker.class"
_EXTERNAL_TOPIC: Final = "kafka.eventing.knative.dev/external.topic"
_UNPLAYED: Final = ("knative.dev/dependency", "eventing.knative.dev/injection")

BackoffPolicy = Literal["linear", "exponential"]


def delay_before(retry: int, backoff: BackoffPolicy, delay: float) -> float:
    """Return the seconds before the `retry`-th retry (from 1): `delay * n`, or `delay * 2^n`."""
    return delay * (retry if backoff == "linear" else 2**retry)


class DeliverySpec(Strict):
    """When a delivery is retried and how often, and the dead letter sink of an event that fails."""

    dead_letter_sink: Destination | None = None
    retry: int | None = Field(default=None, ge=0)
    timeout: str | None = None
    backoff_policy: BackoffPolicy | None = None
    backoff_delay: str | None = None
    retry_after_max: str | None = None
    format: Literal["binary", "json"] | None = None

    @field_validator("retry")
    @classmethod
    def _retries_are_bounded(cls, retry: int | None) -> int | None:
        if retry is not None and retry > MAX_RETRIES:
            raise ValueError(f"{retry} retries are more than the bound of {MAX_RETRIES}")
        return retry

    @field_validator("timeout")
    @classmethod
    def _a_timeout_can_be_kept(cls, text: str | None) -> str | None:
        if text is not None and not 0 < iso_seconds(text) <= MAX_TIMEOUT_SECONDS:
            bounds = f"more than PT0S and at most PT{MAX_TIMEOUT_SECONDS}S, Serving's limit for every request"
            raise ValueError(f"{text!r} is not a valid timeout: it must be {bounds}")
        return text

    @field_validator("backoff_delay")
    @classmethod
    def _a_delay_is_a_duration(cls, text: str | None) -> str | None:
        if text is not None:
            iso_seconds(text)
        return text

    @field_validator("retry_after_max")
    @classmethod
    def _retry_after_is_not_read(cls, text: str | None) -> str | None:
        if text is not None:
            raise ValueError("Retry-After is not read: the feature delivery-retryafter is off on a cluster, too")
        return text

    @field_validator("format")
    @classmethod
    def _events_are_binary(cls, format: str | None) -> str | None:
        if format == "json":
            raise ValueError("the embedded broker delivers in binary mode only; leave it out or set binary")
        return format

    @model_validator(mode="after")
    def _retries_come_to_an_end(self) -> DeliverySpec:
        retries = range(1, (self.retry or 0) + 1)
        last = sum(delay_before(retry, self.backoff, self.backoff_seconds) for retry in retries)
        if last > MAX_RETRYING_SECONDS:
            hours = MAX_RETRYING_SECONDS // 3600
            raise FieldError(
                f"with this back-off the last of {self.retry} retries comes after {last / 3600:,.1f} hours; "
                f"it must come within {hours}",
                "retry",
            )
        return self

    @property
    def timeout_seconds(self) -> float:
        """The longest time of one attempt, in seconds."""
        return float(MAX_TIMEOUT_SECONDS) if self.timeout is None else iso_seconds(self.timeout)

    @property
    def backoff_seconds(self) -> float:
        """The delay from which the back-off is computed, in seconds."""
        return DEFAULT_BACKOFF_SECONDS if self.backoff_delay is None else iso_seconds(self.backoff_delay)

    @property
    def backoff(self) -> BackoffPolicy:
        """How the delay grows from retry to retry: linearly, or exponentially (the default)."""
        return self.backoff_policy or "exponential"


class BrokerSpec(Strict):
    """The settings of a Broker: its topic and its deliveries."""

    config: Reference | None = None
    delivery: DeliverySpec | None = None


class Broker(Resource):
    """A Broker: its events are offered to its Triggers."""

    spec: BrokerSpec = BrokerSpec()

    @property
    def topic(self) -> str:
        """The name in Kafka of the topic that holds its events: Knative's own name, unless an annotation gives one."""
        return self.metadata.annotations.get(_EXTERNAL_TOPIC) or f"knative-broker-{self.namespace}-{self.name}"

    @model_validator(mode="after")
    def _is_of_kafka(self) -> Broker:
        name = self.metadata.annotations.get(_CLASS, "Kafka")
        if name not in ("Kafka", "KafkaNamespaced"):
            reason = f"a Broker of the class {name!r} is not supported; Kafka and KafkaNamespaced are"
            raise FieldError(reason, "metadata", "annotations", _CLASS)
        return self


class LegacyFilter(Strict):
    """The older filter: attributes that must be equal."""

    attributes: dict[str, str] = Field(default_factory=dict)

    @field_validator("attributes")
    @classmethod
    def _names_are_attributes(cls, attributes: dict[str, str]) -> dict[str, str]:
        for name in attributes:
            if not is_attribute_name(name):
                raise FieldError(NO_ATTRIBUTE, name)
        return attributes


NO_ATTRIBUTE: Final = "it is not the name of an attribute: a lower-case letter, then lower-case letters and digits"


class TriggerSpec(Strict):
    """The filters, subscriber and delivery of a Trigger. embedded/broker/filters.py reads the filters."""

    broker: str | None = None
    broker_ref: Reference | None = None
    filter: LegacyFilter | None = None
    filters: list[Any] | None = None
    subscriber: Destination
    delivery: DeliverySpec | None = None

    @model_validator(mode="after")
    def _has_one_broker(self) -> TriggerSpec:
        if (self.broker is None) == (self.broker_ref is None):
            raise FieldError("one of broker and brokerRef must be set")
        return self


class Trigger(Resource):
    """A Trigger: which events of a Broker go to which subscriber, and how."""

    spec: TriggerSpec

    @model_validator(mode="after")
    def _has_supported_annotations(self) -> Trigger:
        order = self.metadata.annotations.get(_ORDER, "unordered")
        if order not in ("ordered", "unordered"):
            raise FieldError(f"{order!r} is neither ordered nor unordered", "metadata", "annotations", _ORDER)
        for name in _UNPLAYED:
            if name in self.metadata.annotations:
                raise FieldError("the annotation is not supported here", "metadata", "annotations", name)
        return self

    @property
    def broker(self) -> str:
        """The name of the Broker whose events the Trigger filters."""
        return self.spec.broker_ref.name if self.spec.broker_ref is not None else self.spec.broker or ""

    @property
    def ordered(self) -> bool:
        """Whether events of one key are delivered strictly one after the other. By default they are not."""
        return self.metadata.annotations.get(_ORDER) == "ordered"


class Overrides(Strict):
    """Extensions that a source adds to each of its events."""

    extensions: Extensions = Field(default_factory=dict)


class PingSourceSpec(Strict):
    """The schedule of a PingSource, the data of its ticks, and their sink."""

    schedule: str = "* * * * *"
    timezone: str = ""
    content_type: str = ""
    data: str = ""
    data_base64: str = Field(default="", alias="dataBase64")
    sink: Destination
    ce_overrides: Overrides | None = None

    @model_validator(mode="after")
    def _ticks(self) -> PingSourceSpec:
        Cron(self.schedule, self.timezone)
        return self

    @model_validator(mode="after")
    def _has_one_kind_of_data(self) -> PingSourceSpec:
        if self.data and self.data_base64:
            raise FieldError("data is set as well; remove one of them", "dataBase64")
        field = "dataBase64" if self.data_base64 else "data"
        content = self._content(field)
        if content and self.content_type == "application/json":
            try:
                value = orjson.loads(content)
            except orjson.JSONDecodeError as error:
                raise FieldError(f"it is not JSON, which contentType requires: {error}", field) from None
            if not isinstance(value, dict):
                raise FieldError(
                    "it is not a JSON object, which Knative's webhook requires for application/json", field
                )
        return self

    def _content(self, field: str) -> bytes:
        if field == "data":
            return self.data.encode()
        try:
            return base64.b64decode(self.data_base64, validate=True)
        except binascii.Error as error:
            raise FieldError(f"it is not base64: {error}", field) from None


class PingSource(Resource):
    """A PingSource: it sends an event at set times."""

    spec: PingSourceSpec
