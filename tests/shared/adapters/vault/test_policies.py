"""The rights of each domain in Vault, beside what its functions call."""

from __future__ import annotations

from pathlib import Path

from shared.adapters.vault.policies import RIGHTS

FUNCTIONS = Path(__file__).parents[4] / "functions"


def purposes(domain: str, action: str) -> set[str]:
    """Return the purposes with which a domain may do something in Transit."""
    begin = f"{{transit}}/{action}/{{prefix}}-"
    return {right.path.removeprefix(begin) for right in RIGHTS[domain] if right.path.startswith(begin)}


def test_a_domain_that_seals_again_after_a_rotation_may_do_so() -> None:
    """A domain one of whose functions rewraps fields has the right for a purpose that it seals, and no other domain
    has it."""
    rewrapping = {
        path.parent.name for path in FUNCTIONS.rglob("*.py") if "secrets.rewrap(" in path.read_text(encoding="utf-8")
    }
    assert rewrapping == {"notifications", "providers", "users"}
    assert {domain for domain in RIGHTS if domain != "platform" and purposes(domain, "rewrap")} == rewrapping
    for domain in rewrapping:
        assert purposes(domain, "rewrap") <= purposes(domain, "encrypt"), domain
