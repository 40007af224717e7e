"""The definition of the flags for Unleash."""

from __future__ import annotations

import json

from shared.core.flags import FLAGS
from tests.harness import ROOT

DEFINITION = json.loads((ROOT / "knative/platform/unleash/flags.json").read_text(encoding="utf-8"))["data"]


def test_the_definition_has_the_flags_of_the_code() -> None:
    """The file has each flag of the code with its kind and description, and switched as its default says."""
    described = {each["name"]: (each["type"], each["description"]) for each in DEFINITION["features"]}
    assert described == {flag.name: (flag.kind, flag.description) for flag in FLAGS.values()}
    switched = {each["featureName"]: each["enabled"] for each in DEFINITION["featureEnvironments"]}
    assert switched == {flag.name: flag.default for flag in FLAGS.values()}


def test_each_flag_is_on_for_all_tenants_when_it_is_switched_on() -> None:
    """A kill switch has one strategy without conditions; a release flag a rollout by tenant that includes all."""
    for flag in FLAGS.values():
        (strategy,) = [each for each in DEFINITION["featureStrategies"] if each["featureName"] == flag.name]
        assert strategy["constraints"] == []
        if flag.kind == "kill-switch":
            assert (strategy["name"], strategy["parameters"]) == ("default", {})
        else:
            assert strategy["name"] == "flexibleRollout"
            assert strategy["parameters"] == {"rollout": "100", "stickiness": "tenantId", "groupId": flag.name}
