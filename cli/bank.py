"""`lastro bank`: settlement files of banks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from cli.client import Client
from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Tenant
from cli.output import print_json

_WAIT_SECONDS: Final = 10
app = typer.Typer(no_args_is_help=True, help="Settlement files of banks.")


@app.callback()
def _bank() -> None:
    """Settlement files of banks: the outcomes of bank transfers."""


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A return file of payments, CNAB 240.", exists=True, dir_okay=False)],
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Import a settlement file; its payments then have their outcomes. A file is imported once.

    Nothing is imported when anything in the file is wrong: each error is printed with its line and column.
    """
    # The format is of ASCII characters; other bytes are letters of a name, one column each.
    body = orjson.dumps({"content": file.read_bytes().decode("latin-1")})
    with Client.of(data_dir, tenant=tenant) as client:
        answer = client.send("POST", "/v1/settlement-files", body, headers={"prefer": f"wait={_WAIT_SECONDS}"})
    found: Any = answer.body if isinstance(answer.body, dict) else {}
    if not answer.ok:
        reasons = [error["detail"] for error in found.get("errors", [])] or [found.get("detail", answer.text)]
        raise CliError("\n  ".join([f"{file} is not imported ({answer.status}):", *reasons]))
    if as_json:
        print_json(found)
        return
    lines = found["lines"]
    unmatched = [line for line in lines if line["result"] == "unmatched"]
    print(
        f"{file} is {found['status']} as {found['id']}: {len(lines)} payments, {len(unmatched)} without a payment here"
    )
    for line in unmatched:
        print(f"  line {line['line']}: {line['reference']}, {line['outcome']}")
