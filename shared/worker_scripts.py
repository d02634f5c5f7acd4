"""The Lua scripts that workers call, each behind one typed function.

The contract of each (KEYS, ARGV, returns) stands on top of its file; here are the types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shared import causes, protocol
from shared.connection import redis_errors
from shared.script_runner import CHUNK, ScriptRunner, flat_of


class Completion(NamedTuple):
    """One outcome for `complete`; status succeeded | failed | expired | cancelled. Of a
    failure also its `cause` in full for the log (b"": the outcome has all of it)."""

    entry: bytes
    id: bytes
    reply: bytes
    flags: bytes
    status: str
    outcome: bytes
    ref: str | bytes = b""
    cause: bytes = b""


class Beaten(NamedTuple):
    """Answer of `heartbeat`: ok | resync | fenced | taken, and the refs of copies whose policy,
    pins or number have changed."""

    answer: str
    changed: tuple[str, ...] = ()


class WorkerScripts(ScriptRunner):
    """The scripts that workers call. All raise Unavailable if Redis does not answer, or refuses."""

    # The worker --------------------------------------------------------------------------------

    async def register(
        self, worker: str, lease_ms: int, max_attempts: int, fields: dict[str, Any]
    ) -> str:
        """Begin a new epoch; requests of the old one are placed again. `fields`: `incarnation` too.
        ConfigError if a live process has a protocol that does not work with its own."""
        flat = flat_of(fields)
        args = (worker, lease_ms, max_attempts, *self.protocol, CHUNK, *flat)
        answer: bytes | list[bytes] | int = 1
        while isinstance(answer, int):  # a part of the old epoch's requests and copies at a time
            answer = await self._run("register", *args)
        if isinstance(answer, list):
            raise protocol.conflict("worker", self.protocol, answer)
        return answer.decode()

    async def heartbeat(
        self, worker: str, epoch: str, incarnation: str, lease_ms: int, held: int,
        fields: dict[str, Any],
    ) -> Beaten:  # fmt: skip
        """Renew the lease. `fields`: those of the report that have changed, or all."""
        flat = flat_of(fields)
        args = (worker, epoch, incarnation, lease_ms, held, *flat)
        answer, *changed = await self._run("heartbeat", *args)
        return Beaten(answer.decode(), tuple(ref.decode() for ref in changed))

    async def renew_lease(self, worker: str, epoch: str, lease_ms: int, held: int) -> bool:
        """Renew the lease of a worker without news. False: nothing was done, send a heartbeat."""
        return int(await self._run("renew_lease", worker, epoch, lease_ms, held)) == 1

    async def fence_worker(
        self, worker: str, epoch: str, batch: int, cause: str, max_attempts: int,
        charge_models: bool = True,
    ) -> int:  # fmt: skip
        """End the epoch of a dead device process; requests moved, -1 if it is not current."""
        charged = "1" if charge_models else ""
        args = (worker, epoch, batch, cause, max_attempts, charged, CHUNK)
        moved = int(await self._run("fence_worker", *args))
        if moved >= 0:
            await self._release(worker, max_attempts, cause)
        return moved

    async def leave(self, worker: str, epoch: str, max_attempts: int) -> bool:
        """Deregister; requests that have not started are placed again."""
        if not await self._run("leave", worker, epoch, max_attempts, CHUNK):
            return False
        await self._release(worker, max_attempts, "its worker stopped before it was done")
        return True

    async def _release(self, worker: str, max_attempts: int, cause: str) -> None:
        """Until all that it had is placed again. If this process does not go on, gateways do."""
        while await self._run("release", worker, max_attempts, CHUNK, cause):
            pass

    # Requests ----------------------------------------------------------------------------------

    async def begin(
        self, worker: str, epoch: str, batch: int,
        items: Iterable[tuple[bytes, bytes, int, bytes]],
    ) -> tuple[int, list[bytes]]:  # fmt: skip
        """Per (entry, id, deadline ms, flags): run | expired | gone | cancelled; [fenced] for all.
        And Redis's clock, ms."""
        flat = [field for item in items for field in item]
        now, *answers = await self._run("begin", worker, epoch, batch, *flat)
        return now, answers

    async def complete(
        self, worker: str, epoch: str, items: Sequence[Completion], outlived: bool = False
    ) -> list[int]:
        """Per item 1 won or 0 not ours any more; [-1] if fenced. `outlived`: an entry of them was
        read over an earlier connection, and its id may be that of another request by now."""
        flat = [field for item in items for field in item]
        looks = "1" if outlived else ""
        answer: list[int] = await self._run("complete", worker, epoch, looks, *flat)
        return answer

    # Loads -------------------------------------------------------------------------------------

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
        self, worker: str, ref: str, token: str, lease_ms: int, why: str = "", spare_ms: int = 0
    ) -> bool:
        """False if the load lease is lost. `why`: the reason it waits. `spare_ms`: how much longer
        Redis keeps the lease, for what it does not see itself (a stall, a clock that is set)."""
        args = (worker, ref, token, lease_ms, why, spare_ms)
        return bool(await self._run("renew_load", *args))

    async def refuse_load(
        self, worker: str, ref: str, token: str, *, too_large: bool = False
    ) -> str:
        """`ordered` for another worker, `no_worker` (none is left), `no_capacity` or `stale`.
        `too_large`: for all of this worker's budget, and so for workers without a larger one."""
        answer: bytes = await self._run("refuse_load", worker, ref, token, "1" if too_large else "")
        return answer.decode()

    async def fail_load(
        self, worker: str, ref: str, token: str, cause: bytes, backoff_ms: int,
        passing: bool = False, device_class: str = "", full: bytes = b"",
        scope: str = causes.WORKER,
    ) -> int:  # fmt: skip
        """The load failed on this worker: another one is asked. If none is left, or the `scope` of
        the cause is the model, parked requests are answered with it; how many are left (call
        again), -1 stale. If it is `passing` they wait on, and the load is ordered again after the
        back-off. `full`: the cause for the log."""
        flag = "1" if passing else ""
        args = (worker, ref, token, cause, backoff_ms, CHUNK, flag, device_class, full, scope)
        return int(await self._run("fail_load", *args))

    # Copies ------------------------------------------------------------------------------------

    async def announce(
        self, worker: str, epoch: str, ref: str, token: str, tier: str,
        learned: Mapping[str, Any] | None = None,
    ) -> int:  # fmt: skip
        """Become a holder; parked requests left (call again), -1 stale, -2 fenced. `learned`:
        fields of `stats:<ref>`."""
        args = (worker, epoch, ref, token, tier, CHUNK, *flat_of(learned or {}))
        return int(await self._run("announce", *args))

    async def retire(
        self, worker: str, epoch: str, ref: str, tier: str = "", mode: str = "", share: float = 0
    ) -> str:
        """Stop new placements; the last entry id to drain up to, '' if fenced. With `mode` evict or
        spare also `pinned` or `needed`: it stays. With `gone` no copy drains. `tier` (host, disk):
        where the model will be."""
        answer: bytes = await self._run("retire", worker, epoch, ref, tier, mode, share)
        return answer.decode()

    async def freed(self, worker: str, ref: str) -> None:
        """A retired copy has been freed: no request runs on it any more."""
        key = self._keys.leaving(ref.partition(":")[0])
        with redis_errors():
            await self._channel.execute_command("HDEL", key, f"{ref} {worker}")

    async def record_stats(
        self, worker: str, epoch: str, ref: str, learned: Mapping[str, Any]
    ) -> bool:
        """Note fields of `stats:<ref>` that serving has shown; False if fenced."""
        return int(await self._run("record_stats", worker, epoch, ref, *flat_of(learned))) == 1
