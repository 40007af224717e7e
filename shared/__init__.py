"""What every function may use: the contract of functions, the ports and their adapters."""

import gc
import os

# pydantic looks for plugins in the metadata of every installed package. That takes 2 % of a cold start, and there are
# no plugins.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# The objects that the framework has created so far stay until the process ends. Freezing them keeps the garbage
# collector from traversing them again while modules load, which would take 3 to 5 % of a cold start.
gc.freeze()
