"""Whether requests fail that a healthy worker could have served.

S5  a request of a sound model is refused or fails, though a worker that had nothing wrong with it
    for a while was never asked, or has served it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shared.scripts import Placing
from tests.simulation.history import Request
from tests.simulation.kinds import BAD, KINDS, POISON
from tests.simulation.loads import ARGS
from tests.simulation.server import Ran

if TYPE_CHECKING:
    from tests.simulation.world import World

WELL_S = 2.5  # longer than what was decided in worse times lasts (`WARMROUTE_UNLOADABLE_S`)
SPOILING = [np.float32(value).tobytes() for value in (POISON, BAD)]
LIMITS = 3  # arguments of `place` before its items
# Of a request itself, or of what its caller chose.
OWN = ("model_failed", "invalid_input", "outcome_unknown")


def rows(args: tuple[Any, ...], ran: Ran) -> list[tuple[Placing, str, str]]:
    """What `place` was asked, with its status and its detail."""
    width, given = len(Placing._fields), args[ARGS + LIMITS + 1 + len(Placing._fields) :]
    items = (Placing(*given[at * width : (at + 1) * width]) for at in range(len(ran.reply)))
    return [
        (item, row[0].decode(), row[1].decode()) for item, row in zip(items, ran.reply, strict=True)
    ]


class Served:
    """The judge of S5. It is told of a command after the history has followed it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._spoiled: set[str] = set()  # requests with values that do harm

    def ran(self, args: tuple[Any, ...], ran: Ran) -> None:
        """A script has run."""
        if not ran.script:
            return
        if ran.script == "place":
            for item, status, detail in rows(args, ran):
                if any(value in item.body for value in SPOILING):
                    self._spoiled.add(item.id)
                if status == "unloadable":
                    self._failed(item.ref, f"{item.id} is refused with {detail!r}")
        for request_id, said in self._world.history.said.items():
            request = self._world.history.requests.get(request_id)
            for status, outcome in said:
                if request is not None and status == "failed":
                    self._ended(request, outcome)

    def _ended(self, request: Request, outcome: str) -> None:
        code, text = outcome.partition(" ")[0], f"{request.id} failed with {outcome!r}"
        if code in OWN:
            return
        if code == "dead_lettered":
            self._died(request, text)
        else:
            self._failed(request.ref, text)

    def _failed(self, ref: str, text: str) -> None:
        blame = self._world.blame
        left = self._world.wellness.well(WELL_S) - blame.tried(ref) - blame.crashed(ref)
        if left and is_sound(ref):
            self._world.history.violated(f"S5: {text}; {sorted(left)} could have served it")

    def _died(self, request: Request, text: str) -> None:
        """It was started again and again where it had died before."""
        homes = {home.rpartition(":")[2] for home in request.homes}
        left = self._world.wellness.well(WELL_S) - homes
        if left and len(homes) == 1 and is_sound(request.ref) and request.id not in self._spoiled:
            self._world.history.violated(f"S5: {text} on {homes} alone, beside {sorted(left)}")


def is_sound(ref: str) -> bool:
    """Whether nothing is wrong with a model version, so that it could be served."""
    name, version, *_ = ref.split(":")
    return name in KINDS and version == "1" and KINDS[name].is_sound
