"""No secret is shown in an address."""

from __future__ import annotations

import pytest

from headgate.core.addresses import shown_address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ann:hush@example.org/news", "https://ann:***@example.org/news"),
        ("https://ann:hu@sh@example.org:8443/", "https://ann:***@example.org:8443/"),
        ("https://:hush@example.org", "https://:***@example.org"),
        ("https://hush@example.org/x", "https://***@example.org/x"),
        ("https://example.org/x?a=1&token=hush&b=2#top", "https://example.org/x?a=1&token=***&b=2#top"),
        ("https://ann:@example.org", "https://ann:***@example.org"),
        ("https://example.org:8443/users/@me", "https://example.org:8443/users/@me"),
        ("https://example.org?mail=ann:x@y.example", "https://example.org?mail=ann:x@y.example"),
        ("https://example.org#a:b@c", "https://example.org#a:b@c"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
    ],
)
def test_passwords_and_tokens_are_masked_and_the_rest_stays(address: str, shown: str):
    assert shown_address(address) == shown
