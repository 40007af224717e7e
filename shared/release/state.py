"""The state of a release, as it is stored between two steps of the controller, and its record afterwards."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Self

from shared.release.decision import Phase

RUNNING: Final = "running"
PAUSED: Final = "paused"
OBSERVED: Final = "observed"
"""Every criterion of the last phase was met. The release waits for its confirmation, and can still go back."""
COMPLETE: Final = "complete"
ROLLED_BACK: Final = "rolled back"
SUPERSEDED: Final = "superseded"
_PHASES: Final = {phase.number: phase for phase in Phase}


def release_id(revisions: dict[str, str]) -> str:
    """Return the id of a release: it is that of its revisions, so a repeated release has the same."""
    return sha256("\n".join(sorted(revisions.values())).encode()).hexdigest()[:12]


@dataclass(slots=True)
class Release:
    """A release in progress, or the last one."""

    id: str
    image: str
    commit: str
    traceparent: str
    stable: dict[str, str]
    """The revision with the traffic before, by Service."""
    new: dict[str, str]
    """The new revision, by Service."""
    started: str
    phase_since: str
    phase_number: int = 0
    """From 1 to 4; 0 before the new revisions are ready."""
    outcome: str = RUNNING
    reasons: list[str] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    """What was done: the time, the action, the phase, and the reasons."""

    @property
    def phase(self) -> Phase | None:
        """The phase, or None before the first."""
        return _PHASES.get(self.phase_number)

    @property
    def is_active(self) -> bool:
        """Whether the release still moves or may go back."""
        return self.outcome in (RUNNING, PAUSED, OBSERVED)

    @property
    def trace_id(self) -> str:
        """The trace in which the release was built and deployed."""
        return self.traceparent.split("-")[1]

    def seconds_in_phase(self, now: datetime) -> float:
        """Return for how long the phase has gone on."""
        return (now - datetime.fromisoformat(self.phase_since)).total_seconds()

    def enter(self, phase_number: int, now: datetime) -> None:
        """Begin a phase, whose time counts from now."""
        self.phase_number, self.phase_since = phase_number, now.isoformat()

    def note(self, now: datetime, action: str, reasons: list[str]) -> None:
        """Add a line to the log, unless the last one has the same action in the same phase."""
        line = {"action": action, "phase": self.phase_number}
        if not self.log or {name: self.log[-1][name] for name in line} != line:
            self.log.append({"at": now.isoformat(), **line, "reasons": reasons})
        self.reasons = reasons

    def text(self) -> str:
        """Return the state as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the state that `text` has made. Raises ValueError or TypeError for another text."""
        return cls(**json.loads(text))

    def record(self) -> dict[str, str]:
        """Return the record of the release, for an audit: commit, image, trace, outcome, and what was done when; in
        `release` all of it, for `read`."""
        return {
            "image": self.image,
            "commit": self.commit,
            "trace_id": self.trace_id,
            "started": self.started,
            "outcome": self.outcome,
            "log": json.dumps(self.log, indent=1),
            "revisions": json.dumps(self.new, sort_keys=True),
            "release": self.text(),
        }
