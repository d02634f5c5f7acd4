"""The Lua scripts of model copies: loading, announcing, retiring, wanting, pinning.

The contract of each (KEYS, ARGV, returns) stands on top of its file; here are the types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shared.script_runner import CHUNK, ScriptRunner


class Ordered(NamedTuple):
    """Answer of `order_copy`: held | loading | ordered | unloadable | quarantined | nobody |
    resting, and beside it what stands in `lua/order_copy.lua`."""

    status: str
    detail: str


class Opened(NamedTuple):
    """Answer of `open_session`: open | exists (with the expiry, ms), full (ref, bytes, most free
    bytes on one worker) or too_many (sessions)."""

    status: str
    details: tuple[str, ...]


def _flat(fields: Mapping[str, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]


class CopyScripts(ScriptRunner):
    """All raise Unavailable if Redis does not answer, or refuses."""

    # A worker loads and frees -----------------------------------------------------------------

    async def announce(
        self, worker: str, epoch: str, ref: str, token: str, tier: str,
        learned: Mapping[str, Any] | None = None,
    ) -> int:  # fmt: skip
        """Become a holder; parked requests left (call again), -1 stale, -2 fenced. `learned`:
        fields of `stats:<ref>`."""
        args = (worker, epoch, ref, token, tier, CHUNK, *_flat(learned or {}))
        return int(await self._run("announce", *args))

    async def record_stats(
        self, worker: str, epoch: str, ref: str, learned: Mapping[str, Any]
    ) -> bool:
        """Note fields of `stats:<ref>` that serving has shown; False if fenced."""
        return int(await self._run("record_stats", worker, epoch, ref, *_flat(learned))) == 1

    async def retire(
        self, worker: str, epoch: str, ref: str, tier: str = "", mode: str = "", share: float = 0
    ) -> str:
        """Stop new placements; the last entry id to drain up to, '' if fenced. With `mode` evict or
        spare also `pinned` or `needed`: it stays. `tier` (host, disk): where the model will be."""
        answer: bytes = await self._run("retire", worker, epoch, ref, tier, mode, share)
        return answer.decode()

    async def claim_load(self, worker: str, epoch: str, ref: str, token: str, lease_ms: int) -> str:
        """`claimed`, `suspect`, `stale`, `unwanted`, `refused`, `later` or `fenced`."""
        answer: bytes = await self._run("claim_load", worker, epoch, ref, token, lease_ms)
        return answer.decode()

    async def route_by_affinity(
        self, worker: str, ref: str, token: str, key: str, mode: str, most: int = 0
    ) -> str:
        """Of a claimed load: `here`, `elsewhere` (handed on), `nowhere` or `stale`. `most`: models
        of the key that one worker may have, 0 any number."""
        answer: bytes = await self._run("route_by_affinity", worker, ref, token, key, mode, most)
        return answer.decode()

    async def reload(self, worker: str, epoch: str, ref: str, lease_ms: int) -> str:
        """Claim the load of a model held before a restart; its token, '' if that is not to be."""
        answer: bytes = await self._run("reload", worker, epoch, ref, lease_ms)
        return answer.decode()

    async def renew_load(
        self, worker: str, ref: str, token: str, lease_ms: int, why: str = ""
    ) -> bool:
        """False if the load lease is lost. `why`: what it waits for."""
        return bool(await self._run("renew_load", worker, ref, token, lease_ms, why))

    async def refuse_load(self, worker: str, ref: str, token: str) -> str:
        """`ordered` for another worker, `nobody` else is left, `crowded`, or `stale`."""
        answer: bytes = await self._run("refuse_load", worker, ref, token)
        return answer.decode()

    async def fail_load(
        self, worker: str, ref: str, token: str, cause: bytes, backoff_ms: int,
        passing: bool = False, device_class: str = "", full: bytes = b"",
    ) -> int:  # fmt: skip
        """Answer parked requests with the cause; how many are left (call again), -1 stale. If the
        cause is `passing` they wait on, and the load is ordered again after the back-off. Workers
        of another device class are asked first. `full`: the cause for the log."""
        flag = "1" if passing else ""
        args = (worker, ref, token, cause, backoff_ms, CHUNK, flag, device_class, full)
        return int(await self._run("fail_load", *args))

    async def claim_device(self, worker: str, lease_ms: int, uuids: Sequence[str]) -> int:
        """The index of the GPU that is now this worker's, -1 if none is free."""
        return int(await self._run("claim_device", worker, lease_ms, *uuids)) - 1

    # The fleet is told ------------------------------------------------------------------------

    async def order_copy(
        self, ref: str, least: int | None = None, *, trial: bool = False
    ) -> Ordered:
        """Have a model loaded; `least`: copies to keep from now on. A `trial` that has failed rests
        for a while."""
        kept, flag = "" if least is None else least, "1" if trial else ""
        row = await self._run("order_copy", ref, kept, flag)
        return Ordered(row[0].decode(), row[1].decode())

    async def order_unload(self, ref: str) -> int:
        """Have every copy freed; live workers that were told, -1 if it is pinned."""
        return int(await self._run("order_unload", ref))

    async def set_policy(self, ref: str, fields: Mapping[str, str]) -> dict[str, str]:
        """Override fields of a policy ('' takes one back); the overrides now in force."""
        flat = [part.decode() for part in await self._run("set_policy", ref, *_flat(fields))]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def open_session(
        self, session: str, ttl_ms: int, most: int, models: Iterable[tuple[str, int]]
    ) -> Opened:
        """Pin (ref, bytes) of each model for `ttl_ms`; at most `most` sessions in the cell."""
        flat = [part for model in models for part in model]
        status, *details = await self._run("open_session", session, ttl_ms, most, *flat)
        return Opened(status.decode(), tuple(part.decode() for part in details))

    async def keep_session(self, session: str, ttl_ms: int | None = None) -> int:
        """Its client lives; the new expiry (ms), 0 if it has ended. None: for as long as before."""
        return int(await self._run("keep_session", session, "" if ttl_ms is None else ttl_ms))

    async def close_session(self, session: str) -> bool:
        """Its models may be evicted again; False if there was none."""
        return bool(await self._run("close_session", session))

    async def reconcile(self) -> tuple[int, int]:
        """Counts of sessions that had expired, and of copies ordered."""
        ended, ordered = await self._run("reconcile", CHUNK)
        return ended, ordered
