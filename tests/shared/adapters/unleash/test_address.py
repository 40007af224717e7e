"""The URL in LASTRO_FLAGS."""

from __future__ import annotations

import pytest

from shared.adapters.unleash.address import read_address
from shared.core.settings import InvalidSettings


def test_a_url_with_everything() -> None:
    """The API, the token, the name of the client and the authorities are read, and the scope of the token is known."""
    found = read_address("unleash+https://:default:production.a%2Fb@flags.example:4242/base/api/?app=pay&ca=/ca.pem")
    assert found.url == "https://flags.example:4242/base/api"
    assert (found.token, found.scope) == ("default:production.a/b", "default:production")
    assert (found.app, found.ca) == ("pay", "/ca.pem")


def test_what_a_url_may_leave_out() -> None:
    """Without a path it is /api, without a port the scheme's, and the client is called lastro."""
    found = read_address("unleash+http://:*:development.x@[::1]")
    assert (found.url, found.app, found.ca) == ("http://[::1]/api", "lastro", None)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://:default:production.hidden@h", "is not a URL of the form"),
        ("unleash+https://", "is not a URL of the form"),
        ("unleash+https://:default:production.hidden@h#x", "is not a URL of the form"),
        ("unleash+https://:default:production.hidden@h:port", "host or port"),
        ("unleash+https://h/api", "needs a backend token"),
        ("unleash+https://hidden:default:production.hidden@h", "needs a backend token"),
        ("unleash+https://:hidden@h", "needs a backend token"),
        ("unleash+https://:default:production.hidden%0a@h", "needs a backend token"),
        ("unleash+https://:default:production.hidden@h?timeout=1", "the option 'timeout'"),
    ],
)
def test_a_wrong_url_is_refused(url: str, reason: str) -> None:
    """The refusal says what is wrong, and shows nothing that may be a token."""
    with pytest.raises(InvalidSettings, match=reason) as raised:
        read_address(url)
    assert "hidden" not in str(raised.value)
