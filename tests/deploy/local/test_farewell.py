"""The last screen of `make up`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from rich.console import Console

from deploy.local.farewell import farewell, requests_to_try, show, write_request


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width)


def test_commands_are_printed_whole_however_narrow_the_terminal_is() -> None:
    """So they can be copied."""
    command = "curl " + "x" * 150
    console = terminal(40)
    show(console, farewell("http://h", [command], Path("env")))
    assert command in console.file.getvalue()


def test_commands_name_the_settings_file_and_hold_no_secret(tmp_path: Path) -> None:
    """The password stays in the file that is sourced."""
    files = (tmp_path / "m.json", tmp_path / "m.npz", tmp_path / "env")
    requests = requests_to_try("http://h", "redis://:secret@h/0", "m", *files)
    assert [str(tmp_path / "env") in request for request in requests] == [False, False, True]
    assert "secret" not in " ".join(requests)


def test_redis_cli_gets_a_socket_as_it_wants_it(tmp_path: Path) -> None:
    """redis-cli does not take unix:// URLs."""
    files = (tmp_path / "m.json", tmp_path / "m.npz", tmp_path / "env")
    assert "-s /run/r.sock" in requests_to_try("http://h", "unix:///run/r.sock", "m", *files)[2]


def test_a_request_is_written_as_v2_json(tmp_path: Path) -> None:
    """Names, datatypes, shapes and flat data."""
    path = write_request(tmp_path / "new", "m", {"x": np.array([[1, 2]], np.int64)})
    tensor = {"name": "x", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}
    assert json.loads(path.read_text()) == {"inputs": [tensor]}
