"""The error of the command line."""

from __future__ import annotations


class CliError(Exception):
    """One sentence for the user; the command ends with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
