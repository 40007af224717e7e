"""Events in both directions: those that functions publish, those that Triggers let pass, and the topics between."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator

from embedded.manifests.findings import Finding
from embedded.wiring.repository import Repository
from embedded.wiring.ways import CAUSE_FIELDS
from events.catalogue import CATALOGUE
from shared.core.envelope import Event


def consumers_of_facts(repository: Repository) -> Iterator[Finding]:
    """Each event type is consumed by a Trigger or declared terminal, and not both."""
    consumed = _consumed(repository)
    for name, model in CATALOGUE.items():
        if name not in consumed and not model.terminal:
            yield _of_model(
                model,
                f"no Trigger consumes {name}. Add a Trigger, or `terminal = True` here if no function needs the event",
            )
        elif name in consumed and model.terminal:
            yield _of_model(
                model,
                f"the Trigger {consumed[name]} consumes {name}, which is declared terminal. Remove `terminal` here",
            )
    for name, trigger in consumed.items():
        if name not in CATALOGUE:
            reason = f"there is no event type {name}"
            yield repository.manifests.finding("Trigger", trigger, reason, "spec")


def sources_of_facts(repository: Repository) -> Iterator[Finding]:
    """Every type that a function publishes is in the catalogue, and every type in it is published, by its own
    domain."""
    emitted = {fact.model.type for fact in repository.code.facts}
    for fact in repository.code.facts:
        shown = f"{fact.model.__name__} ({fact.model.type})"
        if fact.model.type not in CATALOGUE:
            yield Finding(fact.file, fact.line, f"{shown} is emitted here and not in events/catalogue.py.")
        if fact.model.topic != f"lastro.{fact.domain}.v1":
            reason = f"{shown} is emitted by the domain {fact.domain}, and its topic is {fact.model.topic}"
            yield Finding(fact.file, fact.line, f"{reason}; a domain publishes to its own topic.")
    for name, model in CATALOGUE.items():
        if name not in emitted:
            yield _of_model(model, f"no function emits {name}")


def causes_of_facts(repository: Repository) -> Iterator[Finding]:
    """A function that publishes a consumed event with a cause sets the extension attribute by which Triggers filter."""
    consumed = _consumed(repository)
    for fact in repository.code.facts:
        if fact.model.type in consumed and CAUSE_FIELDS & fact.model.model_fields.keys() and not fact.names_cause:
            reason = (
                f"{fact.model.__name__} has a cause, and it is emitted without causetype=, by which Triggers filter"
            )
            yield Finding(fact.file, fact.line, f"{reason}.")


def topics_of_facts(repository: Repository) -> Iterator[Finding]:
    """Each topic of events is a KafkaTopic that one source reads into the Broker, and each topic is read once."""
    manifests, plan = repository.manifests, repository.plan
    read = Counter(topic for source in manifests.sources.values() for topic in source.spec.topics)
    for topic in manifests.topics:
        if read[topic] != 1:
            sources = "no KafkaSource reads it" if not read[topic] else f"{read[topic]} KafkaSources read it"
            yield manifests.finding("KafkaTopic", topic, f"{sources}; it must be one")
    topics: dict[str, type[Event]] = {}
    for model in CATALOGUE.values():
        topics.setdefault(model.topic, model)
    for topic, model in topics.items():
        if topic not in manifests.topics:
            yield _of_model(
                model, f"the topic {topic} of {model.type} is not a KafkaTopic. Add it, or correct `topic` here"
            )
        elif read[topic] and topic not in plan.topics_of_brokers:
            yield manifests.finding(
                "KafkaTopic", topic, "facts are published to it, and no source brings it to a Broker"
            )


def _consumed(repository: Repository) -> dict[str, str]:
    """Return the event types that Triggers let pass, each with the name of one such Trigger."""
    return {
        type_name: subscription.resource[1]
        for subscription in repository.triggers
        for type_name in sorted(subscription.filter.possible_types or ())
    }


def _of_model(model: type[Event], reason: str) -> Finding:
    line = inspect.getsourcelines(model)[1]
    return Finding(f"{model.__module__.replace('.', '/')}.py", line, f"{reason[0].upper()}{reason[1:]}.")
