"""`lastro policies`: make the policies of a cluster from the wiring."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import print_json, say


def policies(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; end with 1 when a file is not current.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the network policies, the mesh's authorization and the disruption budgets from the wiring.

    The files are in knative/policies and knative/platform. What a function uses is read from its code.
    """
    from embedded.manifests.findings import ManifestError
    from embedded.platform.platform import ROOT
    from embedded.policies.files import stale_policies, write
    from embedded.wiring.repository import read_repository

    try:
        repository = read_repository(ROOT)
    except ManifestError as error:
        raise CliError(f"the manifests are not valid:\n{error}") from None
    if repository.code.broken:
        raise CliError("\n".join(map(str, repository.code.broken)))
    if check:
        stale = list(stale_policies(repository))
        if as_json:
            print_json({"stale": [finding.file for finding in stale]})
        else:
            for finding in stale:
                print(finding)
            say(f"{len(stale)} to make again" if stale else "the policies are current")
        if stale:
            raise typer.Exit(1)
        return
    written = write(repository)
    if as_json:
        print_json({"written": written})
        return
    for name in written:
        print(name)
    say(f"{len(written)} written" if written else "the policies are current")
