"""The processes that are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy.bench.load import volley
from deploy.bench.posts import check_echo, json_post
from deploy.bench.servers import environment, running_echo
from deploy.local.process_tree import is_running as alive


def test_settings_of_who_measures_do_not_reach_what_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only what the case says counts; the rest of the environment is kept."""
    monkeypatch.setenv("WARMROUTE_PREFETCH", "1")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("PORTRAIT", "kept")
    found = environment({"PORT": "1"})
    assert "WARMROUTE_PREFETCH" not in found
    assert "REDIS_URL" not in found
    assert found["PORTRAIT"] == "kept"
    assert found["PORT"] == "1"


def test_the_echo_ends_with_its_block(tmp_path: Path) -> None:
    """And gives back a body of 1 MiB whole until then."""
    posts = [json_post("any", {"x": np.zeros((1, 1 << 18), np.float32)})]
    with running_echo(tmp_path) as echo:
        for answer in volley(echo.port, posts).kept:
            check_echo(answer, posts)
        assert alive(echo.child.pid)
    assert not alive(echo.child.pid)
