"""The gateways of one machine: those that the settings name, and a file for the other channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.adapters.notifiers.file import FileNotifier
from shared.ports.notifier import CHANNELS

if TYPE_CHECKING:
    from shared.context.runtime import Runtime


def add_notifiers(runtime: Runtime) -> None:
    """Write the messages of the channels without a gateway to a file in the data directory."""
    for channel in CHANNELS:
        if not getattr(runtime.settings, channel):
            runtime.notifiers[channel] = FileNotifier(channel, runtime.settings.data_path)
