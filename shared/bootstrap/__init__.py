"""The start of a process: settings select the adapters, which are opened and at the end closed in reverse order."""
