"""Which processes are started, and how a stack ends."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from deploy.up.procfile import ProcessSpec
from deploy.up.serve import processes, serve

SLEEPER = ProcessSpec("worker.1", f"{sys.executable} -c 'import time; time.sleep(60)'")
ROOT = Path(__file__).parents[3]


def test_each_gateway_has_a_port_of_its_own_and_all_share_the_environment() -> None:
    """Two gateways and three workers of this project's Procfile."""
    specs = processes(ROOT / "Procfile", [8000, 9000], 3, {"REDIS_URL": "r"})
    assert [spec.name for spec in specs] == ["web.1", "web.2", "worker.1", "worker.2", "worker.3"]
    assert [spec.env.get("PORT") for spec in specs] == ["8000", "9000", None, None, None]
    assert {spec.env["REDIS_URL"] for spec in specs} == {"r"}


@pytest.mark.parametrize("right", [True, False])
async def test_once_it_ends_by_itself_with_what_was_found(right: bool) -> None:
    """After the introduction, right or not."""

    async def introduce(failed: Callable[[], str | None]) -> bool:
        return right

    console = Console(file=io.StringIO())
    assert await serve([SLEEPER], console, introduce, once=True) is right


async def test_otherwise_it_stays_until_a_signal_comes() -> None:
    """And is then no failure."""
    shown = []

    async def introduce(failed: Callable[[], str | None]) -> bool:
        shown.append("introduced")
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    assert await serve([SLEEPER], Console(file=io.StringIO()), introduce, once=False)
    assert shown == ["introduced"]


async def test_what_goes_wrong_in_the_introduction_stops_everything_and_is_raised() -> None:
    """No process is left behind."""

    async def introduce(failed: Callable[[], str | None]) -> bool:
        raise RuntimeError("not ready")

    with pytest.raises(RuntimeError, match="not ready"):
        await serve([SLEEPER], Console(file=io.StringIO()), introduce, once=False)


async def test_a_process_that_crashes_again_and_again_is_told() -> None:
    """So that nobody waits two minutes for it."""
    told: list[str] = []

    async def introduce(failed: Callable[[], str | None]) -> bool:
        from tests.helpers.wait import wait_until

        await wait_until(failed)
        told.append(failed() or "")
        return False

    crashing = ProcessSpec("worker.1", f"{sys.executable} -c 'raise SystemExit(3)'")
    await serve([crashing], Console(file=io.StringIO()), introduce, once=True)
    assert "worker.1 crashed 3 times" in told[0]
