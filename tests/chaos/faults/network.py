"""Networks that are cut: one process from Redis, or everybody from S3."""

from __future__ import annotations

import time
from contextlib import closing, suppress

import redis

from tests.chaos.faults.base import Fault, require
from tests.chaos.faults.processes import lease_of
from tests.chaos.ground import Ground, accepts_and_keeps, open_client
from tests.chaos.links import Link
from tests.chaos.slot import Slot
from tests.helpers.stack import LEASE_S
from tests.helpers.wait import came_true

SHORT_S, LONG_S = 1.0, LEASE_S + 1.5
LATENCY_S = 0.1
PINGS = 5  # a busy machine makes one of them slow, not each


class LinkFault(Fault):
    """Something that happens to a link, for `hold_s`."""

    hold_s = SHORT_S

    def __init__(self, ground: Ground, target: Link, aim: Link | None = None) -> None:
        super().__init__(ground)
        self.target = target
        self.aim = aim or target
        self.severed, self.refused = target.severed, target.refused
        self.lost = target.lost

    def inject(self) -> None:
        came_true(lambda: self.target.open, self.patience_s)  # Redis itself may be away just now
        self.aim.go_down()
        time.sleep(self.hold_s)

    def verify(self) -> None:
        require(self.target.severed > self.severed, "no open connection was cut")
        require(
            came_true(lambda: self.target.refused > self.refused, self.patience_s),
            "nobody tried to connect again and was refused",
        )

    def heal(self) -> None:
        self.aim.mend()


class CutWorker(LinkFault):
    """Worker and Redis apart for longer than the lease: it is reaped, and comes back fenced."""

    kind = "cut worker from Redis"
    hold_s = LONG_S

    def __init__(self, ground: Ground, slot: Slot, aim: Link | None = None) -> None:
        super().__init__(ground, slot.link, aim)
        self.slot = slot

    def verify(self) -> None:
        super().verify()
        require(
            came_true(lambda: lease_of(self.slot) is None, self.patience_s),
            f"{self.slot.name} was not reaped while it was cut off",
        )

    def heal(self) -> None:
        super().heal()
        self.slot.await_ready()


class DarkWorker(CutWorker):
    """The same, but nobody is told: connections stay, and nothing comes through."""

    kind = "black hole worker to Redis"

    def inject(self) -> None:
        self.aim.go_dark()
        time.sleep(self.hold_s)

    def verify(self) -> None:
        swallowed = came_true(lambda: self.target.lost > self.lost, self.patience_s)
        require(swallowed, "the link swallowed nothing")
        require(
            came_true(lambda: lease_of(self.slot) is None, self.patience_s),
            f"{self.slot.name} was not reaped while it was cut off",
        )


class SlowWorker(LinkFault):
    """Everything between worker and Redis takes its time."""

    kind = "slow network"
    hold_s = 3.0

    def __init__(self, ground: Ground, slot: Slot, aim: Link | None = None) -> None:
        super().__init__(ground, slot.link, aim)
        self.slot = slot

    def inject(self) -> None:
        self.aim.slow_down(LATENCY_S)
        time.sleep(self.hold_s)

    def verify(self) -> None:
        for _ in range(PINGS):
            took: list[float] = []
            came_true(lambda said=took: said.extend(self._ping_s()) or said, self.patience_s)
            require(took, "no PING went over the link")
            require(took[0] > LATENCY_S, f"PING over the link took {took[0] * 1e3:.0f} ms")

    def _ping_s(self) -> list[float]:
        """Seconds that one took; nothing while Redis itself is away."""
        begun = time.monotonic()
        with closing(open_client(self.target.address)) as client, suppress(redis.RedisError):
            client.ping()
            return [time.monotonic() - begun]
        return []


class CutGateway(LinkFault):
    """Gateway and Redis apart."""

    kind = "cut gateway from Redis"
    hold_s = 1.5

    def __init__(self, ground: Ground, slot: Slot, aim: Link | None = None) -> None:
        super().__init__(ground, slot.link, aim)
        self.slot = slot

    def heal(self) -> None:
        super().heal()
        self.slot.await_ready()


class CutStore(LinkFault):
    """Everybody apart from S3. What is warm must not notice."""

    kind = "cut S3"
    hold_s = 2.5

    def verify(self) -> None:
        closed = came_true(lambda: not accepts_and_keeps(self.target.port), self.patience_s)
        require(closed, "the way to S3 is open")
