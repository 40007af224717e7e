"""The signals that stop a process, as the cases of a test."""

from __future__ import annotations

import signal

import pytest

STOPPING_SIGNALS = [
    signal.SIGTERM,
    pytest.param(
        signal.SIGINT,
        marks=pytest.mark.skipif(
            signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="the tests were started with SIGINT ignored"
        ),
    ),
]
"""A test that is started with SIGINT ignored, as a background process of a shell, passes that on to its processes."""
