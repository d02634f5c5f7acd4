"""Ways to a failpoint of a gateway of which an operator asks something; see `dying_gateways.py`.

The operator hears nothing, and asks another gateway: it finds what was done, or does it.
"""

from __future__ import annotations

import itertools
from contextlib import suppress

from tests.failpoints.dying_workers import Arm
from tests.failpoints.field import Field
from tests.helpers.models import Mlp
from tests.helpers.wait import block_until
from warmroute import ClientError

TTL_S = 600.0
_sessions = itertools.count(1)


def loading(field: Field, arm: Arm) -> list[int]:
    """A model is to be loaded ahead, while requests for another wait for their load."""
    gateway, model, other = field.gateway, field.cold(), field.cold()
    field.ledger.submit(other, 2, at=gateway)
    arm()
    with suppress(ClientError):
        field.stack.client(gateway).load(model.name)
    assert field.stack.client(field.safe).load(model.name)["workers"]
    field.ledger.submit(model, 2)
    return [gateway.child.pid]


def unloading(field: Field, arm: Arm) -> list[int]:
    """A model is to be freed, while it has requests: they are answered, before or after."""
    gateway, model = field.gateway, field.warm()
    field.ledger.submit(model, 2, at=gateway)
    arm()
    with suppress(ClientError):
        field.stack.client(gateway).unload(model.name)
    field.stack.client(field.safe).unload(model.name)
    field.ledger.submit(model, 2)
    return [gateway.child.pid]


def deciding(field: Field, arm: Arm) -> list[int]:
    """A policy is set: it is in force, or is not."""
    gateway, model = field.gateway, field.warm()
    field.ledger.submit(model, 2, at=gateway)
    arm()
    with suppress(ClientError):
        field.stack.client(gateway).set_policy(model.name, {"priority": 2})
    document = field.stack.client(field.safe).policy(model.name)
    before = field.armed[0].endswith(".before")
    assert document["overrides"] == ({} if before else {"priority": 2})
    field.stack.client(field.safe).set_policy(model.name, {"priority": None})
    return [gateway.child.pid]


def looking(field: Field, arm: Arm) -> list[int]:
    """Dead letters are listed: that changes nothing."""
    gateway, model = field.gateway, field.warm()
    field.ledger.submit(model, 2, at=gateway)
    arm()
    with suppress(ClientError):
        list(field.stack.client(gateway).dead_letters())
    list(field.stack.client(field.safe).dead_letters())
    return [gateway.child.pid]


def opening(field: Field, arm: Arm) -> list[int]:
    """A session is opened: under its id there is one, wherever it is asked for again."""
    gateway, held, cold, session = field.gateway, field.warm(), field.cold(), _name()
    field.ledger.submit(held, 2, at=gateway)
    arm()
    with suppress(ClientError):
        _open(field, session, [held, cold], safe=False)
    _open(field, session, [held, cold])
    field.ledger.submit(cold, 2)
    _close(field, session)
    return [gateway.child.pid]


def keeping(field: Field, arm: Arm) -> list[int]:
    """The client of a session says that it lives: the session does too."""
    gateway, model, session = field.gateway, field.warm(), _name()
    field.ledger.submit(model, 2, at=gateway)
    _open(field, session, [model])
    arm()
    with suppress(ClientError):
        field.stack.client(gateway).keep_session(session, TTL_S)
    assert field.stack.client(field.safe).keep_session(session, TTL_S)["id"] == session
    _close(field, session)
    return [gateway.child.pid]


def closing(field: Field, arm: Arm) -> list[int]:
    """A session is closed: it is over, or whoever asks again closes it."""
    gateway, model, session = field.gateway, field.warm(), _name()
    field.ledger.submit(model, 2, at=gateway)
    _open(field, session, [model])
    arm()
    with suppress(ClientError):
        field.stack.client(gateway).close_session(session)
    with suppress(ClientError):  # it may be closed already
        field.stack.client(field.safe).close_session(session)
    _is_over(field, session)
    return [gateway.child.pid]


def _name() -> str:
    return f"session-{next(_sessions)}"


def _open(field: Field, session: str, models: list[Mlp], *, safe: bool = True) -> None:
    """At a gateway that lives, or at the one that is armed."""
    client = field.stack.client(field.safe if safe else field.gateway)
    client.session([model.name for model in models], ttl=TTL_S, id=session).open()


def _close(field: Field, session: str) -> None:
    field.stack.client(field.safe).close_session(session)
    _is_over(field, session)


def _is_over(field: Field, session: str) -> None:
    """Nothing speaks of it any more, and it pins nothing."""
    keys, store = field.stack.keys, field.stack.redis
    assert store.zscore(keys.sessions, session) is None
    assert store.keys(keys.session(session)) == []
    block_until(lambda: not list(store.scan_iter(keys.pinned("*"))))
