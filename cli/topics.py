"""`lastro topics`: creates the topics of the manifests on the Kafka of LASTRO_BUS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import CliError
from cli.options import Json
from cli.output import print_json, say

if TYPE_CHECKING:
    from shared.adapters.kafka.topics import Step

app = typer.Typer(no_args_is_help=True, help="Create the topics of the manifests on the Kafka of LASTRO_BUS.")


@app.callback()
def _topics() -> None:
    """Group for `apply`: without it, Typer would make a single command the group itself."""


@app.command()
def apply(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the differences and change nothing.")] = False,
    max_replicas: Annotated[
        int | None,
        typer.Option(
            "--max-replicas",
            min=1,
            help="Maximum of replicas and min.insync.replicas of new topics, for small clusters.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create and extend the topics of kafka-sources/topics.yaml, and one for each Broker.

    Partitions are added and the configuration of the manifests is set; other configuration is kept. Nothing is deleted.
    The command can be repeated. Exits with 1 if there is a difference that Kafka cannot change.
    """
    steps = asyncio.run(_apply(dry_run=dry_run, max_replicas=max_replicas))
    if as_json:
        print_json({"steps": [{"topic": step.topic, "text": step.text, "remedy": step.remedy} for step in steps]})
    else:
        for step in steps:
            print(f"{step.topic} {step.text}" + (f" ({step.remedy})" if step.remedy else ""))
    left = [step for step in steps if step.remedy is not None]
    if not steps:
        say("the topics are as the manifests say")
    elif dry_run:
        say(f"{len(steps)} differences; without --dry-run {len(steps) - len(left)} of them are removed")
    else:
        say(f"{len(steps) - len(left)} differences removed")
    if left:
        raise typer.Exit(1)


async def _apply(*, dry_run: bool, max_replicas: int | None) -> list[Step]:
    from embedded.manifests.findings import ManifestError
    from embedded.manifests.loading import load
    from embedded.manifests.topics import BadBrokerConfig, wanted_topics
    from embedded.platform.platform import ROOT
    from shared.adapters.kafka.address import read_address
    from shared.adapters.kafka.topics import TopicsRefused, apply, capped
    from shared.core.settings import InvalidSettings, Settings
    from shared.ports.documents import Unavailable

    try:
        settings = Settings.from_environment()
        if not settings.bus:
            raise CliError("LASTRO_BUS is not set: the embedded broker has no topics of its own")
        address = read_address(settings.bus)
        wanted = [capped(topic, max_replicas) for topic in wanted_topics(load(ROOT))]
        return await apply(address, settings, wanted, dry_run=dry_run)
    except (InvalidSettings, ManifestError, BadBrokerConfig, Unavailable, TopicsRefused) as error:
        raise CliError(str(error)) from None
