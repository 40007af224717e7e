"""`lastro simulate`: a simulated payment provider, as an HTTP program of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import console, print_json

if TYPE_CHECKING:
    from embedded.simulators.access import ApiClient
    from embedded.simulators.program import Simulator

_Host = Annotated[str, typer.Option(help="The address to listen on.")]
_Port = Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535)]
_ClientId = Annotated[str, typer.Option(help="The client that may use the API; without it no token is used.")]
_ClientSecret = Annotated[str, typer.Option(envvar="LASTRO_SIMULATOR_CLIENT_SECRET", help="The secret of that client.")]

app = typer.Typer(help="Simulated payment providers, for trying and testing.", no_args_is_help=True)


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


def _client(client_id: str, client_secret: str) -> ApiClient | None:
    from embedded.simulators.access import ApiClient

    if bool(client_id) != bool(client_secret):
        raise CliError("--client-id and --client-secret go together")
    return ApiClient(client_id, client_secret) if client_id else None


def _serve(title: str, make: Callable[[str], Simulator], host: str, port: int, *, as_json: bool) -> None:
    """Serve the simulator that `make` makes for a URL, until the process is told to end."""
    from embedded.server.listening import AddressInUse, listen, url_of
    from embedded.simulators.program import serve

    try:
        listening = listen(host, port)
    except AddressInUse as error:
        raise CliError(str(error)) from None
    url = url_of(listening)

    def begin() -> Simulator:
        if as_json:
            print_json({"base_url": url}, indent=None)
        else:
            console().print(f"The simulated {title} is at [bold]{url}[/]  (Ctrl-C stops it)")
        return make(url)

    serve(begin, listening)
