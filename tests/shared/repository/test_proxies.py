from __future__ import annotations

import pytest

from shared.repository.proxies import is_loopback, proxy_for


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://s3.example.org/x", "http://proxy:3128"),
        ("https://s3.example.org/x", "http://secure-proxy:3128"),
        ("https://inside.example.net/x", None),
        ("http://127.0.0.1:9000/x", None),
        ("http://localhost:9000/x", None),
    ],
)
def test_the_environments_proxy_is_used_but_not_for_loopback(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None
) -> None:
    """As botocore does for its own requests, so that a check that passes means that fetches can."""
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("https_proxy", "http://secure-proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example.net")
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:80", True),
        ("http://localhost", True),
        ("http://10.0.0.1", False),
        ("https://s3.amazonaws.com", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_only(url: str, loopback: bool) -> None:
    """By address or by its one well-known name."""
    assert is_loopback(url) is loopback
