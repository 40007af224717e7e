"""`lastro request` and `lastro token`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.client import Answer, Client, read_credentials
from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Platform, Tenant
from cli.output import print_json, say

_PERSONS_CLIENT: Final = "lastro-app"
_OPERATORS_CLIENT: Final = "lastro-console"


def request(
    method: Annotated[str, typer.Argument(help="GET, POST, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(help="The path, with its query: /v1/payments?limit=5")],
    *,
    data: Annotated[
        str | None, typer.Option("-d", "--data", help="The JSON body; @FILE reads a file, @- standard input.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="A further header, `Name: value`.")] = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The key of a POST; a new one when left out.")
    ] = None,
    wait: Annotated[
        int,
        typer.Option(
            "--wait", help="Seconds to wait until the platform has finished its work on the resource.", min=0, max=10
        ),
    ] = 0,
    include: Annotated[bool, typer.Option("-i", "--include", help="Print status and headers before the body.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    platform: Platform = False,
    as_json: Json = False,
) -> None:
    """Sign a request, send it and print the answer's body. Ends with 1 when it is refused.

    A tenant or signing key that the request creates is stored in credentials.json for later requests.
    """
    if not path.startswith("/"):
        raise CliError("the path begins with a slash: /v1/payments", 2)
    headers = dict(_header(line) for line in header or [])
    if wait:
        headers["prefer"] = f"wait={wait}"
    body = _body(data)
    with Client.of(data_dir, tenant=tenant, platform=platform) as client:
        answer = client.send(method, path, body, headers=headers, key=key)
        _store_secret(client, method.upper(), path, answer)
    if as_json:
        shown = answer.body if answer.body is not None or not answer.text else answer.text
        print_json({"status": answer.status, "headers": answer.headers, "body": shown})
    else:
        _print(answer, include=include)
    if not answer.ok:
        raise typer.Exit(1)


def token(
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    platform: Platform = False,
    scope: Annotated[str | None, typer.Option("--scope", help="These scopes only, set apart by spaces.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="A person's token, by the user's id.")] = None,
    login: Annotated[
        bool,
        typer.Option("--login", help="A person's token from a realm on a server, by a login in the browser."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Print an access token (five minutes).

    With --login the person logs in at the address that is printed; with --platform, too, as an operator.
    """
    if login:
        _print_token(_by_login(data_dir, platform=platform, others=(tenant, scope, user)), as_json=as_json)
        return
    with Client.of(data_dir, tenant=tenant, platform=platform) as client:
        found = client.token(scope=scope, user=user)
    _print_token(found, as_json=as_json)


def _by_login(data_dir: Path, *, platform: bool, others: tuple[str | None, ...]) -> str:
    if any(other is not None for other in others):
        raise CliError("--login takes the person from the login: leave --tenant, --scope and --user out", 2)
    from cli.login import log_in

    client_id = _OPERATORS_CLIENT if platform else _PERSONS_CLIENT
    return log_in(read_credentials(data_dir).token_url, client_id, lambda url: say(f"log in here: {url}"))


def _print_token(token: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"access_token": token, "token_type": "Bearer"})
    else:
        print(token)


def _body(data: str | None) -> bytes:
    if data is None:
        return b""
    if data == "@-":
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as error:
            raise CliError(f"{data[1:]} cannot be read: {error.strerror}") from None
    return data.encode()


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise CliError(f"{line!r} is not a header: use `Name: value`", 2)
    return name.strip().lower(), value.strip()


def _print(answer: Answer, *, include: bool) -> None:
    if include:
        print(f"HTTP {answer.status}")
        for name, value in answer.headers.items():
            print(f"{name}: {value}")
        print()
    body = answer.body
    if isinstance(body, dict | list):
        print_json(body)
    elif answer.text:
        print(answer.text)


def _store_secret(client: Client, method: str, path: str, answer: Answer) -> None:
    """Store a new tenant or signing key, whose secret is shown only in this response."""
    body: Any = answer.body
    if method != "POST" or answer.status != 201 or not isinstance(body, dict):
        return
    credentials = client.credentials
    parts = path.partition("?")[0].strip("/").split("/")
    if parts == ["v1", "tenants"] and "client" in body:
        credentials.add_tenant(body)
        credentials.write()
        say(f"stored in {credentials.path}; act for it with --tenant {body['id']}")
        return
    is_key = len(parts) == 4 and parts[:2] == ["v1", "tenants"] and parts[3] == "signing-keys" and "secret" in body
    if is_key and credentials.replace_key(parts[2], body):
        credentials.write()
        say(f"stored in {credentials.path}: {parts[2]} signs with {body['key_id']} from now on")
