"""Many requests within moments: a flood of one model, or more models than fit on a worker."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from tests.simulation.kinds import KINDS

FLOODED, CHURNED, CALM = NO_FAULTS = ("flooded", "churned", "calm")
# Requests, the seconds that they take to come, and one in so many is of the other model.
FLOOD, FLOOD_S, BESIDE = 60, 0.03, 15
CHURN, CHURN_S, TOGETHER = 60, 4.0, ("small", "medium", "big")
EARLY_S = 2.0  # what is loaded by then is warm


class Coming(NamedTuple):
    """One request of a crowd: when (s), of which model, and how long it may take (s)."""

    moment_s: float
    model: str
    timeout_s: float


def drawn(
    dice: random.Random, usual: Sequence[str], over_s: float, lead: Collection[str]
) -> Iterator[Coming]:
    """The crowd of a schedule, if it has one; with a `lead` only if that names one."""
    chance = dice.random()
    if FLOODED in lead or (chance < 0.2 and not lead):
        yield from _flood(dice, usual, over_s)
    elif CHURNED in lead or (chance < 0.3 and not lead):
        yield from _churn(dice, over_s)


def _flood(dice: random.Random, usual: Sequence[str], over_s: float) -> Iterator[Coming]:
    """Far more of one model than its share, and a few of another beside; both are warm."""
    sound = [name for name in dict.fromkeys(usual) if KINDS[name].is_sound]
    others = [name for name in TOGETHER if name not in sound]
    flooding, beside = dice.sample([*sound, *others][:2], 2)
    starts = dice.uniform(EARLY_S, over_s)
    yield from (Coming(starts - EARLY_S, name, 3.0) for name in (flooding, beside))
    for number in range(FLOOD):
        name = flooding if number % BESIDE else beside
        yield Coming(starts + dice.uniform(0.0, FLOOD_S), name, 3.0)


def _churn(dice: random.Random, over_s: float) -> Iterator[Coming]:
    """More models than fit on a worker, so that copies go while others come."""
    starts = dice.uniform(1.0, over_s)
    for _ in range(CHURN):
        yield Coming(starts + dice.uniform(0.0, CHURN_S), dice.choice(TOGETHER), 8.0)
