"""The wiring check: compares manifests, functions and events. Each difference is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from embedded.functions.ways_in import refused_ways
from embedded.gateway.upstreams import unsupported
from embedded.manifests.findings import Finding, ManifestError
from embedded.wiring import facts, purity, services, ways
from embedded.wiring.repository import Code, Repository, read_repository
from shared.functions.operation import Operation

Rule = Callable[[Repository], Iterator[Finding]]
RULES: Final[tuple[Rule, ...]] = (
    services.names_of_functions,
    services.services_of_functions,
    services.deployed_files,
    ways.functions_without_a_way,
    ways.routes_of_functions,
    ways.triggers_of_functions,
    ways.causes_of_triggers,
    ways.deliveries_of_triggers,
    ways.schedules_of_functions,
    facts.consumers_of_facts,
    facts.sources_of_facts,
    facts.causes_of_facts,
    facts.topics_of_facts,
    purity.impure_functions,
)


def check_wiring(root: Path, code: Code | None = None) -> list[Finding]:
    """Return all errors in the wiring of a checkout, with file and line.

    `code` is the code of the checkout, if it has been read already. Otherwise its functions are imported by the names
    of their modules from this process's path.
    """
    try:
        repository = read_repository(root, code)
    except ManifestError as error:
        # Without valid manifests there is nothing to compare with.
        return sorted(error.findings)
    findings = {*repository.code.broken, *_refused_at_start(repository)}
    for rule in RULES:
        findings.update(rule(repository))
    return sorted(findings)


def _refused_at_start(repository: Repository) -> list[Finding]:
    """Return the errors that the platform would find when it starts, beyond those of the manifests themselves."""
    found = unsupported(repository.manifests)
    if all(repository.behind(name) is not None for name in repository.plan.services):
        found += refused_ways(repository.plan, repository.manifests, lambda name: _operation(repository, name))
    return found


def _operation(repository: Repository, service: str) -> Operation:
    function = repository.behind(service)
    assert function is not None, "the caller has checked that it exists"
    return function.operation
