"""The `lastro` command: its subcommands, and the client by which they call a platform."""
