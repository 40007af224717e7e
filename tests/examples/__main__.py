"""`python -m tests.examples`: record the examples of the OpenAPI document, if the platform's answers have changed."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.examples.recording import record, store

with tempfile.TemporaryDirectory() as folder:
    changed = store(asyncio.run(record(Path(folder))))
print("The examples were recorded anew." if changed else "The stored examples are what the platform answers.")
