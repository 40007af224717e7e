"""What every function may use: the contract of functions, the ports, and the adapters behind them."""

import os

# Looking for pydantic's plugins reads the metadata of every installed package, 2 % of a cold start, and there are none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
