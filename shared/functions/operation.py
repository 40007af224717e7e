"""The description of a function that answers requests or reacts to events."""

from __future__ import annotations

from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation

Operation = HttpOperation | EventOperation
