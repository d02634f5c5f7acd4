"""The model of `lua/lib/parked.lua`: placing what is parked, what has crashed a process last."""

from __future__ import annotations

from tests.model.crashes import crashed_holders
from tests.model.model import Model
from tests.model.moves import moving, place_item


def place_parked(m: Model, ref: str, budget: int) -> tuple[int, bool]:
    """How many were placed, and whether the rest waits: for a probe, or for a healthy copy."""
    parked = m.state.parked.get(ref, {})
    waiting = sorted(list(parked)[:budget], key=lambda entry: parked[entry].attempts)
    before = m.work_done(0)
    for number, entry in enumerate(waiting):
        if m.work_done(number) - before >= budget:
            return number, False
        if m.breaker(ref) == "open" and crashed_holders(m, ref) is None:
            return number, True
        if entry != next(iter(parked)):
            m.note("parked: the fewest starts first")
        answer = place_item(m, moving(m, "parked", ref, entry), fewest=number == 0)
        if answer.status == "parked":  # for a healthy copy
            m.note("parked: for a healthy copy")
            return number, True
    return len(waiting), False
