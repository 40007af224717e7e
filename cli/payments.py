"""`lastro payments show`: a payment and its timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.client import Client
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Tenant
from cli.output import console, money, print_json

if TYPE_CHECKING:
    from rich.tree import Tree

app = typer.Typer(no_args_is_help=True, help="Payments.")
_COLOURS: Final = {
    "settled": "green",
    "declined": "red",
    "failed": "red",
    "canceled": "yellow",
    "expired": "yellow",
}
_SHOWN: Final = ("amount", "capture_amount", "amount_captured", "failure", "reason", "transfer_id")


@app.command()
def show(
    payment_id: Annotated[str, typer.Argument(help="The payment's id: pay_…")],
    *,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Show a payment and its timeline as a tree, with the refunds below."""
    with Client.of(data_dir, tenant=tenant) as client:
        payment = client.get(f"/v1/payments/{payment_id}")
        entries = all_pages(client, f"/v1/payments/{payment_id}/events")
    if as_json:
        print_json({"payment": payment, "events": entries})
        return
    # Wrapped, because the console would cut off a long branch.
    console().print(timeline_tree(payment, entries), soft_wrap=False)


def all_pages(client: Client, path: str) -> list[dict[str, Any]]:
    """Return all items of a list, page by page."""
    found: list[dict[str, Any]] = []
    page = client.get(f"{path}?limit=100")
    found += page["data"]
    while page["next_cursor"] is not None:
        page = client.get(f"{path}?limit=100&cursor={page['next_cursor']}")
        found += page["data"]
    return found


def timeline_tree(payment: dict[str, Any], entries: list[dict[str, Any]]) -> Tree:
    """Return the payment as a tree: a branch for each event, and for each refund a branch with its events."""
    from rich.tree import Tree

    status = payment["status"]
    colour = _COLOURS.get(status, "cyan")
    tree = Tree(f"[bold]{payment['id']}[/] {money(payment['amount'])} [{colour}]{status}[/]")
    tree.add(f"[dim]from[/] {payment['payer_account_id']} [dim]to[/] {payment['payee_account_id']}")
    refunds: dict[str, Tree] = {}
    for entry in entries:
        refund_id = entry["data"].get("refund_id")
        branch = tree
        if refund_id is not None:
            if refund_id not in refunds:
                refunds[refund_id] = tree.add(f"[bold]{refund_id}[/]")
            branch = refunds[refund_id]
        branch.add(_line(entry))
    return tree


def _line(entry: dict[str, Any]) -> str:
    fact = ".".join(str(entry["type"]).split(".")[1:-1])
    details = [f"[dim]{name}[/] {_value(entry['data'][name])}" for name in _SHOWN if entry["data"].get(name)]
    return f"[dim]{str(entry['time'])[11:23]}[/] {fact}  {'  '.join(details)}"


def _value(value: Any) -> str:
    if isinstance(value, dict) and "currency" in value:
        return money(value)
    if isinstance(value, dict) and "code" in value:
        return f"[red]{value['code']}[/]"
    return str(value)
