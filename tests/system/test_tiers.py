"""What leaves the device goes to host memory, then to disk, and comes back from the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from deploy.samples.catalogue import build_all, publish_all
from deploy.samples.models import crowd
from deploy.samples.store import BuiltSample
from shared.events import Event, decode
from tests.helpers.samples import STATE
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import open_stack

ROOM = 2  # models on the device, and as many in host memory


@pytest.fixture(scope="module")
def models() -> Sequence[BuiltSample]:
    """Six networks of 1 MB with one program."""
    wanted = [crowd.mlp(number, 1) for number in range(6)]
    return build_all(STATE / "samples", STATE / "wheels", samples=wanted)


@pytest.fixture
def tiers(
    models: Sequence[BuiltSample], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One worker with room for two models on its device, and for two in host memory."""
    room = str(ROOM * max(model.total_bytes for model in models) + 500_000)
    settings = {"WARMROUTE_MEMORY_BYTES": room, "WARMROUTE_HOST_MEMORY_BYTES": room}
    with open_stack(tmp_path_factory.mktemp("tiers"), **settings) as stack:
        publish_all(stack.repository, models)
        stack.scale(gateways=1, workers=1)
        yield stack


def events(stack: Stack, model: BuiltSample) -> list[Event]:
    """What happened to a model, the oldest first."""
    found = [decode(*row) for row in stack.redis.xrange(stack.keys.events)]
    return [event for event in found if event.ref.startswith(model.name + ":")]


def gone(stack: Stack, model: BuiltSample) -> bool:
    """Whether it has left the device."""
    return any(event.kind == "demoted" for event in events(stack, model))


def ask(stack: Stack, model: BuiltSample) -> None:
    """It must answer as plain torch did."""
    said = stack.client().infer(model.name, model.sample_request())
    for name, right in model.known().answer.items():
        assert np.allclose(said[name], right, rtol=1e-3, atol=1e-4)


def test_a_model_goes_down_and_comes_back_from_host_memory(
    tiers: Stack, models: Sequence[BuiltSample]
) -> None:
    """The log says from where it came, where it went, and what it took; so does the cell."""
    for model in models[:3]:
        ask(tiers, model)
    block_until(lambda: any(gone(tiers, model) for model in models[:3]))
    first = next(model for model in models[:3] if gone(tiers, model))
    ask(tiers, first)
    block_until(lambda: [e.kind for e in events(tiers, first)][-1:] == ["promoted"])
    assert [(e.kind, e.tier_from, e.tier_to) for e in events(tiers, first)] == [
        ("loaded", "remote", "device"),
        ("demoted", "device", "host"),
        ("promoted", "host", "device"),
    ]
    assert all(e.bytes and e.seconds for e in events(tiers, first))
    (known,) = tiers.redis.scan_iter(tiers.keys.stats(first.name + ":*"))
    assert {b"remote", b"host", b"own:cpu"} <= set(tiers.redis.hkeys(known))


def test_both_tiers_stay_within_their_budgets(tiers: Stack, models: Sequence[BuiltSample]) -> None:
    """Six models for four places: those used longest ago come from disk, none from afar again."""
    for model in [*models] * 2:
        ask(tiers, model)
        row = tiers.residency()[tiers.workers[0].name]
        assert row["used_bytes"] <= row["budget_bytes"]
        assert row["host_used_bytes"] <= row["host_budget_bytes"]
    for model in models:
        kinds = [event.tier_from for event in events(tiers, model)]
        assert kinds.count("remote") == 1
    came = {event.tier_from for model in models for event in events(tiers, model)}
    assert came >= {"remote", "device", "disk"}
