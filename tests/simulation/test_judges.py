"""A judge that few schedules can reach sees a planted bug of a script in a cell made for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared import script_runner
from shared.scripts import Placing
from tests.simulation.planted import MADE
from tests.simulation.process import Process
from tests.simulation.server import SimRedis
from tests.simulation.world import World

REF = "small:1:1be1357cccc3"


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """A world brings its own event loop."""
    yield
    asyncio.set_event_loop(None)


class MadeCell:
    """Two workers that can load, and a gateway. `run` has a script judged like any other."""

    def __init__(self, server: SimRedis) -> None:
        self.world = World(0, server)
        self.gateway = self.world.new_process("g1")
        self.workers = {name: self.world.new_process(f"{name}/device") for name in ("w1", "w2")}
        keys = self.world.keys
        for name, process in self.workers.items():
            self.world.history.loads.epochs[name] = process
            server.raw("ZADD", keys.workers, server.now_ms + 60_000, name)
            server.raw("HSET", keys.worker(name), "epoch", "1", "state", "ready")
        self.world.wellness.observe()
        self.world.loop.now += 5.0

    def run(self, process: Process, script: str, *args: Any) -> None:
        text, server = script_runner.load_source(script), self.world.server
        call = ("EVAL", text, 1, self.world.keys.prefix, server.now_ms, *args)
        self.world._happened(process, call, server.run(call))

    def order(self) -> None:
        """A load is ordered, with the token `t`."""
        order = {"token": "t", "worker": "", "refused": "", "extra": "api", "for": "", "since": "0"}
        pairs = [part for pair in order.items() for part in pair]
        self.world.server.raw("HSET", self.world.keys.load(REF), *pairs)

    def place(self) -> None:
        """A request that comes in."""
        item: dict[str, Any] = dict.fromkeys(Placing._fields, "")
        item |= {"id": "r1", "ref": REF, "timeout_ms": "1000", "body": b"x"}
        self.run(self.gateway, "place", 6, 6, 60, len(item), *item, *item.values())


def beside_a_sick_holder(cell: MadeCell) -> None:
    """w1, which is sick, and w2 hold the model."""
    server, keys = cell.world.server, cell.world.keys
    for worker in cell.workers:
        server.raw("HSET", keys.holders(REF), worker, "device")
    server.raw("HSET", keys.unhealthy, "w1", "sick")
    cell.place()


def after_a_failed_load(cell: MadeCell) -> None:
    """The store forbids w1, and nobody has asked w2."""
    cell.order()
    cell.run(cell.workers["w1"], "claim_load", "w1", "1", REF, "t", 10_000)
    failure = ("forbidden no", 2000, 128, "1", "cpu", "no", "worker")
    cell.run(cell.workers["w1"], "fail_load", "w1", REF, "t", *failure)
    cell.place()


def with_an_old_order(cell: MadeCell) -> None:
    """w1 loads it; w2 was stopped with an order in its hands, which has another token."""
    cell.order()
    for worker, token in (("w1", "t"), ("w2", "old")):
        cell.run(cell.workers[worker], "claim_load", worker, "1", REF, token, 10_000)


CELLS: dict[str, Callable[[MadeCell], None]] = {
    "claim_load does not look at the token": with_an_old_order,
    "a sick holder is as good as others": beside_a_sick_holder,
    "what one worker cannot load is refused to all for a while": after_a_failed_load,
}


@pytest.mark.parametrize("name", MADE)
def test_the_product_breaks_no_rule_there(server: SimRedis, name: str) -> None:
    """As it is."""
    cell = MadeCell(server)
    CELLS[name](cell)
    cell.world.loop.close()
    assert cell.world.history.violations == []


@pytest.mark.parametrize("name", MADE)
def test_the_bug_is_seen(server: SimRedis, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By the rule that it breaks."""
    plant, rule = MADE[name]
    plant(monkeypatch)
    cell = MadeCell(server)
    CELLS[name](cell)
    cell.world.loop.close()
    assert rule in {text.partition(":")[0] for text in cell.world.history.violations}
