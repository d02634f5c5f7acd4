"""A gateway's address as people write it."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from warmroute import Client, ConnectionFailed, InvalidInput, NoGateway, NotFound
from warmroute.urls import DEFAULT_URL, read_url

if TYPE_CHECKING:
    from tests.deploy.client.conftest import MakeClient
    from tests.deploy.conftest import Stub


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8220", "http://localhost:8220"),
        ("127.0.0.1:8220", "http://127.0.0.1:8220"),
        (" http://host/ ", "http://host"),
        ("https://host/models/", "https://host/models"),
        ("[::1]:8220", "http://[::1]:8220"),
        ("HTTP://Host:1", "HTTP://Host:1"),
    ],
)
def test_an_address_is_http_unless_it_says_otherwise(text: str, url: str) -> None:
    """With its path, without the slash at its end."""
    assert read_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "http://", ":8000", "8000", "ftp://h", "redis://h:1", "http://h:x", "http://h:70000",
     "http://h:0", "::1:8000", "http://[::1", "http://u:p@h", "http://h?a=b", "a b:1"],
)  # fmt: skip
def test_what_is_no_address_is_one_sentence(text: str) -> None:
    """It says what an address is."""
    with pytest.raises(InvalidInput, match="want http://HOST:PORT"):
        Client(text)


def test_without_an_address_the_environment_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else it is where a gateway listens by itself."""
    monkeypatch.setenv("WARMROUTE_URL", "gateway:81")
    assert repr(Client()) == "Client('http://gateway:81')"
    monkeypatch.setenv("WARMROUTE_URL", "")
    assert repr(Client()) == f"Client({DEFAULT_URL!r})"


def test_a_name_without_scheme_reaches_a_gateway(stub: Stub, make_client: MakeClient) -> None:
    """`localhost` is not taken for the scheme."""
    with make_client(stub.url.replace("http://127.0.0.1", "localhost"), retries=0) as client:
        with pytest.raises(NotFound):
            client.model("m")


def test_https_where_http_is_spoken_says_so(stub: Stub, make_client: MakeClient) -> None:
    """In words of ours."""
    with make_client(stub.url.replace("http:", "https:"), retries=0) as client:
        with pytest.raises(NoGateway, match="does not use TLS"):
            client.models()


def test_a_server_that_does_not_use_http_is_named(make_client: MakeClient) -> None:
    """A Redis, say."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = make_client(f"127.0.0.1:{server.getsockname()[1]}", retries=0, timeout=5)

        def answer() -> None:
            peer, _ = server.accept()
            peer.recv(1000)
            peer.sendall(b"-ERR unknown command\r\n")
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1000):  # to close with unread bytes would reset the connection
                pass
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectionFailed, match="HTTP"):
            client.models()
        thread.join(5)
