"""What every function may use: the contract of functions, the ports, and the adapters behind them."""

import gc
import os

# Looking for pydantic's plugins reads the metadata of every installed package, 2 % of a cold start, and there are none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# What the framework has loaded by now lives as long as the process. For the collector to walk it once more while we
# load is 3 to 5 % of a cold start.
gc.freeze()
