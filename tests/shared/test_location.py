"""Where a cell is: which answers of a cluster's nodes are followed, and what is tried next."""

from __future__ import annotations

import pytest
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
)

from shared.location import MAX_HOPS, Address, Location, followed, location_of
from shared.refusals import MaxClients, reply_error, word_of

NAMED = Address("named", 7000)
B, C = Address("b", 7001), Address("c", 7002)
SLOTS = [
    [0, 8000, [b"named", 7000, b"id-a"], [b"c", 7002, b"id-c"]],
    [8001, 16383, [b"b", 7001, b"id-b"], [b"?", 7003, b"id-d"], [b"e", 0, b"id-e"]],
]


def location() -> Location:
    return Location("redis://named:7000/0", "cell")


def moved(of: Location, to: Address) -> MovedError:
    return MovedError(f"{of.slot} {to}")


async def known() -> Location:
    """One whose nodes are known."""
    found = location()
    found.enter_cluster()

    async def ask(*args: object) -> object:
        return SLOTS if args[0] == "CLUSTER" else 0

    await found.settle(ask, NAMED)
    return found


class Nodes:
    """Connects to what is given for an address: an error to raise, or None."""

    def __init__(self, **says: BaseException | None) -> None:
        self.says = says
        self.asked: list[str] = []

    async def open_at(self, at: Address) -> str:
        self.asked.append(at.host)
        if error := self.says[at.host]:
            raise error
        return at.host


async def test_the_owner_is_found_from_any_node() -> None:
    """And the next connection is made to it at once."""
    where = location()
    nodes = Nodes(named=moved(where, B), b=None)
    assert [await where.reach(nodes.open_at) for _ in range(2)] == ["b", "b"]
    assert nodes.asked == ["named", "b", "b"]
    assert where.in_cluster


async def test_another_slot_is_not_followed() -> None:
    """Whoever asked for its key was at the wrong place, not the cell."""
    where = location()
    with pytest.raises(MovedError):
        await where.reach(Nodes(named=MovedError(f"{where.slot + 1} b:7001")).open_at)
    assert (where.address, where.in_cluster) == (NAMED, False)


async def test_a_node_that_names_no_host_means_its_own() -> None:
    """As one with `cluster-preferred-endpoint-type unknown-endpoint`."""
    where = location()
    assert where.moved(MovedError(f"{where.slot} :7005"), NAMED)
    assert where.address == Address("named", 7005)


async def test_a_node_that_is_gone_is_asked_no_more() -> None:
    """The others are, until one knows who has the cell now; nodes without an address are not."""
    where = await known()
    assert where.has_node(B) and not where.has_node(Address("e", 0))
    nodes = Nodes(named=ConnectionRefusedError(), c=ConnectionRefusedError(), b=None)
    assert await where.reach(nodes.open_at) == "b"
    assert nodes.asked == ["named", "c", "b"]
    where.failed(NAMED)  # another connection finds so later
    assert where.address == B


async def test_nodes_that_send_each_other_the_caller_are_left() -> None:
    """As while a slot is handed on: it is tried again later."""
    where = location()
    nodes = Nodes(named=moved(where, B), b=moved(where, NAMED))
    with pytest.raises(MovedError):
        await where.reach(nodes.open_at)
    assert len(nodes.asked) == MAX_HOPS


@pytest.mark.parametrize("error", [ConnectionRefusedError(), ClusterDownError("down")])
async def test_a_cluster_without_any_node_says_why(error: Exception) -> None:
    where = await known()
    nodes = Nodes(named=error, b=error, c=error)
    with pytest.raises(type(error)):
        await where.reach(nodes.open_at)
    assert len(nodes.asked) == MAX_HOPS and set(nodes.asked) == {"named", "b", "c"}


async def test_a_silent_node_costs_one_call_its_time() -> None:
    """The next call asks another node."""
    where = await known()
    nodes = Nodes(named=TimeoutError(), c=None)
    with pytest.raises(TimeoutError):
        await where.reach(nodes.open_at)
    assert await where.reach(nodes.open_at) == "c"


@pytest.mark.parametrize("error", [AuthenticationError("no"), MaxClients(), BusyLoadingError("no")])
async def test_a_node_that_is_there_and_refuses_is_not_left(error: Exception) -> None:
    """The others would send the caller back."""
    where = await known()
    nodes = Nodes(named=error)
    with pytest.raises(type(error)):
        await where.reach(nodes.open_at)
    assert where.address == NAMED


async def test_an_address_that_cannot_be_reached_is_told() -> None:
    """With what may be wrong: nodes of a cluster know themselves by other addresses than others."""
    where = await known()
    away = dict.fromkeys(("10.0.0.9", "b", "c"), OSError())
    nodes = Nodes(named=moved(where, Address("10.0.0.9", 1)), **away)
    with pytest.raises((OSError, MovedError)):
        await where.reach(nodes.open_at)
    assert f"names 10.0.0.9:1 as the node of slot {where.slot}, that of {{cell}}" in where.trouble()
    assert location().trouble() == ""


async def test_a_redis_alone_is_asked_nothing_and_has_no_other_address() -> None:
    """Nor has a channel of no cell."""
    for where in (location(), Location("redis://named:7000")):
        nodes = Nodes(named=ConnectionRefusedError())
        with pytest.raises(ConnectionRefusedError):
            await where.reach(nodes.open_at)
        assert nodes.asked == ["named"]

        async def ask(*args: object) -> object:
            raise AssertionError("it was asked")

        await where.settle(ask, NAMED)


async def test_a_slot_that_moves_is_still_where_it_was() -> None:
    """A user who may not list the nodes does without them."""
    where = location()
    where.enter_cluster()

    async def ask(*args: object) -> object:
        raise AskError(f"{where.slot} b:7001") if args[0] == "EXISTS" else NoPermissionError("no")

    await where.settle(ask, NAMED)
    assert where.address == NAMED


async def test_a_call_is_made_again_only_if_it_has_certainly_not_run() -> None:
    tried: list[int] = []

    async def call() -> int:
        tried.append(len(tried))
        if len(tried) == 1:
            raise MovedError("1 b:7001")
        return len(tried)

    assert await followed(call) == 2

    async def lost() -> int:
        tried.append(len(tried))
        raise ConnectionError("lost")

    with pytest.raises(ConnectionError):
        await followed(lost)
    assert len(tried) == 3


def test_a_process_has_one_location_of_a_cell() -> None:
    assert location_of("redis://h", "a") is location_of("redis://h", "a")
    assert location_of("redis://h", "a") is not location_of("redis://h", "b")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("MOVED 5 127.0.0.1:7001", "MOVED"), ("ASK 5 127.0.0.1:7001", "ASK"),
        ("MOVED 5 ::1:7001", "MOVED"), ("MOVED", "MOVED"), ("MOVED x y", "MOVED"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "TRYAGAIN"),
        ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN"),
    ],
)  # fmt: skip
def test_answers_of_a_cluster_are_refusals(text: str, word: str) -> None:
    """Whatever stands behind the word; a call that got one has not run."""
    error = reply_error(text)
    assert word_of(error) == word
    again = type(error)(str(error))
    assert word_of(again) == word
