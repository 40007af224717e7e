"""`lastro openapi`: the OpenAPI document, from the code and without a running platform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CliError
from cli.output import print_json


def openapi(
    *,
    base_url: Annotated[str, typer.Option("--base-url", help="The server's address in the document.")] = (
        "http://127.0.0.1:8080"
    ),
    token_endpoint: Annotated[
        str | None, typer.Option("--token-url", help="The token endpoint's address; default: the platform's own.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it to a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The document is JSON in any case.")] = False,
) -> None:
    """Print the OpenAPI 3.1 document of the HTTP interface."""
    import json

    from embedded.gateway.upstreams import routed_operations
    from embedded.identity.issuer import token_url
    from embedded.manifests.findings import ManifestError
    from embedded.manifests.loading import load
    from embedded.platform.platform import ROOT
    from shared.core.version import VERSION
    from shared.http.openapi import describe

    del as_json
    try:
        operations = routed_operations(load(ROOT))
    except ManifestError as error:
        raise CliError(str(error)) from None
    document = describe(operations, base_url=base_url, token_url=token_endpoint or token_url(base_url), version=VERSION)
    if output is None:
        print_json(document)
        return
    try:
        output.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CliError(f"{output} cannot be written: {error.strerror}") from None
