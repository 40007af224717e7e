"""Either description of a function."""

from __future__ import annotations

from shared.event_operation import EventOperation
from shared.http_operation import HttpOperation

Operation = HttpOperation | EventOperation
