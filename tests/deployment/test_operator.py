"""A command of `lastro` in a cluster, with kubectl and kustomize as stand-ins."""

from __future__ import annotations

import json

import pytest
import yaml

from deployment.__main__ import main
from deployment.commands import ROOT
from tests.deployment.stand_ins import StandIns

JOB = (ROOT / "knative" / "platform" / "migrate" / "job.yaml").read_text()


def conditions(condition: str) -> str:
    return json.dumps({"status": {"conditions": [{"type": condition, "status": "True"}]}})


def test_a_command_runs_as_the_job_that_prepares_the_stores(
    programs: StandIns, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pod is that of `lastro-migrate` with another command; it is tried once, is none of Argo CD's, its output is
    printed, and the job is removed."""
    programs.answers("^kustomize build .*/overlays/production/migrate$", JOB)
    programs.answers(" get job/lastro-operator-", conditions("Complete"))
    programs.answers(" logs ", "verified\n")
    assert main(["operator", "ledger", "verify", "--tenant", "acme"]) == 0
    assert capsys.readouterr().out == "verified\n"
    own, (made,) = yaml.safe_load(JOB), (yaml.safe_load(call.given) for call in programs.calls if call.given)
    pod, former = made["spec"]["template"]["spec"], own["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["ledger", "verify", "--tenant", "acme"]
    assert (pod["volumes"], pod["serviceAccountName"]) == (former["volumes"], former["serviceAccountName"])
    assert made["spec"]["template"]["metadata"] == own["spec"]["template"]["metadata"]
    assert (made["spec"]["backoffLimit"], "annotations" in made["metadata"]) == (0, False)
    name = made["metadata"]["name"]
    assert programs.lines[-1] == f"kubectl delete job/{name} --namespace=lastro --ignore-not-found --wait=false"


def test_a_command_that_fails_shows_its_output(programs: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """A command that ends with another code than 0 ends the task with 1 and the last lines; the job is removed."""
    programs.answers("^kustomize", JOB)
    programs.answers(" get job/lastro-operator-", conditions("Failed"))
    programs.answers(" get pods ", json.dumps({"items": [{"metadata": {"name": "pod-1"}}]}))
    programs.answers(" logs pod-1 ", "account 7: the balance differs\n")
    assert main(["operator", "ledger", "verify"]) == 1
    assert "account 7: the balance differs" in capsys.readouterr().err
    assert " delete job/lastro-operator-" in programs.lines[-1]


def test_what_is_missing_is_said(programs: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, and with manifests without the job, the message says so, and nothing is applied."""
    assert main(["operator"]) == 1
    assert "which command? for example `task operator -- ledger verify`" in capsys.readouterr().err
    programs.answers("^kustomize", "kind: ConfigMap\nmetadata: {name: x}\n")
    assert main(["operator", "ledger", "verify"]) == 1
    assert "has no job lastro-migrate" in capsys.readouterr().err
    assert not any("apply" in line for line in programs.lines)
