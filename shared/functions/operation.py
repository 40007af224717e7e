"""Either description of a function."""

from __future__ import annotations

from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation

Operation = HttpOperation | EventOperation
