"""Which scenario leads which kind of process to which failpoint: each has to be in here once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.failpoints import dying_gateways, dying_operations, dying_workers
from tests.failpoints.dying_workers import Arm
from tests.failpoints.field import Field

Scenario = Callable[[Field, Arm], list[int]]


def _around(*scripts: str) -> list[str]:
    return [f"{script}.{when}" for script in scripts for when in ("before", "after")]


TABLE: dict[str, dict[Scenario, list[str]]] = {
    "device": {
        dying_workers.warm: [
            "receive.after", "run.before", "run.mid", "run.after",
            *_around("begin", "complete", "heartbeat", "renew_lease"),
        ],
        dying_workers.cold: [
            "rq.taken", "load.manifest", "load.mid", "load.warmed",
            *_around("claim_load", "announce"),
        ],
        dying_workers.kindred: _around("route_by_affinity"),
        dying_workers.long_load: _around("renew_load"),
        dying_workers.proving: _around("record_stats"),
        dying_workers.eviction: ["evict.drained", *_around("retire")],
        dying_workers.too_large: _around("refuse_load", "fail_load"),
        dying_workers.restart: ["self_test.mid", *_around("register")],
        dying_workers.reloading: _around("reload"),
        dying_workers.drain: _around("leave", "release"),
    },
    "parent": {dying_workers.bereaved: _around("fence_worker", "release")},
    "gateway": {
        dying_gateways.placing: _around("place"),
        dying_gateways.cancelling: _around("cancel"),
        dying_gateways.polling: _around("subscribe"),
        dying_gateways.replaying: _around("replay"),
        dying_gateways.housekeeping: _around(
            "gateway_beat", "keep_clock", "reap", "sweep", "reconcile", "drop_kept"
        ),
        dying_gateways.streaming: ["ingress.read", "outbox.read", *_around("publish_reply")],
        dying_gateways.answering: ["replies.read", *_around("record_outcomes")],
        dying_gateways.stopping: ["handover.before", *_around("hand_over")],
        dying_operations.loading: _around("order_copy"),
        dying_operations.unloading: _around("order_unload"),
        dying_operations.deciding: _around("set_policy"),
        dying_operations.looking: _around("list_letters"),
        dying_operations.opening: _around("open_session"),
        dying_operations.keeping: _around("keep_session"),
        dying_operations.closing: _around("close_session"),
    },
}  # fmt: skip


class Run(NamedTuple):
    """One process killed at one point."""

    kind: str
    point: str
    scenario: Scenario


def runs() -> Iterator[Run]:
    """Every run, one for each point."""
    for kind, by_scenario in TABLE.items():
        for scenario, points in by_scenario.items():
            yield from (Run(kind, point, scenario) for point in points)
