"""`warmroute models`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deploy.cli.main import main

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub


@pytest.mark.usefixtures("gateway")
def test_models_are_listed_with_their_states(capsys: pytest.CaptureFixture[str]) -> None:
    """One line per version."""
    assert main(["models"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.split() == ["double", "1", "READY"]


@pytest.mark.usefixtures("gateway")
def test_json_is_the_index_as_the_server_gave_it(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs."""
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "double", "version": "1", "state": "READY", "reason": ""}
    ]


def test_ready_is_asked_of_the_server(gateway: Stub) -> None:
    """The filter is the protocol's own."""
    assert main(["models", "--ready"]) == 0
    assert json.loads(gateway.seen[-1][3]) == {"ready": True}
