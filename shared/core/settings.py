"""Settings: every URL and every bound, by name, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

_PREFIX = "LASTRO_"


class Settings(NamedTuple):
    """Each field is the environment variable LASTRO_<FIELD>. A port's URL left out means the embedded adapter.

    Sizes are bytes, times are seconds.
    """

    documents: str = ""
    ledger: str = ""
    cache: str = ""
    bus: str = ""
    secrets: str = ""
    identity: str = ""
    flags: str = ""
    data_dir: str = ".lastro"
    base_url: str = "http://127.0.0.1:8080"
    audience: str = "lastro-api"
    pix_rail: str = ""

    max_connections: int = 1000
    max_target_bytes: int = 32 * 1024
    max_headers: int = 100
    max_head_bytes: int = 64 * 1024
    max_body_bytes: int = 256 * 1024
    head_seconds: int = 10
    body_seconds: int = 30
    idle_seconds: int = 75
    max_event_bytes: int = 64 * 1024
    max_json_depth: int = 32
    commit_attempts: int = 8
    commit_pause_seconds: float = 0.01
    commit_pause_limit_seconds: float = 1.0
    lock_seconds: int = 30
    max_wait_seconds: int = 10
    timestamp_window_seconds: int = 300
    token_leeway_seconds: int = 5
    document_cache_entries: int = 50_000
    cache_entries: int = 100_000
    cache_deadlines: int = 1_000_000
    store_batch_seconds: float = 0.002
    store_queue_bytes: int = 64 * 1024 * 1024
    data_lock_seconds: float = 10.0
    saga_step_seconds: int = 30
    saga_attempts: int = 10
    outbox_grace_seconds: int = 30
    sweep_batch: int = 100
    trace_ratio: float = 0.01
    log_level: str = "INFO"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings. Raises ValueError naming the variable whose value is no number."""
        source = os.environ if environment is None else environment
        values: dict[str, str | int | float] = {}
        for setting, default in cls._field_defaults.items():
            name = _PREFIX + setting.upper()
            text = source.get(name)
            if not text:
                continue
            kind: type[str | int | float] = type(default)
            try:
                values[setting] = kind(text)
            except ValueError:
                raise ValueError(f"{name}={text!r} is not a number") from None
        return cls(**values)  # type: ignore[arg-type]  # each value was made by its field's own type

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)
