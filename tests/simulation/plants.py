"""Bugs of the product's Python, and a way to plant one in its scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.catalog.newest import Newest
from router.fleet.clock_watch import ClockWatch
from router.requests.waiters import Waiters
from shared import script_runner
from tests.simulation.parts import SimChild
from worker.loading.load_lease import LoadLease
from worker.residency.evictor import Evictor
from worker.residency.ledger import Ledger
from worker.residency.projection import Projection
from worker.serving.batch_start import BatchStart
from worker.supervisor.watchdog import StallDetector

Plant = Callable[[pytest.MonkeyPatch], None]


def in_lua(before: str, after: str) -> Plant:
    """Replace a piece of script text wherever it stands; it must stand somewhere."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        read, folder = script_runner.read_lua, Path(str(script_runner.files("shared"))) / "lua"

        def changed(name: str) -> str:
            return read(name).replace(before, after)

        patch.setattr(script_runner, "read_lua", changed)
        texts = [path.read_text() for path in folder.rglob("*.lua")]
        assert any(before in text for text in texts), "the text to be changed is no longer there"

    return plant


def credulous_gateways(patch: pytest.MonkeyPatch) -> None:
    """They take every leap for an outage."""
    patch.setattr(ClockWatch, "leap", lambda watch, mark, reading: 0)


def late_waiters(patch: pytest.MonkeyPatch) -> None:
    """The waiter is there only after its request may have been answered."""
    resolve = Waiters.resolve

    def forgetful(self: Waiters, fields: list[bytes]) -> None:
        if len(self) % 2:
            resolve(self, fields)

    patch.setattr(Waiters, "resolve", forgetful)


def hasty_evictor(patch: pytest.MonkeyPatch) -> None:
    """Frees a copy without waiting for what was placed on it."""
    patch.setattr(Evictor, "busy", lambda self, copy: False)
    make = Evictor.__init__

    def init(self: Evictor, parts: Any, caught_up: Any, *rest: Any) -> None:
        make(self, parts, lambda last, since: True, *rest)

    patch.setattr(Evictor, "__init__", init)


def generous_ledger(patch: pytest.MonkeyPatch) -> None:
    """Counts nothing as used when it plans."""
    patch.setattr(Projection, "fits", property(lambda self: True))
    patch.setattr(Ledger, "_would_fit", lambda self, ref, footprint: True)
    patch.setattr(Ledger, "used_with", lambda self, footprint, without=(): footprint.total)


def blind_to_tokens(patch: pytest.MonkeyPatch) -> None:
    """Neither the loader nor the script asks whose load it is."""
    in_lua("if token ~= '' and (lease[1] ~= token or lease[2] ~= worker) then", "if false then")(
        patch
    )

    async def renew(self: LoadLease, load: object) -> None:
        """Whatever Redis would say."""

    patch.setattr(LoadLease, "_renew", renew)


def impatient_parent(patch: pytest.MonkeyPatch) -> None:
    """Neither knows a stopped process nor waits for a lease."""
    observe = StallDetector.observe
    patch.setattr(StallDetector, "observe", lambda self, value: 4 * observe(self, value))
    patch.setattr(SimChild, "stopped", lambda self: False)


def old_news(patch: pytest.MonkeyPatch) -> None:
    """The device believes what it heard of a request, however long ago."""
    patch.setattr(BatchStart, "_fresh", lambda self: True)


def newest_at_once(patch: pytest.MonkeyPatch) -> None:
    """Requests without a version get the newest one, whatever is loaded."""

    async def none_loaded(self: Newest, *given: object) -> dict[int, str]:
        return {}

    patch.setattr(Newest, "_loaded_now", none_loaded)
