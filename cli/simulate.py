"""`lastro simulate`: a simulated payment provider or gateway of messages, as a program of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import console, print_json

if TYPE_CHECKING:
    import socket

    from embedded.simulators.access import ApiClient
    from embedded.simulators.program import Simulator

_Host = Annotated[str, typer.Option(help="The address to listen on.")]
_Port = Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535)]
_ClientId = Annotated[str, typer.Option(help="The client that may use the API; without it no token is used.")]
_ClientSecret = Annotated[str, typer.Option(envvar="LASTRO_SIMULATOR_CLIENT_SECRET", help="The secret of that client.")]

_File = Annotated[
    Path | None, typer.Option(help="A file to which each message is appended as a line of JSON; without it in memory.")
]

app = typer.Typer(
    help="Simulated payment providers and gateways of messages, for trying and testing.", no_args_is_help=True
)


@app.command()
def pix(
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 8081,
    secret: Annotated[
        str,
        typer.Option(
            envvar="LASTRO_SIMULATOR_SECRET",
            help="The secret that signs callbacks: providers/pix/callback-secret of the platform.",
        ),
    ],
    client_id: _ClientId = "",
    client_secret: _ClientSecret = "",
    journal: Annotated[
        Path | None, typer.Option(help="A file that keeps charges and unsent callbacks; without it in memory.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a PIX provider with the API Pix of the Banco Central; set LASTRO_PIX_RAIL of the platform to its URL.

    POST /payments pays a code as a stranger's bank does, and POST /faults orders faults. Ctrl-C or SIGTERM ends it.
    """
    from random import Random

    from embedded.simulators.pix import PixSimulator
    from shared.core.clock import SystemClock

    known = _client(client_id, client_secret)

    def make(url: str) -> PixSimulator:
        return PixSimulator(
            secret.encode(),
            SystemClock(),
            Random(),  # noqa: S311 - ids of a simulation
            journal=journal,
            base_url=url,
            prefix="",
            client=known,
        )

    _serve("PIX provider", make, host, port, as_json=as_json)


@app.command()
def card(
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 8082,
    secret: Annotated[
        str,
        typer.Option(
            envvar="LASTRO_SIMULATOR_SECRET",
            help="The secret that signs callbacks: providers/card/callback-secret of the platform.",
        ),
    ],
    client_id: _ClientId = "",
    client_secret: _ClientSecret = "",
    journal: Annotated[
        Path | None, typer.Option(help="A file that keeps payments and unsent callbacks; without it in memory.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a card gateway; set LASTRO_CARD_GATEWAY of the platform to its URL.

    Test tokens such as `tok_approve` and `tok_insufficient_funds` decide the issuer's answer, and POST /faults orders
    faults. Ctrl-C or SIGTERM ends it.
    """
    from random import Random

    from embedded.simulators.card import CardSimulator
    from shared.core.clock import SystemClock

    known = _client(client_id, client_secret)

    def make(_url: str) -> CardSimulator:
        return CardSimulator(
            secret.encode(),
            SystemClock(),
            Random(),  # noqa: S311 - ids of a simulation
            journal=journal,
            prefix="",
            client=known,
        )

    _serve("card gateway", make, host, port, as_json=as_json)


@app.command()
def bank(
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 8083,
    secret: Annotated[
        str,
        typer.Option(
            envvar="LASTRO_SIMULATOR_SECRET",
            help="The secret that signs callbacks: providers/bank_transfer/callback-secret of the platform.",
        ),
    ],
    client_id: _ClientId = "",
    client_secret: _ClientSecret = "",
    journal: Annotated[
        Path | None, typer.Option(help="A file that keeps transfers and unsent callbacks; without it in memory.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate a partner bank that makes transfers; set LASTRO_BANK_RAIL of the platform to its URL.

    POST /returns sends the money of a transfer back as the receiving bank does, and POST /faults orders faults. Ctrl-C
    or SIGTERM ends it.
    """
    from random import Random

    from embedded.simulators.bank import BankSimulator
    from shared.core.clock import SystemClock

    known = _client(client_id, client_secret)

    def make(_url: str) -> BankSimulator:
        return BankSimulator(
            secret.encode(),
            SystemClock(),
            Random(),  # noqa: S311 - ids of a simulation
            journal=journal,
            prefix="",
            client=known,
        )

    _serve("partner bank", make, host, port, as_json=as_json)


@app.command()
def email(
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 1025,
    http_port: Annotated[
        int, typer.Option(help="The port for the HTTP requests below; 0 takes a free one.", min=0, max=65535)
    ] = 8084,
    file: _File = None,
    as_json: Json = False,
) -> None:
    """Simulate a mail server (SMTP); set LASTRO_EMAIL of the platform to the printed value.

    Over HTTP, GET /messages shows what was delivered, and POST /faults orders faults. Ctrl-C or SIGTERM ends it.
    """
    from embedded.simulators.email import EmailSimulator
    from shared.core.clock import SystemClock

    receiving = _listening(host, port)
    address = f"[{host}]" if ":" in host else host
    setting = f"LASTRO_EMAIL=smtp://{address}:{receiving.getsockname()[1]}?from=payments@lastro.example"

    def make(_url: str) -> EmailSimulator:
        return EmailSimulator(receiving, SystemClock(), file, prefix="")

    _serve("mail server", make, host, http_port, as_json=as_json, setting=lambda _url: setting)


@app.command()
def sms(
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 8085,
    token: Annotated[
        str,
        typer.Option(envvar="LASTRO_SIMULATOR_TOKEN", help="The bearer token for sending; without it none is used."),
    ] = "",
    file: _File = None,
    as_json: Json = False,
) -> None:
    """Simulate an SMS gateway; set LASTRO_SMS of the platform to the printed value, with the token as its password.

    GET /messages shows what was delivered, and POST /faults orders faults. Ctrl-C or SIGTERM ends it.
    """
    from embedded.simulators.sms import SmsSimulator
    from shared.core.clock import SystemClock

    def make(_url: str) -> SmsSimulator:
        return SmsSimulator(SystemClock(), file, prefix="", token=token)

    def setting(url: str) -> str:
        login = ":<token>@" if token else ""
        return f"LASTRO_SMS=sms+http://{login}{url.removeprefix('http://')}/messages?from=Lastro"

    _serve("SMS gateway", make, host, port, as_json=as_json, setting=setting)


@app.command()
def push(
    *,
    host: _Host = "127.0.0.1",
    port: _Port = 8086,
    account: Annotated[
        Path, typer.Option(help="The file with the key of the service account. It is created unless it exists.")
    ],
    file: _File = None,
    as_json: Json = False,
) -> None:
    """Simulate Firebase Cloud Messaging (HTTP v1); set LASTRO_PUSH of the platform to the printed value.

    GET /messages shows what was delivered, and POST /faults orders faults. Ctrl-C or SIGTERM ends it.
    """
    from embedded.simulators.push import PushSimulator, service_account
    from shared.core.clock import SystemClock

    def make(url: str) -> PushSimulator:
        return PushSimulator(service_account(account, url), SystemClock(), file, prefix="")

    setting = f"LASTRO_PUSH={account.absolute().as_uri().replace('file:', 'fcm:')}"
    _serve("Firebase Cloud Messaging", make, host, port, as_json=as_json, setting=lambda _url: setting)


def _client(client_id: str, client_secret: str) -> ApiClient | None:
    from embedded.simulators.access import ApiClient

    if bool(client_id) != bool(client_secret):
        raise CliError("--client-id and --client-secret go together")
    return ApiClient(client_id, client_secret) if client_id else None


def _listening(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises CliError."""
    from embedded.server.listening import AddressInUse, listen

    try:
        return listen(host, port)
    except AddressInUse as error:
        raise CliError(str(error)) from None


def _serve(
    title: str,
    make: Callable[[str], Simulator],
    host: str,
    port: int,
    *,
    as_json: bool,
    setting: Callable[[str], str] | None = None,
) -> None:
    """Serve the simulator that `make` makes for a URL, until the process is told to end.

    `setting` returns the variable of the platform that names the simulator, for its URL.
    """
    from embedded.server.listening import url_of
    from embedded.simulators.program import serve

    listening = _listening(host, port)
    url = url_of(listening)
    shown = None if setting is None else setting(url)

    def begin() -> Simulator:
        simulator = make(url)
        if as_json:
            print_json({"base_url": url, **({} if shown is None else {"setting": shown})}, indent=None)
        else:
            console().print(f"The simulated {title} is at [bold]{url}[/]  (Ctrl-C stops it)")
            if shown is not None:
                console().print(shown, markup=False, highlight=False, soft_wrap=True)
        return simulator

    serve(begin, listening)
