"""The settings of a process: every URL and every bound, read from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Final, NamedTuple, Self

_PREFIX: Final = "LASTRO_"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("auto", "json", "text")
OTHER_VARIABLES: Final = (
    "LASTRO_COMMAND",
    "LASTRO_CRASH_AT",
    "LASTRO_PYTHON",
    "LASTRO_SIMULATOR_CLIENT_SECRET",
    "LASTRO_SIMULATOR_SECRET",
)
"""Variables with the prefix that other code reads: the launcher, `lastro simulate` and tests."""

_CHOICES: Final = {"log_level": LOG_LEVELS, "log_format": LOG_FORMATS}
_URLS: Final = (
    "bank_rail",
    "bank_token_url",
    "base_url",
    "card_gateway",
    "card_token_url",
    "identity",
    "identity_admin",
    "pix_rail",
    "pix_token_url",
)


class _Form(NamedTuple):
    """The form of a text, and what it is called in a message."""

    pattern: str
    called: str


_FORMS: Final = {
    "pix_ispb": _Form("[0-9A-Z]{8}", "an ISPB of 8 digits or capital letters"),
    "pix_city": _Form("[!-~][ -~]{0,14}", "a city of 1 to 15 characters without accents"),
}
_FROM_ZERO: Final = frozenset(
    {
        "data_lock_seconds",
        "max_wait_seconds",
        "outbox_grace_seconds",
        "store_batch_seconds",
        "token_leeway_seconds",
        "trace_ratio",
        "webhooks_allow_private",
        "webhooks_stay_seconds",
    }
)
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,18}")
_DECIMAL: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_MINIMUM: Final = {"idempotency_days": 7}
_MAXIMUM: Final = {"trace_ratio": 1, "webhooks_allow_private": 1}
# The least similarity of two names at which one is reported as a misspelling of the other.
_LIKENESS: Final = 0.8


class InvalidSettings(ValueError):
    """Environment variables have invalid values. The text names each variable, the error, and the accepted values."""


class Settings(NamedTuple):
    """The settings. Each field is the environment variable LASTRO_<FIELD>.

    Sizes are in bytes, times in seconds. A port without a URL uses the embedded adapter.
    """

    documents: str = ""
    ledger: str = ""
    cache: str = ""
    bus: str = ""
    secrets: str = ""
    identity: str = ""
    identity_admin: str = ""
    identity_client: str = "lastro-provisioning"
    identity_client_secret: str = ""
    flags: str = ""
    email: str = ""
    sms: str = ""
    push: str = ""
    data_dir: str = ".lastro"
    base_url: str = "http://127.0.0.1:8080"
    audience: str = "lastro-api"
    pix_rail: str = ""
    pix_key: str = ""
    pix_ispb: str = ""
    pix_city: str = ""
    pix_client_id: str = ""
    pix_client_secret: str = ""
    pix_token_url: str = ""
    pix_certificate: str = ""
    pix_authority: str = ""
    ready_ports: str = ""
    card_gateway: str = ""
    card_client_id: str = ""
    card_client_secret: str = ""
    card_token_url: str = ""
    bank_rail: str = ""
    bank_client_id: str = ""
    bank_client_secret: str = ""
    bank_token_url: str = ""
    bank_certificate: str = ""
    bank_authority: str = ""

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
    cache_connections: int = 50
    cache_seconds: float = 1.0
    bus_buffer_bytes: int = 32 * 1024 * 1024
    bus_events_in_memory: int = 5_000
    bus_rebalance_seconds: float = 10.0
    bus_seconds: float = 10.0
    flags_seconds: float = 5.0
    flags_refresh_seconds: float = 15.0
    secrets_seconds: float = 5.0
    secrets_cache_seconds: float = 5.0
    start_seconds: float = 30.0
    store_batch_seconds: float = 0.002
    store_queue_bytes: int = 64 * 1024 * 1024
    store_seconds: int = 10
    data_lock_seconds: float = 10.0
    saga_step_seconds: int = 30
    saga_attempts: int = 10
    outbox_grace_seconds: int = 30
    sweep_batch: int = 100
    webhooks_allow_private: int = 0
    webhooks_disable_days: int = 5
    webhooks_endpoints: int = 20
    webhooks_seconds: float = 15.0
    webhooks_stay_seconds: float = 45.0
    ledger_seal_entries: int = 50_000
    ledger_seal_grace_seconds: int = 900
    reconciliation_movements: int = 2_000
    idempotency_days: int = 30
    retention_dead_letters_days: int = 90
    retention_deliveries_days: int = 30
    retention_documents: int = 100_000
    retention_notifications_days: int = 90
    statement_pdf_lines: int = 10_000
    statement_total_lines: int = 10_000
    trace_ratio: float = 1.0
    log_level: str = "info"
    log_format: str = "auto"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings. An empty variable counts as absent. Raises InvalidSettings."""
        source = os.environ if environment is None else environment
        values: dict[str, str | int | float] = {}
        wrong: list[str] = []
        for setting, default in cls._field_defaults.items():
            name = _PREFIX + setting.upper()
            text = source.get(name)
            if not text:
                continue
            try:
                values[setting] = _read(setting, text, type(default))
            except ValueError as error:
                # A URL may contain a password, so its value is not shown.
                wrong.append(f"{name} {error}" if setting in _URLS else f"{name}={text!r} {error}")
        if wrong:
            raise InvalidSettings("; ".join(wrong))
        return cls(**values)  # type: ignore[arg-type]  # each value was made by its field's own type

    @property
    def data_path(self) -> Path:
        """The directory of the embedded store (LASTRO_DATA_DIR)."""
        return Path(self.data_dir)


def _read(setting: str, text: str, kind: type[str | int | float]) -> str | int | float:
    """Return the value of a setting. Raises ValueError; its text continues a sentence that begins with the variable's
    name."""
    if kind is not str:
        return _number(setting, text, kind)
    accepted = _CHOICES.get(setting)
    if accepted is not None:
        if text.lower() not in accepted:
            raise ValueError(f"is not one of {', '.join(accepted)}")
        return text.lower()
    form = _FORMS.get(setting)
    if form is not None and not re.fullmatch(form.pattern, text):
        raise ValueError(f"is not {form.called}")
    if setting in _URLS and not text.startswith(("http://", "https://")):
        raise ValueError("is not an http:// or https:// URL")
    return text


def _number(setting: str, text: str, kind: type[str | int | float]) -> int | float:
    # int() and float() also accept underscores, blanks, and digits of other scripts.
    pattern, called = (_WHOLE, "a whole number") if kind is int else (_DECIMAL, "a number")
    if not pattern.fullmatch(text):
        raise ValueError(f"is not {called}")
    value = int(text) if kind is int else float(text)
    least = _MINIMUM.get(setting, int(setting not in _FROM_ZERO and kind is int))
    most = _MAXIMUM.get(setting)
    if not isfinite(value) or value < least or (most is not None and value > most):
        raise ValueError(f"is not between {least} and {most}" if most is not None else f"is less than {least}")
    return value


def misspelt(environment: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Return the variables whose names resemble a setting's name, each with the name that was probably meant."""
    source = os.environ if environment is None else environment
    known = {_PREFIX + setting.upper() for setting in Settings._fields} | set(OTHER_VARIABLES)
    unknown = [name for name in source if name.upper().startswith(_PREFIX) and name not in known]
    if not unknown:
        return
    from difflib import get_close_matches

    for name in unknown:
        for meant in get_close_matches(name.upper(), sorted(known), n=1, cutoff=_LIKENESS):
            yield name, meant
