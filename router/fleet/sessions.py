"""Sessions: sets of models that stay in memory while their client sends heartbeats.

open: checked to fit before anything is loaded -> pinned and ordered in one step, or refused
keep: a heartbeat of the client; without it a session ends, and its models may be evicted
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from router.catalog.catalog import Entry
from router.fleet.copy_states import FAILED, READY, CopyState, CopyStates
from router.fleet.footprints import Footprints
from router.fleet.load_status import time_of
from router.fleet.model_control import longer_pauses
from router.fleet.replies import replies_of
from shared import clock, statuses
from shared.connection import redis_errors
from shared.errors import (
    DoesNotFit,
    Gone,
    InvalidInput,
    KeyReused,
    NotFound,
    Overloaded,
    Unavailable,
)
from shared.event_log import EventLog
from shared.keys import Keys
from shared.names import ModelRef
from shared.redis_decode import after_ms, cell_ms, is_alive
from shared.scripts import GatewayScripts, Opened

BEATS = 3  # within the TTL of a session whose client waits for the opening
AT_ONCE = 50


class Sessions:
    """Opens, keeps, shows and closes sessions of the cell; at most `most` at a time."""

    def __init__(
        self, client: Redis, keys: Keys, scripts: GatewayScripts, states: CopyStates,
        footprints: Footprints, most: int, events: EventLog,
    ) -> None:  # fmt: skip
        self._client = client
        self._keys = keys
        self._scripts = scripts
        self._states = states
        self._footprints = footprints
        self._most = most
        self._events = events

    async def open(self, session: str, ttl_s: float, entries: Sequence[Entry]) -> bool:
        """Pin the models; False if a session of this id with these models is open already: then it
        is kept. DoesNotFit, Overloaded (too many sessions), KeyReused (the id has other models)."""
        budgets = await self._footprints.budgets()
        sizes = await self._footprints.of(entries, budgets)
        models = [(str(entry.ref), size) for entry, size in zip(entries, sizes, strict=True)]
        for _ in range(2):
            opened = await self._scripts.open_session(session, _ms(ttl_s), self._most, models)
            if opened.status != statuses.EXISTS:
                _refuse(opened, models, budgets)
                reason = f"session {session}: {len(models)} models"
                self._events.emit("session_opened", reason=reason, bytes=sum(sizes))
                return True
            if await self._is_same(session, [ref for ref, _ in models], ttl_s):
                return False  # else it has ended since
        raise Unavailable(f"session {session}: it is ending; retry", retry_after_s=1)

    async def _is_same(self, session: str, refs: Sequence[str], ttl_s: float) -> bool:
        """Whether the open session of that id has these models; False if none is open."""
        try:
            there, _ = await self._read(session)
        except NotFound:
            return False
        if set(there) != set(refs):
            raise KeyReused(f"id: session {session} is open, with other models")
        return await self._scripts.keep_session(session, _ms(ttl_s)) > 0

    async def keep(self, session: str, ttl_s: float | None = None) -> dict[str, Any]:
        """A heartbeat: the session stays for `ttl_s` from now, by default its TTL at the opening.
        NotFound if it has ended."""
        expiry = await self._scripts.keep_session(session, None if ttl_s is None else _ms(ttl_s))
        if not expiry:
            raise _unknown(session)
        return {"id": session, "expires_at": time_of(expiry)}

    async def close(self, session: str) -> None:
        """End a session: its models may be evicted. NotFound."""
        if not await self._scripts.close_session(session):
            raise _unknown(session)
        self._events.emit("session_closed", reason=f"session {session}: by its client")

    async def get(self, session: str) -> dict[str, Any]:
        """The session, and the state of each of its models."""
        refs, expiry = await self._read(session)
        states = await self._states.of(refs)
        rows = [_named(ref) | state.document() for ref, state in zip(refs, states, strict=True)]
        return {"id": session, "expires_at": time_of(expiry), "models": rows}

    async def page(self, limit: int, after: str) -> list[dict[str, Any]]:
        """Open sessions by id, from behind `after` on; their models without states."""
        with redis_errors():
            now = await self._now_ms()
            found: Any = await self._client.zrangebyscore(
                self._keys.sessions, after_ms(now), "+inf", withscores=True
            )
            expiries = {name.decode(errors="replace"): expiry for name, expiry in found}
            names = sorted(name for name in expiries if name > after)[:limit]
            rows: list[dict[str, Any]] = []
            for start in range(0, len(names), AT_ONCE):
                part = names[start : start + AT_ONCE]
                pipe = self._client.pipeline(transaction=False)
                for name in part:
                    pipe.hget(self._keys.session(name), "models")
                replies = await replies_of(pipe, b"?")
                rows += [_row(*one, expiries) for one in zip(part, replies, strict=True)]
        return rows

    async def settled(self, session: str, ttl_s: float, within_s: float) -> None:
        """Wait until each model is ready or has failed, for `within_s` at most, and keep the
        session meanwhile: its client does not know it yet."""
        now = clock.monotonic()
        ends, beat_at, pauses = now + within_s, now + ttl_s / BEATS, longer_pauses()
        refs, _ = await self._read(session)
        while not _settled(await self._states.of(refs)) and clock.monotonic() < ends:
            if clock.monotonic() >= beat_at:
                await self.keep(session, ttl_s)
                beat_at = clock.monotonic() + ttl_s / BEATS
            left_s = max(ends - clock.monotonic(), 0)
            await asyncio.sleep(min(next(pauses), left_s, ttl_s / BEATS))

    async def _read(self, session: str) -> tuple[list[str], float]:
        """References of its models, and its expiry (ms). NotFound if it has ended."""
        with redis_errors():
            expiry: Any = await self._client.zscore(self._keys.sessions, session)
            raw: Any = await self._client.hget(self._keys.session(session), "models")
            now = await self._now_ms()
        if raw is None or expiry is None or not is_alive(expiry, now):
            raise Gone(f"session {session}: it has ended") if raw else _unknown(session)
        return raw.decode().split(" ")[::2], float(expiry)

    async def _now_ms(self) -> int:
        with redis_errors():
            noted: Any = await self._client.get(self._keys.clock)
            return cell_ms(await self._client.time(), noted)


def _refuse(opened: Opened, models: Sequence[tuple[str, int]], budgets: Sequence[int]) -> None:
    """Raise why the session was not opened; nothing if it was."""
    if opened.status == statuses.TOO_MANY:
        raise Overloaded(
            f"{opened.details[0]} sessions are open, the limit; close one or retry later"
        )
    if opened.status != statuses.FULL:
        return
    if not budgets:
        raise Unavailable("no worker is ready to load the models of a session", retry_after_s=1)
    ref, needed, free = opened.details
    total = sum(size for _, size in models)
    raise DoesNotFit(
        f"models: {len(models)} need {total} bytes. Beside the models that open sessions pin, "
        f"{_shown(ref)} does not fit: it needs {needed} bytes, the most free on a worker is {free}"
    )


def _settled(states: Sequence[CopyState]) -> bool:
    return all(state.state in (READY, FAILED) for state in states)


def _row(session: str, raw: bytes | None, expiries: dict[str, float]) -> dict[str, Any]:
    """One whose record cannot be read is listed with the error."""
    row: dict[str, Any] = {"id": session, "expires_at": time_of(expiries[session]), "models": []}
    refs = raw.decode(errors="replace").split(" ")[::2] if raw else []
    try:
        return row | {"models": [_named(ref) for ref in refs]}
    except InvalidInput:
        return row | {"error": "its record in Redis cannot be read"}


def _named(ref: str) -> dict[str, Any]:
    parsed = ModelRef.parse(ref)
    return {"name": parsed.name, "version": str(parsed.version)}


def _shown(ref: str) -> str:
    parsed = ModelRef.parse(ref)
    return f"{parsed.name} version {parsed.version}"


def _unknown(session: str) -> NotFound:
    return NotFound(f"session {session}: unknown, or it has ended")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
