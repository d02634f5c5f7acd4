"""Sessions of the Python client: kept by a thread while their block runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.deploy.client.conftest import MakeClient
from tests.helpers.cell import Cell
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up
from tests.helpers.wait import wait_until
from warmroute import Client, NotFound, ServerError, Session


@pytest.fixture
async def fleet(cell: Cell, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A gateway with two models of 100 bytes, and a worker that has room for one and a half."""
    for name in ("a", "b"):
        publish_made_up(tmp_path, name)
    async with fleet_of(cell, tmp_path) as made:
        await made.worker(budget=150)
        yield made


@pytest.fixture
def client(fleet: Fleet, make_client: MakeClient) -> Iterator[Client]:
    """Its methods block: each is called in a thread."""
    with make_client(fleet.gateway.url, timeout=10, retries=0) as made:
        yield made


async def expiry(fleet: Fleet, session: str) -> float:
    return await fleet.cell.client.zscore(fleet.cell.keys.sessions, session) or 0.0


async def entered(session: Session) -> Session:
    return await asyncio.to_thread(session.__enter__)


async def left(session: Session) -> None:
    await asyncio.to_thread(session.__exit__, None, None, None)


async def test_a_session_is_kept_while_its_block_runs(fleet: Fleet, client: Client) -> None:
    """Without a call of the program's own; the end of the block closes it."""
    session = await entered(client.session(["a"], ttl=1, wait=False))
    assert [(m["name"], m["state"]) for m in session.models] == [("a", "loading")]
    for _ in range(2):
        before = await expiry(fleet, session.id)
        await wait_until(lambda before=before: later(fleet, session.id, before))
    assert session.error is None
    await left(session)
    with pytest.raises(NotFound):
        await asyncio.to_thread(client.session_info, session.id)


async def later(fleet: Fleet, session: str, than: float) -> bool:
    return await expiry(fleet, session) > than


async def test_a_session_that_was_lost_is_opened_again(fleet: Fleet, client: Client) -> None:
    """Redis lost it, or no gateway could be reached for longer than it lasts."""
    session = await entered(client.session(["a"], ttl=1, wait=False))
    await fleet.cell.scripts.close_session(session.id)
    await wait_until(lambda: later(fleet, session.id, 0))
    assert session.error is None
    await left(session)


async def test_one_that_cannot_be_opened_again_says_so(fleet: Fleet, client: Client) -> None:
    """The block goes on, and the session tries on: the room may come back."""
    session = await entered(client.session(["a"], ttl=1, wait=False))
    await fleet.cell.scripts.close_session(session.id)
    await fleet.cell.scripts.open_session("other", 60_000, 9, [("b:1:0123456789ab", 100)])
    await wait_until(lambda: session.error is not None)
    assert isinstance(session.error, ServerError) and session.error.status == 507
    await fleet.cell.scripts.close_session("other")
    await wait_until(lambda: session.error is None)
    await left(session)


async def test_what_does_not_fit_is_refused_before_the_block(fleet: Fleet, client: Client) -> None:
    """With the server's words."""
    with pytest.raises(ServerError, match="models: 2 need 200 bytes") as caught:
        await entered(client.session(["a", ("b", 1)], wait=False))
    assert (caught.value.status, caught.value.code) == (507, "does_not_fit")


async def test_sessions_are_listed_over_all_pages(
    fleet: Fleet, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are."""
    monkeypatch.setattr("warmroute.operations.ROWS", 2)
    for number in range(5):
        await asyncio.to_thread(client.session(["a"], id=f"s{number}", wait=False).open)
    listed = await asyncio.to_thread(lambda: list(client.sessions()))
    assert [row["id"] for row in listed] == [f"s{number}" for number in range(5)]
    assert (await asyncio.to_thread(client.keep_session, "s0"))["id"] == "s0"


async def test_a_policy_is_set_and_read(client: Client) -> None:
    """None takes an override back."""
    said = await asyncio.to_thread(client.set_policy, "a", {"pin": True, "priority": 2})
    assert said["overrides"] == {"pin": True, "priority": 2}
    await asyncio.to_thread(client.set_policy, "a", {"pin": None}, version=1)
    assert (await asyncio.to_thread(client.policy, "a"))["overrides"] == {"priority": 2}
