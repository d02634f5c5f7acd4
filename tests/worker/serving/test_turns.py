"""A fair share of the device for each model, whatever its neighbours are asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.envelope import Envelope
from shared.manifest import Batching
from tests.helpers.factories import OTHER_REF, REF, work
from tests.helpers.virtual_device import VirtualDevice, spread
from worker.serving.batcher import Batcher
from worker.serving.turns import ALWAYS, NEVER, Turn, may_start

A, B, C = REF, OTHER_REF, "third:1:c"
END = 20.0


def flood(ref: str) -> list[tuple[float, str]]:
    """More than can be served, from the start."""
    return [(0.0, ref)] * 5000


@pytest.mark.parametrize("batch_s", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("max_size", [1, 16])
def test_beside_a_flood_a_model_below_its_share_waits_for_one_batch(
    batch_s: float, max_size: int
) -> None:
    """For the one on the device, neither for the one that stands behind it nor for the backlog."""
    device = VirtualDevice({A: batch_s, B: 0.01}, max_size=max_size)
    device.run([*flood(A), *spread(B, 3.0, END, start=0.7)], END)
    later = device.waits[B][1:]  # of the first one nothing is known of the models
    assert len(later) > 50
    assert max(later) <= batch_s + 1e-9
    assert max(device.waits[B]) <= 2 * batch_s + 1e-9


def test_a_flood_gets_all_that_its_neighbours_leave() -> None:
    """The device is never idle while something waits, and batches stay as large as they may be."""
    device = VirtualDevice({A: 0.1, B: 0.01}, max_size=16)
    device.run([*flood(A), *spread(B, 10.0, END)], END)
    assert device.device_s(A) + device.device_s(B) == pytest.approx(END, abs=0.2)
    assert {size for ref, _, size in device.ran if ref == A} == {16}


@pytest.mark.parametrize("costs", [(0.1, 0.1), (0.2, 0.01), (0.003, 0.4)])
def test_models_that_all_have_a_backlog_share_the_time_not_the_turns(
    costs: tuple[float, float],
) -> None:
    """However long their batches are."""
    device = VirtualDevice({A: costs[0], B: costs[1]})
    device.run([*flood(A), *flood(B)], END)
    assert device.device_s(A) == pytest.approx(device.device_s(B), abs=3 * max(costs))


def test_twice_the_weight_is_twice_the_time() -> None:
    """While both have requests."""
    device = VirtualDevice({A: 0.05, B: 0.05})
    device.batcher._queues[A].share.weight = 2.0
    device.run([*flood(A), *flood(B)], END)
    assert device.device_s(A) == pytest.approx(2 * device.device_s(B), abs=0.3)


def test_a_model_saves_no_time_up_while_it_has_no_requests() -> None:
    """After a silence it gets its share, and not the time of its silence too."""
    device = VirtualDevice({A: 0.1, B: 0.1})
    device.run([*flood(A), *[(10.0, B)] * 500], END)
    assert device.device_s(B) == pytest.approx(5.0, abs=0.3)


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from([A, B, C])), min_size=1, max_size=60,
    ),
    st.tuples(*[st.floats(0.001, 0.5)] * 3),
    st.integers(1, 8),
)  # fmt: skip
def test_every_request_is_served_and_the_device_never_waits(
    arrivals: list[tuple[float, str]], costs: tuple[float, float, float], max_size: int
) -> None:
    """Whatever comes when: each once, and a batch starts when the one before ends, if anything has
    come by then."""
    device = VirtualDevice(dict(zip((A, B, C), costs, strict=True)), max_size=max_size)
    device.run(arrivals, 200.0)
    assert sum(size for _, _, size in device.ran) == len(arrivals)
    end = 0.0
    for ref, start, _ in device.ran:
        waits_since = min(at for at, each in arrivals if each == ref)
        assert start >= waits_since
        if start > end + 1e-9:  # the device was idle: nothing was there at that moment
            assert sum(at <= end for at, _ in arrivals) <= sum(
                size for _, at, size in device.ran if at < start
            )
        end = start + device.batch_s[ref]


def urgent(ref: str, priority: int) -> object:
    return work(ref=ref, envelope=Envelope([], priority=priority), received=1.0)


def test_a_priority_gives_way_but_takes_no_share() -> None:
    """A flood of priority 1 shares the device with requests of no priority; what is sent with 9
    waits for both."""
    batcher, order = Batcher(), []
    for ref in (A, B, C):
        batcher.open(ref, Batching(max_size=1))
    for ref, priority in ((C, 9), (A, 1), (B, 5)):
        for _ in range(3):
            batcher.put(urgent(ref, priority))
    while (turn := batcher.next(9.0)[0]) is not None:
        order.append(turn.ref)
        batcher.advance([turn])
    assert order == [A, B, A, B, A, B, C, C, C]


def turn(start: float, on_device: bool = False) -> Turn:
    return Turn([], (5, start), on_device=on_device)


def test_one_more_may_start_if_it_goes_before_one_that_stands() -> None:
    """Two slots are free for any; a third one only then; no fourth."""
    running, stands = turn(1.0, on_device=True), turn(2.0)
    assert may_start([]) == may_start([running]) == ALWAYS
    assert may_start([running, stands]) == (5, 2.0)
    assert may_start([running, turn(3.0, on_device=True)]) == NEVER
    assert may_start([running, stands, turn(1.5)]) == NEVER
    assert may_start([running, stands], yielded=1) == ALWAYS
