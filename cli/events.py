"""`lastro events`: show events as they happen, publish one, write the schemas."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.client import Client, raise_refusal
from cli.errors import CliError
from cli.options import DEFAULT_DATA_DIR, DataDir, Json, Tenant
from cli.options import Platform as PlatformOption
from cli.output import console, print_json, say

app = typer.Typer(no_args_is_help=True, help="Events: watch them, publish one, write their schemas.")
_PAGE: Final = 200
_PAUSE_SECONDS: Final = 0.3


@app.command()
def tail(
    *,
    type_: Annotated[str, typer.Option("--type", help="A type, or a pattern: lastro.payment.*")] = "*",
    payment: Annotated[str | None, typer.Option("--payment", help="Only the events of this payment.")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest event in the log.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until Ctrl-C.")] = True,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    platform: PlatformOption = False,
    as_json: Json = False,
) -> None:
    """Show a tenant's events as they happen; those of a payment from its beginning.

    With LASTRO_BUS they are read from Kafka, from all its partitions; `lastro up` need not run.
    """
    bus = os.environ.get("LASTRO_BUS")
    begin = from_start or payment is not None or not follow
    if bus:
        wanted = _tenant(data_dir, tenant, platform=platform)
        shown = asyncio.run(
            _tail_kafka(wanted, lambda event: _show_if(event, type_, payment, as_json=as_json), begin, follow=follow)
        )
        if not shown:
            say("no such events")
        return
    with Client.of(data_dir, tenant=tenant, platform=platform) as client:
        place = 0 if begin else int(client.get("/platform/events?after=-1")["next"])
        shown = False
        for event in _events(client, place, follow=follow):
            shown |= _show_if(event, type_, payment, as_json=as_json)
    if not shown:
        say("no such events")


def _show_if(event: dict[str, Any], type_: str, payment: str | None, *, as_json: bool) -> bool:
    """Show an event of a type, about a payment. Return whether it was shown."""
    if not fnmatchcase(event["type"], type_) or (payment is not None and not is_about(event, payment)):
        return False
    _show(event, as_json=as_json)
    return True


def _tenant(data_dir: Path, tenant: str | None, *, platform: bool) -> str | None:
    """Return the tenant whose events are wanted; None for those of the platform."""
    if platform:
        return None
    if tenant is not None:
        return tenant
    with Client.of(data_dir) as client:
        return client.identity.tenant_id


async def _tail_kafka(tenant: str | None, show: Callable[[dict[str, Any]], bool], begin: bool, *, follow: bool) -> bool:
    """Show the events of a tenant on the Kafka of LASTRO_BUS. Return whether there was one."""
    from embedded.manifests.loading import load
    from embedded.manifests.topics import wanted_topics
    from embedded.platform.platform import ROOT
    from shared.adapters.kafka.address import read_address
    from shared.adapters.kafka.tail import Found, TopicTail
    from shared.core.settings import InvalidSettings, Settings
    from shared.ports.documents import Unavailable

    def take(record: Found) -> bool:
        event = _event_of(record.headers, record.value)
        return event is not None and event.get("tenantid") == tenant and show(event)

    shown = False
    try:
        settings = Settings.from_environment()
        topics = [topic.name for topic in wanted_topics(load(ROOT))]
        async with TopicTail(read_address(settings.bus), settings, topics) as tail:
            if begin:
                for record in await tail.past():
                    shown |= take(record)
            else:
                await tail.skip_to_the_end()
            if follow:
                async for record in tail.new():
                    shown |= take(record)
    except (InvalidSettings, Unavailable) as error:
        raise CliError(str(error)) from None
    return shown


def _event_of(headers: Iterable[tuple[str, bytes | None]], value: bytes | None) -> dict[str, Any] | None:
    """Return the event of a record as a JSON object; None for a record that is no event."""
    from shared.messaging.attributes import InvalidEvent
    from shared.messaging.kafka_binding import from_kafka

    try:
        event: dict[str, Any] = json.loads(from_kafka(headers, value).to_structured())
    except InvalidEvent:
        return None
    return event


def _events(client: Client, place: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield events after a place, oldest first; with `follow` forever."""
    while True:
        page = client.get(f"/platform/events?after={place}&limit={_PAGE}")
        for entry in page["data"]:
            yield entry["event"]
        reached, place = place, int(page["next"])
        if place > reached:
            continue
        if not follow:
            return
        time.sleep(_PAUSE_SECONDS)


def is_about(event: dict[str, Any], aggregate_id: str) -> bool:
    """Return whether an event has this id as its subject or in its data."""
    return bool(event.get("subject") == aggregate_id or _holds(event.get("data"), aggregate_id))


def _holds(value: Any, wanted: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(item, wanted) for item in value.values())
    if isinstance(value, list):
        return any(_holds(item, wanted) for item in value)
    return bool(value == wanted)


def _show(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(event, indent=None)
        return
    when = str(event.get("time", ""))[11:23]
    subject = event.get("subject") or ""
    source = str(event["source"]).removeprefix("/lastro/")
    console().print(f"[dim]{when}[/] [bold]{event['type']}[/] {subject} [dim]by {source}[/]")


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="A CloudEvent in the JSON format; - reads standard input.")],
    *,
    broker: Annotated[str, typer.Option("--broker", help="The Broker that takes it.")] = "default",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Publish an event at the Broker's ingress."""
    import sys

    from shared.messaging.attributes import InvalidEvent
    from shared.messaging.http_binding import STRUCTURED, from_structured

    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        envelope = from_structured(content)
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}") from None
    except InvalidEvent as error:
        raise CliError(f"{file} does not contain a CloudEvent: {error}") from None
    with Client.of(data_dir, platform=True) as client:
        answer = client.send("POST", f"/brokers/{broker}", content, headers={"content-type": STRUCTURED})
    if not answer.ok:
        raise_refusal(answer)
    if as_json:
        print_json({"status": answer.status, "id": envelope.id, "type": envelope.type})
    else:
        print(f"taken: {envelope.type} {envelope.id}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go; docs/events in this repository.")],
    *,
    as_json: Json = False,
) -> None:
    """Write a JSON Schema for every event type and one AsyncAPI 3 document."""
    from events.export import export as write
    from shared.core.version import VERSION

    try:
        written = write(folder, version=VERSION)
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"files": [str(path) for path in written]})
    else:
        print(f"{len(written)} files in {folder}")
