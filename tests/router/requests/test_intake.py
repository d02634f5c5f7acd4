"""The intake: what every door does with a call, once. A third door needs nothing but it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import numpy as np
import pytest

from router.catalog.catalog import Catalog
from router.requests.call import Call
from router.requests.intake import Intake, timeout_s
from router.v2.request import InferRequest
from shared import manifest as manifests
from shared.config import RouterConfig
from shared.envelope import Envelope, Outcome, pack, unpack_envelope
from shared.errors import (
    Expired,
    InvalidInput,
    NotFound,
    Overloaded,
    WarmrouteError,
)
from tests.helpers.factories import manifest, tensor
from tests.helpers.gateway import BODY
from tests.helpers.wait import wait_until

CONFIG = RouterConfig(redis_url="redis://x", model_repository="file:///x")
ANSWER = Outcome([tensor(np.ones((1, 2), "<f4"), "y")])


@dataclass
class LineDoor:
    """A whole door: a line `model 1 2` in, a line of numbers, an id or an error out."""

    intake: Intake

    async def serve(self, line: str) -> str:
        """Parse, hand in, render."""
        name, *numbers = line.split()
        array = np.array([numbers], "<f4")
        call = Call(model=name, request=InferRequest(Envelope([tensor(array)]), None, {}, False))
        try:
            self.intake.admit(call, array.nbytes)
            try:
                ticket = await self.intake.accept(call)
                outcome = await self.intake.finish(ticket)
            finally:
                self.intake.leave(call)
        except WarmrouteError as error:
            return f"{error.code} {error.message}"
        if outcome is None:
            return f"poll {ticket.id}"
        return f"{ticket.worker} {np.frombuffer(outcome.outputs[0].data, '<f4').tolist()}"


@pytest.fixture
async def intake(parts, repository) -> Intake:
    """The intake of a gateway whose model is on worker w1."""
    raw = repository.add(manifest())
    ref = str(manifests.ref_of(manifest(), raw))
    parts.epoch = await parts.cell.worker("w1", holds=[ref])
    return parts.intake(Catalog(repository, 60))


async def complete(parts) -> bytes:
    """Worker w1 completes one request; its body."""

    async def queued() -> int:
        return int(await parts.cell.client.xlen(parts.cell.keys.work("w1")))

    await wait_until(queued)
    (entry,) = await parts.cell.read("w1")
    await parts.cell.complete("w1", parts.epoch, [entry], outcome=pack(ANSWER))
    return bytes(entry.fields["body"])


async def test_another_door_is_parse_and_render(parts, intake: Intake) -> None:
    """Here in a few lines: the outcome, and refusals of each kind, come from the intake."""
    door = LineDoor(intake)
    answer = asyncio.create_task(door.serve("mnist 1 2"))
    assert unpack_envelope(await complete(parts)).inputs[0].shape == [1, 2]
    assert await answer == "w1 [1.0, 1.0]"
    assert (await door.serve("mnist 1 2 3")).startswith("invalid inputs['x'].shape")
    assert (await door.serve("nobody 1")).startswith("not_found")
    parts.dispatch.stop_accepting()
    assert (await door.serve("mnist 1 2")).startswith("unavailable this gateway is stopping")
    assert intake.admission.requests == 0


async def test_a_call_in_json_is_parsed_with_its_own_deadline(parts, intake: Intake) -> None:
    """The smaller of both deadlines; its key has the fingerprint of the payload."""
    document = json.loads(BODY) | {"parameters": {"timeout": 2_000_000, "priority": 1}}
    call = Call(
        model="mnist", body=json.dumps(document).encode(), timeout_s=9.0, key="k", caller_id="mine",
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01", mode="respond-async",
    )  # fmt: skip
    ticket = await intake.accept(call)
    assert call.timeout_s == pytest.approx(2.0, abs=0.5) and len(call.fingerprint) == 32
    assert await intake.finish(ticket) is None
    envelope = unpack_envelope(await complete(parts))
    assert (envelope.id, envelope.priority, envelope.traceparent) == ("mine", 1, call.traceparent)


async def test_a_caller_that_waits_a_while_gets_the_outcome_or_polls(parts, intake) -> None:
    """No waiter is left behind."""
    for wait_s, served in ((0.001, False), (30.0, True)):
        call = Call(model="mnist", body=BODY, mode="respond-async", wait_s=wait_s)
        ticket = await intake.accept(call)
        if served:
            await complete(parts)
        assert await intake.finish(ticket) == (ANSWER if served else None)
        if not served:
            await complete(parts)
    assert len(parts.waiters) == 0 and not parts.dispatch.open_tickets()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (Call(model="nobody", body=BODY), NotFound, "nobody"),
        (Call(model="mnist", version="x", body=BODY), WarmrouteError, "version"),
        (Call(model="mnist", body=b"{"), InvalidInput, "body"),
        (Call(model="mnist", body=BODY, timeout_s=1e-5), Expired, "deadline"),
        (Call(model="mnist", body=BODY, timeout_s=3601.0), InvalidInput, "limit of 3600 seconds"),
    ],
    ids=["model", "version", "body", "too short", "too long"],
)
async def test_each_refusal_is_the_same_at_every_door(parts, intake, call, error, match) -> None:
    """Nothing is registered or placed."""
    with pytest.raises(error, match=match):
        await intake.accept(call)
    assert len(parts.waiters) == 0


async def test_a_form_that_the_door_cannot_render_is_refused(intake: Intake) -> None:
    """Before anything is placed."""

    def refuse(request: object, of: object) -> None:
        raise InvalidInput("outputs: not offered here")

    with pytest.raises(InvalidInput, match="not offered here"):
        await intake.accept(Call(model="mnist", body=BODY, check_form=refuse))


def test_a_deadline_is_the_smaller_one_or_the_default() -> None:
    """Over the limit it is refused, whichever it is."""
    assert timeout_s(None, None, CONFIG) == CONFIG.timeout_s
    assert (timeout_s(2_000_000, 3.0, CONFIG), timeout_s(3_000_000, 2.0, CONFIG)) == (2.0, 2.0)
    with pytest.raises(InvalidInput, match=r"parameters\.timeout"):
        timeout_s(10**13, 1.0, CONFIG)


async def test_admitted_bytes_are_returned_whatever_happens(parts, repository) -> None:
    """Expected first, then as read."""
    intake = parts.intake(Catalog(repository, 60))
    intake.admission._max_requests = 1
    first, second = Call(), Call()
    intake.admit(first, 10)
    with pytest.raises(Overloaded, match="1 requests"):
        intake.admit(second, 10)
    intake.leave(first)
    assert (intake.admission.requests, intake.admission.bytes) == (0, 0)
