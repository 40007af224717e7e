"""`lastro wiring`: check that manifests, functions and events agree."""

from __future__ import annotations

import typer

from cli.options import Json
from cli.output import print_json, say


def wiring(*, as_json: Json = False) -> None:
    """Check that every function has a way in, and that it accepts the requests and events of each way.

    Each finding is printed with file and line. Ends with 1 when there is a finding.
    """
    from embedded.platform.platform import ROOT
    from embedded.wiring.check import check_wiring

    findings = check_wiring(ROOT)
    if as_json:
        print_json({"findings": [{"file": one.file, "line": one.line, "text": one.text} for one in findings]})
    else:
        for finding in findings:
            print(finding)
        say(f"{len(findings)} to correct" if findings else "the wiring is complete")
    if findings:
        raise typer.Exit(1)
