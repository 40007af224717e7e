"""The page /docs and what it loads."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from embedded.gateway.docs_page import docs_asset, docs_page
from shared.core.problems import Problem

GATEWAY = Path(__file__).parents[3] / "embedded" / "gateway"
ASSETS = {"docs.css", "docs.js", "swagger-ui.css", "swagger-ui-bundle.js"}


def test_the_page_loads_its_own_files_alone() -> None:
    """Every file that the page loads is served under /docs/, and its links stay on this server."""
    text = docs_page().body.decode()
    loaded = set(re.findall(r'(?:src|rel="stylesheet" href)="([^"]+)"', text))
    assert loaded == {f"/docs/{name}" for name in ASSETS}
    assert all(link.startswith(("/", "data:")) for link in re.findall(r'href="([^"]+)"', text))


def test_our_files_contain_no_other_server() -> None:
    """Page, style and start script contain no address of another server, and no inline script or style."""
    ours = [docs_page(), docs_asset("docs.css"), docs_asset("docs.js")]
    assert not any(re.search(rb"https?://|//[a-z]+\.", response.body) for response in ours)
    assert not re.search(rb"<style|style=|<script>|onload=", ours[0].body)


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_the_policy_forbids_other_servers(name: str) -> None:
    """Page and files carry a Content-Security-Policy of this server alone, without inline scripts or styles."""
    for response in (docs_page(), docs_asset(name)):
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"


def test_a_file_that_is_not_of_the_page_is_not_found() -> None:
    """Only the files of the page are served, whatever other files are in the folder."""
    for name in ("README.md", "problem.html", "..", "own_paths.py"):
        with pytest.raises(Problem, match="not_found"):
            docs_asset(name)


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css"])
def test_the_vendored_files_are_those_that_the_readme_names(name: str) -> None:
    """The files of the renderer have the hashes in the README beside them, so they are the published ones."""
    digest = sha256((GATEWAY / "swagger_ui" / name).read_bytes()).hexdigest()
    assert f"| `{name}` | `{digest}` |" in (GATEWAY / "swagger_ui" / "README.md").read_text(encoding="utf-8")
