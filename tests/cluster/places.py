"""Where the test cluster keeps its programs and its state, and its addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lastro" / "cluster"
"""The programs and images, by version."""
STATE: Final = CACHE / "state"
"""What the running cluster writes. `down` removes it."""
HOST_ADDRESS: Final = "10.213.0.1"
"""The machine's end of the link to the node."""
NODE_ADDRESS: Final = "10.213.0.2"
"""The node's end."""
PODS: Final = "10.214.0.0/16"
SERVICES: Final = "10.215.0.0/16"
API_SERVICE: Final = "10.215.0.1"
LINK: Final = "lastro-node"
"""The name of the machine's end of the link."""
NODE: Final = "node"
