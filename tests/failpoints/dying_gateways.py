"""Ways to a failpoint of a gateway; see `dying_workers.py`. Another gateway lives all the time."""

from __future__ import annotations

import itertools
import signal
from contextlib import suppress
from threading import Thread
from typing import Any

from shared.envelope import Envelope, pack
from tests.failpoints.asked import EITHER, RIGHT
from tests.failpoints.dying_workers import Arm
from tests.failpoints.field import Field
from tests.helpers.factories import tensor
from tests.helpers.models import Mlp
from tests.helpers.wait import block_until
from warmroute import ClientError

MOST_LINES = 300


def placing(field: Field, arm: Arm) -> list[int]:
    """It dies while it accepts a request; those that it had accepted before go on. Who had given
    a key asks again elsewhere, and gets the one request that there is."""
    gateway, model = field.gateway, field.cold()
    field.ledger.submit(model, 3, at=gateway)
    arm()
    joined = field.ledger.insist(model, gateway, field.safe)
    assert joined == field.armed[0].endswith(".after")
    return [gateway.child.pid]


def cancelling(field: Field, arm: Arm) -> list[int]:
    """Somebody takes a request back: it is cancelled, or goes on."""
    gateway, model = field.gateway, field.cold()
    client = field.stack.client(gateway)
    arm()
    question = model.question()
    pending = client.submit(model.name, question)
    field.ledger.note(pending.id, lambda said: model.right(question, said), EITHER)
    field.ledger.submit(model, 2)
    with suppress(ClientError):
        pending.cancel()
    return [gateway.child.pid]


def polling(field: Field, arm: Arm) -> list[int]:
    """Somebody asks what became of a request; another gateway knows it too."""
    gateway, model = field.gateway, field.cold()
    question = model.question()
    pending = field.stack.client(gateway).submit(model.name, question)
    field.ledger.note(pending.id, lambda said: model.right(question, said), RIGHT)
    arm()
    with suppress(ClientError):
        pending.describe()
    return [gateway.child.pid]


def replaying(field: Field, arm: Arm) -> list[int]:
    """An operator replays a dead letter: it is still there, or has become a request."""
    gateway, model = field.gateway, field.warm()
    entry, question = _letter(field, model)
    field.ledger.submit(model, 2, at=gateway)
    arm()
    with suppress(ClientError):
        field.stack.client(gateway).replay_dead_letter(entry)
    with suppress(ClientError):
        again = field.stack.client(field.safe).replay_dead_letter(entry)
        assert again is not None
        field.ledger.note(again.id, lambda said: model.right(question, said), RIGHT)
    assert field.stack.redis.xrange(field.stack.keys.dead_letters, entry, entry) == []
    return [gateway.child.pid]


def housekeeping(field: Field, arm: Arm) -> list[int]:
    """It renews its lease and looks after the cell, as each gateway does all the time."""
    gateway, model = field.gateway, field.cold()
    field.ledger.submit(model, 3, at=gateway)
    field.ledger.stream(model, 2)
    arm()
    return [gateway.child.pid]


def streaming(field: Field, arm: Arm) -> list[int]:
    """Entries of the stream door, until the one comes by that it reads, or answers."""
    gateway, model = field.gateway, field.warm()
    field.ledger.submit(model, 2, at=gateway)
    arm()
    for _ in range(MOST_LINES):
        if field.anybody_struck():
            break
        field.ledger.stream(model, 1)
    return [gateway.child.pid]


def answering(field: Field, arm: Arm) -> list[int]:
    """It reads the outcome that a caller of its waits for, and tells the cell of it."""
    gateway, model = field.gateway, field.warm()
    field.ledger.submit(model, 2, at=gateway)
    arm()
    with suppress(ClientError):  # nothing was promised
        field.ask(model, gateway)
    return [gateway.child.pid]


def stopping(field: Field, arm: Arm) -> list[int]:
    """It was told to stop, and gives away what its caller waits for."""
    gateway, slow, model = field.gateway, field.slow(), field.warm()
    field.ledger.submit(model, 2, at=gateway)

    def wait() -> None:
        with suppress(ClientError):
            field.stack.client(gateway).infer(slow.name, slow.question(2.0))

    caller = Thread(target=wait)
    caller.start()
    block_until(lambda: field.stack.holders(slow.name))
    arm()
    gateway.child.send_signal(signal.SIGTERM)
    caller.join(60)
    block_until(lambda: not gateway.running)  # it ends, whatever it hears of Redis
    return [gateway.child.pid]


_letters = itertools.count(1)


def _letter(field: Field, model: Mlp) -> tuple[str, dict[str, Any]]:
    """A dead letter as the scripts write it, for a model that is held."""
    store, keys, question = field.stack.redis, field.stack.keys, model.question()
    (held,) = store.scan_iter(keys.holders(f"{model.name}:*"))
    fields = {
        "kind": "request", "id": f"{next(_letters):032x}",
        "model": held.decode().removeprefix(keys.holders("")), "worker": "gone", "attempts": 3,
        "cause": "dead_lettered after 3 starts: it died", "fingerprint": "0" * 40,
        "body": pack(Envelope([tensor(question["x"])])),
    }  # fmt: skip
    return store.xadd(keys.dead_letters, fields).decode(), question
